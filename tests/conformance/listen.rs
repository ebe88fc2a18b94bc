//! `listen`, which only says where to go.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn is_always_refused() {
    agree(CALM, |s| {
        s.call("listen", json!({}));
        s.call("LISTEN", json!({"topic": "watcher."}));
    });
}

//! `numwatchers`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn stopped_ones_count() {
    agree(CALM, |s| {
        s.call("numwatchers", json!({}));
        s.call("numwatchers", json!({"name": "nope"}));
        s.call("stop", json!({"waiting": true}));
        s.call("numwatchers", json!({}));
        s.call("add", json!({"name": "new", "cmd": "sleep 1000"}));
        s.call("numwatchers", json!({}));
        s.call("rm", json!({"name": "one", "waiting": true}));
        s.call("numwatchers", json!({"waiting": true}));
    });
}

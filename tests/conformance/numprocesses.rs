//! `numprocesses`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn what_is_held_counts() {
    agree(CALM, |s| {
        s.call("numprocesses", json!({}));
        for name in ["ONE", "three", "nope", "web*", ""] {
            s.call("numprocesses", json!({"name": name}));
        }
        s.call("numprocesses", json!({"name": 5}));
        s.call("incr", json!({"name": "one", "waiting": true}));
        s.call("numprocesses", json!({}));
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.call("numprocesses", json!({"name": "one"}));
        s.call("numprocesses", json!({}));
    });
}

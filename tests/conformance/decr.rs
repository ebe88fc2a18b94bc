//! `decr`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;
use crate::incr::ALONE;

#[test]
fn fewer() {
    agree(CALM, |s| {
        s.call("incr", json!({"name": "one", "nb": 3, "waiting": true}));
        s.skip_events();
        s.call("list", json!({"name": "one"}));
        s.call("decr", json!({"name": "one", "nb": 2, "waiting": true}));
        s.events();
        s.call("list", json!({"name": "one"}));
        s.call("decr", json!({"name": "One", "waiting": true}));
        s.events();
        s.call("decr", json!({"name": "one", "nb": -2, "waiting": true}));
        s.events();
        s.call("decr", json!({"name": "one", "nb": 99, "waiting": true}));
        s.events();
        s.call("status", json!({"name": "one"}));
        s.call("list", json!({"name": "one"}));
        s.call("decr", json!({"name": "one", "waiting": true}));
        s.call("incr", json!({"name": "one", "waiting": true}));
        s.events();
        s.call("decr", json!({"name": "three", "waiting": true}));
        s.call("get", json!({"name": "three", "keys": ["numprocesses"]}));
        s.call("decr", json!({"name": "nope"}));
        s.call("decr", json!({"name": "zz", "waiting": true}));
        s.call("decr", json!({"name": "o*"}));
        s.call("decr", json!({}));
        s.call("decr", json!({"name": "two words"}));
        s.wait_event("watcher.two_words.kill");
        s.call("status", json!({"name": "two words"}));
    });
}

#[test]
fn where_there_is_only_one() {
    agree(ALONE, |s| {
        s.call("decr", json!({"name": "alone"}));
        s.call("decr", json!({"name": "alone", "waiting": true}));
        s.events();
        s.call("list", json!({"name": "alone"}));
    });
}

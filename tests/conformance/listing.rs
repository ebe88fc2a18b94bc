//! list, status, numwatchers, numprocesses, listsockets, globaloptions, dstats, stats.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn list_and_status() {
    agree(THREE, |s| {
        s.call("list", json!({}));
        s.call("list", json!({"name": "one"}));
        s.call("list", json!({"name": "ONE"}));
        s.call("list", json!({"name": "three"}));
        s.call("list", json!({"name": "nope"}));
        s.call("status", json!({}));
        s.call("status", json!({"name": "one"}));
        s.call("status", json!({"name": "Three"}));
        s.call("status", json!({"name": "nope"}));
        s.call("status", json!({"name": "two*"}));
    });
}

#[test]
fn numbers() {
    agree(THREE, |s| {
        s.call("numwatchers", json!({}));
        s.call("numprocesses", json!({}));
        s.call("numprocesses", json!({"name": "ONE"}));
        s.call("numprocesses", json!({"name": "three"}));
        s.call("numprocesses", json!({"name": "nope"}));
        s.call("listsockets", json!({}));
    });
}

#[test]
fn global_options() {
    agree(THREE, |s| {
        s.call("globaloptions", json!({}));
        s.call("globaloptions", json!({"option": "check_delay"}));
        s.call("globaloptions", json!({"option": "zorg"}));
        s.call("globaloptions", json!({"keys": ["endpoint"]}));
    });
}

#[test]
fn figures() {
    agree(THREE, |s| {
        s.call("stats", json!({}));
        s.call("stats", json!({"name": "One"}));
        s.call("stats", json!({"name": "nope"}));
        s.call("stats", json!({"name": "one", "process": 1}));
        let reply = s.call("list", json!({"name": "two words"}));
        s.call("stats", json!({"name": "two words", "process": reply["pids"][0]}));
        let dstats = s.call_differs("D4", "dstats", json!({}));
        let keys: Vec<_> = dstats["info"].as_object().expect("an object").keys().cloned().collect();
        s.note("keys of dstats", keys.join(" "));
        s.note("pid of dstats", dstats["info"]["pid"] == json!(s.daemon.pid()));
    });
}

//! The command `stats`; the feed on its own endpoint has its own file.

use circus_tests::script::agree;
use serde_json::json;

use crate::{CALM, wait_for_a_child};

#[test]
fn figures() {
    agree(CALM, |s| {
        s.call("stats", json!({}));
        s.call("stats", json!({"extended": true}));
        for name in ["One", "three", "nope", "one*"] {
            s.call("stats", json!({"name": name}));
        }
        s.call("stats", json!({"name": "one", "extended": true}));
        let reply = s.call("list", json!({"name": "two words"}));
        let pid = &reply["pids"][0];
        s.call("stats", json!({"name": "two words", "process": pid}));
        s.call("stats", json!({"name": "Two Words", "process": pid, "extended": true}));
        for process in [json!(1), json!("1"), json!(pid.to_string())] {
            s.call("stats", json!({"name": "one", "process": process}));
        }
        for process in [json!("abc"), json!("it's"), json!("2\""), json!(null), json!([]), json!(true)] {
            s.call("stats", json!({"name": "one", "process": process}));
        }
        s.call("stats", json!({"name": "nope", "process": 1}));
        s.call("stats", json!({"process": 1}));
        s.no_event();
    });
}

#[test]
fn children_are_within() {
    let ini = "\
[circus]
check_delay = 600
[watcher:parent]
cmd = {mischief} with-child
stop_children = True
graceful_timeout = 5
";
    agree(ini, |s| {
        wait_for_a_child(s, "parent");
        s.call("stats", json!({"name": "parent"}));
    });
}

//! `incr`.

use circus_tests::daemon::Flavor;
use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

/// Shared with `decr`.
pub(crate) const ALONE: &str = "\
[circus]
check_delay = 600
[watcher:alone]
cmd = sleep 1000
singleton = True
[watcher:once]
cmd = sleep 1000
respawn = False
";

#[test]
fn more() {
    agree(CALM, |s| {
        s.call("incr", json!({"name": "one", "waiting": true}));
        s.events();
        s.call("incr", json!({"name": "ONE", "nb": 2, "waiting": true}));
        s.events();
        s.call("incr", json!({"name": "one", "nb": 0, "waiting": true}));
        s.events();
        s.call("incr", json!({"name": "one", "nb": -2, "waiting": true}));
        s.events();
        s.call("list", json!({"name": "one"}));
        s.call("incr", json!({"name": "one", "nb": -99, "waiting": true}));
        s.events();
        s.call("status", json!({"name": "one"}));
        s.call("get", json!({"name": "one", "keys": ["numprocesses"]}));
        s.call("incr", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("numprocesses", json!({"name": "three"}));
        s.call("get", json!({"name": "three", "keys": ["numprocesses"]}));
        s.call("incr", json!({"name": "nope"}));
        s.call("incr", json!({"name": "t*"}));
        s.call("incr", json!({"name": 5}));
        s.call("incr", json!({}));
        s.call("incr", json!({"name": "two words"}));
        s.wait_event("watcher.two_words.spawn");
        s.call("list", json!({"name": "two words"}));
    });
}

#[test]
fn where_there_is_only_one() {
    agree(ALONE, |s| {
        s.call("incr", json!({"name": "alone"}));
        s.call("incr", json!({"name": "alone", "waiting": true, "nb": 3}));
        s.events();
        s.call("list", json!({"name": "alone"}));
        s.call("incr", json!({"name": "once", "waiting": true}));
        s.events();
        s.call("list", json!({"name": "once"}));
        s.call("get", json!({"name": "once", "keys": ["numprocesses"]}));
    });
}

/// Work that cannot be done: stock never answers who waits for it.
#[test]
fn what_cannot_be_done_is_answered() {
    let ini = "\
[circus]
check_delay = 600
[watcher:one]
cmd = sleep 1000
[watcher:void]
autostart = False
";
    agree(ini, |s| {
        for (command, properties, errno) in [
            ("incr", json!({"name": "one", "nb": "2", "waiting": true}), 3),
            ("decr", json!({"name": "one", "nb": "2", "waiting": true}), 3),
            ("start", json!({"name": "void", "waiting": true}), 6),
            ("restart", json!({"name": "void", "waiting": true}), 6),
        ] {
            let request = json!({"id": "q2", "command": command, "properties": properties});
            let reply = s.raw_differs("D140", request.to_string().as_bytes());
            match (s.flavor(), reply) {
                (Flavor::Stock, reply) => assert_eq!(reply, None, "{command}"),
                (Flavor::Ours, reply) => assert_eq!(reply.expect("an answer")["errno"], errno, "{command}"),
            }
        }
        s.call("get", json!({"name": "one", "keys": ["numprocesses"]}));
    });
}

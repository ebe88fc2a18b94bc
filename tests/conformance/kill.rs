//! `kill`.

use circus_tests::script::agree;
use serde_json::json;

use crate::{CALM, THREE, minds_term};

#[test]
fn then_respawn() {
    agree(THREE, |s| {
        s.call("kill", json!({"name": "two words", "waiting": true}));
        s.events_until("watcher.two_words.spawn");
        let reply = s.call("list", json!({"name": "two words"}));
        s.call(
            "kill",
            json!({"name": "two words", "pid": reply["pids"][0], "signum": "KILL", "waiting": true}),
        );
        s.events_until("watcher.two_words.spawn");
        let reply = s.call("list", json!({"name": "two words"}));
        let text = reply["pids"][0].to_string();
        s.call("kill", json!({"name": "two words", "pid": text, "signum": "int", "waiting": true}));
        s.events_until("watcher.two_words.spawn");
        s.call("status", json!({"name": "two words"}));
    });
}

#[test]
fn what_has_no_effect_and_what_is_refused() {
    agree(CALM, |s| {
        s.call("kill", json!({"name": "two words", "pid": 1, "waiting": true}));
        s.call("kill", json!({"name": "three", "waiting": true}));
        s.call("kill", json!({}));
        s.call("kill", json!({"name": "one", "pid": "abc"}));
        s.call("kill", json!({"name": "one", "pid": null}));
        s.call("kill", json!({"name": "one", "signum": ""}));
        s.call("kill", json!({"name": "one", "signum": " TERM"}));
        s.call("kill", json!({"name": "one", "signum": null}));
        s.call_differs("D29", "kill", json!({"name": "one", "signum": "NOSUCH"}));
        s.call_differs("D28", "kill", json!({"name": "nope"}));
        s.call_differs("D28", "kill", json!({"name": "nope", "waiting": true}));
        s.call_differs("D28", "kill", json!({"name": 5, "waiting": true}));
        s.call_differs("D28", "kill", json!({"name": "one", "signum": 999}));
        s.call_differs("D28", "kill", json!({"name": "one", "signum": 999, "waiting": true}));
        s.call("kill", json!({"name": "one", "pid": []}));
        s.call("kill", json!({"name": "one", "pid": 1.5}));
        s.no_event();
    });
}

#[test]
fn with_a_time_of_its_own() {
    let ini = "\
[circus]
check_delay = 600
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 60
";
    agree(ini, |s| {
        s.wait_for("the child to be ready", "list", &json!({"name": "deaf"}), |reply| {
            reply["pids"][0].as_i64().is_some_and(minds_term)
        });
        s.call("kill", json!({"name": "deaf", "graceful_timeout": 0.3, "waiting": true}));
        // Who comes in its place comes at stock's next check, with us at once.
        let events = s.wire.events_so_far();
        let kills = events.iter().filter(|(topic, _)| topic == "watcher.deaf.kill").count();
        let reaps = events.iter().filter(|(topic, _)| topic == "watcher.deaf.reap").count();
        s.note("kill and reap events", format!("{kills} {reaps}"));
        let list = s.wire.ask("list", &json!({"name": "deaf"}));
        s.note_differs("D21", "processes", list);
    });
}

//! incr, decr, kill, signal.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn more_and_fewer() {
    agree(THREE, |s| {
        s.call("incr", json!({"name": "one", "waiting": true}));
        s.events_until("watcher.one.spawn");
        s.call("incr", json!({"name": "one", "nb": 2, "waiting": true}));
        s.events_until("watcher.one.spawn");
        s.events_until("watcher.one.spawn");
        s.call("decr", json!({"name": "one", "nb": 2, "waiting": true}));
        s.events_until("watcher.one.kill");
        s.events_until("watcher.one.kill");
        s.call("list", json!({"name": "one"}));
        s.call("decr", json!({"name": "one", "nb": 99, "waiting": true}));
        s.call("status", json!({"name": "one"}));
        s.call("list", json!({"name": "one"}));
        s.call("incr", json!({"name": "three", "waiting": true}));
        s.call("numprocesses", json!({"name": "three"}));
        s.call("incr", json!({"name": "nope"}));
        s.call("incr", json!({}));
    });
}

#[test]
fn singleton_stays_alone() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:alone]
cmd = sleep 1000
singleton = True
";
    agree(ini, |s| {
        s.call("incr", json!({"name": "alone"}));
        s.call("decr", json!({"name": "alone", "waiting": true}));
        s.call("list", json!({"name": "alone"}));
        s.call("set", json!({"name": "alone", "options": {"numprocesses": 2}}));
    });
}

#[test]
fn kill_then_respawn() {
    agree(THREE, |s| {
        s.call("kill", json!({"name": "two words", "waiting": true}));
        s.events_until("watcher.two_words.spawn");
        let reply = s.call("list", json!({"name": "two words"}));
        s.call(
            "kill",
            json!({"name": "two words", "pid": reply["pids"][0], "signum": "KILL", "waiting": true}),
        );
        s.events_until("watcher.two_words.spawn");
        s.call("kill", json!({"name": "two words", "pid": 1, "waiting": true}));
        s.call("kill", json!({}));
    });
}

#[test]
fn signals_in_every_spelling() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:sig]
cmd = sleep 1000
";
    agree(ini, |s| {
        for signum in [json!(0), json!("0"), json!("CONT"), json!("sigcont"), json!("SIGCONT"), json!("+18")]
        {
            s.call("signal", json!({"name": "sig", "signum": signum}));
        }
        s.call("signal", json!({"name": "sig", "signum": ""}));
        s.call("signal", json!({"name": "sig", "signum": 999}));
        s.call("signal", json!({"name": "sig"}));
        s.call("signal", json!({"signum": 1}));
        s.call("signal", json!({"name": "sig", "signum": "cont", "pid": 1}));
        s.no_event();
    });
}

#[test]
fn children_can_be_signalled() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:parent]
cmd = {mischief} with-child
stop_children = True
graceful_timeout = 5
";
    agree(ini, |s| {
        s.wait_for("a child", "stats", &json!({"name": "parent"}), |reply| {
            reply["info"].as_object().is_some_and(|info| {
                info.values().any(|one| one["children"].as_array().is_some_and(|list| list.len() == 1))
            })
        });
        let pids = s.call("list", json!({"name": "parent"}));
        let pid = &pids["pids"][0];
        s.call("signal", json!({"name": "parent", "signum": "cont", "children": true}));
        s.call("signal", json!({"name": "parent", "signum": "cont", "recursive": true}));
        s.call("signal", json!({"name": "parent", "signum": "cont", "pid": pid, "children": true}));
        s.call("stop", json!({"name": "parent", "waiting": true}));
        s.call("status", json!({"name": "parent"}));
    });
}

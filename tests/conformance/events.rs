//! The sequences of events that the contract captured; those of single commands are in their files.

use circus_tests::script::agree;
use serde_json::json;

use crate::minds_term;

/// Checks come often, because these sequences happen at stock's checks.
const TWO: &str = "\
[circus]
check_delay = 0.3
[watcher:w]
cmd = sleep 1000
numprocesses = 2
graceful_timeout = 5
[watcher:once]
cmd = sleep 1000
numprocesses = 2
respawn = False
autostart = False
[watcher:temp]
cmd = {dir}/prog 1000
autostart = False
";

#[test]
fn deaths_are_reaped_and_replaced() {
    agree(TWO, |s| {
        let pids = s.call("list", json!({"name": "w"}));
        s.call("signal", json!({"name": "w", "signum": "term", "pid": pids["pids"][0]}));
        s.events_until("watcher.w.spawn");
        s.call("signal", json!({"name": "w", "signum": 9, "pid": pids["pids"][1]}));
        s.events_until("watcher.w.spawn");
        s.call("list", json!({"name": "w"}));
        s.call("kill", json!({"name": "w", "pid": pids["pids"][0], "waiting": true}));
        s.no_event();
    });
}

#[test]
fn without_respawn_the_watcher_stops() {
    agree(TWO, |s| {
        s.call("start", json!({"name": "once", "waiting": true}));
        s.events();
        let pids = s.call("list", json!({"name": "once"}));
        s.call("signal", json!({"name": "once", "signum": "term", "pid": pids["pids"][1]}));
        s.events_until("watcher.once.reap");
        s.call("signal", json!({"name": "once", "signum": "kill", "pid": pids["pids"][0]}));
        s.events_until("watcher.once.stop");
        s.call("status", json!({"name": "once"}));
        s.call("start", json!({"name": "once", "waiting": true}));
        s.events();
    });
}

#[test]
fn respawn_that_fails_stops_the_watcher() {
    agree(TWO, |s| {
        let program = s.daemon.dir().join("prog");
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("a link");
        s.call("start", json!({"name": "temp", "waiting": true}));
        s.events();
        std::fs::remove_file(&program).expect("it is there");
        s.call("signal", json!({"name": "temp", "signum": "term"}));
        s.events_until("watcher.temp.stop");
        s.call("status", json!({"name": "temp"}));
    });
}

#[test]
fn exit_status_and_signal_are_told() {
    let ini = "\
[circus]
check_delay = 0.3
[watcher:five]
cmd = {mischief} cue {dir}/five
respawn = False
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 0.5
";
    agree(ini, |s| {
        s.call("list", json!({"name": "five"}));
        std::fs::write(s.daemon.dir().join("five"), "").expect("the cue");
        s.events_until("watcher.five.stop");
        s.wait_for("the child to be ready", "list", &json!({"name": "deaf"}), |reply| {
            reply["pids"][0].as_i64().is_some_and(minds_term)
        });
        s.call("restart", json!({"name": "deaf", "waiting": true}));
        s.events();
    });
}

#[test]
fn expired_processes_are_replaced() {
    let ini = "\
[circus]
check_delay = 0.3
[watcher:aged]
cmd = sleep 1000
max_age = 2
max_age_variance = 0
";
    agree(ini, |s| {
        s.call("list", json!({"name": "aged"}));
        s.events_until("watcher.aged.spawn");
        s.call("status", json!({"name": "aged"}));
    });
}

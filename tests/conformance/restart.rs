//! `restart`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn one() {
    agree(CALM, |s| {
        s.call("restart", json!({"name": "one", "waiting": true}));
        s.events();
        s.call("restart", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("restart", json!({"name": "two words"}));
        s.wait_event("watcher.two_words.start");
        s.call("list", json!({"name": "two words"}));
        s.call("restart", json!({"name": "nope"}));
        s.call("restart", json!({"name": "one", "match": "zorg"}));
        s.call("restart", json!({"name": 7}));
    });
}

#[test]
fn several_leave_autostart_false_stopped() {
    agree(CALM, |s| {
        s.call("start", json!({"name": "three", "waiting": true}));
        s.skip_events();
        s.call("restart", json!({"name": "t*", "waiting": true}));
        s.events_by_watcher();
        s.call("status", json!({}));
        s.call("restart", json!({"name": "o.e|three", "match": "regex", "waiting": true}));
        s.events_by_watcher();
        s.call("status", json!({}));
        s.call("restart", json!({"name": "t*"}));
        s.wait_event("watcher.two_words.start");
        s.call("status", json!({}));
    });
}

#[test]
fn everything_is_answered_when_all_is_stopped() {
    agree(CALM, |s| {
        s.call("restart", json!({"waiting": true}));
        // What follows kills stock now and then (Q4); `quirks` has our side of it.
    });
}

#[test]
fn program_is_gone_meanwhile() {
    let ini = "\
[circus]
check_delay = 600
[watcher:temp]
cmd = {dir}/prog 1000
autostart = False
";
    agree(ini, |s| {
        let program = s.daemon.dir().join("prog");
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("a link");
        s.call("start", json!({"name": "temp", "waiting": true}));
        s.skip_events();
        std::fs::remove_file(&program).expect("it is there");
        s.call("reload", json!({"name": "temp", "waiting": true}));
        s.events();
        s.call("list", json!({"name": "temp"}));
        s.call("restart", json!({"name": "temp", "waiting": true}));
        s.events();
        s.call("status", json!({"name": "temp"}));
    });
}

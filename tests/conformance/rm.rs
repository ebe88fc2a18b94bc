//! `rm`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn removed_then_stopped() {
    agree(CALM, |s| {
        s.call("rm", json!({"name": "ONE", "waiting": true}));
        s.events();
        s.call("list", json!({}));
        s.call("rm", json!({"name": "one"}));
        s.call("rm", json!({"name": "one", "waiting": true}));
        s.call("rm", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("rm", json!({"name": "t*"}));
        s.call("rm", json!({}));
        s.call("rm", json!({"name": 5}));
        s.call("rm", json!({"name": "two words"}));
        s.events_until("watcher.two_words.stop");
        s.call("list", json!({}));
        s.call("numwatchers", json!({}));
        s.call("add", json!({"name": "one", "cmd": "sleep 1000", "start": true, "waiting": true}));
        s.events();
    });
}

#[test]
fn without_stopping() {
    agree(CALM, |s| {
        let reply = s.call("list", json!({"name": "two words"}));
        s.call("rm", json!({"name": "two words", "nostop": true, "waiting": true}));
        s.events();
        let pid = i32::try_from(reply["pids"][0].as_i64().expect("a pid")).expect("a pid fits");
        s.note("still alive", circus_tests::daemon::alive(pid));
        s.call("list", json!({}));
        s.call("rm", json!({"name": "three", "nostop": 1}));
        s.call("rm", json!({"name": "one", "nostop": false, "waiting": true}));
        s.skip_events();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
            .expect("it lives");
        circus_tests::wait::until("the death", || (!circus_tests::daemon::alive(pid)).then_some(()));
        s.no_event();
    });
}

//! add and rm.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn add_start_and_remove() {
    agree(THREE, |s| {
        s.call("add", json!({"name": "new ONE", "cmd": "sleep 500"}));
        s.events_until("watcher.new_one.add");
        s.call("status", json!({"name": "new one"}));
        s.call("options", json!({"name": "new one"}));
        s.call("add", json!({"name": "NEW one", "cmd": "sleep 500"}));
        s.call(
            "add",
            json!({"name": "now", "cmd": "sleep", "args": ["501"], "start": true, "waiting": true}),
        );
        s.events_until("watcher.now.start");
        s.call("list", json!({}));
        s.call("rm", json!({"name": "now", "waiting": true}));
        s.events_until("watcher.now.stop");
        s.call("rm", json!({"name": "now"}));
        s.call("rm", json!({}));
        s.call("list", json!({}));
    });
}

#[test]
fn add_with_options() {
    agree(THREE, |s| {
        let options = json!({"numprocesses": 2, "graceful_timeout": 1.5, "env": {"A": "$HOME"}, "respawn": false,
            "stdout_stream": {"class": "FileStream", "filename": format!("{}/x.log", s.daemon.dir().display())}});
        s.call(
            "add",
            json!({"name": "opt", "cmd": "sleep 500", "options": options, "start": true, "waiting": true}),
        );
        s.events_until("watcher.opt.start");
        s.call("options", json!({"name": "opt"}));
        s.call("add", json!({"name": "bad", "cmd": "sleep 1", "options": {"zorg": 1}}));
        s.call("add", json!({"name": "bad", "cmd": "sleep 1", "options": {"numprocesses": "x"}}));
        s.call(
            "add",
            json!({"name": "bad", "cmd": "sleep 1", "options": {"singleton": true, "numprocesses": 3}}),
        );
        s.call("add", json!({"name": "bad"}));
        s.call("add", json!({"cmd": "sleep 1"}));
        s.call("add", json!({"name": "missing", "cmd": "/no/such/thing", "start": true, "waiting": true}));
        s.call("status", json!({"name": "missing"}));
    });
}

#[test]
fn remove_without_stopping() {
    agree(THREE, |s| {
        let reply = s.call("list", json!({"name": "two words"}));
        s.call("rm", json!({"name": "two words", "nostop": true, "waiting": true}));
        s.events_until("watcher.two_words.remove");
        let pid = i32::try_from(reply["pids"][0].as_i64().expect("a pid")).expect("a pid fits");
        s.note("still alive", circus_tests::daemon::alive(pid));
        s.call("list", json!({}));
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)
            .expect("it lives");
    });
}

//! `add`.

use circus_tests::daemon::Flavor;
use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn with_and_without_start() {
    agree(CALM, |s| {
        s.call("add", json!({"name": "new ONE", "cmd": "sleep 500"}));
        s.events();
        s.call("status", json!({"name": "new one"}));
        s.call("options", json!({"name": "new one"}));
        s.call("add", json!({"name": "NEW one", "cmd": "sleep 500"}));
        s.call("add", json!({"name": "ONE", "cmd": "sleep 500", "start": true, "waiting": true}));
        s.call(
            "add",
            json!({"name": "now", "cmd": "sleep", "args": ["501"], "start": true, "waiting": true}),
        );
        s.events();
        s.call("add", json!({"name": "text", "cmd": "sleep", "args": "502", "start": 1, "waiting": 1}));
        s.events();
        s.call("add", json!({"name": "off", "cmd": "sleep 500", "start": false, "waiting": true}));
        s.events();
        s.call("add", json!({"name": "later", "cmd": "sleep 500", "start": true}));
        s.events_until("watcher.later.start");
        s.call("add", json!({"name": "missing", "cmd": "/no/such/thing", "start": true, "waiting": true}));
        s.events();
        s.call("status", json!({"name": "missing"}));
        s.call("list", json!({}));
        s.call("status", json!({}));
        // It takes part in nameless starts: autostart is true.
        s.call("stop", json!({"name": "now", "waiting": true}));
        s.call("start", json!({"waiting": true}));
        s.call("status", json!({"name": "now"}));
        s.call("rm", json!({"name": "now", "waiting": true}));
        s.skip_events();
        s.call("add", json!({"name": "NOW", "cmd": "sleep 503"}));
        s.call("status", json!({}));
    });
}

#[test]
fn every_option() {
    agree(CALM, |s| {
        let log = format!("{}/x.log", s.daemon.dir().display());
        let options = json!({
            "numprocesses": 2, "warmup_delay": 0.0, "working_dir": "/", "uid": "root", "gid": 0,
            "send_hup": true, "stop_signal": 2, "stop_children": true, "shell": false,
            "env": {"A": "$HOME"}, "max_retry": 3, "graceful_timeout": 1.5, "max_age": 700,
            "max_age_variance": 3, "respawn": false, "singleton": false, "close_child_stdin": true,
            "close_child_stdout": true, "close_child_stderr": false, "retry_in": 4,
            "stdout_stream": {"class": "FileStream", "filename": log},
            "stderr_stream": {"class": "StdoutStream"},
            "rlimit_core": null,
        });
        s.call(
            "add",
            json!({"name": "opt", "cmd": "sleep 500", "options": options, "start": true, "waiting": true}),
        );
        s.events();
        s.call("options", json!({"name": "opt"}));
        s.call("add", json!({"name": "whole", "cmd": "sleep 500", "options": {"warmup_delay": 2}}));
        s.call_differs("D22", "get", json!({"name": "whole", "keys": ["warmup_delay"]}));
        let reply = s.call("list", json!({"name": "opt"}));
        let pid = reply["pids"][0].as_i64().expect("a pid");
        let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("our child");
        s.note("environment", format!("{environ:?}"));
        let copy = json!({"copy_env": true, "env": {"NODE": "own"}});
        s.call("add", json!({"name": "copy", "cmd": "sleep 500", "options": copy}));
        let reply = s.wire.ask("options", &json!({"name": "copy"}));
        s.note("own variable", &reply["options"]["env"]["NODE"]);
        s.note("copied variable is there", reply["options"]["env"]["PATH"].is_string());
    });
}

#[test]
fn refusals() {
    agree(CALM, |s| {
        let add = |options| json!({"name": "bad", "cmd": "sleep 1", "options": options});
        for options in [
            json!({"zorg": 1}),
            json!({"numprocesses": "x"}),
            json!({"warmup_delay": "x"}),
            json!({"uid": []}),
            json!({"uid": "nosuch"}),
            json!({"gid": "nosuch"}),
            json!({"send_hup": "yes"}),
            json!({"env": []}),
            json!({"env": {"A": 1}}),
            json!({"singleton": true, "numprocesses": 3}),
            json!({"stop_signal": "TERM"}),
            json!({"stdout_stream": {}}),
            json!({"stdout_stream": "x"}),
            json!({"rlimit_zorg": 1}),
            json!({"rlimit_nofile": "x"}),
            json!({"hooks": "x"}),
            json!({"hooks": {"zorg": ["a.b", false]}}),
            json!({"cmd": "x"}),
            json!({"args": "x"}),
            json!({"priority": 1}),
            json!({"autostart": false}),
            json!([]),
            json!("x"),
            json!(null),
        ] {
            s.call("add", add(options));
        }
        s.call_differs(
            "D27",
            "add",
            json!({"name": "limited", "cmd": "sleep 1", "options": {"rlimit_nofile": 200}}),
        );
        s.call_differs("D26", "add", json!({"name": "", "cmd": "sleep 1"}));
        s.call("add", json!({"name": "bad"}));
        s.call("add", json!({"cmd": "sleep 1"}));
        s.call("add", json!({}));
        s.call("add", json!({"name": 5, "cmd": "sleep 1"}));
        s.events_differ("D27");
        s.call_differs("D27", "list", json!({}));
    });
}

/// What stock takes and breaks on later, or refuses in words of its own.
#[test]
fn values_that_make_no_sense() {
    agree(CALM, |s| {
        let pair = json!({"hooks": {"before_start": "os.getcwd"}});
        for (tag, given, errno) in [
            ("D142", json!({"cmd": "sleep 1", "options": pair}), None),
            ("D142", json!({"cmd": "sleep 1", "options": {"hooks.before_start": "os.getcwd"}}), None),
            ("D142", json!({"cmd": "sleep 1", "options": {"stdout_stream.x": 5}}), Some(5)),
            ("D141", json!({"cmd": "sleep 1", "options": {"hooks": {"before_start": 5}}}), Some(3)),
            ("D141", json!({"cmd": 5}), Some(3)),
            ("D141", json!({"cmd": null}), Some(3)),
            ("D141", json!({"cmd": "sleep", "args": 5}), Some(3)),
        ] {
            let mut properties = given.clone();
            properties["name"] = json!("odd");
            let reply = s.call_differs(tag, "add", properties);
            if s.flavor() == Flavor::Ours {
                assert_eq!(reply["errno"].as_i64(), errno, "{given}: {reply}");
            }
            s.wire.ask("rm", &json!({"name": "odd", "waiting": true}));
        }
        s.call("add", json!({"name": "none", "cmd": ""}));
        s.call("add", json!({"name": "open", "cmd": "sleep 'x"}));
        s.call("status", json!({}));
        // Whatever cannot be started: errno 6 for who waits, ok for who does not.
        let started = json!({"name": "void", "cmd": "", "start": true, "waiting": true});
        let reply = s.call_differs("D140", "add", started);
        s.note("errno", &reply["errno"]);
        s.call("numwatchers", json!({}));
    });
}

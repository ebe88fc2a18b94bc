//! `set`.

use circus_tests::daemon::{Flavor, descendants};
use circus_tests::script::agree;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::CALM;

#[test]
fn what_takes_effect() {
    agree(CALM, |s| {
        let set = |name: &str, options| json!({"name": name, "options": options, "waiting": true});
        s.call("set", set("one", json!({"numprocesses": 3})));
        s.events();
        s.call("set", set("ONE", json!({"numprocesses": 1})));
        s.events();
        s.call("set", set("one", json!({"numprocesses": true})));
        s.events();
        s.call("set", set("one", json!({"numprocesses": -3})));
        s.events();
        s.call("status", json!({"name": "one"}));
        s.call("set", set("one", json!({"graceful_timeout": 3, "warmup_delay": 0.5})));
        s.events();
        s.call("get", json!({"name": "one", "keys": ["graceful_timeout", "warmup_delay", "numprocesses"]}));
        s.call("set", set("one", json!({"stop_signal": 2, "send_hup": false, "stop_children": false})));
        s.events();
        s.call("get", json!({"name": "one", "keys": ["stop_signal", "send_hup", "stop_children"]}));
        s.call("set", set("one", json!({})));
        s.events();
        s.call("set", set("three", json!({"numprocesses": 4, "cmd": "sleep 3001"})));
        s.events();
        s.call("get", json!({"name": "three", "keys": ["numprocesses", "cmd"]}));
        s.call("start", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("set", json!({"name": "three", "options": {"numprocesses": 1}}));
        s.wait_event("watcher.three.kill");
    });
}

#[test]
fn what_reloads() {
    agree(CALM, |s| {
        let set = |options| json!({"name": "two words", "options": options, "waiting": true});
        s.call("set", set(json!({"cmd": "sleep 4000", "args": ""})));
        s.events();
        let mut below = Vec::new();
        for options in [
            json!({"args": ["5"]}),
            json!({"args": "4001"}),
            json!({"working_dir": "/"}),
            json!({"env": {"A": "$HOME", "B": ""}}),
            json!({"max_age": 1000}),
            json!({"max_age_variance": 5}),
            json!({"uid": "root"}),
            json!({"uid": 0, "gid": 0}),
            json!({"gid": "root"}),
            json!({"shell": true}),
            json!({"shell": false, "graceful_timeout": 2}),
            json!({"env": {}}),
        ] {
            if options == json!({"shell": false, "graceful_timeout": 2}) {
                // What the shell started is left behind by stock, which ends the shell alone.
                let shell = s.wire.ask("list", &json!({"name": "two words"}))["pids"][0].as_i64();
                below = shell.and_then(|pid| i32::try_from(pid).ok()).map(descendants).unwrap_or_default();
            }
            s.call("set", set(options));
            s.events();
        }
        for pid in below {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        s.call("options", json!({"name": "two words"}));
        let reply = s.call("list", json!({"name": "two words"}));
        let pid = reply["pids"][0].as_i64().expect("a pid");
        let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("our child");
        s.note("environment", format!("{environ:?}"));
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("our child");
        s.note("directory", cwd.display());
    });
}

#[test]
fn what_stock_takes_and_forgets() {
    agree(CALM, |s| {
        for (key, value) in [
            ("max_retry", json!(9)),
            ("respawn", json!(false)),
            ("singleton", json!(false)),
            ("close_child_stdin", json!(false)),
            ("close_child_stdout", json!(true)),
            ("close_child_stderr", json!(true)),
            ("copy_env", json!(false)),
            ("retry_in", json!(3)),
            ("rlimit_nofile", json!(100)),
            ("rlimit_core", json!(null)),
        ] {
            s.call("set", json!({"name": "one", "options": {key: value}, "waiting": true}));
            s.events();
            if !key.starts_with("rlimit") && key != "retry_in" {
                s.call_differs("D23", "get", json!({"name": "one", "keys": [key]}));
            }
        }
    });
}

#[test]
fn refusals() {
    agree(CALM, |s| {
        for (key, value) in [
            ("numprocesses", json!("3")),
            ("numprocesses", json!(1.5)),
            ("numprocesses", json!(null)),
            ("warmup_delay", json!("x")),
            ("warmup_delay", json!(null)),
            ("graceful_timeout", json!("5")),
            ("retry_in", json!("5")),
            ("max_retry", json!("5")),
            ("max_age", json!(1.5)),
            ("max_age_variance", json!("x")),
            ("uid", json!([])),
            ("uid", json!(1.5)),
            ("gid", json!(null)),
            ("uid", json!("nosuch")),
            ("uid", json!(99999)),
            ("gid", json!("nosuch")),
            ("gid", json!(99999)),
            ("uid", json!("99999")),
            ("uid", json!(-7)),
            ("send_hup", json!("yes")),
            ("send_hup", json!(1)),
            ("stop_children", json!("no")),
            ("shell", json!("true")),
            ("copy_env", json!(0)),
            ("respawn", json!("x")),
            ("close_child_stdin", json!(1)),
            ("close_child_stdout", json!(1)),
            ("close_child_stderr", json!(null)),
            ("stop_signal", json!("TERM")),
            ("stop_signal", json!(null)),
            ("env", json!([])),
            ("env", json!("A=1")),
            ("env", json!({"A": 1})),
            ("env", json!({"A": "1", "B": null})),
            ("rlimit_zorg", json!(1)),
            ("rlimit_nofile", json!("x")),
            ("rlimit_nofile", json!(1.5)),
            ("rlimit_", json!(1)),
            ("stdout_stream", json!("x")),
            ("stdout_stream", json!({})),
            ("stderr_stream", json!({"filename": "x"})),
            ("hooks", json!("x")),
            ("hooks", json!([])),
            ("hooks", json!({"zorg": "a.b"})),
            ("priority", json!(1)),
            ("autostart", json!(true)),
            ("use_sockets", json!(true)),
            ("virtualenv", json!("/x")),
            ("on_demand", json!(true)),
            ("executable", json!("x")),
            ("shell_args", json!("x")),
            ("stdin_socket", json!("x")),
            ("copy_path", json!(true)),
            ("hello", json!("x")),
            ("zorg", json!(1)),
            ("it's", json!(1)),
            ("CMD", json!("x")),
        ] {
            s.call("set", json!({"name": "one", "options": {key: value}, "waiting": true}));
        }
        for options in [json!([]), json!("x"), json!(null), json!(5)] {
            s.call("set", json!({"name": "one", "options": options}));
        }
        s.call("set", json!({"name": "one"}));
        s.call("set", json!({"options": {}}));
        s.call("set", json!({"name": "nope", "options": {}}));
        s.call("set", json!({"name": "nope", "options": {"zorg": 1}}));
        s.call("set", json!({"name": "o*", "options": {}}));
        s.no_event();
        // All are checked first; what fails while it is applied leaves those before it applied.
        s.call("set", json!({"name": "one", "options": {"graceful_timeout": 9, "zorg": 1}}));
        s.call("get", json!({"name": "one", "keys": ["graceful_timeout"]}));
        s.call(
            "set",
            json!({"name": "one", "options": {"graceful_timeout": 9, "uid": "nosuch", "max_age": 8}}),
        );
        s.call_differs("D36", "get", json!({"name": "one", "keys": ["graceful_timeout"]}));
        s.events_differ("D36");
        s.call("get", json!({"name": "one", "keys": ["max_age"]}));
        s.call("list", json!({"name": "one"}));
    });
}

/// What stock takes and breaks on later, or refuses in words of its own.
#[test]
fn values_that_make_no_sense() {
    agree(CALM, |s| {
        let whole = json!({"class": "FileStream", "filename": format!("{}/x", s.daemon.dir().display())});
        for (tag, options, errno) in [
            ("D142", json!({"stdout_stream": whole}), None),
            ("D142", json!({"hooks": {"before_start": ["os.getcwd", false]}}), None),
            ("D30", json!({"hooks.before_start": "nodot"}), Some(5)),
            ("D141", json!({"hooks": {"before_start": 5}}), Some(3)),
            ("D141", json!({"hooks.before_start": 5}), Some(3)),
            ("D141", json!({"hooks.zorg": 5}), Some(3)),
            ("D141", json!({"cmd": 5}), Some(3)),
            ("D141", json!({"cmd": null}), Some(3)),
            ("D141", json!({"args": 5}), Some(3)),
            ("D141", json!({"working_dir": 5}), Some(3)),
        ] {
            let reply = s.call_differs(tag, "set", json!({"name": "three", "options": options}));
            if s.flavor() == Flavor::Ours {
                assert_eq!(reply["errno"].as_i64(), errno, "{options}: {reply}");
            }
        }
        s.call("set", json!({"name": "one", "options": {"hooks": {"before_start": ""}}}));
        s.call("set", json!({"name": "one", "options": {"hooks": {"zorg": "os.getcwd"}}}));
        s.call("set", json!({"name": "two words", "options": {"stdout_stream.zorg": "x"}}));
    });
}

#[test]
fn singleton_stays_alone() {
    agree(crate::incr::ALONE, |s| {
        s.call("set", json!({"name": "alone", "options": {"numprocesses": 2}}));
        s.events();
        s.call("set", json!({"name": "alone", "options": {"numprocesses": 0}, "waiting": true}));
        s.events();
        s.call("set", json!({"name": "alone", "options": {"numprocesses": 1}, "waiting": true}));
        s.events();
    });
}

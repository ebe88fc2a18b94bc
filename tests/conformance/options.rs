//! options, get, set.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn options_of_a_watcher_from_a_file() {
    agree(THREE, |s| {
        s.call("options", json!({"name": "three"}));
        s.call("options", json!({"name": "Two Words"}));
        s.call("options", json!({"name": "nope"}));
        s.call("options", json!({}));
    });
}

#[test]
fn environment_sections() {
    let ini = "\
[circus]
check_delay = 0.5
[env]
FIRST = 1
HOME = $HOME/sub
[env:a*,c]
SECOND = $NO_SUCH_VARIABLE.
FIRST = 2
[watcher:abc]
cmd = sleep 1000
[watcher:b]
cmd = sleep 1000
rlimit_nofile = 500
stop_signal = INT
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/b.log
";
    agree(ini, |s| {
        s.call("options", json!({"name": "abc"}));
        s.call("options", json!({"name": "b"}));
        for name in ["abc", "b"] {
            let reply = s.call("list", json!({"name": name}));
            let pid = reply["pids"][0].as_i64().expect("a pid");
            let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("our child");
            let mut variables: Vec<_> =
                environ.split_terminator('\0').filter(|v| !v.starts_with("__name__")).collect();
            variables.sort_unstable();
            s.note("environment", variables.join(" "));
        }
    });
}

#[test]
fn get_some() {
    agree(THREE, |s| {
        s.call(
            "get",
            json!({"name": "one", "keys": ["cmd", "numprocesses", "graceful_timeout", "stop_signal"]}),
        );
        s.call("get", json!({"name": "one", "keys": []}));
        s.call("get", json!({"name": "one", "keys": ["autostart"]}));
        s.call("get", json!({"name": "one"}));
        s.call("get", json!({"keys": ["cmd"]}));
    });
}

#[test]
fn set_and_its_refusals() {
    agree(THREE, |s| {
        s.call("set", json!({"name": "one", "options": {"numprocesses": 3}, "waiting": true}));
        s.events_until("watcher.one.spawn");
        s.call("set", json!({"name": "one", "options": {"numprocesses": 1}, "waiting": true}));
        s.events_until("watcher.one.kill");
        s.events_until("watcher.one.kill");
        s.call("set", json!({"name": "one", "options": {"graceful_timeout": 3, "warmup_delay": 0.5}}));
        s.call("get", json!({"name": "one", "keys": ["graceful_timeout", "warmup_delay"]}));
        s.call(
            "set",
            json!({"name": "one", "options": {"stop_signal": 2, "send_hup": false, "stop_children": false}}),
        );
        s.call("get", json!({"name": "one", "keys": ["stop_signal"]}));
        s.skip_events();
        s.call(
            "set",
            json!({"name": "two words", "options": {"cmd": "sleep 4000", "args": ""}, "waiting": true}),
        );
        s.events_until("watcher.two_words.reload");
        s.call("get", json!({"name": "two words", "keys": ["cmd", "args"]}));
        for (key, value) in [
            ("numprocesses", json!("3")),
            ("warmup_delay", json!("x")),
            ("uid", json!([])),
            ("send_hup", json!("yes")),
            ("stop_signal", json!("TERM")),
            ("env", json!([])),
            ("env", json!({"A": 1})),
            ("rlimit_zorg", json!(1)),
            ("rlimit_nofile", json!("x")),
            ("priority", json!(1)),
            ("autostart", json!(true)),
            ("zorg", json!(1)),
            ("hooks", json!("x")),
            ("hooks", json!({"zorg": "a.b"})),
        ] {
            s.call("set", json!({"name": "one", "options": {key: value}}));
        }
        s.call("set", json!({"name": "one", "options": []}));
        s.call("set", json!({"name": "one"}));
        s.call("set", json!({"name": "nope", "options": {}}));
    });
}

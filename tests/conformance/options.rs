//! `options`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn of_a_watcher_from_a_file() {
    agree(CALM, |s| {
        for name in ["three", "Two Words", "nope", "two*"] {
            s.call("options", json!({"name": name}));
        }
        s.call("options", json!({}));
        s.call("options", json!({"name": null}));
        let reply = s.wire.ask("options", &json!({"name": "one"}));
        s.note_differs("D2", "__name__", &reply["options"]["__name__"]);
    });
}

#[test]
fn of_a_watcher_that_was_added() {
    agree(CALM, |s| {
        s.call("add", json!({"name": "Bare", "cmd": "sleep 1000"}));
        s.call("options", json!({"name": "bare"}));
        s.call(
            "set",
            json!({"name": "bare", "options": {"warmup_delay": 2, "max_age": 7, "stop_signal": 2}}),
        );
        s.call("options", json!({"name": "bare"}));
        s.call("set", json!({"name": "one", "options": {"numprocesses": -4, "graceful_timeout": 1}}));
        s.call("options", json!({"name": "one"}));
    });
}

#[test]
fn every_key_of_a_section() {
    let ini = "\
[circus]
check_delay = 600
[env:env*]
COPIED = yes
[watcher:full]
cmd = sleep
args = 1000
numprocesses = 2
warmup_delay = 0
working_dir = /
shell = True
shell_args = a b
send_hup = True
stop_signal = SIGINT
stop_children = True
max_retry = 7
graceful_timeout = 1.5
max_age = 600
max_age_variance = 9
priority = 4
use_sockets = True
singleton = False
copy_env = True
respawn = False
autostart = False
close_child_stdin = False
close_child_stdout = True
close_child_stderr = True
executable = /bin/false
custom.key = 12
flapping.max_retry = -1
retry_in = 3
check_flapping = True
rlimit_nofile = 500
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/full.log
stdout_stream.max_bytes = 1000
stderr_stream.class = StdoutStream
[watcher:lone]
cmd = sleep 1000
singleton = True
on_demand = True
[watcher:env]
cmd = sleep 1000
copy_env = True
autostart = False
";
    agree(ini, |s| {
        for name in ["full", "lone"] {
            let reply = s.wire.ask("options", &json!({"name": name}));
            let mut options = reply["options"].clone();
            // With copy_env it is the daemon's own environment.
            let env = options["env"].take();
            s.note(&format!("{name} copies the environment"), env["PATH"].is_string());
            if let Some(map) = options.as_object_mut() {
                map.shift_remove("__name__");
                map.shift_remove("env");
            }
            s.note(&format!("options of {name}"), options);
        }
        let reply = s.wire.ask("options", &json!({"name": "env"}));
        s.note("from its section", &reply["options"]["env"]["COPIED"]);
    });
}

#[test]
fn environment_sections() {
    let ini = "\
[circus]
check_delay = 600
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
            let (leaked, mut variables): (Vec<_>, Vec<_>) =
                environ.split_terminator('\0').partition(|v| v.starts_with("__name__"));
            variables.sort_unstable();
            s.note("environment", variables.join(" "));
            s.note_differs("D2", "section's title as a variable", leaked.join(" "));
        }
    });
}

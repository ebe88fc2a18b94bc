//! What stock circusd is known to do wrong, and what circusd-rs does instead. Where stock answers at
//! all the comparison is in the command's own file, with a row of `differences.md`; here are those
//! that hang it, kill it or break what comes after, so circusd-rs runs alone.

use std::process::Command;

use circus_tests::daemon::{Daemon, Flavor, alive, built, circus_on, fresh_address, run};
use circus_tests::script::{Session, alone};
use circus_tests::wait::until;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{CALM, minds_term, wait_until_ready};

fn pids(s: &mut Session, name: &str) -> Vec<i64> {
    let reply = s.wire.ask("list", &json!({"name": name}));
    reply["pids"].as_array().expect("pids").iter().filter_map(Value::as_i64).collect()
}

fn status(s: &mut Session, name: &str) -> String {
    s.wire.ask("status", &json!({"name": name}))["status"].as_str().expect("a status").to_owned()
}

fn raw_pid(pid: i64) -> i32 {
    i32::try_from(pid).expect("a pid fits")
}

/// Q1: stock never answers a REQ client; its empty frame comes back in front of the answer.
#[test]
fn q1_req_clients_are_answered() {
    alone(CALM, |s| {
        s.wire.send_frames(&[b"", br#"{"id": "req", "command": "numwatchers"}"#]);
        let answers = s.wire.text_frames_until("later");
        assert!(answers.starts_with(" | {\"status\": \"ok\""), "{answers}");
        // The plain client beside it is answered plainly.
        assert_eq!(s.wire.ask("numwatchers", &json!({}))["numwatchers"], 3);
    });
}

/// Q2: stock leaves these waiting for ever, and stores a float that breaks every check.
#[test]
fn q2_work_that_cannot_be_done_is_answered() {
    let ini = "\
[circus]
check_delay = 1
[watcher:one]
cmd = sleep 1000
[watcher:empty]
autostart = False
";
    alone(ini, |s| {
        for nb in [json!("2"), json!(1.5), json!(null), json!([1])] {
            for command in ["incr", "decr"] {
                let reply = s.wire.ask(command, &json!({"name": "one", "nb": nb, "waiting": true}));
                assert_eq!(reply["errno"], 3, "{reply}");
            }
        }
        assert_eq!(
            s.wire.ask("get", &json!({"name": "one", "keys": ["numprocesses"]}))["options"]["numprocesses"],
            1
        );
        for command in ["start", "restart", "reload"] {
            let reply = s.wire.ask(command, &json!({"name": "empty", "waiting": true}));
            assert_eq!(
                (&reply["status"], &reply["errno"]),
                (&json!("error"), &json!(6)),
                "{command}: {reply}"
            );
        }
        assert_eq!(status(s, "empty"), "stopped");
        assert_eq!(status(s, "one"), "active");
    });
}

/// Q3: stock loses signals and `quit` while its lock is held, which its start-up does for long.
#[test]
fn q3_the_end_is_never_refused() {
    let ini = "\
[circus]
check_delay = 1
warmup_delay = 600
[watcher:a]
cmd = sleep 1000
[watcher:b]
cmd = sleep 1000
";
    alone(ini, |s| {
        assert_eq!(status(s, "b"), "stopped", "its turn comes after ten minutes");
        s.daemon.signal(Signal::SIGTERM);
        assert_eq!(s.daemon.wait().code(), Some(0));
    });
    alone(ini, |s| {
        let reply = s.wire.ask("quit", &json!({"waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        assert_eq!(s.daemon.wait().code(), Some(0));
    });
}

/// Q4: stock's restart of everything ends it in one of four tries. Here it also takes the file over,
/// and keeps what it has when the file is wrong.
#[test]
fn q4_a_restart_of_everything_never_loses_the_daemon() {
    alone(CALM, |s| {
        let pid = s.daemon.pid();
        for turn in 0..6 {
            let before = pids(s, "one");
            let reply = s.wire.ask("restart", &json!({"waiting": turn % 2 == 0}));
            assert_eq!(reply["status"], "ok", "{reply}");
            until("all to be there again", || {
                let now = pids(s, "one");
                (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
            });
        }
        s.daemon.rewrite(&CALM.replace("numprocesses = 2\ngraceful", "numprocesses = 3\ngraceful"));
        s.wire.ask("restart", &json!({}));
        until("the new number", || (pids(s, "one").len() == 3).then_some(()));
        s.daemon.rewrite(&CALM.replace("numprocesses = 2\ngraceful", "numprocesses = many\ngraceful"));
        let before = pids(s, "one");
        s.wire.ask("restart", &json!({"waiting": true}));
        until("the old definition to be up again", || {
            let now = pids(s, "one");
            (now.len() == 3 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
        assert_eq!(s.daemon.pid(), pid);
        assert!(s.daemon.is_running());
    });
}

/// Q5: stock spins until the surviving processes die, and answers nobody meanwhile.
#[test]
fn q5_start_fills_what_is_missing() {
    let ini = "\
[circus]
check_delay = 1
[watcher:w]
cmd = sleep 1000
numprocesses = 2
respawn = False
";
    alone(ini, |s| {
        let before = pids(s, "w");
        s.wire.ask("signal", &json!({"name": "w", "pid": before[0], "signum": 9}));
        until("the death", || (pids(s, "w").len() == 1).then_some(()));
        let reply = s.wire.ask("start", &json!({"name": "w", "waiting": true}));
        assert_eq!(reply["info"]["kept"], json!([before[1]]), "{reply}");
        assert_eq!(reply["info"]["started"].as_array().map(Vec::len), Some(1), "{reply}");
    });
}

/// Q7: stock hangs until the process dies by itself.
#[test]
fn q7_stop_while_a_kill_waits() {
    let ini = "\
[circus]
check_delay = 1
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 600
";
    alone(ini, |s| {
        let ready = |s: &mut Session| {
            until("the child", || pids(s, "deaf").first().copied().filter(|pid| minds_term(*pid)))
        };
        ready(s);
        assert_eq!(s.wire.ask("kill", &json!({"name": "deaf"}))["status"], "ok");
        s.wire.ask("set", &json!({"name": "deaf", "options": {"graceful_timeout": 0.3}}));
        let reply = s.wire.ask("stop", &json!({"name": "deaf", "waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        // circusctl sends the time as text, on which stock breaks after the signal was sent.
        s.wire.ask("start", &json!({"name": "deaf", "waiting": true}));
        let pid = ready(s);
        let reply = s.wire.ask("kill", &json!({"name": "deaf", "graceful_timeout": "0.3", "waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        assert!(!alive(raw_pid(pid)));
        let reply = s.wire.ask("kill", &json!({"name": "deaf", "graceful_timeout": "soon"}));
        assert_eq!(reply["errno"], 3, "{reply}");
    });
}

/// Q8: stock starts nobody after a watcher whose start raises, and leaves that one `starting`.
#[test]
fn q8_one_that_cannot_start_stops_nobody_else() {
    let ini = "\
[circus]
check_delay = 1
[watcher:a]
cmd =
[watcher:b]
cmd = sleep 1000
[watcher:c]
cmd = /no/such/program
[watcher:d]
cmd = sleep 1000
";
    alone(ini, |s| {
        let statuses = ["stopped", "active", "stopped", "active"];
        until("those that can to be up", || {
            let now = ["a", "b", "c", "d"].map(|name| status(s, name));
            (now == statuses).then_some(())
        });
    });
}

/// Q9: stock tries at full speed inside one step and is unreachable until it is killed.
#[test]
fn q9_trying_for_ever_leaves_the_daemon_free() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:never]
cmd = {dir}/prog 1000
max_retry = -1
autostart = False
[watcher:other]
cmd = sleep 1000
";
    alone(ini, |s| {
        let reply = s.wire.ask("start", &json!({"name": "never", "waiting": true}));
        assert_eq!(reply["errno"], 6, "who waits is told after some tries: {reply}");
        assert_eq!(status(s, "never"), "starting");
        assert_eq!(status(s, "other"), "active");
        std::os::unix::fs::symlink("/bin/sleep", s.daemon.dir().join("prog")).expect("a link");
        until("the program to be there", || (status(s, "never") == "active").then_some(()));
        s.wire.ask("stop", &json!({"name": "never", "waiting": true}));
        s.daemon.signal(Signal::SIGTERM);
        assert_eq!(s.daemon.wait().code(), Some(0));
    });
}

/// Q12, Q16, Q17, Q18, Q19: stock answers with a Python text, or with ok, and does nothing.
#[test]
fn q12_and_q16_to_q19_say_and_do_what_was_meant() {
    alone(CALM, |s| {
        let reply = s.wire.ask("get", &json!({"name": "three", "keys": ["hello"]}));
        assert_eq!(reply["options"], json!({"hello": "world"}), "{reply}");
        let reply = s.wire.ask("add", &json!({"name": "", "cmd": "sleep 1"}));
        assert_eq!(reply["errno"], 3, "{reply}");
        let options = json!({"rlimit_nofile": 123, "rlimit_core": 0});
        let add = json!({"name": "limited", "cmd": "sleep 1000", "options": options, "start": true, "waiting": true});
        let reply = s.wire.ask("add", &add);
        let pid = reply["started"][0].as_i64().unwrap_or_else(|| panic!("{reply}"));
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("our child");
        let files: Vec<_> = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .expect("a line")
            .split_whitespace()
            .collect();
        assert_eq!(files[3..5], ["123", "123"]);
        for waiting in [true, false] {
            let reply = s.wire.ask("kill", &json!({"name": "nope", "waiting": waiting}));
            assert_eq!((&reply["errno"], &reply["reason"]), (&json!(3), &json!("program nope not found")));
        }
        for command in ["signal", "kill"] {
            let reply = s.wire.ask(command, &json!({"name": "one", "signum": "NOSUCH"}));
            assert_eq!((&reply["errno"], &reply["reason"]), (&json!(3), &json!("signal invalid")), "{reply}");
        }
    });
}

/// Q11: stock forgets the class when one option of a stream is set, or refuses.
#[test]
fn q11_a_stream_keeps_its_class() {
    let ini = "\
[circus]
check_delay = 1
[watcher:fancy]
cmd = sh -c 'while sleep 0.1; do echo hear me; done'
stdout_stream.class = FancyStdoutStream
stdout_stream.color = green
[env]
PATH = $PATH
";
    alone(ini, |s| {
        let reply = s.wire.ask(
            "set",
            &json!({"name": "fancy", "options": {"stdout_stream.color": "red"}, "waiting": true}),
        );
        assert_eq!(reply["status"], "ok", "{reply}");
        until("red lines", || s.daemon.log().contains("\u{1b}[0;31;40m").then_some(()));
    });
}

/// Q23: stock prints one line and ends with 0, or hangs.
#[test]
fn q23_an_endpoint_that_is_taken_ends_it_with_1() {
    let address = fresh_address();
    let dir = tempfile::tempdir().expect("a directory");
    for taken in [5555, 5556] {
        let _holder = std::net::TcpListener::bind((address.as_str(), taken)).expect("a free port");
        let ini = dir.path().join("circus.ini");
        let text = circus_on(&address) + "[watcher:one]\ncmd = sleep 1000\n";
        std::fs::write(&ini, text).expect("the ini is written");
        let (status, stdout, stderr) = run(Command::new(built("circusd-rs")).arg(&ini));
        assert_eq!(status, 1, "{stdout}{stderr}");
        assert!(stderr.contains(&format!("{address}:{taken}")), "{stderr}");
    }
}

/// Q24: stock leaves the children of what it kills.
#[test]
fn q24_nobody_is_left_behind() {
    let ini = "\
[circus]
check_delay = 1
[watcher:parent]
cmd = {mischief} with-child
graceful_timeout = 1
[watcher:leaves]
cmd = {mischief} group
autostart = False
";
    alone(ini, |s| {
        let child = |s: &mut Session| {
            until("a child", || {
                let reply = s.wire.ask("stats", &json!({"name": "parent"}));
                let info = reply["info"].as_object()?.values().next()?.clone();
                Some((info["pid"].as_i64()?, info["children"][0]["pid"].as_i64()?))
            })
        };
        let (parent, orphan) = child(s);
        s.wire.ask("signal", &json!({"name": "parent", "pid": parent, "signum": "kill"}));
        until("the orphan's end", || (!alive(raw_pid(orphan))).then_some(()));
        let (_, orphan) = until("the successor", || Some(child(s)).filter(|(now, _)| *now != parent));
        s.wire.ask("stop", &json!({"name": "parent", "waiting": true}));
        assert!(!alive(raw_pid(orphan)), "stopped means all of them");
        s.wire.ask("start", &json!({"name": "leaves"}));
        s.wait_event("watcher.leaves.reap");
        s.wire.ask("stop", &json!({"name": "leaves", "waiting": true}));
        until("nobody below the daemon", || {
            circus_tests::daemon::descendants(s.daemon.pid()).is_empty().then_some(())
        });
    });
}

/// Q30: stock restarts every watcher with its old settings at any change in `[circus]`. Q42: stock
/// does not notice a number that goes back to where it was.
#[test]
fn q30_and_q42_reloadconfig_does_what_the_file_says() {
    alone(CALM, |s| {
        let before = pids(s, "one");
        s.daemon.rewrite(&CALM.replace("check_delay = 600", "check_delay = 500"));
        for _ in 0..2 {
            assert_eq!(s.wire.ask("reloadconfig", &json!({"waiting": true}))["status"], "ok");
            assert_eq!(pids(s, "one"), before);
        }
        for count in [3, 2, 4, 2] {
            s.daemon.rewrite(
                &CALM.replace("numprocesses = 2\ngraceful", &format!("numprocesses = {count}\ngraceful")),
            );
            assert_eq!(s.wire.ask("reloadconfig", &json!({"waiting": true}))["status"], "ok");
            until("the number in the file", || (pids(s, "one").len() == count).then_some(()));
        }
    });
}

/// Q36: stock holds its lock while it waits for one that is too old and does not listen.
#[test]
fn q36_quit_gets_through_beside_an_expired_process() {
    let ini = "\
[circus]
check_delay = 0.3
[watcher:old]
cmd = {mischief} stubborn
max_age = 1
max_age_variance = 0
graceful_timeout = 600
";
    alone(ini, |s| {
        wait_until_ready(s, "old");
        s.wait_event("watcher.old.kill");
        s.wire.ask("set", &json!({"name": "old", "options": {"graceful_timeout": 0.5}}));
        let reply = s.wire.ask("quit", &json!({"waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        assert_eq!(s.daemon.wait().code(), Some(0));
    });
}

/// Names that differ in case only: stock runs both and reaches one. The later section stands.
#[test]
fn names_that_differ_in_case_only() {
    let ini = "\
[circus]
check_delay = 1
[watcher:Same]
cmd = sleep 1001
[watcher:same]
cmd = sleep 1002
";
    alone(ini, |s| {
        assert_eq!(s.wire.ask("numwatchers", &json!({}))["numwatchers"], 1);
        let reply = s.wire.ask("get", &json!({"name": "SAME", "keys": ["cmd"]}));
        assert_eq!(reply["options"]["cmd"], "sleep 1002");
    });
}

/// Who waits is told that a newer wish took over; nobody waits for ever.
#[test]
fn an_overtaken_wish_is_answered() {
    let ini = "\
[circus]
check_delay = 1
[watcher:x]
cmd = {mischief} slow 2
graceful_timeout = 15
";
    let daemon = Daemon::start(Flavor::Ours, ini);
    let mut first = circus_tests::wire::Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    let mut second = circus_tests::wire::Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    until("the child", || daemon.log().contains("ready ").then_some(()));
    let waiting =
        std::thread::spawn(move || first.call_once("s", "stop", &json!({"name": "x", "waiting": true})));
    until("the stop to begin", || {
        (second.ask("status", &json!({"name": "x"}))["status"] == "stopping").then_some(())
    });
    let started = second.ask("start", &json!({"name": "x", "waiting": true}));
    assert_eq!(started["status"], "ok", "{started}");
    let reply = waiting.join().expect("an answer");
    assert_eq!(
        (&reply["errno"], &reply["reason"]),
        (&json!(5), &json!("stop of 'x' was overtaken by start"))
    );
}

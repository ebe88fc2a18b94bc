//! What happens at the limits: no descriptor left, no process number left, everybody dying at once, and
//! processes that will not be ended. The daemon answers throughout and recovers by itself.
//!
//! Every test asks the real daemon from outside.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "tests measure how long an answer takes, and end at the first surprise"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor};
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};

fn connect(daemon: &Daemon) -> Wire {
    Wire::connect(&daemon.endpoint(), &daemon.pubsub())
}

fn status(wire: &mut Wire, name: &str) -> String {
    wire.ask("status", &json!({"name": name}))["status"].as_str().unwrap_or_default().to_owned()
}

fn pids(wire: &mut Wire, name: &str) -> BTreeSet<i32> {
    let reply = wire.ask("list", &json!({"name": name}));
    let list = reply["pids"].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_i64).filter_map(|pid| i32::try_from(pid).ok()).collect()
}

/// The state letter and the parent of every process.
fn everybody() -> Vec<(i32, char, i32)> {
    let stat = |pid: i32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        Some((pid, fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
    };
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    names.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn zombies(daemon: &Daemon) -> usize {
    everybody().iter().filter(|(_, state, parent)| *parent == daemon.pid() && *state == 'Z').count()
}

#[test]
fn without_descriptors_the_daemon_answers_and_the_rest_waits_for_its_turn() {
    const WATCHERS: usize = 30;
    let watchers: String = (0..WATCHERS)
        .map(|n| {
            format!(
                "[watcher:w{n}]\ncmd = sleep 300\nstdout_stream.class = FileStream\n\
                 stdout_stream.filename = {{dir}}/out{n}\n"
            )
        })
        .collect();
    let ini = format!("[circus]\ncheck_delay = 0.3\n{watchers}");
    let daemon = Daemon::start_limited(Flavor::Ours, Some(64), &[], &ini);
    let mut wire = connect(&daemon);
    until("somebody to be refused", || daemon.log().contains("Too many open files").then_some(()));
    let mut was_up = BTreeSet::new();
    until("everybody to have been up", || {
        // A new client is answered, too.
        let mut other = connect(&daemon);
        let statuses = other.ask("status", &json!({}))["statuses"].clone();
        for (name, status) in statuses.as_object().into_iter().flatten() {
            if status == "active" && was_up.insert(name.clone()) {
                // Room for another.
                wire.ask("stop", &json!({"name": name, "waiting": true}));
            }
        }
        (was_up.len() == WATCHERS).then_some(())
    });
    assert_eq!(status(&mut wire, "w0"), "stopped");
}

#[test]
fn a_refused_fork_is_tried_until_there_is_room() {
    if !Uid::effective().is_root() {
        return println!("not tried: only root can start processes of another user");
    }
    // A number that no other process of the machine has: the limit counts all of them.
    let user = 3_000_000_000 - std::process::id() % 1_000_000;
    // Linux compares when a process becomes this user, and counts it only then: one more than the limit fit.
    let watcher = |name| {
        format!(
            "[watcher:{name}]\ncmd = sleep 300\nuid = {user}\ngid = {user}\nrlimit_nproc = 0\n\
             autostart = False\nworking_dir = /\n"
        )
    };
    let ini = format!("[circus]\ncheck_delay = 0.1\n{}{}", watcher("one"), watcher("two"));
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let mut wire = connect(&daemon);
    wire.ask("start", &json!({"name": "one", "waiting": true}));
    assert_eq!(status(&mut wire, "one"), "active");
    wire.ask("start", &json!({"name": "two"}));
    // More often than `max_retry` would allow; each try has a moment of its own.
    let mut moments = BTreeSet::new();
    until("two to be tried again and again", || {
        moments.insert(wire.ask("status", &json!({"name": "two"}))["retry_at"].to_string());
        (moments.len() > 8).then_some(())
    });
    let said = daemon.log().matches("Resource temporarily unavailable: 'sleep'").count();
    assert_eq!(said, 1, "it is said once: {}", daemon.log());
    assert_eq!(status(&mut wire, "two"), "starting");
    wire.ask("stop", &json!({"name": "one", "waiting": true}));
    until("two to run", || (status(&mut wire, "two") == "active").then_some(()));
    until("that to be said", || daemon.log().contains("'two' can be started again, after ").then_some(()));
}

#[test]
fn a_thousand_may_die_in_the_same_second() {
    const PROCESSES: usize = 1000;
    let ini = format!("[circus]\n[watcher:many]\ncmd = sleep 300\nnumprocesses = {PROCESSES}\n");
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let mut wire = connect(&daemon);
    let before = until("all to run", || Some(pids(&mut wire, "many")).filter(|pids| pids.len() == PROCESSES));
    let begun = Instant::now();
    for pid in &before {
        kill(Pid::from_raw(*pid), Signal::SIGKILL).expect("a process of the daemon's");
    }
    let mut slowest = Duration::ZERO;
    until("all to be replaced", || {
        let asked = Instant::now();
        assert_eq!(status(&mut wire, "many"), "active");
        slowest = slowest.max(asked.elapsed());
        let now = pids(&mut wire, "many");
        (now.len() == PROCESSES && now.is_disjoint(&before)).then_some(())
    });
    println!("{PROCESSES} replaced in {:?}, slowest answer {slowest:?}", begun.elapsed());
    until("nobody to be left unreaped", || (zombies(&daemon) == 0).then_some(()));
}

/// A leader with a child that ignores TERM, one that was stopped, and a daemon of two forks.
const TREE: &str = "\
    sh -c 'trap \"\" TERM; sleep 300' &\n\
    sh -c 'kill -STOP $$; sleep 300' &\n\
    setsid sh -c 'sleep 300 & exit 0' & wait $!\n\
    trap 'exit 0' TERM\n\
    echo ready >> $1\n\
    while :; do sleep 0.05; done\n";

/// Everybody who came from the watcher, by a variable of its environment.
fn tree(daemon: &Daemon) -> BTreeSet<i32> {
    let mark = format!("TREE={}", daemon.dir().display());
    let marked = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let living = everybody().into_iter().filter(|(_, state, _)| *state != 'Z');
    living.map(|(pid, ..)| pid).filter(marked).collect()
}

#[test]
fn stop_restart_kill_and_death_end_with_the_whole_tree() {
    let ini = "[circus]\n[watcher:tree]\ncmd = sh {dir}/tree {dir}/ready\ngraceful_timeout = 0.4\ncopy_env = True\n\
               [env:tree]\nTREE = {dir}\n";
    let daemon = Daemon::start_beside(Flavor::Ours, &[("tree", TREE)], ini);
    let mut wire = connect(&daemon);
    let mut times = 0;
    let mut grown = || {
        times += 1;
        until("a tree to grow", || {
            let ready = std::fs::read_to_string(daemon.dir().join("ready")).unwrap_or_default();
            let living = tree(&daemon);
            (ready.lines().count() == times && living.len() >= 5).then_some(living)
        })
    };
    for command in ["restart", "kill"] {
        let before = grown();
        wire.ask(command, &json!({"name": "tree", "waiting": true}));
        let after = tree(&daemon);
        assert_eq!(before.intersection(&after).count(), 0, "{command}: {before:?} {after:?}");
    }
    let before = grown();
    let leader = pids(&mut wire, "tree").into_iter().next().expect("one process");
    kill(Pid::from_raw(leader), Signal::SIGKILL).expect("it lives");
    let after = grown();
    assert_eq!(before.intersection(&after).count(), 0, "death: {before:?} {after:?}");
    wire.ask("stop", &json!({"name": "tree", "waiting": true}));
    assert_eq!(tree(&daemon), BTreeSet::new(), "stop");
    assert_eq!(status(&mut wire, "tree"), "stopped");
    assert_eq!(zombies(&daemon), 0);
}

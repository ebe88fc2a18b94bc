//! Many ways to die, each with a real process, and what `why` says of it.
//!
//! One daemon runs all of them at once; each case waits until the story is the one expected.
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::node::{Node, call, until_told};
use circus_protocol::transport::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// What every watcher here has: output in memory, and no successor.
const COMMON: &str = "copy_env = True\nrespawn = False\nmax_retry = 2\nstdout_stream.class = QueueStream\n\
                      stderr_stream.class = QueueStream\n";

/// Name, shell script, the verdict, and what else the story says.
const SCRIPTS: &[(&str, &str, &str, &str)] = &[
    ("done", "exit 0", "done", "status 0"),
    ("failed", "echo nothing special; exit 1", "failed", "nothing special"),
    ("joiner", "exit 3", "failed", "it could not join its cluster"),
    ("usage", "exit 64", "failed", "used wrongly"),
    ("segv", "kill -SEGV $$", "crashed", "SIGSEGV"),
    ("abrt", "kill -ABRT $$", "crashed", "gave up by itself"),
    ("bus", "kill -BUS $$", "crashed", "SIGBUS"),
    ("fpe", "kill -FPE $$", "crashed", "divided by zero"),
    ("ill", "kill -ILL $$", "crashed", "no instruction"),
    ("quit", "kill -QUIT $$", "ended-from-outside", "SIGQUIT"),
    ("usr1", "kill -USR1 $$", "signalled", "SIGUSR1"),
    ("pipe", "kill -PIPE $$", "pipe", "had left"),
    ("child", "sh -c 'kill -TERM $$'; exit $?", "child-signalled", "SIGTERM"),
    ("absent", "no-such-command-at-all; exit $?", "not-found", "status 127"),
    ("denied", "touch plain; ./plain; exit $?", "not-executable", "status 126"),
    ("port", "echo 'bind: Address already in use' >&2; exit 1", "port-in-use", "taken by somebody else"),
    ("java", "echo 'java.lang.OutOfMemoryError: Java heap space'; exit 3", "java-out-of-memory", "heap"),
    (
        "library",
        "echo 'x: error while loading shared libraries: libx.so: cannot open' >&2; exit 127",
        "missing-library",
        "libx.so",
    ),
    ("disk", "echo 'write error: No space left on device' >&2; exit 2", "disk-full", "a disk is full"),
    (
        "python",
        "printf 'Traceback (most recent call last):\\n  File\\nKeyError: 7\\n' >&2; exit 1",
        "exception",
        "KeyError: 7",
    ),
    ("files", "exec head -c 100000 /dev/zero > big", "file-limit", "SIGXFSZ"),
];

/// Name, command and other options, the verdict, and what else the story says.
const UNSTARTABLE: &[(&str, &str, &str, &str)] = &[
    ("missing", "cmd = /no/such/program", "not-found", "[Errno 2]"),
    ("lost", "cmd = no-such-program-in-path", "not-found", "see cmd and PATH"),
    ("plain", "cmd = DIR/text", "not-executable", "chmod"),
    ("text", "cmd = DIR/text-x", "not-a-program", "[Errno 8]"),
    ("script", "cmd = DIR/script", "no-interpreter", "/no/such/interpreter"),
    ("homeless", "cmd = sleep 1\nworking_dir = DIR/nowhere", "no-directory", "working_dir"),
];

fn ini(dir: &str) -> String {
    let mut text = String::from("[service:joiner]\nexit.3 = it could not join its cluster\n");
    for (name, script, ..) in SCRIPTS {
        // What is in quotes for the shell is in quotes for us as well.
        let word = script.replace('\\', "\\\\").replace('"', "\\\"");
        let limit = if *name == "files" { "rlimit_fsize = 1024\n" } else { "" };
        text += &format!("[watcher:{name}]\ncmd = sh -c \"{word}\"\nworking_dir = {dir}\n{limit}{COMMON}");
    }
    for (name, options, ..) in UNSTARTABLE {
        text += &format!("[watcher:{name}]\n{}\n{COMMON}", options.replace("DIR", dir));
    }
    let sleeper = |name: &str, more: &str| format!("[watcher:{name}]\ncmd = sleep 1000\n{more}{COMMON}");
    text += &sleeper("asked", "");
    text += &sleeper("old", "max_age = 1\n").replace("respawn = False\n", "");
    text += &sleeper("killed", "");
    text += &sleeper("outside", "");
    text += &sleeper("many", "numprocesses = 2\n").replace("respawn = False\n", "");
    text += &sleeper("vetoed", "hooks.before_start = exec:/bin/false\n");
    text += &sleeper("unwanted", "hooks.after_spawn = exec:/bin/false\n");
    text += &format!(
        "[watcher:stubborn]\ncmd = sh -c \"trap '' TERM; echo ready; while :; do sleep 1; done\"\n\
         graceful_timeout = 0.3\n{COMMON}"
    );
    text
}

fn place_programs(dir: &std::path::Path) {
    for (name, text, mode) in [
        ("text", "no program\n", 0o644),
        ("text-x", "no program\n", 0o755),
        ("script", "#!/no/such/interpreter\n", 0o755),
    ] {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Waits until a part of the story has this verdict.
async fn verdict(client: &mut Client, name: &str, part: &str, wanted: &str) -> Value {
    until_told(client, "why", json!({"name": name}), |reply| {
        (reply[part]["verdict"] == wanted).then(|| reply.clone())
    })
    .await
}

async fn first_pid(client: &mut Client, name: &str) -> i32 {
    until_told(client, "list", json!({"name": name}), |reply| {
        let pid = reply["pids"].as_array()?.first()?.as_i64()?;
        i32::try_from(pid).ok()
    })
    .await
}

#[tokio::test]
async fn every_way_to_die_has_its_verdict() {
    let dir = tempfile::tempdir().unwrap();
    place_programs(dir.path());
    let mut node = Node::start(&ini(dir.path().to_str().unwrap()));
    let mut client = node.client();
    for (name, _, wanted, text) in SCRIPTS.iter().chain(UNSTARTABLE) {
        let told = verdict(&mut client, name, "crash", wanted).await;
        let story = told["story"].as_str().unwrap();
        assert!(story.contains(text), "{name}: {story}");
        assert!(story.starts_with(&format!("{name} is ")), "{story}");
    }
    commanded(&mut client).await;
    let told = until_told(&mut client, "why", json!({"name": "vetoed"}), |reply| {
        reply["reason"].as_str()?.contains("before_start").then(|| reply.clone())
    })
    .await;
    assert_eq!((&told["state"], &told["crash"]), (&json!("stopped"), &Value::Null), "{told}");
    node.stop();
}

/// Ends that somebody asked for, and one that nobody of ours did.
async fn commanded(client: &mut Client) {
    let stop = json!({"name": "asked", "waiting": true});
    first_pid(client, "asked").await;
    call(client, "stop", stop).await;
    let told = verdict(client, "asked", "ended", "stopped").await;
    assert_eq!((&told["state"], &told["crash"]), (&json!("stopped"), &Value::Null), "{told}");
    assert!(told["story"].as_str().unwrap().contains("stop"), "{told}");

    let pid = first_pid(client, "outside").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let told = verdict(client, "outside", "crash", "killed-from-outside").await;
    let crash = &told["crash"];
    assert_eq!(
        (&crash["signal"], &crash["pid"], &crash["exit_code"]),
        (&json!("SIGKILL"), &json!(pid), &Value::Null)
    );
    assert!(crash["max_rss"].as_u64().unwrap() > 0 && crash["crashes"] == 1, "{told}");

    first_pid(client, "killed").await;
    call(client, "kill", json!({"name": "killed", "waiting": true})).await;
    verdict(client, "killed", "ended", "replaced").await;

    until_told(client, "logs", json!({"name": "stubborn"}), |reply| {
        (reply["text"] == "ready\n").then_some(())
    })
    .await;
    call(client, "stop", json!({"name": "stubborn", "waiting": true})).await;
    verdict(client, "stubborn", "ended", "killed-after-timeout").await;

    first_pid(client, "many").await;
    call(client, "decr", json!({"name": "many", "waiting": true})).await;
    verdict(client, "many", "ended", "surplus").await;
    verdict(client, "old", "ended", "max-age").await;
    verdict(client, "unwanted", "ended", "hook-refused").await;
}

#[tokio::test]
async fn a_service_keeps_its_last_minutes_and_so_does_who_asks_for_it() {
    let script = "while :; do :; done & sleep 1000";
    let watcher =
        |name: &str, more: &str| format!("[watcher:{name}]\ncmd = sh -c \"{script}\"\n{more}{COMMON}");
    let quick = "figures_interval = 1\n";
    let ini = watcher("asks", quick) + &watcher("never", "") + &watcher("served", "figures_interval = 1.5\n");
    let mut node = Node::start(&format!("[service:served]\n{ini}"));
    let mut client = node.client();
    let shown = call(&mut client, "get", json!({"name": "asks", "keys": ["figures_interval"]})).await;
    assert_eq!(shown["options"]["figures_interval"], 1.0, "{shown}");
    for (name, looked) in [("asks", true), ("served", true), ("never", false)] {
        let told = dead_after_a_while(&mut client, name, if looked { 2 } else { 0 }).await;
        let figures = told["crash"]["figures"].as_array().unwrap();
        let story = told["story"].as_str().unwrap();
        assert_eq!((figures.len() >= 2, story.contains(" of a processor")), (looked, looked), "{told}");
        let busy = |figures: &Value| figures["cpu"].as_f64().unwrap() > 1.0 && figures["processes"] == 3;
        assert_eq!(figures.iter().any(busy), looked, "{told}");
        assert!(figures.iter().all(|figures| figures["memory"].as_u64().unwrap() > 100_000), "{told}");
        // A shell is smaller than the daemon that it was a copy of.
        assert_eq!(told["crash"]["max_rss_exact"], false, "{told}");
    }
    node.stop();
}

/// Killed after a few seconds, or after more of them, if that was too soon for so many looks.
async fn dead_after_a_while(client: &mut Client, name: &str, looks: usize) -> Value {
    let mut seconds = 4;
    loop {
        let pid = first_pid(client, name).await;
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let told = until_told(client, "why", json!({"name": name}), |reply| {
            // All of it is gone, so that it can be started again.
            (reply["crash"]["pid"] == pid && reply["state"] == "stopped").then(|| reply.clone())
        })
        .await;
        if seconds > 60 || told["crash"]["figures"].as_array().is_some_and(|found| found.len() >= looks) {
            return told;
        }
        call(client, "start", json!({"name": name, "waiting": true})).await;
        seconds *= 2;
    }
}

#[tokio::test]
async fn restarts_are_counted_whatever_for() {
    let ini = format!("[watcher:web]\ncmd = sleep 1000\n{COMMON}").replace("respawn = False\n", "");
    let mut node = Node::start(&ini);
    let mut client = node.client();
    first_pid(&mut client, "web").await;
    call(&mut client, "restart", json!({"name": "web", "waiting": true})).await;
    let pid = first_pid(&mut client, "web").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let told = verdict(&mut client, "web", "crash", "killed-from-outside").await;
    assert_eq!((&told["crash"]["crashes"], &told["crash"]["restarts"]), (&json!(1), &json!(1)), "{told}");
    assert!(told["story"].as_str().unwrap().contains("filled again once in the 10 min before"), "{told}");
    node.stop();
}

#[tokio::test]
async fn the_last_words_of_a_crash_are_kept() {
    let script = "for n in $(seq 1 500); do echo out $n; done; echo last >&2; exit 9";
    let mut node = Node::start(&format!("[watcher:web]\ncmd = sh -c \"{script}\"\n{COMMON}"));
    let mut client = node.client();
    let told = verdict(&mut client, "web", "crash", "failed").await;
    let stdout = told["crash"]["stdout"].as_str().unwrap();
    assert_eq!((stdout.lines().count(), stdout.lines().last()), (200, Some("out 500")));
    assert_eq!(told["crash"]["stderr"], "last\n");
    assert_eq!(told["crash"]["exit_code"], 9);
    assert!(told["story"].as_str().unwrap().contains("Its last words:\n  last"), "{told}");
    assert_eq!(told["crashes"].as_array().unwrap().len(), 1);
    let refused = call(&mut client, "why", json!({"name": "nobody"})).await;
    assert_eq!(refused["reason"], "program nobody not found");
    node.stop();
}

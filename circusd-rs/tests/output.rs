//! What processes print, from the pipe to the file, the client and the listener; and the stories of how
//! they end.
#![expect(clippy::disallowed_methods, reason = "a test of the whole program starts it and waits for it")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may fail like tests")]

#[path = "whole/node.rs"]
#[expect(dead_code, reason = "this file needs a part of it")]
mod node;
#[path = "output/oom.rs"]
mod oom;
#[path = "output/why.rs"]
mod why;

use std::fs;
use std::path::Path;

use circus_protocol::transport::{LinkEvent, LinkOptions, Subscriber};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{Node, PATIENCE, call, until, until_told};
use serde_json::{Value, json};

/// All that a stream has written, the oldest file first.
fn all(path: &Path) -> String {
    let mut files: Vec<_> = (1..1000).map(|number| path.with_extension(number.to_string())).collect();
    files.retain(|file| file.exists());
    files.reverse();
    files.push(path.to_owned());
    files.iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect()
}

fn script(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("script");
    fs::write(&path, text).unwrap();
    format!("sh {}", path.display())
}

/// The numbers from 1 on, each on a line of its own; how many.
fn counted(text: &str) -> usize {
    for (number, line) in text.lines().enumerate() {
        assert_eq!(line, (number + 1).to_string(), "after {number} lines");
    }
    text.lines().count()
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_flood_loses_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    // Counting and writing are one command, so that the trap never comes between.
    let text = "trap 'echo end $n; exit 0' TERM\nn=0\nwhile :; do echo $((n = n + 1)); done\n";
    let command = script(&dir, text);
    let out = dir.path().join("out");
    let mut node = Node::start_in(
        dir,
        &format!(
            "[watcher:web]\ncmd = {command}\ncopy_env = 1\nstdout_stream.filename = {}\n\
             stdout_stream.max_bytes = 20000\nstdout_stream.backup_count = 900\n",
            out.display()
        ),
    );
    let mut client = node.client();
    until("a few rotations", || out.with_extension("3").exists().then_some(()));
    call(&mut client, "stop", json!({"name": "web", "waiting": true})).await;
    until("the last line", || all(&out).contains("end ").then_some(()));
    // Nothing rotates any more while it is read.
    let written = all(&out);
    let (numbers, end) = written.rsplit_once("end ").unwrap();
    assert_eq!(counted(numbers).to_string(), end.trim());
    node.stop();
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_flood_tears_nothing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut node = Node::start_in(
        dir,
        &format!(
            "[watcher:web]\ncmd = seq 1 100000000\ncopy_env = 1\nrespawn = False\n\
             stdout_stream.filename = {}\nstdout_stream.max_bytes = 300000\n\
             stdout_stream.backup_count = 900\n",
            out.display()
        ),
    );
    let mut client = node.client();
    let pid = until_told(&mut client, "list", json!({"name": "web"}), |reply| {
        reply["pids"][0].as_i64().and_then(|pid| i32::try_from(pid).ok())
    })
    .await;
    until("a few rotations", || out.with_extension("3").exists().then_some(()));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until_told(&mut client, "status", json!({"name": "web"}), |reply| {
        (reply["status"] == "stopped").then_some(())
    })
    .await;
    node.stop();
    let written = all(&out);
    // What it was about to write when it was killed it has not written; the last number may be half.
    let whole = written.rsplit_once('\n').unwrap().0;
    assert!(counted(whole) > 100_000, "{}", whole.lines().count());
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_or_waits_as_the_stream_says() {
    let dir = tempfile::tempdir().unwrap();
    let (later, cue) = (dir.path().join("later"), dir.path().join("cue"));
    let count =
        format!("seq 1 30000\nuntil [ -e {} ]; do sleep 0.05; done\necho more\nsleep 1000\n", cue.display());
    let command = script(&dir, &count);
    let watcher = |name: &str, policy: &str| {
        format!(
            "[watcher:{name}]\ncmd = {command}\ncopy_env = 1\nstdout_stream.filename = {}/{name}\n{policy}",
            later.display()
        )
    };
    let watchers = watcher("keeps", "stdout_stream.on_full = block\n") + &watcher("drops", "");
    let mut node = Node::start_in(dir, &watchers);
    let mut client = node.client();
    let mut heard = Subscriber::connect(node.pubsub.clone(), LinkOptions::default()).unwrap();
    heard.subscribe("watcher.drops.output").unwrap();
    until("two complaints", || (node.log().matches("cannot write the output").count() == 2).then_some(()));
    for (name, waits, text) in [("keeps", true, "who prints waits."), ("drops", false, " bytes were lost ")] {
        let status = until_told(&mut client, "status", json!({"name": name}), |reply| {
            reply["stdout"].is_object().then(|| reply.clone())
        })
        .await;
        assert_eq!(status["stdout"]["waits"], waits, "{status}");
        let told = call(&mut client, "why", json!({"name": name})).await;
        let output = &told["outputs"]["stdout"];
        assert!(output["error"].as_str().unwrap().contains("No such file"), "{told}");
        assert_eq!(output["lost_bytes"].as_u64().unwrap() > 0, !waits, "{told}");
        let story = told["story"].as_str().unwrap();
        assert!(story.contains("Its stdout cannot be written for ") && story.contains(text), "{story}");
    }
    fs::create_dir(&later).unwrap();
    let kept = until("what waited", || {
        fs::read_to_string(later.join("keeps")).ok().filter(|text| text.ends_with("30000\n"))
    });
    assert_eq!(counted(&kept), 30000);
    fs::write(&cue, "").unwrap();
    let dropped = until("what came later", || {
        fs::read_to_string(later.join("drops")).ok().filter(|text| text.ends_with("more\n"))
    });
    assert!(dropped.len() < kept.len(), "{}", dropped.len());
    let told = until("the number of the lost", || {
        node.log()
            .lines()
            .find(|line| line.contains("lost_lines=") && !line.contains("lost_lines=0"))
            .map(str::to_owned)
    });
    assert!(told.contains("can be written again"), "{told}");
    assert!(told.contains("drops") && told.contains("stdout"), "it says whose: {told}");
    assert_eq!(node.log().matches("cannot write the output").count(), 2, "each is said once");
    let frames = message(&mut heard).await;
    let event: Value = serde_json::from_str(&frames[1]).unwrap();
    assert_eq!((frames[0].as_str(), &event["works"]), ("watcher.drops.output", &json!(true)));
    assert!(event["lost_lines"].as_u64().unwrap() > 0, "{event}");
    for name in ["keeps", "drops"] {
        let status = until_told(&mut client, "status", json!({"name": name}), |reply| {
            reply["stdout"].is_null().then(|| reply.clone())
        })
        .await;
        assert_eq!(status["status"], "active");
        assert_eq!(call(&mut client, "why", json!({"name": name})).await["outputs"], json!({}));
    }
    node.stop();
}

#[tokio::test]
async fn logs_are_read_and_heard() {
    let dir = tempfile::tempdir().unwrap();
    let cue = dir.path().join("cue");
    let text = "echo ä 1; echo b 2\nuntil [ -e CUE ]; do sleep 0.05; done\nwhile :; do echo tick; sleep 0.05; done\n";
    let command = script(&dir, &text.replace("CUE", cue.to_str().unwrap()));
    let log = dir.path().join("own.log");
    fs::write(&log, "one\ntwo\n").unwrap();
    let file = dir.path().join("out");
    let mut node = Node::start_in(
        dir,
        &format!(
            "[service:web]\nlog.own = {}\n\
             [watcher:web]\ncmd = {command}\ncopy_env = 1\nstdout_stream.class = QueueStream\n\
             [watcher:file]\ncmd = {command}\ncopy_env = 1\nstdout_stream.filename = {}\n\
             stdout_stream.prefix = {{name}}.{{wid}}> \n",
            log.display(),
            file.display()
        ),
    );
    let mut client = node.client();
    let mut heard = Subscriber::connect(node.pubsub.clone(), LinkOptions::default()).unwrap();
    heard.subscribe("log.web.1.").unwrap();
    let mut everything = Subscriber::connect(node.pubsub.clone(), LinkOptions::default()).unwrap();
    everything.subscribe("").unwrap();

    let memory = until_told(&mut client, "logs", json!({"name": "web", "lines": 1}), |reply| {
        (reply["text"] == "b 2\n").then(|| reply.clone())
    })
    .await;
    assert_eq!(
        (&memory["offset"], &memory["next_offset"], &memory["eof"]),
        (&json!(5), &json!(9), &json!(true))
    );
    let piece = call(&mut client, "logs", json!({"name": "web", "offset": 0, "limit": 3})).await;
    assert_eq!(
        (&piece["text"], &piece["next_offset"], &piece["eof"]),
        (&json!("ä "), &json!(3), &json!(false))
    );
    until_told(&mut client, "logs", json!({"name": "file"}), |reply| {
        (reply["text"] == "file.1>ä 1\nfile.1>b 2\n").then_some(())
    })
    .await;
    let own = call(&mut client, "logs", json!({"name": "web", "source": "own", "lines": 1})).await;
    assert_eq!(own["text"], "two\n", "{own}");
    let none = call(&mut client, "logs", json!({"name": "web", "source": "../../etc/passwd"})).await;
    assert_eq!(none["reason"], "'web' has no log '../../etc/passwd'; it has stdout, stderr, own");
    let stderr = call(&mut client, "logs", json!({"name": "web", "source": "stderr"})).await;
    assert!(stderr["reason"].as_str().unwrap().contains("is not captured"), "{stderr}");

    fs::write(&cue, "").unwrap();
    loop {
        let frames = message(&mut heard).await;
        assert_eq!(frames[0], "log.web.1.stdout");
        let told: Value = serde_json::from_str(&frames[1]).unwrap();
        assert!(told["pid"].is_i64() && told["time"].is_f64(), "{told}");
        if told["text"] == "tick\n" {
            break;
        }
    }
    // Who subscribed to everything is not drowned in it.
    call(&mut client, "stop", json!({"waiting": true})).await;
    loop {
        let frames = message(&mut everything).await;
        assert!(!frames[0].starts_with("log."), "{frames:?}");
        if frames[0] == "watcher.web.stop" {
            break;
        }
    }
    node.stop();
}

async fn message(subscriber: &mut Subscriber) -> Vec<String> {
    loop {
        let event = tokio::time::timeout(PATIENCE, subscriber.recv()).await.unwrap();
        if let LinkEvent::Message(frames) = event {
            return frames.iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect();
        }
    }
}

//! The real binary on a real ini: command line, start-up, control, events, end. What single commands
//! mean is pinned elsewhere; here it is whether the parts are put together.
#![expect(clippy::disallowed_methods, reason = "a test of the whole program starts it and waits for it")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[path = "whole/node.rs"]
#[expect(dead_code, reason = "this file needs a part of it")]
mod node;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use circus_protocol::transport::{Client, Dealer, LinkEvent, LinkOptions, Subscriber};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{BINARY, CIRCUS, Node, PATIENCE, call, directory, until, until_told};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs the binary to its end.
fn output(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(dir.path()).stdin(Stdio::null()).output().unwrap()
}

/// What a run that ends by itself says, and its status.
fn said(ini: &str, arguments: &[&str]) -> (i32, String) {
    let dir = directory(ini);
    let output = output(&dir, arguments);
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text.replace(dir.path().canonicalize().unwrap().to_str().unwrap(), "DIR"))
}

fn pids(reply: &Value) -> Vec<i32> {
    let pids = reply["pids"].as_array().map(Vec::as_slice).unwrap_or_default();
    pids.iter().map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap()).collect()
}

async fn running(client: &mut Client, name: &str, count: usize) -> Vec<i32> {
    until_told(client, "list", json!({"name": name}), |reply| {
        Some(pids(reply)).filter(|pids| pids.len() == count)
    })
    .await
}

fn lives(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

#[tokio::test]
async fn a_killed_process_has_a_successor_at_once_and_sigterm_leaves_nothing() {
    let mut node =
        Node::start("check_delay = 3600\n[watcher:One]\ncmd = sleep 1000\nnumprocesses = 2\ncopy_env = 1\n");
    let mut client = node.client();
    let before = running(&mut client, "one", 2).await;
    kill(Pid::from_raw(before[0]), Signal::SIGKILL).unwrap();
    let after = until_told(&mut client, "list", json!({"name": "ONE"}), |reply| {
        Some(pids(reply)).filter(|pids| pids.len() == 2 && !pids.contains(&before[0]))
    })
    .await;
    assert!(after.contains(&before[1]), "{before:?} {after:?}");

    node.signal(Signal::SIGTERM);
    assert_eq!(node.ended().code(), Some(0), "{}", node.log());
    assert!(!after.iter().any(|pid| lives(*pid)), "{after:?}");
    let log = node.log();
    for line in [
        "Registering signals...",
        "Starting master on pid ",
        "sockets started",
        "One started",
        "One stopped",
        "Got signal SIG_TERM",
        "Arbiter exiting",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
}

#[tokio::test]
async fn quit_is_answered_before_the_end() {
    let mut node = Node::start("[watcher:one]\ncmd = sleep 1000\ncopy_env = 1\n");
    let mut client = node.client();
    running(&mut client, "one", 1).await;
    let reply = call(&mut client, "quit", json!({"waiting": true})).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert_eq!(node.ended().code(), Some(0));
}

#[tokio::test]
async fn a_restart_is_told_in_order() {
    let node = Node::start("[watcher:Two Words]\ncmd = sleep 1000\ncopy_env = 1\n");
    let mut client = node.client();
    let before = running(&mut client, "two words", 1).await[0];
    let mut events = Subscriber::connect(node.pubsub.clone(), LinkOptions::default()).unwrap();
    events.subscribe("watcher.").unwrap();
    // A subscription is known when something that it is for arrives.
    let mut told = Vec::new();
    let mut marks = 0;
    while told.is_empty() {
        marks += 1;
        let options = json!({"name": "two words", "options": {"graceful_timeout": 30 + marks}});
        call(&mut client, "set", options).await;
        if let Ok(LinkEvent::Message(frames)) =
            tokio::time::timeout(Duration::from_millis(100), events.recv()).await
        {
            told.push(frames);
        }
        assert!(marks < 100, "no event ever came");
    }
    let reply = call(&mut client, "restart", json!({"name": "two words", "waiting": true})).await;
    assert_eq!(reply["info"]["stopped"], json!([before]), "{reply}");
    let topic = |frames: &[Bytes]| String::from_utf8_lossy(&frames[0]).into_owned();
    while !told.iter().any(|frames| topic(frames).ends_with(".start")) {
        match tokio::time::timeout(PATIENCE, events.recv()).await.unwrap() {
            LinkEvent::Message(frames) => told.push(frames),
            LinkEvent::Connected { .. } => {}
            LinkEvent::Disconnected { reason, .. } => panic!("{reason}"),
        }
    }
    let topics: Vec<String> =
        told.iter().map(|frames| topic(frames)).filter(|topic| !topic.ends_with("updated")).collect();
    let expected =
        ["kill", "reap", "stop", "spawn", "start"].map(|action| format!("watcher.two_words.{action}"));
    assert_eq!(topics, expected);
}

#[tokio::test]
async fn garbage_is_answered_or_dropped_and_the_daemon_lives() {
    let node = Node::start("[watcher:one]\ncmd = sleep 1000\ncopy_env = 1\n");
    for endpoint in [&node.control, &node.pubsub] {
        let address = endpoint.to_string().trim_start_matches("tcp://").to_owned();
        for garbage in [
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            &[0xff; 4096],
            b"\0",
            &[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0],
        ] {
            let mut stream = TcpStream::connect(&address).unwrap();
            // It may be closed before everything was written.
            let _closed = stream.write_all(garbage);
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let _greeting = stream.read(&mut [0; 64]);
        }
    }
    let mut dealer = Dealer::connect(node.control.clone(), LinkOptions::default()).unwrap();
    while !dealer.is_connected() {
        tokio::time::timeout(PATIENCE, dealer.recv()).await.unwrap();
    }
    let request = br#"{"id": "a", "command": "numwatchers"}"#;
    let cast = br#"{"id": "a", "command": "nonsense", "msg_type": "cast"}"#;
    let cases: [(&[&[u8]], usize, &str); 8] = [
        (&[request], 1, r#""numwatchers": 1"#),
        (&[b"", request], 2, r#""numwatchers": 1"#),
        (&[b"x", request], 1, "2 frames"),
        (&[b"", b"", request], 2, "3 frames"),
        (&[b""], 1, "empty payload"),
        (&[b"\xff{junk"], 1, "json invalid"),
        (&[b"[1]"], 1, "is no object"),
        (&[br#"{"command": 5, "id": [1]}"#], 1, r#""id": [1]"#),
    ];
    for (frames, count, expected) in cases {
        // The cast is never answered, so what comes is the answer to the other.
        dealer.send(vec![Bytes::from_static(cast)]).unwrap();
        dealer.send(frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()).unwrap();
        let LinkEvent::Message(answer) = tokio::time::timeout(PATIENCE, dealer.recv()).await.unwrap() else {
            panic!("cut on {frames:?}")
        };
        assert_eq!(answer.len(), count, "{frames:?}");
        let text = String::from_utf8_lossy(answer.last().unwrap()).into_owned();
        assert!(text.contains(expected), "{frames:?}: {text}");
    }
    let status = call(&mut node.client(), "status", json!({"name": "one"})).await;
    assert_eq!(status["status"], "active");
}

#[tokio::test]
async fn reloadconfig_applies_the_difference_and_refuses_a_broken_file_whole() {
    let watchers =
        "[watcher:a]\ncmd = sleep 1000\ncopy_env = 1\n[watcher:b]\ncmd = sleep 1000\ncopy_env = 1\n";
    let node = Node::start(watchers);
    let mut client = node.client();
    let (a, b) = (running(&mut client, "a", 1).await, running(&mut client, "b", 1).await);

    fs::write(node.path("circus.ini"), format!("{CIRCUS}{watchers}numprocesses = many\n")).unwrap();
    let reply = call(&mut client, "reloadconfig", json!({"waiting": true})).await;
    assert_eq!((&reply["status"], &reply["errno"]), (&json!("error"), &json!(6)), "{reply}");
    assert_eq!(running(&mut client, "b", 1).await, b);

    let changed = watchers.replace("[watcher:b]", "[watcher:c]").replacen(
        "copy_env = 1\n",
        "copy_env = 1\nnumprocesses = 2\n",
        1,
    );
    fs::write(node.path("circus.ini"), format!("{CIRCUS}{changed}")).unwrap();
    let reply = call(&mut client, "reloadconfig", json!({"waiting": true})).await;
    assert_eq!(reply["status"], "ok", "{reply}");
    assert!(running(&mut client, "a", 2).await.contains(&a[0]), "a is only enlarged");
    running(&mut client, "c", 1).await;
    let list = call(&mut client, "list", json!({})).await;
    assert_eq!(list["watchers"], json!(["a", "c"]));
    until("the end of b", || (!lives(b[0])).then_some(()));
}

#[tokio::test]
async fn a_pid_file_keeps_a_second_daemon_out() {
    let mut node = Node::start_with(directory(&format!("{CIRCUS}pidfile = pid\n")), &["--log-output", "log"]);
    let pid = node.pid();
    assert_eq!(fs::read_to_string(node.path("pid")).unwrap(), format!("{pid}\n"));
    let second = output(&node.dir, &["circus.ini"]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(told.contains(&format!("process {pid}")), "{told}");
    node.signal(Signal::SIGINT);
    assert_eq!(node.ended().code(), Some(0));
    assert!(!node.path("pid").exists());
}

#[test]
fn in_the_background_the_parent_ends_at_once() {
    let dir = directory(&format!(
        "{CIRCUS}pidfile = pid\nlogoutput = log\n[watcher:one]\ncmd = sleep 1000\ncopy_env = 1\n"
    ));
    let started = output(&dir, &["--daemon", "circus.ini"]);
    assert_eq!(started.status.code(), Some(0), "{started:?}");
    let pid: i32 =
        until("the pid file", || fs::read_to_string(dir.path().join("pid")).ok()?.trim().parse().ok());
    until("One started", || {
        fs::read_to_string(dir.path().join("log")).ok().filter(|log| log.contains("one started"))
    });
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    until("the end", || (!dir.path().join("pid").exists()).then_some(()));
}

#[test]
fn what_is_wrong_ends_with_1_and_names_its_place() {
    let faults = [
        ("", "the configuration file 'DIR/gone.ini' does not exist", "gone.ini"),
        ("junk\n", "DIR/circus.ini:1: a [section] title must come first: \"junk\"", "circus.ini"),
        (
            "[circus]\ncheck_delay = often\n",
            "DIR/circus.ini:2: [circus] check_delay: \"often\" is not a number",
            "circus.ini",
        ),
        ("[service:a]\nzorg = 1\n", "DIR/circus.ini:2: [service:a] zorg: unknown key", "circus.ini"),
        ("[circus]\nendpoint = here\n", "[circus] endpoint: endpoint \"here\": unknown scheme", "circus.ini"),
        (
            "[circus]\nlogoutput = /nonexistent/log\n",
            "cannot write the log to /nonexistent/log",
            "circus.ini",
        ),
    ];
    for (ini, expected, file) in faults {
        let (code, text) = said(ini, &["--log-level", "info", file]);
        assert!(code == 1 && text.contains(expected), "{code} {text}");
    }
}

#[test]
fn a_taken_endpoint_ends_with_1_and_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["endpoint", "pubsub_endpoint"] {
        let ini =
            CIRCUS.replace(&format!("\n{key} = tcp://127.0.0.1:0"), &format!("\n{key} = tcp://{address}"));
        let (code, text) = said(&ini, &["circus.ini"]);
        let expected = format!("Could not bind {key}: cannot bind tcp://{address}");
        assert!(code == 1 && text.contains(&expected), "{code} {text}");
    }
}

#[test]
fn the_command_line_is_circusd_s() {
    let (code, text) = said(CIRCUS, &[]);
    assert!(code == 0 && text.contains("Usage: circusd-rs"), "{code} {text}");
    let (code, text) = said(CIRCUS, &["--version"]);
    assert!(code == 0 && text.trim().ends_with("(circus 0.19.0)"), "{code} {text}");
    assert_eq!(said(CIRCUS, &["--zorg"]).0, 2);
    assert_eq!(said(CIRCUS, &["--log-level", "Loud", "circus.ini"]).0, 2);
    assert_eq!(said(CIRCUS, &["--check", "circus.ini"]), (0, "circus.ini: ok\n".to_owned()));
    let (code, text) = said("[watcher:a]\nnumprocesses = x\nshell = y\n", &["--check", "circus.ini"]);
    assert!(code == 1 && text.lines().count() == 2, "{code} {text}");
}

#[test]
fn a_look_before_a_start_needs_no_daemon() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let look = |more: &str, java: &str| {
        let dir = directory("");
        let home = dir.path().join("java");
        let ini = format!(
            "{CIRCUS}[watcher:db]\ncmd = sleep 1000\n{more}[env:db]\nJAVA_HOME = {}\n[service:db]\nports = {port}\njava = 8\n",
            home.display()
        );
        fs::write(dir.path().join("circus.ini"), ini).unwrap();
        let program = home.join("bin/java");
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::write(&program, format!("#!/bin/sh\necho 'openjdk version \"{java}\"' >&2\n")).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = output(&dir, &["--preflight", "circus.ini"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let host = nix::unistd::gethostname().unwrap().to_string_lossy().into_owned();
    let (code, text, errors) = look("", "21.0.1");
    assert_eq!((code, errors.as_str()), (1, ""), "{text}");
    let us = std::process::id();
    let found = |line: &str| assert!(text.lines().any(|said| said.contains(line)), "{line}: {text}");
    found(&format!("problem  {host}  db: port {port} is taken: "));
    found(&format!("(pid {us}, user "));
    found(&format!("         stop it (`kill {us}`)"));
    found(&format!("problem  {host}  db: its Java is 21; it is made for 8"));
    drop(taken);
    let (code, text, errors) = look("", "1.8.0_292");
    assert!(code == 0 && !text.contains("problem"), "{code} {text} {errors}");
    let (code, text, errors) = look("numprocesses = many\n", "1.8.0");
    assert_eq!((code, text.as_str()), (2, ""), "{errors}");
    assert!(errors.contains("numprocesses"), "{errors}");
    assert_eq!(said(CIRCUS, &["--preflight", "nowhere.ini"]).0, 2);
}

#[tokio::test]
async fn a_file_can_do_without_control_groups() {
    let group = |pid: i32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
    };
    for (switch, wanted) in [("", true), ("cgroups = False\n", false)] {
        let node = Node::start(&format!("{switch}[watcher:one]\ncmd = sleep 1000\ncopy_env = 1\n"));
        let pid = running(&mut node.client(), "one", 1).await[0];
        let (own, its) = (group(node.pid()), group(pid));
        if !wanted {
            assert_eq!(own, its);
        } else if own == its {
            println!("not tried with control groups: none can be made here");
        } else {
            assert!(its.contains(&format!("/circusd-rs.{}/", node.pid())), "{its}");
        }
    }
}

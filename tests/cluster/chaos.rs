//! Scripted nodes over the real transport that drop, delay, repeat, garble, hang up, freeze and come back as
//! something else, and users who press Ctrl-C: whatever they do, each target has exactly one row.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use circus_protocol::transport::{Limits, Router};
use circus_tests::address::fresh_block;
use circus_tests::daemon::{circusman, run};
use serde_json::{Map, Value, json};

/// As many nodes as take part.
const NODES: u32 = 14;

/// Numbers that look random and are the same every time.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A node that answers as circus would, when it does.
struct Node {
    dice: Dice,
    native: bool,
    watchers: Map<String, Value>,
    frozen: bool,
}

/// What to do with a request.
enum Deed {
    Nothing,
    Say(Vec<Vec<u8>>, Duration),
    HangUp,
}

impl Node {
    fn new(seed: u64) -> Self {
        let watchers = [("db", "stopped"), ("web", "active")];
        let watchers = watchers.iter().map(|(name, state)| ((*name).to_owned(), json!(state))).collect();
        Self { dice: Dice(seed), native: seed.is_multiple_of(2), watchers, frozen: false }
    }

    fn answer(&mut self, command: &str, name: &str) -> Value {
        let state = match command {
            "hello" if self.native => {
                return json!({"status": "ok", "version": "0.9", "extensions": ["hello"]});
            }
            "status" => return json!({"status": "ok", "statuses": self.watchers}),
            "start" => "active",
            "stop" => "stopped",
            "reload" => return json!({"status": "ok"}),
            _ => {
                return json!({"status": "error", "errno": 2, "reason": format!("unknown command: '{command}'")});
            }
        };
        for (watcher, now) in &mut self.watchers {
            if name.contains(watcher.as_str()) {
                *now = json!(state);
            }
        }
        json!({"status": "ok"})
    }

    fn react(&mut self, frame: &[u8]) -> Deed {
        let request: Value = serde_json::from_slice(frame).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut answer = self.answer(&text(&request["command"]), &text(&request["properties"]["name"]));
        answer["id"] = request["id"].clone();
        answer["time"] = json!(1.5);
        let good = answer.to_string().into_bytes();
        if self.frozen {
            return Deed::Nothing;
        }
        let soon = Duration::from_millis(self.dice.roll(20));
        match self.dice.roll(24) {
            0 => Deed::Nothing,
            1 => Deed::Say(vec![good], Duration::from_millis(500 + self.dice.roll(3000))),
            2 => Deed::Say(vec![good.clone(), good], soon),
            3 => Deed::Say(vec![b"\xfe\x00 no circus".to_vec()], soon),
            4 => Deed::Say(vec![good[..good.len() / 2].to_vec()], soon),
            5 => Deed::Say(vec![br#"{"id": "not yours", "status": "ok"}"#.to_vec(), good], soon),
            6 => Deed::HangUp,
            7 => {
                self.native = !self.native;
                Deed::HangUp
            }
            8 => {
                self.frozen = true;
                Deed::Nothing
            }
            9 => {
                let busy = json!({"id": request["id"], "status": "error", "errno": 5,
                    "reason": "arbiter is already running watcher_stop command"});
                Deed::Say(vec![busy.to_string().into_bytes()], soon)
            }
            _ => Deed::Say(vec![good], soon),
        }
    }

    async fn serve(mut self, mut router: Router) {
        loop {
            let incoming = router.recv().await;
            match self.react(incoming.frames.first().map_or(&[], |frame| frame)) {
                Deed::Nothing => {}
                Deed::HangUp => router.kick(incoming.peer),
                Deed::Say(answers, after) => {
                    // A slow answer holds up those behind it, as in a daemon of one thread.
                    tokio::time::sleep(after).await;
                    for answer in answers {
                        // Whoever asked may be gone.
                        let _gone = router.send(incoming.peer, vec![Bytes::from(answer)]);
                    }
                }
            }
        }
    }
}

/// Nodes for as long as this lives. The last accepts connections and says nothing, the one before is
/// not there.
struct Fleet {
    addresses: Vec<String>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _silent: std::net::TcpListener,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Fleet {
    fn start(seed: u64) -> Self {
        let addresses = fresh_block(NODES);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        for (address, number) in addresses.iter().zip(0..u64::from(NODES - 2)) {
            let ip = address.parse().expect("an address");
            let endpoint = Endpoint::Tcp(HostPort { host: Host::Ip(ip), port: 5555 });
            let router = runtime.block_on(Router::bind(&[endpoint], Limits::default())).expect("it is free");
            runtime.spawn(Node::new(seed.wrapping_mul(1000) + number).serve(router));
        }
        let last = addresses.last().expect("an address");
        let silent = std::net::TcpListener::bind((last.as_str(), 5555)).expect("it is free");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _dropped = runtime.block_on(stopped);
        });
        Self { addresses, stop: Some(stop), thread: Some(thread), _silent: silent }
    }

    fn command(&self, home: &std::path::Path, words: &[&str]) -> Command {
        let mut command = circusman(home);
        command
            .args(["--cluster", &self.addresses.join(","), "--timeout", "2", "--parallel", "5", "--quiet"])
            .args(words);
        command
    }

    /// Each target once, in each of these rows.
    fn check(&self, rows: &[Value], what: &str) {
        let mut names: Vec<&str> = rows.iter().map(|row| row["node"].as_str().unwrap_or("?")).collect();
        names.sort_unstable();
        let mut expected: Vec<&str> = self.addresses.iter().map(String::as_str).collect();
        expected.sort_unstable();
        assert_eq!(names, expected, "{what}");
        for row in rows {
            let (state, reason) = (row["state"].as_str().unwrap_or_default(), &row["reason"]);
            let good = ["done", "unchanged"].contains(&state);
            assert!(good || reason.as_str().is_some_and(|reason| !reason.is_empty()), "{what}: {row:#}");
        }
        let state = |at: usize| {
            let row = rows.iter().find(|row| row["node"] == self.addresses[at].as_str()).expect("its row");
            row["state"].as_str().unwrap_or_default().to_owned()
        };
        let (missing, silent) = (state(self.addresses.len() - 2), state(self.addresses.len() - 1));
        assert!(["unreachable", "cancelled", "skipped"].contains(&missing.as_str()), "{what}: {missing}");
        assert!(["timed out", "cancelled", "skipped"].contains(&silent.as_str()), "{what}: {silent}");
    }
}

/// The rows of `--json` or `--ndjson`; the latter ends with a summary whose counts are those of the rows.
fn rows(stdout: &str, lines: bool) -> Vec<Value> {
    if !lines {
        let document: Value = serde_json::from_str(stdout).expect("one document");
        return document["nodes"].as_array().cloned().unwrap_or_default();
    }
    let mut rows: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect();
    let summary = rows.pop().expect("a last line");
    let mut counts: HashMap<String, u64> = HashMap::new();
    for row in &rows {
        *counts.entry(row["state"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
    }
    assert_eq!(summary["counts"], json!(counts), "{summary:#}");
    rows
}

const COMMANDS: [&[&str]; 7] = [
    &["status"],
    &["start"],
    &["stop", "--yes"],
    &["restart", "db", "--yes"],
    &["reload", "--yes"],
    &["ready", "--wait"],
    &["restart", "--yes", "--rolling", "--batch", "4", "--keep-going"],
];

#[test]
fn each_target_has_one_row_whatever_the_nodes_do() {
    let home = tempfile::tempdir().expect("a directory");
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (seed, words) in (1..).zip(COMMANDS.iter().chain(&COMMANDS)) {
        let fleet = Fleet::start(seed);
        let lines = seed % 2 == 0;
        let words: Vec<&str> = [*words, &[if lines { "--ndjson" } else { "--json" }]].concat();
        let (exit, stdout, stderr) = run(&mut fleet.command(home.path(), &words));
        assert!([1, 4, 5].contains(&exit), "seed {seed}, {words:?}: exit {exit}\n{stdout}{stderr}");
        let rows = rows(&stdout, lines);
        fleet.check(&rows, &format!("seed {seed}, {words:?}"));
        for row in &rows {
            *seen.entry(row["state"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
    }
    eprintln!("{seen:?}");
    for state in ["done", "failed", "timed out", "unreachable"] {
        assert!(seen.contains_key(state), "the nodes were too well behaved: {seen:?}");
    }
}

#[test]
fn each_target_has_one_row_when_somebody_presses_ctrl_c() {
    let home = tempfile::tempdir().expect("a directory");
    let mut dice = Dice(77);
    for (seed, words) in (100..).zip(COMMANDS) {
        let fleet = Fleet::start(seed);
        let mut command = fleet.command(home.path(), &[words, &["--json"]].concat());
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid fits"));
        for _ in 0..=seed % 2 {
            // Not a wait for anything: the moment is what varies. Before it listens, Ctrl-C just ends it.
            std::thread::sleep(Duration::from_millis(150 + dice.roll(700)));
            let _ended_already = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        }
        let output = child.wait_with_output().expect("it ends");
        if output.status.code().is_some() {
            let stdout = String::from_utf8_lossy(&output.stdout);
            fleet.check(&rows(&stdout, false), &format!("seed {seed}, {words:?}"));
        }
    }
}

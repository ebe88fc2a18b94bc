//! Rolling changes on five nodes, with a watcher that looks at all of them all the time and clients that
//! keep them busy.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use circus_tests::daemon::{Daemon, Flavor, circusman, fresh_block, run};
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use serde_json::{Value, json};

/// A server that needs a moment until it listens, another until it has joined, and serves whoever asks.
const SERVER: &str = r#"
import os, socket, sys, threading, time
address, base = sys.argv[1], sys.argv[2]
time.sleep(0.3)
server = socket.create_server((address, 9160), backlog=64)
def serve():
    while True:
        try:
            peer, _ = server.accept()
            with peer:
                peer.sendall(peer.recv(64))
        except OSError:
            pass
threading.Thread(target=serve, daemon=True).start()
time.sleep(0.7)
mark = os.path.join(base, "joined")
open(mark, "w").close()
try:
    threading.Event().wait()
finally:
    os.remove(mark)
"#;

const INI: &str = "\
[circus]
endpoint = tcp://$(circus.env.node):5555
pubsub_endpoint = tcp://$(circus.env.node):5556
multicast_endpoint =

[watcher:db]
cmd = {python} {base}/server.py $(circus.env.node) {base}/$(circus.env.node)
stop_signal = INT
graceful_timeout = 20
autostart = false

[service:db]
start_order = seeds

[list:seeds]
item = {address}
separator = ,
select = every 3

[probe:db:up]
tcp = ${address}:9160
interval = 0.1

[probe:db:joined]
exec = test -f {base}/${address}/joined
interval = 0.1
";

const NODES: usize = 5;

struct Ring {
    base: tempfile::TempDir,
    nodes: Vec<Daemon>,
    addresses: Vec<String>,
}

impl Ring {
    fn start() -> Self {
        let base = tempfile::tempdir().expect("a directory");
        std::fs::write(base.path().join("server.py"), SERVER).expect("writes");
        let python = circus_tests::daemon::stock("python");
        let ini = INI
            .replace("{base}", base.path().to_str().expect("a plain path"))
            .replace("{python}", python.to_str().expect("a plain path"));
        std::fs::write(base.path().join("node.ini"), ini).expect("writes");
        let addresses = fresh_block(5);
        let nodes = addresses.iter().map(|address| {
            let home = base.path().join(address);
            std::fs::create_dir_all(&home).expect("a directory");
            Daemon::start_on(Flavor::Ours, &base.path().join("node.ini"), &home, address)
        });
        let nodes = nodes.collect();
        Self { nodes, addresses, base }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = circusman(self.base.path());
        command.args(["--cluster", &self.addresses.join(","), "--timeout", "60"]).args(words);
        command
    }

    /// With `--json`: how it ended, and what it printed.
    fn ask(&self, words: &[&str]) -> (i32, Value) {
        let (exit, stdout, stderr) = run(self.command(words).arg("--json"));
        let document = serde_json::from_str(&stdout).unwrap_or_else(|error| {
            panic!("{words:?} (exit {exit}): {error}\n{stdout}\n{stderr}");
        });
        (exit, document)
    }

    fn all(&self, words: &[&str]) -> Value {
        let (exit, document) = self.ask(words);
        assert_eq!(exit, 0, "{words:?}: {document:#}");
        assert_eq!(states(&document), ["done"; NODES], "{document:#}");
        document
    }

    /// What tells one run of a node's server from the next.
    fn pids(&self) -> Vec<Value> {
        let (_, document) = self.ask(&["call", "list", "name=db"]);
        rows(&document).iter().map(|row| row["data"]["pids"].clone()).collect()
    }
}

fn rows(document: &Value) -> &[Value] {
    document["nodes"].as_array().map_or(&[], Vec::as_slice)
}

fn states(document: &Value) -> Vec<&str> {
    rows(document).iter().map(|row| row["state"].as_str().unwrap_or("?")).collect()
}

/// Looks at every node over and over, and keeps the fewest that had joined at the same time.
///
/// One look asks one node after the other, and the batch may change meanwhile: the node looked at first is
/// still away, the one looked at last is away already, and yet they never were at the same time. So a node
/// was away at the moment between two looks when both of them say so; a restart takes far longer.
struct Lookout {
    stop: Arc<AtomicBool>,
    samples: Arc<AtomicUsize>,
    thread: JoinHandle<usize>,
}

impl Lookout {
    fn start(ring: &Ring) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let samples = Arc::new(AtomicUsize::new(0));
        let mut wires: Vec<Wire> =
            ring.nodes.iter().map(|node| Wire::connect(&node.endpoint(), &node.pubsub())).collect();
        let (flag, count) = (Arc::clone(&stop), Arc::clone(&samples));
        let thread = std::thread::spawn(move || {
            let (mut fewest, mut before) = (NODES, [true; NODES]);
            while !flag.load(Ordering::Relaxed) {
                let mut now = [true; NODES];
                for (joined, wire) in now.iter_mut().zip(&mut wires) {
                    let reply = wire.call("ready", &json!({"name": "db"}));
                    *joined = reply["watchers"]["db"]["state"] == "joined";
                }
                let joined = before.iter().zip(&now).filter(|(before, now)| **before || **now);
                fewest = fewest.min(joined.count());
                before = now;
                count.fetch_add(1, Ordering::Relaxed);
            }
            fewest
        });
        Self { stop, samples, thread }
    }

    /// The fewest, and how often it looked.
    fn end(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let fewest = self.thread.join().expect("it looks to its end");
        (fewest, self.samples.load(Ordering::Relaxed))
    }
}

/// Clients that talk to every server all the time; how often one answered.
struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(ring: &Ring) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |address: &String| {
            let (stop, address) = (Arc::clone(&stop), address.clone());
            std::thread::spawn(move || {
                let mut answers = 0;
                while !stop.load(Ordering::Relaxed) {
                    answers += usize::from(echoes(&address));
                }
                answers
            })
        };
        let threads = ring.addresses.iter().map(client).collect();
        Self { stop, threads }
    }

    fn end(self) -> Vec<usize> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a client")).collect()
    }
}

fn echoes(address: &str) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect((address, 9160)) else {
        std::thread::sleep(std::time::Duration::from_millis(2));
        return false;
    };
    let mut answer = [0_u8; 4];
    stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"ping"
}

#[test]
fn a_rolling_restart_under_load_keeps_all_but_one_joined() {
    let ring = Ring::start();
    ring.all(&["start", "--rolling", "--batch", "5"]);
    let before = ring.pids();
    let (lookout, load) = (Lookout::start(&ring), Load::start(&ring));
    until("a first look", || (lookout.samples.load(Ordering::Relaxed) > 0).then_some(()));

    let (exit, stdout, stderr) = run(&mut ring.command(&["restart", "--rolling", "--yes", "--json"]));

    let (fewest, samples) = lookout.end();
    let answers = load.end();
    assert_eq!(exit, 0, "{stdout}{stderr}");
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(states(&document), ["done"; NODES], "{document:#}");
    let after = ring.pids();
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    eprintln!("at least {fewest} of {NODES} joined in {samples} looks; answers {answers:?}");
    assert_eq!(fewest, NODES - 1, "of {samples} looks; {stderr}");
    assert!(samples > 20, "{samples} looks say little");
    assert!(answers.iter().all(|count| *count > 0), "{answers:?}");
    // Seeds first: the first and the fourth node.
    let batch = |number: usize, at: usize| format!("batch {number}/5: stop db on {}", ring.addresses[at]);
    for (number, at) in [(1, 0), (2, 3), (3, 1), (4, 2), (5, 4)] {
        assert!(stderr.contains(&batch(number, at)), "{stderr}");
    }
}

#[test]
fn the_first_batch_that_fails_is_the_last_and_resume_goes_on() {
    let mut ring = Ring::start();
    ring.all(&["start"]);
    ring.all(&["ready", "--wait"]);
    // The third to go, after both seeds, will not come back: its server's port is taken.
    let third = ring.addresses[1].clone();
    let blocked = ring.base.path().join(&third).join("joined");
    let (before, quick) = (ring.pids(), ["restart", "--rolling", "--yes", "--timeout", "20"]);
    std::fs::remove_file(&blocked).expect("it had joined");
    std::fs::create_dir(&blocked).expect("in the way");
    let (exit, document) = ring.ask(&quick);
    assert!([1, 5].contains(&exit), "{document:#}");
    let failed = rows(&document).iter().find(|row| row["node"] == third.as_str()).expect("its row");
    assert!(["failed", "timed out"].contains(&failed["state"].as_str().unwrap_or_default()), "{failed:#}");
    let done = |document: &Value| states(document).iter().filter(|state| **state == "done").count();
    let skipped = states(&document).iter().filter(|state| **state == "skipped").count();
    assert_eq!((done(&document), skipped), (2, 2), "{document:#}");
    let after = ring.pids();
    assert_eq!((&before[2], &before[4]), (&after[2], &after[4]), "they were not touched");

    let (_, failed) = ring.ask(&["status", "--failed"]);
    assert_eq!(rows(&failed).len(), 1, "{failed:#}");
    assert_eq!(rows(&failed)[0]["node"], third.as_str());
    std::fs::remove_dir(&blocked).expect("out of the way");
    let (exit, _, stderr) = run(&mut ring.command(&["resume"]));
    assert_eq!(exit, 6, "it asks as the restart did: {stderr}");
    let (exit, document) = ring.ask(&["resume", "--yes"]);
    assert_eq!((exit, rows(&document).len()), (0, 3), "{document:#}");
    assert!(
        ring.pids()
            .iter()
            .zip(&after)
            .all(|(now, then)| now != &Value::Null && now.is_array() && then.is_array())
    );
    let (exit, _, stderr) = run(&mut ring.command(&["resume"]));
    assert_eq!(exit, 3, "{stderr}");
    assert!(stderr.contains("is done on all its nodes"), "{stderr}");
    ring.nodes.iter_mut().for_each(|node| assert!(node.is_running()));
}

/// A command under way, its output not looked at.
fn begun(ring: &Ring, words: &[&str]) -> Child {
    let mut command = ring.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().expect("it starts")
}

fn operations(state: &Path) -> usize {
    std::fs::read_dir(state.join("circusman/operations")).map_or(0, Iterator::count)
}

#[test]
fn a_killed_operation_shows_as_interrupted_and_an_interrupted_one_has_all_its_rows() {
    let ring = Ring::start();
    ring.all(&["start"]);
    ring.all(&["ready", "--wait"]);
    let state = ring.base.path().join("xdg-state");
    let mut child = begun(&ring, &["restart", "--rolling", "--yes", "--json"]);
    until("the restart to have begun", || (operations(&state) == 2).then_some(()));
    let (_, running) = ring.ask(&["history", "2"]);
    assert_eq!(running["operations"][0]["outcome"], "running", "{running:#}");
    child.kill().expect("it is ours");
    let _killed = child.wait();
    let (_, killed) = ring.ask(&["history", "2"]);
    assert_eq!(killed["operations"][0]["outcome"], "interrupted", "{killed:#}");
    assert_eq!(rows(&killed["operations"][0]).len(), NODES);
    until("what was under way to settle", || {
        let (exit, _) = ring.ask(&["start"]);
        (exit == 0).then_some(())
    });

    // Two consoles at once, one of which is interrupted by Ctrl-C.
    let other = begun(&ring, &["reload", "--yes", "--json", "--on", &ring.addresses[4]]);
    let child =
        begun(&ring, &["restart", "--rolling", "--yes", "--json", "--on", &ring.addresses[..4].join(",")]);
    let words = |document: &Value| document["operations"].to_string();
    until("both to have begun", || {
        let (_, history) = ring.ask(&["history", "-n", "2"]);
        (words(&history).contains("reload") && words(&history).contains("restart")).then_some(())
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid fits")),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("it is ours");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let states = states(&document);
    assert_eq!(states.len(), 4, "{document:#}");
    assert!(states.contains(&"cancelled"), "{document:#}");
    assert!(states.iter().all(|state| ["done", "cancelled"].contains(state)), "{document:#}");
    assert!(other.wait_with_output().expect("it ends").status.success());
    // Nobody was left half-way.
    let (exit, ready) = ring.ask(&["ready", "--wait"]);
    assert_eq!(exit, 0, "{ready:#}");
}

#[test]
fn a_dry_run_does_nothing_and_what_loses_something_asks() {
    let ring = Ring::start();
    ring.all(&["start"]);
    ring.all(&["ready", "--wait"]);
    let before = ring.pids();
    for verb in ["start", "stop", "restart", "reload"] {
        for how in [&["--dry-run"][..], &["--dry-run", "--rolling", "--batch", "2"]] {
            let words: Vec<&str> = [&[verb][..], how].concat();
            let (exit, document) = ring.ask(&words);
            assert_eq!((exit, &document["dry_run"]), (0, &json!(true)), "{words:?}: {document:#}");
            assert_eq!(rows(&document).len(), NODES);
            if how.len() > 1 {
                assert_eq!(document["batches"].as_array().map(Vec::len), Some(3), "{document:#}");
            }
        }
    }
    for words in [&["start", "--ordered", "--dry-run"][..], &["stop", "--ordered", "--dry-run"]] {
        assert_eq!(ring.ask(words).0, 0, "{words:?}");
    }
    // Nobody is there to be asked: status 6, at once, with nothing on stdout.
    for words in [
        &["stop"][..],
        &["restart"],
        &["reload"],
        &["restart", "--rolling"],
        &["stop", "--ordered"],
        &["call", "quit"],
        &["configure"],
        &["reset", "data"],
        &["reset", "--undo"],
        &["reset", "--confirm", "another name"],
        &["fresh"],
    ] {
        let (exit, stdout, stderr) = run(&mut ring.command(words));
        assert_eq!((exit, stdout.as_str()), (6, ""), "{words:?}: {stderr}");
    }
    assert_eq!(ring.pids(), before);
    assert_eq!(operations(&ring.base.path().join("xdg-state")), 1, "only the start is written down");
    // One node's restart never asks.
    let (exit, document) = ring.ask(&["restart", "--on", &ring.addresses[0]]);
    assert_eq!(exit, 0, "{document:#}");
}

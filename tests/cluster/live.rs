//! Nodes that are followed: what a console says about them, and when.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor, built, fresh_address};
use circus_tests::wait::{PATIENCE, until};
use circus_tests::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::net::{HERE, Killed, NODE, Net, daemon, skipped};

const INI: &str = "[circus]\nmulticast_endpoint =\ncheck_delay = 1\n[watcher:web]\ncmd = sleep 600\n[watcher:db]\ncmd = sleep 600\nautostart = False\n";

/// Between a death and the word `down`, at most. What is measured here on a busy machine includes its
/// own delays; the bound itself is held by the rules' tests.
const DEATH: Duration = Duration::from_secs(3);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(5);

/// `circusman listen --ndjson`, and what it has said.
struct Listener {
    _child: Killed,
    lines: Receiver<Value>,
}

impl Listener {
    fn start(mut command: Command, cluster: &str) -> Self {
        let home = std::env::temp_dir();
        command
            .args(["--cluster", cluster, "--ndjson", "listen"])
            .env("HOME", &home)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child: Child = command.spawn().expect("circusman starts");
        let (tell, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let said = tell.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _gone = tell.send(serde_json::from_str(&line).expect("an object"));
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _gone = said.send(json!({ "said": line }));
            }
        });
        Self { _child: Killed(child), lines }
    }

    /// Waits for a line that fits; what came before it is dropped.
    fn expect(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => before.push(line),
                Err(_) => panic!("waited in vain for {what}; there was {before:#?}"),
            }
        }
    }

    fn settled(&self) {
        self.expect("all nodes to be known", |line| {
            line["said"].as_str().is_some_and(|said| said.contains("nodes up after"))
        });
    }

    /// What is said within this time.
    fn hears(&self, time: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time;
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => heard.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return heard,
            }
        }
    }
}

fn is(line: &Value, change: &str, node: &str) -> bool {
    line["change"] == change && line["node"] == node
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid"))
}

#[test]
fn nodes_of_both_kinds_are_followed_through_deaths_and_changes() {
    let mut nodes = [Flavor::Ours, Flavor::Stock].map(|flavor| Daemon::start(flavor, INI));
    let names = [nodes[0].address().to_owned(), nodes[1].address().to_owned()];
    let listener = Listener::start(Command::new(built("circusman")), &names.join(","));
    listener.settled();

    for (node, name) in nodes.iter().zip(&names) {
        let mut wire = Wire::connect(&node.endpoint(), &node.pubsub());
        wire.call("start", &json!({"name": "db"}));
        let line =
            listener.expect("db to be active", |line| is(line, "status", name) && line["watcher"] == "db");
        assert_eq!((&line["from"], &line["to"]), (&json!("stopped"), &json!("active")), "{line}");
        let reply = wire.call("list", &json!({"name": "web"}));
        let web = reply["pids"][0].as_i64().expect("it runs");
        kill(Pid::from_raw(i32::try_from(web).expect("a pid")), Signal::SIGKILL).expect("it is ours");
        let line = listener.expect("the death", |line| is(line, "died", name) && line["watcher"] == "web");
        assert_eq!((&line["pid"], &line["wanted"]), (&json!(web), &json!(false)), "{line}");
        let line = listener.expect("a successor", |line| is(line, "spawned", name));
        assert_eq!((&line["watcher"], &line["again"]), (&json!("web"), &json!(true)), "{line}");
    }

    for (node, name) in nodes.iter().zip(&names) {
        kill(Pid::from_raw(node.pid()), Signal::SIGSTOP).expect("it is ours");
        let stopped = Instant::now();
        let line = listener.expect("a frozen node to be down", |line| is(line, "down", name));
        assert!(stopped.elapsed() < DEATH + SLACK, "{:?}", stopped.elapsed());
        assert!(line["why"].as_str().is_some_and(|why| why.starts_with("silent")), "{line}");
        kill(Pid::from_raw(node.pid()), Signal::SIGCONT).expect("it is ours");
        listener.expect("it to be back", |line| is(line, "up", name));
    }

    for (node, name) in nodes.iter_mut().zip(&names) {
        node.crash();
        let line = listener.expect("a dead node to be down", |line| is(line, "down", name));
        assert!(line["why"].as_str().is_some_and(|why| why.contains("closed")), "{line}");
    }
}

#[test]
fn listen_goes_on_with_the_nodes_that_a_file_names_now() {
    let nodes = [(); 2].map(|()| Daemon::start(Flavor::Ours, INI));
    let base = tempfile::tempdir().expect("a directory");
    let list = base.path().join("nodes");
    std::fs::write(&list, format!("{}\n", nodes[0].address())).expect("writes");
    let listener = Listener::start(Command::new(built("circusman")), &format!("@{}", list.display()));
    listener.settled();
    let said = |line: &Value, words: &str| line["said"].as_str().is_some_and(|said| said.contains(words));
    std::fs::write(&list, format!("{}\n", nodes[1].address())).expect("writes");
    listener.expect("the other nodes", |line| said(line, "the cluster has changed"));
    // The first one has left: whatever happens there is not told. The second one has come.
    let [first, second] = nodes.each_ref().map(|node| Wire::connect(&node.endpoint(), &node.pubsub()));
    let name = nodes[1].address();
    for mut wire in [first, second] {
        wire.call("start", &json!({"name": "db"}));
    }
    let line = listener.expect("a change", |line| line["change"] == "status" && line["watcher"] == "db");
    assert_eq!(line["node"], name, "{line}");
}

#[test]
fn another_daemon_in_the_same_place_is_noticed() {
    let base = tempfile::tempdir().expect("a folder");
    let address = fresh_address();
    let ini = base.path().join("circus.ini");
    std::fs::write(&ini, INI.replace("[circus]", "[circus]\nendpoint = tcp://$(circus.env.node):5555\npubsub_endpoint = tcp://$(circus.env.node):5556"))
        .expect("the ini is written");
    let start = |flavor, name: &str| {
        let home = base.path().join(name);
        std::fs::create_dir(&home).expect("a folder");
        Daemon::start_on(flavor, &ini, &home, &address)
    };
    let mut first = start(Flavor::Stock, "first");
    let listener = Listener::start(Command::new(built("circusman")), &address);
    listener.settled();
    first.crash();
    listener.expect("it to be down", |line| is(line, "down", &address));
    // What is not a circus does not count as one.
    let stranger = TcpListener::bind((address.as_str(), 5555)).expect("the place is free");
    let greeter = std::thread::spawn(move || {
        let (mut stream, _) = stranger.accept().expect("the console tries again");
        let _gone = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    greeter.join().expect("it was called");
    let _second = start(Flavor::Ours, "second");
    let line = listener.expect("another one to be up", |line| is(line, "up", &address));
    assert!(line["daemon"].as_str().is_some_and(|daemon| daemon.starts_with("circusd-rs")), "{line}");
}

#[test]
fn a_link_that_loses_a_third_is_no_alarm_and_one_that_is_cut_is() {
    let mut net = match Net::new() {
        Ok(net) => net,
        Err(why) => return skipped("a link that is lossy or cut", &why),
    };
    let base = tempfile::tempdir().expect("a folder");
    let _daemon = daemon(&net, base.path());
    let listener = Listener::start(net.inside(HERE, &built("circusman")), NODE);
    until("the node to be up", || {
        let said = listener.hears(Duration::from_millis(200));
        let up = |line: &Value| {
            is(line, "up", NODE) || line["said"].as_str().is_some_and(|said| said.starts_with("1 of 1"))
        };
        said.iter().any(up).then_some(())
    });
    for _ in 0..4 {
        net.lose(30);
        let mut heard = listener.hears(Duration::from_secs(2));
        net.lose(0);
        heard.extend(listener.hears(Duration::from_millis(1_500)));
        assert!(heard.is_empty(), "a false alarm: {heard:?}");
    }
    net.lose(100);
    let cut = Instant::now();
    let line = listener.expect("the node to be down", |line| is(line, "down", NODE));
    assert!(cut.elapsed() < DEATH + SLACK, "{:?}", cut.elapsed());
    assert!(line["why"].as_str().is_some_and(|why| why.starts_with("silent")), "{line}");
    net.lose(0);
    listener.expect("the node to be back", |line| is(line, "up", NODE));
}

#[test]
fn a_simulated_cluster_is_driven_and_followed_like_a_real_one() {
    let address = fresh_address();
    let base: Vec<&str> = address.split('.').collect();
    let base = format!("127.{}.200", base[1]);
    let mut command = Command::new(built("circusman"));
    command.args(["simulate", "--nodes", "300", "--watchers", "3", "--base", &base, "--port", "15555"]);
    let mut simulation =
        Killed(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts"));
    let mut spec = String::new();
    BufReader::new(simulation.0.stdout.take().expect("piped")).read_line(&mut spec).expect("a SPEC");
    let spec = spec.trim();
    let listener = Listener::start(Command::new(built("circusman")), spec);
    listener.settled();
    let mut stop = Command::new(built("circusman"));
    stop.args(["--cluster", spec, "--json", "--yes", "--timeout", "50", "stop", "db"]);
    let output = stop.env("HOME", std::env::temp_dir()).output().expect("circusman runs");
    let document: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let nodes = document["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 300);
    assert!(nodes.iter().all(|node| node["state"] == "done"), "{document:#}");
    let mut stopped = std::collections::BTreeSet::new();
    while stopped.len() < 300 {
        let line = listener.expect("all to be stopped", |line| line["change"] == "status");
        assert_eq!((&line["watcher"], &line["to"]), (&json!("db"), &json!("stopped")));
        stopped.insert(line["node"].to_string());
    }
    kill(pid(simulation.0.id()), Signal::SIGKILL).expect("it is ours");
    let line = listener.expect("a node to be down", |line| line["change"] == "down");
    assert!(line["why"].as_str().is_some_and(|why| why.contains("closed")), "{line}");
}

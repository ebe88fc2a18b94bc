//! `export` and `stats --watch` on a stock node and one of our own, read by a plain HTTP client and, where
//! there is one, by Prometheus' own checker.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use circus_tests::daemon::{Daemon, Flavor, built, descendants};
use circus_tests::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::net::Killed;

const INI: &str = "[circus]\n[watcher:web]\ncmd = sleep 1000\nnumprocesses = 2\n\
                   [watcher:idle]\ncmd = sleep 1000\nautostart = False\n";

/// The running exporter.
struct Exporter {
    child: Killed,
    address: String,
}

impl Exporter {
    fn start(cluster: &str, more: &[&str]) -> Self {
        let child = Command::new(built("circusman"))
            .args(["--cluster", cluster, "export", "--listen", "127.0.0.1:0", "--fresh", "0"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("circusman starts");
        let mut child = Killed(child);
        let mut line = String::new();
        let stderr = child.0.stderr.take().expect("piped");
        BufReader::new(stderr).read_line(&mut line).expect("a line");
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
        assert!(!address.is_empty(), "{line}");
        Self { address: address.to_owned(), child }
    }

    /// Status, content type and body.
    fn get(&self, path: &str, accept: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap_or_default();
        (status, kind.to_owned(), body.to_owned())
    }

    fn samples(&self) -> BTreeMap<String, f64> {
        parsed(&self.get("/metrics", "").2)
    }
}

/// A second reading of the text format: every sample belongs to a family that was announced before it,
/// families stand together, and nothing comes twice.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut family, mut seen) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert!(!seen.contains(&name.to_owned()), "{line}: announced twice");
            name.clone_into(&mut family);
            seen.push(name.to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            assert_eq!(series.split('{').next(), Some(family.as_str()), "{line}");
            let value = value.parse().expect("a number");
            assert!(samples.insert(series.to_owned(), value).is_none(), "{line}: twice");
        }
    }
    samples
}

/// Prometheus' own opinion, where it is installed.
fn check_by_promtool(text: &str) {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("promtool is not installed: only our own parser has checked the text");
        return;
    };
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn prometheus_reads_a_mixed_cluster() {
    let mut nodes = [Daemon::start(Flavor::Ours, INI), Daemon::start(Flavor::Stock, INI)];
    let [ours, stock] = [nodes[0].address().to_owned(), nodes[1].address().to_owned()];
    let exporter = Exporter::start(&format!("{ours},{stock}"), &["--processes"]);
    let of =
        |name: &str, node: &str, watcher: &str| format!("{name}{{node=\"{node}\",watcher=\"{watcher}\"}}");
    let (status, kind, text) = exporter.get("/metrics", "text/plain");
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    check_by_promtool(&text);
    let first = parsed(&text);
    for node in [&ours, &stock] {
        assert_eq!(first[&format!("circus_node_up{{node=\"{node}\"}}")], 1.0);
        assert_eq!(first[&of("circus_watcher_processes", node, "web")], 2.0);
        assert_eq!(first[&of("circus_watcher_restarts_total", node, "web")], 0.0);
        assert_eq!(
            first[&format!("circus_watcher_state{{node=\"{node}\",watcher=\"idle\",state=\"stopped\"}}")],
            1.0
        );
        assert!(first[&of("circus_watcher_resident_memory_bytes", node, "web")] > 100_000.0);
        assert!(first.contains_key(&format!(
            "circus_process_age_seconds{{node=\"{node}\",watcher=\"web\",wid=\"1\"}}"
        )));
    }
    assert_eq!(first[&of("circus_watcher_processes_wanted", &ours, "idle")], 1.0);
    assert!(!first.contains_key(&of("circus_watcher_processes_wanted", &stock, "idle")));

    for node in &nodes {
        kill(Pid::from_raw(descendants(node.pid())[0]), Signal::SIGKILL).expect("a process");
    }
    until("the restarts to be seen", || {
        let samples = exporter.samples();
        let restarted = |node| samples[&of("circus_watcher_restarts_total", node, "web")] == 1.0;
        (restarted(&ours) && restarted(&stock)).then_some(())
    });

    let (status, kind, text) =
        exporter.get(&format!("/metrics?node={stock}"), "application/openmetrics-text; version=1.0.0");
    assert_eq!((status, kind.as_str()), (200, "application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(
        text.contains(&stock) && !text.contains(&format!("\"{ours}\"")) && text.ends_with("# EOF\n"),
        "{text}"
    );
    assert_eq!(exporter.get("/metrics?node=elsewhere", "").0, 404);

    let (status, kind, text) = exporter.get("/sd", "");
    assert_eq!((status, kind.as_str()), (200, "application/json"));
    let targets: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&targets[1]["targets"][0], &targets[1]["labels"]["__meta_circus_daemon"]),
        (&stock.as_str().into(), &"circusd".into())
    );
    assert_eq!(exporter.get("/healthz", "").2, "ok\n");
    assert!(exporter.get("/", "").2.contains("/metrics"));
    assert_eq!(exporter.get("/nothing", "").0, 404);

    nodes[0].crash();
    until("the node to be down", || {
        let samples = exporter.samples();
        (samples[&format!("circus_node_up{{node=\"{ours}\"}}")] == 0.0).then_some(())
    });
    assert!(
        !exporter.samples().keys().any(|key| key.contains(&format!("node=\"{ours}\",watcher"))),
        "nothing stale"
    );
    let mut exporter = exporter;
    kill(Pid::from_raw(i32::try_from(exporter.child.0.id()).expect("a pid")), Signal::SIGTERM)
        .expect("it runs");
    let ended = until("the exporter to end", || exporter.child.0.try_wait().expect("our child"));
    assert!(ended.success(), "{ended}");
}

#[test]
fn only_loopback_is_listened_on_without_being_told() {
    let mut command = Command::new(built("circusman"));
    command.args(["--cluster", "127.0.0.1", "export", "--listen", "0.0.0.0:0"]);
    let (exit, _, stderr) = circus_tests::daemon::run(&mut command);
    assert_eq!(exit, 2);
    assert!(stderr.contains("without a password") && stderr.contains("--expose"), "{stderr}");
}

#[test]
fn stats_go_on_until_they_are_interrupted() {
    let node = Daemon::start(Flavor::Stock, INI);
    let mut child = Command::new(built("circusman"))
        .args(["--cluster", node.address(), "stats", "web", "--by", "watcher", "--csv", "--watch", "100ms"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("circusman starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let head = lines.next().expect("a line").expect("text");
    let columns: Vec<&str> = head.split(',').collect();
    let at = columns.iter().position(|column| *column == "restarts").expect("the column");
    kill(Pid::from_raw(descendants(node.pid())[0]), Signal::SIGKILL).expect("a process");
    // Stock tells no restarts; this one is seen, unless it was over before the first look.
    for line in lines.by_ref().take(30) {
        let line = line.expect("text");
        assert!(line.contains(node.address()) && line.contains(",web,"), "{line}");
        assert!(["0", "1"].contains(&line.split(',').nth(at).expect("restarts")), "{line}");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGINT).expect("it runs");
    drop(lines);
    let ended = until("the end", || child.try_wait().expect("our child"));
    assert!(matches!(ended.code(), Some(130 | 0)), "{ended}");
}

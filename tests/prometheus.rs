//! The example for Prometheus and Grafana speaks of metrics that there are, and is what they can read.
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "tests end at the first surprise and start programs"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use circus_tests::daemon::workspace;
use controller::export::exposition::Format;
use controller::export::metrics::{Reading, exposition};
use controller::figures::track::Tracker;
use controller::figures::{Node, Process, Watcher};
use controller::outcome::NodeState;
use serde_json::Value;

fn file(name: &str) -> String {
    std::fs::read_to_string(workspace().join("examples/prometheus").join(name)).expect("the example")
}

/// What is exported of a node that has everything.
fn exported() -> String {
    let process = Process {
        pid: 1,
        wid: Some(1),
        cpu: Some(1.0),
        memory: Some(1.0),
        virtual_memory: Some(1.0),
        cpu_clock: Some(1.0),
        age: Some(1.0),
        created: Some(1.0),
        ..Process::default()
    };
    let watcher = Watcher {
        name: "w".to_owned(),
        wanted: Some(1),
        starts: Some(1),
        restarts: Some(1),
        ends: Some(1),
        processes: vec![process],
        ..Watcher::default()
    };
    let node = Node {
        name: "n".to_owned(),
        state: NodeState::Done,
        reason: String::new(),
        daemon: Some("circusd-rs 1".to_owned()),
        elapsed: std::time::Duration::ZERO,
        watchers: vec![watcher],
    };
    let reading = Reading::new(vec![node], &mut Tracker::default(), (0.0, 0.0), 1);
    exposition(&reading, &|_| true, true).print(Format::Text)
}

/// The names of all metrics that a node can have.
fn names() -> BTreeSet<String> {
    exported()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Words of a query that look like metrics of ours.
fn used(query: &str) -> Vec<String> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("circus_") || word.starts_with("circusman_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let names = names();
    let board: Value = serde_json::from_str(&file("dashboard.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    assert!(panels.len() >= 10 && board["title"].is_string() && board["schemaVersion"].is_u64());
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
    for panel in panels {
        for target in panel["targets"].as_array().expect("queries") {
            let query = target["expr"].as_str().expect("a query");
            let used = used(query);
            assert!(!used.is_empty(), "{query}");
            for name in used {
                assert!(names.contains(&name), "{name} in {query}: {names:?}");
            }
        }
    }
}

#[test]
fn the_rules_ask_for_metrics_that_there_are() {
    let names = names();
    let rules = file("rules.yml");
    let queries: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(queries.len(), rules.matches("- alert:").count());
    for name in queries.iter().flat_map(|query| used(query)) {
        assert!(names.contains(&name), "{name}");
    }
}

/// Where Prometheus' own tool is installed, it has the last word: on what it is told through its standard
/// input, if it is.
fn promtool(words: &[&str], input: &str) {
    let child = Command::new("promtool")
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return eprintln!("promtool is not installed ({error}): not checked"),
    };
    // It may not want it.
    let _unread = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

#[test]
fn prometheus_takes_the_example() {
    let example = workspace().join("examples/prometheus/prometheus.yml");
    promtool(&["check", "config", example.to_str().expect("a plain path")], "");
}

#[test]
fn prometheus_finds_nothing_to_say_about_the_metrics() {
    promtool(&["check", "metrics"], &exported());
}

#[test]
fn prometheus_understands_the_queries_of_the_dashboard() {
    let board: Value = serde_json::from_str(&file("dashboard.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (at, target) in targets.enumerate() {
        // Grafana fills these in.
        let query = target["expr"].as_str().expect("a query");
        let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
        let _ = writeln!(rules, "  - record: query_{at}\n    expr: {}", Value::from(query));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rules.yml");
    std::fs::write(&path, rules).expect("writes");
    promtool(&["check", "rules", path.to_str().expect("a plain path")], "");
}

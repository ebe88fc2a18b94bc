//! What people and programs see, pinned.

use std::time::Duration;

use circus_protocol::command::ResetKind;
use serde_json::{Value, json};

use super::*;
use crate::outcome::{ConfigureRequest, LogsRequest, ResetRequest};

mod every;

fn node(name: &str, state: NodeState, reason: &str, data: Value) -> NodeOutcome {
    let daemon = match state {
        NodeState::Done | NodeState::Unchanged => Some("circusd-rs 0.1.0".to_owned()),
        _ => None,
    };
    NodeOutcome {
        node: name.into(),
        state,
        reason: reason.into(),
        daemon,
        data,
        elapsed: Duration::from_millis(20),
    }
}

fn result(nodes: Vec<NodeOutcome>) -> Outcome {
    Outcome { nodes, elapsed: Duration::from_millis(2140) }
}

fn names() -> Vec<String> {
    Vec::new()
}

#[test]
fn status_folds_equal_rows() {
    let states = json!({"watchers": {"titan": "stopped", "cassandra": "active", "neo4j": "stopping"}});
    let mut stock = node("127.0.0.4", NodeState::Done, "", json!({"watchers": {"cassandra": "active"}}));
    stock.daemon = Some("circusd".to_owned());
    let nodes = vec![
        node("127.0.0.1", NodeState::Done, "", states.clone()),
        node("127.0.0.5", NodeState::Unreachable, "connection refused", Value::Null),
        node("127.0.0.2", NodeState::Done, "", states),
        stock,
        node("127.0.0.6", NodeState::Absent, "", Value::Null),
    ];
    insta::assert_snapshot!(outcome(&Operation::Status { names: names() }, &result(nodes), Detail::Full));
}

#[test]
fn status_of_many_watchers_is_a_list() {
    let states: serde_json::Map<String, Value> =
        (1..=12).map(|n| (format!("w{n:02}"), json!(if n == 3 { "stopped" } else { "active" }))).collect();
    let nodes = vec![node("a", NodeState::Done, "", json!({"watchers": states}))];
    insta::assert_snapshot!(outcome(&Operation::Status { names: names() }, &result(nodes), Detail::Full));
}

#[test]
fn failures_come_last() {
    let nodes = vec![
        node("node01", NodeState::Failed, "exit 3\n\u{1b}[2Jboo", Value::Null),
        node(
            "node02",
            NodeState::Done,
            "",
            json!({"watchers": {"a": "active", "b": "active", "c": "stopped"}}),
        ),
        node(
            "node03",
            NodeState::Done,
            "",
            json!({"watchers": {"a": "active", "b": "active", "c": "stopped"}}),
        ),
        node("node04", NodeState::TimedOut, "no answer to start within 5.0 s", Value::Null),
        node("node05", NodeState::Unchanged, "already active", Value::Null),
    ];
    insta::assert_snapshot!(outcome(&Operation::Start { names: names() }, &result(nodes), Detail::Full));
}

/// A native node, a stock one, one that is gone.
fn measured() -> (Outcome, Vec<Node>) {
    let figures = json!({"watchers": {"neo4j": {"state": "active", "numprocesses": 2, "starts": 9, "restarts": 7, "ends": 7,
        "processes": {"100": {"mem_info1": "1.50M", "mem_info2": "1.00G", "cpu": 12.34, "age": 75.2, "cmdline": "sh", "wid": 1, "username": "neo, \"4j\"",
            "children": [{"pid": 101, "mem_info1": "512.00M", "cpu": 101.0, "age": 74.0, "cmdline": "java", "children": []}]},
            "102": "No such process (stopped?)"}}, "titan": {"state": "stopped", "numprocesses": 1, "starts": 0, "restarts": 0, "ends": 0, "processes": {}}}});
    let stock = json!({"watchers": {"neo4j": {"state": "active", "processes": {"7":
        {"mem_info1": "2.00G", "cpu": 250.0, "age": 7200.0, "cmdline": "python3", "wid": 3, "children": []}}}}});
    let mut nodes = vec![
        node("a", NodeState::Done, "", figures),
        node("b", NodeState::Unreachable, "no route", Value::Null),
        node("c", NodeState::Done, "", stock),
    ];
    nodes[2].daemon = Some("circusd".to_owned());
    let outcome = result(nodes);
    let nodes = crate::figures::nodes(&outcome);
    (outcome, nodes)
}

#[test]
fn stats_show_processes_and_children() {
    let (outcome, nodes) = measured();
    insta::assert_snapshot!(stats(&outcome, &nodes, &figures::View::default()));
    let operation = Operation::Stats { names: names(), over: Duration::ZERO };
    assert_eq!(
        super::outcome(&operation, &outcome, Detail::Full),
        stats(&outcome, &nodes, &figures::View::default())
    );
}

#[test]
fn stats_by_everything_sorted_and_cut() {
    use crate::figures::rows::{By, Sort};
    let (outcome, nodes) = measured();
    let by = |by, sort, top| stats(&outcome, &nodes, &figures::View { by, sort, top });
    let all = [
        by(By::Node, None, None),
        by(By::Watcher, Some(Sort::Cpu), Some(2)),
        by(By::Name, Some(Sort::Mem), None),
        by(By::Process, Some(Sort::Cpu), Some(1)),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn stats_for_programs() {
    use crate::figures::rows::By;
    let (_, nodes) = measured();
    let view = figures::View::default();
    let csv = figures::csv_head() + &figures::csv(&nodes, &view, "2026-11-29T12:00:00Z");
    insta::assert_snapshot!(csv);
    let rows = figures::View { by: By::Watcher, ..view }.rows(&nodes);
    let rows: Vec<Value> = rows.shown.iter().map(figures::object).collect();
    insta::assert_snapshot!(serde_json::to_string_pretty(&rows).expect("prints"));
}

fn configured() -> Outcome {
    let files = |address: &str| {
        json!({"restart_needed": ["neo4j"], "files": [{"service": "neo4j", "label": "properties", "path": "/etc/neo4j.properties", "changed": true,
                "diff": format!("-server=\n+server={address}\n")},
               {"service": "neo4j", "label": "server", "path": "/etc/s", "changed": false}]})
    };
    let mut nodes: Vec<_> =
        (1..=5).map(|n| node(&format!("n{n}"), NodeState::Done, "", files(&format!("10.0.0.{n}")))).collect();
    nodes.push(node("n6", NodeState::Refused, "neo4j is running", Value::Null));
    result(nodes)
}

#[test]
fn configure_shows_its_differences() {
    let operation = Operation::Configure(ConfigureRequest { dry_run: true, ..ConfigureRequest::default() });
    insta::assert_snapshot!(outcome(&operation, &configured(), Detail::Question));
    assert!(outcome(&operation, &configured(), Detail::Full).contains("+server=10.0.0.5"));
    assert!(files::any_change(&configured()));
}

#[test]
fn reset_lists_paths_and_bytes() {
    let item = |path: &str, bytes: u64| json!({"path": path, "bytes": bytes, "entries": 3, "modified": 1_795_344_258.8});
    let wiped = json!({"services": {
        "neo4j": {"deleted": [item("/d/graph.db", 5_000_000), item("/d/r\u{1b}rd", 242_880)], "deleted_count": 12,
                  "truncated": [], "kept": [{"path": "/d/dbms", "reason": "listed in keep"}], "bytes": 5_242_880},
        "titan": {"deleted": [], "truncated": [], "kept": [], "bytes": 0}}});
    let nodes = vec![
        node("a", NodeState::Done, "", wiped),
        node("b", NodeState::Done, "", json!({"services": {}})),
        node("c", NodeState::Refused, "neo4j is active; stop it first", Value::Null),
    ];
    let nodes = result(nodes);
    let request = |dry_run| {
        Operation::Reset(ResetRequest {
            services: names(),
            kind: ResetKind::Data,
            dry_run,
            stop: false,
            undo: false,
            keep: None,
        })
    };
    insta::assert_snapshot!(outcome(&request(true), &nodes, Detail::Question));
    insta::assert_snapshot!(outcome(&request(false), &nodes, Detail::Full));
    assert!(wiped::any_path(&nodes));
    assert!((wiped::total_bytes(&nodes) - 5_242_880.0).abs() < 1.0);
}

#[test]
fn answers_are_grouped() {
    let call = Operation::Call { command: "numwatchers".into(), properties: json!({}) };
    let nodes = vec![
        node("n1", NodeState::Done, "", json!({"numwatchers": 3})),
        node("n2", NodeState::Done, "", json!({"numwatchers": 3})),
        node("n3", NodeState::Refused, "unknown command", Value::Null),
    ];
    insta::assert_snapshot!(outcome(&call, &result(nodes), Detail::Full));
}

#[test]
fn chains_show_the_first_broken_link() {
    use crate::cluster::chain::Link;
    let chain = |links: &[Link]| json!({"links": links.iter().map(Link::to_json).collect::<Vec<_>>()});
    let way = |node: &str| Link::whole("name", format!("{node} is an address"));
    let refused = |node: &str| {
        let link = Link::broken("port", format!("{node}: connection refused"), "start circusd there");
        chain(&[way(node), Link::whole("route", "the host answers"), link])
    };
    let mut told = chain(&[
        way("n1"),
        Link::odd("name", "n1 has 2 addresses: 10.0.0.1, ::1", ""),
        Link::broken("process", "it died young; \u{1b}[31mno room", "make room on the disk"),
    ]);
    told["story"] = json!("web is stopped: it ended too often.\nIts last words:\n  no \u{1b}[31mroom");
    let whole = |node: &str| chain(&[way(node), Link::whole("daemon", "answers")]);
    let nodes = vec![
        node("n1", NodeState::Failed, "process: it died young", told),
        node("n2", NodeState::Done, "", whole("n2")),
        node("n3", NodeState::Unreachable, "port: n3: connection refused", refused("n3")),
        node("n4", NodeState::Done, "", whole("n4")),
        node("n5", NodeState::Unreachable, "port: n5: connection refused", refused("n5")),
        node("n6", NodeState::Cancelled, "interrupted", Value::Null),
    ];
    let why = Operation::Why { name: Some("web".into()) };
    insta::assert_snapshot!(outcome(&why, &result(nodes.clone()), Detail::Full));
    let document = json::document(&why, "lab", &result(nodes.into_iter().take(1).collect()), 1);
    insta::assert_snapshot!(serde_json::to_string_pretty(&document).expect("prints"));
}

#[test]
fn lines_stand_behind_their_node_in_the_order_of_time() {
    let log = |source: &str, text: &str| json!({"name": "web", "source": source, "text": text, "zone": 0, "by": 1.8e9});
    let logs = |ahead: f64, logs: Vec<Value>| json!({"logs": logs, "clock": {"offset": ahead, "error": 0.0}});
    let plain = vec![
        node("n1", NodeState::Done, "", logs(0.0, vec![log("stdout", "one\n\n\ttwo\u{7}\n")])),
        node("n10", NodeState::Done, "", logs(0.0, vec![log("stdout", "half a")])),
        node("n2", NodeState::Done, "", logs(0.0, vec![log("stdout", "")])),
        node("n3", NodeState::Refused, "logs: 'web' has no log 'gc'; it has stdout, stderr", Value::Null),
    ];
    let operation = Operation::Logs(LogsRequest::default());
    insta::assert_snapshot!(outcome(&operation, &result(plain), Detail::Full));
    let trace =
        "2015-03-01 12:00:01,000 ERROR x\njava.io.IOException: y\n\tat a.b\n2015-03-01 12:00:03,000 INFO z\n";
    let stamped = vec![
        node("n1", NodeState::Done, "", logs(5.0, vec![log("stdout", "2015-03-01 12:00:07,500 later\n")])),
        node(
            "n2",
            NodeState::Done,
            "",
            logs(0.0, vec![log("stdout", trace), log("stderr", "2015-03-01T12:00:02Z e\n")]),
        ),
    ];
    let painted = told::merged(&result(stamped.clone()), true);
    assert!(painted.starts_with("\u{1b}[33mn2 web/stdout\u{1b}[0m | 2015"), "{painted:?}");
    insta::assert_snapshot!(outcome(&operation, &result(stamped), Detail::Full));
}

#[test]
fn json_is_one_document() {
    let status = Operation::Status { names: names() };
    let nodes = result(vec![
        node("n1", NodeState::Done, "", json!({"watchers": {"neo4j": "active"}})),
        node("n2", NodeState::Unreachable, "no route", Value::Null),
    ]);
    let document = serde_json::to_string_pretty(&json::document(&status, "lab", &nodes, 4)).expect("prints");
    insta::assert_snapshot!(document);
    let line = json::line(&status, &nodes.nodes[0]).to_string();
    insta::assert_snapshot!(line);
}

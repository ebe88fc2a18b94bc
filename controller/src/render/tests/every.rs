//! Each operation with each outcome a node can have: as text, as a document, line by line.

use super::*;
use crate::cluster::journal::{Begun, Ended, Record, Row};
use crate::cluster::rolling::{Act, Batch, Move};
use crate::cluster::sequence::Group;
use crate::inventory::{Inventory, NodeSpec};

/// Two nodes that answer so, and one for each way not to.
fn outcomes(data: &Value) -> Outcome {
    let mut nodes = vec![
        node("node1", NodeState::Done, "", data.clone()),
        node("node2", NodeState::Done, "", data.clone()),
        node("node3", NodeState::Unchanged, "nothing to do", data.clone()),
    ];
    let reasons = [
        (NodeState::Skipped, "stopped at batch 1: node7 failed"),
        (NodeState::Cancelled, "interrupted; nothing was done there"),
        (NodeState::Absent, "connection refused"),
        (NodeState::Refused, "no watcher named web; it has db"),
        (NodeState::Failed, "db: stopped again; its log says why"),
        (NodeState::TimedOut, "db is still stopping after 60 s"),
        (NodeState::Unreachable, "connection refused"),
    ];
    for ((state, reason), number) in reasons.into_iter().zip(4..) {
        nodes.push(node(&format!("node{number}"), state, reason, Value::Null));
    }
    result(nodes)
}

/// What a node answers; a new operation does not compile without its answer here.
fn answer(operation: &Operation) -> Value {
    match operation {
        Operation::Status { .. }
        | Operation::Start { .. }
        | Operation::Restart { .. }
        | Operation::Reload { .. } => json!({"watchers": {"db": "active", "web": "active"}}),
        Operation::Stop { .. } => json!({"watchers": {"db": "stopped", "web": "stopped"}}),
        Operation::Configure(_) => json!({"restart_needed": ["db"], "files": [
            {"service": "db", "label": "main", "path": "/etc/db.conf", "changed": true, "diff": "-a\n+b\n"},
            {"service": "db", "label": "other", "path": "/etc/other", "changed": false}]}),
        Operation::Reset(_) => json!({"services": {"db": {
            "deleted": [{"path": "/srv/db/1", "bytes": 4096, "entries": 2, "modified": 1_795_344_258.5}],
            "truncated": [], "kept": [{"path": "/srv/db/keys", "reason": "a keep pattern names it"}],
            "bytes": 4096, "undo_until": 1_795_347_858.5}}}),
        Operation::Stats { .. } => {
            json!({"watchers": {"db": {"state": "active", "numprocesses": 1, "starts": 3,
            "restarts": 2, "ends": 2, "processes": {"17": {"mem_info1": "1.50M", "cpu": 12.5, "age": 75.2,
            "cmdline": "db", "children": []}}}}})
        }
        Operation::Ready { .. } | Operation::Up { .. } => json!({"watchers": {
            "db": {"state": "joined", "ready": true, "detail": "", "since": 1_795_344_258.5},
            "web": {"state": "starting", "ready": false, "detail": "tcp 192.0.2.1:80: connection refused"}}}),
        Operation::Why { .. } => json!({"name": "db", "state": "active", "reason": "asked to",
            "story": "db is active for 5 m.\nIt never crashed.", "clock": {"offset": 0.01, "error": 0.002},
            "links": [{"link": "name", "state": "whole", "text": "10.0.0.1 is an address", "remedy": null},
                      {"link": "ready", "state": "whole", "text": "joined", "remedy": null}]}),
        Operation::Logs(_) => json!({"clock": {"offset": 0.01, "error": 0.002}, "pubsub": null, "logs": [
            {"name": "db", "source": "stdout", "text": "one\ntwo\n", "offset": 0, "next_offset": 8, "eof": true,
             "generation": "7-1", "zone": 0, "by": 1_795_344_258.5}]}),
        Operation::Survey => json!({"watchers": ["db"], "services": {"db": {"start_order": "parallel"}}}),
        Operation::Preflight { .. } => json!({"services": ["db"], "checks": 9, "findings": [
            {"service": "db", "check": "disk", "grade": "warning", "text": "4 % of /srv is free", "remedy": "make room"}]}),
        Operation::Call { .. } => json!({"numwatchers": 2}),
    }
}

fn reset() -> ResetRequest {
    let kind = ResetKind::Data;
    ResetRequest { services: names(), kind, dry_run: false, stop: false, undo: false, keep: None }
}

#[test]
fn operations() {
    for (name, operation) in [
        ("status", Operation::Status { names: names() }),
        ("start", Operation::Start { names: names() }),
        ("stop", Operation::Stop { names: names() }),
        ("restart", Operation::Restart { names: names() }),
        ("reload", Operation::Reload { names: names() }),
        ("configure", Operation::Configure(ConfigureRequest::default())),
        ("configure-dry-run", Operation::Configure(ConfigureRequest { dry_run: true, ..Default::default() })),
        ("reset", Operation::Reset(reset())),
        ("reset-dry-run", Operation::Reset(ResetRequest { dry_run: true, ..reset() })),
        ("reset-undo", Operation::Reset(ResetRequest { undo: true, ..reset() })),
        ("stats", Operation::Stats { names: names(), over: Duration::ZERO }),
        ("ready", Operation::Ready { names: names(), wait: false, crashes: 5 }),
        ("up", Operation::Up { names: names(), crashes: 5 }),
        ("why", Operation::Why { name: Some("db".to_owned()) }),
        ("logs", Operation::Logs(LogsRequest::default())),
        ("survey", Operation::Survey),
        ("preflight", Operation::Preflight { names: names() }),
        ("call", Operation::Call { command: "numwatchers".to_owned(), properties: json!({}) }),
    ] {
        let rows = outcomes(&answer(&operation));
        insta::assert_snapshot!(format!("{name}-text"), outcome(&operation, &rows, Detail::Full));
        // One that answers and one that does not show all there is.
        let few = [rows.nodes.first(), rows.nodes.last()].into_iter().flatten().cloned().collect();
        let rows = result(few);
        let document = json::document(&operation, "lab", &rows, 1);
        insta::assert_snapshot!(format!("{name}-json"), format!("{document:#}"));
        let mut lines: Vec<String> =
            rows.nodes.iter().map(|row| json::line(&operation, row).to_string()).collect();
        lines.push(Value::Object(json::summary(&operation, "lab", &rows, 1)).to_string());
        insta::assert_snapshot!(format!("{name}-ndjson"), lines.join("\n"));
    }
}

fn record(id: u64, words: &[&str]) -> Record {
    let row = |state, reason: &str| Row { state, reason: reason.to_owned(), elapsed: Duration::from_secs(2) };
    Record {
        begun: Begun {
            id,
            time: 1_795_344_258.5,
            user: "alice@admin1".to_owned(),
            cluster: "lab".to_owned(),
            spec: "node[1-4]".to_owned(),
            operation: "restart".to_owned(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            services: Some("/srv/lab/services.ini".to_owned()),
            targets: (1..5).map(|n| format!("node{n}")).collect(),
        },
        rows: [
            ("node1".to_owned(), row(NodeState::Done, "")),
            ("node2".to_owned(), row(NodeState::Done, "")),
            ("node3".to_owned(), row(NodeState::Failed, "db: stopped again; its log says why")),
        ]
        .into(),
        ended: None,
        running: false,
    }
}

#[test]
fn the_journal() {
    let ended = Some(Ended { time: 1_795_344_270.9, exit: 1 });
    let failed = Record { ended, ..record(7, &["restart", "db", "--rolling"]) };
    let running = Record { running: true, ..record(9, &["call", "set", "name=it's"]) };
    let killed = record(8, &["stop"]);
    insta::assert_snapshot!(history::list(&[running, killed.clone(), failed.clone()]));
    let elsewhere = Begun { cluster: "other".to_owned(), ..failed.begun.clone() };
    insta::assert_snapshot!(history::list(&[Record { begun: elsewhere, ..failed.clone() }, killed.clone()]));
    assert_eq!(history::list(&[]), "no operation is kept\n");
    insta::assert_snapshot!(history::one(&failed));
    insta::assert_snapshot!(history::one(&killed));
    insta::assert_snapshot!(format!("{:#}", Value::Object(failed.to_json())));
}

#[test]
fn what_is_no_single_operation() {
    let ended = Some(Ended { time: 1_795_344_270.9, exit: 1 });
    let records = [record(8, &["stop"]), Record { ended, ..record(7, &["restart", "db", "--rolling"]) }];
    insta::assert_snapshot!("history-text", history::list(&records));
    insta::assert_snapshot!("history-json", format!("{:#}", history::document(&records[..1], true)));

    let (node, address) = ("node1".to_owned(), "192.0.2.1".to_owned());
    let endpoint = "tcp://192.0.2.1:5555".parse().expect("an endpoint");
    let node = NodeSpec { name: node, address, endpoint, from_range: false };
    let lab = Inventory { nodes: vec![node], spec: "node[1-1]".to_owned() };
    insta::assert_snapshot!("cluster-text", cluster::text("lab", &lab, 5555));
    insta::assert_snapshot!("cluster-json", format!("{:#}", cluster::json("lab", &lab, 5555)));

    let last = Operation::Ready { names: names(), wait: true, crashes: 5 };
    let rows = outcomes(&answer(&last));
    let phases = [("stop", Duration::from_millis(1500)), ("start", Duration::from_secs(75))];
    let text = outcome(&last, &rows, Detail::Full) + &super::super::phases(&phases);
    insta::assert_snapshot!("fresh-text", text);
    let rows = result(rows.nodes.into_iter().take(1).collect());
    let document = json::walk("fresh", &last, "lab", &rows, 0, &phases);
    insta::assert_snapshot!("fresh-json", format!("{document:#}"));
}

/// Verbs without a result of their own, and what shows what they print instead.
const OTHERS: [(&str, &str); 9] = [
    ("console", "the results of the other verbs"),
    ("resume", "the results of what it resumes"),
    ("top", "a screen; see the tests of `top`"),
    ("export", "Prometheus' format; see the tests of `export`"),
    ("ctl", "circusctl's words; see the tests of `ctl`"),
    ("listen", "news, a line each; see the tests of `render::news`"),
    ("demo", "a console"),
    ("simulate", "a SPEC"),
    ("completions", "scripts and man pages; see tests/console"),
];

#[test]
fn every_verb_has_a_text_and_a_json_snapshot() {
    use clap::CommandFactory as _;
    let command = crate::cli::Cli::command();
    let verbs: Vec<&str> =
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name).collect();
    for (other, why) in OTHERS {
        assert!(verbs.contains(&other), "{other} is no verb any more: {why}");
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/render/tests/snapshots");
    for verb in verbs.into_iter().filter(|verb| OTHERS.iter().all(|(other, _)| other != verb)) {
        for form in ["text", "json"] {
            let file = folder.join(format!("controller__render__tests__every__{verb}-{form}.snap"));
            assert!(file.is_file(), "{verb}: no snapshot of its {form}; add it to the tests here");
        }
    }
}

#[test]
fn a_plan() {
    let group = |nodes: &[&str]| Group {
        names: vec!["db".to_owned()],
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    let batches = [
        Batch {
            nodes: group(&["node1"]).nodes,
            moves: [Act::Stop, Act::Start, Act::Wait].map(|act| Move::Do(act, group(&["node1"]))).to_vec(),
        },
        Batch {
            nodes: group(&["node2", "node3"]).nodes,
            moves: vec![
                Move::Do(Act::Start, group(&["node2"])),
                Move::Pause(Duration::from_millis(1500)),
                Move::Do(Act::Configure, Group { names: names(), nodes: group(&["node2", "node3"]).nodes }),
            ],
        },
    ];
    let rows = result(vec![
        node("node1", NodeState::Done, "would be in 1", Value::Null),
        node("node4", NodeState::Unreachable, "no route", Value::Null),
    ]);
    insta::assert_snapshot!(plan::batches(&batches) + &plan::rest(&rows));
    insta::assert_snapshot!(format!("{:#}", plan::json(&batches)));
    let many: Vec<String> = (1..30).map(|n| format!("node{n}")).collect();
    assert_eq!(shortened(&many[..3], "; "), "node1; node2; node3");
    assert!(shortened(&many, "; ").ends_with("node10; ...; node29"));
}

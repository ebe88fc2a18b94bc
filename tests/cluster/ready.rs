//! Probes on nodes of both kinds: what a circusd-rs asks itself, the console asks about a stock node, or
//! has a program on it ask.

use serde_json::Value;

use crate::nodes::{Answer, Cluster, MIXED};

const MORE: &str = "
[probe:cassandra:up]
tcp = ${address}:9160

[probe:cassandra:joined]
exec = test -e {base}/${address}/joined
interval = 0.2
attempt_timeout = 20

[probe:neo4j:up]
pid_alive = 0.1

[probe:neo4j:joined]
log = {base}/${address}/var/log/neo4j/console.log
pattern = listening on
interval = 0.2
attempt_timeout = 20
";

#[test]
fn readiness_is_the_same_on_nodes_of_both_kinds() {
    let mut cluster = Cluster::start_edited(MIXED, |ini| ini + MORE);
    cluster.all_do(&["configure", "--yes"]);
    cluster.all_do(&["start", "cassandra", "neo4j"]);
    // The port is open soon; the rest of what joining means is decided here.
    cluster.all_do(&["ready", "--wait", "neo4j"]);
    let (up, state) = circus_tests::wait::until("cassandra is up everywhere", || {
        let answer = cluster.ask(4, &["ready", "cassandra"]);
        let states: Vec<String> = (0..4).map(|node| said(&answer, node, "cassandra", "state")).collect();
        (states == ["up"; 4]).then_some((answer, states))
    });
    for node in 0..4 {
        let detail = said(&up, node, "cassandra", "detail");
        assert_eq!(detail, "not joined yet: exec test: exit status 1", "node {node}: {state:?}");
        assert_eq!(up.nodes()[node]["data"]["watchers"]["cassandra"]["ready"], false, "node {node}");
    }
    for node in 0..4 {
        std::fs::write(cluster.path(node, "joined"), "").expect("a file");
    }
    let joined = cluster.all_do(&["ready", "--wait", "cassandra", "neo4j"]);
    for node in 0..4 {
        for name in ["cassandra", "neo4j"] {
            assert_eq!(
                said(&joined, node, name, "state"),
                "joined",
                "{name} on {node}: {:#}",
                joined.document
            );
        }
    }
    cluster.assert_no_one_shots();
    cluster.all_do(&["stop", "--yes"]);
    let down = cluster.all_do(&["ready"]);
    assert_eq!(said(&down, 1, "cassandra", "state"), "down");
    // An ordered start waits for the same: without the file nobody joins, and the row says why.
    for node in 0..4 {
        std::fs::remove_file(cluster.path(node, "joined")).expect("it is there");
    }
    let mut patient = cluster.patient(&cluster.range(4), 5);
    let (exit, stdout, stderr) =
        circus_tests::daemon::run(patient.args(["--json", "start", "--ordered", "cassandra"]));
    assert_eq!(exit, 5, "{stdout}\n{stderr}");
    assert!(stdout.contains("cassandra is up: not joined yet: exec test: exit status 1"), "{stdout}");
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

fn said(answer: &Answer, node: usize, watcher: &str, key: &str) -> String {
    let watcher: &Value = &answer.nodes()[node]["data"]["watchers"][watcher];
    watcher[key].as_str().unwrap_or("?").to_owned()
}

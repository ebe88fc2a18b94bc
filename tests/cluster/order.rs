//! Start orders and growth on real nodes of both kinds.

use controller::inventory::fold::counted;
use serde_json::Value;

use crate::nodes::{Cluster, MIXED};

/// Neo4j one by one; Cassandra with its seeds first; Titan, after Cassandra everywhere, with the first
/// alone and then one each moment.
fn in_all_orders(ini: String) -> String {
    ini.replace("select = every 5", "select = every 2")
        .replace("[service:neo4j]\n", "[service:neo4j]\nstart_order = sequential\n")
        .replace("[service:cassandra]\n", "[service:cassandra]\nstart_order = seeds-first\n")
        .replace(
            "[service:titan]\n",
            "[service:titan]\nstart_order = first then parallel, stagger=0.2\ncluster_after = cassandra\n",
        )
}

#[test]
fn every_order_is_kept_on_real_nodes() {
    let mut cluster = Cluster::start_edited(MIXED, in_all_orders);
    cluster.all_do(&["configure", "--yes"]);
    let started = cluster.all_do(&["start", "--ordered"]);
    let step = |verb: &str, name: &str, nodes: &[usize]| {
        let nodes: Vec<&str> = nodes.iter().map(|node| cluster.addresses[*node].as_str()).collect();
        format!("{verb} {name} on {}", counted(&nodes))
    };
    let each = |name: &str, nodes: &[usize]| -> Vec<String> {
        nodes.iter().flat_map(|node| [step("start", name, &[*node]), step("ready", name, &[*node])]).collect()
    };
    let expected = [
        each("cassandra", &[0, 2]),
        vec![step("start", "cassandra", &[1, 3]), step("ready", "cassandra", &[1, 3])],
        each("neo4j", &[0, 1, 2, 3]),
        each("titan", &[0]),
        [1, 2, 3].map(|node| step("start", "titan", &[node])).to_vec(),
        vec![step("ready", "titan", &[1, 2, 3])],
    ]
    .concat();
    assert_eq!(steps(&started.stderr), expected, "{}", started.stderr);
    let stopped = cluster.all_do(&["stop", "--ordered", "--yes"]);
    assert_eq!(
        steps(&stopped.stderr),
        [step("stop", "titan", &[0, 1, 2, 3]), step("stop", "cassandra,neo4j", &[0, 1, 2, 3])],
        "{}",
        stopped.stderr
    );
    cluster.assert_no_one_shots();
}

/// `VERB NAMES on NODES` of each line about a step.
fn steps(told: &str) -> Vec<String> {
    let verb = |line: &&str| ["start ", "stop ", "ready "].iter().any(|verb| line.starts_with(verb));
    told.lines()
        .filter(verb)
        .filter_map(|line| line.split_once(": "))
        .map(|(step, _)| step.to_owned())
        .collect()
}

/// Cassandra that ends at once so many times as its file says, with a probe; a titan after it.
fn crashing(ini: String) -> String {
    let script = "cmd = sh {base}/cassandra.sh {base}/$(circus.env.node) {stand_in} cassandra ";
    ini.replace("cmd = {stand_in} cassandra ", script).replace(
        "[service:cassandra]\n",
        "[service:cassandra]\nprobe.up.tcp = ${address}:9160\nprobe.up.interval = 0.2\n",
    )
}

const CRASHES: &str = r#"home=$1; shift
left=$(cat "$home/crashes")
if [ "$left" -gt 0 ]; then
    echo $((left - 1)) > "$home/crashes"
    echo "no lock on the disk" >&2
    exit 3
fi
exec "$@"
"#;

/// Two nodes whose service crashes for ever, one where it does so twice, one where it does not.
#[test]
fn a_crash_loop_ends_the_start_and_two_crashes_do_not() {
    let mut cluster = Cluster::start_edited(MIXED, crashing);
    std::fs::write(cluster.base().join("cassandra.sh"), CRASHES).expect("a script");
    for (node, crashes) in ["9999", "9999", "2", "0"].into_iter().enumerate() {
        std::fs::write(cluster.path(node, "crashes"), crashes).expect("a number");
    }
    cluster.all_do(&["configure", "--yes"]);
    // Without an end of its own it would last until the time of each node is over.
    let mut patient = cluster.patient(&cluster.range(4), 300);
    let (exit, stdout, stderr) =
        circus_tests::daemon::run(patient.args(["--json", "start", "--ordered", "cassandra", "titan"]));
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(exit, 1, "{document:#}\n{stderr}");
    let row = |node: usize, key: &str| document["nodes"][node][key].as_str().unwrap_or("?").to_owned();
    let states: Vec<String> = (0..4).map(|node| row(node, "state")).collect();
    assert_eq!(states, ["failed", "failed", "done", "done"], "{document:#}");
    for (node, native) in [(0, true), (1, false)] {
        let reason = row(node, "reason");
        assert!(reason.contains(" times while it was waited for"), "{reason}");
        assert!(reason.ends_with("see `circusman why cassandra` and `circusman logs cassandra`"), "{reason}");
        let crash = reason.contains("; its last crash: ") && reason.contains("status 3");
        assert_eq!(crash, native, "only a circusd-rs remembers: {reason}");
    }
    assert!(!stderr.contains("start titan"), "the next stage is not begun: {stderr}");
    let titan = cluster.ask(4, &["status", "titan"]);
    assert_eq!(titan.watchers("titan"), ["stopped"; 4]);
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

/// A fourth node joins three that run: each node says what would change in its files, and who has to be
/// restarted for it.
#[test]
fn growth_is_shown_before_it_is_done() {
    let mut cluster = Cluster::start_edited(MIXED, |ini| {
        ini.replace("[service:neo4j]\n", "[service:neo4j]\nconfigure_while_running = allow\n")
    });
    let three = cluster.ask(3, &["configure", "--yes"]);
    assert_eq!(three.exit, 0, "{:#}", three.document);
    let started = cluster.ask(3, &["start", "neo4j"]);
    assert_eq!(started.exit, 0, "{:#}", started.document);
    let shown = cluster.all_do(&["configure", "--dry-run"]);
    let hosts = |members: usize| {
        let hosts = cluster.addresses[..members].iter().map(|host| format!("{host}:5001"));
        format!("ha.initial_hosts={}", hosts.collect::<Vec<_>>().join(","))
    };
    for node in 0..4 {
        let files = &shown.nodes()[node]["data"]["files"];
        let file = files.as_array().and_then(|files| files.iter().find(|file| file["label"] == "properties"));
        let diff = file.and_then(|file| file["diff"].as_str()).unwrap_or_default();
        assert!(diff.contains(&format!("+{}", hosts(4))), "node {node}: {diff}");
        assert_eq!(diff.contains(&format!("-{}", hosts(3))), node < 3, "node {node}: {diff}");
        let text =
            std::fs::read_to_string(cluster.path(node, "etc/neo4j/neo4j.properties")).unwrap_or_default();
        assert_eq!(text.contains(&hosts(3)), node < 3, "a dry run writes nothing: {text}");
    }
    let done = cluster.all_do(&["configure", "--yes"]);
    for answer in [&shown, &done] {
        for (at, node) in answer.nodes().iter().enumerate() {
            let needed = if at < 3 { serde_json::json!(["neo4j"]) } else { Value::Null };
            assert_eq!(node["data"]["restart_needed"], needed, "node {at}: {:#}", answer.document);
        }
    }
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

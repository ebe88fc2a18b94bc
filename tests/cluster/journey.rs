//! The main job, from stopped nodes to a clean start, on a mixed cluster.

use circus_tests::daemon::{Flavor, run};
use circus_tests::wait::until;

use crate::nodes::{Cluster, MIXED};

#[test]
fn the_main_job_on_a_mixed_cluster() {
    let mut cluster = Cluster::start(MIXED);
    who_is_alive(&cluster);
    configure_three_then_four(&cluster);
    start_everything(&cluster);
    stories_and_output_of_those_that_keep_them(&cluster);
    running_services_are_protected(&cluster);
    stop_everything(&cluster);
    wipe_and_start_again(&cluster);
    a_fresh_experiment(&cluster);
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

fn who_is_alive(cluster: &Cluster) {
    let status = cluster.all_do(&["status"]);
    for (node, flavor) in status.nodes().iter().zip(MIXED) {
        let daemon = node["daemon"].as_str().unwrap_or_default();
        let expected = if flavor == Flavor::Ours { "circusd-rs" } else { "circusd" };
        assert_eq!(daemon.split(' ').next(), Some(expected), "{node:#}");
    }
    for name in ["neo4j", "titan", "cassandra"] {
        assert_eq!(status.watchers(name), ["stopped"; 4], "{name}");
    }
}

/// Both kinds tell whether all is well; of what processes print, stock only knows files.
fn stories_and_output_of_those_that_keep_them(cluster: &Cluster) {
    until("all is well", || {
        let answer = cluster.ask(4, &["why", "neo4j"]);
        let story = |node: &serde_json::Value| {
            node["data"]["story"].as_str().is_some_and(|story| story.contains("neo4j is active for"))
        };
        let told = |(node, flavor)| flavor == Flavor::Stock || story(node);
        (answer.exit == 0 && answer.nodes().iter().zip(MIXED).all(told)).then_some(())
    });
    until("all to listen", || {
        let answer = cluster.ask(4, &["logs", "neo4j", "--source", "console"]);
        let listens = |node: &serde_json::Value| {
            node["data"]["logs"][0]["text"].as_str().is_some_and(|text| text.contains(" listening on "))
        };
        answer.nodes().iter().all(listens).then_some(())
    });
}

/// Two kinds of node, one set of rules: what is expected comes from neither.
fn expected_neo4j(cluster: &Cluster, node: usize, members: usize) -> String {
    let address = &cluster.addresses[node];
    let hosts: Vec<_> = cluster.addresses[..members].iter().map(|host| format!("{host}:5001")).collect();
    let slave_only = if node == 0 { "False" } else { "True" };
    format!(
        "online_backup_server={address}:6362\nha.server_id={}\nha.slave_only={slave_only}\n\
         ha.initial_hosts={}\nha.cluster_server={address}:5001\nha.server={address}:6001\n\
         remote.pattern=$Conclusion",
        node + 1,
        hosts.join(","),
    )
}

fn configure_three_then_four(cluster: &Cluster) {
    // A smaller range first, as an experiment with three nodes would have it.
    let answer = cluster.ask(3, &["configure", "--yes"]);
    assert_eq!(answer.exit, 0, "{:#}\n{}", answer.document, answer.stderr);
    for node in 0..3 {
        let text =
            std::fs::read_to_string(cluster.path(node, "etc/neo4j/neo4j.properties")).unwrap_or_default();
        assert_eq!(text, expected_neo4j(cluster, node, 3), "node {node}");
    }
    assert!(!cluster.path(3, "etc/neo4j/neo4j.properties").exists(), "the fourth node was no target");

    // A dry run shows what would change and changes nothing.
    let dry = cluster.ask(4, &["configure", "--dry-run"]);
    assert_eq!(dry.exit, 0, "{:#}", dry.document);
    assert!(dry.document.to_string().contains("+ha.initial_hosts="), "{:#}", dry.document);
    assert!(!cluster.path(3, "etc/neo4j/neo4j.properties").exists(), "a dry run writes nothing");

    cluster.all_do(&["configure", "--yes"]);
    for node in 0..4 {
        let text =
            std::fs::read_to_string(cluster.path(node, "etc/neo4j/neo4j.properties")).unwrap_or_default();
        assert_eq!(text, expected_neo4j(cluster, node, 4), "node {node}");
        let yaml = std::fs::read_to_string(cluster.path(node, "etc/titan/cassandra-cluster.yaml"))
            .unwrap_or_default();
        let (seed, address) = (&cluster.addresses[0], &cluster.addresses[node]);
        assert_eq!(
            yaml,
            format!(
                "cluster_name: 'Titan Cassandra Cluster'\nseed_provider:\n    - seeds: \"{seed}\"\n\
                 listen_address: {address}\nrpc_address: {address}"
            ),
        );
        let mode = std::fs::metadata(cluster.path(node, "etc/titan/rexster-cassandra-cluster.xml"))
            .expect("it was written");
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777,
            0o644,
            "node {node}"
        );
    }
    let again = cluster.ask(4, &["configure", "--yes"]);
    assert_eq!(again.states(), ["unchanged"; 4], "{:#}", again.document);
}

fn start_everything(cluster: &Cluster) {
    // Nameless, although no watcher starts by itself: stock alone would do nothing.
    cluster.all_do(&["start", "cassandra"]);
    cluster.all_do(&["start"]);
    until("all watchers active on all nodes", || {
        let status = cluster.all_do(&["status"]);
        ["neo4j", "titan", "cassandra"]
            .iter()
            .all(|name| status.watchers(name) == ["active"; 4])
            .then_some(())
    });
    for (node, count) in cluster.process_counts().iter().enumerate() {
        assert!(*count >= 3, "node {node} runs {count} processes");
    }
    until("data on all nodes", || {
        (0..4).all(|node| !is_empty(&cluster.path(node, "var/lib/titan/db"))).then_some(())
    });
    figures_of_every_kind(cluster);
}

/// Stock tells no restarts; everything else comes from both.
fn figures_of_every_kind(cluster: &Cluster) {
    let stats = cluster.all_do(&["stats", "--by", "watcher", "--over", "100ms"]);
    let rows = stats.document["rows"].as_array().expect("rows");
    for (address, flavor) in cluster.addresses.iter().zip(MIXED) {
        let of_node = rows.iter().filter(|row| row["node"] == address.as_str());
        let named = |name: &str| of_node.clone().find(|row| row["watcher"] == name).expect("a row");
        let (neo4j, names) = (named("neo4j"), of_node.clone().count());
        assert!(names >= 3, "{rows:#?}");
        assert_eq!((&neo4j["state"], &neo4j["processes"]), (&"active".into(), &1.into()), "{neo4j:#}");
        assert!(neo4j["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000), "{neo4j:#}");
        assert!(neo4j["age_seconds"].as_f64().is_some_and(|age| age > 0.0), "{neo4j:#}");
        assert_eq!(neo4j["restarts"].is_null(), flavor == Flavor::Stock, "{neo4j:#}");
    }
    assert!(
        stats.document["total"]["processes"].as_u64().is_some_and(|count| count >= 12),
        "{stats:#?}",
        stats = stats.document
    );

    let mut csv = cluster.circusman(&cluster.range(4));
    let (exit, text, stderr) = run(csv.args(["stats", "neo4j", "--csv", "--over", "0"]));
    assert_eq!((exit, text.lines().count()), (0, 5), "{text}{stderr}");
    assert!(text.starts_with("time,node,watcher,pid,wid,"), "{text}");
}

fn running_services_are_protected(cluster: &Cluster) {
    std::fs::write(
        cluster.base().join("templates/cassandra.yaml.tmpl"),
        "changed: ${address}\nlisten_address: ${address}\nseeds: ${seeds}\n",
    )
    .expect("a template is written");
    let answer = cluster.ask(4, &["configure", "--yes"]);
    assert_eq!(answer.exit, 1, "{:#}", answer.document);
    assert_eq!(answer.states(), ["refused"; 4], "{:#}", answer.document);
    let answer = cluster.ask(4, &["reset", "data", "--yes"]);
    assert_eq!(answer.exit, 1, "{:#}", answer.document);
    assert_eq!(answer.states(), ["refused"; 4], "{:#}", answer.document);
    for node in 0..4 {
        assert!(!is_empty(&cluster.path(node, "var/lib/titan/db")), "node {node}");
        let yaml = std::fs::read_to_string(cluster.path(node, "etc/titan/cassandra-cluster.yaml"))
            .unwrap_or_default();
        assert!(yaml.starts_with("cluster_name"), "node {node}: {yaml}");
    }
}

fn stop_everything(cluster: &Cluster) {
    cluster.all_do(&["stop", "--yes"]);
    let status = cluster.all_do(&["status"]);
    for name in ["neo4j", "titan", "cassandra"] {
        assert_eq!(status.watchers(name), ["stopped"; 4], "{name}");
    }
    assert_eq!(cluster.process_counts(), [0; 4]);
}

fn wipe_and_start_again(cluster: &Cluster) {
    for node in 0..4 {
        std::fs::create_dir_all(cluster.path(node, "var/lib/neo4j/data/dbms")).expect("a folder");
        std::fs::write(cluster.path(node, "var/lib/neo4j/data/dbms/auth"), "kept").expect("a file");
        std::fs::write(cluster.path(node, "var/lib/neo4j/data/store.old"), "gone").expect("a file");
    }
    let dry = cluster.all_do(&["reset", "data", "--dry-run"]);
    assert!(dry.document.to_string().contains("store.old"), "{:#}", dry.document);
    assert!(cluster.path(0, "var/lib/neo4j/data/store.old").exists(), "a dry run deletes nothing");

    cluster.all_do(&["reset", "data", "--yes"]);
    for node in 0..4 {
        assert!(!cluster.path(node, "var/lib/neo4j/data/store.old").exists(), "node {node}");
        assert!(cluster.path(node, "var/lib/neo4j/data/dbms/auth").exists(), "node {node}");
        assert!(is_empty(&cluster.path(node, "var/lib/titan/db")), "node {node}");
        assert!(!is_empty(&cluster.path(node, "var/log/titan")), "logs were not asked for");
    }
    cluster.all_do(&["clear", "log", "--yes"]);
    for node in 0..4 {
        for file in std::fs::read_dir(cluster.path(node, "var/log/titan")).expect("a folder").flatten() {
            assert_eq!(file.metadata().expect("a file").len(), 0, "{}", file.path().display());
        }
    }
    cluster.all_do(&["configure", "--yes"]);
    cluster.all_do(&["start", "cassandra", "neo4j"]);
    let status = cluster.all_do(&["status"]);
    assert_eq!(status.watchers("cassandra"), ["active"; 4]);
    assert_eq!(status.watchers("titan"), ["stopped"; 4]);
}

fn a_fresh_experiment(cluster: &Cluster) {
    let (exit, _, stderr) = run(cluster.circusman(&cluster.range(4)).arg("fresh"));
    assert_eq!(exit, 6, "{stderr}");
    std::fs::write(cluster.path(1, "var/lib/titan/db/old"), "of the last experiment").expect("a file");
    let fresh = cluster.all_do(&["fresh", "--yes"]);
    let phases: Vec<&str> = fresh.document["phases"]
        .as_array()
        .map(|phases| phases.iter().filter_map(|phase| phase["phase"].as_str()).collect())
        .unwrap_or_default();
    assert_eq!(phases, ["preflight", "stop", "configure", "reset", "start"]);
    assert!(!cluster.path(1, "var/lib/titan/db/old").exists());
    for node in fresh.nodes() {
        for name in ["neo4j", "titan", "cassandra"] {
            assert_eq!(node["data"]["watchers"][name]["ready"], true, "{name}: {node:#}");
        }
    }
    // Titan says in node.ini that it comes after Cassandra; told on stderr, step by step.
    let position = |step: &str| fresh.stderr.find(step).unwrap_or_else(|| panic!("{step}: {}", fresh.stderr));
    assert!(position("ready cassandra,neo4j on") < position("start titan on"), "{}", fresh.stderr);
    assert!(position("stop titan on") < position("stop cassandra,neo4j on"), "{}", fresh.stderr);
    cluster.all_do(&["ready", "--check"]);
    cluster.all_do(&["stop", "--ordered", "--yes"]);
    assert_eq!(cluster.process_counts(), [0; 4]);
}

/// Nothing but what a reset may leave behind for itself, which is hidden.
fn is_empty(dir: &std::path::Path) -> bool {
    std::fs::read_dir(dir).map_or(true, |entries| {
        entries.flatten().all(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    })
}

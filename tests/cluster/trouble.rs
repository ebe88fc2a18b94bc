//! Nodes that die, templates that are wrong, specs that do not parse.

use circus_tests::daemon::{circusman, run};

use crate::nodes::{Cluster, MIXED};

#[test]
fn a_node_that_dies_in_the_middle_delays_nobody() {
    let mut cluster = Cluster::start(MIXED);
    cluster.all_do(&["configure", "--yes"]);
    cluster.all_do(&["start", "cassandra"]);
    // One node of each kind goes, without a word.
    cluster.nodes[2].crash();
    cluster.nodes[3].crash();
    let list = cluster.addresses.join(",");
    // Who waited for them would wait longer than `run` does.
    let (exit, stdout, stderr) = run(cluster.patient(&list, 600).args(["--json", "stop", "--yes"]));
    assert_eq!(exit, 4, "{stdout}{stderr}");
    let document: serde_json::Value = serde_json::from_str(&stdout).expect("one document");
    let states: Vec<_> =
        document["nodes"].as_array().expect("a list").iter().map(|node| &node["state"]).collect();
    assert_eq!(states, ["done", "done", "unreachable", "unreachable"], "{document:#}");
    let reason = document["nodes"][2]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("refused"), "{reason}");
    cluster.assert_no_one_shots();
}

#[test]
fn a_node_dies_while_an_operation_runs() {
    let mut cluster = Cluster::start(MIXED);
    cluster.all_do(&["configure", "--yes"]);
    cluster.all_do(&["start", "neo4j"]);
    let list = cluster.addresses.join(",");
    // The stand-ins take a while to stop; one node of each kind dies meanwhile.
    let mut stop = cluster.circusman(&list);
    stop.args(["--json", "stop", "--yes"]).stdout(std::process::Stdio::piped());
    let child = stop.spawn().expect("circusman starts");
    circus_tests::wait::until("the stop to have begun", || {
        let log = std::fs::read_to_string(cluster.path(0, "circusd.log")).unwrap_or_default();
        let stopping = cluster.ask(4, &["status"]).watchers("neo4j");
        (stopping.iter().all(|state| state == "stopping" || state == "stopped") || log.contains("stopped"))
            .then_some(())
    });
    cluster.nodes[2].crash();
    cluster.nodes[3].crash();
    let output = child.wait_with_output().expect("it ends");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    let nodes = document["nodes"].as_array().expect("a list");
    assert_eq!(nodes.len(), 4, "{document:#}");
    assert_eq!((&nodes[0]["state"], &nodes[1]["state"]), (&"done".into(), &"done".into()), "{document:#}");
    cluster.assert_no_one_shots();
}

#[test]
fn a_template_with_an_unknown_name_changes_nothing() {
    let mut cluster = Cluster::start(MIXED);
    cluster.all_do(&["configure", "--yes"]);
    std::fs::write(cluster.base().join("templates/rexster.xml.tmpl"), "a\n<b>${adress}</b>\n")
        .expect("a template");
    std::fs::write(cluster.base().join("templates/cassandra.yaml.tmpl"), "new: ${address}\n")
        .expect("a template");
    let answer = cluster.ask(4, &["configure", "--yes"]);
    assert_eq!(answer.exit, 1, "{:#}", answer.document);
    for node in answer.nodes() {
        let reason = node.to_string();
        assert!(reason.contains("adress") && reason.contains("rexster.xml.tmpl:2"), "{node:#}");
    }
    for node in 0..4 {
        let yaml = std::fs::read_to_string(cluster.path(node, "etc/titan/cassandra-cluster.yaml"))
            .unwrap_or_default();
        assert!(yaml.starts_with("cluster_name"), "node {node}: {yaml}");
    }
    cluster.assert_no_one_shots();
}

#[test]
fn specs_that_do_not_parse_are_usage_errors() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for spec in ["", "127.0.0.1-", "127.0.0.9-127.0.0.1", "node[1-", "127.0.0.0/40", "@/no/such/file"] {
        let (exit, stdout, stderr) = run(circusman(home.path()).args(["--cluster", spec, "status"]));
        assert_eq!(exit, 2, "{spec:?}: {stdout}{stderr}");
        assert!(stdout.is_empty() && !stderr.is_empty(), "{spec:?}: {stdout}{stderr}");
    }
}

/// What was begun with a services file goes on with it, wherever it is resumed from.
#[test]
fn resume_remembers_the_services_file() {
    let mut cluster = Cluster::start(MIXED);
    // A stock node knows nothing of its services; here it cannot write.
    let (folder, away) = (cluster.path(1, "etc/neo4j"), cluster.path(1, "etc/away"));
    std::fs::rename(&folder, &away).expect("it was there");
    let failed = cluster.ask(4, &["configure", "--yes", "neo4j"]);
    assert_eq!((failed.exit, failed.states()[1]), (1, "refused"), "{:#}", failed.document);
    std::fs::rename(&away, &folder).expect("back again");
    let range = cluster.range(4);
    let resume = || {
        let mut command = circusman(cluster.base());
        command.current_dir("/").args(["--cluster", &range, "--json", "resume", "--yes"]);
        run(&mut command)
    };
    let (ini, gone) = (cluster.base().join("node.ini"), cluster.base().join("gone.ini"));
    std::fs::rename(&ini, &gone).expect("it was there");
    let (exit, stdout, stderr) = resume();
    assert_eq!(exit, 2, "{stdout}{stderr}");
    assert!(
        stderr.contains(&format!("was begun with --services: {}: No such file", ini.display())),
        "{stderr}"
    );
    assert!(stderr.contains("put the file back, or name another one"), "{stderr}");
    std::fs::rename(&gone, &ini).expect("back again");
    let (exit, stdout, stderr) = resume();
    assert_eq!(exit, 0, "{stdout}{stderr}");
    assert!(stderr.contains(&format!("with --services {}, as then", ini.display())), "{stderr}");
    assert!(folder.join("neo4j.properties").is_file(), "{stdout}");
    cluster.assert_no_one_shots();
}

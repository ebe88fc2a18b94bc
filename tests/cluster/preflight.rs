//! What an administrator looks at before a start, on nodes of both kinds: the same is found on both.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use circus_tests::wait::until;
use serde_json::Value;

use crate::nodes::{Answer, Cluster, MIXED};

const MORE: &str = "
[env:neo4j]
JAVA_HOME = {base}/java
[env:titan]
JAVA_HOME = {base}/none
";

fn edit(ini: String) -> String {
    let ini = ini
        .replace("[service:neo4j]\n", "[service:neo4j]\njava = 8, 11\nlimit.nofile = 99999999\n")
        .replace("[service:titan]\n", "[service:titan]\njava = 8\nports = 8182\n")
        .replace(
            "[service:titan]\njava = 8\nports = 8182\nhome = {base}/${address}/var",
            "[service:titan]\njava = 8\nports = 8182\nhome = {base}/${address}/gone",
        );
    ini + MORE
}

#[test]
fn the_same_is_found_on_nodes_of_both_kinds() {
    let cluster = Cluster::start_edited(MIXED, edit);
    a_java(&cluster, "21.0.1");
    let holders =
        [0, 1].map(|node| TcpListener::bind((cluster.addresses[node].as_str(), 9160)).expect("a port"));
    let answer = cluster.ask(4, &["preflight"]);
    assert_eq!(answer.exit, 1, "{:#}", answer.document);
    assert_eq!(answer.states(), ["failed"; 4], "{:#}", answer.document);
    let (us, gone) =
        (std::process::id(), |node: usize| cluster.path(node, "gone/lib/titan").display().to_string());
    for node in 0..4 {
        let texts = texts(&answer, node);
        let has = |part: &str| assert!(texts.iter().any(|text| text.contains(part)), "{part}: {texts:#?}");
        has(
            "neo4j java problem: its Java is 21; it is made for 8 or 11 -> install Java 8 or 11 and set `env.JAVA_HOME`",
        );
        has("titan java problem: no Java: ");
        has(&format!("titan directory problem: {} does not exist -> make it", gone(node)));
        has("neo4j limit warning: nofile: a process would get ");
        let taken =
            texts.iter().filter(|text| text.contains("cassandra port problem: port 9160 is taken")).count();
        assert_eq!(taken, usize::from(node < 2), "{texts:#?}");
        if node < 2 {
            has(&format!("(pid {us}, user "));
            has(&format!("listens on {}:9160 -> stop it (`kill {us}`)", cluster.addresses[node]));
        }
    }
    // Everything that does not name its node is the same, word for word.
    assert_eq!(anonymous(&cluster, &answer, 0), anonymous(&cluster, &answer, 1));
    assert_eq!(anonymous(&cluster, &answer, 2), anonymous(&cluster, &answer, 3));
    drop(holders);
}

/// `fresh` and an ordered start look first, and change nothing when the look is bad.
#[test]
fn a_start_in_order_looks_first() {
    let mut cluster = Cluster::start_edited(MIXED, edit);
    a_java(&cluster, "1.8.0_292");
    cluster.all_do(&["configure", "--yes"]);
    let refused = cluster.ask(4, &["start", "--ordered", "titan"]);
    assert_eq!(
        (refused.exit, refused.document["last"].as_str()),
        (1, Some("preflight")),
        "{:#}",
        refused.document
    );
    let started = cluster.all_do(&["start", "--ordered", "cassandra", "neo4j"]);
    assert!(started.stderr.contains("nofile: a process would get"), "warnings are told: {}", started.stderr);
    until("cassandra listens everywhere", || {
        let listens = |address: &String| std::net::TcpStream::connect((address.as_str(), 9160)).is_ok();
        cluster.addresses.iter().all(listens).then_some(())
    });
    // Its own port is nothing that is in its way, and its own process tells its limits.
    let looked = cluster.all_do(&["preflight", "cassandra", "neo4j"]);
    for node in 0..4 {
        let texts = texts(&looked, node);
        assert!(!texts.iter().any(|text| text.contains("port")), "{texts:#?}");
        assert!(texts.iter().any(|text| text.contains("nofile: its process has ")), "{texts:#?}");
    }
    let fresh = cluster.ask(4, &["fresh", "--yes"]);
    assert_eq!((fresh.exit, fresh.document["last"].as_str()), (1, Some("preflight")), "{:#}", fresh.document);
    assert_eq!(cluster.all_do(&["status"]).watchers("cassandra"), ["active"; 4], "nothing was stopped");
    cluster.all_do(&["fresh", "--yes", "--skip-preflight", "cassandra"]);
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

/// A rolling start looks first, too, at what it will start.
#[test]
fn a_rolling_start_looks_first() {
    let mut cluster = Cluster::start_edited(MIXED, edit);
    cluster.all_do(&["configure", "--yes"]);
    let holder = TcpListener::bind((cluster.addresses[1].as_str(), 9160)).expect("a port");
    let refused = cluster.ask(4, &["start", "--rolling", "cassandra"]);
    assert_eq!(
        (refused.exit, refused.document["operation"].as_str()),
        (1, Some("preflight")),
        "{:#}",
        refused.document
    );
    assert!(texts(&refused, 1).iter().any(|text| text.contains("port 9160 is taken")), "{refused:?}");
    assert_eq!(cluster.all_do(&["status"]).watchers("cassandra"), ["stopped"; 4], "nothing was started");
    let usage = cluster.ask(4, &["start", "--skip-preflight", "cassandra"]);
    assert_eq!(usage.exit, 2, "{:#}", usage.document);
    // The others are not in its way.
    let started = cluster.all_do(&["start", "--rolling", "--batch", "4", "--skip-preflight", "neo4j"]);
    assert_eq!(started.watchers("neo4j"), ["active"; 4], "{:#}", started.document);
    drop(holder);
    cluster.all_do(&["stop", "--yes"]);
    cluster.assert_no_one_shots();
}

/// Something that says a version as a Java does: on stderr.
fn a_java(cluster: &Cluster, version: &str) {
    let path = cluster.base().join("java/bin/java");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, format!("#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-20' >&2\n"))
        .expect("a script");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
}

/// `service check grade: text -> remedy` of each finding.
fn texts(answer: &Answer, node: usize) -> Vec<String> {
    let findings = answer.nodes()[node]["data"]["findings"].as_array().cloned().unwrap_or_default();
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or("?").to_owned();
    findings
        .iter()
        .map(|finding| {
            let [service, check, grade, text, remedy] =
                ["service", "check", "grade", "text", "remedy"].map(|key| word(finding, key));
            format!("{service} {check} {grade}: {text} -> {remedy}")
        })
        .collect()
}

fn anonymous(cluster: &Cluster, answer: &Answer, node: usize) -> Vec<String> {
    let address = &cluster.addresses[node];
    texts(answer, node).iter().map(|text| text.replace(address.as_str(), "ADDRESS")).collect()
}

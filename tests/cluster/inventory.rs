//! Which nodes there are: found on the network, chosen by options, named by files that change; on
//! stock and native nodes alike.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use circus_tests::daemon::{Daemon, Flavor, circusman, fresh_address, run, workspace};
use circus_tests::wait::until;
use serde_json::Value;

use crate::nodes::{Answer, Cluster, MIXED};

/// Runs circusman in the cluster's places with these words alone.
fn plain(cluster: &Cluster, words: &[&str]) -> (i32, String, String) {
    run(&mut command(cluster.base(), words))
}

fn command(base: &std::path::Path, words: &[&str]) -> Command {
    let mut command = circusman(base);
    command.args(["--timeout", "50"]).args(words).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// `cluster detect` and its document; the group is asked only where a test says so.
fn detect(cluster: &Cluster, words: &[&str]) -> (i32, Value) {
    let words = [&["--json", "cluster", "detect"], words, &["--no-multicast", "--connect", "10s"]].concat();
    let (exit, stdout, stderr) = plain(cluster, &words);
    let document = serde_json::from_str(&stdout);
    (exit, document.unwrap_or_else(|error| panic!("{words:?}: {error}\n{stdout}\n{stderr}")))
}

/// One word for each found address.
fn each(document: &Value, key: &str) -> Vec<String> {
    let found = document["found"].as_array().expect("a list");
    found.iter().map(|one| one[key].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn daemons_are_found_told_apart_and_used() {
    let mut cluster = Cluster::start(MIXED);
    // Somebody who is no circusd, and an address where nobody is.
    let (other, nobody) = (fresh_address(), fresh_address());
    let web = TcpListener::bind((other.as_str(), 5555)).expect("a free address");
    std::thread::spawn(move || {
        for stream in web.incoming().flatten() {
            let mut stream = stream;
            let _gone = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    let range = format!("{},{other},{nobody}", cluster.range(4));
    let (exit, document) = detect(&cluster, &[&range]);
    assert_eq!(exit, 0, "{document:#}");
    assert_eq!(each(&document, "kind"), ["native", "stock", "native", "stock"], "{document:#}");
    assert_eq!(each(&document, "version")[0], env!("CARGO_PKG_VERSION"));
    assert_eq!(each(&document, "change"), ["new"; 4]);
    assert_eq!(each(&document, "same_as"), ["-"; 4]);
    for one in document["found"].as_array().expect("a list") {
        assert!(one["pid"].is_i64() && one["started"].is_f64() && one["watchers"] == 3, "{one:#}");
    }
    assert_eq!(document["others"][0]["node"], other.as_str(), "{document:#}");
    assert_eq!(document["nobody"], nobody.as_str());
    assert_eq!(document["asked"], 6);

    let gone = cluster.nodes[3].address().to_owned();
    cluster.nodes[3].crash();
    let (_, document) = detect(&cluster, &[&range, "--use", "--name", "lab"]);
    assert_eq!(each(&document, "change"), ["same"; 3], "{document:#}");
    assert_eq!(document["gone"][0]["node"], gone.as_str());
    let (exit, stdout, stderr) = plain(&cluster, &["--json", "cluster"]);
    assert_eq!(exit, 0, "{stderr}");
    let known: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(known["spec"], cluster.addresses[..3].join(","));
    assert_eq!(known["cluster"], "lab");

    let (exit, document) = detect(&cluster, &[&nobody, "--use"]);
    assert_eq!((exit, &document["spec"]), (3, &Value::from("")), "{document:#}");
    nodes_come_and_go(&cluster);
}

/// On what was remembered last: three nodes, named singly, called `lab`.
fn nodes_come_and_go(cluster: &Cluster) {
    let spec = |words: &[&str]| {
        let (exit, stdout, stderr) = plain(cluster, &[&["--json", "cluster"], words].concat());
        assert_eq!(exit, 0, "{words:?}: {stdout}{stderr}");
        let document: Value = serde_json::from_str(&stdout).expect("a document");
        assert_eq!(document["cluster"], "lab", "its name stays");
        (document["spec"].as_str().expect("text").to_owned(), stderr)
    };
    let [a, b, c, _] = cluster.addresses.clone().try_into().expect("four");
    let (text, told) = spec(&["remove", &a]);
    assert_eq!(text, format!("{b},{c}"));
    assert!(told.contains(&format!("removed {a} (1); other identifiers")), "{told}");
    assert_eq!(spec(&["add", "node[1-3].lab", "--quiet"]).0, format!("{b},{c},node[1-3].lab"));
    assert_eq!(spec(&["remove", "node2*"]).0, format!("{b},{c},node[1-3].lab!node2.lab"));
    assert_eq!(spec(&["add", "node2.lab"]).0, format!("{b},{c},node[1-3].lab"));
    let list = cluster.base().join("list");
    std::fs::write(&list, "x\n").expect("writes");
    let (text, _) = spec(&["add", &format!("@{}", list.display())]);
    std::fs::write(&list, "x\ny\n").expect("writes");
    assert_eq!(spec(&["refresh"]).0, text);
    let (exit, _, stderr) = plain(cluster, &["cluster", "remove", "nope"]);
    assert_eq!(exit, 3, "{stderr}");
    let (exit, stdout, stderr) = plain(cluster, &["--json", "cluster", "add", "a..b"]);
    assert_eq!(exit, 2, "{stderr}");
    assert!(stderr.contains("\n  | a..b\n  | ^^^^"), "{stderr}");
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(
        document["place"],
        serde_json::json!({"text": "a..b", "column": 1, "length": 4, "file": null, "line": null})
    );
}

#[test]
fn one_daemon_on_two_addresses_is_marked() {
    let base = tempfile::tempdir().expect("a directory");
    // Every address of this machine, so a port of its own instead, which no connection has as its own end.
    let first = 20_000 + u16::try_from(std::process::id() % 3_000).expect("small") * 4;
    let on = |flavor, port: u16| {
        let ini = format!(
            "[circus]\nendpoint = tcp://0.0.0.0:{port}\npubsub_endpoint = tcp://0.0.0.0:{}\nmulticast_endpoint =\n",
            port + 1
        );
        Daemon::start(flavor, &ini)
    };
    let _stock = on(Flavor::Stock, first);
    let _ours = on(Flavor::Ours, first + 2);
    let (a, b) = (fresh_address(), fresh_address());
    let ours = first + 2;
    let range = format!("{a}:{first},{b}:{first},{b}:{ours},{a}:{ours}");
    let words = ["--json", "cluster", "detect", &range, "--no-multicast", "--connect", "10s"];
    let (exit, stdout, stderr) = run(&mut command(base.path(), &words));
    assert_eq!(exit, 0, "{stderr}");
    let document: Value = serde_json::from_str(&stdout).expect("a document");
    assert_eq!(each(&document, "kind"), ["stock", "stock", "native", "native"], "{document:#}");
    let doubles = ["-".to_owned(), format!("{a}:{first}"), "-".to_owned(), format!("{b}:{ours}")];
    assert_eq!(each(&document, "same_as"), doubles, "{document:#}");
    assert_eq!(document["spec"], format!("{a}:{first},{b}:{ours}"));
}

/// Set inside of the network that the test below makes.
const INSIDE: &str = "CIRCUS_TEST_INSIDE";

#[test]
fn the_group_is_asked_in_a_network_of_its_own() {
    if std::env::var_os(INSIDE).is_some() {
        return ask_the_group();
    }
    let mut alone = Command::new("unshare");
    alone
        .arg("--net")
        .arg(workspace().join("tests/loopback"))
        .args(["--alone", "--multicast"])
        .arg(std::env::current_exe().expect("a test has a path"))
        .args(["--exact", "inventory::the_group_is_asked_in_a_network_of_its_own", "--nocapture"])
        .env(INSIDE, "1");
    if run(Command::new("unshare").args(["--net", "true"])).0 != 0 {
        println!("SKIPPED: no network namespace can be made here, so no group can be asked safely");
        return;
    }
    let (exit, stdout, stderr) = run(&mut alone);
    assert_eq!(exit, 0, "{stdout}\n{stderr}");
}

fn ask_the_group() {
    let base = tempfile::tempdir().expect("a directory");
    let ini = "[circus]\nmulticast_endpoint = udp://237.219.251.97:12027\n";
    let stock = Daemon::start(Flavor::Stock, ini);
    let ours = Daemon::start(Flavor::Ours, ini);
    let hidden = Daemon::start(Flavor::Ours, "[circus]\nmulticast_endpoint =\n");
    let range = format!("{},{}", ours.address(), hidden.address());
    let detect = |words: &[&str]| {
        let words = [&["--json", "cluster", "detect", &range, "--connect", "10s"], words].concat();
        let (exit, stdout, stderr) = run(&mut command(base.path(), &words));
        assert_eq!(exit, 0, "{stdout}{stderr}");
        serde_json::from_str::<Value>(&stdout).expect("a document")
    };
    // The range is loopback, so loopback is asked without being named.
    let document = detect(&[]);
    assert_eq!(each(&document, "node"), [ours.address(), hidden.address(), stock.address()], "{document:#}");
    assert_eq!(each(&document, "kind"), ["native", "native", "stock"]);
    let by: Vec<&Value> =
        document["found"].as_array().expect("a list").iter().map(|one| &one["by"]).collect();
    assert_eq!(serde_json::json!(by), serde_json::json!([["range", "group"], ["range"], ["group"]]));
    assert_eq!(document["group_error"], Value::Null);
    assert_eq!(each(&detect(&["--interface", "127.0.0.1"]), "kind").len(), 3);
    assert_eq!(each(&detect(&["--group", "udp://237.0.0.9:12027"]), "kind").len(), 2);
    assert_eq!(each(&detect(&["--no-multicast"]), "kind").len(), 2);
}

/// Which of the four nodes have a row.
fn rows(cluster: &Cluster, answer: &Answer) -> Vec<usize> {
    let name = |node: &Value| node["node"].as_str().unwrap_or_default().to_owned();
    let at = |node: &Value| cluster.addresses.iter().position(|address| *address == name(node));
    answer.nodes().iter().map(|node| at(node).expect("a node of the cluster")).collect()
}

#[test]
fn options_and_patterns_choose() {
    let cluster = Cluster::start(MIXED);
    let on = |words: &[&str]| {
        let answer = cluster.ask(4, words);
        assert_eq!(answer.exit, 0, "{words:?}: {:#}\n{}", answer.document, answer.stderr);
        rows(&cluster, &answer)
    };
    let config = cluster.base().join("xdg-config/circusman");
    std::fs::create_dir_all(&config).expect("a folder");
    let [a, b, c, d] = cluster.addresses.clone().try_into().expect("four");
    std::fs::write(config.join("groups"), format!("db: {a}, {b}\nweb: @db!{a}\n  {d}\n")).expect("writes");
    assert_eq!(on(&["status", "--stock"]), [1, 3]);
    assert_eq!(on(&["status", "--native", "--not-on", &a]), [2]);
    assert_eq!(on(&["status", "--group", "web"]), [1, 3]);
    assert_eq!(on(&["status", "--group", "db,web", "--not-on", &format!("{b},{c}")]), [0, 3]);
    assert_eq!(on(&["status", "--on", &format!("@db&@web,{c}")]), [1, 2]);
    for (words, part) in [
        (&["status", "--group", "nope"][..], "no group named \"nope\""),
        (&["status", "--on", &a, "--stock"], "select no node"),
        (&["status", "--not-on", "*"], "select no node"),
        (&["status", "--not-on", "nope"], "--not-on: not in the cluster"),
    ] {
        let (exit, _, stderr) = run(cluster.circusman(&cluster.range(4)).args(words));
        assert_eq!(exit, 3, "{words:?}: {stderr}");
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    }

    let state = |words: &[&str], name: &str| cluster.all_do(words).watchers(name);
    assert_eq!(state(&["start", "NEO*", "c?ssandra"], "neo4j"), ["active"; 4]);
    assert_eq!(state(&["status"], "cassandra"), ["active"; 4]);
    assert_eq!(state(&["status"], "titan"), ["stopped"; 4]);
    let stats = cluster.all_do(&["stats", "neo*"]);
    for node in stats.nodes() {
        let names: Vec<&String> = node["data"]["watchers"].as_object().expect("figures").keys().collect();
        assert_eq!(names, ["neo4j"], "{node:#}");
    }
    let ready = cluster.all_do(&["ready", "cass*"]);
    for node in ready.nodes() {
        let names: Vec<&String> = node["data"]["watchers"].as_object().expect("states").keys().collect();
        assert_eq!(names, ["cassandra"], "{node:#}");
    }
    assert_eq!(state(&["stop", "*4j", "--yes"], "neo4j"), ["stopped"; 4]);
    assert_eq!(state(&["status"], "cassandra"), ["active"; 4]);
    for words in [
        &["start", "x*"][..],
        &["status", "x*"],
        &["stats", "x*"],
        &["ready", "x*"],
        &["stop", "x*", "--yes"],
    ] {
        let answer = cluster.ask(4, words);
        assert_eq!(
            (answer.exit, answer.states()),
            (3, vec!["skipped"; 4]),
            "{words:?}: {:#}",
            answer.document
        );
    }
    cluster.all_do(&["stop", "--yes"]);
}

#[test]
fn a_console_follows_the_file_of_its_nodes() {
    let base = tempfile::tempdir().expect("a directory");
    let daemon = Daemon::start(Flavor::Ours, "[circus]\nmulticast_endpoint =\n");
    let list = base.path().join("nodes");
    std::fs::write(&list, format!("{}\n", daemon.address())).expect("writes");
    let spec = format!("@{}", list.display());
    let mut console = command(base.path(), &["--cluster", &spec, "--ndjson", "console"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = console.stdin.take().expect("a pipe");
    let mut output = BufReader::new(console.stdout.take().expect("a pipe")).lines();
    let mut count = || {
        writeln!(input, "cluster").expect("it reads");
        let line = output.next().expect("it answers").expect("text");
        let document: Value = serde_json::from_str(&line).expect("a document");
        document["nodes"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count(), 1);
    std::fs::write(&list, format!("{}\n127.0.0.9:1\n", daemon.address())).expect("writes");
    until("the second node", || (count() == 2).then_some(()));
    // What cannot be read changes nothing.
    std::fs::write(&list, "a..b\n").expect("writes");
    std::fs::remove_file(&list).expect("it is there");
    assert_eq!(count(), 2);
    std::fs::write(&list, format!("{}\n", daemon.address())).expect("writes");
    until("one node again", || (count() == 1).then_some(()));
    drop(input);
    let ended = console.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(told.contains("the cluster has changed: added 127.0.0.9:1 (1)"), "{told}");
    assert!(told.contains("the cluster has changed: removed 127.0.0.9:1 (1)"), "{told}");
}

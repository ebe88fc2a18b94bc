//! The real binary, without any node: usage errors, exit statuses, what is remembered. Everything
//! stays on loopback addresses where nobody listens, and in a home directory of its own.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    #[expect(clippy::disallowed_methods, reason = "this test is about the program as a process")]
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_circusman"));
        command
            .args(words)
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", self.0.path())
            .current_dir(self.0.path());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().expect("runs"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn check(&self, code: i32, err: &str) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        assert!(self.err.contains(err), "{}", self.err);
    }
}

/// A loopback address and port that refuse: bound for a moment, then closed.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    format!("127.0.0.1:{}", listener.local_addr().expect("bound").port())
}

#[test]
fn usage_errors_are_two() {
    let home = Home::new();
    home.run(&["--cluster", "127.9.9.1", "strat"]).check(2, "start");
    home.run(&["--cluster", "127.9.9.1", "--json", "--ndjson", "status"]).check(2, "cannot be used with");
    home.run(&["--cluster", "node[1-", "status"]).check(2, "the bracket is not closed");
    home.run(&["--cluster", "@missing", "status"]).check(2, "\"missing\" is neither a group");
    home.run(&["--cluster", "127.9.9.1", "--timeout", "soon", "status"]).check(2, "500ms");
    home.run(&["--cluster", "127.9.9.1", "call", "get", "x"]).check(2, "KEY=VALUE");
    home.run(&["--cluster", "127.9.9.1", "--services", "missing.ini", "status"]).check(2, "missing.ini");
    home.run(&[]).check(2, "no command");
    let help = home.run(&["reset", "--help"]);
    help.check(0, "");
    assert!(help.out.contains("--dry-run") && help.err.is_empty());
    assert!(home.run(&["--version"]).out.starts_with("circusman "));
}

#[test]
fn without_a_cluster_nobody_is_contacted() {
    let home = Home::new();
    for words in [&["status"][..], &["cluster"], &["console"], &["stop", "--yes"]] {
        home.run(words).check(2, "--cluster");
    }
}

#[test]
fn targets_outside_are_three() {
    let home = Home::new();
    let run = |on: &str| home.run(&["--cluster", "127.9.9.[1-3]", "--on", on, "status"]);
    run("127.9.9.4").check(3, "not in the cluster 127.9.9.[1-3]: 127.9.9.4;");
    run("node*").check(3, "selects no node");
    run("-*").check(3, "selects no node");
    run("127.9.9.[1").check(2, "bracket");
}

#[test]
fn confirmations_are_six_without_a_terminal() {
    let home = Home::new();
    let run = |words: &[&str]| home.run(&[&["--cluster", "127.9.9.[1-2]"], words].concat());
    run(&["stop"]).check(6, "stop all watchers on 127.9.9.[1-2] (2) needs a confirmation; pass --yes");
    run(&["restart", "neo4j"]).check(6, "restart neo4j");
    run(&["configure"]).check(6, "--dry-run");
    run(&["reset", "data"]).check(6, "--yes");
    run(&["reset", "--confirm", "other"]).check(6, "is not the cluster's name");
    run(&["call", "quit"]).check(6, "call quit");
}

#[test]
fn unreachable_is_four_and_absent_is_none() {
    let home = Home::new();
    let node = nobody();
    let single = home.run(&["--cluster", &node, "--json", "--timeout", "2", "status"]);
    single.check(4, "");
    assert!(
        single.out.contains("\"state\": \"unreachable\"") && single.out.contains("\"exit\": 4"),
        "{}",
        single.out
    );
    let (address, port) = node.split_once(':').expect("a port");
    let range = home.run(&["--cluster", &format!("{address}-1:{port}"), "--timeout", "2", "status"]);
    range.check(0, "");
    assert!(range.out.contains("absent"), "{}", range.out);
    let lines = home.run(&["--cluster", &node, "--ndjson", "--timeout", "2", "stop", "--yes"]);
    lines.check(4, "");
    assert_eq!(lines.out.lines().count(), 2, "{}", lines.out);
}

#[test]
fn whoever_accepts_is_not_absent() {
    let home = Home::new();
    // The kernel accepts for it, as it does for a circusd that hangs.
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let port = silent.local_addr().expect("bound").port();
    let range = format!("127.0.0.1-1:{port}");
    let hung = home.run(&["--cluster", &range, "--timeout", "500ms", "status"]);
    hung.check(5, "");
    assert!(hung.out.contains("timed out") && hung.out.contains("says nothing within 0.5 s"), "{}", hung.out);
    // Something else altogether.
    let other = std::thread::spawn(move || {
        // The connection of the first run still waits to be accepted.
        for peer in silent.incoming().take(2) {
            let mut peer = peer.expect("circusman");
            let _left = std::io::Write::write_all(&mut peer, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _until_it_leaves = std::io::copy(&mut peer, &mut std::io::sink());
        }
    });
    let http = home.run(&["--cluster", &range, "--timeout", "5", "status"]);
    other.join().expect("served");
    http.check(4, "");
    assert!(http.out.contains("unreachable") && http.out.contains("check the port"), "{}", http.out);
}

#[test]
fn yes_belongs_to_every_command() {
    let home = Home::new();
    let node = nobody();
    for verb in ["status", "start", "stop", "restart", "reload", "configure", "reset", "stats", "cluster"] {
        let ran = home.run(&["--cluster", &node, "--timeout", "2", verb, "--yes"]);
        ran.check(if verb == "cluster" { 0 } else { 4 }, "");
    }
}

#[test]
fn cluster_is_remembered() {
    let home = Home::new();
    std::fs::write(home.path().join("nodes"), "127.9.9.1\n127.9.9.2 # two\n").expect("writes");
    let defined = home.run(&["cluster", "nodes", "6000", "--name", "lab"]);
    defined.check(0, "");
    let shown = home.run(&["cluster", "--json"]);
    shown.check(0, "");
    for part in [
        "\"cluster\": \"lab\"",
        "\"port\": 6000",
        "\"endpoint\": \"tcp://127.9.9.2:6000\"",
        "\"identifier\": 2",
    ] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
    let old = home.run(&["cluster", "127.9.8", "3"]);
    assert!(old.out.contains("127.9.8.[1-3] (3)"), "{}", old.out);
    home.run(&["cluster", "127.9.8", "999"]).check(2, "1 to 254");
    home.run(&["cluster", "127.9.8.1,"]).check(0, "");
    std::fs::write(home.path().join(".config/circusman/cluster.json"), "[]").expect("writes");
    home.run(&["status"]).check(2, "cluster.json");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let home = Home::new();
    let mut command = home.command(&["--cluster", "10.0.0.0/18", "cluster", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    ran.check(0, "");
    assert_eq!(ran.err, "");
}

#[test]
fn console_reads_a_pipe() {
    use std::io::Write as _;
    let home = Home::new();
    let mut command = home.command(&["--cluster", "127.9.9.[1-2]", "console"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let lines = "# a comment\n\ncluster\nfoo\n'open\nstop\n\u{1b}[A\u{0}\nhelp cluster\ncluster 127.9.7 2\ncluster\nexit\nnever";
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("writes");
    let ran = Ran::of(child.wait_with_output().expect("ends"));
    ran.check(2, "needs a confirmation");
    assert!(ran.err.contains("the quote ' is not closed"), "{}", ran.err);
    assert!(ran.out.contains("127.9.9.[1-2] (2)") && ran.out.contains("127.9.7.[1-2] (2)"), "{}", ran.out);
    assert!(ran.out.contains("NUMNODES"), "{}", ran.out);
    assert!(!ran.err.contains("never"), "{}", ran.err);
}

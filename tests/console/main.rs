//! The console as a person meets it: `circusman demo` on a pseudo terminal, with somebody who types.
//! And that nothing is left of the demo, however it ends.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests start processes, read the clock, and fail by panicking"
)]

mod shells;
mod terminal;
mod top;
mod words;

use std::path::{Path, PathBuf};

use circus_tests::daemon::{Daemon, Flavor, built, fresh_address};
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::terminal::Terminal;

const PROMPT: &str = "demo 3/3> ";

/// A demo that has come up, and where it keeps its files.
fn demo() -> (Terminal, PathBuf) {
    let mut terminal = Terminal::start(&built("circusman"), &["demo"]);
    let greeting = terminal.expect(PROMPT);
    assert!(greeting.contains("demo: 3 of 3 nodes up"), "{greeting}");
    let dir = greeting.split(" in ").nth(1).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let dir = PathBuf::from(dir.trim());
    assert!(dir.join("services.ini").is_file(), "{greeting}");
    (terminal, dir)
}

/// Command lines of all processes that name this directory.
fn processes(dir: &Path) -> Vec<String> {
    let name = dir.to_string_lossy();
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|l| l.contains(&*name))
        .collect()
}

/// Waits until each node of the demo is stopping something.
fn stop_has_begun(dir: &Path) {
    let nodes = std::fs::read_dir(dir).expect("the demo's files").flatten();
    let inis = nodes.filter_map(|node| std::fs::read_to_string(node.path().join("circus.ini")).ok());
    let option = |ini: &str, name: &str| {
        let line = ini.lines().find_map(|line| line.strip_prefix(name)).expect("it is given");
        line.trim_start_matches([' ', '=']).to_owned()
    };
    let mut count = 0;
    for ini in inis {
        count += 1;
        let mut wire = Wire::connect(&option(&ini, "endpoint"), &option(&ini, "pubsub_endpoint"));
        until("the stop to have begun", || {
            let reply = wire.call("status", &json!({}));
            reply["statuses"].to_string().contains("stopp").then_some(())
        });
    }
    assert_eq!(count, 3, "{}", dir.display());
}

fn assert_nothing_is_left(dir: &Path) {
    until(&format!("{} and its processes to go: {:?}", dir.display(), processes(dir)), || {
        (processes(dir).is_empty() && !dir.exists()).then_some(())
    });
}

#[test]
fn what_is_detected_is_offered() {
    let daemon = Daemon::start(Flavor::Ours, "[circus]\nmulticast_endpoint =\n");
    let range = format!("{},{}", daemon.address(), fresh_address());
    let words = ["--timeout", "50", "cluster", "detect", &range, "--connect", "10s", "--no-multicast"];
    for answer in ["n", "y"] {
        let mut terminal = Terminal::start(&built("circusman"), &words);
        let table = terminal.expect(&format!("Use {} (1) as the cluster? [y/N] ", daemon.address()));
        assert!(table.contains("1 circusd-rs and 0 circusd at 2 addresses"), "{table}");
        terminal.write(&format!("{answer}\r"));
        if answer == "y" {
            terminal.expect(&format!("the cluster is now {} (1)", daemon.address()));
        }
        assert_eq!(terminal.wait(), 0);
    }
}

#[test]
fn somebody_types() {
    let (mut terminal, dir) = demo();

    terminal.write("status\r");
    let status = terminal.expect(PROMPT);
    assert!(status.contains("cassandra") && status.contains("3 up in"), "{status}");

    // Several verbs begin with it: a second Tab lists them; one more letter decides.
    terminal.write("sta\t\t");
    let listed = terminal.expect("status");
    assert!(listed.contains("start") && listed.contains("stats"), "{listed}");
    // It draws the line anew below the list.
    terminal.expect(&format!("{PROMPT}sta"));
    terminal.write("r\t-h\r");
    terminal.expect("Usage: start [OPTIONS] [NAMES]...");
    terminal.expect(PROMPT);

    // Ctrl-C drops the line, not the console.
    terminal.write("stop ne\u{3}");
    terminal.expect(PROMPT);
    terminal.write("strat\r");
    terminal.expect("unrecognized subcommand 'strat'");
    terminal.expect(PROMPT);

    // A question, and a no.
    terminal.write("stop\r");
    terminal.expect("[y/N] ");
    terminal.write("n\r");
    terminal.expect("not confirmed; nothing was changed");
    terminal.expect(PROMPT);

    // Ctrl-D leaves.
    terminal.write("\u{4}");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

#[test]
fn pasted_lines_are_all_carried_out() {
    let (mut terminal, dir) = demo();
    // All at once, as terminals without bracketed paste send them.
    terminal.write("cluster\rstatus neo4j; status titan # and no more\rcluster\r");
    let mut shown = String::new();
    for _ in 0..3 {
        shown += &terminal.expect(PROMPT);
    }
    assert_eq!(shown.matches("nodes    127.").count(), 2, "{shown}");
    assert_eq!(shown.matches("3 up in").count(), 2, "{shown}");
    // And as one text in brackets.
    terminal.write("\u{1b}[200~cluster\nstatus\u{1b}[201~\r");
    let shown = terminal.expect("3 up in");
    assert_eq!(shown.matches("nodes    127.").count(), 1, "{shown}");
    terminal.expect(PROMPT);
    terminal.write("exit\r");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

/// The pid of some process of the demo whose command line has this word.
fn some_process(dir: &Path, word: &str) -> i32 {
    let name = dir.to_string_lossy();
    let fits = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(&*name) && line.contains(word)
    };
    let found = std::fs::read_dir("/proc").expect("/proc").flatten().find(fits).expect("it runs");
    found.file_name().to_string_lossy().parse().expect("a pid")
}

#[test]
fn what_goes_wrong_is_shown_above_the_line_being_typed() {
    let (mut terminal, dir) = demo();
    terminal.write("configure --yes; start cassandra\r");
    terminal.expect("active: cassandra");
    terminal.expect(PROMPT);
    terminal.write("stat");
    terminal.expect("stat");
    let pid = some_process(&dir, "stand-in cassandra");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is ours");
    terminal.expect(&format!("cassandra: process {pid} died: SIGKILL"));
    // The line is drawn anew below, as it was, and goes on.
    terminal.expect(&format!("{PROMPT}stat"));
    terminal.write("us\r");
    terminal.expect("3 up in");
    terminal.expect(PROMPT);
    terminal.write("events off\r");
    terminal.expect("changes are not shown");
    terminal.expect(PROMPT);
    terminal.write("exit\r");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

#[test]
fn an_interrupt_ends_the_operation_and_not_the_console() {
    let (mut terminal, dir) = demo();
    terminal.write("configure --yes; start\r");
    let started = terminal.expect(PROMPT);
    assert!(started.contains("active: cassandra,neo4j,titan"), "{started}");
    // The stand-ins take seconds to stop.
    terminal.write("stop --yes\r");
    terminal.expect("stop 0/3");
    stop_has_begun(&dir);
    // Once: what is under way goes on to its end.
    terminal.write("\u{3}");
    terminal.expect("interrupted: what is under way goes on to its end; Ctrl-C again leaves at once");
    let stopped = terminal.expect(PROMPT);
    assert!(stopped.contains("3 done in"), "{stopped}");
    terminal.write("start\r");
    terminal.expect(PROMPT);
    // Twice: nothing is waited for.
    terminal.write("stop --yes\r");
    terminal.expect("stop 0/3");
    stop_has_begun(&dir);
    terminal.write("\u{3}");
    terminal.expect("leaves at once");
    terminal.write("\u{3}");
    let left = terminal.expect(PROMPT);
    assert!(left.contains("interrupted during stop") && left.contains("3 cancelled in"), "{left}");
    terminal.write("history\r");
    let history = terminal.expect(PROMPT);
    assert!(history.contains("stop --yes") && history.contains("interrupted; left: 127."), "{history}");
    terminal.write("status\r");
    terminal.expect("3 up in");
    terminal.write("exit\r");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

#[test]
fn nothing_is_left_of_a_demo_that_is_killed() {
    let (mut terminal, dir) = demo();
    terminal.write("configure --yes; start\r");
    terminal.expect("active: cassandra,neo4j,titan");
    terminal.signal(Signal::SIGKILL);
    assert_nothing_is_left(&dir);
}

#[test]
fn nothing_is_left_of_a_demo_whose_terminal_is_closed() {
    let (mut terminal, dir) = demo();
    terminal.write("configure --yes; start\r");
    terminal.expect("active: cassandra,neo4j,titan");
    drop(terminal.hang_up());
    assert_nothing_is_left(&dir);
}

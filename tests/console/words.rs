//! Every word that the documents name, typed: the console of 2015 had `cluster`, `configure`, `start`,
//! `stop` and `clear`, and whoever knew it must find them here. Behind each verb `-h` helps.

use crate::terminal::Terminal;
use crate::{assert_nothing_is_left, demo};

/// What every prompt of three nodes that are up ends with, whatever the cluster is called.
const ALL_UP: &str = " 3/3> ";

/// Types a line and gives what came until the next prompt.
fn say(terminal: &mut Terminal, line: &str) -> String {
    terminal.write(&format!("{line}\r"));
    terminal.expect(ALL_UP)
}

/// The same for one that asks, and is answered.
fn agree(terminal: &mut Terminal, line: &str, question: &str, answer: &str) -> String {
    terminal.write(&format!("{line}\r"));
    let before = terminal.expect(question);
    before + &say(terminal, answer)
}

fn said(text: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn help_stands_behind_each_verb() {
    let (mut terminal, dir) = demo();
    let help = say(&mut terminal, "help");
    let commands = help.lines().map(|line| line.trim_end()).skip_while(|line| *line != "Commands:").skip(1);
    let verbs: Vec<String> = commands
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect();
    for word in ["cluster", "status", "start", "stop", "configure", "reset", "logs", "exit"] {
        assert!(verbs.iter().any(|verb| verb == word), "{word} is not among {verbs:?}");
    }
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let told = say(&mut terminal, &format!("{verb} -h"));
        said(&told, &[&format!("Usage: {verb}"), "-h, --help"]);
        let told = say(&mut terminal, &format!("help {verb}"));
        said(&told, &[&format!("Usage: {verb}")]);
    }
    // The old name has the new one's help.
    said(&say(&mut terminal, "clear -h"), &["Usage: reset", "data"]);
    terminal.write("quit\r");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

#[test]
fn the_words_of_2015_do_what_they_did() {
    let (mut terminal, dir) = demo();
    let shown = say(&mut terminal, "cluster");
    said(&shown, &["cluster  demo", "nodes    127.", "port "]);
    let after = |key: &str| {
        let line = shown.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap_or_default();
        line.trim().to_owned()
    };
    let (nodes, port) = (after("spec"), after("port"));
    let first = nodes.split(',').next().unwrap_or_default().to_owned();
    let network = first.rsplit_once('.').map(|(network, _)| network.to_owned()).unwrap_or_default();
    assert!(first.ends_with(".1") && !port.is_empty(), "{shown}");

    said(&agree(&mut terminal, "configure", "[y/N] ", "y"), &["3 done in"]);
    said(&say(&mut terminal, "start cassandra"), &["active: cassandra", "3 done in"]);
    said(&say(&mut terminal, "status"), &["cassandra", "active", "3 up in"]);
    said(&agree(&mut terminal, "stop", "[y/N] ", "y"), &["stopped: cassandra", "3 done in"]);
    said(&say(&mut terminal, "start neo4j"), &["active: neo4j", "3 done in"]);
    said(&agree(&mut terminal, "stop neo4j", "[y/N] ", "y"), &["stopped: neo4j", "3 done in"]);

    // `clear` wants the cluster's name; a wrong one clears nothing.
    let refused = agree(&mut terminal, "clear data", "This wipes ", "yes");
    said(&refused, &["delete", "nothing was changed"]);
    said(&agree(&mut terminal, "clear data", "This wipes ", "demo"), &["1 deleted", "3 done in"]);
    said(&agree(&mut terminal, "clear log", "This wipes ", "demo"), &["truncated", "3 done in"]);
    // What is always there goes again: log files, now empty.
    said(&agree(&mut terminal, "clear", "This wipes ", "demo"), &["truncated", "3 done in"]);

    // The three ways to say which nodes.
    let by_network = say(&mut terminal, &format!("cluster {network} 3 --port {port}"));
    said(&by_network, &[&format!("{network}.[1-3] (3)")]);
    let file = dir.join("nodes.txt");
    std::fs::write(&file, nodes.replace(',', "\n")).expect("a list of nodes");
    let by_file = say(&mut terminal, &format!("cluster {} {port}", file.display()));
    said(&by_file, &["nodes.txt", "(3)"]);
    said(&say(&mut terminal, "status"), &["3 up in"]);
    terminal.write("exit\r");
    assert_eq!(terminal.wait(), 0);
    assert_nothing_is_left(&dir);
}

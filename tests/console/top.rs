//! `top` as a person meets it, on a pseudo terminal whose screen is read back by a terminal emulator
//! that is not ours; a stock node and one of our own.

use std::num::NonZero;
use std::process::Command;
use std::time::Duration;

use circus_tests::daemon::{Daemon, Flavor, built};
use circus_tests::pty::Terminal;
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use serde_json::{Value, json};

/// The size of [`Terminal`].
const LINES: NonZero<u16> = NonZero::new(40).expect("some");
const COLUMNS: NonZero<u16> = NonZero::new(80).expect("some");

const INI: &str = "[circus]\n[watcher:web]\ncmd = sleep 1000\ngraceful_timeout = 2\n\
                   [watcher:idle]\ncmd = sleep 1000\nautostart = False\n";

fn nodes() -> [Daemon; 2] {
    [Daemon::start(Flavor::Ours, INI), Daemon::start(Flavor::Stock, INI)]
}

fn top(nodes: &[Daemon]) -> Terminal {
    top_every("300ms", nodes)
}

fn top_every(interval: &str, nodes: &[Daemon]) -> Terminal {
    let addresses: Vec<&str> = nodes.iter().map(Daemon::address).collect();
    let mut command = Command::new(built("circusman"));
    command
        .args(["--cluster", &addresses.join(","), "top", "--interval", interval])
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL")
        .env("HOME", nodes[0].dir());
    Terminal::start(&mut command)
}

/// What a person sees, line by line, and whether it is the program's own screen.
fn screen(written: &str) -> (String, bool) {
    let mut emulator = vt100::Parser::new(LINES, COLUMNS, 0);
    emulator.process(written.as_bytes());
    (emulator.screen().contents(), emulator.screen().alternate_screen())
}

fn wait_for(terminal: &mut Terminal, what: &str, pleases: impl Fn(&str) -> bool) {
    terminal.wait_until(what, |written| pleases(&screen(written).0));
}

/// The row of a watcher of a node: below the node, up to the next node.
fn shows(screen: &str, node: &str, watcher: &str, state: &str) -> bool {
    let mut lines = screen.lines().skip_while(|line| !line.contains(&format!(" {node} ")));
    let _the_node = lines.next();
    lines
        .take_while(|line| !line.contains(" 127."))
        .any(|line| line.contains(&format!(" {watcher} ")) && line.contains(state))
}

fn state(node: &Daemon, watcher: &str) -> String {
    let reply = Wire::connect(&node.endpoint(), &node.pubsub()).call("status", &json!({"name": watcher}));
    reply["status"].as_str().unwrap_or_default().to_owned()
}

/// Whether a shell could be used on it.
fn is_a_shells(terminal: &Terminal) -> bool {
    terminal.settings().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
}

#[test]
fn keys_act_on_both_kinds_of_nodes_and_the_terminal_is_given_back() {
    let nodes = nodes();
    let mut terminal = top(&nodes);
    wait_for(&mut terminal, "both nodes and their watchers", |seen| {
        seen.contains("2/2 up")
            && nodes.iter().all(|node| {
                shows(seen, node.address(), "web", "active") && shows(seen, node.address(), "idle", "stopped")
            })
    });
    for node in &nodes {
        terminal.type_keys(&format!("/{} web\r", node.address()));
        wait_for(&mut terminal, "only the row searched for", |seen| {
            seen.contains(&format!("/{} web", node.address())) && !seen.contains(" idle ")
        });
        terminal.type_keys("jx");
        let question = format!("stop web on {}?", node.address());
        wait_for(&mut terminal, "the question", |seen| seen.contains("y: do it") && seen.contains(&question));
        assert_eq!(state(node, "web"), "active", "a question is no answer");
        terminal.type_keys("y");
        wait_for(&mut terminal, "the watcher stopped", |seen| shows(seen, node.address(), "web", "stopped"));
        assert_eq!(state(node, "web"), "stopped");
        // One watcher of one node is started without a question.
        terminal.type_keys("s");
        wait_for(&mut terminal, "the watcher active", |seen| shows(seen, node.address(), "web", "active"));
        assert_eq!(state(node, "web"), "active");
        terminal.type_keys("\u{1b}");
        wait_for(&mut terminal, "all rows again", |seen| seen.contains(" idle "));
        terminal.type_keys("k");
    }
    terminal.type_keys("q");
    until("the settings as before", || is_a_shells(&terminal).then_some(()));
    let (status, written) = terminal.wait();
    assert!(status.success(), "{status}");
    assert!(!screen(&written).1, "the shell's screen is back");
}

#[test]
fn it_steps_aside_for_the_shell_and_ends_when_told() {
    let nodes = nodes();
    let mut terminal = top(&nodes);
    wait_for(&mut terminal, "both nodes", |seen| seen.contains("2/2 up"));
    assert!(!is_a_shells(&terminal), "keys come one by one");
    let pid = terminal.pid();
    terminal.type_keys("\u{1a}");
    until("the program to be stopped", || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')).then_some(())
    });
    assert!(is_a_shells(&terminal), "a shell can be used");
    assert!(!screen(terminal.seen()).1, "on its own screen");
    let length = terminal.seen().len();
    kill(Pid::from_raw(pid), Signal::SIGCONT).expect("it is there");
    terminal.wait_until("the picture anew", |written| {
        let (seen, own) = screen(written);
        own && written.len() > length && seen.contains("2/2 up") && seen.contains("web")
    });
    drop(nodes);
    wait_for(&mut terminal, "both nodes to be down", |seen| {
        seen.contains("0/2 up") && seen.contains("down:")
    });
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it is there");
    until("the settings as before", || is_a_shells(&terminal).then_some(()));
    let (status, written) = terminal.wait();
    assert_eq!(status.code(), Some(130));
    assert!(!screen(&written).1, "the shell's screen is back");
}

#[test]
fn a_crash_is_seen_when_it_happens_and_not_when_the_node_is_asked_next() {
    let node = [Daemon::start(Flavor::Ours, INI)];
    // Asked once at the beginning, and never again while this test lives.
    let mut terminal = top_every("1h", &node);
    wait_for(&mut terminal, "the node", |seen| seen.contains("1/1 up") && seen.contains(" web "));
    let pids = || {
        let reply =
            Wire::connect(&node[0].endpoint(), &node[0].pubsub()).call("list", &json!({"name": "web"}));
        reply["pids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>()
    };
    // Nobody outside knows when it has subscribed; what died before that, it does not hear of.
    let told = until("a death to be told", || {
        let pid = pids().first().copied()?;
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("it is there");
        until("its successor", || pids().first().filter(|next| **next != pid).map(|_| ()));
        let gone = format!("web: process {pid} gone: SIGKILL");
        // Two seconds for a picture that comes twenty times a second.
        let told = (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            screen(terminal.seen()).0.contains(&gone)
        });
        told.then_some(gone)
    });
    // The restarts are in no event: the node is asked for them because something has happened there.
    wait_for(&mut terminal, "the count of restarts", |seen| {
        let row = seen.lines().find(|line| line.contains(" web ") && line.contains(" active "));
        let restarts = row.and_then(|row| row.split_whitespace().last()?.parse::<u32>().ok());
        seen.contains(&told) && restarts.is_some_and(|count| count > 0)
    });
    terminal.type_keys("q");
    let (status, _) = terminal.wait();
    assert!(status.success(), "{status}");
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let mut command = Command::new(built("circusman"));
    command.args(["--cluster", "127.0.0.1", "top"]);
    let (exit, stdout, stderr) = circus_tests::daemon::run(&mut command);
    assert_eq!((exit, stdout.as_str()), (2, ""));
    assert!(stderr.contains("stats --watch"), "{stderr}");
}

//! Managed sockets as traces: who is started by a knock and when it is armed again, and what a changed
//! configuration does to those who hold a socket.

use circus_protocol::command::Command;
use serde_json::json;

use crate::arbiter::effect::Effect;
use crate::arbiter::id::JobId;
use crate::arbiter::input::{BoundAddress, BoundSocket, Input};
use crate::arbiter::tests::play::{Play, body, named, refusal, watcher};
use crate::config::diff::SocketChange;
use crate::config::socket::{SocketAddress, SocketConfig, SocketKind};
use crate::config::{Config, WatcherConfig};

pub(super) fn socket(name: &str, port: u16) -> SocketConfig {
    SocketConfig {
        name: name.to_owned(),
        address: SocketAddress::Inet { host: "localhost".to_owned(), port, six: false },
        kind: SocketKind::Stream,
        proto: 0,
        backlog: 2048,
        so_reuseport: false,
        blocking: false,
        interface: None,
    }
}

fn bound(config: SocketConfig, fd: i32) -> BoundSocket {
    let address = BoundAddress::Inet { host: "127.0.0.1".to_owned(), port: 5000 };
    BoundSocket { config, fd, address }
}

fn on_demand(name: &str, cmd: &str) -> WatcherConfig {
    WatcherConfig { cmd: cmd.to_owned(), use_sockets: true, on_demand: true, ..watcher(name) }
}

/// Two sockets, a and b; started up.
pub(super) fn play(watchers: Vec<WatcherConfig>) -> Play {
    let mut play = Play::with_sockets(watchers, vec![bound(socket("a", 1), 7), bound(socket("b", 2), 8)]);
    play.start_up();
    play
}

fn knock(play: &mut Play, socket: &str) -> String {
    play.input(Input::SocketReady { socket: socket.to_owned() });
    play.take()
}

#[track_caller]
fn check(actual: &str, expected: &[&str]) {
    let lines: Vec<&str> = actual.lines().map(str::trim).collect();
    assert_eq!(lines, expected, "\n{actual}");
}

#[test]
fn a_knock_starts_the_watchers_of_that_socket_only() {
    let mut play = play(vec![
        on_demand("one", "prog $(circus.sockets.a)"),
        on_demand("two", "prog $(circus.sockets.b)"),
        on_demand("any", "prog"),
    ]);
    check(&play.take(), &[r#"watch {"a", "b"}"#]);
    check(&knock(&mut play, "a"), &["one spawn 101", "one start", "any spawn 102", "any start"]);
    check(&knock(&mut play, "a"), &[]);
    check(&knock(&mut play, "b"), &["two spawn 103", "two start"]);
}

#[test]
fn when_the_last_process_has_ended_it_waits_again() {
    let two = WatcherConfig { numprocesses: 2, ..on_demand("one", "prog $(circus.sockets.a)") };
    let mut play = play(vec![two]);
    play.take();
    knock(&mut play, "a");
    play.pass(5.0);
    play.die(101, 0);
    check(&play.take(), &["one reap 101 0"]);
    play.die(102, 0);
    check(&play.take(), &["one reap 102 0", r#"watch {"a"}"#]);
    let status = play.ask(Command::Status { name: Some("one".to_owned()) });
    assert_eq!(format!("{:?}", play.replies[&status]), r#"Status("stopped")"#);
    play.take();
    check(&knock(&mut play, "a"), &["one spawn 103", "one spawn 104", "one start"]);
}

#[test]
fn what_does_not_serve_its_socket_cannot_spin() {
    let mut play = play(vec![on_demand("one", "prog $(circus.sockets.a)")]);
    play.take();
    knock(&mut play, "a");
    play.die(101, 1);
    check(&play.take(), &["one reap 101 1", r#"watch {"a"}"#]);
    knock(&mut play, "a");
    play.die(102, 1);
    // Died young twice: it is not armed at once.
    check(&play.take(), &["one reap 102 1"]);
    play.pass(0.11);
    check(&play.take(), &[r#"watch {"a"}"#]);
}

#[test]
fn stopped_on_purpose_is_not_started_until_start_arms_it() {
    let mut play = play(vec![on_demand("one", "prog $(circus.sockets.a)")]);
    play.take();
    play.ask(Command::Stop(named("one")));
    check(&play.take(), &["reply 1: ok {\"info\":null}", "watch {}"]);
    check(&knock(&mut play, "a"), &[]);
    play.ask(Command::Start(named("one")));
    check(&play.take(), &[r#"reply 2: ok {"info":{"started":[],"kept":[]}}"#, r#"watch {"a"}"#]);
    check(&knock(&mut play, "a"), &["one spawn 101", "one start"]);
    play.ask(Command::Restart(named("one")));
    let trace = play.take();
    assert!(trace.contains("one stop") && !trace.contains("one start"), "{trace}");
    assert!(trace.contains(r#"watch {"a"}"#), "{trace}");
}

#[test]
fn listsockets_is_sorted_by_number() {
    let mut play = Play::with_sockets(vec![], vec![bound(socket("a", 1), 9), bound(socket("b", 2), 8)]);
    let reply = play.ask(Command::ListSockets);
    let expected = json!([
        {"fd": 8, "name": "b", "backlog": 2048, "host": "127.0.0.1", "port": 5000},
        {"fd": 9, "name": "a", "backlog": 2048, "host": "127.0.0.1", "port": 5000},
    ]);
    assert_eq!(body(&play.replies[&reply])["sockets"], expected);
}

#[test]
fn a_missing_stdin_socket_keeps_nobody_else_from_starting() {
    let bad = WatcherConfig { stdin_socket: Some("Nope".to_owned()), ..watcher("a") };
    let mut play = play(vec![bad, watcher("b")]);
    check(&play.take(), &["a stop", "b spawn 101", "b start"]);
    let reply = play.ask(Command::Start(named("a")));
    let text = refusal(&play.replies[&reply]).to_string();
    assert!(text.contains("there is no socket 'Nope'"), "{text}");
}

// ---- reloadconfig ----

fn reload(play: &mut Play, watchers: Vec<WatcherConfig>, sockets: Vec<SocketConfig>) -> u64 {
    play.files = Ok(Config { watchers, sockets, ..Config::default() });
    play.ask(Command::ReloadConfig { waiting: true })
}

/// The change that the host was asked for, and its job.
fn asked(play: &mut Play) -> (JobId, Vec<SocketChange>) {
    match play.asked.pop() {
        Some(Effect::Sockets { job, changes }) => (job, changes),
        other => panic!("{other:?} is no change of sockets"),
    }
}

#[test]
fn a_moved_socket_restarts_only_those_who_hold_it() {
    let user = WatcherConfig { cmd: "prog $(circus.sockets.a)".to_owned(), ..watcher("user") };
    let holder = WatcherConfig { use_sockets: true, ..watcher("holder") };
    let watchers = vec![user, holder, watcher("other")];
    let mut play = play(watchers.clone());
    play.take();
    let reply = reload(&mut play, watchers, vec![socket("a", 99), socket("b", 2)]);
    check(
        &play.take(),
        &[
            "read config",
            "signal 15 101 Process",
            "user kill 101",
            "signal 15 102 Process",
            "holder kill 102",
            "user reap 101 -15",
            "user stop",
            "holder reap 102 -15",
            "holder stop",
            "sockets 1",
        ],
    );
    let (job, changes) = asked(&mut play);
    assert_eq!(changes, [SocketChange::Rebind(socket("a", 99))]);
    let sockets = Some(vec![bound(socket("a", 99), 7), bound(socket("b", 2), 8)]);
    play.input(Input::SocketsChanged { job, sockets, errors: vec![] });
    let trace = play.take();
    assert!(trace.contains("user start") && trace.contains("holder start"), "{trace}");
    assert!(!trace.contains("other"), "{trace}");
    assert_eq!(body(&play.replies[&reply]).len(), 0);
    // And now nothing has changed.
    let watchers = play.files.clone().unwrap().watchers;
    reload(&mut play, watchers, vec![socket("a", 99), socket("b", 2)]);
    check(&play.take(), &["read config", "reply 2: ok {}"]);
}

#[test]
fn a_socket_that_cannot_move_costs_a_message_and_no_watcher() {
    let user = WatcherConfig { use_sockets: true, ..watcher("user") };
    let mut play = play(vec![user.clone()]);
    play.take();
    let reply = reload(&mut play, vec![user, watcher("new")], vec![socket("a", 99), socket("b", 2)]);
    let (job, _) = asked(&mut play);
    let sockets = Some(vec![bound(socket("a", 1), 7), bound(socket("b", 2), 8)]);
    play.input(Input::SocketsChanged { job, sockets, errors: vec!["taken".to_owned()] });
    assert_eq!(play.living("user").len(), 1);
    assert_eq!(play.living("new").len(), 0);
    let refusal = refusal(&play.replies[&reply]);
    assert!(refusal.to_string().contains("taken") && refusal.errno().get() == 6, "{refusal}");
}

#[test]
fn what_can_change_in_place_and_what_is_new_touch_nobody() {
    let user = WatcherConfig { use_sockets: true, ..watcher("user") };
    let mut play = play(vec![user.clone()]);
    play.take();
    let louder = SocketConfig { backlog: 1, ..socket("a", 1) };
    reload(&mut play, vec![user], vec![louder.clone(), socket("b", 2), socket("c", 3)]);
    check(&play.take(), &["read config", "sockets 2"]);
    let (job, changes) = asked(&mut play);
    assert_eq!(changes, [SocketChange::Adjust(louder), SocketChange::Add(socket("c", 3))]);
    play.input(Input::SocketsChanged { job, sockets: None, errors: vec![] });
    check(&play.take(), &["reply 1: ok {}"]);
}

#[test]
fn a_socket_that_somebody_still_names_cannot_go() {
    let user = WatcherConfig { cmd: "prog $(circus.sockets.a)".to_owned(), ..watcher("user") };
    let mut play = play(vec![user.clone()]);
    play.take();
    let reply = reload(&mut play, vec![user], vec![socket("b", 2)]);
    let text = refusal(&play.replies[&reply]).to_string();
    assert!(text.contains("'user' uses the socket 'a'"), "{text}");
    assert_eq!(play.living("user"), [101]);
    assert!(play.asked.is_empty());
}

#[test]
fn a_configuration_that_comes_during_a_change_waits_for_it() {
    let user = WatcherConfig { use_sockets: true, ..watcher("user") };
    let mut play = play(vec![user.clone()]);
    play.take();
    reload(&mut play, vec![user.clone()], vec![socket("a", 1)]);
    let (job, changes) = asked(&mut play);
    assert_eq!(changes, [SocketChange::Remove("b".to_owned())]);
    reload(&mut play, vec![user.clone()], vec![socket("a", 1), socket("b", 2)]);
    assert!(play.asked.is_empty());
    play.input(Input::SocketsChanged { job, sockets: Some(vec![bound(socket("a", 1), 7)]), errors: vec![] });
    let (job, changes) = asked(&mut play);
    assert_eq!(changes, [SocketChange::Add(socket("b", 2))]);
    let sockets = Some(vec![bound(socket("a", 1), 7), bound(socket("b", 2), 8)]);
    play.input(Input::SocketsChanged { job, sockets, errors: vec![] });
    assert_eq!(play.replies.len(), 2);
    assert_eq!(play.living("user").len(), 1);
}

#[test]
fn a_stop_during_a_change_is_the_newest_wish() {
    let user = WatcherConfig { use_sockets: true, ..watcher("user") };
    let mut play = play(vec![user.clone()]);
    play.take();
    reload(&mut play, vec![user], vec![socket("a", 1)]);
    let (job, _) = asked(&mut play);
    play.ask(Command::Stop(named("user")));
    play.input(Input::SocketsChanged { job, sockets: Some(vec![bound(socket("a", 1), 7)]), errors: vec![] });
    assert_eq!(play.living("user").len(), 0);
    assert_eq!(play.replies.len(), 2);
}

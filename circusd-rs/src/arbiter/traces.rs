//! Policy, pinned: script in, trace out. One test for each row of circus' table of event sequences and
//! for each quirk that is done better.

use circus_protocol::command::{Adjust, Command, Kill, Reload, Set};
use circus_protocol::number::Signal;
use serde_json::{Value, json};

use crate::arbiter::input::{Input, Interrupt};
use crate::arbiter::play::{Manners, POLITE, Play, at_once, body, everything, named, of, refusal, watcher};
use crate::config::{Config, WatcherConfig};

/// Compares traces without their indentation.
#[track_caller]
fn check(actual: &str, expected: &str) {
    let tidy = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    assert_eq!(tidy(actual), tidy(expected), "\n{actual}");
}

/// Only what is published.
fn events(play: &mut Play) -> String {
    let trace = play.take();
    let published = trace.lines().filter(|line| !line.starts_with(' ') && !line.starts_with("reply"));
    published.map(|line| format!("{line}\n")).collect()
}

const STUBBORN: Manners = Manners { stubborn: true, ..POLITE };
const MISSING: Manners = Manners { missing: true, ..POLITE };
const LINGERS: Manners = Manners { lingers: true, ..POLITE };

// ---- start ----

#[test]
fn start_spawns_all_then_says_start() {
    let mut play = Play::idle(vec![of("One Two", 2)]);
    play.start_up();
    check(&play.take(), "one_two spawn 101\none_two spawn 102\none_two start");
}

#[test]
fn stop_then_start_answers_with_pids() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(Command::Stop(named("ONE")));
    check(
        &play.take(),
        r#"one kill 101
           one kill 102
           one reap 101 -15
           one reap 102 -15
           one stop
           reply 1: ok {"info":null}"#
            .replace("one kill 101", "signal 15 101 Process\none kill 101")
            .replace("one kill 102", "signal 15 102 Process\none kill 102")
            .as_str(),
    );
    play.ask(Command::Start(named("one")));
    check(
        &play.take(),
        r#"one spawn 103
           one spawn 104
           one start
           reply 2: ok {"info":{"started":[103,104],"kept":[]}}"#,
    );
    play.ask(Command::Start(named("one")));
    check(&play.take(), r#"reply 3: ok {"info":{"started":[],"kept":[103,104]}}"#);
}

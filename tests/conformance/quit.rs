//! `quit`, and the signals that mean the same.

use circus_tests::daemon::{alive, descendants};
use circus_tests::script::agree;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::CALM;

#[test]
fn waiting() {
    agree(CALM, |s| {
        s.call("quit", json!({"waiting": true}));
        let mut events: Vec<String> = Vec::new();
        while events.iter().filter(|topic| topic.ends_with(".stop")).count() < 2 {
            events.push(s.wire.event_within(circus_tests::wait::PATIENCE).expect("an event").0);
        }
        // Kills go out in order; a quick death may be noticed between two of them, and which watcher
        // is done first is nobody's choice.
        let kills: Vec<_> = events.iter().filter(|topic| topic.ends_with(".kill")).cloned().collect();
        s.note("killed in order", kills.join(" "));
        for watcher in ["watcher.one.", "watcher.two_words."] {
            let own: Vec<_> = events.iter().filter_map(|topic| topic.strip_prefix(watcher)).collect();
            s.note(watcher, own.join(" "));
        }
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
    });
}

#[test]
fn not_waiting() {
    agree(CALM, |s| {
        let family = descendants(s.daemon.pid());
        s.call("quit", json!({}));
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
        s.note("processes after", family.iter().filter(|pid| alive(**pid)).count());
    });
}

#[test]
fn in_order_of_priority() {
    let ini = "\
[circus]
check_delay = 600
pidfile = {dir}/pid
[watcher:a]
cmd = sleep 1000
priority = 3
[watcher:b]
cmd = sleep 1000
priority = -1
[watcher:c]
cmd = sleep 1000
";
    agree(ini, |s| {
        let pidfile = s.daemon.dir().join("pid");
        let text = std::fs::read_to_string(&pidfile).expect("a pid file");
        s.note("pid file is right", text == format!("{}\n", s.daemon.pid()));
        s.call("quit", json!({"waiting": true}));
        let mut kills = Vec::new();
        let mut stops = 0;
        while stops < 3 {
            let (topic, _) = s.wire.event_within(circus_tests::wait::PATIENCE).expect("an event");
            stops += usize::from(topic.ends_with(".stop"));
            if topic.ends_with(".kill") {
                kills.push(topic);
            }
        }
        s.note("killed in order", kills.join(" "));
        s.daemon.wait();
        s.note("pid file is there", pidfile.exists());
    });
}

#[test]
fn by_signal_and_nobody_is_left() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        agree(CALM, |s| {
            let family = descendants(s.daemon.pid());
            s.note("processes before", family.len());
            s.daemon.signal(signal);
            let status = s.daemon.wait();
            s.note("exit status", format!("{:?}", status.code()));
            s.note("processes after", family.iter().filter(|pid| alive(**pid)).count());
        });
    }
}

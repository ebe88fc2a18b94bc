//! start, stop, restart, reload, quit, and the events each of them makes.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn stop_and_start_one() {
    agree(THREE, |s| {
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.events_until("watcher.one.stop");
        s.call("status", json!({"name": "one"}));
        s.call("list", json!({"name": "one"}));
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.no_event();
        s.call("start", json!({"name": "ONE", "waiting": true}));
        s.events_until("watcher.one.start");
        s.call("start", json!({"name": "one", "waiting": true}));
        s.no_event();
    });
}

#[test]
fn replies_without_waiting_leave_after_the_first_step() {
    agree(THREE, |s| {
        s.call("start", json!({"name": "three"}));
        s.events_until("watcher.three.start");
        s.call("list", json!({"name": "three"}));
        s.call("stop", json!({"name": "three"}));
        s.events_until("watcher.three.stop");
        s.call("status", json!({"name": "three"}));
    });
}

#[test]
fn restart_one() {
    agree(THREE, |s| {
        s.call("restart", json!({"name": "one", "waiting": true}));
        s.events_until("watcher.one.start");
        s.call("restart", json!({"name": "three", "waiting": true}));
        s.events_until("watcher.three.start");
    });
}

#[test]
fn patterns() {
    agree(THREE, |s| {
        s.call("stop", json!({"name": "t*", "waiting": true}));
        s.events_until("watcher.two_words.stop");
        s.call("status", json!({}));
        s.call("start", json!({"name": "T[wh]*", "waiting": true}));
        s.events_until("watcher.two_words.start");
        s.call("status", json!({}));
        s.call("stop", json!({"name": "two", "match": "regex", "waiting": true}));
        s.events_until("watcher.two_words.stop");
        s.call("stop", json!({"name": "wo", "match": "regex"}));
        s.call("stop", json!({"name": "two words", "match": "simple", "waiting": true}));
        s.call("stop", json!({"name": "two*", "match": "simple"}));
        s.call("stop", json!({"name": "two*", "match": "zorg"}));
        s.call("start", json!({"name": "nomatch*"}));
    });
}

#[test]
fn nameless_start_leaves_autostart_false_alone() {
    agree(THREE, |s| {
        s.call("stop", json!({"waiting": true}));
        s.call("status", json!({}));
        s.skip_events();
        s.call("start", json!({"waiting": true}));
        s.call("status", json!({}));
        s.call("start", json!({"name": "three", "waiting": true}));
        s.call("status", json!({}));
    });
}

#[test]
fn reload_graceful_and_sequential() {
    agree(THREE, |s| {
        s.call("reload", json!({"name": "one", "waiting": true}));
        s.events_until("watcher.one.reload");
        s.call("reload", json!({"name": "one", "sequential": true, "waiting": true}));
        s.events_until("watcher.one.reload");
        s.call("reload", json!({"name": "one", "graceful": false, "waiting": true}));
        s.events_until("watcher.one.start");
        s.call("reload", json!({"name": "three", "waiting": true}));
        s.events_until("watcher.three.reload");
        s.call("reload", json!({"name": "t*"}));
    });
}

#[test]
fn stubborn_process_is_killed_at_the_deadline() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 1
";
    agree(ini, |s| {
        // Until its handler is in place the child would die of the first signal.
        s.wait_for("the child to be ready", "list", &json!({"name": "deaf"}), |reply| {
            reply["pids"][0].as_i64().is_some_and(ignores_term)
        });
        s.call("stop", json!({"name": "deaf", "waiting": true}));
        s.events_until("watcher.deaf.stop");
    });
}

fn ignores_term(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| {
        text.lines()
            .filter_map(|line| line.strip_prefix("SigIgn:\t"))
            .filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .any(|mask| mask & (1 << 14) != 0)
    })
}

#[test]
fn program_that_is_missing() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:gone]
cmd = /no/such/program
autostart = False
";
    agree(ini, |s| {
        s.call("start", json!({"name": "gone", "waiting": true}));
        s.events_until("watcher.gone.stop");
        s.call("status", json!({"name": "gone"}));
    });
}

#[test]
fn respawn_after_a_death() {
    agree(THREE, |s| {
        let reply = s.call("list", json!({"name": "two words"}));
        s.call("signal", json!({"name": "two words", "pid": reply["pids"][0], "signum": 9}));
        s.events_until("watcher.two_words.spawn");
        s.call("list", json!({"name": "two words"}));
        s.call("status", json!({"name": "two words"}));
    });
}

#[test]
fn without_respawn_the_watcher_stops() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:once]
cmd = sleep 1000
respawn = False
";
    agree(ini, |s| {
        s.call("signal", json!({"name": "once", "signum": "term"}));
        s.events_until("watcher.once.stop");
        s.call("status", json!({"name": "once"}));
    });
}

#[test]
fn quit_ends_with_zero() {
    agree(THREE, |s| {
        s.call("quit", json!({"waiting": true}));
        s.events_until("watcher.two_words.stop");
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
    });
}

#[test]
fn sigterm_ends_with_zero_and_leaves_nobody() {
    agree(THREE, |s| {
        let family = circus_tests::daemon::descendants(s.daemon.pid());
        s.note("processes before", family.len());
        s.daemon.signal(nix::sys::signal::Signal::SIGTERM);
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
        s.note("processes after", family.iter().filter(|pid| circus_tests::daemon::alive(**pid)).count());
    });
}

#[test]
fn priority_orders_start_and_stop() {
    let ini = "\
[circus]
check_delay = 0.5
[watcher:a]
cmd = sleep 1000
priority = 1
[watcher:b]
cmd = sleep 1000
priority = 3
[watcher:c]
cmd = sleep 1000
priority = 2
";
    agree(ini, |s| {
        s.call("stop", json!({"waiting": true}));
        let mut kills = Vec::new();
        while let Some((topic, _)) = s.wire.event_within(std::time::Duration::from_millis(500)) {
            if topic.ends_with(".kill") {
                kills.push(topic);
            }
        }
        s.note("killed in order", kills.join(" "));
        s.call("start", json!({"waiting": true}));
        s.events_until("watcher.a.start");
    });
}

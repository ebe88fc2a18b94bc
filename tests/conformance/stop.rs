//! `stop`.

use circus_tests::script::agree;
use serde_json::json;

use crate::{CALM, minds_term, wait_for_a_child};

#[test]
fn one() {
    agree(CALM, |s| {
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.events();
        s.call("status", json!({"name": "one"}));
        s.call("list", json!({"name": "one"}));
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.call("stop", json!({"name": "one"}));
        s.events();
        s.call("start", json!({"name": "ONE", "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "one"}));
        s.wait_event("watcher.one.stop");
        s.call("status", json!({"name": "one"}));
    });
}

#[test]
fn several() {
    agree(CALM, |s| {
        s.call("stop", json!({"name": "t*", "waiting": true}));
        s.events_by_watcher();
        s.call("status", json!({}));
        s.call("start", json!({"name": "T[wh]*", "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "two", "match": "regex", "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "wo", "match": "regex"}));
        s.call("stop", json!({"name": "two words", "match": "simple", "waiting": true}));
        s.call("stop", json!({"name": "two*", "match": "simple"}));
        s.call("stop", json!({"name": "two*", "match": "zorg"}));
        s.call("stop", json!({"name": "nope"}));
        s.call("start", json!({"name": "three", "waiting": true}));
        s.call("stop", json!({"waiting": true}));
        s.call("status", json!({}));
        s.call("numprocesses", json!({}));
    });
}

#[test]
fn stubborn_process_is_killed_at_the_deadline() {
    let ini = "\
[circus]
check_delay = 600
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 1
[watcher:hasty]
cmd = {mischief} ignore-term
graceful_timeout = 0
[watcher:late]
cmd = {mischief} slow 1
graceful_timeout = 15
";
    agree(ini, |s| {
        crate::wait_until_ready(s, "late");
        for name in ["deaf", "hasty"] {
            // Until its handler is in place the child would die of the first signal.
            s.wait_for("the child to be ready", "list", &json!({"name": name}), |reply| {
                reply["pids"][0].as_i64().is_some_and(minds_term)
            });
        }
        for name in ["deaf", "hasty", "late"] {
            s.call("stop", json!({"name": name, "waiting": true}));
            s.events();
        }
    });
}

#[test]
fn stop_signal_and_children() {
    let ini = "\
[circus]
check_delay = 600
[watcher:int]
cmd = sleep 1000
stop_signal = INT
[watcher:parent]
cmd = {mischief} with-child
stop_children = True
graceful_timeout = 5
";
    agree(ini, |s| {
        s.call("stop", json!({"name": "int", "waiting": true}));
        s.events();
        let reply = wait_for_a_child(s, "parent");
        let children: Vec<i64> = reply["info"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, one)| one["children"][0]["pid"].as_i64())
            .collect();
        s.call("list", json!({"name": "parent"}));
        s.call("stop", json!({"name": "parent", "waiting": true}));
        // Stock looks for children when the parent has been told, and mostly it is dead by then: it
        // finds none. On a busy machine it finds them now and then, and tells a kill more.
        s.events_differ("D35");
        s.note("children", children.len());
        let alive = |pid: &&i64| circus_tests::daemon::alive(i32::try_from(**pid).unwrap_or(0));
        if s.flavor() == circus_tests::daemon::Flavor::Ours {
            let gone = || children.iter().all(|pid| !alive(&pid)).then_some(());
            circus_tests::wait::until("the child's end", gone);
        }
        s.note_differs("D35", "children left", children.iter().filter(alive).count());
    });
}

#[test]
fn one_of_two_is_dead_already() {
    agree(CALM, |s| {
        s.call("set", json!({"name": "one", "options": {"numprocesses": 2}, "waiting": true}));
        s.skip_events();
        let reply = s.call("list", json!({"name": "one"}));
        s.call("signal", json!({"name": "one", "pid": reply["pids"][0], "signum": "KILL"}));
        let pid = i32::try_from(reply["pids"][0].as_i64().expect("a pid")).expect("a pid fits");
        circus_tests::wait::until("the death", || (!circus_tests::daemon::alive(pid)).then_some(()));
        // Stock finds it dead only now; we have replaced it by then.
        let list = s.wire.ask("list", &json!({"name": "one"}));
        s.note_differs("D21", "processes", list);
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.events_differ("D21");
        s.call("status", json!({"name": "one"}));
    });
}

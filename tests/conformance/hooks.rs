//! Hooks: every point with every outcome, what a hook is told, and the events around it.

use circus_tests::script::{Session, agree};
use serde_json::json;

/// The functions that the watchers below name.
const MODULE: &str = r#"
import os


def yes(watcher, arbiter, hook_name, **extra):
    return True


def no(watcher, arbiter, hook_name, **extra):
    return False


def forgets(watcher, arbiter, hook_name, **extra):
    pass


def boom(watcher, arbiter, hook_name, **extra):
    raise ValueError("boom!")


def note(watcher, arbiter, hook_name, **extra):
    told = ["%s=%s" % (k, type(v).__name__ if "pid" in k or k == "time" else v) for k, v in sorted(extra.items())]
    with open(watcher.env["NOTES"], "a") as notes:
        notes.write("%s %s %s %s\n" % (hook_name, watcher.name, watcher.numprocesses, " ".join(told)))
    return True


def edit(watcher, arbiter, hook_name, pid, stats):
    stats["edited"] = "%s %s" % (hook_name, pid == stats["pid"])
    stats.pop("cmdline")
"#;

/// A daemon with the module where PYTHONPATH leads, and a watcher that only marks the end of a part.
fn ini(watchers: &str) -> (String, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("marks.py"), MODULE).expect("the module is written");
    let path = directory.path().to_str().expect("a plain path");
    let head = format!(
        "[circus]\ncheck_delay = 0.5\n\n[env:*]\nPYTHONPATH = {path}\nNOTES = {path}/notes\n\n\
         [watcher:mark]\ncmd = sleep 1000\nautostart = False\n\n"
    );
    (head + watchers, directory)
}

/// Everything published so far.
fn events(s: &mut Session) {
    s.wire.call("set", &json!({"name": "mark", "options": {"send_hup": false}, "waiting": true}));
    s.events_until("watcher.mark.updated");
}

fn watcher(name: &str, hooks: &[(&str, &str)]) -> String {
    let hooks: String = hooks.iter().map(|(hook, value)| format!("hooks.{hook} = {value}\n")).collect();
    format!("[watcher:{name}]\ncmd = sleep 1000\nautostart = False\ngraceful_timeout = 3\n{hooks}\n")
}

/// Starts and stops one watcher, with all that is published.
fn round(s: &mut Session, name: &str) {
    s.note("watcher", name);
    let reply = s.wire.call("start", &json!({"name": name, "waiting": true}));
    s.note("start", &reply["status"]);
    s.note("started", reply["info"]["started"].as_array().map_or(0, Vec::len));
    s.call("status", json!({"name": name}));
    s.call("stop", json!({"name": name, "waiting": true}));
    s.call("status", json!({"name": name}));
    events(s);
}

const POINTS: [&str; 10] = [
    "before_start",
    "after_start",
    "before_spawn",
    "after_spawn",
    "before_stop",
    "after_stop",
    "before_signal",
    "after_signal",
    "before_reap",
    "after_reap",
];

/// Each point alone, with this hook.
fn each(value: &str) {
    let watchers: String = POINTS.iter().map(|point| watcher(point, &[(point, value)])).collect();
    let (ini, _module) = ini(&watchers);
    agree(&ini, |s| {
        for point in POINTS {
            round(s, point);
        }
    });
}

#[test]
fn each_says_no() {
    each("marks.no");
}

#[test]
fn each_raises() {
    each("marks.boom");
}

#[test]
fn each_raises_and_is_forgiven() {
    each("marks:boom, True");
}

#[test]
fn all_in_their_order_with_what_they_are_told() {
    let hooks: Vec<(&str, &str)> = POINTS.iter().map(|point| (*point, "marks.note")).collect();
    let (ini, module) = ini(&watcher("all", &hooks).replace("autostart", "numprocesses = 2\nautostart"));
    agree(&ini, |s| {
        let notes = module.path().join("notes");
        let _none = std::fs::remove_file(&notes);
        round(s, "all");
        s.wire.call("start", &json!({"name": "all", "waiting": true}));
        s.call("decr", json!({"name": "all", "waiting": true}));
        events(s);
        s.call("signal", json!({"name": "all", "signum": 9}));
        s.events_until("watcher.all.spawn");
        s.call("restart", json!({"name": "all", "match": "simple", "waiting": true}));
        s.call("reload", json!({"name": "all", "waiting": true}));
        events(s);
        s.call("reload", json!({"name": "all", "sequential": true, "waiting": true}));
        events(s);
        s.note("notes", std::fs::read_to_string(&notes).expect("the hooks took notes"));
    });
}

#[test]
fn a_hook_that_forgets_to_answer_blocks_the_start() {
    let (ini, _module) = ini(&watcher("one", &[("before_start", "marks.forgets")]));
    agree(&ini, |s| round(s, "one"));
}

#[test]
fn a_reload_goes_on_without_those_that_hooks_refuse() {
    let (ini, _module) = ini(&watcher("one", &[("before_spawn", "marks.yes"), ("after_spawn", "marks.yes")]));
    agree(&ini, |s| {
        s.wire.call("start", &json!({"name": "one", "waiting": true}));
        s.call("set", json!({"name": "one", "options": {"hooks.after_spawn": "marks.no"}, "waiting": true}));
        s.call("reload", json!({"name": "one", "waiting": true}));
        s.call("set", json!({"name": "one", "options": {"hooks.before_spawn": "marks.no"}, "waiting": true}));
        s.call("reload", json!({"name": "one", "waiting": true}));
        s.call("status", json!({"name": "one"}));
        events(s);
    });
}

#[test]
fn extended_stats_are_edited() {
    let (ini, _module) = ini(&[
        watcher("one", &[("extended_stats", "marks.edit")]),
        watcher("two", &[("extended_stats", "marks.boom")]),
    ]
    .concat());
    agree(&ini, |s| {
        for name in ["one", "two"] {
            s.wire.call("start", &json!({"name": name, "waiting": true}));
            let pid = s.wire.call("list", &json!({"name": name}))["pids"][0].clone();
            s.call("stats", json!({"name": name}));
            s.call("stats", json!({"name": name, "process": pid}));
            if name == "one" {
                s.call("stats", json!({"name": name, "process": pid, "extended": true}));
            }
            s.call("stats", json!({"name": name, "extended": true}));
        }
        events(s);
    });
}

#[test]
fn hooks_are_set_and_added() {
    let (ini, module) = ini(&watcher("one", &[]));
    agree(&ini, |s| {
        let path = module.path().to_str().expect("a plain path");
        for options in [
            json!({"hooks": {"before_start": "marks.no"}}),
            json!({"hooks.before_start": "marks.boom,true"}),
            json!({"hooks.before_start": "marks:yes", "hooks.after_stop": "marks.yes"}),
        ] {
            s.call("set", json!({"name": "one", "options": options, "waiting": true}));
            round(s, "one");
        }
        s.call_differs(
            "D30",
            "set",
            json!({"name": "one", "options": {"hooks.before_stop": "nowhere.hook"}}),
        );
        let env = json!({"PYTHONPATH": path});
        for (name, hooks) in [
            ("with", json!({"before_start": ["marks.yes", false], "after_stop": ["marks.boom", true]})),
            ("against", json!({"before_start": ["marks.no", false]})),
        ] {
            let options = json!({"hooks": hooks, "env": env});
            let added = json!({"name": name, "cmd": "sleep 1000", "options": options, "start": true, "waiting": true});
            s.call("add", added);
            round(s, name);
        }
        let options = json!({"hooks": {"before_start": ["nowhere.hook", false]}});
        s.call_differs("D30", "add", json!({"name": "bad", "cmd": "sleep 1000", "options": options}));
        s.call("list", json!({}));
    });
}

#[test]
fn a_hook_that_cannot_be_imported_drops_its_watcher() {
    let (ini, _module) = ini(&[
        watcher("one", &[("before_start", "marks.yes")]),
        watcher("two", &[("before_start", "nowhere.hook")]),
        watcher("three", &[("before_start", "marks:nothing")]),
    ]
    .concat());
    agree(&ini, |s| {
        s.call("list", json!({}));
        assert!(s.daemon.log().contains("Failed to create watcher"), "{}", s.daemon.log());
        s.call_differs("D31", "reloadconfig", json!({"waiting": true}));
        s.call("list", json!({}));
    });
}

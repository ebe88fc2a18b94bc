//! `start`, and how `start`, `stop` and `restart` choose watchers.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn one() {
    agree(CALM, |s| {
        s.call("start", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("start", json!({"name": "THREE", "waiting": true}));
        s.events();
        s.call("start", json!({"name": "one"}));
        s.events();
        s.call("stop", json!({"name": "three", "waiting": true}));
        s.skip_events();
        s.call("start", json!({"name": "three"}));
        s.wait_event("watcher.three.start");
        s.call("list", json!({"name": "three"}));
        s.call("status", json!({"name": "three"}));
    });
}

#[test]
fn several_leave_autostart_false_alone() {
    agree(CALM, |s| {
        s.call("stop", json!({"waiting": true}));
        s.call("status", json!({}));
        s.skip_events();
        s.call("start", json!({"waiting": true}));
        s.events();
        s.call("status", json!({}));
        s.call("stop", json!({"waiting": true}));
        s.skip_events();
        s.call("start", json!({"name": "t*", "waiting": true}));
        s.events();
        s.call("status", json!({}));
        s.call("start", json!({"name": "t*", "waiting": true}));
        s.call("start", json!({"waiting": true}));
        s.events();
        s.call("start", json!({"name": "three", "waiting": true}));
        s.call("status", json!({}));
    });
}

#[test]
fn patterns() {
    let ini = "\
[circus]
check_delay = 600
[watcher:web1]
cmd = sleep 1000
autostart = False
[watcher:web2]
cmd = sleep 1000
autostart = False
[watcher:Xeb]
cmd = sleep 1000
autostart = False
[watcher:br[1]]
cmd = sleep 1000
autostart = False
";
    agree(ini, |s| {
        for (name, matching) in [
            ("web1", "simple"),
            ("WEB2", "simple"),
            ("web*", "simple"),
            ("web[2-9]", "glob"),
            ("WEB?", "glob"),
            ("web[!1]", "glob"),
            ("eb", "glob"),
            ("x*", "glob"),
            ("*", "glob"),
            ("br[1]", "glob"),
            ("br[[]1]", "glob"),
            ("br[1]", "simple"),
            ("web", "regex"),
            ("web1", "regex"),
            ("eb", "regex"),
            ("x|y", "regex"),
            ("web2$", "regex"),
            (r"\S+", "regex"),
            (r"w\wb1", "regex"),
            ("", "regex"),
            ("", "glob"),
            ("", "simple"),
        ] {
            // A stop of what is stopped shows who was chosen by the shape of the answer alone.
            s.call("stop", json!({"name": name, "match": matching, "waiting": true}));
        }
        for matching in [json!("zorg"), json!(""), json!(null), json!("GLOB"), json!(5), json!([])] {
            s.call("start", json!({"name": "web1", "match": matching}));
        }
        s.call("start", json!({"match": "zorg", "name": "nomatch"}));
        s.call("start", json!({"name": "nomatch*"}));
        s.call("start", json!({"name": "NoMatch", "waiting": true}));
        s.call("start", json!({"name": 5}));
        s.call("start", json!({"name": null}));
        s.call("start", json!({"name": ["web1"]}));
        s.call_differs("D24", "start", json!({"name": "(", "match": "regex"}));
        s.call("start", json!({"name": "web2$", "match": "regex", "waiting": true}));
        s.call("start", json!({"name": "web[1]", "match": "glob", "waiting": true}));
        s.call("status", json!({}));
    });
}

#[test]
fn what_cannot_be_started() {
    let ini = "\
[circus]
check_delay = 600
[watcher:gone]
cmd = /no/such/program
autostart = False
[watcher:here]
cmd = sleep 1000
working_dir = /no/such/directory
autostart = False
[watcher:none]
cmd = sleep 1000
numprocesses = 0
autostart = False
[watcher:never]
cmd = sleep 1000
max_retry = 0
autostart = False
[watcher:nobody]
cmd = sleep 1000
uid = 4294967000
autostart = False
[watcher:demand]
cmd = sleep 1000
on_demand = True
[watcher:relative]
cmd = ./prog
working_dir = {dir}
autostart = False
";
    agree(ini, |s| {
        for name in ["gone", "here", "none", "never"] {
            s.call("start", json!({"name": name, "waiting": true}));
            s.events();
            s.call("status", json!({"name": name}));
        }
        s.call("incr", json!({"name": "none", "waiting": true}));
        s.call("status", json!({"name": "none"}));
        s.call("start", json!({"name": "none", "waiting": true}));
        s.events();
        s.call("start", json!({"name": "demand", "waiting": true}));
        s.events();
        s.call("status", json!({"name": "demand"}));
        s.call("start", json!({"name": "relative", "waiting": true}));
        let program = s.daemon.dir().join("prog");
        std::os::unix::fs::symlink("/bin/sleep", &program).expect("a link");
        s.call("set", json!({"name": "relative", "options": {"args": "1000"}}));
        s.skip_events();
        s.call("start", json!({"name": "relative", "waiting": true}));
        s.events();
    });
}

#[test]
fn priorities_order_it() {
    let ini = "\
[circus]
check_delay = 600
[watcher:a]
cmd = sleep 1000
priority = 1
[watcher:b]
cmd = sleep 1000
priority = 3
[watcher:c]
cmd = sleep 1000
priority = 2
[watcher:d]
cmd = sleep 1000
priority = 3
";
    agree(ini, |s| {
        s.call("status", json!({}));
        s.call("stop", json!({"waiting": true}));
        let kills: Vec<String> = s
            .wire
            .events_so_far()
            .into_iter()
            .map(|(topic, _)| topic)
            .filter(|t| t.ends_with(".kill"))
            .collect();
        s.note("killed in order", kills.join(" "));
        s.call("start", json!({"waiting": true}));
        s.events();
        s.call("reload", json!({"waiting": true}));
        s.events();
    });
}

//! `ready`, `after` and `conflicts` are ours; stock has nothing to compare with, so circusd-rs runs
//! alone. What happens is decided by files that the script makes: nothing here depends on time.

use circus_tests::script::{Session, alone};
use circus_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};

const NODE: &str = "\
[circus]
check_delay = 1
[watcher:db]
cmd = sh -c 'echo $$ > {dir}/db.pid; exec sleep 1000'
autostart = False
[watcher:app]
cmd = sleep 1000
autostart = False
[watcher:rival]
cmd = sleep 1000
autostart = False
[watcher:plain]
cmd = sleep 1000
[service:db]
home = {dir}
conflicts = rival
remove_before_start = stale.pid
[probe:db:up]
exec = test -e {dir}/up
interval = 0.1
[probe:db:joined]
exec = test -e {dir}/joined
interval = 0.1
[service:app]
after = db:joined
";

fn touch(s: &Session, name: &str) {
    std::fs::write(s.daemon.dir().join(name), "").expect("a file is made");
}

/// The answer once it says that of that watcher.
fn until_state(s: &mut Session, name: &str, state: &str) -> Value {
    until(&format!("{name} to be {state}"), || {
        let reply = s.wire.ask("ready", &json!({"name": name}));
        (reply["watchers"][name]["state"] == state).then_some(reply)
    })
}

fn status(s: &mut Session, name: &str) -> Value {
    s.wire.ask("status", &json!({"name": name}))
}

#[test]
fn services_start_in_their_order_and_say_how_far_they_are() {
    alone(NODE, |s| {
        touch(s, "stale.pid");
        let hello = s.wire.ask("hello", &json!({}));
        assert!(hello["extensions"].as_array().expect("a list").contains(&json!("ready")), "{hello}");
        assert_eq!(s.wire.ask("start", &json!({"name": "app"}))["status"], "ok");
        let reply = until_state(s, "app", "starting");
        let detail = &reply["watchers"]["app"]["detail"];
        assert_eq!(detail, "waits for db:joined, which is starting", "{reply}");
        let waiting = status(s, "app");
        assert_eq!((&waiting["status"], &waiting["waiting_for"]), (&json!("stopped"), &json!("order")));
        assert!(!s.daemon.dir().join("stale.pid").exists(), "it went before the start");
        until("a probe that was asked", || {
            let reply = s.wire.ask("ready", &json!({"name": "db"}));
            let detail = reply["watchers"]["db"]["detail"].as_str().unwrap_or_default().to_owned();
            detail.ends_with("exec test: exit status 1").then_some(())
        });
        touch(s, "up");
        let reply = until_state(s, "db", "up");
        assert_eq!(reply["ready"], false, "it has still to join: {reply}");
        assert_eq!(status(s, "app")["status"], "stopped");
        touch(s, "joined");
        let patience = PATIENCE.as_secs();
        let reply = s.wire.ask("ready", &json!({"name": "[ad]*", "wait": patience}));
        assert_eq!(reply["ready"], true, "{reply}");
        assert_eq!(reply["watchers"]["db"]["state"], "joined");
        assert_eq!(reply["watchers"]["app"]["state"], "up");
        let told: Vec<(String, Value)> = s.wire.events_so_far();
        let told = told.iter().filter(|(topic, _)| topic.ends_with(".ready"));
        let told: Vec<String> = told
            .map(|(topic, event)| format!("{topic} {}", event["state"].as_str().unwrap_or("?")))
            .collect();
        // Only the service with probes has this event (D130).
        assert_eq!(told, ["watcher.db.ready starting", "watcher.db.ready up", "watcher.db.ready joined"]);
    });
}

#[test]
fn who_comes_after_stops_first_and_rivals_do_not_meet() {
    alone(NODE, |s| {
        for flag in ["up", "joined"] {
            touch(s, flag);
        }
        let reply = s.wire.ask("start", &json!({"name": "app", "waiting": true}));
        assert_eq!(reply["status"], "ok", "it waited for db: {reply}");
        let refused = s.wire.ask("start", &json!({"name": "rival"}));
        assert_eq!(refused["errno"], 5);
        assert_eq!(refused["reason"], "'rival' is in conflict with 'db', which runs; stop it first");
        s.wire.events_so_far();
        assert_eq!(s.wire.ask("stop", &json!({"waiting": true}))["status"], "ok");
        let stops: Vec<String> = s.wire.events_so_far().into_iter().map(|(topic, _)| topic).collect();
        let at = |topic: &str| stops.iter().position(|known| known == topic).expect(topic);
        assert!(at("watcher.app.stop") < at("watcher.db.kill"), "{stops:?}");
        assert_eq!(s.wire.ask("start", &json!({"name": "rival"}))["status"], "ok");
        let refused = s.wire.ask("start", &json!({"name": "app"}));
        assert_eq!(refused["errno"], 5, "what it would bring along is refused, too: {refused}");
    });
}

/// A probe that ignores TERM and has a child hangs for ever; nobody else notices.
#[test]
fn a_probe_that_hangs_is_ended_with_its_group() {
    let ini = "\
[circus]
check_delay = 1
[watcher:one]
cmd = sleep 1000
[probe:one:up]
exec = sh -c 'trap \"\" TERM; sleep 1000 & echo $$! >> {dir}/children; wait'
attempt_timeout = 0.5
interval = 0.1
timeout = 1
";
    alone(ini, |s| {
        let reply = until_state(s, "one", "failed");
        let detail = reply["watchers"]["one"]["detail"].as_str().unwrap_or_default();
        assert!(detail.starts_with("not up after 1 s: no answer"), "{reply}");
        s.wire.ask("stop", &json!({"name": "one", "waiting": true}));
        let children = std::fs::read_to_string(s.daemon.dir().join("children")).expect("probes ran");
        for child in children.lines() {
            let child: i32 = child.trim().parse().expect("a pid");
            until("a probe's child to be gone", || (!circus_tests::daemon::alive(child)).then_some(()));
        }
    });
}

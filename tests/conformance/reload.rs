//! `reload`, and SIGHUP.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn every_way() {
    agree(CALM, |s| {
        s.call("reload", json!({"name": "one", "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "one", "sequential": true, "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "ONE", "graceful": false, "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "one", "graceful": 0, "sequential": true, "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "three", "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "three", "waiting": true}));
        s.skip_events();
        s.call("reload", json!({"name": "three", "sequential": true, "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "three", "waiting": true}));
        s.skip_events();
        s.call("reload", json!({"name": "three", "graceful": false, "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "t*"}));
        s.call("reload", json!({"name": "nope"}));
        s.call("reload", json!({"name": 4}));
        s.call("reload", json!({"name": "two words"}));
        s.wait_event("watcher.two_words.reload");
        s.call("list", json!({"name": "two words"}));
        s.call("reload", json!({"name": "two words", "sequential": true}));
        s.wait_event("watcher.two_words.reload");
    });
}

#[test]
fn all_of_them() {
    agree(CALM, |s| {
        s.call("reload", json!({"waiting": true}));
        s.events();
        s.call("status", json!({}));
        s.call("reload", json!({"sequential": true, "waiting": true}));
        s.events();
        s.call("reload", json!({"graceful": false, "waiting": true}));
        s.events();
        s.call("reload", json!({}));
        s.wait_event("watcher.three.reload");
        s.call("status", json!({}));
    });
}

#[test]
fn by_signal() {
    agree(CALM, |s| {
        s.daemon.signal(nix::sys::signal::Signal::SIGHUP);
        s.events_until("watcher.three.reload");
        s.call("status", json!({}));
        s.daemon.signal(nix::sys::signal::Signal::SIGWINCH);
        s.call("numprocesses", json!({}));
    });
}

#[test]
fn who_reloads_itself_and_who_is_alone() {
    let ini = "\
[circus]
check_delay = 600
[watcher:hup]
cmd = {mischief} stubborn
send_hup = True
graceful_timeout = 0
[watcher:alone]
cmd = sleep 1000
singleton = True
[watcher:four]
cmd = sleep 1000
numprocesses = 4
";
    agree(ini, |s| {
        s.wait_for("the child to be ready", "list", &json!({"name": "hup"}), |reply| {
            reply["pids"][0].as_i64().is_some_and(crate::minds_term)
        });
        s.call("list", json!({"name": "hup"}));
        s.call("reload", json!({"name": "hup", "waiting": true}));
        s.events();
        s.call("reload", json!({"name": "hup", "sequential": true, "waiting": true}));
        s.events();
        s.call("list", json!({"name": "hup"}));
        s.call("reload", json!({"name": "alone", "waiting": true}));
        s.events();
        // The worker numbers go up and come down again.
        for _ in 0..3 {
            s.call("reload", json!({"name": "four", "waiting": true}));
            s.events();
            let reply = s.wire.ask("stats", &json!({"name": "four"}));
            let mut wids: Vec<i64> = reply["info"]
                .as_object()
                .expect("four")
                .values()
                .filter_map(|one| one["wid"].as_i64())
                .collect();
            wids.sort_unstable();
            s.note("worker numbers", format!("{wids:?}"));
        }
    });
}

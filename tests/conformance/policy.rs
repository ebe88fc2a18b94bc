//! Restart policies, which stock does not have: what a stock client sees of them, and that they hold
//! with real processes.

use circus_tests::daemon::{built, run};
use circus_tests::script::{Session, agree, alone};
use serde_json::{Value, json};

use crate::CALM;

/// A watcher without a policy shows none; one that was given one shows it, as it shows any key.
#[test]
fn what_circus_does_not_know_is_refused_there_and_taken_here() {
    agree(CALM, |s| {
        s.call("options", json!({"name": "one"}));
        s.call("get", json!({"name": "one", "keys": ["restart"]}));
        s.call_differs("D110", "set", json!({"name": "three", "options": {"restart": "on-failure"}}));
        s.call_differs("D110", "get", json!({"name": "three", "keys": ["restart"]}));
        s.call("set", json!({"name": "three", "options": {"restarts": "on-failure"}}));
        s.call("status", json!({"name": "three"}));
    });
}

fn options(s: &mut Session, name: &str) -> Value {
    s.wire.ask("options", &json!({"name": name}))["options"].clone()
}

#[test]
fn policies_hold_with_real_processes() {
    let ini = "\
[circus]
check_delay = 600
[watcher:done]
cmd = sh -c \"exit 3\"
restart = on-failure
expected_exit_codes = 3, SIGTERM
autostart = False
[watcher:limited]
cmd = sh -c \"exit 4\"
start_limit = 3
start_limit_window = 600
autostart = False
[watcher:slow]
cmd = sh -c \"exit 5\"
backoff = 500
backoff_max = 600
backoff_jitter = 0.5
autostart = False
";
    alone(ini, |s| {
        let start = |s: &mut Session, name: &str| {
            let reply = s.wire.ask("start", &json!({"name": name}));
            assert_eq!(reply["status"], "ok", "{reply}");
        };
        start(s, "done");
        s.wait_event("watcher.done.stop");
        assert_eq!(options(s, "done")["expected_exit_codes"], "3,SIGTERM");
        // Row D111: nothing but the state where circus has a word for it.
        let reply = s.wire.ask("status", &json!({"name": "done"}));
        assert_eq!((&reply["status"], reply.get("why")), (&json!("stopped"), None));

        start(s, "limited");
        s.wait_event("watcher.limited.waiting");
        s.wait_event("watcher.limited.stop");
        let reply = s.wire.ask("status", &json!({"name": "limited"}));
        assert_eq!(
            (&reply["status"], &reply["waiting_for"]),
            (&json!("stopped"), &json!("start")),
            "{reply}"
        );
        assert_eq!(reply["retry_at"], Value::Null);
        let why = reply["why"].as_str().expect("a reason");
        assert!(why.contains("3 times within 600 s") && why.contains("status 4"), "{why}");

        start(s, "slow");
        s.wait_event("watcher.slow.waiting");
        let reply = s.wire.ask("status", &json!({"name": "slow"}));
        assert_eq!(
            (&reply["status"], &reply["waiting_for"]),
            (&json!("active"), &json!("backoff")),
            "{reply}"
        );
        let (at, now) =
            (reply["retry_at"].as_f64().expect("a time"), reply["time"].as_f64().expect("a time"));
        assert!((50.0..=500.5).contains(&(at - now)), "{reply}");
        // Who does not want to wait starts it.
        start(s, "slow");
        s.wait_event("watcher.slow.spawn");
    });
}

#[test]
fn a_bad_policy_is_an_error_of_the_file() {
    let bad = "[watcher:one]\ncmd = sleep 1\nrestart = maybe\nbackoff = 0\nexpected_exit_codes = 0,700\n";
    let file = std::env::temp_dir().join(format!("circus-policy-{}.ini", std::process::id()));
    std::fs::write(&file, bad).expect("a file");
    let (status, _, said) = run(std::process::Command::new(built("circusd-rs")).arg("--check").arg(&file));
    std::fs::remove_file(&file).expect("the file");
    assert_eq!(status, 1, "{said}");
    for expected in [
        ":3: [watcher:one] restart: \"maybe\" is none of always, on-failure, never",
        ":4: [watcher:one] backoff: 0 is not between 0.01 and 31536000 seconds",
        ":5: [watcher:one] expected_exit_codes: \"700\" is no exit status",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

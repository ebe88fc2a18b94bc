//! `status`.

use circus_tests::script::agree;
use serde_json::json;

use crate::{CALM, minds_term};

#[test]
fn all_and_one() {
    agree(CALM, |s| {
        s.call("status", json!({}));
        for name in ["one", "Three", "nope", "two*", "TWO WORDS", ""] {
            s.call("status", json!({"name": name}));
        }
        for name in [json!(5), json!(null), json!([])] {
            s.call("status", json!({"name": name}));
        }
        s.call("stop", json!({"name": "one", "waiting": true}));
        s.call("status", json!({"name": "one"}));
        s.call("add", json!({"name": "Last", "cmd": "sleep 1000"}));
        s.call("status", json!({}));
    });
}

#[test]
fn on_the_way() {
    let ini = "\
[circus]
check_delay = 600
[watcher:deaf]
cmd = {mischief} ignore-term
graceful_timeout = 4
[watcher:slow]
cmd = sleep 1000
numprocesses = 2
warmup_delay = 4
autostart = False
";
    agree(ini, |s| {
        s.wait_for("the child to be ready", "list", &json!({"name": "deaf"}), |reply| {
            reply["pids"][0].as_i64().is_some_and(minds_term)
        });
        s.call("start", json!({"name": "slow"}));
        s.call("status", json!({}));
        s.wait_for("the start", "status", &json!({"name": "slow"}), |reply| reply["status"] == "active");
        s.call("stop", json!({"name": "deaf"}));
        s.call("status", json!({}));
        s.wait_for("the stop", "status", &json!({"name": "deaf"}), |reply| reply["status"] == "stopped");
        s.call("status", json!({}));
    });
}

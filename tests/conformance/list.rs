//! `list`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn names_and_pids() {
    agree(CALM, |s| {
        s.call("list", json!({}));
        for name in ["one", "ONE", "three", "nope", "two*", "two words", "two_words", ""] {
            s.call("list", json!({"name": name}));
        }
        for name in [json!(5), json!(null), json!(["one"]), json!(true), json!(1.5)] {
            s.call("list", json!({"name": name}));
        }
        s.call("list", json!({"waiting": true, "zorg": 1}));
        s.no_event();
    });
}

#[test]
fn names_that_are_hard_to_spell() {
    let ini = "\
[circus]
check_delay = 600
[watcher:a.b]
cmd = sleep 1000
[watcher:x/y]
cmd = sleep 1000
[watcher:Ümlaut]
cmd = sleep 1000
[watcher:br[1]]
cmd = sleep 1000
[watcher: padded ]
cmd = sleep 1000
";
    agree(ini, |s| {
        s.call("list", json!({}));
        s.call("status", json!({}));
        for name in ["A.B", "x/Y", "ümlaut", "ÜMLAUT", "padded", " padded "] {
            s.call("status", json!({"name": name}));
        }
        s.call("restart", json!({"name": "a.b", "waiting": true}));
        s.events();
        s.call("restart", json!({"name": "x/y", "waiting": true}));
        s.events();
        s.call("restart", json!({"name": "ümlaut", "waiting": true}));
        s.events();
        s.call("stop", json!({"name": "*a*", "waiting": true}));
        s.call("status", json!({}));
    });
}

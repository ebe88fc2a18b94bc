//! Refusals: the reason strings and errno values of the contract.

use circus_tests::script::agree;
use serde_json::json;

use crate::THREE;

#[test]
fn unknown_commands() {
    agree(THREE, |s| {
        s.call("FooBar", json!({}));
        s.call("", json!({}));
        s.call("it's", json!({}));
        s.call("listen", json!({}));
        s.call("LiSt", json!({}));
    });
}

#[test]
fn missing_properties() {
    agree(THREE, |s| {
        for command in ["add", "decr", "get", "incr", "kill", "options", "rm", "set", "signal"] {
            s.call(command, json!({}));
        }
        s.call("reload", json!({"name": "nope"}));
        s.call("rm", json!({"name": "zz"}));
        s.call("decr", json!({"name": "zz"}));
        s.call("numprocesses", json!({"name": "web*"}));
    });
}

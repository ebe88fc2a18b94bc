//! `get`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn some_options() {
    agree(CALM, |s| {
        let get = |keys| json!({"name": "one", "keys": keys});
        s.call("get", get(json!(["cmd", "numprocesses", "graceful_timeout", "stop_signal"])));
        s.call("get", get(json!(["stop_signal", "cmd", "cmd"])));
        s.call("get", get(json!([])));
        for key in ["autostart", "copy_path", "stdin_socket", "rlimits", "hooks", "zorg", ""] {
            s.call("get", get(json!([key])));
        }
        s.call("get", get(json!(["cmd", "zorg", "args"])));
        s.call("get", get(json!("cmd")));
        s.call("get", get(json!("")));
        s.call("get", get(json!(null)));
        for key in [json!(5), json!(null), json!(["cmd"])] {
            s.call("get", get(json!([key])));
        }
        s.call("get", get(json!({"cmd": 1})));
        s.call("get", get(json!(5)));
        s.call("get", json!({"name": "ONE", "keys": ["args", "env", "uid", "working_dir"]}));
        s.call("get", json!({"name": "one"}));
        s.call("get", json!({"keys": ["cmd"]}));
        s.call("get", json!({"name": "nope", "keys": ["cmd"]}));
        s.call("get", json!({"name": "nope"}));
        s.call_differs("D25", "get", json!({"name": "three", "keys": ["hello"]}));
    });
}

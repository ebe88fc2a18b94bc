//! `dstats`.

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn the_daemon_itself() {
    agree(CALM, |s| {
        let reply = s.call_differs("D4", "dstats", json!({}));
        let info = reply["info"].as_object().expect("an object");
        let keys: Vec<_> = info.keys().cloned().collect();
        s.note("keys of dstats", keys.join(" "));
        s.note("its pid", info["pid"] == json!(s.daemon.pid()));
        s.note("its children", &info["children"]);
        s.note("nice", &info["nice"]);
        s.note("cpu is a number", info["cpu"].is_f64());
        s.note("mem is a number", info["mem"].is_f64());
        s.note(
            "other keys",
            reply.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" "),
        );
    });
}

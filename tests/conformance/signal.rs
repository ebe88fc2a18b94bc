//! `signal`.

use circus_tests::script::agree;
use serde_json::json;

use crate::{THREE, wait_for_a_child};

#[test]
fn every_spelling() {
    let ini = "\
[circus]
check_delay = 600
[watcher:sig]
cmd = sleep 1000
";
    agree(ini, |s| {
        for signum in [
            json!(0),
            json!(18),
            json!("0"),
            json!("+18"),
            json!(18.9),
            json!("CONT"),
            json!("sigcont"),
            json!("SIGCONT"),
            json!("SigCont"),
            json!("cont junk"),
            json!("cont+"),
            json!("SIGCONT+0"),
            json!("WINCH"),
            json!(false),
        ] {
            s.call("signal", json!({"name": "SIG", "signum": signum}));
        }
        for signum in
            [json!(""), json!(" CONT"), json!("-"), json!(999), json!("999"), json!(-1), json!("SIGRTMIN+99")]
        {
            s.call("signal", json!({"name": "sig", "signum": signum}));
        }
        for signum in [json!(null), json!([]), json!({})] {
            s.call("signal", json!({"name": "sig", "signum": signum}));
        }
        for signum in ["NOSUCH", "SIGNOSUCH", "sig", "TERMINATE"] {
            s.call_differs("D29", "signal", json!({"name": "sig", "signum": signum}));
        }
        s.call("signal", json!({"name": "sig"}));
        s.call("signal", json!({"signum": 1}));
        s.call("signal", json!({}));
        s.call("signal", json!({"name": "nope", "signum": 1}));
        s.call("signal", json!({"name": "s*", "signum": 1}));
        let reply = s.call("list", json!({"name": "sig"}));
        let pid = &reply["pids"][0];
        s.call("signal", json!({"name": "sig", "signum": "cont", "pid": pid}));
        s.call("signal", json!({"name": "sig", "signum": "kill", "pid": pid.to_string()}));
        s.call("signal", json!({"name": "sig", "signum": "kill", "pid": 1}));
        s.call("signal", json!({"name": "sig", "signum": "kill", "pid": "abc"}));
        s.call("signal", json!({"name": "sig", "signum": "cont", "childpid": 5}));
        s.call("signal", json!({"name": "sig", "signum": "cont", "pid": pid, "childpid": 1}));
        s.call("list", json!({"name": "sig"}));
        s.no_event();
    });
}

#[test]
fn children() {
    let ini = "\
[circus]
check_delay = 600
[watcher:parent]
cmd = {mischief} with-child
stop_children = True
";
    agree(ini, |s| {
        let reply = wait_for_a_child(s, "parent");
        let pids = s.call("list", json!({"name": "parent"}));
        let pid = &pids["pids"][0];
        let child = &reply["info"][pid.to_string()]["children"][0]["pid"];
        let signal = |more: serde_json::Value| {
            let mut all = json!({"name": "parent", "signum": "cont"});
            for (key, value) in more.as_object().into_iter().flatten() {
                all[key] = value.clone();
            }
            all
        };
        s.call("signal", signal(json!({"children": true})));
        s.call("signal", signal(json!({"recursive": true})));
        s.call("signal", signal(json!({"children": true, "recursive": true})));
        s.call("signal", signal(json!({"pid": pid, "children": true})));
        s.call("signal", signal(json!({"pid": pid.to_string(), "children": true})));
        s.call("signal", signal(json!({"pid": pid, "recursive": true})));
        s.call("signal", signal(json!({"pid": pid, "childpid": child})));
        s.call("signal", signal(json!({"pid": pid, "childpid": child.to_string()})));
        s.call("signal", signal(json!({"pid": pid, "childpid": 1})));
        s.call("signal", signal(json!({"pid": 1, "children": true})));
        s.call("signal", signal(json!({"pid": pid.to_string(), "childpid": child})));
        s.call("signal", signal(json!({"childpid": child})));
        // What the manual calls it is not looked at.
        s.call("signal", signal(json!({"child_pid": child, "pid": pid})));
        s.no_event();
        // It reaches exactly the child: the parent, which waits for it, ends.
        s.call("signal", json!({"name": "parent", "signum": "kill", "children": true}));
        let pid = i32::try_from(pid.as_i64().expect("a pid")).expect("a pid fits");
        circus_tests::wait::until("the parent's end", || (!circus_tests::daemon::alive(pid)).then_some(()));
    });
}

#[test]
fn a_death_is_followed_by_a_birth() {
    agree(THREE, |s| {
        let reply = s.call("list", json!({"name": "two words"}));
        s.call("signal", json!({"name": "two words", "pid": reply["pids"][0], "signum": 9}));
        s.events_until("watcher.two_words.spawn");
        s.call("list", json!({"name": "two words"}));
        s.call("status", json!({"name": "two words"}));
    });
}

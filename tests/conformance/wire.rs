//! Envelopes: ids, casts, JSON as Python reads and writes it, frames, what is never answered, and
//! the refusals that are the same for all commands.

use std::collections::BTreeSet;

use circus_tests::script::agree;
use serde_json::json;

use crate::CALM;

#[test]
fn ids_are_echoed() {
    agree(CALM, |s| {
        for id in [
            "null",
            "7",
            "-0",
            "\"x\"",
            "\"\\u00e9 \\ud83d\\ude00 \\\" \\\\ \\n\"",
            "{\"a\": [1, 2.5, \"\\u00e9\"]}",
            "[]",
            "true",
            "123456789012345678901234567890",
            "1.0",
            "1e3",
            "1e400",
            "0.1",
            "1E-7",
            "NaN",
            "-Infinity",
        ] {
            s.letters(format!("{{\"id\": {id}, \"command\": \"numwatchers\"}}").as_bytes());
        }
        s.letters("{\"id\": \"é\u{1f600}\u{7f}\", \"command\": \"numwatchers\"}".as_bytes());
        s.letters(br#"{"command": "numwatchers"}"#);
        s.letters(b"  \n\t{\"command\": \"numwatchers\"}\r\n ");
        s.letters(br#"{"command": "list", "command": "numwatchers"}"#);
        s.letters(
            br#"{"command": "numwatchers", "waiting": true, "zorg": NaN, "properties": {"a": Infinity}}"#,
        );
        s.letters(br#"{"id": 1, "command": "status", "properties": {"name": "one"}}"#);
        s.letters(br#"{"id": 1, "command": "list"}"#);
        s.letters(br#"{"id": 1, "command": "globaloptions", "properties": {"option": "check_delay"}}"#);
        s.letters(br#"{"id": 1, "command": "get", "properties": {"name": "one", "keys": ["graceful_timeout", "max_age", "uid"]}}"#);
        s.letters(br#"{"id": 1, "command": "status", "properties": {"name": "nope"}}"#);
        s.letters("{\"id\": 1, \"command\": \"status\", \"properties\": {\"name\": \"ÄÖ\"}}".as_bytes());
        let reply = s.wire.ask("status", &json!({"name": 5}));
        s.note_differs("D3", "a traceback", reply["tb"].is_string());
    });
}

#[test]
fn broken_json() {
    agree(CALM, |s| {
        for payload in [
            &b"zorg"[..],
            br#"{"id": "x", "command": "list""#,
            b"\xff\xfe",
            b"\xef\xbb\xbf{\"command\": \"list\"}",
            b"{'command': 'list'}",
            br#"{"command": "list",}"#,
            br#"{"command": "list"} x"#,
            b"{\"command\": \"li\nst\"}",
            br#"{"command": "\x"}"#,
            br#"{"id": 01, "command": "list"}"#,
            br#"{"id": .5, "command": "list"}"#,
            br#"{"id": nan, "command": "list"}"#,
            b"\0",
        ] {
            s.raw(payload);
        }
        s.raw(br#"{"command": "numwatchers"}"#);
    });
}

#[test]
fn casts_are_never_answered() {
    agree(CALM, |s| {
        s.raw(br#"{"id": "c", "msg_type": "cast", "command": "numwatchers"}"#);
        s.raw(br#"{"id": "c", "msg_type": "cast", "command": "no such command"}"#);
        s.raw(br#"{"id": "c", "msg_type": "cast", "command": "status", "properties": {"name": "nope"}}"#);
        s.raw(br#"{"id": "c", "msg_type": "CAST", "command": "numwatchers"}"#);
        s.raw(br#"{"id": "c", "msg_type": "dealer", "command": "numwatchers"}"#);
        s.raw(br#"{"id": "c", "msg_type": 5, "command": "numwatchers"}"#);
        // They are obeyed all the same.
        s.raw(br#"{"msg_type": "cast", "command": "stop", "properties": {"name": "one", "waiting": true}}"#);
        s.events_until("watcher.one.stop");
    });
}

#[test]
fn what_stock_never_answers_is_refused() {
    agree(CALM, |s| {
        for payload in
            ["", "   ", "[]", "12", "null", "\"list\"", "{}", r#"{"command": 3}"#, r#"{"command": null}"#]
        {
            s.raw_differs("D1", payload.as_bytes());
        }
        if s.flavor() == circus_tests::daemon::Flavor::Ours {
            // Stock now and then hears nothing any more after so much of it.
            s.wire.ask("numwatchers", &json!({}));
        }
    });
}

#[test]
fn unknown_commands() {
    agree(CALM, |s| {
        for command in
            ["FooBar", "", "it's", "both ' and \"", "new\nline", "\u{e9}\u{1f600}", " list", "restart2"]
        {
            s.call(command, json!({}));
        }
        s.call("LiSt", json!({}));
    });
}

#[test]
fn missing_and_strange_properties() {
    agree(CALM, |s| {
        for command in ["add", "decr", "get", "incr", "kill", "options", "rm", "set", "signal"] {
            s.call(command, json!({}));
        }
        for (command, given) in [
            ("add", json!({"name": "x"})),
            ("add", json!({"cmd": "x"})),
            ("set", json!({"name": "x"})),
            ("get", json!({"name": "x"})),
            ("signal", json!({"name": "x"})),
        ] {
            s.call(command, given);
        }
        for properties in [json!(null), json!([]), json!("zz"), json!(5), json!(["name"]), json!("name")] {
            for command in
                ["numwatchers", "list", "status", "options", "numprocesses", "stats", "globaloptions", "get"]
            {
                s.call(command, properties.clone());
            }
        }
        s.raw(br#"{"id": 1, "command": "options", "property": {"name": "one"}}"#);
        s.raw(br#"{"id": 1, "command": "numprocesses", "property": {"name": "one"}}"#);
    });
}

#[test]
fn frames_and_peers() {
    agree(CALM, |s| {
        // More frames than one are no request to stock.
        s.wire.send_frames(&[b"x", br#"{"id": "two", "command": "numwatchers"}"#]);
        let answer = s.raw(br#"{"id": "after", "command": "numprocesses"}"#);
        s.note("answered", answer.is_some());
        // What a REQ socket sends: an empty frame first.
        s.wire.send_frames(&[b"", br#"{"id": "req", "command": "numwatchers"}"#]);
        let later = s.wire.text_frames_until("later");
        s.note_differs("D20", "a REQ client is answered", later);
        // One client may have many questions under way; they are answered in order.
        for n in 0..500 {
            s.wire.send(format!("{{\"id\": {n}, \"command\": \"numwatchers\"}}").as_bytes());
        }
        let mut order = Vec::new();
        for _ in 0..500 {
            let reply = s.wire.reply_within(circus_tests::wait::PATIENCE).expect("an answer");
            order.push(reply["id"].as_i64().expect("our id"));
        }
        s.note("in order", order == (0..500).collect::<Vec<_>>());
        s.note("each once", order.iter().collect::<BTreeSet<_>>().len());
    });
}

#[test]
fn waiting_replies_may_be_overtaken() {
    let ini = "\
[circus]
check_delay = 600
[watcher:late]
cmd = {mischief} slow 1
graceful_timeout = 15
";
    agree(ini, |s| {
        crate::wait_until_ready(s, "late");
        s.wire.send(br#"{"id": "slow", "command": "stop", "properties": {"name": "late", "waiting": true}}"#);
        s.wire.send(br#"{"id": "quick", "command": "status", "properties": {"name": "late"}}"#);
        for _ in 0..2 {
            let reply = s.wire.reply_within(circus_tests::wait::PATIENCE).expect("an answer");
            s.note("answer", format!("{} {}", reply["id"], reply["status"]));
        }
        s.events();
    });
}

#[test]
fn a_second_command_while_one_is_under_way() {
    let ini = "\
[circus]
check_delay = 600
[watcher:late]
cmd = {mischief} slow 2
graceful_timeout = 15
[watcher:other]
cmd = sleep 1000
";
    agree(ini, |s| {
        crate::wait_until_ready(s, "late");
        s.wire.send(br#"{"id": "slow", "command": "stop", "properties": {"name": "late", "waiting": true}}"#);
        // Arguments are checked first, questions never wait, signals never did.
        let mut once = |command: &str, properties: serde_json::Value, tag: Option<&str>| {
            let reply = s.wire.call_once("once", command, &properties);
            let shown = format!("{} {} {}", reply["status"], reply["errno"], reply["reason"]);
            match tag {
                Some(tag) => s.note_differs(tag, command, shown),
                None => s.note(command, shown),
            }
        };
        once("rm", json!({"name": "zz"}), None);
        once("stop", json!({"name": "nomatch"}), None);
        once("stop", json!({"name": "other", "match": "zorg"}), None);
        once("status", json!({"name": "late"}), None);
        once("signal", json!({"name": "other", "signum": 0}), None);
        once("incr", json!({"name": "other", "waiting": true}), Some("D32"));
        once("restart", json!({"name": "other", "waiting": true}), Some("D32"));
        once("add", json!({"name": "fresh", "cmd": "sleep 1000"}), Some("D32"));
        once("set", json!({"name": "other", "options": {"numprocesses": 1}}), Some("D32"));
        once("start", json!({"name": "late"}), Some("D37"));
    });
}

/// Every command that takes a name, with names that are none.
#[test]
fn names_that_are_none() {
    agree(CALM, |s| {
        for (command, rest) in [
            ("add", json!({"cmd": "sleep 1000"})),
            ("decr", json!({})),
            ("get", json!({"keys": ["cmd"]})),
            ("incr", json!({})),
            ("list", json!({})),
            ("numprocesses", json!({})),
            ("options", json!({})),
            ("reload", json!({})),
            ("restart", json!({})),
            ("rm", json!({})),
            ("set", json!({"options": {"max_age": 5}})),
            ("signal", json!({"signum": 0})),
            ("start", json!({})),
            ("stats", json!({})),
            ("stats", json!({"process": 1})),
            ("status", json!({})),
            ("stop", json!({})),
        ] {
            for name in [json!(null), json!(0), json!(1.5), json!(true), json!(["one"]), json!({"one": 1})] {
                let mut properties = rest.clone();
                properties["name"] = name;
                s.call(command, properties);
            }
            if command != "add" {
                let mut properties = rest.clone();
                properties["name"] = json!("");
                s.call(command, properties);
            }
        }
        // No properties at all where none are needed; those that end the daemon are left out.
        for command in ["listsockets", "listen", "ipython", "reloadconfig", "stop", "start", "reload"] {
            for properties in [json!(null), json!([])] {
                if properties.is_null() || ["listsockets", "listen", "ipython"].contains(&command) {
                    s.call(command, properties);
                }
            }
        }
        s.no_event();
    });
}

/// The end is the one thing that refuses everything else in both.
#[test]
fn what_is_refused_on_the_way_out() {
    let ini = "\
[circus]
check_delay = 600
[watcher:late]
cmd = {mischief} stubborn
graceful_timeout = 60
[watcher:other]
cmd = sleep 1000
";
    agree(ini, |s| {
        crate::wait_until_ready(s, "late");
        s.call("quit", json!({}));
        for (command, properties) in [
            ("stop", json!({})),
            ("start", json!({"name": "other"})),
            ("restart", json!({"name": "other", "waiting": true})),
            ("reload", json!({"waiting": true})),
            ("incr", json!({"name": "other"})),
            ("decr", json!({"name": "other", "waiting": true})),
            ("add", json!({"name": "fresh", "cmd": "sleep 1000"})),
            ("rm", json!({"name": "other"})),
            ("set", json!({"name": "other", "options": {"max_age": 9}})),
            ("reloadconfig", json!({"waiting": true})),
            ("stop", json!({"name": "nomatch"})),
            ("list", json!({})),
            ("status", json!({"name": "late"})),
        ] {
            let reply = s.wire.call_once("once", command, &properties);
            let shown = format!("{} {} {}", reply["status"], reply["errno"], reply["reason"]);
            // What is wanted anyway is refused by nobody here.
            if matches!(command, "stop" | "rm") && properties["name"] != "nomatch" {
                s.note_differs("D32", command, shown);
            } else {
                s.note(command, shown);
            }
        }
        s.call("signal", json!({"name": "late", "signum": "KILL"}));
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
    });
    // A restart of everything refuses in stock, too, and is waited for in circusd-rs.
    agree(ini, |s| {
        crate::wait_until_ready(s, "late");
        s.call("restart", json!({}));
        let reply = s.wire.call_once("once", "incr", &json!({"name": "other"}));
        s.note_differs("D32", "incr", format!("{} {} {}", reply["status"], reply["errno"], reply["reason"]));
        let reply = s.wire.call_once("once", "list", &json!({}));
        s.note("list", &reply["watchers"]);
        // Nothing that stock does from here on is to be relied on (Q4).
        s.daemon.crash();
    });
}

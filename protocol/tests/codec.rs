//! The envelope in both directions, and input that is none.
#![expect(
    clippy::unwrap_used,
    reason = "the lints know tests by their functions; these are the helpers of tests"
)]

use circus_protocol::codec::{
    MAX_PAYLOAD, MAX_VALUES, ReplyError, decode_reply, decode_request, encode_cast, encode_reply,
    encode_request,
};
use circus_protocol::command::Command;
use circus_protocol::event::{Event, EventError, EventKind};
use circus_protocol::json;
use circus_protocol::number::{Errno, Pid, Wid};
use circus_protocol::readiness::ReadyState;
use circus_protocol::reply::{Refusal, Reply, Status};
use circus_protocol::stat::{Stat, StatError, memory_text};
use proptest::prelude::*;
use serde_json::{Map, Value};

const TIME: f64 = 1_795_331_250.25;

/// The daemon's answer to a payload, as far as the message alone decides it.
fn answer(payload: &[u8]) -> Option<String> {
    let (cast, refusal, id, raw) = match decode_request(payload) {
        Ok(request) => (request.cast, Command::parse(&request).err(), request.id, request.raw),
        Err(rejected) => (rejected.cast, Some(rejected.refusal), rejected.id, rejected.raw),
    };
    let refusal = refusal.filter(|_| !cast)?;
    Some(String::from_utf8(encode_reply(&Reply::Error(refusal), &id, &raw, TIME)).unwrap())
}

#[track_caller]
fn check(payload: &str, errno: i64, reason: &str, id: &str) {
    let reason = String::from_utf8(json::to_vec(&reason.into())).unwrap();
    let expected = format!(
        r#"{{"status": "error", "reason": {reason}, "tb": null, "time": 1795331250.25, "errno": {errno}, "id": {id}}}"#
    );
    assert_eq!(answer(payload.as_bytes()).as_deref(), Some(expected.as_str()));
}

#[test]
fn what_is_no_request_is_answered_in_words() {
    check("", 3, "message invalid empty payload, send a JSON object with 'command'", "null");
    check(" \n", 3, "message invalid empty payload, send a JSON object with 'command'", "null");
    check("[]", 3, "message invalid list is no object, send one with 'command'", "null");
    check("\"list\"", 3, "message invalid str is no object, send one with 'command'", "null");
    check("12", 3, "message invalid int is no object, send one with 'command'", "null");
    check("{}", 3, "message invalid 'command' is missing", "null");
    check(r#"{"id": [1]}"#, 3, "message invalid 'command' is missing", "[1]");
    check(r#"{"id": 5, "command": null}"#, 3, "message invalid 'command' is None, send text", "5");
    check("{\"command\"", 1, "json invalid", "null");
    check(r#"{"id": 7, "command": "list""#, 1, "json invalid", "null");
    let many = |count: usize| format!(r#"{{"command": "list", "properties": [{}1]}}"#, "1,".repeat(count));
    check(&many(MAX_VALUES), 3, "message invalid there are more than 100000 values in it", "null");
    // The request itself, its command and its properties are three, and the last of the list one.
    assert_eq!(decode_request(many(MAX_VALUES - 4).as_bytes()).unwrap().command, "list");
    let long = [b"\"".as_slice(), &vec![b'a'; MAX_PAYLOAD]].concat();
    assert!(answer(&long).unwrap().contains("16777217 bytes are too many"));
}

#[test]
fn a_cast_is_never_answered() {
    assert_eq!(answer(br#"{"msg_type": "cast"}"#), None);
    assert_eq!(answer(br#"{"msg_type": "cast", "command": "nonsense"}"#), None);
    assert_eq!(answer(br#"{"msg_type": "cast", "command": "set"}"#), None);
    check(r#"{"msg_type": "CAST", "command": "no"}"#, 2, "unknown command: 'no'", "null");
    let cast = encode_cast("1", "stop", &Value::Object(Map::new()));
    assert_eq!(cast, br#"{"id": "1", "command": "stop", "properties": {}, "msg_type": "cast"}"#);
    assert!(decode_request(&cast).unwrap().cast);
}

#[test]
fn a_request_is_spelt_as_the_stock_client_does() {
    let bytes = encode_request("b3", "list", &json::parse(br#"{"name": "web"}"#).unwrap());
    assert_eq!(bytes, br#"{"id": "b3", "command": "list", "properties": {"name": "web"}}"#);
    let request = decode_request(&bytes).unwrap();
    assert_eq!((request.id, request.command.as_str(), request.cast), ("b3".into(), "list", false));
    assert_eq!(request.properties["name"], "web");
    assert_eq!(request.raw, bytes);
}

#[test]
fn an_unexpected_error_quotes_the_request() {
    let payload = " {\"command\": \"list\", \"properties\": {\"name\": 1, \"x\": \"it's \u{e9}\"}}\n";
    check(
        payload,
        5,
        r#"command b'{"command": "list", "properties": {"name": 1, "x": "it\'s \xc3\xa9"}}': 'int' object has no attribute 'lower'"#,
        "null",
    );
}

#[test]
fn the_keys_of_a_reply_are_in_circus_order() {
    let mut keys = Map::new();
    keys.insert("pids".to_owned(), Value::from(vec![1, 2]));
    let text = |reply: &Reply| String::from_utf8(encode_reply(reply, &"x".into(), b"", TIME)).unwrap();
    assert_eq!(
        text(&Reply::Ok(keys)),
        r#"{"status": "ok", "time": 1795331250.25, "pids": [1, 2], "id": "x"}"#
    );
    assert_eq!(text(&Reply::ok()), r#"{"status": "ok", "time": 1795331250.25, "id": "x"}"#);
    assert_eq!(
        text(&Reply::Status("active".to_owned())),
        r#"{"status": "active", "time": 1795331250.25, "id": "x"}"#
    );
    for (refusal, errno, reason) in [
        (Refusal::NotFound("NoPe".to_owned()), 3, "program NoPe not found"),
        (Refusal::Os { errno: 22, text: "Invalid argument".to_owned() }, 4, "[Errno 22] Invalid argument"),
        (Refusal::Conflict("overtaken by stop".to_owned()), 5, "overtaken by stop"),
        (Refusal::Server("server error".to_owned()), 6, "server error"),
    ] {
        let expected = format!(
            r#"{{"status": "error", "reason": "{reason}", "tb": null, "time": 1795331250.25, "errno": {errno}, "id": "x"}}"#
        );
        assert_eq!(text(&Reply::Error(refusal)), expected);
    }
}

#[test]
fn a_client_reads_replies_of_every_kind() {
    let ok = decode_reply(br#"{"status": "ok", "time": 1.5, "pids": [3], "id": null}"#).unwrap();
    assert_eq!((ok.status, ok.time, ok.id), (Status::Ok, Some(1.5), Value::Null));
    assert_eq!(ok.keys["pids"], Value::from(vec![3]));
    let state = decode_reply(br#"{"status": "stopped", "time": 1.5, "id": "a"}"#).unwrap();
    assert!(!state.is_error());
    assert_eq!(state.status, Status::State("stopped".to_owned()));
    let error =
        decode_reply(br#"{"status": "error", "reason": "r", "tb": "T", "time": 1, "errno": 2, "id": 1}"#)
            .unwrap();
    assert!(error.is_error());
    assert_eq!((error.errno(), error.time), (Some(Errno::UnknownCommand), Some(1.0)));
    assert!(error.keys.is_empty());
    let bare = decode_reply(br#"{"status": "error"}"#).unwrap();
    assert_eq!(bare.status, Status::Error { reason: String::new(), errno: None, tb: None });
    assert_eq!(decode_reply(b"[]"), Err(ReplyError::Without("an object")));
    assert_eq!(decode_reply(br#"{"status": 1}"#), Err(ReplyError::Without("a status")));
    assert!(matches!(decode_reply(b"\xff"), Err(ReplyError::Json(_))));
}

#[test]
fn every_event_reads_back() {
    let pid = Pid::new(2076).unwrap();
    let name = "before_start".to_owned();
    for (kind, payload) in [
        (EventKind::Spawn { pid }, r#"{"process_pid": 2076, "time": 1795331250.25}"#),
        (EventKind::Start, r#"{"time": 1795331250.25}"#),
        (EventKind::Kill { pid }, r#"{"process_pid": 2076, "time": 1795331250.25}"#),
        (
            EventKind::Reap { pid, exit_code: Some(-15) },
            r#"{"process_pid": 2076, "time": 1795331250.25, "exit_code": -15}"#,
        ),
        (
            EventKind::Reap { pid, exit_code: None },
            r#"{"process_pid": 2076, "time": 1795331250.25, "exit_code": null}"#,
        ),
        (EventKind::Stop, r#"{"time": 1795331250.25}"#),
        (EventKind::Reload, r#"{"time": 1795331250.25}"#),
        (EventKind::Updated, r#"{"time": 1795331250.25}"#),
        (EventKind::Add, r#"{"time": 1795331250.25}"#),
        (EventKind::Remove, r#"{"time": 1795331250.25}"#),
        (EventKind::HookSuccess { name: name.clone() }, r#"{"name": "before_start", "time": 1795331250.25}"#),
        (
            EventKind::HookFailure { name, error: "boom!".to_owned() },
            r#"{"name": "before_start", "time": 1795331250.25, "error": "boom!"}"#,
        ),
        (
            EventKind::Waiting {
                waiting_for: "backoff".to_owned(),
                why: "w".to_owned(),
                wid: Some(Wid(2)),
                retry_at: Some(1_795_331_251.5),
            },
            r#"{"waiting_for": "backoff", "why": "w", "wid": 2, "retry_at": 1795331251.5, "time": 1795331250.25}"#,
        ),
        (
            EventKind::Output {
                stream: "stdout".to_owned(),
                error: Some("full".to_owned()),
                waits: false,
                lost_bytes: 7,
                lost_lines: 1,
            },
            r#"{"stream": "stdout", "works": false, "error": "full", "waits": false, "lost_bytes": 7, "lost_lines": 1, "time": 1795331250.25}"#,
        ),
        (
            EventKind::Ready { state: ReadyState::Joined, ready: true, detail: String::new() },
            r#"{"state": "joined", "ready": true, "detail": "", "time": 1795331250.25}"#,
        ),
    ] {
        let event = Event { watcher: "a/b.c".to_owned(), time: TIME, kind };
        assert_eq!(event.payload(), payload.as_bytes());
        assert_eq!(Event::decode(event.topic().as_bytes(), &event.payload()), Ok(event));
    }
}

#[test]
fn other_frames_are_no_events() {
    let time = br#"{"time": 1.5}"#;
    assert_eq!(Event::decode(b"watcher.one", time), Err(EventError::Topic("watcher.one".to_owned())));
    assert_eq!(Event::decode(b"stat.one", time), Err(EventError::Topic("stat.one".to_owned())));
    assert_eq!(Event::decode(b"watcher.one.born", time), Err(EventError::Action("born".to_owned())));
    assert_eq!(Event::decode(b"watcher.one.kill", time), Err(EventError::Without("a process_pid")));
    assert_eq!(Event::decode(b"watcher.one.stop", b"{}"), Err(EventError::Without("a time")));
    assert_eq!(
        Event::decode(b"watcher.one.kill", br#"{"time": 1, "process_pid": -1}"#),
        Err(EventError::Without("a process_pid"))
    );
    assert_eq!(
        Stat::decode(b"watcher.one.stop", b"{}"),
        Err(StatError::Topic("watcher.one.stop".to_owned()))
    );
    assert_eq!(Stat::decode(b"stat.one", b"{}"), Err(StatError::Without("pid")));
    assert_eq!(Stat::decode(b"stat.one.1", br#"{"subtopic": 1}"#), Err(StatError::Without("pid")));
}

#[test]
fn a_stat_may_lack_every_figure() {
    let nobody = br#"{"pid": [], "cpu": 0.0, "mem": 0, "age": "N/A"}"#;
    let stat = Stat::decode(b"stat.web", nobody).unwrap();
    assert_eq!((stat.topic(), stat.payload()), ("stat.web".to_owned(), nobody.to_vec()));
    let hidden = br#"{"mem_info1": "N/A", "mem_info2": "N/A", "cpu": "N/A", "mem": "N/A", "ctime": "N/A", "pid": 7, "username": "N/A", "nice": "Zombie", "create_time": "N/A", "age": "N/A", "cmdline": "N/A", "children": [], "subtopic": 7, "name": null}"#;
    let stat = Stat::decode(b"stat.a.b.7", hidden).unwrap();
    assert_eq!((stat.topic(), stat.payload()), ("stat.a.b.7".to_owned(), hidden.to_vec()));
}

#[test]
fn memory_is_printed_as_circus_does() {
    for (bytes, text) in [
        (0, "0B"),
        (512, "512B"),
        (1023, "1023B"),
        (1024, "1.00K"),
        (1_541_407, "1.47M"),
        (1 << 30, "1.00G"),
        (u64::MAX, "16.00E"),
    ] {
        assert_eq!(memory_text(bytes), text);
    }
}

proptest! {
    #[test]
    fn arbitrary_frames_do_not_panic(first in prop::collection::vec(any::<u8>(), 0..60), second in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = answer(&second);
        let _ = decode_reply(&second);
        let _ = Event::decode(&first, &second);
        let _ = Stat::decode(&first, &second);
        let _ = circus_protocol::discovery::Answer::decode(&second);
    }

    #[test]
    fn an_id_comes_back_as_it_was(id in "[ -~]{0,20}", number in any::<i128>()) {
        for id in [Value::from(id), json::parse(number.to_string().as_bytes()).unwrap()] {
            let reply = decode_reply(&encode_reply(&Reply::ok(), &id, b"", TIME)).unwrap();
            prop_assert_eq!(reply.id, id);
        }
    }
}

//! Messages recorded from stock circus 0.19.0 (times, paths and tracebacks replaced), read and written
//! again byte for byte; and what our parser says to every recorded request.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the lints know tests by their functions; these are the helpers of tests"
)]

use std::fmt::Write as _;

use circus_protocol::codec::{decode_reply, decode_request, encode_reply};
use circus_protocol::command::Command;
use circus_protocol::event::Event;
use circus_protocol::json;
use circus_protocol::reply::{Refusal, Reply, Status};
use circus_protocol::stat::Stat;
use serde_json::Value;

/// The time that the recordings were given.
const TIME: f64 = 1_795_331_250.25;

struct Recording {
    request: Vec<u8>,
    reply: Option<Vec<u8>>,
}

/// Recorded bytes are kept as Latin-1 text, one character a byte.
fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| text.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect())
}

fn recordings() -> Vec<Recording> {
    include_str!("golden/replies.jsonl")
        .lines()
        .map(|line| {
            let value = json::parse(line.as_bytes()).unwrap();
            Recording { request: bytes(&value["request"]).unwrap(), reply: bytes(&value["reply"]) }
        })
        .collect()
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let text_of = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = text.lines().map(|line| json::parse(line.as_bytes()).unwrap());
    lines.map(|value| (text_of(&value[0]), text_of(&value[1]))).collect()
}

/// What the daemon must have meant to send these bytes.
fn meant(status: Status, keys: serde_json::Map<String, Value>, raw: &[u8]) -> Reply {
    match status {
        Status::Ok => Reply::Ok(keys),
        Status::State(state) => Reply::Status(state),
        Status::Error { reason, errno, .. } => {
            let raised = format!("command {}: ", json::python_repr_bytes(raw));
            Reply::Error(match (errno, reason.strip_prefix(&raised)) {
                (Some(1), _) => Refusal::InvalidJson,
                (Some(2), _) => {
                    Refusal::UnknownCommand(reason.strip_prefix("unknown command: ").unwrap().to_owned())
                }
                (Some(3), _) => Refusal::Message(reason),
                (Some(5), Some(text)) => Refusal::Raised(text.to_owned()),
                (Some(5), None) => Refusal::Conflict(reason),
                (Some(6), _) => Refusal::Server(reason),
                other => panic!("unexpected errno {other:?}"),
            })
        }
    }
}

/// Python's `bytes.strip`, which the daemon applies before anything else.
fn stripped(request: &[u8]) -> Vec<u8> {
    match decode_request(request) {
        Ok(request) => request.raw.to_vec(),
        Err(rejected) => rejected.raw.to_vec(),
    }
}

#[test]
fn recorded_replies_are_written_again_byte_for_byte() {
    for Recording { request, reply } in recordings() {
        let Some(reply) = reply else { continue };
        let raw = stripped(&request);
        let envelope = decode_reply(&reply).unwrap();
        let id = envelope.id.clone();
        assert_eq!(envelope.time, Some(TIME));
        let written = encode_reply(&meant(envelope.status, envelope.keys, &raw), &id, &raw, TIME);
        assert_eq!(String::from_utf8_lossy(&written), String::from_utf8_lossy(&reply));
    }
}

/// Reasons that need the daemon's state; the parser accepts the message.
fn needs_state(reason: &str) -> bool {
    let raised = reason.rsplit_once("': ").map_or("", |(_, text)| text);
    (reason.starts_with("program ") && reason.ends_with(" not found"))
        || (reason.starts_with("process ") && reason.contains(" not found in "))
        || reason.ends_with(" option not found")
        || reason == "invalid message. use a pub/sub socket"
        || reason == "server error"
        || raised.ends_with(" already exist")
        || raised.starts_with("Cannot have ")
        || raised.starts_with("missing ), unterminated")
        || raised.ends_with(" isn't a valid user name")
        || raised.ends_with(" isn't a valid user id")
        || raised.starts_with("No such group")
        || raised.chars().all(|char| char.is_ascii_digit())
}

/// `differences.tsv` holds those we intend: request, a tab, our reply or `accepted`.
#[test]
fn the_parser_refuses_what_stock_refuses_in_its_words() {
    let mut differences = String::new();
    for Recording { request, reply } in recordings() {
        let (result, id, raw) = match decode_request(&request) {
            Ok(request) => (Command::parse(&request), request.id, request.raw),
            Err(rejected) => (Err(rejected.refusal), rejected.id, rejected.raw),
        };
        let ours = result
            .as_ref()
            .err()
            .map(|refusal| encode_reply(&Reply::Error(refusal.clone()), &id, &raw, TIME));
        let stock = reply.as_deref().map(|reply| decode_reply(reply).unwrap().status);
        let same = match (&result, &stock) {
            (Ok(_), Some(Status::Ok | Status::State(_))) => true,
            (Ok(_), Some(Status::Error { reason, .. })) => needs_state(reason),
            (Err(_), Some(_)) => ours == reply,
            (_, None) => false,
        };
        if !same {
            let request = String::from_utf8_lossy(&request);
            let answer = ours.map_or("accepted".into(), |ours| String::from_utf8_lossy(&ours).into_owned());
            writeln!(differences, "{request}\t{answer}").unwrap();
        }
    }
    let expected = include_str!("golden/differences.tsv");
    assert_eq!(differences, expected, "what stock answers is in golden/replies.jsonl");
}

#[test]
fn recorded_events_are_written_again_byte_for_byte() {
    for (topic, payload) in pairs(include_str!("golden/events.jsonl")) {
        let event = Event::decode(topic.as_bytes(), payload.as_bytes()).unwrap();
        assert_eq!(event.topic(), topic);
        assert_eq!(String::from_utf8(event.payload()).unwrap(), payload);
    }
}

#[test]
fn recorded_stats_are_written_again_byte_for_byte() {
    for (topic, payload) in pairs(include_str!("golden/stats.jsonl")) {
        let stat = Stat::decode(topic.as_bytes(), payload.as_bytes()).unwrap();
        assert_eq!(stat.topic(), topic);
        assert_eq!(String::from_utf8(stat.payload()).unwrap(), payload);
    }
}

//! A payload through everything that reads payloads; whatever is understood reads back as itself.

use std::sync::Arc;

use circus_protocol::codec::{decode_reply, decode_request, encode_reply, encode_request, reason};
use circus_protocol::command::{Command, options};
use circus_protocol::discovery::Answer;
use circus_protocol::event::Event;
use circus_protocol::json;
use circus_protocol::name::WatcherName;
use circus_protocol::number::{Signal, int};
use circus_protocol::reply::{Refusal, Reply, Status};
use circus_protocol::stat::Stat;
use circusd_rs::config::{Inherited, WatcherConfig, option};
use serde_json::{Map, Value};

const TIME: f64 = 1_795_331_250.25;

/// The bytes as request, reply and datagram; with a line break in them, the first line as topic of an
/// event or stat.
pub fn check(data: &[u8]) {
    values(data);
    request(data);
    reply(data);
    if let Ok(answer) = Answer::decode(data) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    let mut lines = data.splitn(2, |byte| *byte == b'\n');
    if let (Some(topic), Some(payload)) = (lines.next(), lines.next()) {
        event(topic, payload);
        stat(topic, payload);
    }
}

/// What is printed reads back and prints the same, and is ASCII.
fn values(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    let printed = json::to_vec(&value);
    assert!(printed.is_ascii());
    let again = json::parse(&printed).expect("what is printed reads back");
    assert_eq!(json::to_vec(&again), printed);
    assert!(!json::python_repr(&value).is_empty());
    let _ = (int(&value), Signal::parse(&value), json::truthy(&value));
}

fn request(data: &[u8]) {
    let (refusal, id, raw) = match decode_request(data) {
        Err(rejected) => (rejected.refusal, rejected.id, rejected.raw),
        Ok(request) => {
            resent(&request.command, &request.properties);
            answered(&request.properties, &request.id);
            match Command::parse(&request) {
                Err(refusal) => (refusal, request.id, request.raw),
                Ok(command) => match carried_out(&command) {
                    Some(refusal) => (refusal, request.id, request.raw),
                    None => return,
                },
            }
        }
    };
    let (wanted, number) = (reason(&refusal, &raw), refusal.errno().get());
    let reply = encode_reply(&Reply::Error(refusal), &id, &raw, TIME);
    let read = decode_reply(&reply).expect("a refusal reads back");
    assert_eq!(read.status, Status::Error { reason: wanted, errno: Some(number), tb: None });
    assert_eq!((json::to_vec(&read.id), read.time), (json::to_vec(&id), Some(TIME)));
}

fn resent(command: &str, properties: &Value) {
    let sent = encode_request("1", command, properties);
    let read = decode_request(&sent).expect("a request reads back");
    assert_eq!((read.command.as_str(), read.cast, &read.raw[..]), (command, false, &sent[..]));
    assert_eq!(json::to_vec(&read.properties), json::to_vec(properties));
}

/// Any keys can stand in a reply.
fn answered(properties: &Value, id: &Value) {
    let Value::Object(map) = properties else { return };
    let own = |key: &str| !matches!(key, "status" | "time" | "id");
    let keys: Map<_, _> =
        map.iter().filter(|(key, _)| own(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let read =
        decode_reply(&encode_reply(&Reply::Ok(keys.clone()), id, b"", TIME)).expect("a reply reads back");
    assert_eq!((read.status, read.time), (Status::Ok, Some(TIME)));
    assert_eq!(json::to_vec(&read.id), json::to_vec(id));
    assert_eq!(json::to_vec(&Value::Object(read.keys)), json::to_vec(&Value::Object(keys)));
}

/// As far as the configuration alone decides it.
fn carried_out(command: &Command) -> Option<Refusal> {
    let inherited = Arc::new(Inherited::default());
    let mut config = match command {
        Command::Add(add) => match option::add(&add.name, &add.cmd, &add.args, &add.options, &inherited) {
            Ok(config) => config,
            Err(refusal) => return Some(refusal),
        },
        _ => WatcherConfig::new(WatcherName::new("web"), "/".to_owned()),
    };
    if let Command::Set(set) = command {
        for (key, value) in &set.options {
            if options::check(key, value).is_ok()
                && let Err(refusal) = option::set(&mut config, key, value)
            {
                return Some(refusal);
            }
        }
    }
    let shown = Value::Object(option::show_all(&config));
    assert!(json::parse(&json::to_vec(&shown)).is_ok());
    None
}

fn reply(data: &[u8]) {
    let Ok(read) = decode_reply(data) else { return };
    let _ = (read.is_error(), read.errno());
    if let Status::State(state) = &read.status {
        let sent = encode_reply(&Reply::Status(state.clone()), &read.id, b"", TIME);
        assert_eq!(decode_reply(&sent).map(|again| again.status), Ok(read.status));
    }
}

fn event(topic: &[u8], payload: &[u8]) {
    let Ok(event) = Event::decode(topic, payload) else { return };
    assert_eq!(event.topic().as_bytes(), topic);
    let again = Event::decode(topic, &event.payload()).expect("an event reads back");
    assert_eq!(again.payload(), event.payload());
    assert_eq!((again.watcher, again.kind), (event.watcher, event.kind));
}

fn stat(topic: &[u8], payload: &[u8]) {
    let Ok(stat) = Stat::decode(topic, payload) else { return };
    let (topic, payload) = (stat.topic(), stat.payload());
    let again = Stat::decode(topic.as_bytes(), &payload).expect("a stat reads back");
    assert_eq!((again.topic(), again.payload()), (topic, payload));
}

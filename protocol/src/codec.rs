//! Bytes to messages and back: one frame each way on the control endpoint.
//!
//! The codec knows the envelope (`id`, `command`, `properties`; `status`, `time`, `reason`), its exact
//! order of keys and circus' spelling of it. What a command means is [`crate::command`]'s business.
//! circus never answers a payload that is no request at all; here those are refused in words, because
//! a client that waits for ever learns nothing. A cast is never answered, not even when it is wrong.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::json::{self, JsonError};
use crate::reply::{Envelope, Refusal, Reply, Status};
use crate::request::Request;

/// The largest payload that is looked at.
pub const MAX_PAYLOAD: usize = 16 * 1024 * 1024;

/// How many JSON values a request may have, nested ones included. An environment of thousands has fewer; each
/// costs fifty times its text.
pub const MAX_VALUES: usize = 100_000;

/// A payload that is no request, and what is needed to say so.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The id, as far as there was one.
    pub id: Value,
    /// No answer is wanted.
    pub cast: bool,
    /// What is wrong.
    pub refusal: Refusal,
    /// The payload, white space stripped.
    pub raw: Bytes,
}

/// Reads the envelope of a request.
///
/// # Errors
///
/// Anything that is not a JSON object with a textual `command`.
pub fn decode_request(payload: &[u8]) -> Result<Request, Box<Rejected>> {
    let stripped = strip(payload);
    let raw = Bytes::copy_from_slice(stripped.get(..MAX_PAYLOAD).unwrap_or(stripped));
    let rejected = |id: Value, cast: bool, refusal: Refusal| {
        Err(Box::new(Rejected { id, cast, refusal, raw: raw.clone() }))
    };
    if stripped.is_empty() {
        return rejected(Value::Null, false, message("empty payload, send a JSON object with 'command'"));
    }
    if stripped.len() > MAX_PAYLOAD {
        let text = format!("{} bytes are too many, at most {MAX_PAYLOAD} are read", stripped.len());
        return rejected(Value::Null, false, message(&text));
    }
    let value = match json::parse_within(stripped, MAX_VALUES) {
        Ok(value) => value,
        Err(JsonError::TooMany { .. }) => {
            let text = format!("there are more than {MAX_VALUES} values in it");
            return rejected(Value::Null, false, message(&text));
        }
        Err(_) => return rejected(Value::Null, false, Refusal::InvalidJson),
    };
    let Value::Object(mut map) = value else {
        let text = format!("{} is no object, send one with 'command'", crate::number::python_type(&value));
        return rejected(Value::Null, false, message(&text));
    };
    let id = map.get_mut("id").map_or(Value::Null, Value::take);
    let cast = map.get("msg_type").and_then(Value::as_str) == Some("cast");
    let command = match map.get_mut("command").map(Value::take) {
        Some(Value::String(command)) => command,
        Some(other) => {
            let text = format!("'command' is {}, send text", json::python_repr(&other));
            return rejected(id, cast, message(&text));
        }
        None => return rejected(id, cast, message("'command' is missing")),
    };
    let properties = map.get_mut("properties").map_or_else(|| Value::Object(Map::new()), Value::take);
    Ok(Request { id, command, properties, cast, raw })
}

fn message(text: &str) -> Refusal {
    Refusal::Message(format!("message invalid {text}"))
}

/// Python's `bytes.strip()`.
fn strip(mut bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
    while let Some((first, rest)) = bytes.split_first().filter(|(first, _)| blank(first)) {
        let _ = first;
        bytes = rest;
    }
    while let Some((last, rest)) = bytes.split_last().filter(|(last, _)| blank(last)) {
        let _ = last;
        bytes = rest;
    }
    bytes
}

/// The reason as it goes over the wire; what Python would have raised quotes the request.
#[must_use]
pub fn reason(refusal: &Refusal, raw: &[u8]) -> String {
    match refusal {
        Refusal::Raised(text) => format!("command {}: {text}", json::python_repr_bytes(raw)),
        Refusal::InvalidJson
        | Refusal::UnknownCommand(_)
        | Refusal::Message(_)
        | Refusal::NotFound(_)
        | Refusal::Os { .. }
        | Refusal::Conflict(_)
        | Refusal::Server(_) => refusal.to_string(),
    }
}

/// Puts the envelope around a reply. `raw` is the request's payload, `time` the Unix time of the reply.
#[must_use]
pub fn encode_reply(reply: &Reply, id: &Value, raw: &[u8], time: f64) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    match reply {
        Reply::Ok(keys) => {
            let status = keys.get("status").and_then(Value::as_str).unwrap_or("ok");
            head(&mut out, status);
            pair(&mut out, ", ", "time", |out| json::write_float(out, time));
            for (key, value) in
                keys.iter().filter(|(key, _)| !matches!(key.as_str(), "status" | "time" | "id"))
            {
                pair(&mut out, ", ", key, |out| json::write_value(out, value));
            }
        }
        Reply::Status(state) => {
            head(&mut out, state);
            pair(&mut out, ", ", "time", |out| json::write_float(out, time));
        }
        Reply::Error(refusal) => {
            head(&mut out, "error");
            pair(&mut out, ", ", "reason", |out| json::write_str(out, &reason(refusal, raw)));
            pair(&mut out, ", ", "tb", |out| out.extend_from_slice(b"null"));
            pair(&mut out, ", ", "time", |out| json::write_float(out, time));
            let errno = refusal.errno().get().to_string();
            pair(&mut out, ", ", "errno", |out| out.extend_from_slice(errno.as_bytes()));
        }
    }
    pair(&mut out, ", ", "id", |out| json::write_value(out, id));
    out.push(b'}');
    out
}

fn head(out: &mut Vec<u8>, status: &str) {
    pair(out, "{", "status", |out| json::write_str(out, status));
}

fn pair(out: &mut Vec<u8>, before: &str, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(before.as_bytes());
    json::write_str(out, key);
    out.extend_from_slice(b": ");
    value(out);
}

/// A request, as the stock client spells it; `properties` should be an object.
#[must_use]
pub fn encode_request(id: &str, command: &str, properties: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    pair(&mut out, "{", "id", |out| json::write_str(out, id));
    pair(&mut out, ", ", "command", |out| json::write_str(out, command));
    pair(&mut out, ", ", "properties", |out| json::write_value(out, properties));
    out.push(b'}');
    out
}

/// A request that wants no reply.
#[must_use]
pub fn encode_cast(id: &str, command: &str, properties: &Value) -> Vec<u8> {
    let mut out = encode_request(id, command, properties);
    out.pop();
    pair(&mut out, ", ", "msg_type", |out| json::write_str(out, "cast"));
    out.push(b'}');
    out
}

/// Why a frame is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Not JSON.
    #[error("reply is not json: {0}")]
    Json(#[from] JsonError),
    /// JSON, but no reply.
    #[error("reply without {0}")]
    Without(&'static str),
}

/// Reads a reply, from any circus.
///
/// # Errors
///
/// A frame that is not a JSON object with a textual `status`.
pub fn decode_reply(payload: &[u8]) -> Result<Envelope, ReplyError> {
    let Value::Object(mut map) = json::parse(strip(payload))? else {
        return Err(ReplyError::Without("an object"));
    };
    let Some(Value::String(status)) = map.shift_remove("status") else {
        return Err(ReplyError::Without("a status"));
    };
    let id = map.shift_remove("id").unwrap_or(Value::Null);
    let time = match map.shift_remove("time") {
        Some(Value::Number(number)) => json::as_float(&number),
        Some(_) | None => None,
    };
    let status = match status.as_str() {
        "ok" => Status::Ok,
        "error" => Status::Error {
            reason: map.shift_remove("reason").map_or_else(String::new, |reason| json::python_str(&reason)),
            errno: map.shift_remove("errno").and_then(|errno| errno.as_i64()),
            tb: map.shift_remove("tb").and_then(|tb| tb.as_str().map(str::to_owned)),
        },
        _ => Status::State(status),
    };
    Ok(Envelope { status, id, time, keys: map })
}

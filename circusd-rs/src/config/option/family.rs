//! Options that are families of keys: `rlimit_*`, `hooks`, `hooks.*` and the streams.
//!
//! The table has one row for one key; these keys have a part that the user chooses.

use std::collections::BTreeMap;

use circus_protocol::ini::parse_bool;
use circus_protocol::reply::Refusal;
use serde_json::Value;

use super::Trigger;
use super::table::integer;
use crate::config::facility;
use crate::config::{HookConfig, StreamClass, StreamConfig, WatcherConfig};

/// Applies a key of one of the families; `None` when the key is in none of them.
pub(super) fn set(config: &mut WatcherConfig, key: &str, value: &Value) -> Result<Option<Trigger>, Refusal> {
    if let Some(limit) = key.strip_prefix("rlimit_") {
        let wanted = rlimit(key, value)?;
        config.rlimits.insert(limit.to_lowercase(), wanted);
        return Ok(Some(Trigger::Manage));
    }
    if key == "retry_in" {
        return Ok(Some(Trigger::Manage));
    }
    if key == "hooks" {
        for (name, value) in object(key, value)? {
            config.hooks.insert(name.clone(), hook(value)?);
        }
        return Ok(Some(Trigger::Manage));
    }
    if let Some(name) = key.strip_prefix("hooks.") {
        config.hooks.insert(name.to_owned(), hook(value)?);
        return Ok(Some(Trigger::Manage));
    }
    stream_key(config, key, value)
}

fn stream_key(config: &mut WatcherConfig, key: &str, value: &Value) -> Result<Option<Trigger>, Refusal> {
    let (name, option) = key.split_once('.').map_or((key, None), |(name, option)| (name, Some(option)));
    let stream = match name {
        "stdout_stream" => &mut config.stdout_stream,
        "stderr_stream" => &mut config.stderr_stream,
        _ => return Ok(None),
    };
    let mut pairs: BTreeMap<String, Value> = stream.as_ref().map(pairs_of).unwrap_or_default();
    match option {
        Some(option) => {
            pairs.insert(option.to_owned(), value.clone());
        }
        None => pairs = object(key, value)?.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
    }
    let had_one = stream.is_some();
    *stream = Some(self::stream(pairs).map_err(Refusal::Raised)?);
    Ok(Some(if had_one { Trigger::Manage } else { Trigger::Reload }))
}

fn pairs_of(stream: &StreamConfig) -> BTreeMap<String, Value> {
    let mut pairs = stream.conf.clone();
    pairs.insert("class".to_owned(), stream.class.name().into());
    pairs
}

fn object<'a>(key: &str, value: &'a Value) -> Result<Vec<(&'a String, &'a Value)>, Refusal> {
    match value {
        Value::Object(map) => Ok(map.iter().collect()),
        _ => Err(Refusal::Message(format!("'{key}' isn't a valid object"))),
    }
}

/// `null` is unlimited.
fn rlimit(key: &str, value: &Value) -> Result<Option<u64>, Refusal> {
    if value.is_null() {
        return Ok(None);
    }
    let number = integer(value).ok().and_then(|number| limit_from(number).ok());
    number.ok_or_else(|| Refusal::Message(format!("{key}: {value} rlimit value isn't a valid int")))
}

/// The kernel's -1 means unlimited; other negative numbers mean nothing.
pub(crate) fn limit_from(number: i64) -> Result<Option<u64>, String> {
    match u64::try_from(number) {
        Ok(limit) => Ok(Some(limit)),
        Err(_) if number == -1 => Ok(None),
        Err(_) => Err(format!("{number} is not a limit")),
    }
}

/// `path`, `path,flag` or `[path, flag]`.
fn hook(value: &Value) -> Result<HookConfig, Refusal> {
    let refused = || Refusal::Message(format!("{value} isn't a valid hook dict"));
    match value {
        Value::String(text) => hook_from(text).map_err(|_| refused()),
        Value::Array(items) => match items.as_slice() {
            [Value::String(path), Value::Bool(flag)] => {
                Ok(HookConfig { path: path.clone(), ignore_failure: *flag })
            }
            _ => Err(refused()),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(refused()),
    }
}

/// A hook as a file spells it: `path` or `path, flag`.
pub(crate) fn hook_from(text: &str) -> Result<HookConfig, String> {
    let program = text.trim_start().starts_with(HookConfig::PROGRAM);
    let (path, flag) = match text.rsplit_once(',') {
        // A program's words may have commas of their own.
        Some((_, word)) if program && parse_bool(word).is_none() => (text, None),
        Some((path, flag)) if program => (path, Some(flag)),
        Some(_) | None => text.split_once(',').map_or((text, None), |(path, flag)| (path, Some(flag))),
    };
    let ignore_failure = match flag {
        None => false,
        Some(flag) => parse_bool(flag).ok_or_else(|| format!("{:?} is not a boolean", flag.trim()))?,
    };
    Ok(HookConfig { path: path.trim().to_owned(), ignore_failure })
}

/// A stream from its options. Without `class` a `filename` makes it a file.
pub(crate) fn stream(mut pairs: BTreeMap<String, Value>) -> Result<StreamConfig, String> {
    let class = match pairs.remove("class") {
        Some(Value::String(name)) => StreamClass::from_name(&name).ok_or_else(|| unknown_class(&name))?,
        Some(other) => return Err(format!("{other} is not a stream class")),
        None if pairs.contains_key("filename") => StreamClass::File,
        None => return Err("stream configuration invalid".to_owned()),
    };
    for key in ["max_bytes", "backup_count"] {
        if let Some(value) = pairs.get(key) {
            let number = match value {
                Value::String(text) => circus_protocol::ini::parse_int(text),
                _ => integer(value).ok(),
            };
            number.ok_or_else(|| format!("{key}: {value} is not a whole number"))?;
        }
    }
    if class == StreamClass::TimedRotatingFile {
        rotate_when(pairs.get("rotate_when"))?;
    }
    if let Some(value) = pairs.get("on_full")
        && !matches!(value.as_str(), Some("drop" | "block"))
    {
        return Err(format!("on_full: {value} is neither drop nor block"));
    }
    if let (StreamClass::Syslog, Some(value)) = (class, pairs.get("facility")) {
        let known = value.as_str().and_then(facility::facility);
        known.ok_or_else(|| {
            format!("facility: {value} is none of syslog's (user, daemon, local0 to local7, ...)")
        })?;
    }
    Ok(StreamConfig { class, conf: pairs })
}

/// A path is code for stock's interpreter, which is not here.
fn unknown_class(name: &str) -> String {
    let known = StreamClass::ALL.map(StreamClass::name).join(", ");
    if name.contains('.') {
        format!("class {name:?} is Python code, which this daemon does not run; use one of {known}")
    } else {
        format!("no stream class {name:?}; there are {known}")
    }
}

fn rotate_when(value: Option<&Value>) -> Result<(), String> {
    const PERIODS: [&str; 5] = ["S", "M", "H", "D", "MIDNIGHT"];
    let text = value.and_then(Value::as_str).ok_or("rotate_when is missing")?;
    let weekday = matches!(text.strip_prefix('W'), Some("0" | "1" | "2" | "3" | "4" | "5" | "6"));
    if weekday || PERIODS.contains(&text) {
        return Ok(());
    }
    Err(format!("rotate_when: {text:?} is not one of S M H D MIDNIGHT W0-W6"))
}

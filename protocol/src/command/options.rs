//! The table of watcher options: which keys `set` and `add` take, what type each must have, whether
//! it has any effect. One row per option; what an option does is for the daemon to know.
//!
//! Types are checked with circus' words. Where circus takes a value that only breaks something later
//! (text in `max_age`'s place is caught by it, a number as `cmd` is not) the value is refused here.

pub mod text;

use serde_json::{Map, Value};

pub use text::from_text;

use super::arguments::{integer, raised, refuse};
use crate::json;
use crate::reply::Refusal;

/// Which command brings an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// `add`, for a watcher that does not run yet.
    Add,
    /// `set`, for one that may.
    Set,
}

/// The type of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// An integer; `true` is 1.
    Integer,
    /// A finite number.
    Number,
    /// An integer or a text: a user or a group.
    Account,
    /// A real JSON boolean.
    Boolean,
    /// Anything; Python's truth of it counts.
    Truth,
    /// A text.
    Text,
    /// A text or null.
    OptionalText,
    /// A list, a text or null.
    Words,
    /// An object of texts.
    Environment,
    /// An object with a `class`.
    Stream,
    /// Anything: one setting of a stream.
    StreamSetting,
    /// An object of hooks.
    Hooks,
    /// One hook.
    Hook,
    /// An integer or null, for a limit that exists.
    Limit,
    /// Anything: circus does not know the option, and the daemon that does checks it.
    Extension,
}

/// What Python says when `add` brings `cmd` or `args` as an option too.
const TWICE: &str = "got multiple values for";

/// What becomes of an accepted option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It takes effect.
    Applied,
    /// It is answered with ok (and `set` publishes `updated`), and nothing changes; clients rely on the ok.
    Ignored,
    /// `add` keeps it as a custom option, visible in `options`.
    Custom,
}

/// One option, or one family of options when the key ends in `.` or `_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The key, or what the keys of the family begin with.
    pub key: &'static str,
    /// Its type.
    pub check: Check,
    /// What `set` does with it.
    pub set: Outcome,
    /// What `add` does with it.
    pub add: Outcome,
}

const fn row(key: &'static str, check: Check, set: Outcome, add: Outcome) -> Row {
    Row { key, check, set, add }
}

/// Every option that `set` and `add` take; anything else is an unknown key.
pub const OPTIONS: &[Row] = {
    use Check::{
        Account, Boolean, Environment, Extension, Hook, Hooks, Integer, Limit, Number, OptionalText, Stream,
        StreamSetting, Text, Truth, Words,
    };
    use Outcome::{Applied, Custom, Ignored};
    &[
        row("numprocesses", Integer, Applied, Applied),
        row("warmup_delay", Number, Applied, Applied),
        row("working_dir", OptionalText, Applied, Applied),
        row("uid", Account, Applied, Applied),
        row("gid", Account, Applied, Applied),
        row("send_hup", Boolean, Applied, Applied),
        row("stop_signal", Integer, Applied, Applied),
        row("stop_children", Boolean, Applied, Applied),
        row("shell", Boolean, Applied, Applied),
        row("env", Environment, Applied, Applied),
        row("cmd", Text, Applied, Applied),
        row("args", Words, Applied, Applied),
        row("copy_env", Boolean, Ignored, Applied),
        row("retry_in", Number, Ignored, Custom),
        row("max_retry", Integer, Ignored, Applied),
        row("graceful_timeout", Number, Applied, Applied),
        row("stdout_stream", Stream, Applied, Applied),
        row("stderr_stream", Stream, Applied, Applied),
        row("max_age", Integer, Applied, Applied),
        row("max_age_variance", Integer, Applied, Applied),
        row("respawn", Boolean, Ignored, Applied),
        row("singleton", Truth, Ignored, Applied),
        row("hooks", Hooks, Applied, Applied),
        row("close_child_stdin", Boolean, Ignored, Applied),
        row("close_child_stdout", Boolean, Ignored, Applied),
        row("close_child_stderr", Boolean, Ignored, Applied),
        row("stdout_stream.", StreamSetting, Applied, Custom),
        row("stderr_stream.", StreamSetting, Applied, Custom),
        row("hooks.", Hook, Applied, Custom),
        row("rlimit_", Limit, Ignored, Applied),
        row("restart", Extension, Applied, Applied),
        row("expected_exit_codes", Extension, Applied, Applied),
        row("success_after", Extension, Applied, Applied),
        row("backoff", Extension, Applied, Applied),
        row("backoff_max", Extension, Applied, Applied),
        row("backoff_jitter", Extension, Applied, Applied),
        row("start_limit", Extension, Applied, Applied),
        row("start_limit_window", Extension, Applied, Applied),
    ]
};

/// The hooks a watcher can have.
pub const HOOKS: &[&str] = &[
    "before_start",
    "after_start",
    "before_stop",
    "after_stop",
    "before_spawn",
    "after_spawn",
    "before_signal",
    "after_signal",
    "before_reap",
    "after_reap",
    "extended_stats",
];

/// The resource limits that Linux has, as `rlimit_NAME` names them.
pub const LIMITS: &[&str] = &[
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "ofile",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The row of an option; a member of a family finds its family.
#[must_use]
pub fn find(key: &str) -> Option<&'static Row> {
    let family = |row: &&Row| row.key.ends_with(['.', '_']) && key.starts_with(row.key);
    OPTIONS.iter().find(|row| row.key == key).or_else(|| OPTIONS.iter().find(family))
}

/// Checks all options of a message, in their order.
pub(super) fn check_all(options: &Value, via: Via) -> Result<Vec<(String, Value)>, Refusal> {
    let Value::Object(map) = options else {
        return refuse("'options' property should be an object".to_owned());
    };
    // First everything circus itself refuses, in its order; then what it would stumble over.
    for (key, value) in map {
        check(key, value)?;
    }
    map.iter().map(|(key, value)| Ok((key.clone(), accept(key, value, via)?))).collect()
}

/// circus' own check of one option.
///
/// # Errors
///
/// An unknown key or the wrong type, in circus' words.
pub fn check(key: &str, value: &Value) -> Result<(), Refusal> {
    let quoted = json::python_repr_str(key);
    let Some(row) = find(key) else { return refuse(format!("unknown key {quoted}")) };
    match row.check {
        Check::Integer if !is_int(value) => refuse(format!("{quoted} isn't an integer")),
        Check::Number if !is_int(value) && !value.is_number() => refuse(format!("{quoted} isn't a number")),
        Check::Account if !is_int(value) && !value.is_string() => {
            refuse(format!("{quoted} isn't an integer or string"))
        }
        Check::Boolean if !value.is_boolean() => refuse(format!("{quoted} isn't a valid boolean")),
        Check::Environment => environment(&quoted, value),
        Check::Stream => match value {
            Value::Object(map) if map.contains_key("class") => Ok(()),
            Value::Object(_) => refuse(format!("{quoted} must have a 'class' key")),
            _ => refuse(format!("{quoted} isn't a valid object")),
        },
        Check::Hooks => match value {
            Value::Object(map) => match map.keys().all(|hook| HOOKS.contains(&hook.as_str())) {
                true => Ok(()),
                false => refuse(format!("Unknown hook {}", json::python_repr(value))),
            },
            _ => refuse(format!("{} isn't a valid hook dict", json::python_repr(value))),
        },
        Check::Limit => limit(&quoted, key, value),
        Check::Integer
        | Check::Number
        | Check::Account
        | Check::Boolean
        | Check::Truth
        | Check::Text
        | Check::OptionalText
        | Check::Words
        | Check::StreamSetting
        | Check::Extension
        | Check::Hook => Ok(()),
    }
}

fn environment(quoted: &str, value: &Value) -> Result<(), Refusal> {
    let Value::Object(map) = value else { return refuse(format!("{quoted} isn't a valid object")) };
    match map.iter().find(|(_, value)| !value.is_string()) {
        Some((name, _)) => refuse(format!("{} isn't a string", json::python_repr_str(name))),
        None => Ok(()),
    }
}

fn limit(quoted: &str, key: &str, value: &Value) -> Result<(), Refusal> {
    let name = key.strip_prefix("rlimit_").unwrap_or_default().to_lowercase();
    if !LIMITS.contains(&name.as_str()) {
        return refuse(format!("{quoted} isn't a valid rlimit setting"));
    }
    if value.is_null() || is_int(value) {
        return Ok(());
    }
    refuse(format!("{} rlimit value isn't a valid int", json::python_repr(value)))
}

/// Python's `isinstance(value, int)`, which is true for booleans.
fn is_int(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Number(number) => json::is_integer(number),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The value in its plain form (`true` where an integer is due becomes 1), or our refusal of what
/// circus would take and then break on.
fn accept(key: &str, value: &Value, via: Via) -> Result<Value, Refusal> {
    let repr = || json::python_repr(value);
    let Some(row) = find(key) else { return Ok(value.clone()) };
    match row.check {
        Check::Integer | Check::Limit if !value.is_null() => match integer(value) {
            Some(number) => Ok(Value::from(number)),
            None => refuse(format!("'{key}' is out of range: {}", repr())),
        },
        Check::Number => match super::arguments::number(value) {
            Some(_) if value.is_boolean() => Ok(Value::from(integer(value))),
            Some(_) => Ok(value.clone()),
            None => refuse(format!("'{key}' isn't a number: {}", repr())),
        },
        Check::Account if value.is_boolean() => Ok(Value::from(integer(value))),
        Check::Truth => Ok(Value::Bool(json::truthy(value))),
        Check::Text if !value.is_string() => refuse(format!("'{key}' isn't a string: {}", repr())),
        Check::Text if via == Via::Add => raised(&format!("Arbiter.add_watcher() {TWICE} argument '{key}'")),
        Check::OptionalText if !value.is_string() && !value.is_null() => {
            refuse(format!("'{key}' isn't a string: {}", repr()))
        }
        Check::Words if via == Via::Add => {
            raised(&format!("circus.arbiter.Arbiter.add_watcher() {TWICE} keyword argument '{key}'"))
        }
        Check::Words if !value.is_string() && !value.is_null() && !value.is_array() => {
            refuse(format!("'{key}' isn't a list or string: {}", repr()))
        }
        Check::Hooks => value.as_object().map_or(Ok(()), |map| hooks(map, via)).map(|()| value.clone()),
        Check::Hook if via == Via::Set && !value.is_string() => {
            refuse(format!("'{key}' isn't a string: {}", repr()))
        }
        Check::Integer
        | Check::Limit
        | Check::Account
        | Check::Boolean
        | Check::Text
        | Check::OptionalText
        | Check::Words
        | Check::Environment
        | Check::Stream
        | Check::StreamSetting
        | Check::Extension
        | Check::Hook => Ok(value.clone()),
    }
}

/// The two spellings of a hook: `set` takes `"path"` or `"path,bool"`, `add` takes `["path", bool]`;
/// both are understood in both places.
fn hooks(map: &Map<String, Value>, via: Via) -> Result<(), Refusal> {
    for (hook, value) in map {
        let pair = matches!(value.as_array().map(Vec::as_slice), Some([Value::String(_), _]));
        if !pair && !value.is_string() {
            let form = match via {
                Via::Add => "[\"module.function\", false]",
                Via::Set => "\"module.function\"",
            };
            return refuse(format!("hook '{hook}' is {}: send {form}", json::python_repr(value)));
        }
    }
    Ok(())
}

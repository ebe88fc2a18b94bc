//! The rows of the option table, and nothing else; [`super`] says what they mean.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::ini::{parse_float, parse_int};
use circus_protocol::number::Signal;
use serde_json::Value;

use super::Kind::{Boolean, Integer, IntegerOrText, Number, Signal as SignalKind, Text};
use super::Trigger::{Manage, Reload};
use super::{Kind, OptionRow, Shown, Trigger};
use crate::config::policy::{ExitCodes, LONGEST, LOWEST_CEILING, MOST_STARTS, Restart, SHORTEST_PAUSE};
use crate::config::{Account, StreamConfig, WatcherConfig};

/// The shortest `figures_interval`, in seconds.
const SHORTEST_LOOKS: f64 = 1.0;

type Show = fn(&WatcherConfig) -> Value;
type Store = fn(&mut WatcherConfig, &Value) -> Result<(), String>;

/// Every option that is one field. `rlimit_*`, `hooks.*` and the streams are families of keys; see
/// `family`.
pub static TABLE: &[OptionRow] = &[
    both(
        "args",
        Text,
        Some(Reload),
        |w| w.args.clone(),
        |w, v| {
            w.args = v.clone();
            Ok(())
        },
    ),
    ours(
        "backoff",
        Number,
        |w| span(w.policy.backoff),
        |w, v| put(&mut w.policy.backoff, pause(v, SHORTEST_PAUSE)),
    ),
    ours(
        "backoff_jitter",
        Number,
        |w| w.policy.backoff_jitter.into(),
        |w, v| put(&mut w.policy.backoff_jitter, share(v)),
    ),
    ours(
        "backoff_max",
        Number,
        |w| span(w.policy.backoff_max),
        |w, v| put(&mut w.policy.backoff_max, pause(v, LOWEST_CEILING)),
    ),
    file("autostart", Boolean, |w| w.autostart.into(), |w, v| put(&mut w.autostart, boolean(v))),
    both(
        "close_child_stderr",
        Boolean,
        Some(Manage),
        |w| w.close_child_stderr.into(),
        |w, v| put(&mut w.close_child_stderr, boolean(v)),
    ),
    both(
        "close_child_stdin",
        Boolean,
        Some(Manage),
        |w| w.close_child_stdin.into(),
        |w, v| put(&mut w.close_child_stdin, boolean(v)),
    ),
    both(
        "close_child_stdout",
        Boolean,
        Some(Manage),
        |w| w.close_child_stdout.into(),
        |w, v| put(&mut w.close_child_stdout, boolean(v)),
    ),
    both("cmd", Text, Some(Reload), |w| w.cmd.clone().into(), |w, v| put(&mut w.cmd, text(v))),
    both("copy_env", Boolean, Some(Manage), |w| w.copy_env.into(), |w, v| put(&mut w.copy_env, boolean(v))),
    file("copy_path", Boolean, |w| w.copy_path.into(), |w, v| put(&mut w.copy_path, boolean(v))),
    client("env", Some(Reload), show_env, store_env),
    // Read and ignored, as circus does.
    both("executable", Text, None, |_| Value::Null, |_, _| Ok(())),
    ours(
        "expected_exit_codes",
        Text,
        |w| w.policy.expected.as_ref().map(ToString::to_string).into(),
        |w, v| put(&mut w.policy.expected, given(v, ExitCodes::from_value)),
    ),
    ours("figures_interval", Number, |w| span(w.figures), |w, v| put(&mut w.figures, looks(v))),
    both(
        "gid",
        IntegerOrText,
        Some(Reload),
        |w| show_owner(w.gid.as_ref()),
        |w, v| put(&mut w.gid, owner(v)),
    ),
    both(
        "graceful_timeout",
        Number,
        Some(Manage),
        |w| w.graceful_timeout.into(),
        |w, v| put(&mut w.graceful_timeout, number(v)),
    ),
    both("max_age", Integer, Some(Reload), |w| w.max_age.into(), |w, v| put(&mut w.max_age, integer(v))),
    both(
        "max_age_variance",
        Integer,
        Some(Reload),
        |w| w.max_age_variance.into(),
        |w, v| put(&mut w.max_age_variance, integer(v)),
    ),
    both(
        "max_retry",
        Integer,
        Some(Manage),
        |w| w.max_retry.into(),
        |w, v| put(&mut w.max_retry, integer(v)),
    ),
    both(
        "numprocesses",
        Integer,
        Some(Manage),
        |w| w.numprocesses.into(),
        |w, v| put(&mut w.numprocesses, count(v)),
    ),
    both("on_demand", Boolean, None, |w| w.on_demand.into(), |w, v| put(&mut w.on_demand, boolean(v))),
    both("priority", Integer, None, |w| w.priority.into(), |w, v| put(&mut w.priority, integer(v))),
    both("respawn", Boolean, Some(Manage), |w| w.respawn.into(), |w, v| put(&mut w.respawn, boolean(v))),
    ours(
        "restart",
        Text,
        |w| w.policy.restart.map(Restart::name).into(),
        |w, v| put(&mut w.policy.restart, given(v, |v| text(v).and_then(|word| Restart::parse(&word)))),
    ),
    both("send_hup", Boolean, Some(Manage), |w| w.send_hup.into(), |w, v| put(&mut w.send_hup, boolean(v))),
    both("shell", Boolean, Some(Reload), |w| w.shell.into(), |w, v| put(&mut w.shell, boolean(v))),
    both(
        "shell_args",
        Text,
        None,
        |w| w.shell_args.clone().into(),
        |w, v| put(&mut w.shell_args, text(v).map(Some)),
    ),
    both(
        "singleton",
        Boolean,
        Some(Manage),
        |w| w.singleton.into(),
        |w, v| put(&mut w.singleton, boolean(v)),
    ),
    ours(
        "start_limit",
        Integer,
        |w| w.policy.start_limit.into(),
        |w, v| put(&mut w.policy.start_limit, given(v, starts)),
    ),
    ours(
        "start_limit_window",
        Number,
        |w| span(w.policy.start_limit_window),
        |w, v| put(&mut w.policy.start_limit_window, pause(v, LOWEST_CEILING)),
    ),
    client("stderr_stream_conf", None, |w| show_stream(w, w.stderr_stream.as_ref()), |_, _| Ok(())),
    file(
        "stdin_socket",
        Text,
        |w| w.stdin_socket.clone().into(),
        |w, v| put(&mut w.stdin_socket, text(v).map(Some)),
    ),
    client("stdout_stream_conf", None, |w| show_stream(w, w.stdout_stream.as_ref()), |_, _| Ok(())),
    both(
        "stop_children",
        Boolean,
        Some(Manage),
        |w| w.stop_children.into(),
        |w, v| put(&mut w.stop_children, boolean(v)),
    ),
    both(
        "stop_signal",
        SignalKind,
        Some(Manage),
        |w| w.stop_signal.0.into(),
        |w, v| put(&mut w.stop_signal, signal(v)),
    ),
    ours(
        "success_after",
        Number,
        |w| span(w.policy.success_after),
        |w, v| put(&mut w.policy.success_after, pause(v, 0.0)),
    ),
    both(
        "uid",
        IntegerOrText,
        Some(Reload),
        |w| show_owner(w.uid.as_ref()),
        |w, v| put(&mut w.uid, owner(v)),
    ),
    both("use_sockets", Boolean, None, |w| w.use_sockets.into(), |w, v| put(&mut w.use_sockets, boolean(v))),
    both("warmup_delay", Integer, Some(Manage), show_warmup, |w, v| put(&mut w.warmup_delay, number(v))),
    both(
        "working_dir",
        Text,
        Some(Reload),
        |w| w.working_dir.clone().into(),
        |w, v| put(&mut w.working_dir, text(v)),
    ),
];

/// A row for files and for `options`.
const fn both(key: &'static str, kind: Kind, set: Option<Trigger>, show: Show, store: Store) -> OptionRow {
    OptionRow { key, kind, in_file: true, shown: Shown::Always, set, show, store }
}

/// A row for files only.
const fn file(key: &'static str, kind: Kind, show: Show, store: Store) -> OptionRow {
    OptionRow { key, kind, in_file: true, shown: Shown::Never, set: None, show, store }
}

/// A row for `options` that a file spells otherwise.
const fn client(key: &'static str, set: Option<Trigger>, show: Show, store: Store) -> OptionRow {
    OptionRow { key, kind: Text, in_file: false, shown: Shown::Always, set, show, store }
}

/// A row that circus does not know: shown when it was given, and null takes it back.
const fn ours(key: &'static str, kind: Kind, show: Show, store: Store) -> OptionRow {
    OptionRow { key, kind, in_file: true, shown: Shown::WhenGiven, set: Some(Manage), show, store }
}

fn put<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{value} isn't a valid boolean"))
}

/// JSON's `true` passes as 1, as in Python.
pub(super) fn integer(value: &Value) -> Result<i64, String> {
    match value {
        Value::Bool(flag) => Ok(i64::from(*flag)),
        _ => value.as_i64().ok_or_else(|| format!("{value} isn't an integer")),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
        _ => value.as_f64().filter(|n| n.is_finite()).ok_or_else(|| format!("{value} isn't a number")),
    }
}

/// How many processes one watcher may have.
pub const MAX_PROCESSES: u32 = 10_000;

/// Less than none is none; a slip of the finger must not start a million processes.
fn count(value: &Value) -> Result<u32, String> {
    let wanted = integer(value)?;
    match u32::try_from(wanted.max(0)) {
        Ok(wanted) if wanted <= MAX_PROCESSES => Ok(wanted),
        _ => Err(format!("{wanted} processes are more than the {MAX_PROCESSES} that one watcher may have")),
    }
}

/// Null and an empty text take an option back.
fn given<T>(value: &Value, read: impl Fn(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.trim().is_empty() => Ok(None),
        _ => read(value).map(Some),
    }
}

/// Seconds, not fewer than these; clients that do not know the option send text.
fn pause(value: &Value, least: f64) -> Result<Option<Duration>, String> {
    let seconds = given(value, |value| between(value, least, LONGEST, " seconds"))?;
    Ok(seconds.map(Duration::from_secs_f64))
}

/// 0 switches it off.
fn looks(value: &Value) -> Result<Option<Duration>, String> {
    match pause(value, 0.0)? {
        Some(seconds) if !seconds.is_zero() => pause(value, SHORTEST_LOOKS),
        none => Ok(none),
    }
}

fn share(value: &Value) -> Result<Option<f64>, String> {
    given(value, |value| between(value, 0.0, 1.0, ""))
}

fn between(value: &Value, least: f64, most: f64, unit: &str) -> Result<f64, String> {
    let number = match value {
        Value::String(text) => parse_float(text).ok_or_else(|| format!("{text:?} is not a number"))?,
        _ => number(value)?,
    };
    let fits = (least..=most).contains(&number);
    if fits { Ok(number) } else { Err(format!("{number} is not between {least} and {most}{unit}")) }
}

/// 0 is no limit.
fn starts(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::String(text) => parse_int(text).ok_or_else(|| format!("{text:?} is not a whole number"))?,
        _ => integer(value)?,
    };
    let fits = u32::try_from(number).ok().filter(|number| *number <= MOST_STARTS);
    fits.ok_or_else(|| format!("{number} is not between 0 and {MOST_STARTS}"))
}

fn span(duration: Option<Duration>) -> Value {
    duration.map(|duration| duration.as_secs_f64()).into()
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("{value} isn't a string"))
        }
    }
}

fn owner(value: &Value) -> Result<Option<Account>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(Account::Text(text.clone()))),
        _ => integer(value)
            .map(|number| Some(Account::Number(number)))
            .map_err(|_| format!("{value} isn't an integer or string")),
    }
}

fn signal(value: &Value) -> Result<Signal, String> {
    let number = integer(value)?;
    let signal = i32::try_from(number).ok().map(Signal).filter(|signal| signal.exists());
    signal.ok_or_else(|| format!("{number} isn't a signal: expected 0 to {}", Signal::LAST.0))
}

fn show_owner(owner: Option<&Account>) -> Value {
    match owner {
        None => Value::Null,
        Some(Account::Number(number)) => Value::from(*number),
        Some(Account::Text(text)) => Value::from(text.as_str()),
    }
}

fn show_env(config: &WatcherConfig) -> Value {
    let object =
        |env: &BTreeMap<String, String>| env.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
    config.env.as_ref().map_or(Value::Null, |env| Value::Object(object(env)))
}

fn store_env(config: &mut WatcherConfig, value: &Value) -> Result<(), String> {
    let Value::Object(object) = value else { return Err("'env' isn't a valid object".to_owned()) };
    let mut env = BTreeMap::new();
    for (key, value) in object {
        let Value::String(text) = value else { return Err(format!("'{key}' isn't a string")) };
        env.insert(key.clone(), text.clone());
    }
    config.env = Some(Arc::new(env));
    Ok(())
}

/// A file can only say whole seconds, and clients see them as integers until somebody sets others.
fn show_warmup(config: &WatcherConfig) -> Value {
    let seconds = config.warmup_delay;
    if config.from_file && seconds.fract() == 0.0 && seconds.abs() < f64::from(u32::MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 32 bits, checked above")]
        return Value::from(seconds as i64);
    }
    Value::from(seconds)
}

fn show_stream(config: &WatcherConfig, stream: Option<&StreamConfig>) -> Value {
    match stream {
        Some(stream) => Value::Object(stream.conf.iter().map(|(k, v)| (k.clone(), v.clone())).collect()),
        None if config.from_file => Value::Object(serde_json::Map::new()),
        None => Value::Null,
    }
}

//! The option table: each watcher option once.
//!
//! A row says how the ini spells the value, how `options` and `get` print it, whether `set` and
//! `add` take it, and what a change sets off. The loader, `set`, `add`, `options` and `get` all read
//! this table, so a new option is one row. It refuses to know what a watcher is doing: it turns
//! values into fields of a [`WatcherConfig`] and back, nothing else.
//!
//! Values travel as JSON. Text from a file is turned into JSON by the row's [`Kind`] first, so there
//! is one way in for both.

pub(crate) mod family;
mod table;

use circus_protocol::number::Signal;
use std::sync::Arc;

use circus_protocol::ini::{parse_float, parse_int};
use circus_protocol::name::WatcherName;
use circus_protocol::reply::Refusal;
use serde_json::{Map, Value};

use crate::config::{Inherited, WatcherConfig};
pub use table::{MAX_PROCESSES, TABLE};

/// How an ini file spells an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anything, as it stands.
    Text,
    /// A user or group: a number or a name.
    IntegerOrText,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `yes true on 1` or `no false off 0`.
    Boolean,
    /// A signal's number or name.
    Signal,
}

/// What a change of an option sets off. circus runs a management pass after every `set`, so there
/// is no third case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Compare wanted with actual; running processes keep what they have.
    Manage,
    /// Replace the processes gracefully (not when the watcher is stopped).
    Reload,
}

/// Whether clients see an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// circus shows it.
    Always,
    /// circus does not know it: it is there when it was given, as circus shows a key it does not know.
    WhenGiven,
    /// circus hides it.
    Never,
}

/// One option.
#[derive(Debug)]
pub struct OptionRow {
    /// Its name in files and messages.
    pub key: &'static str,
    /// How a file spells it.
    pub kind: Kind,
    /// Whether an ini file may give it; the rest is for clients only.
    pub in_file: bool,
    /// Whether `options` and `get` show it.
    pub shown: Shown,
    /// Whether `set` and `add` take it, and what `set` sets off.
    pub set: Option<Trigger>,
    /// The value as `options` prints it.
    pub show: fn(&WatcherConfig) -> Value,
    /// Stores a value, or says what is wrong with it.
    pub store: fn(&mut WatcherConfig, &Value) -> Result<(), String>,
}

impl OptionRow {
    /// The value for clients, if they see it.
    #[must_use]
    pub fn visible(&self, config: &WatcherConfig) -> Option<Value> {
        match self.shown {
            Shown::Always => Some((self.show)(config)),
            Shown::WhenGiven => Some((self.show)(config)).filter(|value| !value.is_null()),
            Shown::Never => None,
        }
    }
}

/// The row of an option.
#[must_use]
pub fn row(key: &str) -> Option<&'static OptionRow> {
    TABLE.iter().find(|row| row.key == key)
}

/// What `options` prints: the fixed keys and the watcher's own unknown ones, sorted.
#[must_use]
pub fn show_all(config: &WatcherConfig) -> Map<String, Value> {
    let mut shown: Vec<(&str, Value)> =
        TABLE.iter().filter_map(|row| row.visible(config).map(|value| (row.key, value))).collect();
    shown.extend(config.custom.iter().map(|(key, value)| (key.as_str(), value.clone())));
    shown.sort_by_key(|(key, _)| *key);
    shown.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What `get` answers for one key; `None` when there is no such option.
#[must_use]
pub fn show(config: &WatcherConfig, key: &str) -> Option<Value> {
    row(key).and_then(|row| row.visible(config)).or_else(|| config.custom.get(key).cloned())
}

/// Applies one option of `set`.
///
/// # Errors
/// In circus' words, when the option is unknown or the value does not fit; nothing changed then.
pub fn set(config: &mut WatcherConfig, key: &str, value: &Value) -> Result<Trigger, Refusal> {
    if let Some(trigger) = family::set(config, key, value)? {
        return Ok(trigger);
    }
    let (row, trigger) = row(key)
        .and_then(|row| row.set.map(|trigger| (row, trigger)))
        .ok_or_else(|| Refusal::Message(format!("unknown key '{key}'")))?;
    let mut changed = config.clone();
    (row.store)(&mut changed, value).map_err(Refusal::Raised)?;
    if changed.singleton && changed.numprocesses > 1 {
        return Err(Refusal::Raised("Singleton watcher has a single process".to_owned()));
    }
    *config = changed;
    Ok(trigger)
}

/// Builds the watcher that `add` describes.
///
/// # Errors
/// In circus' words, when an option is unknown, does not fit, or contradicts another.
pub fn add(
    name: &str,
    cmd: &str,
    args: &Value,
    options: &[(String, Value)],
    inherited: &Arc<Inherited>,
) -> Result<WatcherConfig, Refusal> {
    let mut config = WatcherConfig::new(WatcherName::new(name), inherited.working_dir.clone());
    cmd.clone_into(&mut config.cmd);
    config.args = args.clone();
    for (key, value) in options {
        add_option(&mut config, key, value)?;
    }
    if config.singleton && config.numprocesses > 1 {
        let count = config.numprocesses;
        return Err(Refusal::Raised(format!("Cannot have {count} processes with a singleton  watcher")));
    }
    if config.copy_env {
        let own = config.env.take().map(Arc::unwrap_or_clone).unwrap_or_default();
        let mut env = inherited.environment.clone();
        env.extend(own);
        config.env = Some(Arc::new(env));
    } else if config.copy_path {
        return Err(Refusal::Raised("copy_env and copy_path must have the same value".to_owned()));
    }
    Ok(config)
}

fn add_option(config: &mut WatcherConfig, key: &str, value: &Value) -> Result<(), Refusal> {
    if matches!(key, "cmd" | "args") {
        return Err(Refusal::Raised(format!("got multiple values for argument '{key}'")));
    }
    if key == "retry_in" {
        config.custom.insert(key.to_owned(), value.clone());
        return Ok(());
    }
    if family::set(config, key, value)?.is_some() {
        return Ok(());
    }
    let row = row(key)
        .filter(|row| row.set.is_some())
        .ok_or_else(|| Refusal::Message(format!("unknown key '{key}'")))?;
    (row.store)(config, value).map_err(Refusal::Raised)
}

/// Turns a file's text into the value that [`OptionRow::store`] takes.
///
/// # Errors
/// When the text is not of this kind; the reason quotes it.
pub fn from_text(kind: Kind, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("{text:?} is not {what}");
    match kind {
        Kind::Text | Kind::IntegerOrText => Ok(Value::from(text)),
        Kind::Integer => parse_int(text).map(Value::from).ok_or_else(|| wrong("a whole number")),
        Kind::Number => parse_float(text)
            .filter(|number| number.is_finite())
            .map(Value::from)
            .ok_or_else(|| wrong("a number")),
        Kind::Boolean => circus_protocol::ini::parse_bool(text)
            .map(Value::from)
            .ok_or_else(|| wrong("a boolean (yes, true, on, 1, no, false, off, 0)")),
        Kind::Signal => signal_number(text)
            .map(Value::from)
            .ok_or_else(|| wrong("a signal (a number, or a name like TERM or SIGRTMIN+1)")),
    }
}

/// The number of a signal given by number or name, any case, with or without `SIG`, with an offset.
pub(in crate::config) fn signal_number(text: &str) -> Option<i64> {
    if let Some(number) = parse_int(text) {
        return Some(number);
    }
    let word_len = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (word, rest) = text.split_at(word_len);
    let name = word.to_ascii_uppercase();
    // An old name that only configuration files know.
    let base = match name.strip_prefix("SIG").unwrap_or(&name) {
        "UNUSED" => 31,
        _ => i64::from(Signal::from_name(&name)?.0),
    };
    let digits = rest.strip_prefix('+').map_or("", |rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    if digits.is_empty() { Some(base) } else { digits.parse::<i64>().ok()?.checked_add(base) }
}

#[cfg(test)]
mod tests;

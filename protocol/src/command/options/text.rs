//! Options as a person types them: `set web numprocesses 3`. The table says what the text has to become
//! before it is sent; the daemon checks it again.

use serde_json::{Map, Value};

use super::{Check, HOOKS, find};
use crate::json;
use crate::number::{Signal, int_text};

/// Why a text is not the value of an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No such option.
    #[error("unknown key {}", json::python_repr_str(.0))]
    UnknownKey(String),
    /// The option exists, but this is no value for it.
    #[error("'{key}' is {}: give {wanted}", json::python_repr_str(.text))]
    Value {
        /// The option.
        key: String,
        /// What was typed.
        text: String,
        /// What would have been right.
        wanted: &'static str,
    },
}

/// The value to send for an option given as text; the key in lower case.
///
/// # Errors
///
/// Unknown keys, and text that cannot become the option's type.
pub fn from_text(key: &str, text: &str) -> Result<Value, TextError> {
    let Some(row) = find(key) else { return Err(TextError::UnknownKey(key.to_owned())) };
    let (value, wanted) = match row.check {
        Check::Integer if key == "stop_signal" => {
            (Signal::parse_text(text).ok().map(|signal| signal.0.into()), "a signal's name or number")
        }
        Check::Integer | Check::Limit => (int_text(text).map(Value::from), "an integer"),
        Check::Number => (number(text), "a number"),
        Check::Boolean | Check::Truth => (boolean(text).map(Value::from), "true or false"),
        Check::Environment => (environment(text), "NAME=VALUE, with commas between several"),
        Check::Hooks => (hooks(text), "NAME:module.function, with commas between several"),
        Check::Hook => (hook(key, text), "the name of a hook that exists after 'hooks.'"),
        Check::StreamSetting if key.ends_with(".max_bytes") || key.ends_with(".backup_count") => {
            (int_text(text).map(Value::from), "an integer")
        }
        Check::Stream => return Err(TextError::UnknownKey(key.to_owned())),
        Check::Account
        | Check::Text
        | Check::OptionalText
        | Check::Words
        | Check::StreamSetting
        | Check::Extension => (Some(text.into()), "text"),
    };
    value.ok_or_else(|| TextError::Value { key: key.to_owned(), text: text.to_owned(), wanted })
}

fn number(text: &str) -> Option<Value> {
    let number: f64 = text.trim().parse().ok()?;
    number.is_finite().then(|| json::float(number))
}

fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn environment(text: &str) -> Option<Value> {
    let pairs = text.split(',').map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), Value::from(value.trim())))
    });
    pairs.collect::<Option<Map<_, _>>>().filter(|map| !map.contains_key("")).map(Value::Object)
}

fn hooks(text: &str) -> Option<Value> {
    let pairs = text.split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, path) = pair.split_once(':')?;
        HOOKS.contains(&name).then(|| (name.to_owned(), Value::from(path)))
    });
    pairs.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn hook(key: &str, text: &str) -> Option<Value> {
    let name = key.strip_prefix("hooks.")?;
    HOOKS.contains(&name).then(|| text.into())
}

//! Looking into `properties` as circus does.
//!
//! circus asks Python's `in` and `.get`, which behave differently for what is no object: a list or a
//! text is *searched*, a number raises. Clients never send such things on purpose, but the answers
//! are part of the wire, so they are kept; nothing is carried out before they are given.

use serde_json::{Map, Value};

use crate::json;
use crate::number::{int_text, python_type};
use crate::reply::Refusal;

/// The arguments of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arguments<'a> {
    properties: &'a Value,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(properties: &'a Value) -> Self {
        Self { properties }
    }

    /// `properties.get(key)`.
    pub(super) fn get(&self, key: &str) -> Result<Option<&'a Value>, Refusal> {
        self.object("get").map(|map| map.get(key))
    }

    /// `properties[key] if key in properties`.
    pub(super) fn find(&self, key: &str) -> Result<Option<&'a Value>, Refusal> {
        match self.properties {
            Value::Object(map) => Ok(map.get(key)),
            Value::Array(_) if self.contains(key)? => {
                raised("list indices must be integers or slices, not str")
            }
            Value::String(_) if self.contains(key)? => raised("string indices must be integers, not 'str'"),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_) => {
                self.contains(key).map(|_| None)
            }
        }
    }

    /// An object that says `true` for it: how extensions of circus' own commands are asked for, where
    /// whatever circus takes must be taken.
    pub(super) fn says_true(&self, key: &str) -> bool {
        self.properties.get(key) == Some(&Value::Bool(true))
    }

    /// Refuses when one of the keys is absent; to be asked before anything else.
    pub(super) fn require(&self, keys: &[&str]) -> Result<(), Refusal> {
        for key in keys {
            if !self.contains(key)? {
                let key = json::python_repr_str(key);
                return Err(Refusal::Message(format!("message invalid {key} is missing")));
            }
        }
        Ok(())
    }

    /// `key in properties`.
    pub(super) fn contains(&self, key: &str) -> Result<bool, Refusal> {
        match self.properties {
            Value::Object(map) => Ok(map.contains_key(key)),
            Value::Array(items) => Ok(items.iter().any(|item| item.as_str() == Some(key))),
            Value::String(text) => Ok(text.contains(key)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                raised(&format!("argument of type '{}' is not iterable", python_type(self.properties)))
            }
        }
    }

    fn object(&self, method: &str) -> Result<&'a Map<String, Value>, Refusal> {
        match self.properties {
            Value::Object(map) => Ok(map),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::String(_) => {
                raised(&format!("'{}' object has no attribute '{method}'", python_type(self.properties)))
            }
        }
    }

    /// The watcher's name when it is given.
    pub(super) fn find_name(&self) -> Result<Option<String>, Refusal> {
        self.find("name")?.map(name).transpose()
    }

    /// The watcher's name of a command that needs it, and needs `others` too.
    pub(super) fn required_name(&self, others: &[&str]) -> Result<String, Refusal> {
        self.require(&["name"])?;
        self.require(others)?;
        match self.find("name")? {
            Some(value) => name(value),
            None => raised("'name'"),
        }
    }

    /// A flag by Python's idea of truth.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, Refusal> {
        Ok(self.get(key)?.map_or(default, json::truthy))
    }

    /// `waiting`.
    pub(super) fn waiting(&self) -> Result<bool, Refusal> {
        self.flag("waiting", false)
    }

    /// A flag of an extension command: only what cannot be misread.
    pub(super) fn strict_flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        let text = match value {
            Value::Null => return Ok(None),
            Value::Bool(flag) => return Ok(Some(*flag)),
            Value::String(text) => text.trim().to_lowercase(),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => String::new(),
        };
        match text.as_str() {
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => refuse(format!("'{key}' is {}: send true or false", json::python_repr(value))),
        }
    }

    /// Seconds of an extension command.
    pub(super) fn seconds(&self, key: &str) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.get(key)? else { return Ok(None) };
        if value.is_null() {
            return Ok(None);
        }
        match number(value).filter(|seconds| *seconds >= 0.0) {
            Some(seconds) => Ok(Some(seconds)),
            None => refuse(format!(
                "'{key}' is {}: send a number of seconds, 0 or more",
                json::python_repr(value)
            )),
        }
    }
}

/// A name as sent; circus looks it up by its lower-cased form, which only text has.
fn name(value: &Value) -> Result<String, Refusal> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            raised(&format!("'{}' object has no attribute 'lower'", python_type(value)))
        }
    }
}

/// A finite number, or text that is one.
pub(super) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Number(number) => json::as_float(number),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|number| number.is_finite())
}

/// An integer that fits 64 bits; `true` is one, as in Python.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Number(number) if json::is_integer(number) => {
            // `int_text` saturates; what does not read back was too large.
            int_text(number.as_str())
                .filter(|read| number.as_str() == "-0" || read.to_string() == number.as_str())
        }
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// errno 5 with Python's words.
pub(super) fn raised<T>(text: &str) -> Result<T, Refusal> {
    Err(Refusal::Raised(text.to_owned()))
}

/// errno 3.
pub(super) fn refuse<T>(text: String) -> Result<T, Refusal> {
    Err(Refusal::Message(text))
}

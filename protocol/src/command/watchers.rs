//! `add`, `rm`, `set`, `get`, `incr`, `decr`, `globaloptions`: watchers and their options.

use serde_json::Value;

use super::arguments::{Arguments, integer, raised, refuse};
use super::options::{self, Via};
use super::{Add, Adjust, Command, Set};
use crate::json;
use crate::name::MAX_NAME;
use crate::number::python_type;
use crate::reply::Refusal;

/// What `globaloptions` shows, in its order.
pub const GLOBAL_OPTIONS: &[&str] =
    &["endpoint", "stats_endpoint", "pubsub_endpoint", "check_delay", "multicast_endpoint"];

/// The arguments of `add`.
pub(super) fn add(arguments: &Arguments<'_>) -> Result<Add, Refusal> {
    arguments.require(&["name", "cmd"])?;
    let options = match arguments.find("options")? {
        Some(value) => options::check_all(value, Via::Add)?,
        None => Vec::new(),
    };
    let name = arguments.required_name(&["cmd"])?;
    if name.trim().is_empty() {
        return refuse("'name' is empty: give the watcher a name".to_owned());
    }
    if name.len() > MAX_NAME {
        let bytes = name.len();
        return refuse(format!("'name' is too long: {bytes} bytes, at most {MAX_NAME} are taken"));
    }
    let cmd = match arguments.find("cmd")? {
        Some(Value::String(cmd)) => cmd.clone(),
        other => return refuse(not_text("cmd", other)),
    };
    let args = arguments.get("args")?.cloned().unwrap_or(Value::Null);
    match &args {
        Value::Null | Value::String(_) | Value::Array(_) => {}
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            return refuse(format!("'args' isn't a list or string: {}", json::python_repr(&args)));
        }
    }
    let start = arguments.flag("start", false)?;
    Ok(Add { name, cmd, args, options, start, waiting: arguments.waiting()? })
}

fn not_text(key: &str, value: Option<&Value>) -> String {
    format!("'{key}' isn't a string: {}", value.map(json::python_repr).unwrap_or_default())
}

/// The arguments of `set`.
pub(super) fn set(arguments: &Arguments<'_>) -> Result<Set, Refusal> {
    arguments.require(&["name", "options"])?;
    let options = match arguments.find("options")? {
        Some(value) => options::check_all(value, Via::Set)?,
        None => Vec::new(),
    };
    let name = arguments.required_name(&["options"])?;
    Ok(Set { name, options, waiting: arguments.waiting()? })
}

/// The arguments of `incr` and `decr`.
pub(super) fn adjust(arguments: &Arguments<'_>) -> Result<Adjust, Refusal> {
    arguments.require(&["name"])?;
    let nb = arguments.get("nb")?;
    let name = arguments.required_name(&[])?;
    let nb = match nb {
        None => 1,
        Some(value) => match integer(value) {
            Some(nb) => nb,
            None => return refuse(format!("'nb' isn't an integer: {}", json::python_repr(value))),
        },
    };
    Ok(Adjust { name, nb, waiting: arguments.waiting()? })
}

/// `get`.
pub(super) fn get(arguments: &Arguments<'_>) -> Result<Command, Refusal> {
    let name = arguments.required_name(&["keys"])?;
    let keys = match arguments.find("keys")? {
        Some(Value::Array(items)) => items.iter().map(key).collect::<Result<_, _>>()?,
        // Python iterates over a text's characters and an object's keys.
        Some(Value::String(text)) => text.chars().map(String::from).collect(),
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        Some(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => {
            return raised(&format!("'{}' object is not iterable", python_type(value)));
        }
        None => Vec::new(),
    };
    Ok(Command::Get { name, keys })
}

fn key(value: &Value) -> Result<String, Refusal> {
    match value.as_str() {
        Some(key) => Ok(key.to_owned()),
        None => refuse(format!("{} option not found", json::python_repr(value))),
    }
}

/// `globaloptions`: one of [`GLOBAL_OPTIONS`], or all.
pub(super) fn global_option(arguments: &Arguments<'_>) -> Result<Option<String>, Refusal> {
    let Some(value) = arguments.get("option")?.filter(|value| json::truthy(value)) else { return Ok(None) };
    match value.as_str().filter(|option| GLOBAL_OPTIONS.contains(option)) {
        Some(option) => Ok(Some(option.to_owned())),
        None => refuse(format!("{} not an existing option", json::python_repr(value))),
    }
}

/// `rm`.
pub(super) fn rm(arguments: &Arguments<'_>) -> Result<Command, Refusal> {
    let name = arguments.required_name(&[])?;
    Ok(Command::Rm { name, nostop: arguments.flag("nostop", false)?, waiting: arguments.waiting()? })
}

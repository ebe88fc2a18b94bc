//! Users and groups by name, for `set`: circus looks them up at once and shows the number from then on.
//!
//! A lookup may ask the network, so it runs on a thread of its own; see the daemon's loop. It refuses
//! to know which options there are besides `uid` and `gid`.

use circus_protocol::json::python_repr_str;
use circus_protocol::reply::Refusal;
use nix::unistd::{Gid, Group, Uid, User};
use serde_json::Value;

/// Whether any of these options names a user or a group.
#[must_use]
pub fn any(options: &[(String, Value)]) -> bool {
    options.iter().any(|(key, _)| matches!(key.as_str(), "uid" | "gid"))
}

/// Puts numbers in the place of names.
///
/// # Errors
/// In circus' words, when there is no such user or group.
pub fn resolve(options: &mut [(String, Value)]) -> Result<(), Refusal> {
    for (key, value) in options {
        match key.as_str() {
            "uid" => *value = user(value).map_err(Refusal::Raised)?.into(),
            "gid" => *value = group(value).map_err(Refusal::Raised)?.into(),
            _ => {}
        }
    }
    Ok(())
}

/// The number that a value is or, as Python's `int` would read it, spells.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => circus_protocol::ini::parse_int(text),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn name(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn user(value: &Value) -> Result<u32, String> {
    if let Some(number) = number(value) {
        let known = u32::try_from(number).ok().map(|id| User::from_uid(Uid::from_raw(id)));
        let known = known.transpose().map_err(|error| format!("user {number}: {error}"))?.flatten();
        return known.map(|user| user.uid.as_raw()).ok_or_else(|| format!("{number} isn't a valid user id"));
    }
    let name = name(value);
    let known = User::from_name(&name).map_err(|error| format!("user {name}: {error}"))?;
    let refused = || format!("{} isn't a valid user name", python_repr_str(&name));
    known.map(|user| user.uid.as_raw()).ok_or_else(refused)
}

fn group(value: &Value) -> Result<u32, String> {
    if let Some(number) = number(value) {
        let known = u32::try_from(number).ok().map(|id| Group::from_gid(Gid::from_raw(id)));
        let known = known.transpose().map_err(|error| format!("group {number}: {error}"))?.flatten();
        return known.map(|group| group.gid.as_raw()).ok_or_else(|| format!("No such group: {number}"));
    }
    let name = name(value);
    let known = Group::from_name(&name).map_err(|error| format!("group {name}: {error}"))?;
    let refused = || format!("No such group: {}", python_repr_str(&name));
    known.map(|group| group.gid.as_raw()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(key: &str, value: Value) -> Result<Value, String> {
        let mut options = vec![("cmd".to_owned(), json!("x")), (key.to_owned(), value)];
        match resolve(&mut options) {
            Ok(()) => Ok(options.remove(1).1),
            Err(Refusal::Raised(text)) => Err(text),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn names_become_numbers_or_circus_words() {
        assert_eq!(resolved("uid", json!("root")), Ok(json!(0)));
        assert_eq!(resolved("uid", json!(" 0 ")), Ok(json!(0)));
        assert_eq!(resolved("uid", json!("nosuch")), Err("'nosuch' isn't a valid user name".to_owned()));
        assert_eq!(resolved("uid", json!(99_999)), Err("99999 isn't a valid user id".to_owned()));
        assert_eq!(resolved("uid", json!(-1)), Err("-1 isn't a valid user id".to_owned()));
        assert_eq!(resolved("gid", json!("x y")), Err("No such group: 'x y'".to_owned()));
        assert_eq!(resolved("gid", json!("99999")), Err("No such group: 99999".to_owned()));
        assert!(!any(&[("cmd".to_owned(), json!("x"))]) && any(&[("gid".to_owned(), json!(0))]));
    }
}

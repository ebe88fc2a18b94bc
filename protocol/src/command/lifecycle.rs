//! `start`, `stop`, `restart` and `reload`: which watchers, and how.

use serde_json::Value;

use super::arguments::{Arguments, refuse};
use super::{Match, Reload, Selection};
use crate::json;
use crate::reply::Refusal;

/// The arguments of `start`, `stop` and `restart`.
pub(super) fn selection(arguments: &Arguments<'_>) -> Result<Selection, Refusal> {
    if arguments.contains("name")? {
        // What is no object cannot be asked for the rest, which is what circus complains about.
        arguments.get("name")?;
    }
    let name = arguments.find_name()?;
    // circus does not look at `match` when there is nothing to match.
    let matching = if name.is_some() { matching(arguments)? } else { Match::default() };
    Ok(Selection { name, matching, waiting: arguments.waiting()? })
}

/// `match`; absent is a shell pattern, anything unknown (also null) is refused.
pub(super) fn matching(arguments: &Arguments<'_>) -> Result<Match, Refusal> {
    match arguments.get("match")? {
        None => Ok(Match::default()),
        Some(value) => match value.as_str() {
            Some("glob") => Ok(Match::Glob),
            Some("simple") => Ok(Match::Simple),
            Some("regex") => Ok(Match::Regex),
            Some(_) | None => refuse(unknown_match(value)),
        },
    }
}

fn unknown_match(value: &Value) -> String {
    format!("unknown match method {}", json::python_str(value))
}

/// The arguments of `reload`.
pub(super) fn reload(arguments: &Arguments<'_>) -> Result<Reload, Refusal> {
    Ok(Reload {
        graceful: arguments.flag("graceful", true)?,
        sequential: arguments.flag("sequential", false)?,
        name: arguments.find_name()?,
        waiting: arguments.waiting()?,
    })
}

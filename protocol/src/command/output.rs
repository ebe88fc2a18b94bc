//! Extension commands about what processes print and how they end: their arguments, checked.

use serde_json::Value;

use super::arguments::{Arguments, integer, refuse};
use crate::json;
use crate::reply::Refusal;

/// How many lines `logs` answers when nobody says.
pub const DEFAULT_LINES: u32 = 100;

/// The most lines of one answer.
pub const MAX_LINES: u32 = 10_000;

/// The most bytes of one answer.
pub const MAX_TEXT: u32 = 256 * 1024;

/// The longest word that can name a generation.
const MAX_GENERATION: usize = 64;

/// `logs` (extension).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The watcher.
    pub name: String,
    /// `stdout`, `stderr`, or the label of a log file of the service; never a path.
    pub source: String,
    /// What of it.
    pub part: LogPart,
    /// The bytes as they are, in base64, instead of text.
    pub binary: bool,
}

/// The generation that stands for the oldest file there still is.
pub const OLDEST: &str = "oldest";

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPart {
    /// None of it: which sources there are.
    Sources,
    /// The last lines.
    Last {
        /// How many.
        lines: u32,
    },
    /// From a position on.
    From {
        /// The position, in bytes.
        offset: u64,
        /// How many bytes at most.
        limit: u32,
        /// Of which file the position is, as an earlier answer called it; the present one if unsaid.
        generation: Option<String>,
    },
}

/// The arguments of `logs`.
pub(super) fn logs(arguments: &Arguments<'_>) -> Result<Logs, Refusal> {
    let name = arguments.required_name(&[])?;
    let source = match arguments.get("source")? {
        None | Some(Value::Null) => "stdout".to_owned(),
        Some(Value::String(source)) if !source.is_empty() => source.clone(),
        Some(other) => {
            let repr = json::python_repr(other);
            return refuse(format!("'source' is {repr}: send stdout, stderr or a label"));
        }
    };
    let lines = count(arguments, "lines", MAX_LINES)?;
    let limit = count(arguments, "limit", MAX_TEXT)?;
    let offset = match arguments.get("offset")? {
        None | Some(Value::Null) => None,
        Some(value) => match integer(value).and_then(|offset| u64::try_from(offset).ok()) {
            Some(offset) => Some(offset),
            None => return refuse(format!("'offset' is {}: send a position", json::python_repr(value))),
        },
    };
    let generation = match arguments.get("generation")? {
        None | Some(Value::Null) => None,
        Some(Value::String(word)) if word.len() <= MAX_GENERATION => Some(word.clone()),
        Some(other) => {
            let repr = json::python_repr(other);
            return refuse(format!("'generation' is {repr}: send what an earlier answer said"));
        }
    };
    if flag(arguments, "sources")? {
        return Ok(Logs { name, source, part: LogPart::Sources, binary: false });
    }
    let binary = match arguments.get("encoding")? {
        None | Some(Value::Null) => false,
        Some(Value::String(word)) if word == "base64" => true,
        Some(Value::String(word)) if word == "text" => false,
        Some(other) => {
            return refuse(format!("'encoding' is {}: send text or base64", json::python_repr(other)));
        }
    };
    let part = match (offset, lines, limit) {
        (Some(_), Some(_), _) => return refuse("'lines' and 'offset' exclude each other".to_owned()),
        (None, _, Some(_)) => return refuse("'limit' means something only beside 'offset'".to_owned()),
        (Some(offset), None, limit) => LogPart::From { offset, limit: limit.unwrap_or(MAX_TEXT), generation },
        (None, lines, None) => LogPart::Last { lines: lines.unwrap_or(DEFAULT_LINES) },
    };
    Ok(Logs { name, source, part, binary })
}

fn flag(arguments: &Arguments<'_>, key: &str) -> Result<bool, Refusal> {
    match arguments.get(key)? {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => refuse(format!("'{key}' is {}: send true or false", json::python_repr(other))),
    }
}

/// A number from 1 on; more than the most is the most.
fn count(arguments: &Arguments<'_>, key: &str, most: u32) -> Result<Option<u32>, Refusal> {
    match arguments.get(key)? {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match integer(value).filter(|number| *number > 0) {
            Some(number) => Ok(Some(u32::try_from(number).unwrap_or(most).min(most))),
            None => refuse(format!("'{key}' is {}: send a number from 1 on", json::python_repr(value))),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn play(properties: Value) -> Result<Logs, String> {
        logs(&Arguments::new(&properties)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn logs_are_asked_for_by_lines_or_by_position() {
        let last = |lines| LogPart::Last { lines };
        let asked = play(json!({"name": "web"})).unwrap();
        assert_eq!((asked.source.as_str(), asked.part), ("stdout", last(DEFAULT_LINES)));
        assert_eq!(play(json!({"name": "web", "lines": 99_999_999})).unwrap().part, last(MAX_LINES));
        let from = play(json!({"name": "web", "offset": 7, "limit": 9, "generation": "1"})).unwrap().part;
        assert_eq!(from, LogPart::From { offset: 7, limit: 9, generation: Some("1".to_owned()) });
        assert_eq!(play(json!({"name": "web", "sources": true})).unwrap().part, LogPart::Sources);
        assert!(play(json!({"name": "web", "encoding": "base64"})).unwrap().binary);
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (properties, word) in [
            (json!({"name": "web", "lines": 0}), "'lines' is 0"),
            (json!({"name": "web", "lines": "x"}), "'lines' is 'x'"),
            (json!({"name": "web", "offset": -1}), "'offset' is -1"),
            (json!({"name": "web", "offset": 1, "lines": 1}), "exclude"),
            (json!({"name": "web", "limit": 1}), "beside"),
            (json!({"name": "web", "source": 3}), "'source' is 3"),
            (json!({"name": "web", "offset": 1, "generation": 3}), "'generation' is 3"),
            (json!({"name": "web", "sources": 3}), "'sources' is 3"),
            (json!({"name": "web", "encoding": "zip"}), "'encoding' is 'zip'"),
        ] {
            let refused = play(properties).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
        assert!(play(json!({})).is_err());
    }
}

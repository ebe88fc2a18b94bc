//! Words and options of a command to the message that is sent for it.
//!
//! What stock circusctl reads and then forgets (`rm --nostop`, `rm --waiting`, `kill --waiting`) is
//! sent here, and a grace period goes as the number that the daemon wants. What is wrong with the words
//! is said before anything is sent. Pure.

use circus_protocol::command::options::from_text;
use circus_protocol::json;
use circus_protocol::number::int_text;
use serde_json::{Map, Value};

use super::arguments::Scanned;
use super::commands::{Command, Name};

/// What to do for a command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// Ask the control endpoint.
    Ask(Map<String, Value>),
    /// Subscribe to events whose topics begin so.
    Listen(Vec<String>),
}

/// Why the words make no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageError {
    /// Too few or too many words; stock has several wordings for it.
    #[error("{0}")]
    Count(&'static str),
    /// Text where an integer belongs.
    #[error("{what} {} is no integer", json::python_repr_str(.text))]
    NotWhole {
        /// What it would have been.
        what: &'static str,
        /// What was typed.
        text: String,
    },
    /// Text where a number of seconds belongs.
    #[error("graceful_timeout {} is no number of seconds, 0 or more", json::python_repr_str(.0))]
    NotSeconds(String),
    /// A value that an option cannot have.
    #[error(transparent)]
    Value(#[from] circus_protocol::command::options::text::TextError),
}

const COUNT: MessageError = MessageError::Count("Invalid number of arguments");
const PAIRS: MessageError = MessageError::Count("List of key/values is invalid");

/// The message for a command.
pub(super) fn build(command: &Command, given: &Scanned) -> Result<Message, MessageError> {
    let words = given.words.as_slice();
    let mut properties = Map::new();
    match command.name {
        Name::Listen if words.is_empty() => return Ok(Message::Listen(vec![String::new()])),
        Name::Listen => return Ok(Message::Listen(words.to_vec())),
        Name::Add => add(&mut properties, given)?,
        Name::Incr | Name::Decr => scale(&mut properties, given)?,
        Name::Dstats | Name::Ipython => at_most(words, 0, "Invalid message")?,
        Name::Numwatchers => at_most(words, 0, "Invalid number of arguments")?,
        Name::Get => {
            let [name, keys @ ..] = words else { return Err(COUNT) };
            if keys.is_empty() {
                return Err(COUNT);
            }
            properties.insert("name".to_owned(), name.as_str().into());
            properties.insert("keys".to_owned(), keys.into());
        }
        Name::Globaloptions => named(&mut properties, "option", words),
        Name::Kill => kill(&mut properties, given)?,
        Name::List => {
            at_most(words, 1, "Invalid number of arguments")?;
            named(&mut properties, "name", words);
        }
        Name::Numprocesses | Name::Status => {
            at_most(words, 1, "message invalid")?;
            named(&mut properties, "name", words);
        }
        Name::Listsockets => {}
        Name::Options if words.is_empty() => return Err(MessageError::Count("number of arguments invalid")),
        Name::Options => named(&mut properties, "name", words),
        Name::Quit | Name::Reloadconfig => flag(&mut properties, given, "waiting"),
        Name::Reload => reload(&mut properties, given)?,
        Name::Restart | Name::Start => {
            at_most(words, 1, "Invalid number of arguments")?;
            matched(&mut properties, given);
        }
        Name::Stop => matched(&mut properties, given),
        Name::Rm => {
            let [name] = words else { return Err(COUNT) };
            properties.insert("name".to_owned(), name.as_str().into());
            only_if_given(&mut properties, given, &["nostop", "waiting"]);
        }
        Name::Signal => signal(&mut properties, given)?,
        Name::Set => set(&mut properties, given)?,
        Name::Stats => stats(&mut properties, given)?,
    }
    Ok(Message::Ask(properties))
}

fn at_most(words: &[String], most: usize, complaint: &'static str) -> Result<(), MessageError> {
    if words.len() > most { Err(MessageError::Count(complaint)) } else { Ok(()) }
}

fn named(properties: &mut Map<String, Value>, key: &str, words: &[String]) {
    if let Some(word) = words.first() {
        properties.insert(key.to_owned(), word.as_str().into());
    }
}

fn flag(properties: &mut Map<String, Value>, given: &Scanned, key: &str) {
    properties.insert(key.to_owned(), given.options.contains_key(key).into());
}

fn only_if_given(properties: &mut Map<String, Value>, given: &Scanned, keys: &[&str]) {
    for key in keys.iter().filter(|key| given.options.contains_key(**key)) {
        properties.insert((*key).to_owned(), true.into());
    }
}

fn whole(what: &'static str, text: &str) -> Result<Value, MessageError> {
    let number = int_text(text).ok_or_else(|| MessageError::NotWhole { what, text: text.to_owned() })?;
    Ok(number.into())
}

fn add(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    let [name, command @ ..] = given.words.as_slice() else { return Err(COUNT) };
    if command.is_empty() {
        return Err(COUNT);
    }
    properties.insert("name".to_owned(), name.as_str().into());
    properties.insert("cmd".to_owned(), command.join(" ").into());
    flag(properties, given, "start");
    Ok(())
}

fn scale(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    let [name, count @ ..] = given.words.as_slice() else { return Err(COUNT) };
    properties.insert("name".to_owned(), name.as_str().into());
    if let Some(count) = count.first() {
        properties.insert("nb".to_owned(), whole("the number of processes", count)?);
    }
    flag(properties, given, "waiting");
    Ok(())
}

fn kill(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    at_most(&given.words, 2, "Invalid number of arguments")?;
    let [name, pid @ ..] = given.words.as_slice() else { return Err(COUNT) };
    properties.insert("name".to_owned(), name.as_str().into());
    named(properties, "pid", pid);
    if let Some(signum) = given.options.get("signum") {
        properties.insert("signum".to_owned(), signum.as_str().into());
    }
    if let Some(text) = given.options.get("graceful_timeout") {
        let seconds =
            text.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| MessageError::NotSeconds(text.clone()))?;
        properties.insert("graceful_timeout".to_owned(), json::float(seconds));
    }
    only_if_given(properties, given, &["waiting"]);
    Ok(())
}

fn reload(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    at_most(&given.words, 1, "invalid number of arguments")?;
    named(properties, "name", &given.words);
    properties.insert("graceful".to_owned(), (!given.options.contains_key("terminate")).into());
    flag(properties, given, "waiting");
    flag(properties, given, "sequential");
    Ok(())
}

fn matched(properties: &mut Map<String, Value>, given: &Scanned) {
    named(properties, "name", &given.words);
    flag(properties, given, "waiting");
    let how = given.options.get("match").map_or("glob", String::as_str);
    properties.insert("match".to_owned(), how.into());
}

fn signal(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    let (name, pid, signum) = match given.words.as_slice() {
        [name, signum] => (name, None, signum),
        [name, pid, signum] => (name, Some(whole("the pid", pid)?), signum),
        _ => return Err(COUNT),
    };
    properties.insert("name".to_owned(), name.as_str().into());
    flag(properties, given, "children");
    flag(properties, given, "recursive");
    properties.insert("signum".to_owned(), signum.as_str().into());
    if let Some(pid) = pid {
        properties.insert("pid".to_owned(), pid);
    }
    Ok(())
}

fn set(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    let [name, pairs @ ..] = given.words.as_slice() else { return Err(COUNT) };
    if pairs.len() < 2 {
        return Err(COUNT);
    }
    let mut options = Map::new();
    for pair in pairs.chunks(2) {
        let [key, text] = pair else { return Err(PAIRS) };
        let key = key.to_lowercase();
        let value = from_text(&key, text)?;
        options.insert(key, value);
    }
    properties.insert("name".to_owned(), name.as_str().into());
    only_if_given(properties, given, &["waiting"]);
    properties.insert("options".to_owned(), Value::Object(options));
    Ok(())
}

fn stats(properties: &mut Map<String, Value>, given: &Scanned) -> Result<(), MessageError> {
    at_most(&given.words, 2, "message invalid")?;
    named(properties, "name", &given.words);
    if let Some(pid) = given.words.get(1) {
        properties.insert("process".to_owned(), whole("the pid", pid)?);
    }
    flag(properties, given, "extended");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::arguments::{Words, scan};
    use super::super::commands::find;
    use super::*;

    /// What goes over the wire for a line, without the id.
    fn sent(line: &str) -> String {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let command = find(&words[0]).unwrap();
        let given = scan(command.options, Words::Any, &words[1..]).unwrap();
        match build(command, &given) {
            Ok(Message::Ask(properties)) => {
                String::from_utf8(json::to_vec(&Value::Object(properties))).unwrap()
            }
            Ok(Message::Listen(topics)) => format!("listen {topics:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn sends_what_stock_sends() {
        let cases = [
            ("add --start web sleep 60", r#"{"name": "web", "cmd": "sleep 60", "start": true}"#),
            ("decr web 2", r#"{"name": "web", "nb": 2, "waiting": false}"#),
            ("incr --waiting web", r#"{"name": "web", "waiting": true}"#),
            ("get web cmd args", r#"{"name": "web", "keys": ["cmd", "args"]}"#),
            ("globaloptions", "{}"),
            ("globaloptions endpoint", r#"{"option": "endpoint"}"#),
            ("kill web 12 --signum hup", r#"{"name": "web", "pid": "12", "signum": "hup"}"#),
            ("quit", r#"{"waiting": false}"#),
            ("reload", r#"{"graceful": true, "waiting": false, "sequential": false}"#),
            (
                "reload --terminate web",
                r#"{"name": "web", "graceful": false, "waiting": false, "sequential": false}"#,
            ),
            ("start web", r#"{"name": "web", "waiting": false, "match": "glob"}"#),
            ("stop a b c", r#"{"name": "a", "waiting": false, "match": "glob"}"#),
            ("stop --match regex --waiting a", r#"{"name": "a", "waiting": true, "match": "regex"}"#),
            (
                "signal web 12 9",
                r#"{"name": "web", "children": false, "recursive": false, "signum": "9", "pid": 12}"#,
            ),
            (
                "set web NUMPROCESSES 3 warmup_delay 1 cmd x",
                r#"{"name": "web", "options": {"numprocesses": 3, "warmup_delay": 1.0, "cmd": "x"}}"#,
            ),
            ("set --waiting web uid root", r#"{"name": "web", "waiting": true, "options": {"uid": "root"}}"#),
            ("stats web 12", r#"{"name": "web", "process": 12, "extended": false}"#),
            ("stats --extended", r#"{"extended": true}"#),
            ("rm web", r#"{"name": "web"}"#),
            ("listen", r#"listen [""]"#),
            ("listen a b", r#"listen ["a", "b"]"#),
        ];
        for (line, wanted) in cases {
            assert_eq!(sent(line), wanted, "{line}");
        }
    }

    /// Row D80 of differences.md.
    #[test]
    fn sends_what_stock_forgets() {
        assert_eq!(sent("rm --nostop --waiting web"), r#"{"name": "web", "nostop": true, "waiting": true}"#);
        assert_eq!(
            sent("kill --waiting web --graceful_timeout 2"),
            r#"{"name": "web", "graceful_timeout": 2.0, "waiting": true}"#
        );
        assert_eq!(
            sent("set web env A=1,B=2"),
            r#"{"name": "web", "options": {"env": {"A": "1", "B": "2"}}}"#
        );
    }

    #[test]
    fn complains_before_anything_is_sent() {
        let cases = [
            ("add web", "Invalid number of arguments"),
            ("dstats x", "Invalid message"),
            ("numwatchers x", "Invalid number of arguments"),
            ("status a b", "message invalid"),
            ("options", "number of arguments invalid"),
            ("reload a b", "invalid number of arguments"),
            ("set web a b c", "unknown key 'a'"),
            ("set web numprocesses 1 x", "List of key/values is invalid"),
            ("set web numprocesses", "Invalid number of arguments"),
            ("set web numprocesses x", "'numprocesses' is 'x': give an integer"),
            ("signal web", "Invalid number of arguments"),
            ("signal web x 9", "the pid 'x' is no integer"),
            ("incr web x", "the number of processes 'x' is no integer"),
            ("kill web --graceful_timeout x", "graceful_timeout 'x' is no number of seconds, 0 or more"),
        ];
        for (line, wanted) in cases {
            assert_eq!(sent(line), wanted, "{line}");
        }
    }
}

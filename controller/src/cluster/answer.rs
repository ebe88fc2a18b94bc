//! One request to a node and its answer, as plain data; refuses to know how bytes travel.

use serde_json::{Map, Value, json};

/// A command for a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// Its arguments.
    pub properties: Value,
}

impl Request {
    /// A command with these properties.
    #[must_use]
    pub fn new(command: &str, properties: Value) -> Self {
        Self { command: command.to_owned(), properties }
    }

    /// Asking again does no harm, because nothing changes by it.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(
            self.command.to_ascii_lowercase().as_str(),
            "hello"
                | "list"
                | "status"
                | "stats"
                | "dstats"
                | "get"
                | "options"
                | "globaloptions"
                | "listsockets"
                | "numwatchers"
                | "numprocesses"
                | "why"
                | "ready"
                | "preflight"
                | "logs"
        )
    }

    /// What a sentence calls it: the command, and the watcher when it names one.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.properties.get("name").and_then(Value::as_str) {
            Some(name) => format!("{} {name}", self.command),
            None => self.command.clone(),
        }
    }

    /// The one frame that goes to the node.
    #[must_use]
    pub fn encode(&self, id: &str) -> Vec<u8> {
        let message = json!({"id": id, "command": self.command, "properties": self.properties});
        message.to_string().into_bytes()
    }
}

/// What a node answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Anything whose status is not `error`; the whole reply. (`status` with a name puts the
    /// watcher's state where `ok` stands otherwise.)
    Ok(Map<String, Value>),
    /// The node said no.
    Error {
        /// circus' number.
        errno: i64,
        /// Its words.
        reason: String,
    },
}

/// circus' number for a command it does not have.
pub const UNKNOWN_COMMAND: i64 = 2;
/// circus' number for bad arguments, among them a watcher that does not exist.
pub const MESSAGE_ERROR: i64 = 3;
/// circus' number for a conflict, and for anything that went wrong while a command was carried out.
pub const COMMAND_ERROR: i64 = 5;

impl Answer {
    /// The answer in a frame, and the id it belongs to; `None` when this is no reply of a circusd.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<(String, Self)> {
        // Python's dialect, which knows `NaN` and `Infinity`.
        let Ok(Value::Object(map)) = circus_protocol::json::parse(payload) else { return None };
        let status = map.get("status")?.as_str()?;
        let id = map.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        if status != "error" {
            return Some((id, Self::Ok(map)));
        }
        let errno = map.get("errno").and_then(Value::as_i64).unwrap_or_default();
        let reason = map.get("reason").and_then(Value::as_str).unwrap_or("no reason given");
        Some((id, Self::Error { errno, reason: reason.to_owned() }))
    }

    /// The node is busy with another command and takes ours when that has ended (stock only).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Ok(_) => false,
            Self::Error { reason, .. } => {
                reason.starts_with("arbiter is already running")
                    || reason.starts_with("arbiter is restarting")
            }
        }
    }
}

/// The last line of a reason: stock quotes our whole request before the cause.
#[must_use]
pub fn short(reason: &str) -> String {
    let cause = match (reason.starts_with("command b"), reason.rfind("': ").or_else(|| reason.rfind("\": ")))
    {
        (true, Some(at)) => reason.get(at + 3..).unwrap_or(reason),
        _ => reason,
    };
    cause.lines().last().unwrap_or(cause).to_owned()
}

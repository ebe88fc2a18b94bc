//! Events: what the daemon publishes when something happened to a watcher, and how that reads on the
//! wire. Who listens, and whether anybody does, is not known here.

use serde_json::{Map, Value};

use crate::json;
use crate::number::{Pid, Wid};
use crate::readiness::{Readiness, ReadyState};

/// What every event's topic begins with; what subscribers ask for.
pub const PREFIX: &str = "watcher.";

/// One event on the pubsub endpoint; two frames, topic `watcher.<name>.<action>` and a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event spelling of the watcher's name ([`crate::name::WatcherName::topic`]).
    pub watcher: String,
    /// Unix time in seconds; for `spawn` the moment before the fork.
    pub time: f64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// Forked, exec succeeded.
    Spawn {
        /// The new process.
        pid: Pid,
    },
    /// The watcher became active.
    Start,
    /// A stop signal or the final SIGKILL was sent.
    Kill {
        /// To whom.
        pid: Pid,
    },
    /// A death was noticed.
    Reap {
        /// Whose.
        pid: Pid,
        /// Exit status, or minus the signal number.
        exit_code: Option<i32>,
    },
    /// The watcher stopped, or failed to start.
    Stop,
    /// A graceful reload ended.
    Reload,
    /// `set` applied one option.
    Updated,
    /// `add` created the watcher.
    Add,
    /// `rm` removed it.
    Remove,
    /// A hook returned.
    HookSuccess {
        /// Which hook.
        name: String,
    },
    /// A hook raised.
    HookFailure {
        /// Which hook.
        name: String,
        /// What it said.
        error: String,
    },
    /// A start has to wait. Not of circus: published by watchers that were given a restart policy, and
    /// where the system had no room.
    Waiting {
        /// `backoff`, `retry`, or `start`: a command that starts it.
        waiting_for: String,
        /// The reason, for a person.
        why: String,
        /// In whose place.
        wid: Option<Wid>,
        /// Unix time of the next try; `None` where only a command makes it.
        retry_at: Option<f64>,
    },
    /// A service has come further, or fallen back (extension).
    Ready {
        /// How far.
        state: ReadyState,
        /// Whether that is as far as it goes.
        ready: bool,
        /// Why, or what is missing.
        detail: String,
    },
    /// What a watcher's processes print cannot be written, or can be again (extension).
    Output {
        /// `stdout` or `stderr`.
        stream: String,
        /// Why it cannot; `None` when it can again.
        error: Option<String>,
        /// Whether the processes wait meanwhile; otherwise what they print is lost.
        waits: bool,
        /// What was lost, in bytes.
        lost_bytes: u64,
        /// The same, in lines.
        lost_lines: u64,
    },
}

impl EventKind {
    /// The last part of the topic.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Spawn { .. } => "spawn",
            Self::Start => "start",
            Self::Kill { .. } => "kill",
            Self::Reap { .. } => "reap",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Updated => "updated",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::HookSuccess { .. } => "hook_success",
            Self::HookFailure { .. } => "hook_failure",
            Self::Waiting { .. } => "waiting",
            Self::Ready { .. } => "ready",
            Self::Output { .. } => "output",
        }
    }
}

impl Event {
    /// The first frame.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{PREFIX}{}.{}", self.watcher, self.kind.action())
    }

    /// The second frame; the order of the keys is circus'.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.to_owned(), value);
        let time = json::float(self.time);
        match &self.kind {
            EventKind::Spawn { pid } | EventKind::Kill { pid } => {
                put("process_pid", pid.get().into());
                put("time", time);
            }
            EventKind::Reap { pid, exit_code } => {
                put("process_pid", pid.get().into());
                put("time", time);
                put("exit_code", (*exit_code).into());
            }
            EventKind::HookSuccess { name } => {
                put("name", name.as_str().into());
                put("time", time);
            }
            EventKind::HookFailure { name, error } => {
                put("name", name.as_str().into());
                put("time", time);
                put("error", error.as_str().into());
            }
            EventKind::Waiting { waiting_for, why, wid, retry_at } => {
                put("waiting_for", waiting_for.as_str().into());
                put("why", why.as_str().into());
                put("wid", wid.map_or(Value::Null, |wid| wid.0.into()));
                put("retry_at", retry_at.map_or(Value::Null, json::float));
                put("time", time);
            }
            EventKind::Ready { state, ready, detail } => {
                put("state", state.word().into());
                put("ready", (*ready).into());
                put("detail", detail.as_str().into());
                put("time", time);
            }
            EventKind::Output { stream, error, waits, lost_bytes, lost_lines } => {
                put("stream", stream.as_str().into());
                put("works", error.is_none().into());
                put("error", error.as_deref().into());
                put("waits", (*waits).into());
                put("lost_bytes", (*lost_bytes).into());
                put("lost_lines", (*lost_lines).into());
                put("time", time);
            }
            EventKind::Start
            | EventKind::Stop
            | EventKind::Reload
            | EventKind::Updated
            | EventKind::Add
            | EventKind::Remove => {
                put("time", time);
            }
        }
        json::to_vec(&Value::Object(map))
    }

    /// Reads the two frames of an event, from any circus. The name may hold dots itself; the action is
    /// what follows the last one.
    ///
    /// # Errors
    ///
    /// Frames that are no event, and actions that are not known here.
    pub fn decode(topic: &[u8], payload: &[u8]) -> Result<Self, EventError> {
        let topic = std::str::from_utf8(topic)
            .map_err(|_| EventError::Topic(String::from_utf8_lossy(topic).into()))?;
        let parts = topic.strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('.'));
        let (watcher, action) = parts.ok_or_else(|| EventError::Topic(topic.to_owned()))?;
        let value = json::parse(payload)?;
        let Value::Object(map) = value else { return Err(EventError::Without("an object")) };
        Ok(Self { watcher: watcher.to_owned(), time: time(&map)?, kind: kind(action, &map)? })
    }
}

fn kind(action: &str, map: &Map<String, Value>) -> Result<EventKind, EventError> {
    Ok(match action {
        "spawn" => EventKind::Spawn { pid: pid(map)? },
        "start" => EventKind::Start,
        "kill" => EventKind::Kill { pid: pid(map)? },
        "reap" => EventKind::Reap { pid: pid(map)?, exit_code: exit_code(map)? },
        "stop" => EventKind::Stop,
        "reload" => EventKind::Reload,
        "updated" => EventKind::Updated,
        "add" => EventKind::Add,
        "remove" => EventKind::Remove,
        "hook_success" => EventKind::HookSuccess { name: text(map, "name")? },
        "hook_failure" => EventKind::HookFailure { name: text(map, "name")?, error: text(map, "error")? },
        "waiting" => EventKind::Waiting {
            waiting_for: text(map, "waiting_for")?,
            why: text(map, "why")?,
            wid: map.get("wid").and_then(Value::as_u64).and_then(|wid| u32::try_from(wid).ok()).map(Wid),
            retry_at: map.get("retry_at").and_then(Value::as_f64),
        },
        "ready" => {
            let Readiness { state, ready, detail, since: _ } =
                Readiness::from_json(map).ok_or(EventError::Without("a state"))?;
            EventKind::Ready { state, ready, detail }
        }
        "output" => EventKind::Output {
            stream: text(map, "stream")?,
            error: map.get("error").and_then(Value::as_str).map(str::to_owned),
            waits: map.get("waits").and_then(Value::as_bool).unwrap_or(false),
            lost_bytes: map.get("lost_bytes").and_then(Value::as_u64).unwrap_or(0),
            lost_lines: map.get("lost_lines").and_then(Value::as_u64).unwrap_or(0),
        },
        _ => return Err(EventError::Action(action.to_owned())),
    })
}

fn time(map: &Map<String, Value>) -> Result<f64, EventError> {
    let number = map.get("time").and_then(|time| match time {
        Value::Number(number) => json::as_float(number),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    });
    number.ok_or(EventError::Without("a time"))
}

fn pid(map: &Map<String, Value>) -> Result<Pid, EventError> {
    let number = map.get("process_pid").and_then(Value::as_i64);
    let pid = number.and_then(|number| i32::try_from(number).ok()).and_then(Pid::new);
    pid.ok_or(EventError::Without("a process_pid"))
}

fn exit_code(map: &Map<String, Value>) -> Result<Option<i32>, EventError> {
    match map.get("exit_code") {
        None | Some(Value::Null) => Ok(None),
        Some(code) => {
            let code = code.as_i64().and_then(|code| i32::try_from(code).ok());
            code.map(Some).ok_or(EventError::Without("a valid exit_code"))
        }
    }
}

fn text(map: &Map<String, Value>, key: &'static str) -> Result<String, EventError> {
    map.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(EventError::Without(key))
}

/// Why two frames are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The topic is not `watcher.<name>.<action>`.
    #[error("'{0}' is no event topic")]
    Topic(String),
    /// An action that circus 0.19 has not; a subscriber may skip it.
    #[error("unknown event '{0}'")]
    Action(String),
    /// The payload is not JSON.
    #[error("event is not json: {0}")]
    Json(#[from] json::JsonError),
    /// The payload misses something, or has it in another type.
    #[error("event without {0}")]
    Without(&'static str),
}

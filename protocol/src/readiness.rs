//! How far a watcher has come: what `ready` answers and what `watcher.<name>.ready` tells.
//!
//! It refuses to know how one finds out.

use serde_json::{Map, Value};

use crate::json;

/// How far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadyState {
    /// It does not run, and nobody wants it to.
    #[default]
    Down,
    /// It is wanted, or runs already, and is not up yet.
    Starting,
    /// It works.
    Up,
    /// It is a member of its cluster.
    Joined,
    /// It could not be started, or was not ready in time.
    Failed,
}

/// One watcher's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Readiness {
    /// How far it has come.
    pub state: ReadyState,
    /// Whether that is as far as it goes: `up` is, for whoever has no probe for `joined`.
    pub ready: bool,
    /// Since when, in Unix seconds.
    pub since: f64,
    /// Why, or what is missing; empty when there is nothing to say.
    pub detail: String,
}

impl ReadyState {
    /// All of them, from the lowest on.
    pub const ALL: [Self; 5] = [Self::Down, Self::Starting, Self::Up, Self::Joined, Self::Failed];

    /// As it is spelled on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Joined => "joined",
            Self::Failed => "failed",
        }
    }

    /// The state of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl Readiness {
    /// As a member of the reply to `ready`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("state".into(), self.state.word().into());
        map.insert("ready".into(), self.ready.into());
        map.insert("since".into(), json::float(self.since));
        map.insert("detail".into(), self.detail.as_str().into());
        Value::Object(map)
    }

    /// The same from a reply, or from an event, where the time is `time`.
    #[must_use]
    pub fn from_json(map: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| map.get(key).and_then(Value::as_str);
        let since = map.get("since").or(map.get("time")).and_then(|since| match since {
            Value::Number(number) => json::as_float(number),
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
        });
        Some(Self {
            state: ReadyState::from_word(text("state")?)?,
            ready: map.get("ready").and_then(Value::as_bool).unwrap_or(false),
            since: since?,
            detail: text("detail").unwrap_or_default().to_owned(),
        })
    }
}

//! A chain of conditions, each of which must hold before the next one can: what `why` walks.
//!
//! ```text
//!  name ─ route ─ port ─ protocol ─ daemon ─ version ─ lock ─ clock ─ watcher ─ wanted ─ order ─
//!  start ─ process ─ ready
//! ```
//!
//! Knows neither nodes nor how a link is tested; only that the first broken one matters most.

use serde_json::{Value, json};

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It holds.
    Whole,
    /// It holds, with something worth knowing.
    Odd,
    /// It does not hold, so nothing behind it can.
    Broken,
}

impl State {
    /// As in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Odd => "odd",
            Self::Broken => "broken",
        }
    }
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it is called.
    pub name: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found, in one line.
    pub text: String,
    /// What helps; empty when nothing needs to.
    pub remedy: String,
}

impl Link {
    /// It holds.
    pub fn whole(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, state: State::Whole, text: text.into(), remedy: String::new() }
    }

    /// It holds, but.
    pub fn odd(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Odd, text: text.into(), remedy: remedy.into() }
    }

    /// It does not hold.
    pub fn broken(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Broken, text: text.into(), remedy: remedy.into() }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let remedy = (!self.remedy.is_empty()).then_some(self.remedy.as_str());
        json!({"link": self.name, "state": self.state.word(), "text": self.text, "remedy": remedy})
    }
}

/// The first link that is broken.
#[must_use]
pub fn broken(links: &[Link]) -> Option<&Link> {
    links.iter().find(|link| link.state == State::Broken)
}

//! What an operation does on one node, one request after the other.
//!
//! ```text
//!            Begin, Answer, Woken
//!  runner ──────────────────────────► procedure
//!         ◄────────────────────────── Send | Probe | Pause | Finish
//! ```
//!
//! A procedure knows neither connections nor deadlines nor retries: the runner
//! ([`crate::cluster::run`]) sends its requests, repeats what a busy node refused, ends it when its
//! time is over, and then sends what [`Procedure::cleanup`] names.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::answer::{Answer, COMMAND_ERROR, MESSAGE_ERROR, Request, UNKNOWN_COMMAND, short};
use crate::cluster::node::Daemon;
use crate::cluster::probing::Question;
use crate::outcome::NodeState;

/// What happened to a procedure's last wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It starts.
    Begin,
    /// The answer to its request, or to its questions.
    Answer(Answer),
    /// Its pause is over.
    Woken,
}

/// What a procedure wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask the node.
    Send(Request),
    /// Ask these from here; the answer is `{"answers": [null or why not, …]}`.
    Probe(Vec<Question>),
    /// Nothing, for so long.
    Pause(Duration),
    /// It is over.
    Finish(Verdict),
}

/// How an operation ended on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What became of it.
    pub state: NodeState,
    /// Why, in one line.
    pub reason: String,
    /// The answer.
    pub data: Value,
}

impl Verdict {
    /// An end without an answer.
    #[must_use]
    pub fn bare(state: NodeState, reason: impl Into<String>) -> Self {
        Self { state, reason: reason.into(), data: Value::Null }
    }

    /// An end with an answer.
    #[must_use]
    pub fn with(state: NodeState, reason: impl Into<String>, data: Value) -> Self {
        Self { state, reason: reason.into(), data }
    }

    /// The same with something more to say.
    #[must_use]
    pub fn noting(mut self, note: &str) -> Self {
        if !note.is_empty() {
            let separator = if self.reason.is_empty() { "" } else { "; " };
            self.reason = format!("{}{separator}{note}", self.reason);
        }
        self
    }
}

impl From<Verdict> for Next {
    fn from(verdict: Verdict) -> Self {
        Self::Finish(verdict)
    }
}

/// What a procedure may know about its node.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// What runs there.
    pub daemon: &'a Daemon,
    /// Since the cluster was made.
    pub now: Duration,
}

/// The steps of an operation on one node.
pub trait Procedure: Debug + Send {
    /// Something happened; what now? Never called again after `Finish`.
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next;

    /// What must be removed from the node whatever happened: the name of a one-shot watcher that was
    /// (or may have been) added.
    fn leftover(&self) -> Option<&str> {
        None
    }

    /// What a run whose time is over was waiting for, when that says more than the last request.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// The verdict on an error answer that a procedure has no better words for.
#[must_use]
pub fn refused(request: &str, errno: i64, reason: &str) -> Verdict {
    // 3 is what circus checks itself before it does anything; the rest went wrong under way.
    let state = match errno {
        UNKNOWN_COMMAND | MESSAGE_ERROR => NodeState::Refused,
        _ => NodeState::Failed,
    };
    Verdict::bare(state, format!("{request}: {}", short(reason)))
}

/// The same for an extension command of circusd-rs, which says no with circus' number for a conflict
/// and has one line for each fault.
#[must_use]
pub fn refused_by_rs(request: &str, errno: i64, reason: &str) -> Verdict {
    let state = match errno {
        UNKNOWN_COMMAND | MESSAGE_ERROR | COMMAND_ERROR => NodeState::Refused,
        _ => NodeState::Failed,
    };
    let lines: Vec<&str> = reason.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Verdict::bare(state, format!("{request}: {}", lines.join("; ")))
}

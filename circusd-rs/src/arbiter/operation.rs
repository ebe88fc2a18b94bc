//! Who waits for what.
//!
//! A command leaves a [`Ticket`] with every watcher it is about. The watcher says what became of it:
//! fulfilled, failed, or overtaken by a newer wish. The [`Operation`] counts, and answers the client
//! when the last ticket is back. It refuses to know how a wish is granted.

use std::collections::BTreeMap;

use circus_protocol::number::Pid;
use circus_protocol::reply::{Refusal, Reply};
use serde_json::{Map, Value};

use crate::arbiter::id::{Key, ReplyTo, WatcherId};

/// Names one operation for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct OpId(pub(super) u64);

/// What a ticket waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// The outcome of the first start, or whatever else makes waiting pointless.
    Begun,
    /// Active; with the pids there were when the wish came.
    Up { before: Vec<Pid> },
    /// Stopped.
    Down,
    /// Stopped, on the way to a start of several.
    Between,
    /// Without processes, whatever is wanted next.
    Released,
    /// Reloaded, or started instead; with the pids there were when the wish came.
    Reloaded { before: Vec<Pid> },
    /// These are gone.
    Killed { keys: Vec<Key> },
    /// As many processes as wanted, none on the way in or out.
    Settled,
    /// What was queued behind hooks has left.
    Told,
}

impl Goal {
    /// A wish to be down overtakes this.
    pub(super) fn wants_up(&self) -> bool {
        match self {
            Self::Begun | Self::Between | Self::Up { .. } | Self::Reloaded { .. } | Self::Settled => true,
            Self::Down | Self::Released | Self::Killed { .. } | Self::Told => false,
        }
    }

    /// A wish to be up overtakes this.
    pub(super) fn wants_down(&self) -> bool {
        match self {
            Self::Down | Self::Between => true,
            Self::Begun
            | Self::Up { .. }
            | Self::Released
            | Self::Reloaded { .. }
            | Self::Settled
            | Self::Killed { .. }
            | Self::Told => false,
        }
    }
}

/// A claim on a watcher.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) op: OpId,
    pub(super) goal: Goal,
    /// What the client called it.
    pub(super) command: &'static str,
}

/// What became of a ticket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    Done {
        stopped: Vec<Pid>,
        started: Vec<Pid>,
        kept: Vec<Pid>,
    },
    /// Our reason, for the asynchronous part.
    Failed(String),
    /// By what.
    Overtaken(String),
}

impl Outcome {
    pub(super) fn done() -> Self {
        Self::Done { stopped: Vec::new(), started: Vec::new(), kept: Vec::new() }
    }

    /// Who went and who came, judged by who is there now.
    pub(super) fn moved(before: &[Pid], now: impl Iterator<Item = Pid>) -> Self {
        let (kept, started): (Vec<Pid>, Vec<Pid>) = now.partition(|pid| before.contains(pid));
        let stopped = before.iter().copied().filter(|pid| !kept.contains(pid)).collect();
        Self::Done { stopped, started, kept }
    }
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// No key of its own.
    Plain,
    /// `"info": null`.
    Null,
    /// `"info": {"started", "kept"}`.
    Started,
    /// `"info": {"stopped", "started", "kept"}`.
    Replaced,
    /// `"started", "kept"` at top level.
    Added,
    /// `"numprocesses": n`.
    Count(u32),
}

/// What follows when all tickets are back, whether or not anybody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    /// The second half of a restart: those that were not overtaken start in their turn.
    Start,
    /// A restart of everything: read the configuration and build anew.
    Rebuild,
    /// A job of the host may begin now.
    Job(crate::arbiter::id::JobId),
}

/// One command under way.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) reply: Option<ReplyTo>,
    pub(super) outstanding: usize,
    pub(super) shape: Shape,
    pub(super) then: Then,
    /// Whom [`Then::Start`] is about.
    pub(super) watchers: Vec<WatcherId>,
    last: Option<Outcome>,
    problems: Vec<Outcome>,
}

impl Operation {
    pub(super) fn new(reply: Option<ReplyTo>, shape: Shape, then: Then) -> Self {
        let (watchers, problems) = (Vec::new(), Vec::new());
        Self { reply, outstanding: 0, shape, then, watchers, last: None, problems }
    }

    /// Goes on where another ended.
    pub(super) fn inherit(&mut self, first: &mut Self) {
        self.problems.append(&mut first.problems);
    }

    /// One ticket is back.
    pub(super) fn note(&mut self, outcome: Outcome) {
        self.outstanding = self.outstanding.saturating_sub(1);
        match outcome {
            Outcome::Done { .. } => self.last = Some(outcome),
            Outcome::Failed(_) | Outcome::Overtaken(_) => self.problems.push(outcome),
        }
    }

    /// The answer when all is over.
    pub(super) fn answer(&self) -> Reply {
        self.problem().map_or_else(|| Reply::Ok(self.body()), Reply::Error)
    }

    /// Everything that went wrong.
    pub(super) fn problem(&self) -> Option<Refusal> {
        let mut conflict = false;
        let mut texts = Vec::new();
        for problem in &self.problems {
            match problem {
                Outcome::Done { .. } => {}
                Outcome::Failed(text) => texts.push(text.as_str()),
                Outcome::Overtaken(text) => {
                    conflict = true;
                    texts.push(text.as_str());
                }
            }
        }
        let text = texts.join("; ");
        match (texts.is_empty(), conflict) {
            (true, _) => None,
            (false, true) => Some(Refusal::Conflict(text)),
            (false, false) => Some(Refusal::Server(text)),
        }
    }

    fn body(&self) -> Map<String, Value> {
        let none = Vec::new();
        let (stopped, started, kept) = match &self.last {
            Some(Outcome::Done { stopped, started, kept }) => (stopped, started, kept),
            Some(Outcome::Failed(_) | Outcome::Overtaken(_)) | None => (&none, &none, &none),
        };
        let pids = |pids: &[Pid]| Value::from(pids.iter().map(|pid| pid.get()).collect::<Vec<_>>());
        let mut body = Map::new();
        let mut put = |key: &str, value| body.insert(key.to_owned(), value);
        match self.shape {
            Shape::Plain => {}
            Shape::Null => {
                put("info", Value::Null);
            }
            Shape::Started => {
                put("info", serde_json::json!({"started": pids(started), "kept": pids(kept)}));
            }
            Shape::Replaced => {
                let info = serde_json::json!({"stopped": pids(stopped), "started": pids(started), "kept": pids(kept)});
                put("info", info);
            }
            Shape::Added => {
                put("started", pids(started));
                put("kept", pids(kept));
            }
            Shape::Count(count) => {
                put("numprocesses", Value::from(count));
            }
        }
        body
    }
}

/// All operations under way.
#[derive(Debug, Default)]
pub(super) struct Operations {
    next: u64,
    open: BTreeMap<OpId, Operation>,
}

impl Operations {
    pub(super) fn open(&mut self, operation: Operation) -> OpId {
        self.next += 1;
        let id = OpId(self.next);
        self.open.insert(id, operation);
        id
    }

    pub(super) fn get_mut(&mut self, id: OpId) -> Option<&mut Operation> {
        self.open.get_mut(&id)
    }

    /// Closes it if all its tickets are back.
    pub(super) fn close_finished(&mut self, id: OpId) -> Option<Operation> {
        if self.open.get(&id)?.outstanding > 0 {
            return None;
        }
        self.open.remove(&id)
    }

    /// Somebody has another wish for this watcher: the second half of a restart is not for it.
    pub(super) fn forget(&mut self, watcher: WatcherId) {
        for operation in self.open.values_mut() {
            operation.watchers.retain(|id| *id != watcher);
        }
    }

    /// The end of everything: whoever still waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Operation> {
        std::mem::take(&mut self.open).into_values()
    }
}

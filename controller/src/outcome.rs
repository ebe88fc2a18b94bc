//! What an operation asks for and what came of it: plain data between the fleet and every face.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

/// What to do with the targeted nodes, all at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Who is alive, and the state of each watcher (all of them when `names` is empty).
    Status {
        /// Only these watchers.
        names: Vec<String>,
    },
    /// Start watchers; on stock nodes too those that do not start by themselves.
    Start {
        /// Only these; all when empty.
        names: Vec<String>,
    },
    /// Stop watchers.
    Stop {
        /// Only these; all when empty.
        names: Vec<String>,
    },
    /// Stop and start.
    Restart {
        /// Only these; all when empty.
        names: Vec<String>,
    },
    /// Replace processes gracefully.
    Reload {
        /// Only these; all when empty.
        names: Vec<String>,
    },
    /// Write the services' configuration files from the cluster's membership.
    Configure(ConfigureRequest),
    /// Move the services' data (or logs) out of the way.
    Reset(ResetRequest),
    /// What a start of services would meet.
    Preflight {
        /// Only these watchers; all when empty.
        names: Vec<String>,
    },
    /// Figures of processes.
    Stats {
        /// Only these watchers; all when empty.
        names: Vec<String>,
    },
    /// How far watchers have come.
    Ready {
        /// Only these; all when empty.
        names: Vec<String>,
        /// Until all of them are ready.
        wait: bool,
    },
    /// Until these are up, whether or not they have joined anything.
    Up {
        /// Only these; all when empty.
        names: Vec<String>,
    },
    /// A watcher's story: how it stands, and what its last crash means.
    Why {
        /// The watcher.
        name: String,
    },
    /// What a watcher printed, or wrote into a log file of its own.
    Logs(LogsRequest),
    /// Which watchers and services a node has, and what runs.
    Survey,
    /// One raw command.
    Call {
        /// Its name.
        command: String,
        /// Its properties.
        properties: Value,
    },
}

impl Operation {
    /// Whether it changes something on the nodes; a raw command may.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Stop { .. } | Self::Restart { .. } | Self::Reload { .. } => true,
            Self::Configure(request) => !request.dry_run,
            Self::Reset(request) => !request.dry_run,
            Self::Call { .. } => true,
            Self::Status { .. } | Self::Stats { .. } | Self::Ready { .. } | Self::Up { .. } => false,
            Self::Why { .. } | Self::Logs(_) | Self::Survey | Self::Preflight { .. } => false,
        }
    }
}

/// `configure`: membership comes from the whole inventory, not from the targets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigureRequest {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// Further template variables.
    pub variables: Vec<(String, String)>,
    /// First start after a full reset.
    pub fresh: bool,
    /// Nodes that join a cluster holding data.
    pub joining: bool,
    /// Only say what would change.
    pub dry_run: bool,
}

/// `reset`.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetRequest {
    /// Only these services; all when empty.
    pub services: Vec<String>,
    /// `data`, `log` or both.
    pub kind: circus_protocol::command::ResetKind,
    /// Only list what would go.
    pub dry_run: bool,
    /// Stop services first instead of refusing.
    pub stop: bool,
    /// Put back what the last reset moved aside.
    pub undo: bool,
    /// Seconds until what was moved aside is freed.
    pub keep: Option<f64>,
}

/// `logs`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogsRequest {
    /// The watcher.
    pub name: String,
    /// `stdout`, `stderr`, or the label of a log file.
    pub source: String,
    /// How many of the last lines.
    pub lines: u32,
    /// Where each node, by its name, is read on instead; from a node that has no place come the last lines.
    pub places: HashMap<String, LogPlace>,
}

/// Where the next piece of a log begins, as a node has told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPlace {
    /// In bytes.
    pub offset: u64,
    /// Of which file, as the node calls it.
    pub generation: Option<String>,
}

/// What became of the operation on one node. Every targeted node has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeState {
    /// Done as asked, or answered.
    Done,
    /// Was so already.
    Unchanged,
    /// Skipped on purpose.
    Skipped,
    /// Not begun, or not waited for, because the user interrupted.
    Cancelled,
    /// Of a range, and never seen: no failure.
    Absent,
    /// The node said no.
    Refused,
    /// The node tried and failed.
    Failed,
    /// Reached, but no answer within the deadline.
    TimedOut,
    /// Not reached.
    Unreachable,
}

impl NodeState {
    /// All of them, best first.
    pub const ALL: [Self; 9] = [
        Self::Done,
        Self::Unchanged,
        Self::Skipped,
        Self::Cancelled,
        Self::Absent,
        Self::Refused,
        Self::Failed,
        Self::TimedOut,
        Self::Unreachable,
    ];

    /// As printed, as in JSON and as in the journal.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Unreachable => "unreachable",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// One node's row of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeOutcome {
    /// [`crate::inventory::NodeSpec::name`].
    pub node: String,
    /// What became of it.
    pub state: NodeState,
    /// Why, in one line; empty when there is nothing to say.
    pub reason: String,
    /// What the node runs, once known: `circusd-rs 0.1.0` or `circusd`.
    pub daemon: Option<String>,
    /// The answer, or `null` when there is none:
    /// - `status`, `start`, `stop`, `restart`, `reload`: `{"watchers": {NAME: STATE}}`, the states
    ///   afterwards, in the node's order;
    /// - `configure`: `{"files": [{"service", "label", "path", "changed", "diff"?}], "restart_needed"?}`;
    /// - `reset`: `{"services": {NAME: {"deleted", "truncated", "kept", "bytes", "undo_until"}}}`, where
    ///   `deleted` and `truncated` hold `{"path", "bytes", "entries", "modified"}`, `kept` holds
    ///   `{"path", "reason"}`; from a stock node a list may be cut short, then `deleted_count` and so
    ///   on say how long it was;
    /// - `stats`: watcher → pid → figures;
    /// - `ready`: `{"watchers": {NAME: {"state", "ready", "detail", "since"?}}}`;
    /// - `preflight`: `{"services": [NAME], "checks": N, "findings": [{"service", "check", "grade", "text", "remedy"}]}`;
    /// - `why`: `{"name", "state", "reason", "story", "crash", …}`, the node's answer;
    /// - `logs`: `{"text", "offset", "next_offset", "eof", "generation"}`, the node's answer;
    /// - survey: `{"watchers": {NAME: STATE}, "services": {NAME: {"start_order", "after", …}}}`;
    /// - `call`: the reply without its envelope.
    pub data: Value,
    /// How long it took.
    pub elapsed: Duration,
}

/// The whole result, in the inventory's order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// One for each targeted node.
    pub nodes: Vec<NodeOutcome>,
    /// How long the whole took.
    pub elapsed: Duration,
}

/// How to run an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Time for each node.
    pub timeout: Duration,
    /// At most so many nodes at once.
    pub parallel: usize,
    /// Which nodes of the inventory, by name; all when `None`.
    pub targets: Option<Vec<String>>,
}

/// What is told while an operation runs, in the order in which it happens. Whoever drops the
/// operation half-way (Ctrl-C) still holds every row that was told.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// So many nodes are targeted; told once, first.
    Started {
        /// How many rows the result will have.
        total: usize,
    },
    /// One node is done with; the same row is in the [`Outcome`].
    Finished(NodeOutcome),
    /// Something worth a line that is no result: a retry, a leftover that was removed.
    Note {
        /// Which node.
        node: String,
        /// One line.
        text: String,
    },
}

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
        /// CPU is measured over so long; zero: since whoever asked a node last.
        over: Duration,
    },
    /// How far watchers have come.
    Ready {
        /// Only these; all when empty.
        names: Vec<String>,
        /// Until all of them are ready.
        wait: bool,
        /// Not any more when a process of one ended so often meanwhile; 0: however often.
        crashes: u32,
    },
    /// Until these are up, whether or not they have joined anything.
    Up {
        /// Only these; all when empty.
        names: Vec<String>,
        /// Not any more when a process of one ended so often meanwhile; 0: however often.
        crashes: u32,
    },
    /// Which condition for a watcher to be ready does not hold: from the daemon's answer to probes,
    /// with the watcher's story.
    Why {
        /// The watcher; all of the node's, at a glance, when `None`.
        name: Option<String>,
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
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogsRequest {
    /// Watchers, by name or glob; all when empty.
    pub names: Vec<String>,
    /// `stdout`, `stderr`, labels of log files; `all` means whatever there is.
    pub sources: Vec<String>,
    /// Which part of each.
    pub part: LogsPart,
    /// The bytes as they are (`base64`), instead of text.
    pub binary: bool,
}

impl LogsRequest {
    /// What of it one node is asked.
    #[must_use]
    pub fn of(&self, node: &str) -> Self {
        let part = match &self.part {
            LogsPart::On { places } => {
                let own = places.get(node).map(|own| (node.to_owned(), own.clone()));
                LogsPart::On { places: own.into_iter().collect() }
            }
            LogsPart::Last { .. } | LogsPart::Since { .. } => self.part.clone(),
        };
        Self { names: self.names.clone(), sources: self.sources.clone(), part, binary: self.binary }
    }
}

/// Which part of each log is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum LogsPart {
    /// The last lines.
    Last {
        /// How many.
        lines: u32,
    },
    /// Everything stamped with this Unix time or a later one, by our clock, as far back as the last
    /// megabytes go.
    Since {
        /// The time.
        time: f64,
    },
    /// From these places on, of each node by its name; nothing of nodes that have none.
    On {
        /// The places.
        places: HashMap<String, Vec<LogPlace>>,
    },
}

impl Default for LogsPart {
    fn default() -> Self {
        Self::Last { lines: 100 }
    }
}

/// Where the next piece of a log begins, as a node has told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogPlace {
    /// The watcher.
    pub name: String,
    /// Of it.
    pub source: String,
    /// In bytes.
    pub offset: u64,
    /// Of which file, as the node calls it; `oldest` for the oldest there is.
    pub generation: Option<String>,
    /// The file itself, on a node that must be told it.
    pub path: Option<String>,
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
    /// The node said no, failed, did not answer in time, or was not reached.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Refused | Self::Failed | Self::TimedOut | Self::Unreachable => true,
            Self::Done | Self::Unchanged | Self::Skipped | Self::Cancelled | Self::Absent => false,
        }
    }

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
    /// - `stats`: `{"watchers": {NAME: {"state", "processes": {PID: figures}}}}`, the figures as the node
    ///   told them; circusd-rs adds `numprocesses`, `starts`, `restarts` and `ends`;
    /// - `ready`: `{"watchers": {NAME: {"state", "ready", "detail", "since"?, "ends"?, "numprocesses"?}}}`, where
    ///   a stock node's `ends` are those that were seen while one waited;
    /// - `preflight`: `{"services": [NAME], "checks": N, "findings": [{"service", "check", "grade", "text", "remedy"}]}`;
    /// - `why`: `{"links": [{"link", "state": "whole"|"odd"|"broken", "text", "remedy"}], "clock":
    ///   {"offset", "error"}}`, seconds that the node's clock is ahead; about a watcher of a
    ///   circusd-rs also its own answer: `{"name", "state", "reason", "story", "crash", …}`;
    /// - `logs`: `{"logs": [{"name", "source", "text" (or "base64"), "offset", "next_offset", "eof",
    ///   "generation", "by"}], "clock": {"offset", "error"}, "pubsub"}`, where a log that cannot be read
    ///   has `error` and `refused` instead, `zone` is the node's in seconds, and `by` our time at which
    ///   it was read;
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

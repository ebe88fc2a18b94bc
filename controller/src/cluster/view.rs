//! What is known of the cluster at one moment, and what has just changed in it: plain data for every
//! face. A face reads it and asks for operations; nothing in here can be acted on.
//!
//! Sharing is cheap: a view holds one [`Arc`] for each node, and a node that did not change is the
//! same `Arc` in the next view ([`Arc::ptr_eq`] tells). So are a node's watchers.
//!
//! All times are Unix time by the console's own clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use circus_protocol::number::Signal;
use circus_protocol::readiness::ReadyState;

/// All nodes, as known at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterView {
    /// Grows with each view that differs from the one before.
    pub serial: u64,
    /// When it was taken.
    pub at: Duration,
    /// In the inventory's order.
    pub nodes: Vec<Arc<NodeView>>,
    /// Sums over the nodes.
    pub counts: Counts,
}

/// Sums over all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Nodes that are up.
    pub up: usize,
    /// Nodes that are down.
    pub down: usize,
    /// Nodes that are being connected to for the first time.
    pub connecting: usize,
    /// Nodes nobody has asked yet.
    pub unknown: usize,
    /// Nodes of a range that were never seen.
    pub absent: usize,
    /// Watchers of nodes that are up.
    pub watchers: usize,
    /// Those of them that are active.
    pub active: usize,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// As every table prints it.
    pub name: Arc<str>,
    /// Its control endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it is there.
    pub state: State,
    /// Since when it is in this state.
    pub since: Duration,
    /// What runs there; the last known when it is down.
    pub daemon: Option<Arc<DaemonView>>,
    /// How its changes become known.
    pub watching: Watching,
    /// What its heartbeat tells.
    pub pulse: Pulse,
    /// By name, as configured; the last known when it is down.
    pub watchers: Arc<BTreeMap<Arc<str>, Arc<WatcherView>>>,
}

/// Whether a node is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// The first connection is being made.
    Connecting,
    /// It answers.
    Up,
    /// It did, or should, and does not.
    Down {
        /// One line: refused, timed out, name unknown, not a circus, silent.
        why: Arc<str>,
    },
    /// It is of a range, and was never seen.
    Absent {
        /// One line.
        why: Arc<str>,
    },
}

impl State {
    /// One word for a table.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Down { .. } => "down",
            Self::Absent { .. } => "absent",
        }
    }

    /// Why it is not there, if it is not.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Down { why } | Self::Absent { why } => Some(why),
            Self::Unknown | Self::Connecting | Self::Up => None,
        }
    }
}

/// What runs on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonView {
    /// The Python circusd; it does not tell its version.
    Stock,
    /// A circusd-rs.
    Native {
        /// Its version.
        version: String,
    },
}

impl fmt::Display for DaemonView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stock => out.write_str("circusd"),
            Self::Native { version } => write!(out, "circusd-rs {version}"),
        }
    }
}

/// How a node's changes become known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watching {
    /// Not at all, yet.
    #[default]
    Not,
    /// It publishes events, and we hear them.
    Events,
    /// It is asked again and again.
    Polls {
        /// How often.
        every: Duration,
    },
}

/// What a node's heartbeat tells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pulse {
    /// When something was heard from it last.
    pub heard: Option<Duration>,
    /// How long its last answer took.
    pub round_trip: Option<Duration>,
    /// Its clock minus ours, in seconds.
    pub clock_offset: Option<f64>,
}

/// One watcher on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct WatcherView {
    /// As circus prints it.
    pub status: Status,
    /// How many processes are wanted, where that is known.
    pub numprocesses: Option<u32>,
    /// How far its service has come, where the node tells.
    pub ready: Option<ReadyView>,
    /// By pid; those that are known of. Empty also means that nobody has asked for figures yet.
    pub processes: BTreeMap<i32, ProcessView>,
    /// How often a process was seen to replace one that had died since we follow the node.
    pub restarts: u64,
    /// When it changed last, as far as we have seen.
    pub changed: Duration,
}

/// A watcher's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// No process runs, and none is wanted.
    Stopped,
    /// On its way up.
    Starting,
    /// Runs.
    Active,
    /// On its way down.
    Stopping,
    /// A word that no circus known here says.
    Other,
}

impl Status {
    /// The status of that word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "stopped" => Self::Stopped,
            "starting" => Self::Starting,
            "active" => Self::Active,
            "stopping" => Self::Stopping,
            _ => Self::Other,
        }
    }

    /// As circus prints it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Other => "?",
        }
    }
}

/// How far a service has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyView {
    /// How far.
    pub state: ReadyState,
    /// Whether that is as far as it goes.
    pub ready: bool,
    /// Why, or what is missing; empty when there is nothing to say.
    pub detail: Arc<str>,
    /// Since when.
    pub since: Duration,
}

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessView {
    /// When it began, so that its age is the present time minus this.
    pub born: Option<Duration>,
    /// Of one CPU, in percent.
    pub cpu: Option<f64>,
    /// Resident memory in bytes.
    pub memory: Option<u64>,
}

/// One change, as one line.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// When: by the node's clock when an event told, corrected by what is known of it; else by ours.
    pub at: Duration,
    /// On which node.
    pub node: Arc<str>,
    /// What.
    pub change: Change,
}

/// What changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The node answers.
    Up {
        /// What runs there.
        daemon: Arc<DaemonView>,
    },
    /// The node does not answer any more.
    Down {
        /// Why.
        why: Arc<str>,
    },
    /// A watcher has another status; `None`: it was not, or is no longer, there.
    Status {
        /// Which watcher.
        watcher: Arc<str>,
        /// Before.
        from: Option<Status>,
        /// Now.
        to: Option<Status>,
    },
    /// A process began.
    Spawned {
        /// Of which watcher.
        watcher: Arc<str>,
        /// Its pid.
        pid: i32,
        /// It replaces one that died.
        again: bool,
    },
    /// A process ended.
    Died {
        /// Of which watcher.
        watcher: Arc<str>,
        /// Its pid.
        pid: i32,
        /// Exit status, or minus the signal number, where the node tells.
        code: Option<i32>,
        /// It was told to.
        wanted: bool,
    },
    /// A service has come further, or fallen back.
    Ready {
        /// Of which watcher.
        watcher: Arc<str>,
        /// Before, if known.
        from: Option<ReadyState>,
        /// Now.
        to: ReadyState,
        /// Why, or what is missing.
        detail: Arc<str>,
    },
    /// Something worth a line that changes no state: a hook that failed, a start that has to wait.
    Note {
        /// Of which watcher.
        watcher: Arc<str>,
        /// One line.
        text: String,
    },
}

impl Change {
    /// The watcher it is about; a node's own changes are about none.
    #[must_use]
    pub fn watcher(&self) -> Option<&str> {
        match self {
            Self::Up { .. } | Self::Down { .. } => None,
            Self::Status { watcher, .. }
            | Self::Spawned { watcher, .. }
            | Self::Died { watcher, .. }
            | Self::Ready { watcher, .. }
            | Self::Note { watcher, .. } => Some(watcher),
        }
    }

    /// Somebody should look: a node went down, a process died by itself, a service failed.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Down { .. } | Self::Note { .. } => true,
            Self::Died { wanted, .. } => !wanted,
            Self::Ready { to, .. } => *to == ReadyState::Failed,
            Self::Up { .. } | Self::Status { .. } | Self::Spawned { .. } => false,
        }
    }
}

/// Without the time: `node1: web: process 4711 died: SIGSEGV`.
impl fmt::Display for News {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.node, self.change)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { daemon } => write!(out, "up ({daemon})"),
            Self::Down { why } => write!(out, "down: {why}"),
            Self::Status { watcher, from, to } => match (from, to) {
                (Some(from), Some(to)) => write!(out, "{watcher}: {} (was {})", to.word(), from.word()),
                (None, Some(to)) => write!(out, "{watcher}: new, {}", to.word()),
                (_, None) => write!(out, "{watcher}: removed"),
            },
            Self::Spawned { watcher, pid, again: true } => {
                write!(out, "{watcher}: process {pid} started in place of one that died")
            }
            Self::Spawned { watcher, pid, again: false } => write!(out, "{watcher}: process {pid} started"),
            Self::Died { watcher, pid, code, wanted } => {
                let verb = if *wanted { "ended" } else { "died" };
                write!(out, "{watcher}: process {pid} {verb}")?;
                code.map_or(Ok(()), |code| write!(out, ": {}", cause(code)))
            }
            Self::Ready { watcher, from, to, detail } => {
                write!(out, "{watcher}: {}", to.word())?;
                if let Some(from) = from {
                    write!(out, " (was {})", from.word())?;
                }
                if detail.is_empty() { Ok(()) } else { write!(out, ": {detail}") }
            }
            Self::Note { watcher, text } => write!(out, "{watcher}: {text}"),
        }
    }
}

/// What circus' exit code means.
#[must_use]
pub fn cause(code: i32) -> String {
    let signal = code.checked_neg().filter(|number| *number > 0);
    match signal.map(|number| (number, Signal(number).name())) {
        Some((_, Some(name))) => format!("SIG{name}"),
        Some((number, None)) => format!("signal {number}"),
        None => format!("exit status {code}"),
    }
}

impl ClusterView {
    /// Of these nodes, with their sums.
    #[must_use]
    pub fn new(serial: u64, at: Duration, nodes: Vec<Arc<NodeView>>) -> Self {
        let mut counts = Counts { nodes: nodes.len(), ..Counts::default() };
        for node in &nodes {
            match node.state {
                State::Unknown => counts.unknown += 1,
                State::Connecting => counts.connecting += 1,
                State::Down { .. } => counts.down += 1,
                State::Absent { .. } => counts.absent += 1,
                State::Up => {
                    counts.up += 1;
                    counts.watchers += node.watchers.len();
                    counts.active += node.active();
                }
            }
        }
        Self { serial, at, nodes, counts }
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<NodeView>> {
        self.nodes.iter().find(|node| &*node.name == name)
    }
}

impl NodeView {
    /// A node nobody has asked yet.
    #[must_use]
    pub fn new(name: &str, endpoint: Endpoint, at: Duration) -> Self {
        Self {
            name: name.into(),
            endpoint: Arc::new(endpoint),
            state: State::Unknown,
            since: at,
            daemon: None,
            watching: Watching::Not,
            pulse: Pulse::default(),
            watchers: Arc::default(),
        }
    }

    /// How many of its watchers are active.
    #[must_use]
    pub fn active(&self) -> usize {
        self.watchers.values().filter(|watcher| watcher.status == Status::Active).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(change: Change) -> String {
        News { at: Duration::ZERO, node: "n1".into(), change }.to_string()
    }

    #[test]
    fn a_change_reads_as_one_line() {
        let web: Arc<str> = "web".into();
        let died = |code, wanted| line(Change::Died { watcher: web.clone(), pid: 7, code, wanted });
        assert_eq!(died(Some(-11), false), "n1: web: process 7 died: SIGSEGV");
        assert_eq!(died(Some(-77), false), "n1: web: process 7 died: signal 77");
        assert_eq!(died(Some(1), false), "n1: web: process 7 died: exit status 1");
        assert_eq!(died(Some(i32::MIN), false), "n1: web: process 7 died: exit status -2147483648");
        assert_eq!(died(None, true), "n1: web: process 7 ended");
        let status = |from, to| line(Change::Status { watcher: web.clone(), from, to });
        assert_eq!(status(Some(Status::Active), Some(Status::Stopped)), "n1: web: stopped (was active)");
        assert_eq!(status(None, Some(Status::Active)), "n1: web: new, active");
        assert_eq!(status(Some(Status::Active), None), "n1: web: removed");
        let joined = Change::Ready {
            watcher: web.clone(),
            from: Some(ReadyState::Up),
            to: ReadyState::Joined,
            detail: "3 of 3".into(),
        };
        assert_eq!(line(joined), "n1: web: joined (was up): 3 of 3");
    }

    #[test]
    fn a_view_counts_its_nodes() {
        let node = |name: &str, state| {
            let mut node = NodeView::new(name, Endpoint::Ipc(name.into()), Duration::ZERO);
            node.state = state;
            let watcher = WatcherView {
                status: Status::Active,
                numprocesses: None,
                ready: None,
                processes: BTreeMap::new(),
                restarts: 0,
                changed: Duration::ZERO,
            };
            node.watchers = Arc::new(BTreeMap::from([("web".into(), Arc::new(watcher))]));
            Arc::new(node)
        };
        let down = State::Down { why: "refused".into() };
        let nodes = vec![node("a", State::Up), node("b", down), node("c", State::Unknown)];
        let view = ClusterView::new(1, Duration::ZERO, nodes);
        let expected =
            Counts { nodes: 3, up: 1, down: 1, unknown: 1, watchers: 1, active: 1, ..Counts::default() };
        assert_eq!(view.counts, expected);
        assert_eq!(view.node("b").and_then(|node| node.state.why()), Some("refused"));
        assert!(view.node("d").is_none());
    }
}

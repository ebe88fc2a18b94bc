//! One node: whether there is a connection to it, and what was learnt on it.
//!
//! ```text
//!  Closed ──Open──► Opening ──Opened──► Open
//!    ▲                 │ Lost             │ Lost
//!    └─────────────────┴──────────────────┘   what was learnt about the daemon is forgotten
//! ```

use serde_json::{Map, Value};

use crate::cluster::run::Run;
use crate::inventory::NodeSpec;
use crate::outcome::NodeState;

/// Names a node for as long as it is part of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

/// What runs on a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Daemon {
    /// The Python circusd: it does not know `hello`.
    Stock,
    /// A circusd-rs.
    Rs {
        /// Its version.
        version: String,
        /// Its extension commands.
        extensions: Vec<String>,
        /// The rest of its answer to `hello`.
        hello: Map<String, Value>,
    },
}

impl Daemon {
    /// From the answer to `hello`.
    #[must_use]
    pub fn from_hello(hello: Map<String, Value>) -> Self {
        let version = hello.get("version").and_then(Value::as_str).unwrap_or("?").to_owned();
        let listed = hello.get("extensions").and_then(Value::as_array);
        let extensions =
            listed.into_iter().flatten().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect();
        Self::Rs { version, extensions, hello }
    }

    /// As the results print it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Stock => "circusd".to_owned(),
            Self::Rs { version, .. } => format!("circusd-rs {version}"),
        }
    }

    /// Whether it has an extension command.
    #[must_use]
    pub fn can(&self, command: &str) -> bool {
        match self {
            Self::Stock => false,
            Self::Rs { extensions, .. } => extensions.iter().any(|e| e == command),
        }
    }
}

/// The connection to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Connection {
    /// None.
    Closed,
    /// Being made.
    Opening {
        /// Somebody accepts it.
        reached: bool,
    },
    /// There.
    Open {
        /// What answered, once asked.
        daemon: Option<Daemon>,
        /// Leftovers of crashed consoles were looked for.
        swept: bool,
        /// Something was answered on it; until then a loss may be an old connection found dead.
        proven: bool,
    },
}

/// A node and everything known about it.
#[derive(Debug)]
pub struct Node {
    /// Its name for the cluster.
    pub id: NodeId,
    /// Its name for everybody else.
    pub spec: NodeSpec,
    /// The connection to it.
    pub connection: Connection,
    /// Somebody was there at some time.
    pub seen: bool,
    /// The operation under way.
    pub run: Option<Run>,
    /// One-shot watchers of abandoned operations, to be removed before anything else is done there.
    pub debts: Vec<String>,
}

impl Node {
    /// A node nobody has talked to.
    #[must_use]
    pub fn new(id: NodeId, spec: NodeSpec) -> Self {
        Self { id, spec, connection: Connection::Closed, seen: false, run: None, debts: Vec::new() }
    }

    /// What runs there, if known.
    #[must_use]
    pub fn daemon(&self) -> Option<&Daemon> {
        match &self.connection {
            Connection::Open { daemon, .. } => daemon.as_ref(),
            Connection::Closed | Connection::Opening { .. } => None,
        }
    }

    /// Somebody is there.
    pub fn reached(&mut self) {
        self.seen = true;
        if let Connection::Opening { reached } = &mut self.connection {
            *reached = true;
        }
    }

    /// What it is when there is no connection to it.
    #[must_use]
    pub fn missing(&self) -> NodeState {
        if self.spec.from_range && !self.seen { NodeState::Absent } else { NodeState::Unreachable }
    }

    /// What it is when no connection came about within `limit`, and why.
    #[must_use]
    pub fn silent(&self, limit: &str) -> (NodeState, String) {
        match self.connection {
            Connection::Opening { reached: true } => {
                let why = format!(
                    "accepts connections, but says nothing within {limit}: a circusd that hangs, or none"
                );
                (NodeState::TimedOut, why)
            }
            Connection::Closed | Connection::Opening { reached: false } | Connection::Open { .. } => {
                (self.missing(), format!("no connection within {limit}"))
            }
        }
    }
}

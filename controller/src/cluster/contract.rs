//! What can happen to the cluster and what it can ask for: the values that pass between the rules and
//! whoever performs them. The contract between the two is written in [`crate::cluster`].

use circus_protocol::endpoint::Endpoint;
use serde_json::{Map, Value};

use crate::cluster::node::NodeId;
use crate::cluster::operations::OperationId;
use crate::cluster::probing::Question;
use crate::cluster::view::News;
use crate::outcome::{NodeOutcome, Progress};

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Somebody accepts a connection there; whether it is a circusd is not known yet.
    Reached {
        /// To which node.
        node: NodeId,
    },
    /// A connection was made.
    Opened {
        /// To which node.
        node: NodeId,
    },
    /// A connection could not be made, or is gone.
    Lost {
        /// To which node.
        node: NodeId,
        /// Why, as a lower-case fragment: `connection refused`.
        reason: String,
    },
    /// A node sent a frame.
    Received {
        /// Which node.
        node: NodeId,
        /// The frame.
        payload: Vec<u8>,
    },
    /// A `Probe` has its answers.
    Probed {
        /// About which node.
        node: NodeId,
        /// Which questions.
        id: String,
        /// `{"answers": [null or why not, …]}`, in their order.
        answers: Map<String, Value>,
    },
    /// The node's events are heard from now on.
    Listening {
        /// Which node.
        node: NodeId,
    },
    /// They are not heard any more, or were not to be had.
    Deaf {
        /// Which node.
        node: NodeId,
    },
    /// A node published an event.
    Heard {
        /// Which node.
        node: NodeId,
        /// The first frame.
        topic: Vec<u8>,
        /// The second.
        payload: Vec<u8>,
    },
    /// A deadline may have passed.
    Tick,
}

impl Input {
    /// The node it is about.
    #[must_use]
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Reached { node }
            | Self::Opened { node }
            | Self::Lost { node, .. }
            | Self::Received { node, .. }
            | Self::Probed { node, .. }
            | Self::Listening { node }
            | Self::Deaf { node }
            | Self::Heard { node, .. } => Some(*node),
            Self::Tick => None,
        }
    }
}

/// Everything that can be asked for. Performed in order; matched without wildcard.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Effect {
    /// Connect.
    Open {
        /// To which node.
        node: NodeId,
        /// Frames that leave with our side of the handshake.
        first: Vec<Vec<u8>>,
    },
    /// Send one frame.
    Send {
        /// To which node.
        node: NodeId,
        /// The frame.
        payload: Vec<u8>,
    },
    /// Drop the connection.
    Close {
        /// To which node.
        node: NodeId,
    },
    /// Ask these from here, all at once; answered by one `Probed`.
    Probe {
        /// About which node.
        node: NodeId,
        /// To tell these questions from others.
        id: String,
        /// What.
        questions: Vec<Question>,
    },
    /// Subscribe to the node's events, and go on trying.
    Listen {
        /// Which node.
        node: NodeId,
        /// Where it publishes.
        endpoint: Endpoint,
    },
    /// Do not listen any more.
    Unlisten {
        /// To which node.
        node: NodeId,
    },
    /// Tell whoever watches the operation.
    Report(OperationId, Progress),
    /// Tell everybody who wants to know what changes.
    News(News),
    /// Every target of the operation has its row.
    Finished {
        /// Which operation.
        operation: OperationId,
        /// In the inventory's order.
        rows: Vec<NodeOutcome>,
    },
}

/// Makes request ids and names that no other console uses.
#[derive(Debug)]
pub struct Ids {
    session: String,
    next: u64,
}

impl Ids {
    /// `session` must be different for each console that was ever started: some random digits.
    #[must_use]
    pub fn new(session: String) -> Self {
        Self { session, next: 0 }
    }

    /// What tells our one-shots from those of others.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// For the next request.
    pub fn request(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.session, self.next)
    }
}

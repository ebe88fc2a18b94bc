//! The operations under way: who is still to begin, how many work at once, and the rows so far.
//!
//! Several run at the same time, each on nodes of its own choice and with a bound of its own. Which
//! class each node's part belongs to is counted when it changes, so that no step looks at all nodes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::cluster::follow::Manner;
use crate::cluster::node::NodeId;
use crate::outcome::NodeOutcome;

/// Names an operation for as long as the cluster lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// As what an operation counts a node's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not at all, yet.
    New,
    /// Not begun.
    Queued,
    /// Waits for its connection.
    Connecting,
    /// Waits for a slot.
    Ready,
    /// Has one.
    Active,
}

/// A node's part of an operation that is over.
#[derive(Debug)]
pub struct Ended {
    /// Of which operation.
    pub operation: OperationId,
    /// As what it was counted.
    pub counted: Class,
    /// What became of it.
    pub outcome: NodeOutcome,
}

/// One operation.
#[derive(Debug)]
pub struct Board {
    /// At most so many nodes at once.
    pub parallel: usize,
    /// In the inventory's order.
    pub targets: Vec<NodeId>,
    /// Of those that ended.
    pub rows: HashMap<NodeId, NodeOutcome>,
    queued: VecDeque<NodeId>,
    ready: VecDeque<NodeId>,
    active: usize,
}

impl Board {
    /// Of these nodes, none of which has begun.
    #[must_use]
    pub fn new(parallel: usize, targets: Vec<NodeId>) -> Self {
        let rows = HashMap::with_capacity(targets.len());
        let parallel = parallel.max(1);
        Self { parallel, targets, rows, queued: VecDeque::new(), ready: VecDeque::new(), active: 0 }
    }

    /// A node's part changed its class.
    pub fn count(&mut self, node: NodeId, from: Class, to: Class) {
        match from {
            Class::Active => self.active -= 1,
            // Their places in the queues are skipped when they come up.
            Class::New | Class::Queued | Class::Connecting | Class::Ready => {}
        }
        match to {
            Class::Active => self.active += 1,
            Class::Queued => self.queued.push_back(node),
            Class::Ready => self.ready.push_back(node),
            Class::New | Class::Connecting => {}
        }
    }

    /// The next that may connect.
    pub fn next_queued(&mut self) -> Option<NodeId> {
        self.queued.pop_front()
    }

    /// The next that may work, if a slot is free.
    pub fn next_ready(&mut self) -> Option<NodeId> {
        if self.active < self.parallel { self.ready.pop_front() } else { None }
    }

    /// How many work.
    #[must_use]
    pub fn active(&self) -> usize {
        self.active
    }

    /// Every target has its row.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.rows.len() >= self.targets.len()
    }

    /// All rows, in the inventory's order.
    #[must_use]
    pub fn into_rows(mut self) -> Vec<NodeOutcome> {
        self.targets.iter().filter_map(|node| self.rows.remove(node)).collect()
    }
}

/// What all nodes share while they are followed.
#[derive(Debug, Default)]
pub struct Shared {
    /// How they are followed.
    pub manner: Manner,
    /// How many more nodes' events can be heard.
    pub ears: usize,
    /// Followed nodes that want to connect.
    pub lobby: VecDeque<NodeId>,
    /// What the next view would show.
    pub dirty: Dirty,
}

/// How much a view that was taken is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Dirty {
    /// Not at all.
    #[default]
    Clean,
    /// A heartbeat was measured.
    Pulse,
    /// Something changed.
    Changed,
}

impl Shared {
    /// A node's view is about to change.
    pub fn touch(&mut self, matters: bool) {
        self.dirty = self.dirty.max(if matters { Dirty::Changed } else { Dirty::Pulse });
    }
}

/// A tick that comes so late means that the console itself was stopped or starved.
pub const LATE: Duration = Duration::from_millis(300);

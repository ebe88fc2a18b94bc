//! The cluster: all nodes, and every decision about what to send to whom, as values.
//!
//! [`Cluster::step`] takes the time and one [`Input`] and returns the [`Effect`]s to perform, in
//! order. It never touches the system, reads no clock, and knows no sockets.
//!
//! The contract with whoever performs the effects (the fleet; in tests a scripted world):
//!
//! 1. Each `Open` is answered by exactly one `Opened` or `Lost`; each `Opened` is followed by at
//!    most one `Lost`. After a `Close` nothing more comes from that connection.
//! 2. `Received` comes only between `Opened` and `Lost`, in the order in which the node sent.
//! 3. `next_deadline` names the moment at which a `Tick` is wanted; late is fine, early is harmless.
//!
//! In return each targeted node gets exactly one `Ended`, at the latest [`run::CLEANUP_TIME`] after
//! its deadline, whatever the nodes do.

pub mod answer;
pub mod configure;
pub mod journal;
pub mod lifecycle;
pub mod names;
pub mod native;
pub mod node;
pub mod oneshot;
pub mod plan;
pub mod preflight;
pub mod preview;
pub mod procedure;
pub mod query;
pub mod ready;
pub mod reset;
pub mod rolling;
pub mod run;
pub mod sequence;
pub mod survey;
pub mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::node::{Connection, Node, NodeId};
use crate::cluster::plan::Plan;
use crate::cluster::run::{Run, Turn};
use crate::inventory::{Inventory, NodeSpec};
use crate::outcome::{NodeOutcome, Progress};

/// How many connections are being made at the same time. Nodes that are switched off hold one of
/// these until their deadline, so it is large; a descriptor limit of 1024 must still hold it.
const CONNECTING_MAX: usize = 400;

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
    /// A deadline may have passed.
    Tick,
}

/// Everything that can be asked for. Performed in order; matched without wildcard.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Effect {
    /// Connect.
    Open {
        /// To which node.
        node: NodeId,
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
    /// Tell whoever watches.
    Report(Progress),
    /// A node has its outcome.
    Ended {
        /// Which node.
        node: NodeId,
        /// What became of it.
        outcome: Box<NodeOutcome>,
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

/// All nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, usize>,
    next_node: u64,
    ids: Ids,
    parallel: usize,
    /// Rows of the operation under way or just ended, by position.
    rows: Vec<Option<NodeOutcome>>,
    targets: Vec<usize>,
}

impl Cluster {
    /// Nobody was talked to yet.
    #[must_use]
    pub fn new(inventory: &Inventory, session: String) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            by_id: HashMap::new(),
            next_node: 0,
            ids: Ids::new(session),
            parallel: 1,
            rows: Vec::new(),
            targets: Vec::new(),
        };
        // Without nodes there is no connection to drop.
        let _: Vec<Effect> = cluster.replace(inventory);
        cluster
    }

    /// A node, by what the effects call it.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeSpec> {
        self.by_id.get(&id).and_then(|at| self.nodes.get(*at)).map(|node| &node.spec)
    }

    /// Other nodes from now on; what is known about those in both is kept.
    pub fn replace(&mut self, inventory: &Inventory) -> Vec<Effect> {
        let mut old = std::mem::take(&mut self.nodes);
        for spec in &inventory.nodes {
            let known = old.iter().position(|n| n.spec.name == spec.name && n.spec.endpoint == spec.endpoint);
            let mut node = match known {
                Some(at) => old.swap_remove(at),
                None => {
                    self.next_node += 1;
                    Node::new(NodeId(self.next_node), spec.clone())
                }
            };
            node.spec = spec.clone();
            self.nodes.push(node);
        }
        self.by_id = self.nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        let gone = old.into_iter().filter(|n| n.connection != Connection::Closed);
        gone.map(|n| Effect::Close { node: n.id }).collect()
    }

    /// Begins an operation on the targeted nodes (all when `None`); what was under way is abandoned.
    pub fn begin(
        &mut self,
        now: Duration,
        plan: Plan,
        parallel: usize,
        targets: Option<&[String]>,
    ) -> Vec<Effect> {
        let mut effects = self.abandon();
        let plan = Arc::new(plan);
        self.parallel = parallel.max(1);
        self.rows = self.nodes.iter().map(|_| None).collect();
        let meant = |node: &Node| targets.is_none_or(|names| names.contains(&node.spec.name));
        self.targets = self.nodes.iter().enumerate().filter(|(_, n)| meant(n)).map(|(at, _)| at).collect();
        effects.push(Effect::Report(Progress::Started { total: self.targets.len() }));
        for at in &self.targets {
            if let Some(node) = self.nodes.get_mut(*at) {
                node.run = Some(Run::new(Arc::clone(&plan), *at, now));
            }
        }
        self.admit(now, &mut effects);
        effects
    }

    /// Something happened.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut turn = Turn { now, ids: &mut self.ids, out: &mut effects };
        let about = match &input {
            Input::Reached { node }
            | Input::Opened { node }
            | Input::Lost { node, .. }
            | Input::Received { node, .. } => Some(*node),
            Input::Tick => None,
        };
        let at = about.and_then(|id| self.by_id.get(&id));
        match (input, at.and_then(|at| self.nodes.get_mut(*at))) {
            (Input::Reached { .. }, Some(node)) => node.reached(),
            (Input::Opened { .. }, Some(node)) => node.opened(&mut turn),
            (Input::Lost { reason, .. }, Some(node)) => node.lost(&mut turn, &reason),
            (Input::Received { payload, .. }, Some(node)) => node.received(&mut turn, &payload),
            // A node that is no longer part of the cluster.
            (Input::Reached { .. } | Input::Opened { .. }, None) => {}
            (Input::Lost { .. } | Input::Received { .. }, None) => {}
            (Input::Tick, _) => {
                for node in self.nodes.iter_mut().filter(|n| n.run.is_some()) {
                    node.tick(&mut turn);
                }
            }
        }
        self.admit(now, &mut effects);
        effects
    }

    /// The next moment at which a [`Input::Tick`] is wanted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.nodes.iter().filter_map(|n| n.run.as_ref()?.next_deadline()).min()
    }

    /// Every targeted node has its outcome.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.nodes.iter().all(|n| n.run.is_none())
    }

    /// The rows of the operation, in the inventory's order: all of them once it is finished.
    #[must_use]
    pub fn take_rows(&mut self) -> Vec<NodeOutcome> {
        std::mem::take(&mut self.rows).into_iter().flatten().collect()
    }

    /// Hands out no more work: nodes on which nothing was changed yet end now (`cancelled`), the others
    /// go on to their own end.
    pub fn interrupt(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut turn = Turn { now, ids: &mut self.ids, out: &mut effects };
        self.nodes.iter_mut().for_each(|node| node.interrupt(&mut turn));
        self.admit(now, &mut effects);
        effects
    }

    /// Ends the operation at once: whoever has no outcome yet is `cancelled`, with what was under way
    /// there. What it would leave behind is removed as by [`Cluster::abandon`].
    pub fn leave(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut turn = Turn { now, ids: &mut self.ids, out: &mut effects };
        self.nodes.iter_mut().for_each(|node| node.leave(&mut turn));
        self.admit(now, &mut effects);
        effects
    }

    /// Stops caring about the operation under way. The effects remove what it would leave behind, as
    /// well as that can be done without waiting.
    pub fn abandon(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut turn = Turn { now: Duration::ZERO, ids: &mut self.ids, out: &mut effects };
        for node in &mut self.nodes {
            node.forsake(&mut turn);
            node.run = None;
        }
        effects
    }

    /// The nodes on which an abandoned operation may have left something.
    #[must_use]
    pub fn indebted(&self) -> Vec<String> {
        self.nodes.iter().filter(|n| !n.debts.is_empty()).map(|n| n.spec.name.clone()).collect()
    }

    /// Lets nodes connect and work, as far as the bounds allow, and files the rows of those that ended.
    fn admit(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        self.file(effects);
        loop {
            let count = |what: fn(&Run) -> bool| {
                self.nodes.iter().filter(|n| n.run.as_ref().is_some_and(what)).count()
            };
            let (mut connecting, mut active) = (count(Run::is_connecting), count(Run::is_active));
            let before = effects.len();
            let mut turn = Turn { now, ids: &mut self.ids, out: &mut *effects };
            for node in &mut self.nodes {
                let Some(run) = &node.run else { continue };
                if run.is_queued() && connecting < CONNECTING_MAX {
                    connecting += 1;
                    node.connect(&mut turn);
                }
                if node.run.as_ref().is_some_and(Run::is_ready) && active < self.parallel {
                    active += 1;
                    node.work(&mut turn);
                }
            }
            // A node may have ended at once; then its slot is free for the next one.
            if !self.file_from(effects, before) {
                return;
            }
        }
    }

    fn file(&mut self, effects: &mut Vec<Effect>) {
        self.file_from(effects, 0);
    }

    /// Keeps the row of each node that ended and tells it; whether there was one.
    fn file_from(&mut self, effects: &mut Vec<Effect>, from: usize) -> bool {
        let mut rows = Vec::new();
        for effect in effects.iter().skip(from) {
            if let Effect::Ended { node, outcome } = effect {
                rows.push((*node, outcome.as_ref().clone()));
            }
        }
        let any = !rows.is_empty();
        for (id, row) in rows {
            let slot = self.by_id.get(&id).and_then(|at| self.rows.get_mut(*at));
            if let Some(slot) = slot {
                debug_assert!(slot.is_none(), "a second outcome for {}", row.node);
                *slot = Some(row.clone());
            }
            effects.push(Effect::Report(Progress::Finished(row)));
        }
        any
    }
}

#[cfg(test)]
mod tests;

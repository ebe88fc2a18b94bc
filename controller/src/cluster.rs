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
//! 4. Each `Listen` may be answered by any number of `Listening` and `Deaf` in turn; `Heard` comes only
//!    between the two. After an `Unlisten` nothing more comes from there.
//!
//! In return each targeted node gets exactly one row, at the latest [`run::CLEANUP_TIME`] after its
//! deadline, whatever the nodes do; and each operation that is not abandoned exactly one `Finished`.
//!
//! Operations run at the same time on the same connections, and so does [`follow`]ing, once it is wanted.

pub mod answer;
pub mod chain;
pub mod clock;
pub mod configure;
pub mod contract;
pub mod ears;
pub mod follow;
pub mod journal;
pub mod lifecycle;
pub mod log;
pub mod logs;
pub mod names;
pub mod node;
pub mod oneshot;
pub mod operations;
pub mod plan;
pub mod preflight;
pub mod preview;
pub mod probing;
pub mod procedure;
pub mod pulse;
pub mod query;
pub mod ready;
pub mod reset;
pub mod rolling;
pub mod run;
pub mod sequence;
pub mod survey;
pub mod view;
pub mod watch;
pub mod why;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;

pub use crate::cluster::contract::{Effect, Ids, Input};

use crate::cluster::follow::{Follow, Manner};
use crate::cluster::node::{Connection, Node, NodeId};
use crate::cluster::operations::{Board, Class, Dirty, LATE, OperationId, Shared};
use crate::cluster::plan::Plan;
use crate::cluster::run::{Run, Turn};
use crate::cluster::view::ClusterView;
use crate::inventory::{Inventory, NodeSpec};
use crate::outcome::{NodeOutcome, NodeState, Progress};

/// How many connections are being made at the same time, as far as there are descriptors for them. A node
/// that is switched off or frozen holds one of these until its deadline, and the time of those behind it
/// begins only then: so it is more than most clusters have nodes.
const CONNECTING_MAX: usize = 4_000;
/// So many in any case; a descriptor limit of 1024 holds them.
const CONNECTING_MIN: usize = 400;

/// All nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    by_id: HashMap<NodeId, usize>,
    next_node: u64,
    ids: Ids,
    boards: BTreeMap<OperationId, Board>,
    next_operation: u64,
    /// Nodes whose connection is being made.
    connecting: usize,
    /// At most so many.
    connecting_max: usize,
    /// When each node wants to be ticked.
    timers: BTreeSet<(Duration, NodeId)>,
    following: bool,
    shared: Shared,
    views: u64,
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
            boards: BTreeMap::new(),
            next_operation: 0,
            connecting: 0,
            connecting_max: CONNECTING_MIN,
            timers: BTreeSet::new(),
            following: false,
            shared: Shared::default(),
            views: 0,
        };
        // Without nodes there is no connection to drop.
        let _: Vec<Effect> = cluster.replace(Duration::ZERO, inventory);
        cluster
    }

    /// There is room for so many connections from now on.
    pub fn make_room(&mut self, connections: usize) {
        self.connecting_max = connections.clamp(CONNECTING_MIN, CONNECTING_MAX);
    }

    /// A node, by what the effects call it.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeSpec> {
        self.by_id.get(&id).and_then(|at| self.nodes.get(*at)).map(|node| &node.spec)
    }

    /// Other nodes from now on; what is known about those in both is kept, and so is what is under way
    /// there. What is under way on the others is cancelled.
    pub fn replace(&mut self, now: Duration, inventory: &Inventory) -> Vec<Effect> {
        let mut effects = Vec::new();
        let old = std::mem::take(&mut self.nodes).into_iter();
        let mut old: HashMap<(String, Endpoint), Node> =
            old.map(|node| ((node.spec.name.clone(), node.spec.endpoint.clone()), node)).collect();
        for spec in &inventory.nodes {
            let mut node = old.remove(&(spec.name.clone(), spec.endpoint.clone())).unwrap_or_else(|| {
                self.next_node += 1;
                Node::new(NodeId(self.next_node), spec.clone())
            });
            if self.following {
                begin_to_follow(&mut node, &self.shared.manner, now);
            }
            node.spec = spec.clone();
            self.nodes.push(node);
        }
        self.by_id = self.nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
        for node in old.into_values() {
            self.forget(now, node, &mut effects);
        }
        for at in 0..self.nodes.len() {
            self.settle(at, &mut effects);
        }
        self.shared.touch(true);
        self.admit(now, &mut effects);
        effects
    }

    /// A node is no longer part of the cluster.
    fn forget(&mut self, now: Duration, mut node: Node, effects: &mut Vec<Effect>) {
        let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: effects };
        node.unfollow(&mut turn);
        if node.connection != Connection::Closed {
            effects.push(Effect::Close { node: node.id });
        }
        self.connecting -= usize::from(node.counted);
        if let Some(armed) = node.armed {
            self.timers.remove(&(armed, node.id));
        }
        for run in std::mem::take(&mut node.runs) {
            let row = NodeOutcome {
                node: node.spec.name.clone(),
                state: NodeState::Cancelled,
                reason: "no longer part of the cluster".to_owned(),
                daemon: node.daemon().map(node::Daemon::describe),
                data: serde_json::Value::Null,
                elapsed: Duration::ZERO,
            };
            self.file(node.id, run.operation, run.counted, row, effects);
        }
    }

    /// Begins an operation on the targeted nodes (all when `None`), beside those under way.
    pub fn begin(
        &mut self,
        now: Duration,
        plan: Plan,
        parallel: usize,
        targets: Option<&[String]>,
    ) -> (OperationId, Vec<Effect>) {
        self.next_operation += 1;
        let operation = OperationId(self.next_operation);
        let plan = Arc::new(plan);
        let wanted: Option<std::collections::HashSet<&String>> = targets.map(|names| names.iter().collect());
        let meant = |node: &Node| wanted.as_ref().is_none_or(|names| names.contains(&node.spec.name));
        let places: Vec<usize> =
            self.nodes.iter().enumerate().filter(|(_, node)| meant(node)).map(|(at, _)| at).collect();
        let targets = places.iter().filter_map(|at| self.nodes.get(*at)).map(|node| node.id).collect();
        let board = Board::new(parallel, targets);
        let mut effects = vec![Effect::Report(operation, Progress::Started { total: places.len() })];
        let empty = board.is_finished();
        self.boards.insert(operation, board);
        if empty {
            self.finish(operation, &mut effects);
        }
        for at in places {
            if let Some(node) = self.nodes.get_mut(at) {
                node.runs.push(Run::new(operation, Arc::clone(&plan), at, now));
            }
            self.settle(at, &mut effects);
        }
        self.admit(now, &mut effects);
        (operation, effects)
    }

    /// Follows every node from now on.
    pub fn follow(&mut self, now: Duration, manner: Manner) -> Vec<Effect> {
        self.following = true;
        self.shared.ears = manner.ears;
        self.shared.manner = manner;
        let mut effects = Vec::new();
        for at in 0..self.nodes.len() {
            let node = self.nodes.get_mut(at);
            node.into_iter().for_each(|node| begin_to_follow(node, &self.shared.manner, now));
            self.settle(at, &mut effects);
        }
        self.shared.touch(true);
        effects
    }

    /// Whether nodes are followed.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.following
    }

    /// Somebody wants figures so often from now on, or nobody does any more.
    pub fn want_figures(&mut self, now: Duration, every: Option<Duration>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.shared.manner.figures = every;
        for at in 0..self.nodes.len() {
            let Some(node) = self.nodes.get_mut(at) else { continue };
            let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: &mut effects };
            node.follow_figures(&mut turn);
            self.settle(at, &mut effects);
        }
        effects
    }

    /// What time of day it is when the cluster's own time is zero: the system's clock may be set.
    pub fn set_wall(&mut self, wall: Duration) {
        self.shared.manner.wall = wall;
    }

    /// Something happened.
    pub fn step(&mut self, now: Duration, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let at = input.node().and_then(|id| self.by_id.get(&id)).copied();
        if input == Input::Tick {
            self.tick(now, &mut effects);
        } else if let Some(at) = at
            && let Some(node) = self.nodes.get_mut(at)
        {
            let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: &mut effects };
            match input {
                Input::Reached { .. } => node.reached(),
                Input::Opened { .. } => node.opened(&mut turn),
                Input::Lost { reason, .. } => node.lost(&mut turn, &reason),
                Input::Received { payload, .. } => node.received(&mut turn, &payload),
                Input::Probed { id, answers, .. } => node.probed(&mut turn, &id, answers),
                Input::Listening { .. } => node.follow_listening(&mut turn),
                Input::Deaf { .. } => node.follow_deaf(&mut turn),
                Input::Heard { topic, payload, .. } => node.follow_event(&mut turn, &topic, &payload),
                Input::Tick => {}
            }
            self.settle(at, &mut effects);
        }
        self.admit(now, &mut effects);
        effects
    }

    fn tick(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let Some(late) = self.next_deadline().map(|due| now.saturating_sub(due)) else { return };
        if late > LATE {
            // What could have come meanwhile is still to be read.
            for at in 0..self.nodes.len() {
                let follow = self.nodes.get_mut(at).and_then(|node| node.follow.as_mut());
                follow.into_iter().for_each(|follow| follow.forgive(late));
                self.settle(at, effects);
            }
        }
        let due: Vec<NodeId> =
            self.timers.iter().take_while(|(due, _)| *due <= now).map(|(_, id)| *id).collect();
        for id in due {
            let Some(at) = self.by_id.get(&id).copied() else { continue };
            let Some(node) = self.nodes.get_mut(at) else { continue };
            let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: effects };
            node.tick(&mut turn);
            self.settle(at, effects);
        }
    }

    /// The next moment at which a [`Input::Tick`] is wanted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// How much of a view taken last is out of date.
    #[must_use]
    pub fn dirty(&self) -> Dirty {
        self.shared.dirty
    }

    /// What is known of all nodes.
    pub fn view(&mut self, now: Duration) -> ClusterView {
        self.shared.dirty = Dirty::Clean;
        self.views += 1;
        let nodes = self.nodes.iter().map(|node| Arc::clone(&node.view)).collect();
        ClusterView::new(self.views, self.shared.manner.wall + now, nodes)
    }

    /// Whether the operation still runs.
    #[must_use]
    pub fn is_under_way(&self, operation: OperationId) -> bool {
        self.boards.contains_key(&operation)
    }

    /// Hands out no more work of the operation: nodes on which nothing was changed yet end now
    /// (`cancelled`), the others go on to their own end.
    pub fn interrupt(&mut self, now: Duration, operation: OperationId) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.each_run(now, operation, &mut effects, Node::interrupt);
        self.admit(now, &mut effects);
        effects
    }

    /// Ends the operation at once: whoever has no outcome yet is `cancelled`, with what was under way
    /// there. What it would leave behind is removed as by [`Cluster::abandon`].
    pub fn leave(&mut self, now: Duration, operation: OperationId) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.each_run(now, operation, &mut effects, Node::leave);
        self.admit(now, &mut effects);
        effects
    }

    /// Stops caring about an operation. The effects remove what it would leave behind, as well as that
    /// can be done without waiting.
    pub fn abandon(&mut self, now: Duration, operation: OperationId) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.each_run(now, operation, &mut effects, |node, turn| {
            node.forsake(turn);
            node.run = None;
        });
        self.boards.remove(&operation);
        self.admit(now, &mut effects);
        effects
    }

    /// Does something with each node's part of an operation that has not ended.
    fn each_run(
        &mut self,
        now: Duration,
        operation: OperationId,
        effects: &mut Vec<Effect>,
        act: impl Fn(&mut Node, &mut Turn<'_>),
    ) {
        let targets = self.boards.get(&operation).map(|board| board.targets.clone()).unwrap_or_default();
        for id in targets {
            let Some(at) = self.by_id.get(&id).copied() else { continue };
            let Some(node) = self.nodes.get_mut(at) else { continue };
            let Some(place) = node.runs.iter().position(|run| run.operation == operation) else { continue };
            let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: effects };
            node.run = Some(node.runs.remove(place));
            act(node, &mut turn);
            node.runs.extend(node.run.take());
            self.settle(at, effects);
        }
    }

    /// The nodes on which an abandoned operation may have left something.
    #[must_use]
    pub fn indebted(&self) -> Vec<String> {
        self.nodes.iter().filter(|n| !n.debts.is_empty()).map(|n| n.spec.name.clone()).collect()
    }

    /// Lets nodes connect and work, as far as the bounds allow.
    fn admit(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let operations: Vec<OperationId> = self.boards.keys().copied().collect();
        for operation in operations {
            while self.connecting < self.connecting_max
                && let Some(id) = self.boards.get_mut(&operation).and_then(Board::next_queued)
            {
                self.advance(now, id, Some((operation, Class::Queued)), effects);
            }
            while let Some(id) = self.boards.get_mut(&operation).and_then(Board::next_ready) {
                self.advance(now, id, Some((operation, Class::Ready)), effects);
            }
        }
        while self.connecting < self.connecting_max
            && let Some(id) = self.shared.lobby.pop_front()
        {
            self.advance(now, id, None, effects);
        }
    }

    /// Lets one node's part of an operation take its next step, if it still waits for it; without an
    /// operation, lets a followed node connect.
    fn advance(
        &mut self,
        now: Duration,
        id: NodeId,
        part: Option<(OperationId, Class)>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(at) = self.by_id.get(&id).copied() else { return };
        let Some(node) = self.nodes.get_mut(at) else { return };
        let mut turn = Turn { now, ids: &mut self.ids, shared: &mut self.shared, out: effects };
        match part {
            Some((operation, class)) => {
                let waits = |run: &Run| run.operation == operation && run.class() == class;
                let Some(place) = node.runs.iter().position(waits) else { return };
                node.run = Some(node.runs.remove(place));
                if class == Class::Queued {
                    node.connect(&mut turn)
                } else {
                    node.work(&mut turn)
                }
                node.runs.extend(node.run.take());
            }
            None => node.follow_connect(&mut turn),
        }
        self.settle(at, effects);
    }

    /// Counts what a step changed on a node, files the rows of what ended, and notes when it is due next.
    fn settle(&mut self, at: usize, effects: &mut Vec<Effect>) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let opening = matches!(node.connection, Connection::Opening { .. });
        self.connecting = self.connecting + usize::from(opening) - usize::from(node.counted);
        node.counted = opening;
        for run in &mut node.runs {
            let class = run.class();
            if class != run.counted
                && let Some(board) = self.boards.get_mut(&run.operation)
            {
                board.count(node.id, run.counted, class);
                run.counted = class;
            }
        }
        let due = node.next_deadline(&self.shared.manner);
        if due != node.armed {
            node.armed.map(|armed| self.timers.remove(&(armed, node.id)));
            due.map(|due| self.timers.insert((due, node.id)));
            node.armed = due;
        }
        let id = node.id;
        for ended in std::mem::take(&mut node.ended) {
            self.file(id, ended.operation, ended.counted, ended.outcome, effects);
        }
    }

    /// Keeps the row of a node that ended, and tells it.
    fn file(
        &mut self,
        node: NodeId,
        operation: OperationId,
        counted: Class,
        row: NodeOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(board) = self.boards.get_mut(&operation) else { return };
        board.count(node, counted, Class::New);
        let before = board.rows.insert(node, row.clone());
        debug_assert!(before.is_none(), "a second outcome for {}", row.node);
        effects.push(Effect::Report(operation, Progress::Finished(row)));
        if board.is_finished() {
            self.finish(operation, effects);
        }
    }

    fn finish(&mut self, operation: OperationId, effects: &mut Vec<Effect>) {
        if let Some(board) = self.boards.remove(&operation) {
            effects.push(Effect::Finished { operation, rows: board.into_rows() });
        }
    }
}

fn begin_to_follow(node: &mut Node, manner: &Manner, now: Duration) {
    if node.follow.is_none() {
        node.follow = Some(Follow::new(now, manner.seed ^ node.id.0));
        Arc::make_mut(&mut node.view).since = manner.wall + now;
    }
}

#[cfg(test)]
mod tests;

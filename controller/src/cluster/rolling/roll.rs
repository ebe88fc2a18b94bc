//! A rolling operation under way: which move is next, and the one row of each target.
//!
//! ```text
//!  advance ─► Perform ─► took (the rows of that move) ─► advance ─► … ─► Finished ─► rows
//!           a node that failed takes no further part; too many of them, or Ctrl-C: no further batch
//! ```
//!
//! A node on which something was changed is not left half-way: an interrupt ends after its batch.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};

use super::{Act, Batch, Level, Manner, Move};
use crate::cluster::sequence::Group;
use crate::outcome::{NodeOutcome, NodeState, Outcome};

/// What to do now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This, on these nodes; then [`Roll::took`].
    Perform {
        /// What.
        act: Act,
        /// Which watchers, where.
        group: Group,
        /// Some of these nodes are half-way, so that a first Ctrl-C must not cancel them.
        half_way: bool,
    },
    /// Nothing, for so long.
    Pause(Duration),
    /// No more.
    Finished,
}

/// Why no further batch begins.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Interrupted,
    Failed(String),
}

/// The work.
#[derive(Debug)]
pub struct Roll {
    manner: Manner,
    targets: Vec<String>,
    batches: VecDeque<Batch>,
    /// What is left of the batch under way.
    moves: VecDeque<Move>,
    /// How many batches have begun, and how many there are.
    begun: usize,
    total: usize,
    /// How many moves each node has still to make.
    open: HashMap<String, usize>,
    /// What was done so far.
    so_far: HashMap<String, NodeOutcome>,
    /// What was done, as words.
    told: HashMap<String, Vec<String>>,
    /// The rows that are final.
    rows: HashMap<String, NodeOutcome>,
    /// Nodes of this batch that were changed.
    changed: HashSet<String>,
    failed: usize,
    end: Option<End>,
    at_once: bool,
}

impl Roll {
    /// `early`: targets that have a row already, because they cannot take part.
    #[must_use]
    pub fn new(batches: Vec<Batch>, manner: Manner, targets: Vec<String>, early: Vec<NodeOutcome>) -> Self {
        let mut open: HashMap<String, usize> = HashMap::new();
        let moves = batches.iter().flat_map(|batch| &batch.moves);
        for node in moves.filter_map(group_of).flat_map(|group| &group.nodes) {
            *open.entry(node.clone()).or_default() += 1;
        }
        let total = batches.len();
        let mut roll = Self {
            manner,
            targets,
            batches: batches.into(),
            moves: VecDeque::new(),
            begun: 0,
            total,
            open,
            so_far: HashMap::new(),
            told: HashMap::new(),
            rows: HashMap::new(),
            changed: HashSet::new(),
            failed: early.iter().filter(|row| row.state.is_failure()).count(),
            end: None,
            at_once: false,
        };
        let first = early.iter().find(|row| row.state.is_failure());
        let told = first.map(|row| format!("{} is {}", row.node, row.state.word()));
        roll.rows = early.into_iter().map(|row| (row.node.clone(), row)).collect();
        roll.judge(&told.unwrap_or_default());
        roll
    }

    /// What to do now.
    pub fn advance(&mut self) -> Next {
        loop {
            if self.at_once {
                return Next::Finished;
            }
            let Some(part) = self.moves.pop_front() else {
                match self.begin() {
                    Some(next) => return next,
                    None => continue,
                }
            };
            match part {
                Move::Pause(time) => return Next::Pause(time),
                Move::Do(act, mut group) => {
                    group.nodes.retain(|node| self.takes_part(node));
                    if !group.nodes.is_empty() {
                        let half_way = group.nodes.iter().any(|node| self.changed.contains(node));
                        return Next::Perform { act, group, half_way };
                    }
                }
            }
        }
    }

    /// The next batch begins; or it is over, or there is a pause first.
    fn begin(&mut self) -> Option<Next> {
        let pause = self.begun > 0 && !self.changed.is_empty() && !self.manner.pause.is_zero();
        self.changed.clear();
        if self.end.is_some() || self.batches.is_empty() {
            return Some(Next::Finished);
        }
        if pause {
            return Some(Next::Pause(self.manner.pause));
        }
        self.moves = self.batches.pop_front().map(|batch| batch.moves.into()).unwrap_or_default();
        self.begun += 1;
        None
    }

    fn takes_part(&self, node: &str) -> bool {
        !self.rows.contains_key(node) && (self.end != Some(End::Interrupted) || self.changed.contains(node))
    }

    /// What became of a move; the rows that are final now.
    pub fn took(&mut self, act: Act, names: &[String], outcome: Outcome) -> Vec<NodeOutcome> {
        let mut ready = Vec::new();
        for row in outcome.nodes {
            let node = row.node.clone();
            let bad = row.state.is_failure();
            self.failed += usize::from(bad);
            if let NodeState::Done | NodeState::Unchanged = row.state {
                if row.state == NodeState::Done && act != Act::Wait {
                    self.changed.insert(node.clone());
                    self.told.entry(node.clone()).or_default().push(told(act, names));
                }
                self.add(act, row);
                let open = self.open.entry(node.clone()).or_default();
                *open = open.saturating_sub(1);
                if *open == 0
                    && let Some(row) = self.so_far.remove(&node)
                {
                    ready.push(row);
                }
                continue;
            }
            let row = self.spoilt(act, row);
            if bad {
                self.judge(&format!("{node} {}", row.state.word()));
            }
            ready.push(row);
        }
        self.rows.extend(ready.iter().map(|row| (row.node.clone(), row.clone())));
        ready
    }

    /// One more move is done.
    fn add(&mut self, act: Act, row: NodeOutcome) {
        let Some(so_far) = self.so_far.get_mut(&row.node) else {
            let data = merged(Map::new(), act, row.data);
            // Waiting is nothing that was done.
            let state = if act == Act::Wait { NodeState::Unchanged } else { row.state };
            self.so_far.insert(row.node.clone(), NodeOutcome { data, state, ..row });
            return;
        };
        so_far.elapsed += row.elapsed;
        if act != Act::Wait {
            so_far.state = so_far.state.min(row.state);
        }
        if so_far.state == NodeState::Done {
            so_far.reason = if act == Act::Wait { String::new() } else { row.reason };
        }
        let old = if let Value::Object(map) = std::mem::take(&mut so_far.data) { map } else { Map::new() };
        so_far.data = merged(old, act, row.data);
    }

    /// A row that ends the node's part, with what was done there before.
    fn spoilt(&mut self, act: Act, row: NodeOutcome) -> NodeOutcome {
        let wanted = match self.manner.level {
            Level::Up => "not up",
            Level::Joined => "not ready",
        };
        let reason = if act == Act::Wait { format!("{wanted}: {}", row.reason) } else { row.reason };
        let before = self.told.get(&row.node).map(|done| done.join(", "));
        let reason = before.map_or(reason.clone(), |done| format!("{reason}; before that: {done}"));
        let earlier = self.so_far.remove(&row.node).map_or(Duration::ZERO, |so_far| so_far.elapsed);
        NodeOutcome { reason, elapsed: row.elapsed + earlier, ..row }
    }

    /// Too many of them?
    fn judge(&mut self, last: &str) {
        let Some(limit) = self.manner.max_fail else { return };
        if self.end.is_none() && self.failed > limit.of(self.targets.len()) {
            self.end = Some(End::Failed(last.to_owned()));
        }
    }

    /// Ctrl-C: no further batch; whoever is half-way is finished.
    pub fn interrupt(&mut self) {
        self.end = Some(End::Interrupted);
    }

    /// Ctrl-C again: nothing more at all.
    pub fn leave(&mut self) {
        self.interrupt();
        self.at_once = true;
    }

    /// Which batch is under way, from 1, and how many there are.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        (self.begun, self.total)
    }

    /// The row of each target, in order; the second are those that were not told before.
    #[must_use]
    pub fn rows(&mut self) -> (Vec<NodeOutcome>, Vec<NodeOutcome>) {
        let mut late = Vec::new();
        let mut all = Vec::new();
        for node in std::mem::take(&mut self.targets) {
            let row = self.rows.remove(&node).unwrap_or_else(|| {
                let row = self.unfinished(node);
                late.push(row.clone());
                row
            });
            all.push(row);
        }
        (all, late)
    }

    fn unfinished(&mut self, node: String) -> NodeOutcome {
        let (state, why) = match &self.end {
            Some(End::Interrupted) => (NodeState::Cancelled, "interrupted".to_owned()),
            Some(End::Failed(last)) if self.begun == 0 => (NodeState::Skipped, format!("not begun: {last}")),
            Some(End::Failed(last)) => {
                (NodeState::Skipped, format!("stopped at batch {}: {last}", self.begun))
            }
            None => (NodeState::Unchanged, "nothing to do".to_owned()),
        };
        let so_far = self.so_far.remove(&node);
        let reason = match self.told.get(&node) {
            Some(done) => format!("{why}; done so far: {}", done.join(", ")),
            None => why,
        };
        let (elapsed, data, daemon) =
            so_far.map_or((Duration::ZERO, Value::Null, None), |row| (row.elapsed, row.data, row.daemon));
        NodeOutcome { node, state, reason, daemon, data, elapsed }
    }
}

fn group_of(part: &Move) -> Option<&Group> {
    match part {
        Move::Do(_, group) => Some(group),
        Move::Pause(_) => None,
    }
}

fn told(act: Act, names: &[String]) -> String {
    if names.is_empty() { act.word().to_owned() } else { format!("{} {}", act.word(), names.join(",")) }
}

/// States of watchers are those of the last move about them; readiness has a place of its own.
fn merged(mut old: Map<String, Value>, act: Act, new: Value) -> Value {
    let Value::Object(mut new) = new else { return Value::Object(old) };
    if act == Act::Wait {
        new = new
            .remove("watchers")
            .map(|watchers| Map::from_iter([("ready".to_owned(), watchers)]))
            .unwrap_or_default();
    }
    for (key, value) in new {
        match (old.get_mut(&key), value) {
            (Some(Value::Object(known)), Value::Object(value)) => known.extend(value),
            (_, value) => {
                old.insert(key, value);
            }
        }
    }
    Value::Object(old)
}

//! What processes use, as numbers: the answers to `stats` read once, for every face that shows them.
//!
//! ```text
//!  Outcome of Operation::Stats ─► nodes ─► watchers ─► processes ─► their children
//!                                   └───────── Sum ◄──────┘
//! ```
//!
//! Pure; knows neither how the answers came nor how they are shown. What a node did not tell is
//! `None`, never zero: stock circusd counts no restarts, and some figures only their owner may read.

pub mod rows;
pub mod track;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::outcome::{NodeOutcome, NodeState, Outcome};

/// One process, as its node told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Process {
    /// Its number.
    pub pid: i64,
    /// Its place in its watcher; children have none.
    pub wid: Option<i64>,
    /// Percent of one CPU, since the node was last asked.
    pub cpu: Option<f64>,
    /// Resident memory in bytes, with the precision of circus' text (three digits or more).
    pub memory: Option<f64>,
    /// Virtual memory in bytes.
    pub virtual_memory: Option<f64>,
    /// CPU time used so far, in whole seconds *modulo one hour*: that is what circus tells.
    pub cpu_clock: Option<f64>,
    /// Seconds since it was started.
    pub age: Option<f64>,
    /// Unix time of its creation.
    pub created: Option<f64>,
    /// Its program; why there are no figures when there are none.
    pub command: String,
    /// Who it runs as.
    pub user: Option<String>,
    /// Its direct children.
    pub children: Vec<Self>,
}

/// One watcher of one node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Watcher {
    /// Its name.
    pub name: String,
    /// `active`, `stopped`, `starting` or `stopping`.
    pub state: Option<String>,
    /// How many processes it should have.
    pub wanted: Option<u64>,
    /// Processes started since its daemon began.
    pub starts: Option<u64>,
    /// Those of them that took the place of one that had ended by itself.
    pub restarts: Option<u64>,
    /// Processes that ended by themselves.
    pub ends: Option<u64>,
    /// Its processes.
    pub processes: Vec<Process>,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it answered, and if not, how.
    pub state: NodeState,
    /// Why not.
    pub reason: String,
    /// What it runs.
    pub daemon: Option<String>,
    /// How long the answer took.
    pub elapsed: Duration,
    /// In its own order.
    pub watchers: Vec<Watcher>,
}

/// Figures of many processes together, children included.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sum {
    /// Percent of one CPU.
    pub cpu: Option<f64>,
    /// Resident memory in bytes; what processes share counts for each of them.
    pub memory: Option<f64>,
    /// Virtual memory in bytes.
    pub virtual_memory: Option<f64>,
    /// Of the oldest, in seconds.
    pub age: Option<f64>,
    /// Processes of watchers.
    pub processes: usize,
    /// Their children.
    pub children: usize,
    /// Restarts, of the watchers that tell them.
    pub restarts: Option<u64>,
}

impl Sum {
    fn add(&mut self, process: &Process) {
        let plus = |sum: &mut Option<f64>, more: Option<f64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0.0) + more);
            }
        };
        plus(&mut self.cpu, process.cpu);
        plus(&mut self.memory, process.memory);
        plus(&mut self.virtual_memory, process.virtual_memory);
        for child in &process.children {
            self.children += 1;
            self.add(child);
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn both<T>(a: Option<T>, b: Option<T>, join: impl Fn(T, T) -> T) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(join(a, b)),
                (one, None) | (None, one) => one,
            }
        }
        Self {
            cpu: both(self.cpu, other.cpu, |a, b| a + b),
            memory: both(self.memory, other.memory, |a, b| a + b),
            virtual_memory: both(self.virtual_memory, other.virtual_memory, |a, b| a + b),
            age: both(self.age, other.age, f64::max),
            processes: self.processes + other.processes,
            children: self.children + other.children,
            restarts: both(self.restarts, other.restarts, |a, b| a.saturating_add(b)),
        }
    }
}

impl Process {
    /// Of it and its children. Its age is its own.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let mut sum = Sum { age: self.age, processes: 1, ..Sum::default() };
        sum.add(self);
        sum
    }

    fn read(pid: i64, told: &Value) -> Self {
        let Some(figures) = told.as_object() else {
            // It died and the daemon has not noticed yet.
            let command = told.as_str().unwrap_or("-").to_owned();
            return Self { pid, command, ..Self::default() };
        };
        let text = |key: &str| figures.get(key).and_then(Value::as_str);
        let number = |key: &str| figures.get(key).and_then(Value::as_f64).filter(|n| n.is_finite());
        let children = figures.get("children").and_then(Value::as_array);
        let child = |told: &Value| Self::read(told.get("pid").and_then(Value::as_i64).unwrap_or(0), told);
        Self {
            pid,
            wid: figures.get("wid").and_then(Value::as_i64),
            cpu: number("cpu").map(|cpu| cpu.max(0.0)),
            memory: text("mem_info1").and_then(size),
            virtual_memory: text("mem_info2").and_then(size),
            cpu_clock: text("ctime").and_then(clock),
            age: number("age").map(|age| age.max(0.0)),
            created: number("create_time"),
            command: text("cmdline").unwrap_or("-").to_owned(),
            user: text("username").map(str::to_owned),
            children: children.into_iter().flatten().map(child).collect(),
        }
    }
}

impl Watcher {
    /// Of its processes.
    #[must_use]
    pub fn sum(&self) -> Sum {
        let sum = self.processes.iter().map(Process::sum).fold(Sum::default(), Sum::and);
        Sum { restarts: self.restarts, ..sum }
    }

    /// How many processes it should have now; as many as it has while it is on its way down, or is.
    #[must_use]
    pub fn expected(&self) -> Option<u64> {
        match self.state.as_deref() {
            Some("stopped" | "stopping") => self.wanted.map(|_| self.processes.len() as u64),
            Some(_) | None => self.wanted,
        }
    }

    fn read(name: &str, told: &Value) -> Self {
        let count = |key: &str| told.get(key).and_then(Value::as_u64);
        let processes = told.get("processes").and_then(Value::as_object);
        let process =
            |(pid, figures): (&String, &Value)| Process::read(pid.parse().unwrap_or_default(), figures);
        Self {
            name: name.to_owned(),
            state: told.get("state").and_then(Value::as_str).map(str::to_owned),
            wanted: count("numprocesses"),
            starts: count("starts"),
            restarts: count("restarts"),
            ends: count("ends"),
            processes: processes.into_iter().flatten().map(process).collect(),
        }
    }
}

impl Node {
    /// It answered.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, NodeState::Done | NodeState::Unchanged)
    }

    /// Of its watchers.
    #[must_use]
    pub fn sum(&self) -> Sum {
        self.watchers.iter().map(Watcher::sum).fold(Sum::default(), Sum::and)
    }

    /// From its row of the result of a `stats`.
    #[must_use]
    pub fn read(row: &NodeOutcome) -> Self {
        let watchers = row.data.get("watchers").and_then(Value::as_object);
        Self {
            name: row.node.clone(),
            state: row.state,
            reason: row.reason.clone(),
            daemon: row.daemon.clone(),
            elapsed: row.elapsed,
            watchers: watchers.into_iter().flatten().map(|(name, told)| Watcher::read(name, told)).collect(),
        }
    }
}

/// All nodes of the result of a `stats`.
#[must_use]
pub fn nodes(outcome: &Outcome) -> Vec<Node> {
    outcome.nodes.iter().map(Node::read).collect()
}

/// Of everything.
#[must_use]
pub fn total(nodes: &[Node]) -> Sum {
    nodes.iter().map(Node::sum).fold(Sum::default(), Sum::and)
}

/// What one watcher's part of an answer becomes in [`NodeOutcome::data`]: the state, if known, what the
/// daemon counted, if it counts, and the figures of each process as it told them.
#[must_use]
pub fn watcher_data(state: Option<&str>, tally: Option<&Map<String, Value>>, processes: Value) -> Value {
    let mut data = Map::new();
    if let Some(state) = state {
        data.insert("state".to_owned(), state.into());
    }
    data.extend(tally.cloned().into_iter().flatten());
    data.insert("processes".to_owned(), processes);
    Value::Object(data)
}

/// circus' own text of a size, `1.71M` or `512B`, as a number of bytes.
#[must_use]
pub fn size(text: &str) -> Option<f64> {
    let unit = text.chars().last()?;
    let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
    let power = "BKMGTPEZY".find(unit)?;
    Some(number * 1024_f64.powi(i32::try_from(power).ok()?))
        .filter(|bytes| bytes.is_finite() && *bytes >= 0.0)
}

/// circus' own text of a CPU time, `M:SS.ff`, in whole seconds: the fraction lacks its leading zeroes,
/// so it says nothing.
#[must_use]
pub fn clock(text: &str) -> Option<f64> {
    let (minutes, rest) = text.split_once(':')?;
    let seconds = rest.split_once('.').map_or(rest, |(whole, _)| whole);
    let (minutes, seconds): (u32, u32) = (minutes.parse().ok()?, seconds.parse().ok()?);
    (minutes < 60 && seconds < 60).then(|| f64::from(minutes * 60 + seconds))
}

#[cfg(test)]
pub(crate) mod tests;

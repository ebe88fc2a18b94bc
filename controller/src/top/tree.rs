//! Which rows the table has: the cluster as a tree, filtered and sorted.
//!
//! ```text
//!  by node:    node ─► its watchers ─► their processes ─► children
//!  by watcher: name ─► the watchers of that name, one for each node ─► processes
//! ```
//!
//! Rows are positions in the last reading, made anew with each; what the user points at or has marked
//! is kept by [`Key`], which outlives readings.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::figures::{Node, Process, Sum, Watcher};
use crate::render;

/// What a row stands for, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// A node.
    Node(String),
    /// All watchers of that name (lower-cased).
    Name(String),
    /// A watcher of a node: node, watcher.
    Watcher(String, String),
    /// A process: node, watcher, pid.
    Process(String, String, i64),
}

/// What stands at the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// Nodes.
    #[default]
    Node,
    /// Watchers' names.
    Watcher,
}

/// In which order siblings stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The cluster's and the nodes' own.
    #[default]
    Order,
    /// What needs a look first.
    State,
    /// Busiest first.
    Cpu,
    /// Largest first.
    Memory,
    /// Oldest first.
    Age,
    /// Most often restarted first.
    Restarts,
    /// By name.
    Name,
}

impl Sort {
    /// All of them, in the order in which a key goes through them.
    pub const ALL: [Self; 7] =
        [Self::Order, Self::State, Self::Cpu, Self::Memory, Self::Age, Self::Restarts, Self::Name];

    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).map_or(0, |at| at + 1);
        Self::ALL.get(at).copied().unwrap_or_default()
    }

    /// As shown.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::State => "state",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Age => "age",
            Self::Restarts => "restarts",
            Self::Name => "name",
        }
    }
}

/// How something stands; the worse, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Light {
    /// Runs; of a node: answers.
    Good,
    /// A node that was never seen, and need not be there.
    Absent,
    /// Nobody has told yet.
    Unknown,
    /// Stands still.
    Stopped,
    /// On its way up.
    Starting,
    /// On its way down.
    Stopping,
    /// Runs with fewer processes than it should have.
    Partly,
    /// A node that does not answer.
    Down,
}

impl Light {
    /// How a watcher stands.
    #[must_use]
    pub fn of(watcher: &Watcher) -> Self {
        let missing = watcher.wanted.is_some_and(|wanted| (watcher.processes.len() as u64) < wanted);
        match watcher.state.as_deref() {
            Some("active") if missing => Self::Partly,
            Some("active") => Self::Good,
            Some("starting") => Self::Starting,
            Some("stopping") => Self::Stopping,
            Some("stopped") => Self::Stopped,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// How deep it stands.
    pub depth: usize,
    /// Whether it can be opened, and is.
    pub open: Option<bool>,
    /// What it stands for.
    pub what: What,
    /// How it stands.
    pub light: Light,
    /// Its figures.
    pub sum: Sum,
}

/// Positions in the reading.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A node.
    Node(usize),
    /// A name, and its watchers as node and watcher.
    Name(String, Vec<(usize, usize)>),
    /// Node, watcher.
    Watcher(usize, usize),
    /// Node, watcher, process.
    Process(usize, usize, usize),
    /// Node, watcher, process, child.
    Child(usize, usize, usize, usize),
}

/// How to make rows.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What stands at the root.
    pub grouping: Grouping,
    /// In which order.
    pub sort: Sort,
    /// Words that must all be found.
    pub filter: &'a str,
    /// What is open.
    pub open: &'a HashSet<Key>,
    /// Everything that holds watchers is open unless it is in `open`: small clusters show all at once.
    pub inverted: bool,
}

/// The rows of a reading.
#[must_use]
pub fn rows(nodes: &[Node], wish: Wish<'_>) -> Vec<Row> {
    let builder = Builder {
        nodes,
        wish,
        words: wish.filter.to_lowercase().split_whitespace().map(str::to_owned).collect(),
    };
    match wish.grouping {
        Grouping::Node => builder.by_node(),
        Grouping::Watcher => builder.by_name(),
    }
}

/// The key of a row.
#[must_use]
pub fn key(nodes: &[Node], row: &Row) -> Option<Key> {
    let watcher = |node: usize, at: usize| {
        let node = nodes.get(node)?;
        Some((node.name.clone(), node.watchers.get(at)?))
    };
    match &row.what {
        What::Node(at) => Some(Key::Node(nodes.get(*at)?.name.clone())),
        What::Name(name, _) => Some(Key::Name(name.to_lowercase())),
        What::Watcher(node, at) => {
            let (node, watcher) = watcher(*node, *at)?;
            Some(Key::Watcher(node, watcher.name.clone()))
        }
        What::Process(node, at, process) => {
            let (node, watcher) = watcher(*node, *at)?;
            Some(Key::Process(node, watcher.name.clone(), watcher.processes.get(*process)?.pid))
        }
        What::Child(node, at, process, child) => {
            let (node, watcher) = watcher(*node, *at)?;
            let child = watcher.processes.get(*process)?.children.get(*child)?;
            Some(Key::Process(node, watcher.name.clone(), child.pid))
        }
    }
}

struct Builder<'a> {
    nodes: &'a [Node],
    wish: Wish<'a>,
    words: Vec<String>,
}

impl Builder<'_> {
    fn by_node(&self) -> Vec<Row> {
        let mut roots: Vec<(Row, Vec<Row>)> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let mut below = Vec::new();
            for (place, watcher) in node.watchers.iter().enumerate() {
                if self.matches(&[&node.name, &watcher.name, state_word(watcher)]) {
                    below.push(self.watcher(at, place, watcher));
                }
            }
            let state = render::up(node.state);
            let found = self.matches(&[&node.name, state, node.daemon.as_deref().unwrap_or_default()]);
            if below.is_empty() && !found {
                continue;
            }
            self.sort(&mut below);
            let light = of_node(node);
            let row = Row { depth: 0, open: None, what: What::Node(at), light, sum: node.sum() };
            roots.push((row, below));
        }
        self.flatten(roots)
    }

    fn by_name(&self) -> Vec<Row> {
        let mut roots: Vec<(Row, Vec<Row>)> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            for (place, watcher) in node.watchers.iter().enumerate() {
                if !self.matches(&[&node.name, &watcher.name, state_word(watcher)]) {
                    continue;
                }
                let root = *known.entry(watcher.name.to_lowercase()).or_insert_with(|| {
                    let what = What::Name(watcher.name.clone(), Vec::new());
                    let row = Row { depth: 0, open: None, what, light: Light::Good, sum: Sum::default() };
                    roots.push((row, Vec::new()));
                    roots.len() - 1
                });
                let Some((root, below)) = roots.get_mut(root) else { continue };
                let row = self.watcher(at, place, watcher);
                root.light = root.light.max(row.light);
                root.sum = root.sum.and(row.sum);
                if let What::Name(_, members) = &mut root.what {
                    members.push((at, place));
                }
                below.push(row);
            }
        }
        for (_, below) in &mut roots {
            self.sort(below);
        }
        self.flatten(roots)
    }

    fn watcher(&self, node: usize, at: usize, watcher: &Watcher) -> Row {
        let what = What::Watcher(node, at);
        Row { depth: 1, open: None, what, light: Light::of(watcher), sum: watcher.sum() }
    }

    fn flatten(&self, mut roots: Vec<(Row, Vec<Row>)>) -> Vec<Row> {
        roots.sort_by(|(a, _), (b, _)| self.order(a, b));
        let mut rows = Vec::new();
        for (mut root, below) in roots {
            // What was searched for is shown.
            let open = !self.words.is_empty() || self.is_open(&root, self.wish.inverted);
            root.open = (!below.is_empty()).then_some(open);
            rows.push(root);
            if !open {
                continue;
            }
            for mut row in below {
                let open = self.is_open(&row, false);
                let What::Watcher(node, at) = row.what else { continue };
                let processes =
                    self.nodes.get(node).and_then(|node| node.watchers.get(at)).map(|w| &w.processes);
                row.open = processes.is_some_and(|list| !list.is_empty()).then_some(open);
                rows.push(row);
                if open {
                    processes.into_iter().flatten().enumerate().for_each(|(place, process)| {
                        rows.extend(of_process(node, at, place, process));
                    });
                }
            }
        }
        rows
    }

    fn is_open(&self, row: &Row, inverted: bool) -> bool {
        key(self.nodes, row).is_some_and(|key| self.wish.open.contains(&key) != inverted)
    }

    fn matches(&self, parts: &[&str]) -> bool {
        self.words.iter().all(|word| parts.iter().any(|part| part.to_lowercase().contains(word.as_str())))
    }

    fn sort(&self, rows: &mut [Row]) {
        rows.sort_by(|a, b| self.order(a, b));
    }

    fn order(&self, a: &Row, b: &Row) -> Ordering {
        // What nobody told comes last.
        let down = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        match self.wish.sort {
            Sort::Order => Ordering::Equal,
            Sort::State => b.light.cmp(&a.light),
            Sort::Cpu => down(a.sum.cpu, b.sum.cpu),
            Sort::Memory => down(a.sum.memory, b.sum.memory),
            Sort::Age => down(a.sum.age, b.sum.age),
            Sort::Restarts => b.sum.restarts.cmp(&a.sum.restarts),
            Sort::Name => key(self.nodes, a).cmp(&key(self.nodes, b)),
        }
    }
}

/// How a node stands.
#[must_use]
pub fn of_node(node: &Node) -> Light {
    use crate::outcome::NodeState;
    match node.state {
        NodeState::Done | NodeState::Unchanged => Light::Good,
        NodeState::Skipped | NodeState::Cancelled => Light::Unknown,
        NodeState::Absent => Light::Absent,
        NodeState::Refused | NodeState::Failed | NodeState::TimedOut | NodeState::Unreachable => Light::Down,
    }
}

fn state_word(watcher: &Watcher) -> &str {
    watcher.state.as_deref().unwrap_or("?")
}

fn of_process(node: usize, watcher: usize, at: usize, process: &Process) -> Vec<Row> {
    let light = if process.age.is_some() { Light::Good } else { Light::Unknown };
    let own = |process: &Process| Sum {
        cpu: process.cpu,
        memory: process.memory,
        virtual_memory: process.virtual_memory,
        age: process.age,
        ..Sum::default()
    };
    let what = What::Process(node, watcher, at);
    let first = Row { depth: 2, open: None, what, light, sum: own(process) };
    let child = |(place, child): (usize, &Process)| {
        let what = What::Child(node, watcher, at, place);
        Row { depth: 3, open: None, what, light, sum: own(child) }
    };
    std::iter::once(first).chain(process.children.iter().enumerate().map(child)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::sample;

    fn told(grouping: Grouping, sort: Sort, filter: &str, open: &[Key], inverted: bool) -> Vec<String> {
        let nodes = sample();
        let open: HashSet<Key> = open.iter().cloned().collect();
        let wish = Wish { grouping, sort, filter, open: &open, inverted };
        let text = |row: &Row| match key(&nodes, row).expect("a key") {
            Key::Node(name) | Key::Name(name) => name,
            Key::Watcher(node, name) => format!(" {node}/{name}"),
            Key::Process(_, _, pid) => format!("{}{pid}", " ".repeat(row.depth)),
        };
        rows(&nodes, wish).iter().map(text).collect()
    }

    #[test]
    fn a_small_cluster_shows_all_watchers() {
        let all = told(Grouping::Node, Sort::Order, "", &[], true);
        assert_eq!(
            all,
            ["node01", " node01/db", " node01/web", "node02", " node02/web", " node02/idle", "node03"]
        );
        let folded = told(Grouping::Node, Sort::Order, "", &[Key::Node("node01".into())], true);
        assert_eq!(folded, ["node01", "node02", " node02/web", " node02/idle", "node03"]);
        assert_eq!(told(Grouping::Node, Sort::Order, "", &[], false), ["node01", "node02", "node03"]);
    }

    #[test]
    fn an_open_watcher_shows_processes_and_children() {
        let open = [Key::Watcher("node01".into(), "db".into())];
        let rows = told(Grouping::Node, Sort::Order, "", &open, true);
        assert_eq!(rows[1..4], [" node01/db", "  5", "   7"]);
    }

    #[test]
    fn watchers_stand_by_name() {
        assert_eq!(told(Grouping::Watcher, Sort::Order, "", &[], false), ["db", "web", "idle"]);
        let rows = told(Grouping::Watcher, Sort::Cpu, "", &[Key::Name("web".into())], false);
        assert_eq!(rows, ["web", " node01/web", " node02/web", "db", "idle"]);
    }

    #[test]
    fn a_search_finds_nodes_watchers_and_states() {
        let find = |filter| told(Grouping::Node, Sort::Order, filter, &[], false);
        assert_eq!(find("WEB"), ["node01", " node01/web", "node02", " node02/web"]);
        assert_eq!(find("stopped"), ["node02", " node02/idle"]);
        assert_eq!(find("node02 web"), ["node02", " node02/web"]);
        assert_eq!(find("unreachable"), ["node03"]);
        assert_eq!(find("nothing"), [""; 0]);
    }

    #[test]
    fn what_needs_a_look_comes_first() {
        assert_eq!(told(Grouping::Node, Sort::State, "", &[], false)[0], "node03");
        assert_eq!(told(Grouping::Watcher, Sort::State, "", &[], false), ["idle", "db", "web"]);
    }

    #[test]
    fn every_order_has_a_word_and_a_next() {
        let mut sort = Sort::Order;
        for expected in Sort::ALL {
            assert_eq!(sort, expected);
            sort = sort.next();
        }
        assert_eq!(sort, Sort::Order);
    }
}

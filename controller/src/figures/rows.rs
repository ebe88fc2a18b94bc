//! Figures as rows of a table: by node, by watcher or by process, sorted and cut.
//!
//! The same rows are printed as text, as CSV and in JSON.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Node, Process, Sum, Watcher};

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum By {
    /// One node
    Node,
    /// One watcher on one node
    Watcher,
    /// All watchers of that name, over all nodes
    Name,
    /// One process
    #[default]
    Process,
}

/// In which order rows stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Busiest first, children included
    Cpu,
    /// Largest first, children included
    Mem,
    /// Oldest first
    Age,
    /// Most often restarted first
    Restarts,
    /// By watcher
    Name,
    /// By node, in the cluster's order
    Node,
}

/// One row. What does not apply, or was not told, is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The node, and its position among those that were asked.
    pub node: Option<(usize, String)>,
    /// The watcher.
    pub watcher: Option<String>,
    /// The process.
    pub process: Option<Process>,
    /// The watcher's or the node's.
    pub state: Option<String>,
    /// What the node runs.
    pub daemon: Option<String>,
    /// How many nodes are in it.
    pub nodes: usize,
    /// How many watchers are in it.
    pub watchers: usize,
    /// How many of their processes there should be.
    pub expected: Option<u64>,
    /// The figures, children included.
    pub sum: Sum,
}

/// Rows and what they are part of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Those to be shown.
    pub shown: Vec<Row>,
    /// How many there were before the cut.
    pub all: usize,
    /// Of all of them.
    pub total: Sum,
}

/// The rows of all nodes that answered.
#[must_use]
pub fn rows(nodes: &[Node], by: By, sort: Option<Sort>, top: Option<usize>) -> Rows {
    let up = nodes.iter().enumerate().filter(|(_, node)| node.is_up());
    let mut shown: Vec<Row> = match by {
        By::Node => up.map(|(at, node)| of_node(at, node)).collect(),
        By::Watcher => up
            .flat_map(|(at, node)| node.watchers.iter().map(move |watcher| of_watcher(at, node, watcher)))
            .collect(),
        By::Process => up
            .flat_map(|(at, node)| {
                node.watchers.iter().flat_map(move |watcher| of_processes(at, node, watcher))
            })
            .collect(),
        By::Name => by_name(nodes),
    };
    let all = shown.len();
    if let Some(sort) = sort {
        shown.sort_by(|a, b| order(sort, a, b));
    }
    shown.truncate(top.unwrap_or(all));
    Rows { shown, all, total: super::total(nodes) }
}

fn order(sort: Sort, a: &Row, b: &Row) -> Ordering {
    // What is not known comes last.
    let down = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
    let place = |row: &Row| row.node.as_ref().map(|(at, _)| *at);
    match sort {
        Sort::Cpu => down(a.sum.cpu, b.sum.cpu),
        Sort::Mem => down(a.sum.memory, b.sum.memory),
        Sort::Age => down(a.sum.age, b.sum.age),
        Sort::Restarts => b.sum.restarts.cmp(&a.sum.restarts),
        Sort::Name => a.watcher.cmp(&b.watcher).then(place(a).cmp(&place(b))),
        Sort::Node => place(a).cmp(&place(b)),
    }
}

fn of_node(at: usize, node: &Node) -> Row {
    let wanted: Option<Vec<u64>> = node.watchers.iter().map(Watcher::expected).collect();
    Row {
        node: Some((at, node.name.clone())),
        state: Some("up".to_owned()),
        daemon: node.daemon.clone(),
        nodes: 1,
        watchers: node.watchers.len(),
        expected: wanted.map(|wanted| wanted.iter().fold(0_u64, |a, b| a.saturating_add(*b))),
        sum: node.sum(),
        ..Row::default()
    }
}

fn of_watcher(at: usize, node: &Node, watcher: &Watcher) -> Row {
    Row {
        node: Some((at, node.name.clone())),
        watcher: Some(watcher.name.clone()),
        state: watcher.state.clone(),
        nodes: 1,
        watchers: 1,
        expected: watcher.expected(),
        sum: watcher.sum(),
        ..Row::default()
    }
}

/// A watcher without processes has a row of its own, so that nobody misses it.
fn of_processes<'a>(at: usize, node: &'a Node, watcher: &'a Watcher) -> impl Iterator<Item = Row> + 'a {
    let whole = of_watcher(at, node, watcher);
    let none = watcher.processes.is_empty().then(|| whole.clone());
    let process = move |process: &Process| {
        let sum = Sum { restarts: watcher.restarts, ..process.sum() };
        Row { process: Some(process.clone()), expected: None, sum, ..whole.clone() }
    };
    watcher.processes.iter().map(process).chain(none)
}

fn by_name(nodes: &[Node]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for node in nodes.iter().filter(|node| node.is_up()) {
        for watcher in &node.watchers {
            // circus' names differ by more than their case.
            let at = *known.entry(watcher.name.to_lowercase()).or_insert_with(|| {
                rows.push(Row { watcher: Some(watcher.name.clone()), expected: Some(0), ..Row::default() });
                rows.len() - 1
            });
            let Some(row) = rows.get_mut(at) else { continue };
            row.nodes += 1;
            row.watchers += 1;
            row.expected = row.expected.zip(watcher.expected()).map(|(a, b)| a.saturating_add(b));
            row.sum = row.sum.and(watcher.sum());
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn told(by: By, sort: Option<Sort>, top: Option<usize>) -> Vec<String> {
        let rows = rows(&sample(), by, sort, top);
        let text = |row: &Row| {
            let node = row.node.as_ref().map_or("*", |(_, node)| node);
            let pid = row.process.as_ref().map(|process| process.pid.to_string()).unwrap_or_default();
            format!("{node} {} {pid}", row.watcher.as_deref().unwrap_or("*"))
        };
        rows.shown.iter().map(text).collect()
    }

    #[test]
    fn rows_are_by_what_was_asked_for() {
        assert_eq!(told(By::Node, None, None), ["node01 * ", "node02 * "]);
        assert_eq!(
            told(By::Watcher, None, None),
            ["node01 db ", "node01 web ", "node02 web ", "node02 idle "]
        );
        assert_eq!(told(By::Name, None, None), ["* db ", "* web ", "* idle "]);
        let processes = ["node01 db 5", "node01 web 11", "node01 web 12", "node02 web 21", "node02 idle "];
        assert_eq!(told(By::Process, None, None), processes);
    }

    #[test]
    fn rows_are_sorted_and_cut() {
        assert_eq!(told(By::Process, Some(Sort::Cpu), Some(2)), ["node01 web 11", "node01 db 5"]);
        assert_eq!(told(By::Watcher, Some(Sort::Mem), Some(1)), ["node01 db "], "its child is large");
        assert_eq!(told(By::Watcher, Some(Sort::Name), None)[..2], ["node01 db ", "node02 idle "]);
        assert_eq!(told(By::Process, Some(Sort::Restarts), Some(1)), ["node01 db 5"]);
        let cut = rows(&sample(), By::Process, Some(Sort::Cpu), Some(2));
        assert_eq!((cut.all, cut.total.processes), (5, 4), "the total is of all");
    }

    #[test]
    fn names_are_summed_over_nodes() {
        let rows = rows(&sample(), By::Name, None, None);
        let web = &rows.shown[1];
        assert_eq!((web.nodes, web.sum.processes, web.sum.cpu), (2, 3, Some(81.0)));
        assert_eq!((web.expected, rows.shown[0].expected), (None, Some(1)), "stock does not tell");
    }
}

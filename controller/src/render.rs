//! Results as text, and as JSON: what every face prints.
//!
//! Equal results share one line with the folded set of nodes, failures come last and are never left
//! out, and every text ends with the counts. Pure: data in, text out; whether it is printed to a
//! terminal is not known here.

pub mod figures;
pub mod json;
pub mod news;
pub mod table;
pub mod units;

mod chain;
pub(crate) mod cluster;
pub(crate) mod files;
pub(crate) mod history;
pub(crate) use readiness::{all_ready, phases};

pub(crate) mod findings;
pub(crate) mod plan;
mod readiness;
pub(crate) mod told;
pub(crate) mod wiped;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use serde_json::Value;

use crate::figures::Node;
use crate::inventory::fold::{counted, fold};
use crate::outcome::{NodeOutcome, NodeState, Operation, Outcome};
use table::Table;

/// How much to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Full,
    /// Diffs and paths of the first few nodes only: enough to decide on.
    Question,
}

/// More watchers than this do not get a column each.
const MAX_COLUMNS: usize = 8;

/// The result of an operation, ending with a line end.
#[must_use]
pub fn outcome(operation: &Operation, outcome: &Outcome, detail: Detail) -> String {
    let mut text = match operation {
        Operation::Status { .. } => status(outcome),
        Operation::Stats { .. } => {
            figures::stats(outcome, &crate::figures::nodes(outcome), &figures::View::default())
        }
        Operation::Configure(request) => files::configure(outcome, detail, request.dry_run),
        Operation::Reset(request) => wiped::reset(outcome, detail, request),
        Operation::Ready { .. } | Operation::Up { .. } => readiness::ready(outcome),
        Operation::Preflight { .. } => findings::preflight(outcome),
        Operation::Why { .. } => chain::chains(outcome),
        Operation::Logs(_) => told::logs(outcome),
        Operation::Call { .. } | Operation::Survey => answers(outcome),
        Operation::Start { .. }
        | Operation::Stop { .. }
        | Operation::Restart { .. }
        | Operation::Reload { .. } => verbs(outcome),
    };
    let reading = matches!(operation, Operation::Status { .. } | Operation::Ready { wait: false, .. });
    text.push_str(&counts(outcome, if reading { up } else { word }));
    text.push('\n');
    text
}

/// The result of a `stats`, in a view of its own, ending with a line end; `nodes` is what was read in it.
#[must_use]
pub fn stats(outcome: &Outcome, nodes: &[Node], view: &figures::View) -> String {
    figures::stats(outcome, nodes, view) + &counts(outcome, word) + "\n"
}

/// The word for a state, as printed and as in JSON.
#[must_use]
pub fn word(state: NodeState) -> &'static str {
    state.word()
}

/// `3 done, 1 unreachable in 2.1 s`.
fn counts(outcome: &Outcome, word: impl Fn(NodeState) -> &'static str) -> String {
    let states: BTreeSet<NodeState> = outcome.nodes.iter().map(|node| node.state).collect();
    let counts: Vec<String> = states
        .iter()
        .map(|state| {
            format!("{} {}", outcome.nodes.iter().filter(|node| node.state == *state).count(), word(*state))
        })
        .collect();
    let counts = if counts.is_empty() { "no node".to_owned() } else { counts.join(", ") };
    format!("{counts} in {}", units::seconds(outcome.elapsed))
}

/// A list as one line; of many, the first and the last.
pub(crate) fn shortened(parts: &[String], separator: &str) -> String {
    const MANY: usize = 12;
    match parts {
        [first @ .., last] if parts.len() > MANY => {
            let first = first.get(..MANY - 2).unwrap_or_default().join(separator);
            format!("{first}{separator}...{separator}{last}")
        }
        _ => parts.join(separator),
    }
}

/// Whether the node gave an answer.
pub(crate) fn answered(node: &NodeOutcome) -> bool {
    matches!(node.state, NodeState::Done | NodeState::Unchanged)
}

/// Nodes with an equal key, in order of first appearance.
pub(crate) fn grouped<'a, K: Hash + Eq + Clone>(
    nodes: impl Iterator<Item = &'a NodeOutcome>,
    key: impl Fn(&'a NodeOutcome) -> K,
) -> Vec<(K, Vec<&'a NodeOutcome>)> {
    let mut groups: Vec<(K, Vec<&NodeOutcome>)> = Vec::new();
    // By hash, because in a large cluster every node may differ.
    let mut known: HashMap<K, usize> = HashMap::new();
    for node in nodes {
        let key = key(node);
        let at = *known.entry(key.clone()).or_insert_with(|| {
            groups.push((key, Vec::new()));
            groups.len() - 1
        });
        if let Some((_, members)) = groups.get_mut(at) {
            members.push(node);
        }
    }
    groups
}

/// `node[01-03] (3)`, or the one name.
pub(crate) fn set(nodes: &[&NodeOutcome]) -> String {
    let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
    if names.len() == 1 { fold(&names) } else { counted(&names) }
}

/// One line for each distinct state and reason of the nodes that `keep` lets through; failures last.
pub(crate) fn groups(outcome: &Outcome, keep: impl Fn(&NodeOutcome) -> bool) -> String {
    let mut groups =
        grouped(outcome.nodes.iter().filter(|node| keep(node)), |node| (node.state, &node.reason));
    groups.sort_by_key(|((state, _), _)| *state);
    let mut table = Table::default();
    for ((state, reason), nodes) in groups {
        table.row(vec![word(state).to_owned(), set(&nodes), reason.clone()]);
    }
    table.print()
}

/// One row for each distinct set of watcher states.
fn status(outcome: &Outcome) -> String {
    let mut watchers: Vec<&str> = Vec::new();
    for node in &outcome.nodes {
        for name in watchers_of(node).into_iter().flat_map(|map| map.keys()) {
            if !watchers.contains(&name.as_str()) {
                watchers.push(name);
            }
        }
    }
    watchers.sort_unstable();
    let wide = watchers.len() > MAX_COLUMNS;
    let mut table = Table::default();
    let mut head = vec!["node".to_owned(), "state".to_owned(), "daemon".to_owned()];
    head.extend(if wide {
        vec!["watchers".to_owned()]
    } else {
        watchers.iter().map(|&name| name.to_owned()).collect()
    });
    table.row(head);
    let columns = |node: &NodeOutcome| -> Vec<String> {
        let states: Vec<String> = watchers.iter().map(|name| watcher_state(node, name)).collect();
        if !wide {
            return states;
        }
        vec![by_state(&watchers, &states)]
    };
    let key = |node: &NodeOutcome| (up(node.state), node.daemon.clone(), columns(node), node.reason.clone());
    let mut rows = grouped(outcome.nodes.iter(), |node| (node.state, key(node)));
    rows.sort_by_key(|((state, _), _)| *state);
    for ((state, (word, daemon, columns, reason)), nodes) in rows {
        let mut row = vec![set(&nodes), word.to_owned(), daemon.unwrap_or_else(|| "-".to_owned())];
        let known = matches!(state, NodeState::Done | NodeState::Unchanged);
        row.extend(if known { columns } else { Vec::new() });
        row.extend((!reason.is_empty()).then_some(reason));
        table.row(row);
    }
    table.print()
}

/// In a status, a node that answered is `up`.
pub(crate) fn up(state: NodeState) -> &'static str {
    match state {
        NodeState::Done | NodeState::Unchanged => "up",
        NodeState::Skipped
        | NodeState::Cancelled
        | NodeState::Absent
        | NodeState::Refused
        | NodeState::Failed
        | NodeState::TimedOut
        | NodeState::Unreachable => word(state),
    }
}

/// The states a node told, in its own order.
pub(crate) fn watchers_of(node: &NodeOutcome) -> Option<&serde_json::Map<String, Value>> {
    node.data.get("watchers").and_then(Value::as_object)
}

fn watcher_state(node: &NodeOutcome, name: &str) -> String {
    let word = watchers_of(node).and_then(|watchers| watchers.get(name)).and_then(Value::as_str);
    word.unwrap_or("-").to_owned()
}

/// One line for each distinct result of a verb, with the states afterwards.
fn verbs(outcome: &Outcome) -> String {
    let mut rows = grouped(outcome.nodes.iter(), |node| {
        let names: Vec<&str> =
            watchers_of(node).into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
        let states: Vec<String> = names.iter().map(|name| watcher_state(node, name)).collect();
        (node.state, by_state(&names, &states), node.reason.as_str())
    });
    rows.sort_by_key(|((state, _, _), _)| *state);
    let mut table = Table::default();
    for ((state, watchers, reason), nodes) in rows {
        let notes: Vec<&str> = [reason, &watchers].into_iter().filter(|text| !text.is_empty()).collect();
        table.row(vec![word(state).to_owned(), set(&nodes), notes.join("; ")]);
    }
    table.print()
}

/// `active: a,b; stopped: c`, for nodes with more watchers than columns.
fn by_state(names: &[&str], states: &[String]) -> String {
    let distinct: BTreeSet<&String> = states.iter().filter(|state| *state != "-").collect();
    let texts = distinct.into_iter().map(|state| {
        let members: Vec<&str> =
            names.iter().zip(states).filter(|(_, s)| *s == state).map(|(name, _)| *name).collect();
        format!("{state}: {}", fold(&members))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// The answers to a raw command, equal ones once.
fn answers(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (data, nodes) in grouped(outcome.nodes.iter().filter(|node| answered(node)), |node| &node.data) {
        let pretty = serde_json::to_string_pretty(data).unwrap_or_default();
        text.push_str(&format!("{}\n{pretty}\n", set(&nodes)));
    }
    text + &groups(outcome, |node| !answered(node))
}

#[cfg(test)]
mod tests;

//! How far watchers have come, as a table, and what is missing below it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::table::Table;
use super::{grouped, set, status, units, watchers_of};
use crate::outcome::{NodeOutcome, Outcome};

/// The table of a status with the states of readiness, and a line for each distinct reason.
pub(super) fn ready(outcome: &Outcome) -> String {
    let plain = |node: &NodeOutcome| {
        let states: Option<Map<String, Value>> = watchers_of(node).map(|watchers| {
            let state = |said: &Value| said.get("state").cloned().unwrap_or(Value::Null);
            watchers.iter().map(|(name, said)| (name.clone(), state(said))).collect()
        });
        let data = states.map_or(Value::Null, |states| Value::from_iter([("watchers", states)]));
        NodeOutcome { data, ..node.clone() }
    };
    let states = Outcome { nodes: outcome.nodes.iter().map(plain).collect(), elapsed: outcome.elapsed };
    status(&states) + &missing(outcome)
}

/// `cassandra  starting  node[02-03] (2)  tcp 192.0.2.1:9042: connection refused`.
fn missing(outcome: &Outcome) -> String {
    let mut names: Vec<&String> = outcome.nodes.iter().filter_map(watchers_of).flat_map(Map::keys).collect();
    names.sort_unstable();
    names.dedup();
    let mut table = Table::default();
    for name in names {
        let said = |node: &NodeOutcome, key: &str| {
            let watcher = watchers_of(node).and_then(|watchers| watchers.get(name));
            watcher
                .and_then(|watcher| watcher.get(key))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let open = |node: &&NodeOutcome| !said(node, "detail").is_empty();
        for ((state, detail), nodes) in
            grouped(outcome.nodes.iter().filter(open), |node| (said(node, "state"), said(node, "detail")))
        {
            table.row(vec![name.clone(), state, set(&nodes), detail]);
        }
    }
    table.print()
}

/// Whether every watcher that was told of is ready.
pub(crate) fn all_ready(outcome: &Outcome) -> bool {
    let mut said = outcome.nodes.iter().filter_map(watchers_of).flat_map(Map::values);
    said.all(|said| said.get("ready").and_then(Value::as_bool) == Some(true))
}

/// `start      12.3 s` for each part of a longer work.
pub(crate) fn phases(times: &[(&str, Duration)]) -> String {
    let mut table = Table::default();
    let total: Duration = times.iter().map(|(_, time)| *time).sum();
    for (name, time) in times.iter().chain(std::iter::once(&("total", total))) {
        table.row(vec![(*name).to_owned(), units::seconds(*time)]);
    }
    table.print()
}

//! What nodes have to tell in whole lines: stories of watchers, and what processes printed.

use serde_json::Value;

use super::{answered, grouped, groups, set, table};
use crate::outcome::{NodeOutcome, Outcome};

/// Each distinct story once, below the nodes that tell it.
pub(super) fn stories(outcome: &Outcome) -> String {
    let story = |node: &NodeOutcome| text(node, "story").to_owned();
    let mut told = String::new();
    for (story, nodes) in grouped(outcome.nodes.iter().filter(|node| answered(node)), story) {
        told.push_str(&format!("{}\n", set(&nodes)));
        for line in table::plain_lines(&story).lines() {
            told.push_str(&format!("  {line}\n"));
        }
    }
    told + &groups(outcome, |node| !answered(node))
}

/// Every line behind the node that has it.
pub(super) fn logs(outcome: &Outcome) -> String {
    let width = outcome.nodes.iter().map(|node| node.node.chars().count()).max().unwrap_or(0);
    let lines = outcome.nodes.iter().filter(|node| answered(node)).flat_map(|node| {
        let lines = text(node, "text").lines();
        lines.map(move |line| log_line(&node.node, width, line))
    });
    lines.collect::<String>() + &groups(outcome, |node| !answered(node))
}

/// `node01   | what it says`.
pub(crate) fn log_line(node: &str, width: usize, line: &str) -> String {
    match table::plain_lines(line).as_str() {
        "" => format!("{node:width$} |\n"),
        line => format!("{node:width$} | {line}\n"),
    }
}

fn text<'a>(node: &'a NodeOutcome, key: &str) -> &'a str {
    node.data.get(key).and_then(Value::as_str).unwrap_or_default()
}

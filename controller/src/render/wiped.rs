//! What `reset` moved away, truncated or would: paths and bytes by node and service.

use serde_json::Value;

use super::table::{Table, plain};
use super::{Detail, answered, groups, units};
use crate::inventory::fold::counted;
use crate::outcome::{NodeOutcome, Outcome, ResetRequest};

/// So many nodes' paths help to decide; the rest is one flag away.
const SHOWN: usize = 3;
/// So many paths of one service are listed before a question.
const PATHS: usize = 10;

pub(super) fn reset(outcome: &Outcome, detail: Detail, request: &ResetRequest) -> String {
    let (nodes, paths) = match detail {
        Detail::Full => (usize::MAX, usize::MAX),
        Detail::Question => (SHOWN, PATHS),
    };
    let mut text = String::new();
    let answering: Vec<&NodeOutcome> = outcome.nodes.iter().filter(|node| answered(node)).collect();
    let with_paths = if request.dry_run || detail == Detail::Question { nodes } else { 0 };
    for node in answering.iter().take(with_paths) {
        list(&mut text, node, paths);
    }
    let rest: Vec<&str> = answering.iter().skip(with_paths).map(|node| node.node.as_str()).collect();
    if !rest.is_empty() && with_paths > 0 {
        text.push_str(&format!("... and {}; --dry-run lists every path\n", counted(&rest)));
    }
    let mut table = Table::default();
    table.right(2);
    for node in &answering {
        for service in services(node) {
            let count = |key| paths_of(service, key).count();
            let mut what: Vec<String> =
                [("deleted", "to go"), ("truncated", "to truncate"), ("kept", "kept")]
                    .iter()
                    .filter(|(key, _)| count(*key) > 0)
                    .map(|(key, plan)| {
                        format!("{} {}", count(*key), if request.dry_run { plan } else { key })
                    })
                    .collect();
            what.extend((!node.reason.is_empty()).then(|| node.reason.clone()));
            let note = what.join(", ");
            table.row(vec![node.node.clone(), name(service), units::bytes(bytes(service)), note]);
        }
        if services(node).next().is_none() {
            let note = if node.reason.is_empty() { "nothing to do" } else { &node.reason };
            table.row(vec![node.node.clone(), "-".to_owned(), "0 B".to_owned(), note.to_owned()]);
        }
    }
    text.push_str(&table.print());
    text + &groups(outcome, |node| !answered(node))
}

/// Bytes on all nodes together.
pub(crate) fn total_bytes(outcome: &Outcome) -> f64 {
    outcome.nodes.iter().flat_map(services).map(bytes).sum()
}

/// Whether there is anything to move, truncate or put back.
pub(crate) fn any_path(outcome: &Outcome) -> bool {
    let listed =
        |service: &Value| ["deleted", "truncated"].iter().any(|key| paths_of(service, key).next().is_some());
    outcome.nodes.iter().flat_map(services).any(listed)
}

fn list(text: &mut String, node: &NodeOutcome, limit: usize) {
    for service in services(node) {
        for (key, verb) in [("deleted", "delete"), ("truncated", "truncate"), ("kept", "keep")] {
            for path in paths_of(service, key).take(limit) {
                let (path, size) = path_and_size(path);
                text.push_str(&format!("{} {} {verb} {}{size}\n", node.node, name(service), plain(path)));
            }
            let more = paths_of(service, key).count().saturating_sub(limit);
            if more > 0 {
                text.push_str(&format!("{} {} {verb} ... and {more} more\n", node.node, name(service)));
            }
        }
    }
}

/// A path is a text, or an object with `path` and `bytes`.
fn path_and_size(value: &Value) -> (&str, String) {
    let path = value.as_str().or_else(|| value.get("path").and_then(Value::as_str)).unwrap_or("?");
    let size = value.get("bytes").and_then(Value::as_f64);
    (path, size.map(|size| format!(" ({})", units::bytes(size))).unwrap_or_default())
}

fn services(node: &NodeOutcome) -> impl Iterator<Item = &Value> {
    node.data.get("services").and_then(Value::as_array).into_iter().flatten()
}

fn paths_of<'a>(service: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    service.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn name(service: &Value) -> String {
    let text = service.get("service").and_then(Value::as_str).unwrap_or("?");
    match service.get("kind").and_then(Value::as_str) {
        Some(kind) => format!("{text}:{kind}"),
        None => text.to_owned(),
    }
}

fn bytes(service: &Value) -> f64 {
    service.get("bytes").and_then(Value::as_f64).unwrap_or(0.0)
}

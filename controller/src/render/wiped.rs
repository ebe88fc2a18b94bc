//! What `reset` moved away, truncated or would: paths and bytes by node and service.

use std::collections::HashMap;

use serde_json::Value;

use super::table::{Table, plain};
use super::{Detail, answered, groups, set, units};
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
    text.push_str(&rows(&answering, request));
    text + &groups(outcome, |node| !answered(node))
}

/// One row for each service, size and result; nodes that agree share it.
fn rows(answering: &[&NodeOutcome], request: &ResetRequest) -> String {
    let mut rows: Vec<([String; 3], Vec<&NodeOutcome>)> = Vec::new();
    let mut known: HashMap<[String; 3], usize> = HashMap::new();
    for node in answering {
        let mut cells: Vec<[String; 3]> = services(node)
            .map(|(name, service)| {
                [name.clone(), units::bytes(bytes(service)), counts(service, request).join(", ")]
            })
            .collect();
        if cells.is_empty() {
            let note = if node.reason.is_empty() { "nothing to do" } else { &node.reason };
            cells.push(["-".to_owned(), "0 B".to_owned(), note.to_owned()]);
        }
        for row in cells {
            let at = *known.entry(row.clone()).or_insert_with(|| {
                rows.push((row, Vec::new()));
                rows.len() - 1
            });
            if let Some((_, nodes)) = rows.get_mut(at) {
                nodes.push(node);
            }
        }
    }
    let mut table = Table::default();
    table.right(2);
    for (row, nodes) in rows {
        table.row(std::iter::once(set(&nodes)).chain(row).collect());
    }
    table.print()
}

/// `2 to delete, 1 kept`; words for what was done, would be done or was taken back.
fn counts(service: &Value, request: &ResetRequest) -> Vec<String> {
    let words = match (request.dry_run, request.undo) {
        (true, false) => ["to delete", "to truncate", "to keep"],
        (true, true) => ["to put back", "truncated", "kept"],
        (false, false) => ["deleted", "truncated", "kept"],
        (false, true) => ["put back", "truncated", "kept"],
    };
    let lists = ["deleted", "truncated", "kept"].map(|key| count(service, key));
    let pairs = lists.into_iter().zip(words).filter(|(count, _)| *count > 0);
    let mut notes: Vec<String> = pairs.map(|(count, word)| format!("{count} {word}")).collect();
    if notes.is_empty() {
        notes.push("nothing to do".to_owned());
    }
    notes
}

/// Bytes on all nodes together.
pub(crate) fn total_bytes(outcome: &Outcome) -> f64 {
    outcome.nodes.iter().flat_map(services).map(|(_, service)| bytes(service)).sum()
}

/// Whether there is anything to move, truncate or put back.
pub(crate) fn any_path(outcome: &Outcome) -> bool {
    let some = |service: &Value| count(service, "deleted") + count(service, "truncated") > 0;
    outcome.nodes.iter().flat_map(services).any(|(_, service)| some(service))
}

fn list(text: &mut String, node: &NodeOutcome, limit: usize) {
    for (name, service) in services(node) {
        for (key, verb) in [("deleted", "delete"), ("truncated", "truncate"), ("kept", "keep")] {
            let mut shown = 0;
            for item in items(service, key).take(limit) {
                shown += 1;
                text.push_str(&plain(&format!("{} {name} {verb} {}", node.node, describe(item))));
                text.push('\n');
            }
            let more = count(service, key).saturating_sub(shown);
            if more > 0 {
                text.push_str(&format!("{} {name} {verb} ... and {more} more\n", node.node));
            }
        }
    }
}

/// `/srv/data/graph.db (1.2 GiB, 40 entries)`, or why it stays.
fn describe(item: &Value) -> String {
    let path = item.as_str().or_else(|| item.get("path").and_then(Value::as_str)).unwrap_or("?");
    let size = item.get("bytes").and_then(Value::as_f64).map(units::bytes);
    let entries = item.get("entries").and_then(Value::as_u64).filter(|entries| *entries > 1);
    let entries = entries.map(|entries| format!("{entries} entries"));
    let modified = item.get("modified").and_then(Value::as_f64);
    let modified = modified.map(|time| format!("modified {}", units::date(time)));
    let reason = item.get("reason").and_then(Value::as_str).map(str::to_owned);
    let notes: Vec<String> = [size, entries, modified, reason].into_iter().flatten().collect();
    if notes.is_empty() { path.to_owned() } else { format!("{path} ({})", notes.join(", ")) }
}

fn services(node: &NodeOutcome) -> impl Iterator<Item = (&String, &Value)> {
    node.data.get("services").and_then(Value::as_object).into_iter().flatten()
}

fn items<'a>(service: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    service.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// How long a list was before it may have been cut short.
fn count(service: &Value, key: &str) -> usize {
    let said = service.get(format!("{key}_count")).and_then(Value::as_u64);
    said.and_then(|count| usize::try_from(count).ok()).unwrap_or_else(|| items(service, key).count())
}

fn bytes(service: &Value) -> f64 {
    service.get("bytes").and_then(Value::as_f64).unwrap_or(0.0)
}

//! What `configure` wrote or would write: files by node, and the differences.

use serde_json::Value;

use super::table::{Table, plain_lines};
use super::{Detail, grouped, set, word};
use crate::inventory::fold::counted;
use crate::outcome::{NodeOutcome, Outcome};

/// So many nodes' differences help to decide; the rest is one flag away.
const SHOWN: usize = 3;

pub(super) fn configure(outcome: &Outcome, detail: Detail) -> String {
    let text = differences(outcome, detail);
    let mut table = Table::default();
    let mut rows = grouped(outcome.nodes.iter(), |node| (node.state, split(node), &node.reason));
    rows.sort_by_key(|((state, _, _), _)| *state);
    for ((state, (changed, unchanged), reason), nodes) in rows {
        let mut notes = Vec::new();
        if !changed.is_empty() {
            notes.push(format!("changed: {}", changed.join(", ")));
        }
        if !unchanged.is_empty() {
            notes.push(format!("unchanged: {}", unchanged.join(", ")));
        }
        if !reason.is_empty() {
            notes.push(reason.clone());
        }
        table.row(vec![word(state).to_owned(), set(&nodes), notes.join("; ")]);
    }
    text + &table.print()
}

/// Whether any file of any node differs, as far as the answers say.
pub(crate) fn any_change(outcome: &Outcome) -> bool {
    outcome.nodes.iter().any(|node| !split(node).0.is_empty())
}

fn files(node: &NodeOutcome) -> impl Iterator<Item = &Value> {
    node.data.get("files").and_then(Value::as_array).into_iter().flatten()
}

fn is_changed(file: &Value) -> bool {
    file.get("changed").and_then(Value::as_bool).unwrap_or(false)
}

fn label(file: &Value) -> String {
    let field = |key| file.get(key).and_then(Value::as_str).unwrap_or("?");
    format!("{}:{}", field("service"), field("label"))
}

/// Labels of changed and of unchanged files.
fn split(node: &NodeOutcome) -> (Vec<String>, Vec<String>) {
    let labels = |wanted: bool| files(node).filter(|file| is_changed(file) == wanted).map(label).collect();
    (labels(true), labels(false))
}

fn differences(outcome: &Outcome, detail: Detail) -> String {
    let changed: Vec<&NodeOutcome> =
        outcome.nodes.iter().filter(|node| files(node).any(|file| diff(file).is_some())).collect();
    let shown = match detail {
        Detail::Full => changed.len(),
        Detail::Question => SHOWN,
    };
    let mut text = String::new();
    for (diffs, nodes) in grouped(changed.iter().take(shown).copied(), diffs_of) {
        for (label, path, diff) in diffs {
            text.push_str(&format!("{} {label} {path}\n{}", set(&nodes), plain_lines(diff)));
            text.push_str(if diff.ends_with('\n') { "" } else { "\n" });
        }
    }
    let rest: Vec<&str> = changed.iter().skip(shown).map(|node| node.node.as_str()).collect();
    if !rest.is_empty() {
        text.push_str(&format!("... and {}; --dry-run shows all differences\n", counted(&rest)));
    }
    text
}

fn diffs_of(node: &NodeOutcome) -> Vec<(String, &str, &str)> {
    let path = |file| Value::as_str(Value::get(file, "path").unwrap_or(&Value::Null)).unwrap_or("?");
    files(node).filter_map(|file| Some((label(file), path(file), diff(file)?))).collect()
}

fn diff(file: &Value) -> Option<&str> {
    file.get("diff").and_then(Value::as_str).filter(|diff| !diff.is_empty())
}

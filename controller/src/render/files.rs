//! What `configure` wrote or would write: files by node, and the differences.

use serde_json::Value;

use super::table::{Table, plain, plain_lines};
use super::{Detail, grouped, set, word};
use crate::inventory::fold::counted;
use crate::outcome::{NodeOutcome, Outcome};

/// So many different texts of a file help to decide; the rest is one flag away.
const SHOWN: usize = 3;

pub(super) fn configure(outcome: &Outcome, detail: Detail, dry_run: bool) -> String {
    let changed_word = if dry_run { "would change" } else { "changed" };
    let text = differences(outcome, detail);
    let mut table = Table::default();
    let mut rows = grouped(outcome.nodes.iter(), |node| (node.state, split(node), stale(node), &node.reason));
    rows.sort_by_key(|((state, _, _, _), _)| *state);
    for ((state, (changed, unchanged), stale, reason), nodes) in rows {
        let mut notes = Vec::new();
        if !changed.is_empty() {
            notes.push(format!("{changed_word}: {}", changed.join(", ")));
        }
        if !unchanged.is_empty() {
            notes.push(format!("unchanged: {}", unchanged.join(", ")));
        }
        if !stale.is_empty() {
            notes.push(format!("restart needed: {}", stale.join(", ")));
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

/// Services that run with other files than those that are there.
fn stale(node: &NodeOutcome) -> Vec<String> {
    let names = node.data.get("restart_needed").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(plain).collect()
}

/// Labels of changed and of unchanged files.
fn split(node: &NodeOutcome) -> (Vec<String>, Vec<String>) {
    let labels = |wanted: bool| files(node).filter(|file| is_changed(file) == wanted).map(label).collect();
    (labels(true), labels(false))
}

/// File by file, so that what is equal on many nodes is read once.
fn differences(outcome: &Outcome, detail: Detail) -> String {
    let mut labels: Vec<String> = Vec::new();
    for file in outcome.nodes.iter().flat_map(files).filter(|file| diff(file).is_some()) {
        if !labels.contains(&label(file)) {
            labels.push(label(file));
        }
    }
    labels.iter().map(|label| differences_of(outcome, label, detail)).collect()
}

fn differences_of(outcome: &Outcome, wanted: &str, detail: Detail) -> String {
    let found = |node| files(node).find(|file| label(file) == wanted && diff(file).is_some());
    let variants = grouped(outcome.nodes.iter().filter(|node| found(node).is_some()), |node| {
        let file = found(node).unwrap_or(&Value::Null);
        (file.get("path").and_then(Value::as_str).unwrap_or("?"), diff(file).unwrap_or_default())
    });
    let shown = match detail {
        Detail::Full => variants.len(),
        Detail::Question => SHOWN,
    };
    let mut text = String::new();
    for ((path, diff), nodes) in variants.iter().take(shown) {
        let diff = plain_lines(diff);
        // Stripped texts never end with a line end; that is no news in each of them.
        let diff = diff.replace("\n\\ No newline at end of file", "");
        text.push_str(&format!("{} {wanted} {}\n{}\n", set(nodes), plain(path), diff.trim_end()));
    }
    let rest: Vec<&str> = variants
        .iter()
        .skip(shown)
        .flat_map(|(_, nodes)| nodes.iter().map(|node| node.node.as_str()))
        .collect();
    if !rest.is_empty() {
        text.push_str(&format!("... and {wanted} on {}; --dry-run shows all differences\n", counted(&rest)));
    }
    text
}

fn diff(file: &Value) -> Option<&str> {
    file.get("diff").and_then(Value::as_str).filter(|diff| !diff.is_empty())
}

//! The journal of operations as text.

use serde_json::{Value, json};

use super::table::Table;
use super::{groups, json, units};
use crate::cluster::journal::Record;
use crate::inventory::fold::{counted, fold};
use crate::outcome::Outcome;

/// A line for each, the newest last. `records` has the newest first.
pub(crate) fn list(records: &[Record]) -> String {
    let mut table = Table::default();
    table.right(0);
    let same = records.windows(2).all(|pair| matches!(pair, [a, b] if a.begun.cluster == b.begun.cluster));
    let head = ["id", "when", "who", "cluster", "command", "nodes", "took", "outcome"];
    let keep = |at: &usize| !(same && *at == 3);
    let row = |cells: Vec<String>| {
        cells.into_iter().enumerate().filter(|(at, _)| keep(at)).map(|(_, cell)| cell).collect()
    };
    table.row(row(head.map(str::to_owned).to_vec()));
    for record in records.iter().rev() {
        let begun = &record.begun;
        table.row(row(vec![
            begun.id.to_string(),
            units::date(begun.time),
            begun.user.clone(),
            begun.cluster.clone(),
            line(&begun.words),
            counted(&begun.targets),
            record.elapsed().map_or_else(|| "-".to_owned(), units::seconds),
            outcome(record),
        ]));
    }
    if records.is_empty() { "no operation is kept\n".to_owned() } else { table.print() }
}

/// One for programs; in full with a row for each node.
pub(crate) fn json(record: &Record, in_full: bool) -> Value {
    let mut map = record.to_json();
    if in_full {
        map.insert("nodes".to_owned(), record.outcomes().iter().map(json::node).collect());
    }
    Value::Object(map)
}

/// All of them, the newest last. `records` has the newest first.
pub(crate) fn document(records: &[Record], in_full: bool) -> Value {
    let operations: Value = records.iter().rev().map(|record| json(record, in_full)).collect();
    json!({"schema": json::SCHEMA, "operation": "history", "operations": operations})
}

/// Everything about one.
pub(crate) fn one(record: &Record) -> String {
    let begun = &record.begun;
    let mut table = Table::default();
    let took = record.elapsed().map_or_else(String::new, |time| format!(" in {}", units::seconds(time)));
    for (key, value) in [
        ("operation", begun.id.to_string()),
        ("when", units::date(begun.time)),
        ("who", begun.user.clone()),
        ("cluster", begun.cluster.clone()),
        ("command", line(&begun.words)),
        ("nodes", counted(&begun.targets)),
        ("outcome", format!("{}{took}", record.outcome())),
    ] {
        table.row(vec![key.to_owned(), value]);
    }
    let rows = Outcome { nodes: record.outcomes(), elapsed: record.elapsed().unwrap_or_default() };
    table.print() + &groups(&rows, |_| true)
}

/// `failed; left: node[3-4] (2)`.
fn outcome(record: &Record) -> String {
    let (word, left) = (record.outcome(), record.left());
    if left.is_empty() || word == "running" {
        word.to_owned()
    } else {
        format!("{word}; left: {}", fold(&left))
    }
}

/// The words as one line that a shell would take.
pub(crate) fn line(words: &[String]) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_=.,:/@%+".contains(letter);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

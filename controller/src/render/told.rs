//! What processes printed on many nodes, as lines in the order of time, each behind its node.

use serde_json::Value;

use super::{answered, groups, table};
use crate::cluster::clock::Offset;
use crate::cluster::log::merge::Merger;
use crate::cluster::log::record::{Cutter, Written};
use crate::outcome::{NodeOutcome, Outcome};

/// Colours of prefixes: those that people who see fewer of them can tell apart as well.
const COLOURS: [u8; 6] = [36, 33, 34, 35, 32, 96];

/// How prefixes are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Of the longest node.
    pub(crate) width: usize,
    /// There is more than one log of a node.
    pub(crate) several: bool,
    /// In colour.
    pub(crate) paint: bool,
}

/// One log of one node, in front of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) node: String,
    /// Of the node in its cluster, which chooses the colour.
    pub(crate) index: usize,
    pub(crate) name: String,
    pub(crate) source: String,
}

impl Label {
    /// `node01   | what it says`, each line of the record.
    pub(crate) fn lines(&self, columns: Columns, text: &str, to: &mut String) {
        use std::fmt::Write as _;
        let Columns { width, several, paint } = columns;
        let (on, off) = if paint { ("\x1b[", "\x1b[0m") } else { ("", "") };
        for line in text.split('\n') {
            let line = table::plain_lines(line);
            let _never = write!(to, "{on}");
            if paint {
                let colour = COLOURS.get(self.index % COLOURS.len()).copied().unwrap_or(36);
                let _never = write!(to, "{colour}m");
            }
            let _never = write!(to, "{:width$}", self.node);
            if several {
                let _never = write!(to, " {}/{}", self.name, self.source);
            }
            let _never = write!(to, "{off} |");
            if !line.is_empty() {
                let _never = write!(to, " {line}");
            }
            to.push('\n');
        }
    }
}

/// All lines, then who could not answer.
pub(super) fn logs(outcome: &Outcome) -> String {
    merged(outcome, false) + &unanswered(outcome)
}

/// One line for each kind of silence.
pub(crate) fn unanswered(outcome: &Outcome) -> String {
    groups(outcome, |node| !answered(node))
}

/// The logs of a row.
pub(crate) fn entries(data: &Value) -> impl Iterator<Item = &Value> {
    data.get("logs").and_then(Value::as_array).into_iter().flatten()
}

/// How far a node's clock is ahead, as its row tells.
pub(crate) fn ahead(data: &Value) -> f64 {
    data.get("clock").and_then(Offset::from_json).map_or(0.0, |offset| offset.seconds)
}

/// When the text of a log was written, as it tells.
pub(crate) fn written(entry: &Value, ahead: f64) -> Written {
    let zone = entry.get("zone").and_then(Value::as_i64).and_then(|zone| i32::try_from(zone).ok());
    let by = entry.get("by").and_then(Value::as_f64).unwrap_or(f64::MAX);
    Written { by, ahead, zone: zone.unwrap_or(0) }
}

/// Every record of every node, in the order of time.
pub(crate) fn merged(outcome: &Outcome, paint: bool) -> String {
    let (mut merger, mut labels, mut records) = (Merger::default(), Vec::new(), Vec::new());
    for (index, row) in outcome.nodes.iter().enumerate().filter(|(_, row)| answered(row)) {
        let ahead = ahead(&row.data);
        for entry in entries(&row.data) {
            let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let mut cutter = Cutter::new(labels.len());
            labels.push(Label { index, ..label(row, word("name"), word("source")) });
            let written = written(entry, ahead);
            cutter.push(word("text"), written, written.by, &mut records);
            cutter.finish(written, &mut records);
        }
    }
    records.into_iter().for_each(|record| merger.push(record));
    let width = outcome.nodes.iter().map(|node| node.node.chars().count()).max().unwrap_or(0);
    let first = labels.first().map(|label| (label.name.clone(), label.source.clone()));
    let several = labels.iter().any(|label| Some((label.name.clone(), label.source.clone())) != first);
    let columns = Columns { width, several, paint };
    let mut text = String::new();
    while let Some(record) = merger.take() {
        if let Some(label) = labels.get(record.stream) {
            label.lines(columns, &record.text, &mut text);
        }
    }
    text
}

fn label(row: &NodeOutcome, name: &str, source: &str) -> Label {
    Label { node: row.node.clone(), index: 0, name: name.to_owned(), source: source.to_owned() }
}

//! What is seen while an operation runs, and what is kept of it when the user interrupts.
//!
//! One line that redraws itself, on stderr of a terminal only; with `--ndjson` each node's line on
//! stdout the moment it is known.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Global;
use super::output::{can_redraw, data, talk};
use crate::fleet::Fleet;
use crate::outcome::{NodeOutcome, NodeState, Operation, Outcome, Progress, RunOptions};
use crate::render;

/// How the result will be printed, which decides what is printed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// This is the operation the user asked for.
    Result,
    /// A look before the question: nothing of it is data.
    Look,
}

/// Runs an operation until it is done or the user interrupts it. An interrupt gives up what has not
/// answered (`cancelled`) and keeps what is known.
pub async fn run(
    fleet: &mut Fleet,
    operation: &Operation,
    options: &RunOptions,
    global: &Global,
    purpose: Purpose,
) -> Outcome {
    let lines = global.ndjson && purpose == Purpose::Result;
    let mut meter = Meter::new(operation, !global.quiet && can_redraw(), global.quiet);
    let mut told: Vec<NodeOutcome> = Vec::new();
    let started = Instant::now();
    let mut tell = |progress: Progress| {
        meter.show(&progress);
        if let Progress::Finished(row) = progress {
            if lines {
                data(&format!("{}\n", render::json::line(operation, &row)));
            }
            told.push(row);
        }
    };
    let finished = tokio::select! {
        outcome = fleet.run(operation.clone(), options, &mut tell) => Some(outcome),
        _ = tokio::signal::ctrl_c() => None,
    };
    meter.clear();
    let outcome = finished.unwrap_or_else(|| interrupted(fleet, options, &told, started));
    if lines {
        let known: HashSet<&str> = told.iter().map(|row| row.node.as_str()).collect();
        for row in outcome.nodes.iter().filter(|row| !known.contains(row.node.as_str())) {
            data(&format!("{}\n", render::json::line(operation, row)));
        }
    }
    outcome
}

/// Every target has a row, in the inventory's order: what was told, and `cancelled` for the rest.
fn interrupted(fleet: &Fleet, options: &RunOptions, told: &[NodeOutcome], started: Instant) -> Outcome {
    let elapsed = started.elapsed();
    let names = fleet.inventory().nodes.iter().map(|node| &node.name);
    let targets: Option<HashSet<&String>> = options.targets.as_ref().map(|targets| targets.iter().collect());
    let known: HashMap<&String, &NodeOutcome> = told.iter().map(|row| (&row.node, row)).collect();
    let wanted = |name: &&String| targets.as_ref().is_none_or(|targets| targets.contains(name));
    let row = |name: &String| {
        known.get(name).map_or_else(|| cancelled(name, elapsed), |row| NodeOutcome::clone(row))
    };
    Outcome { nodes: names.filter(wanted).map(row).collect(), elapsed }
}

fn cancelled(name: &str, elapsed: Duration) -> NodeOutcome {
    NodeOutcome {
        node: name.to_owned(),
        state: NodeState::Cancelled,
        reason: "interrupted; what was sent may still be carried out".to_owned(),
        daemon: None,
        data: Value::Null,
        elapsed,
    }
}

/// `start 18/31  failed 1`.
struct Meter {
    verb: &'static str,
    redraw: bool,
    quiet: bool,
    total: usize,
    done: usize,
    bad: usize,
}

impl Meter {
    fn new(operation: &Operation, redraw: bool, quiet: bool) -> Self {
        Self { verb: render::json::name(operation), redraw, quiet, total: 0, done: 0, bad: 0 }
    }

    fn show(&mut self, progress: &Progress) {
        match progress {
            Progress::Started { total } => self.total = *total,
            Progress::Finished(row) => {
                self.done += 1;
                self.bad += usize::from(row.state > NodeState::Absent);
            }
            Progress::Note { node, text } => {
                if !self.quiet {
                    self.clear();
                    talk(&render::table::plain(&format!("{node}: {text}")));
                }
            }
        }
        if self.redraw {
            let bad = if self.bad > 0 { format!("  failed {}", self.bad) } else { String::new() };
            let mut stderr = std::io::stderr().lock();
            let _gone = write!(stderr, "\r\x1b[K{} {}/{}{bad}", self.verb, self.done, self.total);
            let _gone = stderr.flush();
        }
    }

    fn clear(&self) {
        if self.redraw {
            let mut stderr = std::io::stderr().lock();
            let _gone = write!(stderr, "\r\x1b[K");
            let _gone = stderr.flush();
        }
    }
}

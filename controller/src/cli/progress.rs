//! What is seen while an operation runs, and what Ctrl-C does to it.
//!
//! ```text
//!  first Ctrl-C ──► no more work is handed out; what is under way ends by itself
//!  second       ──► everything ends now
//! ```
//!
//! Either way each target has its row. One line redraws itself, on stderr of a terminal only; with
//! `--ndjson` each node's line is on stdout the moment it is known.

use std::io::Write;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Global;
use super::exit::Exit;
use super::output::{can_redraw, data, talk};
use super::session::Stop;
use crate::fleet::{Fleet, Pulled};
use crate::outcome::{NodeOutcome, NodeState, Operation, Outcome, Progress, RunOptions};
use crate::render;

/// How the result will be printed, which decides what is printed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// This is the operation the user asked for.
    Result,
    /// A look before the question, or a step of something longer: nothing of it is data.
    Look,
}

/// Runs an operation until it is done or the user interrupts it.
pub async fn run(
    fleet: &mut Fleet,
    operation: &Operation,
    options: &RunOptions,
    global: &Global,
    purpose: Purpose,
) -> Outcome {
    let mut interrupts = Interrupts::listen();
    let lines = global.ndjson && purpose == Purpose::Result;
    watch(fleet, operation, options, global, &mut interrupts, First::Cancels, &mut |row| {
        if lines {
            data(&format!("{}\n", render::json::line(operation, row)));
        }
    })
    .await
}

/// What the first Ctrl-C does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Cancels the nodes on which nothing was changed yet.
    Cancels,
    /// Nothing but being counted: these nodes are half-way through something longer.
    Counts,
}

/// Runs one operation, perhaps of several that are one to the user; `told` gets each row as it comes.
pub(super) async fn watch(
    fleet: &mut Fleet,
    operation: &Operation,
    options: &RunOptions,
    global: &Global,
    interrupts: &mut Interrupts,
    first: First,
    told: &mut dyn FnMut(&NodeOutcome),
) -> Outcome {
    let redraw = !global.quiet && can_redraw();
    let mut meter = Meter::new(operation, redraw, global.quiet);
    let brake = fleet.brake();
    let mut tell = |progress: Progress| {
        meter.show(&progress);
        if let Progress::Finished(row) = progress {
            told(&row);
        }
    };
    let running = fleet.run(operation.clone(), options, &mut tell);
    tokio::pin!(running);
    let outcome = loop {
        tokio::select! {
            outcome = &mut running => break outcome,
            () = interrupts.next() => {
                let how = interrupts.how();
                if how == Pulled::Hard || first == First::Cancels {
                    brake.pull(how);
                }
                if how == Pulled::Gently && !global.quiet {
                    clear(redraw);
                    talk("interrupted: what is under way goes on to its end; Ctrl-C again leaves at once");
                }
            }
        }
    };
    clear(redraw);
    outcome
}

/// Ctrl-C, for what goes on until it comes.
///
/// # Errors
/// The system does not let us listen: then nothing could end it.
pub(super) fn interrupts() -> Result<Signal, Stop> {
    signal(SignalKind::interrupt())
        .map_err(|error| Stop::new(Exit::Failed, format!("Ctrl-C cannot be listened for: {error}")))
}

/// Ctrl-C, listened for from the first operation of a work to its last, so that none is missed between
/// two of them.
#[derive(Debug)]
pub(super) struct Interrupts {
    signal: Option<Signal>,
    count: u32,
}

impl Interrupts {
    pub(super) fn listen() -> Self {
        // Where it cannot be listened for, Ctrl-C ends the whole program.
        Self { signal: signal(SignalKind::interrupt()).ok(), count: 0 }
    }

    /// Resolves with the next one, which is counted.
    pub(super) async fn next(&mut self) {
        match &mut self.signal {
            Some(signal) => {
                signal.recv().await;
                self.count = self.count.saturating_add(1);
            }
            None => std::future::pending().await,
        }
    }

    /// What they amount to.
    pub(super) fn how(&self) -> Pulled {
        match self.count {
            0 => Pulled::No,
            1 => Pulled::Gently,
            _ => Pulled::Hard,
        }
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
                    clear(self.redraw);
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
}

/// The line with the progress goes.
fn clear(redraw: bool) {
    if redraw {
        let mut stderr = std::io::stderr().lock();
        let _gone = write!(stderr, "\r\x1b[K");
        let _gone = stderr.flush();
    }
}

//! `logs`, and following what is written from now on.
//!
//! ```text
//!  last lines ─► whole lines are printed ─► pause ─► from each node's place on ─┐
//!                        ▲                    └ Ctrl-C: the end                │
//!                        └─────────────────────────────────────────────────────┘
//! ```
//!
//! A node that says no is not asked again; one that does not answer is, and so is one that
//! cannot read the file (yet); they go on where they were left.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use super::output::{stream, talk};
use super::progress::{self, Purpose};
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, LogsArgs};
use crate::outcome::{LogPlace, LogsRequest, NodeOutcome, NodeState, Operation, Outcome};
use crate::render;
use crate::render::told::log_line;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// What is printed of a line that does not end.
const LONGEST: usize = 64 * 1024;

pub(super) fn request(args: &LogsArgs) -> LogsRequest {
    let (name, source) = (args.name.clone(), args.source.clone());
    LogsRequest { name, source, lines: args.lines, places: HashMap::new() }
}

pub(super) async fn follow(session: &mut Session, global: &Global, args: &LogsArgs) -> Result<Exit, Stop> {
    if global.json {
        return Err(Stop::usage("logs --follow never ends, so it is no document; use --ndjson"));
    }
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Stop::new(Exit::Failed, format!("Ctrl-C cannot be listened for: {error}")))?;
    let mut targets = session.targets(global)?;
    let width = targets.iter().map(|node| node.chars().count()).max().unwrap_or(0);
    let mut follower = Follower { width, ndjson: global.ndjson, ..Follower::default() };
    let (mut request, quiet) = (request(args), Global { ndjson: false, quiet: true, ..global.clone() });
    loop {
        let operation = Operation::Logs(request.clone());
        let options = Session::run_options(global, READ_TIMEOUT, &targets);
        let look = Purpose::Look;
        let outcome = progress::run(&mut session.fleet, &operation, &options, &quiet, look).await;
        session.learn(&outcome);
        let round = follower.take(&operation, &outcome, &mut request.places);
        if !global.quiet {
            round.complaints.iter().for_each(|line| talk(line));
        }
        if !stream(&round.text) {
            return Ok(Exit::Done);
        }
        if round.interrupted {
            return Ok(Exit::Interrupted);
        }
        targets.retain(|node| !round.refused.contains(node));
        if targets.is_empty() {
            return Ok(Exit::Failed);
        }
        // Who has more is asked at once.
        let pause = if round.more { Duration::ZERO } else { PAUSE };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = interrupt.recv() => return Ok(Exit::Interrupted),
        }
    }
}

/// What came of one look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    text: String,
    /// For the person.
    complaints: Vec<String>,
    /// Not to be asked again.
    refused: Vec<String>,
    interrupted: bool,
    /// There is more already.
    more: bool,
}

/// What is known of the nodes between two looks.
#[derive(Debug, Default)]
struct Follower {
    width: usize,
    ndjson: bool,
    /// The beginnings of lines that have not ended yet.
    begun: HashMap<String, String>,
    /// What was wrong the last time, which is said once.
    wrong: HashMap<String, String>,
}

impl Follower {
    fn take(
        &mut self,
        operation: &Operation,
        outcome: &Outcome,
        places: &mut HashMap<String, LogPlace>,
    ) -> Round {
        let mut round = Round::default();
        for row in &outcome.nodes {
            match row.state {
                NodeState::Done | NodeState::Unchanged => {
                    self.answered(operation, row, places, &mut round);
                }
                NodeState::Cancelled => round.interrupted = true,
                NodeState::Refused | NodeState::Skipped | NodeState::Absent => {
                    round.refused.push(row.node.clone());
                    self.complain(row, &mut round);
                }
                NodeState::Failed | NodeState::TimedOut | NodeState::Unreachable => {
                    self.complain(row, &mut round)
                }
            }
        }
        round
    }

    fn answered(
        &mut self,
        operation: &Operation,
        row: &NodeOutcome,
        places: &mut HashMap<String, LogPlace>,
        round: &mut Round,
    ) {
        if self.wrong.remove(&row.node).is_some() {
            round.complaints.push(format!("{}: answers again", row.node));
        }
        let generation = row.data.get("generation").and_then(Value::as_str).map(str::to_owned);
        if let Some(offset) = row.data.get("next_offset").and_then(Value::as_u64) {
            places.insert(row.node.clone(), LogPlace { offset, generation });
        }
        round.more |= row.data.get("eof").and_then(Value::as_bool) == Some(false);
        let text = row.data.get("text").and_then(Value::as_str).unwrap_or_default();
        if self.ndjson {
            if !text.is_empty() {
                round.text.push_str(&format!("{}\n", render::json::line(operation, row)));
            }
            return;
        }
        let begun = self.begun.entry(row.node.clone()).or_default();
        begun.push_str(text);
        let whole =
            if begun.len() > LONGEST { begun.len() } else { begun.rfind('\n').map_or(0, |at| at + 1) };
        let rest = begun.split_off(whole);
        round.text.extend(begun.lines().map(|line| log_line(&row.node, self.width, line)));
        *begun = rest;
    }

    fn complain(&mut self, row: &NodeOutcome, round: &mut Round) {
        let complaint = format!("{}: {}: {}", row.node, render::word(row.state), row.reason);
        if self.wrong.get(&row.node) != Some(&complaint) {
            round.complaints.push(render::table::plain(&complaint));
            self.wrong.insert(row.node.clone(), complaint);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(node: &str, state: NodeState, reason: &str, data: Value) -> NodeOutcome {
        let (node, reason, daemon) = (node.to_owned(), reason.to_owned(), None);
        NodeOutcome { node, state, reason, daemon, data, elapsed: Duration::ZERO }
    }

    fn piece(text: &str, next: u64, eof: bool) -> Value {
        json!({"text": text, "offset": 0, "next_offset": next, "eof": eof, "generation": "7"})
    }

    #[test]
    fn whole_lines_are_printed_and_places_kept() {
        let mut follower = Follower { width: 3, ..Follower::default() };
        let (operation, mut places) = (Operation::Logs(LogsRequest::default()), HashMap::new());
        let mut take = |nodes: Vec<NodeOutcome>| {
            let outcome = Outcome { nodes, elapsed: Duration::ZERO };
            (follower.take(&operation, &outcome, &mut places), places.clone())
        };
        let (round, places) = take(vec![
            row("n1", NodeState::Done, "", piece("one\ntw", 6, true)),
            row("n10", NodeState::Unreachable, "no route", Value::Null),
            row("n3", NodeState::Refused, "logs needs circusd-rs", Value::Null),
        ]);
        assert_eq!(round.text, "n1  | one\n");
        assert_eq!(round.complaints, ["n10: unreachable: no route", "n3: refused: logs needs circusd-rs"]);
        assert_eq!((round.refused, round.more), (vec!["n3".to_owned()], false));
        assert_eq!(places, [("n1".to_owned(), LogPlace { offset: 6, generation: Some("7".into()) })].into());
        let (round, _) = take(vec![
            row("n1", NodeState::Done, "", piece("o\n\n", 9, false)),
            row("n10", NodeState::Unreachable, "no route", Value::Null),
        ]);
        assert_eq!((round.text.as_str(), round.more), ("n1  | two\nn1  |\n", true));
        assert!(round.complaints.is_empty(), "said once");
        let (round, _) = take(vec![row("n10", NodeState::Done, "", piece("back\n", 5, true))]);
        assert_eq!(
            (round.text.as_str(), round.complaints),
            ("n10 | back\n", vec!["n10: answers again".to_owned()])
        );
        let (round, _) = take(vec![row("n1", NodeState::Cancelled, "", Value::Null)]);
        assert!(round.interrupted);
    }
}

//! `logs --download DIR`: everything that nodes still have of their logs, in `DIR/NODE/WATCHER/SOURCE.log`.
//!
//! ```text
//!  which logs are there ─► a few nodes at a time: piece after piece is appended ─► at the end of each log
//!                             └ places are kept in DIR/NODE/.circusman-logs.json after each round
//! ```
//!
//! A log is one file here, however often it was rotated there: the oldest part first, then on. The
//! next download goes on where this one stopped. What is here is never truncated or overwritten.

mod mirror;

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::LogsArgs;
use crate::cli::Global;
use crate::cli::exit::Exit;
use crate::cli::output::{data, talk};
use crate::cli::perform::print;
use crate::cli::progress::{self, Purpose};
use crate::cli::session::{ACT_TIMEOUT, READ_TIMEOUT, Session, Stop};
use crate::outcome::{LogPlace, LogsPart, LogsRequest, NodeOutcome, NodeState, Operation, Outcome};
use crate::render::units::bytes;
use crate::render::{self, table, told};
use mirror::Mirror;

/// Nodes that are read at the same time: each holds some pieces in memory.
const AT_ONCE: usize = 16;
/// Logs of a node that are read in one round.
const PIECES: usize = 4;

/// One node's download.
struct Job {
    row: NodeOutcome,
    mirror: Mirror,
    /// What is not read to its end yet.
    open: Vec<LogPlace>,
}

pub(super) async fn download(
    session: &mut Session,
    global: &Global,
    args: &LogsArgs,
    dir: &Path,
) -> Result<Exit, Stop> {
    let begun = Instant::now();
    let targets = session.targets(global)?;
    let sources = if args.source.is_empty() { vec!["all".to_owned()] } else { args.source.clone() };
    let request = |part, binary| {
        let (names, sources) = (args.names.clone(), sources.clone());
        Operation::Logs(LogsRequest { names, sources, part, binary })
    };
    let operation = request(LogsPart::Last { lines: 1 }, false);
    let options = Session::run_options(global, READ_TIMEOUT, &targets);
    let look = Purpose::Look;
    let mut outcome = progress::run(&mut session.fleet, &operation, &options, global, look).await;
    session.learn(&outcome);
    let mut jobs: HashMap<String, Job> = HashMap::new();
    for row in outcome.nodes.iter().filter(|row| render::answered(row)) {
        let job = Job::new(row, dir).map_err(|error| Stop::new(Exit::Failed, error))?;
        jobs.insert(row.node.clone(), job);
    }
    // Stock nodes take their time for each piece; the others do not wait for them.
    for stock in [false, true] {
        let is_stock = |row: &&NodeOutcome| (row.daemon.as_deref() == Some("circusd")) == stock;
        let names: Vec<String> = outcome
            .nodes
            .iter()
            .filter(|row| render::answered(row))
            .filter(is_stock)
            .map(|row| row.node.clone())
            .collect();
        for batch in names.chunks(AT_ONCE.min(options.parallel).max(1)) {
            fetch(session, global, batch, &mut jobs, &request).await;
        }
    }
    for row in &mut outcome.nodes {
        if let Some(job) = jobs.remove(&row.node) {
            *row = job.end(global.quiet);
        }
    }
    outcome.elapsed = begun.elapsed();
    Ok(tell(session, global, &operation, &outcome))
}

/// Reads the logs of a few nodes to their ends.
async fn fetch(
    session: &mut Session,
    global: &Global,
    batch: &[String],
    jobs: &mut HashMap<String, Job>,
    request: &impl Fn(LogsPart, bool) -> Operation,
) {
    let quiet = Global { ndjson: false, quiet: true, ..global.clone() };
    loop {
        let mut places = HashMap::new();
        for name in batch {
            let open = jobs.get(name).map(|job| job.open.as_slice()).unwrap_or_default();
            if !open.is_empty() {
                places.insert(name.clone(), open.iter().take(PIECES).cloned().collect());
            }
        }
        let names: Vec<String> = batch.iter().filter(|name| places.contains_key(*name)).cloned().collect();
        if names.is_empty() {
            return;
        }
        let options = Session::run_options(global, ACT_TIMEOUT, &names);
        let operation = request(LogsPart::On { places }, true);
        let outcome = progress::run(&mut session.fleet, &operation, &options, &quiet, Purpose::Look).await;
        let mut interrupted = false;
        for row in &outcome.nodes {
            interrupted |= row.state == NodeState::Cancelled;
            if let Some(job) = jobs.get_mut(&row.node) {
                job.take(row);
            }
        }
        if interrupted {
            return;
        }
    }
}

impl Job {
    fn new(row: &NodeOutcome, dir: &Path) -> Result<Self, String> {
        let mut mirror = Mirror::open(&dir.join(mirror::plain(&row.node)))?;
        let mut row = row.clone();
        let mut open = Vec::new();
        for entry in told::entries(&row.data) {
            let word = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
            let (Some(name), Some(source)) = (word("name"), word("source")) else { continue };
            if let Some(error) = word("error") {
                mirror.notes.push(error);
                continue;
            }
            match mirror.place(&name, &source) {
                Ok((offset, generation)) => {
                    open.push(LogPlace { name, source, offset, generation, path: word("path") });
                }
                Err(error) => mirror.errors.push(error),
            }
        }
        row.data = Value::Null;
        Ok(Self { row, mirror, open })
    }

    /// What came of a round.
    fn take(&mut self, row: &NodeOutcome) {
        let asked: Vec<LogPlace> = self.open.iter().take(PIECES).cloned().collect();
        if !matches!(row.state, NodeState::Done | NodeState::Unchanged)
            && told::entries(&row.data).next().is_none()
        {
            (self.row.state, self.row.reason) = (row.state, row.reason.clone());
            self.open.clear();
            return;
        }
        let mut progressed = false;
        for place in asked {
            let is_it = |entry: &&Value| {
                entry.get("name").and_then(Value::as_str) == Some(&place.name)
                    && entry.get("source").and_then(Value::as_str) == Some(&place.source)
            };
            // A one-shot that had no room for all of them leaves some for the next round.
            let Some(entry) = told::entries(&row.data).find(is_it) else { continue };
            progressed = true;
            let next = self.mirror.append(&place, entry);
            self.open.retain(|open| !(open.name == place.name && open.source == place.source));
            match next {
                Ok(Some(next)) => self.open.push(next),
                Ok(None) => {}
                Err(error) => self.mirror.errors.push(error),
            }
        }
        if !progressed {
            self.mirror.errors.push("the node told nothing of what it was asked for".to_owned());
            self.open.clear();
        }
        if let Err(error) = self.mirror.save() {
            self.mirror.errors.push(error);
            self.open.clear();
        }
    }

    fn end(mut self, quiet: bool) -> NodeOutcome {
        let Mirror { notes, errors, fresh, .. } = &self.mirror;
        if !quiet {
            notes.iter().for_each(|note| talk(&table::plain(&format!("{}: {note}", self.row.node))));
        }
        let files: Vec<Value> = fresh
            .iter()
            .map(|(path, (fresh, size))| json!({"path": path, "new": fresh, "bytes": size}))
            .collect();
        let sum: u64 = fresh.values().map(|(fresh, _)| *fresh).sum();
        self.row.data = json!({"files": files, "new": sum, "notes": notes});
        if !errors.is_empty() && render::answered(&self.row) {
            (self.row.state, self.row.reason) = (NodeState::Failed, errors.join("; "));
        } else if render::answered(&self.row) {
            self.row.state = if sum > 0 { NodeState::Done } else { NodeState::Unchanged };
            let logs = if files.len() == 1 { "log" } else { "logs" };
            self.row.reason = format!("{} {logs}, {} new", files.len(), bytes(sum as f64));
        }
        self.row
    }
}

fn tell(session: &mut Session, global: &Global, operation: &Operation, outcome: &Outcome) -> Exit {
    let exit = Exit::of(outcome);
    if global.ndjson {
        for row in &outcome.nodes {
            data(&format!("{}\n", render::json::line(operation, row)));
        }
    }
    if global.json || global.ndjson {
        print(session, global, operation, outcome, exit);
    } else {
        data(&render::groups(outcome, |_| true));
    }
    exit
}

//! Results for programs. Schema 1; fields are added, never renamed or removed.
//!
//! `--json` prints one document:
//!
//! ```json
//! {"schema": 1, "operation": "status", "cluster": "lab", "exit": 0, "elapsed": 0.21,
//!  "counts": {"done": 3}, "nodes": [
//!   {"node": "node01", "state": "done", "reason": "", "daemon": "circusd-rs 0.1.0",
//!    "elapsed": 0.02, "data": {"watchers": {"neo4j": "active"}}}]}
//! ```
//!
//! Some commands add to it, or have a document of their own:
//!
//! - a `--dry-run` of what starts, stops or restarts has `dry_run` (true) and, unless it is all at once,
//!   `batches`: `[{"nodes": […], "steps": [{"do": "start", "watchers": […], "nodes": […]}, {"pause": 1.5}]}]`,
//!   one after the other. The row of a node then says in which batches it would be. That of `fresh` has
//!   such lists as `stop` and `start`, the rows of a `configure --dry-run` as `configure`, and those of a
//!   `reset --dry-run` as `nodes`;
//! - `fresh`, `start --ordered` and `stop --ordered` have `last`, the operation that the rows are those of,
//!   and `phases`: `[{"phase": "configure", "elapsed": 0.4}]`, in order;
//! - `history`: `{"schema", "operation": "history", "operations": […]}`, the newest last, each with `id`,
//!   `time` and `elapsed` in seconds, `user`, `cluster`, `spec`, `operation`, `words` (the command), `services`
//!   (the path of its `--services`, or null), `outcome` (`done`, `failed`, `interrupted`, `running`), `exit`,
//!   `targets`, `left` (the nodes where it is not done) and, of one that was asked for by its number,
//!   `nodes` as above;
//! - `cluster`: `{"schema", "operation": "cluster", "cluster", "spec", "port", "nodes": [{"node",
//!   "identifier", "address", "endpoint"}]}`;
//! - what ended before there was a result: [`stopped`].
//!
//! `data` is described at [`NodeOutcome::data`]. `--ndjson` prints each element of `nodes` on its own line as the node finishes, with `operation`
//! in front, and a last line like the document above without `nodes`.

use serde_json::{Map, Value, json};

use super::word;
use crate::outcome::{NodeOutcome, Operation, Outcome};

/// The number in `schema`.
pub const SCHEMA: u32 = 1;

/// The operation's name as the command line has it.
#[must_use]
pub fn name(operation: &Operation) -> &'static str {
    match operation {
        Operation::Status { .. } => "status",
        Operation::Start { .. } => "start",
        Operation::Stop { .. } => "stop",
        Operation::Restart { .. } => "restart",
        Operation::Reload { .. } => "reload",
        Operation::Configure(_) => "configure",
        Operation::Reset(_) => "reset",
        Operation::Stats { .. } => "stats",
        Operation::Ready { .. } | Operation::Up { .. } => "ready",
        Operation::Why { .. } => "why",
        Operation::Logs(_) => "logs",
        Operation::Preflight { .. } => "preflight",
        Operation::Survey => "survey",
        Operation::Call { .. } => "call",
    }
}

/// One node.
#[must_use]
pub fn node(node: &NodeOutcome) -> Value {
    json!({
        "node": node.node,
        "state": word(node.state),
        "reason": node.reason,
        "daemon": node.daemon,
        "elapsed": seconds(node.elapsed),
        "data": node.data,
    })
}

/// One node as a line of `--ndjson`.
#[must_use]
pub fn line(operation: &Operation, row: &NodeOutcome) -> Value {
    let mut map = Map::new();
    map.insert("operation".to_owned(), name(operation).into());
    if let Value::Object(fields) = node(row) {
        map.extend(fields);
    }
    Value::Object(map)
}

/// Everything but the nodes: the last line of `--ndjson`.
#[must_use]
pub fn summary(operation: &Operation, cluster: &str, outcome: &Outcome, exit: u8) -> Map<String, Value> {
    let mut counts = Map::new();
    let mut states: Vec<_> = outcome.nodes.iter().map(|node| node.state).collect();
    states.sort_unstable();
    for group in states.chunk_by(|a, b| a == b) {
        if let Some(state) = group.first() {
            counts.insert(word(*state).to_owned(), group.len().into());
        }
    }
    let mut map = Map::new();
    map.insert("schema".to_owned(), SCHEMA.into());
    map.insert("operation".to_owned(), name(operation).into());
    map.insert("cluster".to_owned(), cluster.into());
    map.insert("exit".to_owned(), exit.into());
    map.insert("elapsed".to_owned(), seconds(outcome.elapsed));
    map.insert("counts".to_owned(), Value::Object(counts));
    map
}

/// The whole document.
#[must_use]
pub fn document(operation: &Operation, cluster: &str, outcome: &Outcome, exit: u8) -> Value {
    let mut map = summary(operation, cluster, outcome, exit);
    map.insert("nodes".to_owned(), outcome.nodes.iter().map(node).collect());
    Value::Object(map)
}

/// The same of several operations that are one to the user, called `verb`: the result is that of the last.
#[must_use]
pub fn walk(
    verb: &str,
    last: &Operation,
    cluster: &str,
    outcome: &Outcome,
    exit: u8,
    phases: &[(&str, std::time::Duration)],
) -> Value {
    let mut map = summary(last, cluster, outcome, exit);
    map.insert("nodes".to_owned(), outcome.nodes.iter().map(node).collect());
    map.insert("operation".to_owned(), verb.into());
    map.insert("last".to_owned(), name(last).into());
    let phase =
        |(name, time): &(&str, std::time::Duration)| json!({"phase": name, "elapsed": time.as_secs_f64()});
    map.insert("phases".to_owned(), phases.iter().map(phase).collect());
    Value::Object(map)
}

/// A command that ended before there was a result: `{"schema": 1, "exit": 2, "error": ..., "place": ...}`.
/// `place` says which part of a SPEC is wrong: `text`, `column` and `length` in characters, counted from
/// 1, and `file` and `line` where it was read from a file.
#[must_use]
pub fn stopped(error: &str, place: Option<&Value>, exit: u8) -> Value {
    json!({"schema": SCHEMA, "exit": exit, "error": error, "place": place})
}

fn seconds(time: std::time::Duration) -> Value {
    json!((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

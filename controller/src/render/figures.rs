//! `stats` as a table, as CSV and as JSON, all from the same rows.
//!
//! Text: processes have their children below them, the totals come last, and nodes that did not answer
//! after them. CSV: numbers in base units, one row for each node that did not answer, so that nobody
//! takes silence for idleness.

use serde_json::{Map, Value, json};

use super::table::Table;
use super::{answered, groups, units, word};
use crate::figures::rows::{By, Row, Rows, Sort, rows};
use crate::figures::{Node, Process, Sum};
use crate::outcome::Outcome;

/// How figures are to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct View {
    /// What a row stands for.
    pub by: By,
    /// In which order; the nodes' own when `None`.
    pub sort: Option<Sort>,
    /// Only the first so many.
    pub top: Option<usize>,
}

impl View {
    /// The rows of these nodes.
    #[must_use]
    pub fn rows(&self, nodes: &[Node]) -> Rows {
        rows(nodes, self.by, self.sort, self.top)
    }
}

/// A row of the table, from its figures.
struct Column {
    head: &'static str,
    right: bool,
    cell: fn(&Row) -> String,
}

const fn left(head: &'static str, cell: fn(&Row) -> String) -> Column {
    Column { head, right: false, cell }
}

const fn right(head: &'static str, cell: fn(&Row) -> String) -> Column {
    Column { head, right: true, cell }
}

const NODE: Column = left("node", |row| text(row.node.as_ref().map(|(_, node)| node)));
const WATCHER: Column = left("watcher", |row| text(row.watcher.as_ref()));
const STATE: Column = left("state", |row| text(row.state.as_ref()));
const DAEMON: Column = left("daemon", |row| text(row.daemon.as_ref()));
const NODES: Column = right("nodes", |row| row.nodes.to_string());
const WATCHERS: Column = right("watchers", |row| row.watchers.to_string());
const PID: Column = right("pid", |row| text(row.process.as_ref().map(|process| process.pid)));
const PROCESSES: Column = right("proc", |row| match row.expected {
    Some(expected) if expected != row.sum.processes as u64 => format!("{} of {expected}", row.sum.processes),
    Some(_) | None => row.sum.processes.to_string(),
});
const CHILDREN: Column = right("child", |row| row.sum.children.to_string());
const CPU: Column = right("cpu", |row| cpu(row.sum.cpu));
const MEMORY: Column = right("mem", |row| memory(row.sum.memory));
const AGE: Column = right("age", |row| age(row.sum.age));
const RESTARTS: Column = right("restarts", |row| text(row.sum.restarts));
/// Of the process alone; those of its children stand in their own lines.
const OWN_CPU: Column = right("cpu", |row| cpu(row.process.as_ref().and_then(|process| process.cpu)));
const OWN_MEMORY: Column =
    right("mem", |row| memory(row.process.as_ref().and_then(|process| process.memory)));
const COMMAND: Column = left("command", |row| text(row.process.as_ref().map(|process| &process.command)));

const BY_NODE: &[Column] = &[NODE, STATE, DAEMON, WATCHERS, PROCESSES, CHILDREN, CPU, MEMORY, AGE, RESTARTS];
const BY_WATCHER: &[Column] = &[NODE, WATCHER, STATE, PROCESSES, CHILDREN, CPU, MEMORY, AGE, RESTARTS];
const BY_NAME: &[Column] = &[WATCHER, NODES, PROCESSES, CHILDREN, CPU, MEMORY, AGE, RESTARTS];
const BY_PROCESS: &[Column] = &[NODE, WATCHER, PID, OWN_CPU, OWN_MEMORY, AGE, RESTARTS, COMMAND];

fn columns(by: By) -> &'static [Column] {
    match by {
        By::Node => BY_NODE,
        By::Watcher => BY_WATCHER,
        By::Name => BY_NAME,
        By::Process => BY_PROCESS,
    }
}

/// The table, and what is to be told of nodes that did not answer.
pub(super) fn stats(outcome: &Outcome, nodes: &[Node], view: &View) -> String {
    let (columns, rows) = (columns(view.by), view.rows(nodes));
    let mut table = Table::default();
    for (at, _) in columns.iter().enumerate().filter(|(_, column)| column.right) {
        table.right(at);
    }
    table.row(columns.iter().map(|column| column.head.to_owned()).collect());
    for row in &rows.shown {
        table.row(columns.iter().map(|column| (column.cell)(row)).collect());
        for child in row.process.iter().flat_map(|process| &process.children) {
            table.row(of_child(row, child));
        }
    }
    if rows.all > 1 {
        table.row(total(columns, &rows));
    }
    let cut = rows.all - rows.shown.len();
    let cut = if cut > 0 { format!("{cut} of {} rows are not shown\n", rows.all) } else { String::new() };
    table.print() + &cut + &groups(outcome, |node| !answered(node))
}

fn of_child(row: &Row, child: &Process) -> Vec<String> {
    let command = format!("- {}", child.command);
    let cells = [
        (NODE.cell)(row),
        (WATCHER.cell)(row),
        child.pid.to_string(),
        cpu(child.cpu),
        memory(child.memory),
        age(child.age),
        "-".to_owned(),
        command,
    ];
    cells.to_vec()
}

/// The last row: the figures, without what only one row has.
fn total(columns: &[Column], rows: &Rows) -> Vec<String> {
    let Sum { processes, children, restarts, .. } = rows.total;
    let cell = |at: usize, column: &Column| match (at, column.head) {
        (0, _) => "total".to_owned(),
        (_, "pid" | "proc") => processes.to_string(),
        (_, "child") => children.to_string(),
        (_, "cpu") => cpu(rows.total.cpu),
        (_, "mem") => memory(rows.total.memory),
        (_, "age") => age(rows.total.age),
        (_, "restarts") => text(restarts),
        (_, _) => String::new(),
    };
    columns.iter().enumerate().map(|(at, column)| cell(at, column)).collect()
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(crate) fn cpu(percent: Option<f64>) -> String {
    percent.map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.1} %"))
}

pub(crate) fn memory(bytes: Option<f64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), units::bytes)
}

pub(crate) fn age(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), units::age)
}

/// The row as an object: bytes, seconds, percent of one CPU; children included, as their number says.
#[must_use]
pub fn object(row: &Row) -> Value {
    let mut map = figures(&row.sum);
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            map.insert(key.to_owned(), value);
        }
    };
    put("node", json!(row.node.as_ref().map(|(_, node)| node)));
    put("watcher", json!(row.watcher));
    put("state", json!(row.state));
    put("daemon", json!(row.daemon));
    put("nodes", json!(row.nodes));
    put("watchers", json!(row.watchers));
    put("expected", json!(row.expected));
    if let Some(process) = &row.process {
        put("pid", json!(process.pid));
        put("wid", json!(process.wid));
        put("user", json!(process.user));
        put("command", json!(process.command));
    }
    Value::Object(map)
}

/// What is summed, as an object; `null` is what nobody told.
#[must_use]
pub fn figures(sum: &Sum) -> Map<String, Value> {
    let told = [
        ("cpu_percent", json!(sum.cpu.map(|cpu| (cpu * 10.0).round() / 10.0))),
        ("memory_bytes", json!(sum.memory.map(|bytes| bytes.round() as u64))),
        ("virtual_memory_bytes", json!(sum.virtual_memory.map(|bytes| bytes.round() as u64))),
        ("age_seconds", json!(sum.age.map(|age| (age * 1000.0).round() / 1000.0))),
        ("processes", json!(sum.processes)),
        ("children", json!(sum.children)),
        ("restarts", json!(sum.restarts)),
    ];
    told.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The columns of the CSV; all of them whatever a row stands for, so that files can be joined.
const CSV: [&str; 16] = [
    "node",
    "watcher",
    "pid",
    "wid",
    "user",
    "command",
    "state",
    "nodes",
    "expected",
    "processes",
    "children",
    "cpu_percent",
    "memory_bytes",
    "virtual_memory_bytes",
    "age_seconds",
    "restarts",
];

/// The first line of the CSV.
#[must_use]
pub fn csv_head() -> String {
    let columns: Vec<&str> = ["time"].into_iter().chain(CSV).chain(["reason"]).collect();
    csv_line(&columns)
}

/// The rows as CSV (RFC 4180), each with the time, an RFC 3339 text.
#[must_use]
pub fn csv(nodes: &[Node], view: &View, time: &str) -> String {
    let mut text = String::new();
    for row in &view.rows(nodes).shown {
        let object = object(row);
        let cell = |key: &&str| match object.get(*key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let cells = std::iter::once(time.to_owned()).chain(CSV.iter().map(cell)).chain([String::new()]);
        text.push_str(&csv_line(&cells.collect::<Vec<_>>()));
    }
    for node in nodes.iter().filter(|node| !node.is_up()) {
        let mut cells = vec![String::new(); CSV.len() + 2];
        let place = |key: &str| CSV.iter().position(|column| *column == key).map(|at| at + 1);
        let last = cells.len() - 1;
        let filled = [
            (Some(0), time),
            (place("node"), node.name.as_str()),
            (place("state"), word(node.state)),
            (Some(last), node.reason.as_str()),
        ];
        for (at, value) in filled {
            if let Some(cell) = at.and_then(|at| cells.get_mut(at)) {
                value.clone_into(cell);
            }
        }
        text.push_str(&csv_line(&cells));
    }
    text
}

fn csv_line(cells: &[impl AsRef<str>]) -> String {
    let cell = |cell: &str| {
        let cell = super::table::plain(cell);
        if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    };
    let cells: Vec<String> = cells.iter().map(|text| cell(text.as_ref())).collect();
    cells.join(",") + "\n"
}

//! `stats` as a table: one row for each process, its children below it.

use serde_json::Value;

use super::table::Table;
use super::{answered, groups, units};
use crate::outcome::Outcome;

pub(super) fn stats(outcome: &Outcome) -> String {
    let mut table = Table::default();
    for column in [2, 3, 4, 5] {
        table.right(column);
    }
    table.row(["node", "watcher", "pid", "cpu", "mem", "age", "command"].map(str::to_owned).to_vec());
    for node in outcome.nodes.iter().filter(|node| answered(node)) {
        let watchers = node.data.as_object().into_iter().flatten();
        for (watcher, processes) in watchers {
            let Some(processes) = processes.as_object().filter(|map| !map.is_empty()) else {
                let text = processes.as_str().unwrap_or("-");
                table.row(row([&node.node, watcher, text, "-", "-", "-", "-"]));
                continue;
            };
            for (pid, figures) in processes {
                process(&mut table, [&node.node, watcher], pid, figures, "");
            }
        }
    }
    table.print() + &groups(outcome, |node| !answered(node))
}

fn row(cells: [&str; 7]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn process(table: &mut Table, place: [&str; 2], pid: &str, figures: &Value, indent: &str) {
    let [node, watcher] = place;
    if let Some(text) = figures.as_str() {
        table.row(row([node, watcher, pid, "-", "-", "-", text]));
        return;
    }
    let cpu = number(figures, "cpu").map_or("-".to_owned(), |cpu| format!("{cpu:.1} %"));
    let mem = figures.get("mem_info1").and_then(Value::as_str).and_then(units::parse_circus);
    let mem = mem.map_or("-".to_owned(), units::bytes);
    let age = number(figures, "age").map_or("-".to_owned(), units::age);
    let command = figures.get("cmdline").and_then(Value::as_str).unwrap_or("-");
    table.row(row([node, watcher, pid, &cpu, &mem, &age, &format!("{indent}{command}")]));
    let children = figures.get("children").and_then(Value::as_array).into_iter().flatten();
    for child in children {
        let pid = child.get("pid").map(ToString::to_string).unwrap_or_default();
        process(table, place, &pid, child, &format!("{indent}- "));
    }
}

fn number(figures: &Value, key: &str) -> Option<f64> {
    figures.get(key).and_then(Value::as_f64)
}

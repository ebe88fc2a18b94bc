//! What would be done, as text and for programs.

use serde_json::{Value, json};

use super::table::Table;
use super::{counts, groups, units, word};
use crate::cluster::rolling::{Batch, Move};
use crate::inventory::fold::{counted, fold};
use crate::outcome::{NodeState, Outcome};

/// `2  node[2-3] (2)  stop titan; stop cassandra; start cassandra; …`.
pub(crate) fn batches(batches: &[Batch]) -> String {
    let mut table = Table::default();
    table.right(0);
    for (batch, number) in batches.iter().zip(1_usize..) {
        let nodes = if batch.nodes.len() == 1 { fold(&batch.nodes) } else { counted(&batch.nodes) };
        let nodes = if batch.nodes.is_empty() { "-".to_owned() } else { nodes };
        let moves: Vec<String> = batch.moves.iter().map(|part| told(part, &batch.nodes)).collect();
        table.row(vec![number.to_string(), nodes, moves.join("; ")]);
    }
    table.print()
}

fn told(part: &Move, nodes: &[String]) -> String {
    match part {
        Move::Pause(time) => format!("pause for {}", units::seconds(*time)),
        Move::Do(act, group) => {
            let names =
                if group.names.is_empty() { String::new() } else { format!(" {}", fold(&group.names)) };
            let others =
                if group.nodes == nodes { String::new() } else { format!(" on {}", fold(&group.nodes)) };
            format!("{}{names}{others}", act.word())
        }
    }
}

/// The nodes that are in no batch, and the counts.
pub(crate) fn rest(outcome: &Outcome) -> String {
    let counts = counts(outcome, |state| if state == NodeState::Done { "planned" } else { word(state) });
    let counts = counts.split(" in ").next().unwrap_or_default();
    format!("{}{counts}; nothing was changed\n", groups(outcome, |row| row.state != NodeState::Done))
}

/// `[{"nodes": […], "steps": [{"do": "stop", "watchers": […], "nodes": […]}, {"pause": 1.5}]}]`.
pub(crate) fn json(batches: &[Batch]) -> Value {
    let step = |part: &Move| match part {
        Move::Pause(time) => json!({"pause": time.as_secs_f64()}),
        Move::Do(act, group) => json!({"do": act.word(), "watchers": group.names, "nodes": group.nodes}),
    };
    let batch = |batch: &Batch| json!({"nodes": batch.nodes, "steps": batch.moves.iter().map(step).collect::<Value>()});
    batches.iter().map(batch).collect()
}

//! What a look before a start has found: each finding once, below it what to do, the worst last.

use circus_protocol::service::preflight::{Finding, Grade};
use serde_json::Value;

use super::table::{Table, plain};
use super::{grouped, groups, set};
use crate::outcome::{NodeOutcome, Outcome};

/// The findings, then the nodes that could not be looked at.
pub(super) fn preflight(outcome: &Outcome) -> String {
    let mut clean = Table::default();
    let is_clean = |node: &&NodeOutcome| is_looked_at(node) && of(node).next().is_none();
    let key = |node: &NodeOutcome| (services(node), node.data.get("checks").and_then(Value::as_u64));
    for ((services, checks), nodes) in grouped(outcome.nodes.iter().filter(is_clean), key) {
        let checks = checks.unwrap_or_default();
        let what = if services.is_empty() { "no service".to_owned() } else { services };
        let looked = format!("{what}: {checks} checks and nothing found");
        clean.row(vec!["clean".to_owned(), set(&nodes), looked]);
    }
    clean.print() + &remarks(outcome)
}

/// The same without those where nothing was found.
pub(crate) fn remarks(outcome: &Outcome) -> String {
    findings(outcome) + &groups(outcome, |node| !is_looked_at(node))
}

/// `problem  node[02-03] (2)  cassandra: port 7000 is taken: …`, and the remedy on a line of its own.
fn findings(outcome: &Outcome) -> String {
    let mut known: Vec<(Finding, Vec<&NodeOutcome>)> = Vec::new();
    for node in &outcome.nodes {
        for finding in of(node) {
            match known.iter_mut().find(|(other, _)| *other == finding) {
                Some((_, nodes)) => nodes.push(node),
                None => known.push((finding, vec![node])),
            }
        }
    }
    known.sort_by_key(|(finding, _)| finding.grade);
    let mut text = String::new();
    for (finding, nodes) in known {
        for line in finding.lines(&set(&nodes)) {
            text.push_str(&plain(&line));
            text.push('\n');
        }
    }
    text
}

/// Whether there is a problem among the findings: the start would not succeed.
pub(crate) fn any_problem(outcome: &Outcome) -> bool {
    outcome.nodes.iter().flat_map(of).any(|finding| finding.grade == Grade::Problem)
}

fn of(node: &NodeOutcome) -> impl Iterator<Item = Finding> {
    let found = node.data.get("findings").and_then(Value::as_array);
    found.into_iter().flatten().map(Finding::from_json)
}

fn is_looked_at(node: &NodeOutcome) -> bool {
    node.data.get("findings").is_some()
}

fn services(node: &NodeOutcome) -> String {
    let names = node.data.get("services").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::outcome::NodeState;

    #[test]
    fn each_finding_is_said_once_and_the_worst_last() {
        let finding = |service: &str, grade: &str, text: &str| json!({"service": service, "check": "x", "grade": grade, "text": text, "remedy": "mend it"});
        let name = finding("", "warning", "no name");
        let port = finding("db", "problem", "taken\u{1b}[2J");
        let row = |node: &str, state, data| NodeOutcome {
            node: node.to_owned(),
            state,
            reason: "why".to_owned(),
            daemon: None,
            data,
            elapsed: Duration::ZERO,
        };
        let told = |findings: Value| json!({"services": ["db"], "checks": 7, "findings": findings});
        let outcome = Outcome {
            nodes: vec![
                row("n1", NodeState::Failed, told(json!([port, name]))),
                row("n2", NodeState::Done, told(json!([name]))),
                row("n3", NodeState::Done, told(json!([]))),
                row("n4", NodeState::Refused, Value::Null),
            ],
            elapsed: Duration::ZERO,
        };
        assert_eq!(
            preflight(&outcome),
            "clean  n3  db: 7 checks and nothing found\n\
             warning  n[1-2] (2)  no name\n         mend it\n\
             problem  n1  db: taken [2J\n         mend it\n\
             refused  n4  why\n"
        );
        assert!(any_problem(&outcome));
    }
}

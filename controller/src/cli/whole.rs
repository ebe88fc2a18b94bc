//! Resets that make sense only for a whole cluster: a ring of which half the nodes have forgotten
//! everything is no ring. Before anything is moved, all nodes are asked, targeted or not, which services
//! these are and whether any of them runs.
//!
//! A node that cannot be reached cannot be asked; it is left out here, and shows in the reset's own result.

use std::collections::{BTreeMap, BTreeSet};

use circus_protocol::command::ResetKind;
use circus_protocol::service::{RuleKind, Services};
use serde_json::{Map, Value, json};

use super::exit::Exit;
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, perform};
use crate::inventory::fold::counted;
use crate::outcome::{Operation, Outcome, ResetRequest};
use crate::render::watchers_of;

/// Ends the command if a service of the reset is for the whole cluster and runs anywhere that it will not
/// be stopped.
pub(super) async fn refuse_half(
    session: &mut Session,
    global: &Global,
    request: &ResetRequest,
    targets: &[String],
) -> Result<(), Stop> {
    let hello = Operation::Call { command: "hello".to_owned(), properties: json!({}) };
    let greetings = asked(session, global, &hello).await?;
    let whole = whole_services(&greetings, session.fleet.services(), request);
    if whole.is_empty() {
        return Ok(());
    }
    let states = asked(session, global, &Operation::Status { names: Vec::new() }).await?;
    let stopped = |node: &str| request.stop && targets.iter().any(|target| target == node);
    let running = running(&states, &whole, stopped);
    if running.is_empty() { Ok(()) } else { Err(Stop::new(Exit::Failed, refusal(&running))) }
}

async fn asked(session: &mut Session, global: &Global, operation: &Operation) -> Result<Outcome, Stop> {
    let all: Vec<String> = session.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect();
    perform::asked(session, global, operation, READ_TIMEOUT, &all).await
}

/// The services of this reset that are for all nodes together, in lower case: as the nodes say, and for
/// stock nodes as the services file says.
fn whole_services(
    greetings: &Outcome,
    services: Option<&Services>,
    request: &ResetRequest,
) -> BTreeSet<String> {
    let wanted = |kind: &str| match request.kind {
        ResetKind::All => true,
        ResetKind::Data => kind == RuleKind::Data.word(),
        ResetKind::Log => kind == RuleKind::Log.word(),
    };
    let is_meant = |name: &str| {
        request.services.is_empty() || request.services.iter().any(|one| one.to_lowercase() == name)
    };
    let mut whole = BTreeSet::new();
    for watcher in greetings.nodes.iter().filter_map(watchers_of).flat_map(Map::values) {
        let mut kinds = watcher.get("cluster_resets").and_then(Value::as_array).into_iter().flatten();
        if let Some(name) = watcher.get("service").and_then(Value::as_str)
            && kinds.any(|kind| kind.as_str().is_some_and(wanted))
        {
            whole.insert(name.to_lowercase());
        }
    }
    for service in services.into_iter().flat_map(|services| &services.services) {
        if service.cluster_resets().into_iter().any(|kind| wanted(kind.word())) {
            whole.insert(service.name.to_lowercase());
        }
    }
    whole.retain(|name| is_meant(name));
    whole
}

/// Each service, and the nodes that run it and will not be stopped.
fn running(
    states: &Outcome,
    whole: &BTreeSet<String>,
    stopped: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<String>> {
    let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in states.nodes.iter().filter(|node| !stopped(&node.node)) {
        for (watcher, state) in watchers_of(node).into_iter().flatten() {
            let name = watcher.to_lowercase();
            if whole.contains(&name) && state != "stopped" {
                running.entry(name).or_default().push(node.node.clone());
            }
        }
    }
    running
}

fn refusal(running: &BTreeMap<String, Vec<String>>) -> String {
    let each = running.iter().map(|(service, nodes)| format!("{service} is running on {}", counted(nodes)));
    let each: Vec<String> = each.collect();
    format!(
        "{}; it is reset while it is stopped on all nodes, or not at all: stop it there first",
        each.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use circus_protocol::ini::Ini;

    use super::*;
    use crate::outcome::{NodeOutcome, NodeState};

    fn outcome(rows: &[(&str, Value)]) -> Outcome {
        let node = |(name, watchers): &(&str, Value)| NodeOutcome {
            node: (*name).to_owned(),
            state: NodeState::Done,
            reason: String::new(),
            daemon: None,
            data: json!({ "watchers": watchers }),
            elapsed: Duration::ZERO,
        };
        Outcome { nodes: rows.iter().map(node).collect(), elapsed: Duration::ZERO }
    }

    fn request(kind: ResetKind, services: &[&str]) -> ResetRequest {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        ResetRequest { services, kind, dry_run: false, stop: false, undo: false, keep: None }
    }

    #[test]
    fn a_half_is_refused_by_name() {
        let hello = outcome(&[
            (
                "a",
                json!({"Cassandra": {"service": "Cassandra", "cluster_resets": ["data"]}, "web": {"service": null}}),
            ),
            ("b", json!({})),
        ]);
        let text = "[reset:neo4j:data]\nroot = /srv/x\ndelete = *\nscope = cluster\n";
        let ini = Ini::parse(text, "s.ini").unwrap();
        let services = Services::from_ini(&ini, std::path::Path::new("/")).unwrap();
        let whole = |kind, names: &[&str]| -> Vec<String> {
            whole_services(&hello, Some(&services), &request(kind, names)).into_iter().collect()
        };
        assert_eq!(whole(ResetKind::Data, &[]), ["cassandra", "neo4j"]);
        assert_eq!(whole(ResetKind::All, &["CASSANDRA"]), ["cassandra"]);
        assert_eq!(whole(ResetKind::Log, &[]), Vec::<String>::new());
        let states = outcome(&[
            ("a", json!({"cassandra": "stopped", "neo4j": "active"})),
            ("b", json!({"cassandra": "active"})),
            ("c", json!({"Cassandra": "stopping"})),
        ]);
        let names = BTreeSet::from(["cassandra".to_owned()]);
        let found = running(&states, &names, |_| false);
        assert!(refusal(&found).starts_with("cassandra is running on b,c (2); "), "{}", refusal(&found));
        assert_eq!(running(&states, &names, |node| node != "c")["cassandra"], ["c"]);
        assert!(running(&states, &names, |_| true).is_empty());
    }
}

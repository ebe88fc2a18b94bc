//! Resets that make sense only for a whole cluster: a ring of which half the nodes have forgotten
//! everything is no ring. Before anything is moved, all nodes are asked, targeted or not, which services
//! these are and whether any of them runs.
//!
//! A node that cannot be reached cannot be asked; it is left out here, and shows in the reset's own result.

use std::collections::{BTreeMap, BTreeSet};

use super::exit::Exit;
use super::session::Stop;
use super::survey::Survey;
use crate::inventory::fold::counted;
use crate::outcome::ResetRequest;

/// Ends the command if a service of the reset is for the whole cluster and runs anywhere that it will not
/// be stopped.
pub(super) fn refuse_half(survey: &Survey, request: &ResetRequest, targets: &[String]) -> Result<(), Stop> {
    let stopped = |node: &str| request.stop && targets.iter().any(|target| target == node);
    let running = running(survey, &whole_services(survey, request), stopped);
    if running.is_empty() { Ok(()) } else { Err(Stop::new(Exit::Failed, refusal(&running))) }
}

/// The services of this reset that are for all nodes together, in lower case.
fn whole_services(survey: &Survey, request: &ResetRequest) -> BTreeSet<String> {
    let is_meant = |name: &str| {
        request.services.is_empty() || request.services.iter().any(|one| one.to_lowercase() == name)
    };
    survey
        .services()
        .filter(|service| service.cluster_resets.iter().any(|kind| kind.is_part_of(request.kind)))
        .map(|service| service.service.to_lowercase())
        .filter(|name| is_meant(name))
        .collect()
}

/// Each service, and the nodes that run it and will not be stopped.
fn running(
    survey: &Survey,
    whole: &BTreeSet<String>,
    stopped: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<String>> {
    let mut running: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (node, watcher) in survey.running().filter(|(node, _)| !stopped(node)) {
        let name = watcher.to_lowercase();
        if whole.contains(&name) {
            running.entry(name).or_default().push(node.to_owned());
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
    use circus_protocol::command::ResetKind;
    use serde_json::json;

    use super::*;

    fn request(kind: ResetKind, services: &[&str]) -> ResetRequest {
        let services = services.iter().map(|name| (*name).to_owned()).collect();
        ResetRequest { services, kind, dry_run: false, stop: false, undo: false, keep: None }
    }

    #[test]
    fn a_half_is_refused_by_name() {
        let survey = Survey::told(&[
            (
                "a",
                json!({
                    "watchers": {"cassandra": "stopped", "neo4j": "active"},
                    "services": {
                        "Cassandra": {"cluster_resets": "data"}, "neo4j": {"cluster_resets": "data"},
                        "web": {},
                    },
                }),
            ),
            ("b", json!({"watchers": {"cassandra": "active"}})),
            ("c", json!({"watchers": {"Cassandra": "stopping"}, "services": {}})),
        ]);
        let whole = |kind, names: &[&str]| -> Vec<String> {
            whole_services(&survey, &request(kind, names)).into_iter().collect()
        };
        assert_eq!(whole(ResetKind::Data, &[]), ["cassandra", "neo4j"]);
        assert_eq!(whole(ResetKind::All, &["CASSANDRA"]), ["cassandra"]);
        assert_eq!(whole(ResetKind::Log, &[]), Vec::<String>::new());
        let names = BTreeSet::from(["cassandra".to_owned()]);
        let found = running(&survey, &names, |_| false);
        assert!(refusal(&found).starts_with("cassandra is running on b,c (2); "), "{}", refusal(&found));
        assert_eq!(running(&survey, &names, |node| node != "c")["cassandra"], ["c"]);
        assert!(running(&survey, &names, |_| true).is_empty());
        let refused = refuse_half(&survey, &request(ResetKind::All, &["cassandra"]), &[]);
        assert_eq!(refused.expect_err("two run").exit, Exit::Failed);
    }
}

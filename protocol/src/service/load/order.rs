//! Who comes after whom on one node: every name is somebody's, and nobody waits for itself.

use std::collections::BTreeMap;

use super::super::Services;
use super::super::keys::{Kind, nearest};
use super::super::value;
use super::ServiceError;
use super::build::entry;
use super::sort::Sorted;
use crate::ini::Ini;

/// Adds what is wrong with `after` and `conflicts`.
pub(super) fn check(sorted: &Sorted<'_>, services: &Services, ini: &Ini, errors: &mut Vec<ServiceError>) {
    let own = services.services.iter().map(|service| service.name.as_str());
    let watchers = || ini.sections.iter().filter_map(|section| section.name.strip_prefix("watcher:"));
    let known: Vec<String> = own.chain(watchers()).map(str::to_lowercase).collect();
    // A file for the console describes services and runs nothing.
    let runs = watchers().next().is_some();
    let after: BTreeMap<String, Vec<String>> = services
        .services
        .iter()
        .map(|service| {
            let names = service.after.iter().map(|dependency| dependency.service.to_lowercase());
            (service.name.to_lowercase(), names.collect())
        })
        .collect();
    for part in sorted.parts.iter().filter(|part| part.kind == Kind::Service) {
        let Some(entry) = entry(part, "after") else { continue };
        let mut fault = |reason: String| {
            errors.push(ServiceError::Value {
                place: entry.place(),
                section: part.title.clone(),
                key: "after".to_owned(),
                reason,
            });
        };
        let own = part.service.to_lowercase();
        for dependency in value::dependencies(&entry.value).unwrap_or_default() {
            let name = dependency.service.to_lowercase();
            if runs && !known.contains(&name) {
                let meant = super::suggestion(nearest(&name, known.iter().map(String::as_str)));
                let remedy = "; if it runs on another node, write `after =` and nothing behind it";
                let remedy = if meant.is_empty() { remedy } else { &meant };
                fault(format!("there is no watcher {:?}{remedy}", dependency.service));
            } else if let Some(path) = path(&after, &name, &own) {
                fault(format!("{own} would wait for itself ({own} after {})", path.join(" after ")));
            }
        }
        let conflicts = services.get(&own).map(|service| service.conflicts.as_slice()).unwrap_or_default();
        let torn = after
            .get(&own)
            .into_iter()
            .flatten()
            .find(|name| conflicts.iter().any(|conflict| conflict.to_lowercase() == **name));
        if let Some(name) = torn {
            fault(format!(
                "{own} cannot come after {name:?} and be in conflict with it; remove one of the two"
            ));
        }
    }
}

/// The names on the way from one service to another, both included.
fn path(after: &BTreeMap<String, Vec<String>>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut seen: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            let step = |at: &&str| seen.get(*at).copied().flatten();
            let mut way: Vec<String> = std::iter::successors(Some(name), step).map(str::to_owned).collect();
            way.reverse();
            return Some(way);
        }
        for next in after.get(name).into_iter().flatten() {
            if !seen.contains_key(next.as_str()) {
                seen.insert(next, Some(name));
                open.push(next);
            }
        }
    }
    None
}

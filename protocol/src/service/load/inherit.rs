//! What profiles add to the services that use them. A key counts where it is nearest to the operator:
//!
//! ```text
//! the section itself ─► [service:NAME] dotted key ─► [list:*], [value:*] ─► [profile:A] ─► the profile A uses ─► …
//! ```
//!
//! A profile that the operator has not written is one of those that are shipped; of one that is both,
//! the operator's keys count first.

use super::super::keys::{Kind, family, nearest};
use super::super::shipped;
use super::ServiceError;
use super::sort::{Part, dotted, same_name};
use crate::ini::{Entry, Ini};

/// How deep a profile may use another.
const MAX_PROFILES: usize = 8;

/// How many keys all services together may have from profiles. A profile has a few dozen.
pub(crate) const MAX_HANDED_DOWN: usize = 20_000;

/// How many keys one profile may have.
pub(crate) const MAX_PROFILE: usize = 500;

/// Adds the shipped profiles that the sections use, directly or through others.
pub(super) fn add_shipped(ini: &mut Ini) {
    let mut wanted: Vec<String> = ini
        .sections
        .iter()
        .filter(|section| section.name.starts_with("service:") || section.name.starts_with("profile:"))
        .filter_map(|section| section.text("use").map(str::to_owned))
        .collect();
    let mut added: Vec<String> = Vec::new();
    while let Some(name) = wanted.pop() {
        if added.contains(&name) {
            continue;
        }
        // A shipped file that is no ini is found by a test of all of them.
        if let Some(profile) = shipped::profile(&name).and_then(|profile| profile.ini().ok()) {
            let uses = profile.sections.iter().filter_map(|section| section.text("use").map(str::to_owned));
            wanted.extend(uses);
            ini.merge(profile);
        }
        added.push(name);
    }
}

/// Lays the profiles' keys under those of the services that use them.
pub(super) fn inherit<'a>(parts: &mut Vec<Part<'a>>, profiles: &[Part<'a>], errors: &mut Vec<ServiceError>) {
    let Some(users) = users(parts, profiles, errors) else { return parts.clear() };
    for part in parts.iter_mut().filter(|part| part.kind == Kind::Service) {
        part.uses_profile = part.entries.iter().any(|(key, _)| *key == "use");
        part.entries.retain(|(key, _)| dotted(key).is_none());
    }
    for (service, keys) in users {
        for (key, entry) in &keys.own {
            if let Some((kind, label, last)) = dotted(key) {
                add(parts, kind, &service, &label, (last, entry));
            }
        }
        let mut settled = values_of(&keys.own);
        let names: Vec<(Kind, String)> = keys
            .own
            .iter()
            .chain(&keys.inherited)
            .filter_map(|(key, _)| dotted(key).map(|(kind, label, _)| (kind, label)))
            .collect();
        for (kind, label) in names {
            if !is_in(&settled, kind, &label) && lay_global(parts, kind, &service, &label) {
                settled.push(label);
            }
        }
        for (key, entry) in keys.inherited {
            let (kind, label, last) = dotted(key).unwrap_or((Kind::Service, String::new(), key));
            if is_in(&settled, kind, &label) {
                continue;
            }
            add(parts, kind, &service, &label, (last, entry));
        }
    }
    drop_emptied(parts);
}

/// What each service brings along; `None` when that is too much.
fn users<'a>(
    parts: &[Part<'a>],
    profiles: &[Part<'a>],
    errors: &mut Vec<ServiceError>,
) -> Option<Vec<(String, Keys<'a>)>> {
    let mut users = Vec::new();
    let mut left = MAX_HANDED_DOWN;
    // A profile that nobody uses may still use another, which must exist.
    for part in parts.iter().filter(|part| part.kind == Kind::Service).chain(profiles) {
        let own: Vec<_> = part.entries.iter().filter(|(key, _)| dotted(key).is_some()).copied().collect();
        let inherited = profile_keys(part, profiles, errors);
        let is_service = part.kind == Kind::Service;
        let brings = inherited.len() + if is_service { own.len() } else { 0 };
        let Some(rest) = left.checked_sub(brings) else {
            let reason = format!("all profiles and services together bring more than {MAX_HANDED_DOWN} keys");
            let (place, section) = (part.place.clone(), part.title.clone());
            errors.push(ServiceError::Title { place, section, reason });
            return None;
        };
        left = rest;
        if is_service {
            users.push((part.service.clone(), Keys { own, inherited }));
        }
    }
    errors.dedup();
    Some(users)
}

/// An empty value takes back what a profile says: the key counts as not written, and a probe, a file
/// or a reset without any key left as not there. Texts may well be empty.
fn drop_emptied(parts: &mut Vec<Part<'_>>) {
    for part in parts.iter_mut().filter(|part| !matches!(part.kind, Kind::List | Kind::Value)) {
        let had_keys = !part.entries.is_empty();
        part.entries.retain(|(key, entry)| !entry.value.is_empty() || family(key).is_some());
        part.emptied = had_keys && part.entries.is_empty() && part.kind != Kind::Service;
    }
    parts.retain(|part| !part.emptied);
}

/// What one service brings along: its own dotted keys, and its profiles'.
struct Keys<'a> {
    own: Vec<(&'a str, &'a Entry)>,
    inherited: Vec<(&'a str, &'a Entry)>,
}

/// `[list:seeds]` and `[value:heap]` are for all services; they count before a profile's. Whether there
/// is one.
fn lay_global<'a>(parts: &mut Vec<Part<'a>>, kind: Kind, service: &str, name: &str) -> bool {
    if !matches!(kind, Kind::List | Kind::Value) {
        return false;
    }
    let global = parts.iter().find(|part| part.kind == kind && part.label.is_empty() && part.service == name);
    let entries = global.map(|part| part.entries.clone()).unwrap_or_default();
    let found = !entries.is_empty();
    for entry in entries {
        add(parts, kind, service, name, entry);
    }
    found
}

/// Keys that are about a profile itself.
const ABOUT: [&str; 4] = ["use", "product", "versions", "service"];

/// All keys of the chain of profiles that a section uses; the nearest profile wins.
fn profile_keys<'a>(
    user: &Part<'a>,
    profiles: &[Part<'a>],
    errors: &mut Vec<ServiceError>,
) -> Vec<(&'a str, &'a Entry)> {
    let mut keys: Vec<(&'a str, &'a Entry)> = Vec::new();
    let mut current = user;
    for _ in 0..MAX_PROFILES {
        let Some((_, entry)) = current.entries.iter().find(|(key, _)| *key == "use") else { return keys };
        let Some(profile) = profiles.iter().find(|profile| profile.service == entry.value) else {
            errors.push(value_error(current, entry, no_profile(&entry.value, profiles)));
            return keys;
        };
        let settled = values_of(&keys);
        for (key, entry) in &profile.entries {
            let is_settled = dotted(key).is_some_and(|(kind, label, _)| is_in(&settled, kind, &label));
            if !is_settled && !ABOUT.contains(key) && !keys.iter().any(|(mine, _)| mine == key) {
                keys.push((key, entry));
            }
        }
        current = profile;
    }
    if let Some((_, entry)) = user.entries.iter().find(|(key, _)| *key == "use") {
        let reason = format!("the chain of profiles is longer than {MAX_PROFILES}, or goes in a circle");
        errors.push(value_error(user, entry, reason));
    }
    keys
}

fn no_profile(name: &str, profiles: &[Part<'_>]) -> String {
    let own = profiles.iter().map(|profile| profile.service.as_str());
    let close = nearest(name, own).or_else(|| nearest(name, shipped::names()));
    match close {
        Some(close) => format!("there is no [profile:{name}]; did you mean `{close}`?"),
        None => format!("there is no [profile:{name}]; `circusd-rs profiles` lists those that are shipped"),
    }
}

/// The values that some keys say. A value is one thing: who says another text does not mean the
/// profile's condition.
fn values_of(keys: &[(&str, &Entry)]) -> Vec<String> {
    keys.iter()
        .filter_map(|(key, _)| dotted(key))
        .filter(|(kind, _, _)| *kind == Kind::Value)
        .map(|(_, label, _)| label)
        .collect()
}

fn is_in(settled: &[String], kind: Kind, label: &String) -> bool {
    kind == Kind::Value && settled.contains(label)
}

fn value_error(part: &Part<'_>, entry: &Entry, reason: String) -> ServiceError {
    ServiceError::Value { place: entry.place(), section: part.title.clone(), key: entry.key.clone(), reason }
}

/// Adds a profile's key to the section it is for, unless that has its own.
fn add<'a>(parts: &mut Vec<Part<'a>>, kind: Kind, service: &str, label: &str, key: (&'a str, &'a Entry)) {
    let same =
        |part: &&mut Part<'a>| part.kind == kind && part.label == label && same_name(&part.service, service);
    match parts.iter_mut().find(same) {
        Some(part) => {
            if !part.entries.iter().any(|(mine, _)| *mine == key.0) {
                part.entries.push(key);
            }
        }
        None => parts.push(Part {
            kind,
            service: service.to_owned(),
            label: label.to_owned(),
            title: format!("{}:{service}:{label}", kind.word()),
            place: key.1.place(),
            entries: vec![key],
            emptied: false,
            uses_profile: false,
        }),
    }
}

//! Titles and keys: which sections are ours, whose they are, and what a profile adds to them.

use super::super::keys::{Kind, nearest, probably_meant};
use super::ServiceError;
use crate::ini::{Entry, Ini, Place, Section};

/// How deep a profile may use another.
const MAX_PROFILES: usize = 8;

/// One section of ours: `[config:neo4j:server]` has the kind, `neo4j`, and `server`.
pub(super) struct Part<'a> {
    pub(super) kind: Kind,
    pub(super) service: String,
    pub(super) label: String,
    /// For messages.
    pub(super) title: String,
    pub(super) place: Place,
    /// Own keys first, then those of the profile that the section has not.
    pub(super) entries: Vec<(&'a str, &'a Entry)>,
}

pub(super) struct Sorted<'a> {
    pub(super) parts: Vec<Part<'a>>,
    pub(super) warnings: Vec<String>,
}

pub(super) fn sort<'a>(ini: &'a Ini, errors: &mut Vec<ServiceError>) -> Sorted<'a> {
    let mut sorted = Sorted { parts: Vec::new(), warnings: Vec::new() };
    let mut profiles = Vec::new();
    for section in &ini.sections {
        let (word, rest) = section.name.split_once(':').unwrap_or((&section.name, ""));
        let Some(kind) = Kind::from_word(word) else {
            if let Some(meant) = probably_meant(word) {
                let (place, name) = (section.place(), &section.name);
                sorted.warnings.push(format!("{place}: [{name}] is ignored; did you mean [{meant}:…]?"));
            }
            continue;
        };
        match part(kind, rest, section, errors) {
            Some(part) if kind == Kind::Profile => profiles.push(part),
            Some(part) => sorted.parts.push(part),
            None => {}
        }
    }
    inherit(&mut sorted.parts, &profiles, errors);
    sorted
}

/// Checks a title and its keys.
fn part<'a>(
    kind: Kind,
    rest: &str,
    section: &'a Section,
    errors: &mut Vec<ServiceError>,
) -> Option<Part<'a>> {
    let names: Vec<&str> = rest.split(':').collect();
    let (service, label) = match (kind, names.as_slice()) {
        (Kind::Service | Kind::Profile | Kind::List, [name]) => (*name, String::new()),
        (Kind::Config | Kind::Probe | Kind::Reset, [name, label]) => (*name, (*label).to_owned()),
        (Kind::Reset, [name, kind, label]) if !label.is_empty() => (*name, format!("{kind}:{label}")),
        _ => ("", String::new()),
    };
    let labelled = matches!(kind, Kind::Config | Kind::Probe | Kind::Reset);
    if service.is_empty() || (labelled && label.is_empty()) {
        let reason = format!("the title of such a section is {}", kind.title());
        errors.push(ServiceError::Title { place: section.place(), section: section.name.clone(), reason });
        return None;
    }
    let mut entries = Vec::new();
    for entry in &section.entries {
        // What comes from [DEFAULT] is meant for whoever knows it.
        if known(kind, &entry.key) {
            entries.push((entry.key.as_str(), entry));
        } else if !entry.inherited {
            errors.push(unknown_key(kind, section, entry));
        }
    }
    let (title, place) = (section.name.clone(), section.place());
    Some(Part { kind, service: service.to_owned(), label, title, place, entries })
}

fn known(kind: Kind, key: &str) -> bool {
    if kind.keys().contains(&key) {
        return true;
    }
    kind == Kind::Profile && dotted(key).is_some_and(|(inner, _, last)| inner.keys().contains(&last))
}

/// `config.yaml.target` → config, `yaml`, `target`; a reset's label may hold a second dot for its root.
fn dotted(key: &str) -> Option<(Kind, String, &str)> {
    let (word, rest) = key.split_once('.')?;
    let kind = Kind::from_word(word)?;
    let (label, last) = rest.rsplit_once('.')?;
    let nested = matches!(kind, Kind::Config | Kind::Probe | Kind::Reset);
    let label = if kind == Kind::Reset { label.replacen('.', ":", 1) } else { label.to_owned() };
    nested.then_some((kind, label, last))
}

fn unknown_key(kind: Kind, section: &Section, entry: &Entry) -> ServiceError {
    let inner = if kind == Kind::Profile { dotted(&entry.key) } else { None };
    let suggestion = match &inner {
        Some((inner, _, last)) => nearest(last, inner.keys().iter().copied()).map(|word| {
            let stem = entry.key.strip_suffix(last).unwrap_or_default();
            format!("{stem}{word}")
        }),
        None => nearest(&entry.key, kind.keys().iter().copied()).map(str::to_owned),
    };
    ServiceError::UnknownKey {
        place: entry.place(),
        section: section.name.clone(),
        key: entry.key.clone(),
        nearest: suggestion,
    }
}

/// Lays the profiles' keys under those of the services that use them.
fn inherit<'a>(parts: &mut Vec<Part<'a>>, profiles: &[Part<'a>], errors: &mut Vec<ServiceError>) {
    let users: Vec<(String, Vec<(&'a str, &'a Entry)>)> = parts
        .iter()
        .filter(|part| part.kind == Kind::Service)
        .map(|part| (part.service.clone(), profile_keys(part, profiles, errors)))
        .collect();
    // A profile that nobody uses may still use another, which must exist.
    for profile in profiles {
        profile_keys(profile, profiles, errors);
    }
    errors.dedup();
    for (service, keys) in users {
        for (key, entry) in keys {
            let (kind, label, last) = dotted(key).unwrap_or((Kind::Service, String::new(), key));
            add(parts, kind, &service, &label, (last, entry));
        }
    }
}

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
            let close = nearest(&entry.value, profiles.iter().map(|profile| profile.service.as_str()));
            let reason = format!("there is no [profile:{}]{}", entry.value, super::suggestion(close));
            errors.push(value_error(current, entry, reason));
            return keys;
        };
        for (key, entry) in &profile.entries {
            if *key != "use" && !keys.iter().any(|(mine, _)| mine == key) {
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

fn value_error(part: &Part<'_>, entry: &Entry, reason: String) -> ServiceError {
    ServiceError::Value { place: entry.place(), section: part.title.clone(), key: entry.key.clone(), reason }
}

/// Adds a profile's key to the section it is for, unless that has its own.
fn add<'a>(parts: &mut Vec<Part<'a>>, kind: Kind, service: &str, label: &str, key: (&'a str, &'a Entry)) {
    let same = |part: &&mut Part<'a>| part.kind == kind && part.service == service && part.label == label;
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
        }),
    }
}

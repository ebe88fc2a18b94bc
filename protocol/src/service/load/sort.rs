//! Titles and keys: which sections are ours, and whose they are.

use super::super::keys::{FAMILIES, Kind, family, nearest, probably_meant};
use super::ServiceError;
use super::inherit::{MAX_PROFILE, inherit};
use crate::ini::{Entry, Ini, Place, Section};

/// How many sections of ours a configuration may have. A node has a few dozen.
pub(crate) const MAX_SECTIONS: usize = 1000;

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
    /// All its keys were taken back.
    pub(super) emptied: bool,
    /// It is a service, and uses a profile.
    pub(super) uses_profile: bool,
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
        if sorted.parts.len() + profiles.len() == MAX_SECTIONS {
            let reason = format!("there are more than {MAX_SECTIONS} sections about services");
            let (place, section) = (section.place(), section.name.clone());
            errors.push(ServiceError::Title { place, section, reason });
            return Sorted { parts: Vec::new(), warnings: sorted.warnings };
        }
        match part(kind, rest, section, errors) {
            Some(part) if kind == Kind::Profile && part.entries.len() > MAX_PROFILE => {
                let reason = format!("a profile has no more than {MAX_PROFILE} keys");
                errors.push(ServiceError::Title { place: part.place, section: part.title, reason });
            }
            Some(part) if kind == Kind::Profile => profiles.push(part),
            Some(part) => sorted.parts.push(part),
            None => {}
        }
    }
    inherit(&mut sorted.parts, &profiles, errors);
    sorted
}

/// Names are those of watchers, for which case does not matter.
pub(super) fn same_name(one: &str, two: &str) -> bool {
    one.chars().flat_map(char::to_lowercase).eq(two.chars().flat_map(char::to_lowercase))
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
        (Kind::Service | Kind::Profile | Kind::List | Kind::Value, [name]) => (*name, String::new()),
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
    Some(Part {
        kind,
        service: service.to_owned(),
        label,
        title,
        place,
        entries,
        emptied: false,
        uses_profile: false,
    })
}

fn known(kind: Kind, key: &str) -> bool {
    if kind.keys().any(|known| known == key) {
        return true;
    }
    let is_user = matches!(kind, Kind::Service | Kind::Profile);
    is_user
        && (family(key).is_some()
            || dotted(key).is_some_and(|(inner, _, last)| inner.keys().any(|known| known == last)))
}

/// `config.yaml.target` → config, `yaml`, `target`; a reset's label may hold a second dot for its root,
/// and `value.heap` is short for `value.heap.text`.
pub(super) fn dotted(key: &str) -> Option<(Kind, String, &str)> {
    let (word, rest) = key.split_once('.')?;
    let kind = Kind::from_word(word)?;
    let (label, last) = match rest.rsplit_once('.') {
        Some(parts) => parts,
        None if kind == Kind::Value => (rest, "text"),
        None => return None,
    };
    let label = if kind == Kind::Reset { label.replacen('.', ":", 1) } else { label.to_owned() };
    (kind.is_nested() && !label.is_empty()).then_some((kind, label, last))
}

fn unknown_key(kind: Kind, section: &Section, entry: &Entry) -> ServiceError {
    let inner = if matches!(kind, Kind::Profile | Kind::Service) { dotted(&entry.key) } else { None };
    let suggestion = match &inner {
        Some((inner, _, last)) => nearest(last, inner.keys()).map(|word| {
            let stem = entry.key.strip_suffix(last).unwrap_or_default();
            format!("{stem}{word}")
        }),
        None => {
            nearest_dotted(kind, &entry.key).or_else(|| nearest(&entry.key, kind.keys()).map(str::to_owned))
        }
    };
    ServiceError::UnknownKey {
        place: entry.place(),
        section: section.name.clone(),
        key: entry.key.clone(),
        nearest: suggestion,
    }
}

/// For `watchr.cmd`: the first word of a dotted key is what is misspelt.
fn nearest_dotted(kind: Kind, key: &str) -> Option<String> {
    let (word, rest) = key.split_once('.').filter(|_| matches!(kind, Kind::Profile | Kind::Service))?;
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_nested()).map(Kind::word);
    let meant = nearest(word, kinds.chain(FAMILIES)).filter(|meant| *meant != word)?;
    Some(format!("{meant}.{rest}"))
}

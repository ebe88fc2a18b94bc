//! Lays what a profile gives to a service's watcher under the operator's own sections, before those are
//! read: from there on it is configuration like any other, faults and places included.
//!
//! ```text
//! options:      [watcher:NAME]  before  watcher.* of the profile
//! environment:  [env:PATTERN], [env]  before  env.* of the profile
//! ```

use circus_protocol::ini::{Entry, Ini, Section};
use circus_protocol::service::{Service, Services, WatcherDefault};

/// Adds to the watchers of services what their profiles say; a watcher that is not there is made if its
/// profile has a `cmd`.
pub(super) fn lay_under(ini: &mut Ini, services: &Services) {
    for service in &services.services {
        if service.watcher.is_empty() && service.env.is_empty() {
            continue;
        }
        let Some(at) = position(ini, service).or_else(|| added(ini, service)) else { continue };
        let Some(section) = ini.sections.get_mut(at) else { continue };
        for default in &service.watcher {
            let says = |entry: &Entry| entry.key.eq_ignore_ascii_case(&default.key) && !entry.inherited;
            if !section.entries.iter().any(says) {
                section.entries.retain(|entry| entry.key != default.key);
                section.entries.push(entry(default));
            }
        }
        let name = name_of(section).unwrap_or(&service.name).to_owned();
        lay_environment(ini, service, &name);
    }
}

/// First of all sections, because among those that match a watcher the last one counts.
fn lay_environment(ini: &mut Ini, service: &Service, watcher: &str) {
    let global = ini.section("env");
    let open = |default: &&WatcherDefault| global.is_none_or(|env| env.get(&default.key).is_none());
    let entries: Vec<Entry> = service.env.iter().filter(open).map(entry).collect();
    let (file, line) = (service.place.file.clone(), service.place.line);
    ini.sections.insert(0, Section { name: format!("env:{watcher}"), file, line, entries });
}

fn entry(default: &WatcherDefault) -> Entry {
    Entry {
        key: default.key.clone(),
        value: default.value.clone(),
        file: default.place.file.clone(),
        line: default.place.line,
        inherited: false,
    }
}

/// The name of the watcher that a section is about.
fn name_of(section: &Section) -> Option<&str> {
    let title = section.name.strip_prefix("watcher:")?;
    Some(section.text("name").unwrap_or(title))
}

fn position(ini: &Ini, service: &Service) -> Option<usize> {
    let wanted = service.name.to_lowercase();
    ini.sections.iter().position(|section| name_of(section).is_some_and(|name| name.to_lowercase() == wanted))
}

fn added(ini: &mut Ini, service: &Service) -> Option<usize> {
    service.watcher.iter().find(|default| default.key == "cmd")?;
    let (file, line) = (service.place.file.clone(), service.place.line);
    ini.sections.push(Section { name: format!("watcher:{}", service.name), file, line, entries: Vec::new() });
    Some(ini.sections.len() - 1)
}

//! What a service has besides sections: the names that are its own, and the families of keys that say
//! what its watcher gets, what its exit codes mean and where it logs.

use super::super::keys::{Kind, family};
use super::super::scope::Scope;
use super::super::{ExitMeaning, Limit, LogFile, PathText, WatcherDefault};
use super::ServiceError;
use super::build::{Builder, fault, of_kind};
use super::names;
use super::sort::{Part, Sorted, same_name};

impl Builder<'_> {
    /// Reads the lists and values of one service, and makes their names known.
    pub(super) fn own_names(&mut self, service: &str, sorted: &Sorted<'_>, home: bool) {
        let own = |kind| {
            of_kind(sorted, kind)
                .filter(move |part| !part.label.is_empty() && same_name(&part.service, service))
        };
        self.own_lists =
            own(Kind::List).filter_map(|part| names::list(part, &part.label, self.errors)).collect();
        self.listed.extend(self.own_lists.iter().map(|list| list.name.clone()));
        if home {
            self.listed.insert("home".to_owned());
        }
        self.own_values = own(Kind::Value)
            .filter_map(|part| names::value(part, &part.label, &self.listed, self.errors))
            .collect();
        self.names.extend(self.own_lists.iter().map(|list| list.name.clone()));
        self.names.extend(self.own_values.iter().map(|value| value.name.clone()));
    }

    pub(super) fn scope<'s>(&'s self, home: Option<&'s PathText>) -> Scope<'s> {
        Scope {
            lists: self.lists,
            values: self.values,
            own_lists: &self.own_lists,
            own_values: &self.own_values,
            home: home.map(|home| home.text.as_str()),
        }
    }

    /// A profile that is about a directory, used by a service that names none: said once, and not again
    /// for each of its paths.
    pub(super) fn missing_home(&self, service: &str, sorted: &Sorted<'_>) -> Option<PathText> {
        let part = of_kind(sorted, Kind::Service)
            .find(|part| same_name(&part.service, service) && part.uses_profile)?;
        let same = |other: &&Part<'_>| same_name(&other.service, service);
        let wants = |part: &Part<'_>| part.entries.iter().any(|(_, entry)| entry.value.contains("${home}"));
        if !sorted.parts.iter().filter(same).any(wants) {
            return None;
        }
        let (place, section) = (part.place.clone(), part.title.clone());
        self.errors.borrow_mut().push(ServiceError::Missing { place: place.clone(), section, key: "home" });
        Some(PathText { text: "/srv/missing".to_owned(), place })
    }

    /// `watcher.KEY` and `env.NAME`: known before any controller has spoken, so they may only name what
    /// needs no membership.
    pub(super) fn defaults(
        &self,
        part: &Part<'_>,
        word: &str,
        home: Option<&PathText>,
    ) -> Vec<WatcherDefault> {
        let variables = self.scope(home).variables(None);
        let mut defaults = Vec::new();
        for (key, entry) in &part.entries {
            let Some((_, name)) = family(key).filter(|(family, _)| *family == word) else { continue };
            match variables.substitute(&entry.value) {
                Ok(value) => {
                    defaults.push(WatcherDefault { key: name.to_owned(), value, place: entry.place() });
                }
                Err(problems) => {
                    let problems = super::super::template::describe(&problems);
                    let known: Vec<&str> = variables.names().collect();
                    let reason = format!(
                        "{:?}: {problems}; known before the node is configured: {}",
                        entry.value,
                        known.join(" ")
                    );
                    fault(part, entry, key, reason, self.errors);
                }
            }
        }
        defaults
    }

    /// `exit.3 = what it means`.
    pub(super) fn exit_meanings(&self, part: &Part<'_>) -> Vec<ExitMeaning> {
        let mut meanings = Vec::new();
        for (key, entry) in &part.entries {
            let Some((_, code)) = family(key).filter(|(family, _)| *family == "exit") else { continue };
            match code.parse::<u8>() {
                Ok(code) => meanings.push(ExitMeaning { code: code.into(), meaning: entry.value.clone() }),
                Err(_) => {
                    fault(part, entry, key, format!("{code:?} is not an exit code (0 to 255)"), self.errors);
                }
            }
        }
        meanings
    }

    /// `limit.nofile = 100000`, or `unlimited`.
    pub(super) fn limits(&self, part: &Part<'_>) -> Vec<Limit> {
        let mut limits = Vec::new();
        for (key, entry) in &part.entries {
            let Some((_, resource)) = family(key).filter(|(family, _)| *family == "limit") else { continue };
            let least = match entry.value.as_str() {
                "unlimited" => Ok(None),
                number => number.parse().map(Some),
            };
            match least {
                Ok(least) => {
                    limits.push(Limit { resource: resource.to_lowercase(), least, place: entry.place() });
                }
                Err(_) => {
                    let reason = format!("{:?} is neither a number nor `unlimited`", entry.value);
                    fault(part, entry, key, reason, self.errors);
                }
            }
        }
        limits
    }

    /// `log.LABEL = path`.
    pub(super) fn logs(&self, part: &Part<'_>, home: Option<&PathText>) -> Vec<LogFile> {
        let mut logs = Vec::new();
        for (key, entry) in &part.entries {
            let Some((_, label)) = family(key).filter(|(family, _)| *family == "log") else { continue };
            match self.below_home(&entry.value, home) {
                Ok(text) => {
                    let path = PathText { text, place: entry.place() };
                    logs.push(LogFile { label: label.to_owned(), path });
                }
                Err(reason) => fault(part, entry, key, reason, self.errors),
            }
        }
        logs
    }
}

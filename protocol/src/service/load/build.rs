//! Sorted sections → typed services. A reader of one value never sees the others, so that every
//! fault of a section is found in one pass.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::keys::Kind;
use super::super::value::{self, Read};
use super::super::variables::BUILT_IN;
use super::super::{
    ConfigFile, DEFAULT_KEEP_SECONDS, DEFAULT_MODE, DerivedValue, ListVariable, Membership, PathText,
    ResetRule, RuleKind, Service, Services, check_root, shipped, template,
};
use super::sort::{Part, Sorted, same_name};
use super::{ServiceError, names};
use crate::ini::{Entry, Place};

pub(super) struct Builder<'a> {
    base: &'a Path,
    /// What paths and commands may name, besides `${home}` of services that have one.
    pub(super) names: BTreeSet<String>,
    /// Those of them that are no values: what a home and a value may name.
    pub(super) listed: BTreeSet<String>,
    pub(super) lists: &'a [ListVariable],
    pub(super) values: &'a [DerivedValue],
    /// The service's own, from its profile.
    pub(super) own_lists: Vec<ListVariable>,
    pub(super) own_values: Vec<DerivedValue>,
    pub(super) errors: &'a RefCell<Vec<ServiceError>>,
}

pub(super) fn build(sorted: &Sorted<'_>, base: &Path, errors: &mut Vec<ServiceError>) -> Services {
    let found = RefCell::new(Vec::new());
    let global = |kind| of_kind(sorted, kind).filter(|part: &&Part<'_>| part.label.is_empty());
    let lists: Vec<ListVariable> =
        global(Kind::List).filter_map(|part| names::list(part, &part.service, &found)).collect();
    let mut known: BTreeSet<String> = BUILT_IN.into_iter().map(str::to_owned).collect();
    known.extend(lists.iter().map(|list| list.name.clone()));
    let values: Vec<DerivedValue> =
        global(Kind::Value).filter_map(|part| names::value(part, &part.service, &known, &found)).collect();
    let mut services: Vec<Service> = Vec::new();
    for part in &sorted.parts {
        let known_service = services.iter().any(|service| same_name(&service.name, &part.service));
        if !matches!(part.kind, Kind::List | Kind::Value) && !known_service {
            let mut builder = Builder {
                base,
                names: known.iter().cloned().chain(values.iter().map(|value| value.name.clone())).collect(),
                listed: known.clone(),
                lists: &lists,
                values: &values,
                own_lists: Vec::new(),
                own_values: Vec::new(),
                errors: &found,
            };
            services.push(builder.service(&part.service, sorted));
        }
    }
    errors.append(&mut found.into_inner());
    Services { services, lists, values, warnings: sorted.warnings.clone() }
}

pub(super) fn of_kind<'s, 'a>(sorted: &'s Sorted<'a>, kind: Kind) -> impl Iterator<Item = &'s Part<'a>> {
    sorted.parts.iter().filter(move |part| part.kind == kind)
}

/// Reads a key; a fault is noted and counts as absent.
pub(super) fn read<T>(
    part: &Part<'_>,
    key: &str,
    errors: &RefCell<Vec<ServiceError>>,
    reader: impl Fn(&str) -> Read<T>,
) -> Option<T> {
    let entry = entry(part, key)?;
    match reader(&entry.value) {
        Ok(value) => Some(value),
        Err(reason) => {
            fault(part, entry, key, reason, errors);
            None
        }
    }
}

pub(super) fn entry<'a>(part: &Part<'a>, key: &str) -> Option<&'a Entry> {
    part.entries.iter().find(|(mine, _)| *mine == key).map(|(_, entry)| *entry)
}

pub(super) fn fault(
    part: &Part<'_>,
    entry: &Entry,
    key: &str,
    reason: String,
    errors: &RefCell<Vec<ServiceError>>,
) {
    let (place, section) = (entry.place(), part.title.clone());
    errors.borrow_mut().push(ServiceError::Value { place, section, key: key.to_owned(), reason });
}

impl Builder<'_> {
    fn service(&mut self, name: &str, sorted: &Sorted<'_>) -> Service {
        let same = |part: &&Part<'_>| same_name(&part.service, name);
        let own = of_kind(sorted, Kind::Service).find(same);
        let home = own.and_then(|part| self.home(part)).or_else(|| self.missing_home(name, sorted));
        self.own_names(name, sorted, home.is_some());
        self.finish(name, own, home, sorted)
    }

    fn finish(
        &self,
        name: &str,
        own: Option<&Part<'_>>,
        home: Option<PathText>,
        sorted: &Sorted<'_>,
    ) -> Service {
        let same = |part: &&Part<'_>| same_name(&part.service, name);
        let configs: Vec<ConfigFile> = of_kind(sorted, Kind::Config)
            .filter(same)
            .filter_map(|part| self.config(part, home.as_ref()))
            .collect();
        let probes =
            of_kind(sorted, Kind::Probe).filter(same).filter_map(|part| self.probe(part, home.as_ref()));
        let resets =
            of_kind(sorted, Kind::Reset).filter(same).filter_map(|part| self.reset(part, home.as_ref()));
        let place = sorted.parts.iter().find(same).map(|part| part.place.clone());
        let service = Service {
            name: name.to_owned(),
            start_order: self.option(own, "start_order", value::start_order),
            after: self.option(own, "after", value::dependencies),
            cluster_after: self.option(own, "cluster_after", value::dependencies),
            conflicts: self.option(own, "conflicts", value::names),
            ports: self.option(own, "ports", value::ports),
            java: self.option(own, "java", value::versions),
            watcher: own.map(|part| self.defaults(part, "watcher", home.as_ref())).unwrap_or_default(),
            env: own.map(|part| self.defaults(part, "env", home.as_ref())).unwrap_or_default(),
            exit_meanings: own.map(|part| self.exit_meanings(part)).unwrap_or_default(),
            limits: own.map(|part| self.limits(part)).unwrap_or_default(),
            logs: own.map(|part| self.logs(part, home.as_ref())).unwrap_or_default(),
            lists: self.own_lists.clone(),
            values: self.own_values.clone(),
            configure_while_running: self.option(own, "configure_while_running", value::while_running),
            remove_before_start: self.stale_files(own, home.as_ref()),
            probes: probes.collect(),
            resets: resets.collect(),
            place: place.unwrap_or(Place { file: "".into(), line: 0 }),
            configs,
            home,
        };
        self.same_targets(&service);
        service
    }

    pub(super) fn option<T: Default>(
        &self,
        part: Option<&Part<'_>>,
        key: &str,
        reader: impl Fn(&str) -> Read<T>,
    ) -> T {
        part.and_then(|part| read(part, key, self.errors, reader)).unwrap_or_default()
    }

    /// A key that must be there.
    fn required<T>(&self, part: &Part<'_>, key: &'static str, reader: impl Fn(&str) -> Read<T>) -> Option<T> {
        if entry(part, key).is_none() {
            let (place, section) = (part.place.clone(), part.title.clone());
            self.errors.borrow_mut().push(ServiceError::Missing { place, section, key });
        }
        read(part, key, self.errors, reader)
    }

    /// Checks placeholders and their names; the values come later.
    pub(super) fn check_names(&self, text: &str, home: bool) -> Read<()> {
        let lookup = |name: &str| (self.names.contains(name) || (home && name == "home")).then_some("");
        match template::substitute(text, lookup) {
            Ok(_) => Ok(()),
            Err(problems) => {
                let names = self.names.iter().map(String::as_str);
                let known: Vec<&str> = names.chain(home.then_some("home")).collect();
                Err(format!("{:?}: {}; known: {}", text, template::describe(&problems), known.join(" ")))
            }
        }
    }

    /// The directory of the ini file that an entry stands in.
    fn beside(&self, entry: &Entry, text: &str) -> String {
        let directory = Path::new(&*entry.place().file).parent().map(Path::to_path_buf).unwrap_or_default();
        self.base.join(directory).join(text).display().to_string()
    }

    fn home(&self, part: &Part<'_>) -> Option<PathText> {
        let entry = entry(part, "home")?;
        let text = read(part, "home", self.errors, |text| {
            names::check_placeholders(text, &self.listed)?;
            absolute(self.beside(entry, text), "the ini file's own name")
        })?;
        Some(PathText { text, place: entry.place() })
    }

    /// A path that is absolute, or below the service's home.
    fn path(&self, part: &Part<'_>, key: &'static str, home: Option<&PathText>) -> Option<PathText> {
        let text = self.required(part, key, |text| self.below_home(text, home))?;
        Some(PathText { text, place: entry(part, key)?.place() })
    }

    pub(super) fn below_home(&self, text: &str, home: Option<&PathText>) -> Read<String> {
        self.check_names(text, home.is_some())?;
        let begins_absolute = text.starts_with('/') || text.starts_with("${");
        match home {
            Some(_) if !begins_absolute => absolute(format!("${{home}}/{text}"), "the home"),
            _ => absolute(text.to_owned(), "the service's `home`, which is not set"),
        }
    }

    fn config(&self, part: &Part<'_>, home: Option<&PathText>) -> Option<ConfigFile> {
        let target = self.path(part, "target", home);
        let template = self.required(part, "template", |text| {
            self.check_names(text, home.is_some())?;
            if let Some(name) = text.strip_prefix(shipped::PREFIX) {
                return shipped::check_template(name).map(|()| text.to_owned());
            }
            let begins_absolute = text.starts_with('/') || text.starts_with("${");
            match entry(part, "template") {
                Some(entry) if !begins_absolute => {
                    absolute(self.beside(entry, text), "the ini file's own name")
                }
                _ => Ok(text.to_owned()),
            }
        });
        let mode = read(part, "mode", self.errors, value::mode).unwrap_or(DEFAULT_MODE);
        let owner = read(part, "owner", self.errors, value::owner);
        let strip = read(part, "strip", self.errors, value::boolean).unwrap_or(true);
        let template = PathText { text: template?, place: entry(part, "template")?.place() };
        let (label, place) = (part.label.clone(), part.place.clone());
        Some(ConfigFile { label, template, target: target?, mode, owner, strip, place })
    }

    fn stale_files(&self, part: Option<&Part<'_>>, home: Option<&PathText>) -> Vec<PathText> {
        let Some(part) = part else { return Vec::new() };
        let Some(entry) = entry(part, "remove_before_start") else { return Vec::new() };
        let files = read(part, "remove_before_start", self.errors, |text| {
            value::list(text).map(|item| self.stale_file(item, home)).collect::<Read<Vec<String>>>()
        });
        let files = files.unwrap_or_default();
        files.into_iter().map(|text| PathText { text, place: entry.place() }).collect()
    }

    fn reset(&self, part: &Part<'_>, home: Option<&PathText>) -> Option<ResetRule> {
        let (word, label) = part.label.split_once(':').unwrap_or((&part.label, ""));
        let kind = RuleKind::from_word(word);
        if kind.is_none() {
            self.title_fault(part, format!("{word:?} is neither `data` nor `log`"));
        }
        let root = self.root(part, home);
        let delete: Vec<_> = self.option(Some(part), "delete", value::globs);
        let truncate: Vec<_> = self.option(Some(part), "truncate", value::globs);
        if entry(part, "delete").is_none() && entry(part, "truncate").is_none() {
            self.title_fault(part, "resets nothing; give it `delete` or `truncate`".into());
        }
        let keep: Vec<_> = self.option(Some(part), "keep", value::globs);
        let require_dirs = self.option(Some(part), "require_dirs", value::directories);
        let scope = self.option(Some(part), "scope", value::scope);
        let keep_seconds =
            read(part, "keep_seconds", self.errors, value::seconds).unwrap_or(DEFAULT_KEEP_SECONDS);
        let (kind, label, root) = (kind?, label.to_owned(), root?);
        let place = part.place.clone();
        Some(ResetRule {
            kind,
            label,
            root,
            delete,
            truncate,
            keep,
            require_dirs,
            scope,
            keep_seconds,
            place,
        })
    }

    /// A root is checked with made-up values for its variables; the real ones are checked again.
    fn root(&self, part: &Part<'_>, home: Option<&PathText>) -> Option<PathText> {
        let text = self.required(part, "root", |text| {
            self.check_names(text, home.is_some())?;
            check_root(Path::new(&self.example(text, home))).map_err(|refusal| refusal.to_string())?;
            Ok(text.to_owned())
        })?;
        Some(PathText { text, place: entry(part, "root")?.place() })
    }

    /// A text with made-up values for its variables.
    pub(super) fn example(&self, text: &str, home: Option<&PathText>) -> String {
        let address = "192.0.2.1".to_owned();
        let example =
            Membership { identifier: 1, cluster: vec![address.clone()], address, ..Membership::default() };
        self.scope(home).variables(Some(&example)).substitute(text).unwrap_or_default()
    }

    /// One file, which a start may remove: never something of the system's.
    fn stale_file(&self, text: &str, home: Option<&PathText>) -> Read<String> {
        let path = self.below_home(text, home)?;
        let refused = |refusal| format!("no such file is removed before a start: {refusal}");
        check_root(Path::new(&self.example(&path, home))).map_err(refused)?;
        Ok(path)
    }

    fn same_targets(&self, service: &Service) {
        let mut targets: BTreeMap<&str, &ConfigFile> = BTreeMap::new();
        for config in &service.configs {
            let earlier = *targets.entry(&config.target.text).or_insert(config);
            if !std::ptr::eq(earlier, config) {
                self.errors.borrow_mut().push(ServiceError::Value {
                    place: config.target.place.clone(),
                    section: format!("config:{}:{}", service.name, config.label),
                    key: "target".into(),
                    reason: format!("{:?} is also the target of `{}`", config.target.text, earlier.label),
                });
            }
        }
    }

    pub(super) fn title_fault(&self, part: &Part<'_>, reason: String) {
        let (place, section) = (part.place.clone(), part.title.clone());
        self.errors.borrow_mut().push(ServiceError::Title { place, section, reason });
    }
}

/// Accepts an absolute path that does not climb.
fn absolute(text: String, relative_to: &str) -> Read<String> {
    if !(text.starts_with('/') || text.starts_with("${")) {
        return Err(format!("{text:?} is relative to {relative_to}; write it from `/` on"));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("{text:?} has `..` in it; write where it leads"));
    }
    Ok(text)
}

//! The three environments of a configuration: the daemon's own, `[env]`'s, and each watcher's.
//!
//! Watchers that are named by the same sections have one environment, so that many of them cost no more
//! than one. Knows which section applies to whom and in which order, and how much all of it may be; does
//! not know watchers' options.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use circus_protocol::ini::{Entry, Ini, Section, ValueError};

use crate::config::expand::{MAX_EXPANDED, dollars, dollars_len, environment, variables, variables_len};
use crate::config::{Inherited, pattern};

pub(super) type Env = BTreeMap<String, String>;

/// How many bytes all values of a configuration may have once their variables are replaced.
const MAX_ALL_EXPANDED: usize = 16 * 1024 * 1024;

/// How many variables all different environments together may have; each has at least the daemon's own.
const MAX_VARIABLES: usize = 250_000;

/// How much work may go into finding out which `[env:PATTERN]` is for which watcher, in letters of
/// patterns times letters of names.
const MAX_MATCHING: usize = 20_000_000;

/// The sections that name a watcher, and whether it has a copy of the daemon's variables.
type Named = (Vec<usize>, bool);

/// What the `[env]` sections say, before anything is known about watchers.
pub(super) struct Environments<'a> {
    /// The daemon's own variables.
    process: &'a Env,
    /// `[env]`, its `$(circus.env.X)` expanded from the daemon's own variables only.
    local: Env,
    /// The daemon's variables and `[env]`.
    global: Env,
    /// `[env:PATTERNS]`, in file order, raw.
    sections: Vec<Local<'a>>,
    made: RefCell<HashMap<Named, Rc<WatcherEnv>>>,
    bytes: Cell<usize>,
    variables: Cell<usize>,
    matching: Cell<usize>,
    exhausted: Cell<bool>,
}

impl<'a> Environments<'a> {
    /// # Errors
    /// When variables make `[env]` too long.
    pub(super) fn new(ini: &'a Ini, inherited: &'a Inherited) -> Result<Self, Vec<ValueError>> {
        let process = &inherited.environment;
        let mut environments = Self {
            process,
            local: Env::new(),
            global: process.clone(),
            sections: ini.sections.iter().filter_map(Local::new).collect(),
            made: RefCell::default(),
            bytes: Cell::new(MAX_ALL_EXPANDED),
            variables: Cell::new(MAX_VARIABLES),
            matching: Cell::new(MAX_MATCHING),
            exhausted: Cell::new(false),
        };
        if let Some(section) = ini.section("env") {
            let known = environment(process);
            environments.charge(section, &known)?;
            let expand = |entry: &Entry| {
                (entry.key.clone(), variables(&entry.value, |key| known.get(key).map(String::as_str)))
            };
            environments.local = section.entries.iter().map(expand).collect();
            environments.global.extend(environments.local.clone());
        }
        Ok(environments)
    }

    /// The daemon's variables and `[env]`: what every section's values may name.
    pub(super) fn global(&self) -> &Env {
        &self.global
    }

    /// Counts what the values of a section will be. Called before they are made, because a short file can
    /// ask for more than there is.
    ///
    /// # Errors
    /// The values that would be too long, or too many.
    pub(super) fn charge(&self, section: &Section, known: &Env) -> Result<(), Vec<ValueError>> {
        let mut errors = Vec::new();
        for entry in &section.entries {
            let length = variables_len(&entry.value, |key| known.get(key).map(String::len));
            errors.extend(self.spend(length).err().map(|reason| section.error(entry, reason)));
            if self.exhausted.get() {
                break;
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Whether one of the totals was exceeded: whoever comes next would only say so again.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted.get()
    }

    fn spend(&self, length: usize) -> Result<(), String> {
        if length > MAX_EXPANDED {
            return Err(format!(
                "with its variables replaced this is {length} bytes, more than {MAX_EXPANDED}"
            ));
        }
        let left = self.bytes.get().checked_sub(length).ok_or_else(|| {
            self.exhausted.set(true);
            format!("with variables replaced, all values together are more than {MAX_ALL_EXPANDED} bytes")
        })?;
        self.bytes.set(left);
        Ok(())
    }

    /// What a watcher's values may name, and what its children get.
    ///
    /// # Errors
    /// When there is too much of it.
    pub(super) fn of_watcher(
        &self,
        section: &Section,
        name: &str,
        copy_env: bool,
    ) -> Result<Rc<WatcherEnv>, Vec<ValueError>> {
        let too_much = |reason: String| {
            vec![ValueError {
                place: section.place(),
                section: section.name.clone(),
                key: "env".to_owned(),
                reason,
            }]
        };
        let key = (self.naming(name).map_err(&too_much)?, copy_env);
        if let Some(made) = self.made.borrow().get(&key) {
            return Ok(Rc::clone(made));
        }
        let sections: Vec<&Section> =
            key.0.iter().filter_map(|at| self.sections.get(*at).map(|local| local.section)).collect();
        let entries = sections.iter().map(|section| section.entries.len()).sum::<usize>();
        let count = self.global.len() + entries;
        let Some(left) = self.variables.get().checked_sub(count) else {
            self.exhausted.set(true);
            return Err(too_much(format!(
                "all different environments together have more than {MAX_VARIABLES} variables"
            )));
        };
        self.variables.set(left);
        let made = Rc::new(self.make(&sections, copy_env).map_err(too_much)?);
        self.made.borrow_mut().insert(key, Rc::clone(&made));
        Ok(made)
    }

    fn make(&self, sections: &[&Section], copy_env: bool) -> Result<WatcherEnv, String> {
        let mut raw = if copy_env { self.global.clone() } else { self.local.clone() };
        for section in sections {
            raw.extend(section.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
        }
        for (name, value) in &raw {
            let length = dollars_len(value, |name| self.process.get(name).map(String::len));
            self.spend(name.len() + length).map_err(|reason| format!("the variable {name}: {reason}"))?;
        }
        let mut named = self.global.clone();
        named.extend(raw.clone());
        let settled = raw
            .iter()
            .map(|(name, value)| (name.trim().to_owned(), dollars(value, self.process).trim().to_owned()));
        let mut children = if copy_env { self.process.clone() } else { Env::new() };
        children.extend(settled);
        Ok(WatcherEnv { known: environment(&named), children: Arc::new(children) })
    }

    /// The sections whose patterns are for this watcher.
    fn naming(&self, name: &str) -> Result<Vec<usize>, String> {
        let mut naming = Vec::new();
        for (at, local) in self.sections.iter().enumerate() {
            let mut named = local.literals.contains(name);
            for pattern in &local.patterns {
                if named {
                    break;
                }
                let left = self.matching.get().checked_sub(pattern.len() * (name.len() + 1));
                self.matching.set(left.ok_or_else(|| {
                    self.exhausted.set(true);
                    "there are too many [env:PATTERN] with too many letters for so many watchers"
                })?);
                named = pattern::matches(pattern, name);
            }
            if named {
                naming.push(at);
            }
        }
        Ok(naming)
    }
}

/// `[env:PATTERNS]`.
struct Local<'a> {
    literals: HashSet<&'a str>,
    patterns: Vec<&'a str>,
    section: &'a Section,
}

impl<'a> Local<'a> {
    fn new(section: &'a Section) -> Option<Self> {
        let words = section.name.strip_prefix("env:")?.split(',').map(str::trim);
        let (literals, patterns): (Vec<&str>, Vec<&str>) = words.partition(|word| pattern::is_literal(word));
        Some(Self { literals: literals.into_iter().collect(), patterns, section })
    }
}

pub(super) struct WatcherEnv {
    /// For `$(circus.env.X)`: raw values, by `env.x`.
    pub(super) known: Env,
    /// For the children: `$NAME` replaced from the daemon's own variables.
    pub(super) children: Arc<Env>,
}

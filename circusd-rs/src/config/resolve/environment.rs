//! The three environments of a configuration: the daemon's own, `[env]`'s, and each watcher's.
//!
//! Knows which section applies to whom and in which order; does not know watchers' options.

use std::collections::BTreeMap;

use circus_protocol::ini::{Ini, Section};

use crate::config::expand::{dollars, environment, variables};
use crate::config::{Inherited, pattern};

pub(super) type Env = BTreeMap<String, String>;

/// What the `[env]` sections say, before anything is known about watchers.
pub(super) struct Environments<'a> {
    /// The daemon's own variables.
    process: &'a Env,
    /// `[env]`, its `$(circus.env.X)` expanded from the daemon's own variables only.
    local: Env,
    /// `[env:PATTERNS]`, in file order, raw.
    sections: Vec<(Vec<&'a str>, &'a Section)>,
}

impl<'a> Environments<'a> {
    pub(super) fn new(ini: &'a Ini, inherited: &'a Inherited) -> Self {
        let process = &inherited.environment;
        let known = environment(process);
        let expand = |text: &str| variables(text, |key| known.get(key).cloned());
        let local = ini.section("env").into_iter().flat_map(|section| &section.entries);
        let local = local.map(|entry| (entry.key.clone(), expand(&entry.value))).collect();
        let sections = ini.sections.iter().filter_map(|section| {
            let patterns = section.name.strip_prefix("env:")?;
            Some((patterns.split(',').map(str::trim).collect(), section))
        });
        Self { process, local, sections: sections.collect() }
    }

    /// The daemon's variables and `[env]`: what every section's values may name.
    pub(super) fn global(&self) -> Env {
        let mut env = self.process.clone();
        env.extend(self.local.clone());
        env
    }

    /// What a watcher's values may name, and what its children get.
    pub(super) fn of_watcher(&self, name: &str, copy_env: bool) -> WatcherEnv {
        let mut raw = if copy_env { self.global() } else { self.local.clone() };
        for (patterns, section) in &self.sections {
            if patterns.iter().any(|pattern| pattern::matches(pattern, name)) {
                raw.extend(section.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
            }
        }
        let mut named = self.global();
        named.extend(raw.clone());
        let settled = raw
            .iter()
            .map(|(name, value)| (name.trim().to_owned(), dollars(value, self.process).trim().to_owned()));
        let mut children = if copy_env { self.process.clone() } else { Env::new() };
        children.extend(settled);
        WatcherEnv { named, children }
    }
}

pub(super) struct WatcherEnv {
    /// For `$(circus.env.X)`: raw values.
    pub(super) named: Env,
    /// For the children: `$NAME` replaced from the daemon's own variables.
    pub(super) children: Env,
}

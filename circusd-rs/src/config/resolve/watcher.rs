//! `[watcher:NAME]` → [`WatcherConfig`], by the option table.
//!
//! Three outcomes, as in stock: a value that is not of its type is an error of the whole file; a
//! watcher that contradicts itself is left out with a warning and the rest runs; everything else is
//! a watcher, unknown keys included.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use circus_protocol::ini::{Entry, Section, ValueError, parse_int};
use circus_protocol::name::WatcherName;
use serde_json::Value;

use super::Python;
use super::environment::{Environments, WatcherEnv};
use crate::config::expand::variables;
use crate::config::option::{self, family};
use crate::config::{Inherited, StreamConfig, WatcherConfig};

/// Options whose bad value costs the watcher only, not the file.
const LENIENT: [&str; 2] = ["max_age", "max_age_variance"];

/// What became of one section.
pub(super) struct Built {
    /// `None` when the watcher is left out.
    pub(super) watcher: Option<WatcherConfig>,
    /// Why it is left out, or what of it has no effect.
    pub(super) warnings: Vec<String>,
}

/// What the builder of one watcher works with.
struct Builder<'a> {
    section: &'a Section,
    env: Rc<WatcherEnv>,
    config: WatcherConfig,
    errors: Vec<ValueError>,
    /// Why this watcher is to be left out.
    dropped: Vec<String>,
    warnings: Vec<String>,
    stdout: BTreeMap<String, Value>,
    stderr: BTreeMap<String, Value>,
    virtualenv: Option<String>,
    virtualenv_version: Option<String>,
}

/// Builds the watcher of a section.
pub(super) fn build(
    section: &Section,
    title: &str,
    environments: &Environments<'_>,
    inherited: &Inherited,
    python: &dyn Python,
) -> Result<Built, Vec<ValueError>> {
    let name = section.text("name").unwrap_or(title);
    build_from(section, blank(name, inherited), &[], environments, python)
}

/// A watcher of a file that says nothing.
pub(super) fn blank(name: &str, inherited: &Inherited) -> WatcherConfig {
    let config = WatcherConfig::new(WatcherName::new(name), inherited.working_dir.clone());
    WatcherConfig { args: Value::from(""), from_file: true, ..config }
}

/// Builds a watcher from what it is without its section, leaving out some keys.
pub(super) fn build_from(
    section: &Section,
    base: WatcherConfig,
    left_out: &[&str],
    environments: &Environments<'_>,
    python: &dyn Python,
) -> Result<Built, Vec<ValueError>> {
    let copy_env = section.bool("copy_env").ok().flatten().unwrap_or(base.copy_env);
    let env = environments.of_watcher(section, base.name.original(), copy_env)?;
    environments.charge(section, &env.known)?;
    let mut builder = Builder {
        section,
        env: Rc::clone(&env),
        config: base,
        errors: Vec::new(),
        dropped: Vec::new(),
        warnings: Vec::new(),
        stdout: BTreeMap::new(),
        stderr: BTreeMap::new(),
        virtualenv: None,
        virtualenv_version: None,
    };
    for entry in section.entries.iter().filter(|entry| !left_out.contains(&entry.key.as_str())) {
        builder.entry(entry);
    }
    builder.config.env = Some(Arc::clone(&env.children));
    builder.finish(python)
}

impl Builder<'_> {
    fn entry(&mut self, entry: &Entry) {
        let value = variables(&entry.value, |key| self.env.known.get(key));
        match entry.key.as_str() {
            // Taken care of by the caller; the rest is circus' own and without effect.
            "name" | "env" => {}
            "check_flapping" => self.check_flapping(entry, &value),
            "virtualenv" => self.virtualenv = Some(value).filter(|value| !value.is_empty()),
            "virtualenv_py_ver" => self.virtualenv_version = Some(value).filter(|value| !value.is_empty()),
            key => match option::row(key).filter(|row| row.in_file) {
                Some(row) => self.fixed(entry, row, &value),
                None => self.family(entry, value),
            },
        }
    }

    fn fixed(&mut self, entry: &Entry, row: &option::OptionRow, value: &str) {
        if matches!(row.key, "working_dir" | "uid" | "gid" | "stdin_socket") && value.is_empty() {
            return;
        }
        let stored =
            option::from_text(row.kind, value).and_then(|value| (row.store)(&mut self.config, &value));
        match stored {
            Ok(()) => {}
            Err(reason) if LENIENT.contains(&row.key) => {
                self.dropped.push(format!("line {}: {}: {reason}", entry.line, entry.key));
            }
            Err(reason) => self.errors.push(self.section.error(entry, reason)),
        }
    }

    /// Kept for clients; nothing here flaps by this option.
    fn check_flapping(&mut self, entry: &Entry, value: &str) {
        match option::from_text(option::Kind::Boolean, value) {
            Ok(flag) => {
                self.config.custom.insert(entry.key.clone(), flag);
            }
            Err(reason) => self.errors.push(self.section.error(entry, reason)),
        }
    }

    fn family(&mut self, entry: &Entry, value: String) {
        if entry.key.starts_with("stdout_stream") || entry.key.starts_with("stderr_stream") {
            return self.stream_option(entry, value);
        }
        if let Some(limit) = entry.key.strip_prefix("rlimit_") {
            return self.rlimit(entry, limit, &value);
        }
        if let Some(hook) = entry.key.strip_prefix("hooks.") {
            return match family::hook_from(&value) {
                Ok(config) => {
                    self.config.hooks.insert(hook.to_owned(), config);
                }
                Err(reason) => self.errors.push(self.section.error(entry, reason)),
            };
        }
        self.config.custom.insert(entry.key.clone(), Value::from(value));
    }

    fn stream_option(&mut self, entry: &Entry, value: String) {
        let stream = match entry.key.split_once('.') {
            Some(("stdout_stream", option)) => Some((&mut self.stdout, option)),
            Some(("stderr_stream", option)) => Some((&mut self.stderr, option)),
            Some(_) | None => None,
        };
        match stream {
            Some((stream, option)) => {
                stream.insert(option.to_owned(), Value::from(value));
            }
            None => self.errors.push(self.section.error(
                entry,
                "a stream's options are written stdout_stream.OPTION or stderr_stream.OPTION, e.g. stdout_stream.filename",
            )),
        }
    }

    fn rlimit(&mut self, entry: &Entry, limit: &str, value: &str) {
        let parsed = if value.is_empty() {
            Ok(None)
        } else {
            parse_int(value)
                .ok_or_else(|| format!("{value:?} is not a whole number (leave it empty for unlimited)"))
                .and_then(family::limit_from)
        };
        match parsed {
            Ok(wanted) => {
                self.config.rlimits.insert(limit.to_lowercase(), wanted);
            }
            Err(reason) => self.errors.push(self.section.error(entry, reason)),
        }
    }

    fn finish(mut self, python: &dyn Python) -> Result<Built, Vec<ValueError>> {
        self.config.stdout_stream = self.stream("stdout_stream");
        self.config.stderr_stream = self.stream("stderr_stream");
        self.contradictions();
        self.python_paths(python);
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let name = self.config.name.original().to_owned();
        let place = self.section.place();
        let mut warnings = self.warnings;
        let left_out = !self.dropped.is_empty();
        warnings.extend(
            self.dropped
                .into_iter()
                .map(|reason| format!("Failed to create watcher '{name}': {place}: {reason}")),
        );
        Ok(Built { watcher: (!left_out).then_some(self.config), warnings })
    }

    fn stream(&mut self, which: &str) -> Option<StreamConfig> {
        let pairs =
            std::mem::take(if which == "stdout_stream" { &mut self.stdout } else { &mut self.stderr });
        if pairs.is_empty() {
            return None;
        }
        family::stream(pairs).map_err(|reason| self.dropped.push(format!("{which}: {reason}"))).ok()
    }

    fn contradictions(&mut self) {
        let config = &self.config;
        if config.singleton && config.numprocesses > 1 {
            self.dropped
                .push(format!("Cannot have {} processes with a singleton  watcher", config.numprocesses));
        }
        if config.copy_path && !config.copy_env {
            self.dropped.push("copy_env and copy_path must have the same value".to_owned());
        }
        if config.numprocesses == 0 && !config.singleton {
            let name = config.name.original();
            self.warnings
                .push(format!("Non-singleton watcher {name} with numprocesses=0 won't start any process"));
        }
        if config.shell_args.is_some() && !config.shell {
            self.warnings.push(format!("{}: shell_args have no effect without shell", config.name));
        }
    }

    /// There is no Python in this daemon, so `copy_path` hands on the PYTHONPATH it was started with, as
    /// `copy_env` does.
    fn python_paths(&mut self, python: &dyn Python) {
        let Some(virtualenv) = self.virtualenv.take() else { return };
        if !self.config.copy_env {
            return self.dropped.push("copy_env must be True to use virtualenv".to_owned());
        }
        let Some(packages) = python.site_packages(&virtualenv, self.virtualenv_version.as_deref()) else {
            return self.dropped.push(format!("{virtualenv}/lib/python*/site-packages does not exist"));
        };
        let env = Arc::make_mut(self.config.env.get_or_insert_default());
        if packages.has_bin {
            let path = env.get("PATH").cloned().unwrap_or_default();
            env.insert("PATH".to_owned(), format!("{virtualenv}/bin:{path}"));
        }
        // Stock's order: what the .pth files name, what was there, the packages themselves.
        let mut paths = packages.named;
        paths.extend(env.get("PYTHONPATH").filter(|path| !path.is_empty()).cloned());
        paths.push(packages.directory);
        env.insert("PYTHONPATH".to_owned(), paths.join(":"));
    }
}

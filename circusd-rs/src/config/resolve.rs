//! Ini → [`Config`], or everything that is wrong with it at once.
//!
//! Where stock circus would run with a file, so do we, and to the same effect; where stock would end
//! with a traceback, each fault is one line, `file:line: [section] key: reason`. Reads nothing: texts,
//! environment and what little must be known about directories are passed in.

mod environment;
pub mod plugin;
mod profile;
mod socket;
mod watcher;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use circus_protocol::endpoint::Endpoint;
use circus_protocol::ini::{Ini, Section, ValueError, parse_bool, parse_float, parse_int};
use circus_protocol::name::WatcherName;
use circus_protocol::service::{ServiceError, Services};

use crate::config::expand::{self, variables};
use crate::config::{Config, Global, Inherited, WatcherConfig};
use environment::Environments;
use watcher::Built;

/// What only the file system knows about Python.
pub trait Python {
    /// What a virtual environment adds to the import path. `None` when there is none of that version.
    fn site_packages(&self, virtualenv: &str, version: Option<&str>) -> Option<SitePackages>;

    /// The interpreter in which this class, with circus, can be imported; else why there is none.
    ///
    /// # Errors
    /// The reason, in words for the author of the configuration.
    fn importable(&self, class: &str) -> Result<String, String>;

    /// The path of our own program.
    fn own_program(&self) -> String;
}

/// What is in a virtual environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SitePackages {
    /// `site-packages`.
    pub directory: String,
    /// The existing directories that its `.pth` files name.
    pub named: Vec<String>,
    /// Whether it has a `bin`.
    pub has_bin: bool,
}

/// A configuration, and what its author should know about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What the file says.
    pub config: Config,
    /// Watchers that were left out, and what has no effect. The daemon runs nevertheless.
    pub warnings: Vec<String>,
}

/// Resolves the merged files.
///
/// # Errors
/// Everything that is wrong, one line each.
pub fn resolve(
    mut ini: Ini,
    inherited: &Arc<Inherited>,
    python: &dyn Python,
) -> Result<Resolved, Vec<String>> {
    ini.settle().map_err(|error| vec![error.to_string()])?;
    let services = described(&ini, inherited)?;
    if let Ok(services) = &services {
        profile::lay_under(&mut ini, services);
    }
    let environments = Environments::new(&ini, inherited).map_err(told)?;
    let global = expand::environment(environments.global());
    let mut errors: Vec<String> = Vec::new();
    let mut warnings = Vec::new();

    let circus = match ini.section("circus") {
        Some(section) => {
            Reader { section, known: &global, errors: &mut errors, warnings: &mut warnings }.circus()
        }
        None => Global::default(),
    };
    let mut sockets = Vec::new();
    let mut built = Vec::new();
    for section in ini.sections.iter().filter(|section| !section.entries.is_empty()) {
        if environments.exhausted() {
            break;
        }
        if let Some(title) = section.name.strip_prefix("watcher:") {
            built.push(watcher::build(section, title, &environments, inherited, python));
        } else if section.name.starts_with("plugin:") {
            built.push(plugin::build(section, &circus, &environments, inherited, python));
        } else if let Some(title) = section.name.strip_prefix("socket:") {
            match socket::build(section, title, &global) {
                Ok(built) => {
                    sockets.extend(built.socket);
                    warnings.extend(built.warnings);
                }
                Err(faults) => errors.extend(faults),
            }
        }
    }
    let watchers = gathered(built, &mut errors, &mut warnings);
    let sockets = socket::in_order(sockets, &mut warnings);
    match services {
        Ok(services) if errors.is_empty() => {
            warnings.extend(services.warnings.iter().cloned());
            let inherited = Arc::clone(inherited);
            let config = Config { circus, watchers, sockets, services: Arc::new(services), inherited };
            warnings.extend(socket::check(&config));
            Ok(Resolved { config, warnings })
        }
        Ok(_) => Err(errors),
        Err(faults) => {
            errors.extend(faults.iter().map(ToString::to_string));
            Err(errors)
        }
    }
}

/// The services, read before the watchers, because a profile has keys for them.
fn described(ini: &Ini, inherited: &Inherited) -> Result<Result<Services, Vec<ServiceError>>, Vec<String>> {
    let environments = Environments::new(ini, inherited).map_err(told)?;
    let global = expand::environment(environments.global());
    for section in &ini.sections {
        environments.charge(section, &global).map_err(told)?;
    }
    Ok(services(ini, &global, &inherited.working_dir))
}

fn told(faults: Vec<ValueError>) -> Vec<String> {
    faults.iter().map(ValueError::to_string).collect()
}

/// The watchers by name as configured, case sensitive: circus' order.
fn gathered(
    built: Vec<Result<Built, Vec<ValueError>>>,
    errors: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Vec<WatcherConfig> {
    let mut watchers: Vec<WatcherConfig> = Vec::new();
    for outcome in built {
        match outcome {
            Ok(built) => {
                watchers.extend(built.watcher);
                warnings.extend(built.warnings);
            }
            Err(faults) => errors.extend(faults.iter().map(ValueError::to_string)),
        }
    }
    watchers.sort_by(|a, b| a.name.original().cmp(b.name.original()));
    last_of_each_name(watchers, warnings)
}

/// Our own sections, whose values may name variables like any other. A watcher's name or options
/// mean nothing to them.
fn services(
    ini: &Ini,
    global: &BTreeMap<String, String>,
    working_dir: &str,
) -> Result<Services, Vec<ServiceError>> {
    let mut ini = ini.clone();
    ini.rewrite(|_, entry| Some(variables(&entry.value, |key| global.get(key))));
    Services::from_ini(&ini, Path::new(working_dir))
}

/// Names that differ only in case are one watcher to every client; stock starts both and can reach
/// the last only.
fn last_of_each_name(watchers: Vec<WatcherConfig>, warnings: &mut Vec<String>) -> Vec<WatcherConfig> {
    let mut last: HashMap<WatcherName, usize> = HashMap::new();
    let mut kept: Vec<Option<WatcherConfig>> = Vec::with_capacity(watchers.len());
    for watcher in watchers {
        let earlier = last.insert(watcher.name.clone(), kept.len());
        if let Some(earlier) = earlier.and_then(|at| kept.get_mut(at)).and_then(Option::take) {
            warnings.push(format!(
                "Failed to create watcher '{}': '{}' is the same name to every command; only the latter is used",
                earlier.name, watcher.name
            ));
        }
        kept.push(Some(watcher));
    }
    kept.into_iter().flatten().collect()
}

/// Reads one section whose values have types, collecting what is wrong.
struct Reader<'a> {
    section: &'a Section,
    known: &'a BTreeMap<String, String>,
    errors: &'a mut Vec<String>,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn circus(mut self) -> Global {
        let default = Global::default();
        for key in ["debug", "debug_gc"] {
            self.bool(key);
        }
        self.typed("httpd_port", parse_int, "is not a whole number");
        for key in ["endpoint", "pubsub_endpoint", "stats_endpoint", "multicast_endpoint"] {
            self.endpoint(key);
        }
        let stats_endpoint = self.text("stats_endpoint");
        let statsd = self.bool("statsd") || stats_endpoint.is_some();
        let global = Global {
            endpoint: self.text("endpoint").unwrap_or(default.endpoint),
            pubsub_endpoint: self.text("pubsub_endpoint").unwrap_or(default.pubsub_endpoint),
            stats_endpoint: stats_endpoint.unwrap_or(default.stats_endpoint),
            statsd,
            multicast_endpoint: match self.text("multicast_endpoint") {
                Some(endpoint) => Some(endpoint).filter(|endpoint| !endpoint.is_empty()),
                None => default.multicast_endpoint,
            },
            endpoint_owner: self.text("endpoint_owner").filter(|owner| !owner.is_empty()),
            check_delay: self
                .typed("check_delay", parse_float, "is not a number")
                .unwrap_or(default.check_delay),
            warmup_delay: self.warmup_delay(),
            hook_timeout: self
                .typed("hook_timeout", positive, "is not a number above 0")
                .unwrap_or(default.hook_timeout),
            pidfile: self.text("pidfile").filter(|path| !path.is_empty()),
            umask: self.umask(),
            cgroups: self.switch("cgroups").unwrap_or(default.cgroups),
            loglevel: self.text("loglevel"),
            logoutput: self.text("logoutput"),
            loggerconfig: self.text("loggerconfig").filter(|path| !path.is_empty()),
        };
        self.without_effect();
        global
    }

    fn text(&self, key: &str) -> Option<String> {
        self.section.text(key).map(|value| variables(value, |key| self.known.get(key)))
    }

    fn typed<T>(&mut self, key: &str, read: impl Fn(&str) -> Option<T>, reason: &str) -> Option<T> {
        let text = self.text(key)?;
        let value = read(&text);
        if value.is_none()
            && let Some(entry) = self.section.get(key)
        {
            self.errors.push(self.section.error(entry, format!("{text:?} {reason}")).to_string());
        }
        value
    }

    fn endpoint(&mut self, key: &str) {
        let Some(text) = self.text(key).filter(|text| !text.is_empty()) else { return };
        if let (Err(error), Some(entry)) = (text.parse::<Endpoint>(), self.section.get(key)) {
            self.errors.push(self.section.error(entry, error.to_string()).to_string());
        }
    }

    fn switch(&mut self, key: &str) -> Option<bool> {
        self.typed(key, parse_bool, "is not a boolean (yes, true, on, 1, no, false, off, 0)")
    }

    fn bool(&mut self, key: &str) -> bool {
        self.switch(key).unwrap_or(false)
    }

    /// Whole seconds only, as in stock: half a second in a file ends stock with an error.
    fn warmup_delay(&mut self) -> f64 {
        let read = |text: &str| parse_int(text).and_then(|seconds| i32::try_from(seconds).ok());
        self.typed("warmup_delay", read, "is not a whole number").map_or(0.0, f64::from)
    }

    fn umask(&mut self) -> Option<u32> {
        if self.text("umask")?.is_empty() {
            return None;
        }
        let read = |text: &str| {
            let digits = text.trim().trim_start_matches("0o");
            u32::from_str_radix(digits, 8).ok().filter(|umask| *umask <= 0o777)
        };
        self.typed("umask", read, "is not an octal umask up to 777")
    }

    fn without_effect(&mut self) {
        if self.bool("httpd") {
            let place = self.section.place();
            self.warnings.push(format!(
                "{place}: [circus] httpd has no effect: circus-web is not part of this daemon"
            ));
        }
    }
}

fn positive(text: &str) -> Option<f64> {
    parse_float(text).filter(|number| *number > 0.0)
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sizes;

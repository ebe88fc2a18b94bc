//! `[plugin:NAME]` → the watcher that runs it.
//!
//! As in stock the plugin is a watcher named as its section, one process, with the daemon's
//! environment; every key of the section is an option of both. A class that is built in runs from our
//! own program, any other in Python, where it must be importable.

use std::collections::BTreeMap;

use circus_protocol::ini::{Section, ValueError};
use serde_json::{Value, json};

use super::Python;
use super::environment::Environments;
use super::watcher::{self, Built};
use crate::config::expand::variables;
use crate::config::plugin::{self, Class, SEPARATOR};
use crate::config::{Global, Inherited, WatcherConfig};

/// The program that runs a plugin class in Python.
const IN_PYTHON: &str = "from circus import plugins;plugins.main()";

/// The first word of our own program's arguments when it is to be a plugin.
pub const RUN: &str = "--run-plugin";

/// Before the endpoint's address on the command line, and before the one of events.
pub const ENDPOINTS: [&str; 2] = ["--endpoint", "--pubsub"];

/// Builds the watcher of a plugin's section.
pub(super) fn build(
    section: &Section,
    circus: &Global,
    environments: &Environments<'_>,
    inherited: &Inherited,
    python: &dyn Python,
) -> Result<Built, Vec<ValueError>> {
    let name = section.name.as_str();
    let env = environments.of_watcher(section, name, true)?;
    environments.charge(section, &env.known)?;
    let mut options: BTreeMap<String, String> = section
        .entries
        .iter()
        .map(|entry| (entry.key.clone(), variables(&entry.value, |key| env.known.get(key))))
        .collect();
    options.insert("name".to_owned(), name.to_owned());
    let mut errors = Vec::new();
    for entry in &section.entries {
        if options.get(&entry.key).is_some_and(|value| value.contains(SEPARATOR)) {
            let reason = format!("{:?} contains {SEPARATOR:?}, which separates options", entry.value);
            errors.push(section.error(entry, reason));
        }
    }
    let class = options.remove("use").unwrap_or_default();
    let program = match program(section, &class, &options, python) {
        Ok(program) => program,
        Err(faults) => return Err(errors.into_iter().chain(faults).collect()),
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    let base = WatcherConfig {
        cmd: program.cmd,
        args: arguments(program.first, circus, &options, &class),
        singleton: true,
        priority: 1,
        copy_env: true,
        copy_path: true,
        close_child_stdout: true,
        close_child_stderr: !program.built_in,
        ..watcher::blank(name, inherited)
    };
    let mut built = watcher::build_from(section, base, &["use"], environments, python)?;
    let said = |key: &str| section.get(key).is_some();
    if let Some(watcher) = &mut built.watcher {
        // Where a stream is asked for, there is something to read.
        watcher.close_child_stdout &= watcher.stdout_stream.is_none() || said("close_child_stdout");
        watcher.close_child_stderr &= watcher.stderr_stream.is_none() || said("close_child_stderr");
    }
    let active = options.get("active").map(String::as_str).and_then(circus_protocol::ini::parse_bool);
    if let Some(watcher) = built.watcher.as_mut().filter(|_| active == Some(false)) {
        // It would end at once, again and again.
        watcher.autostart = false;
        watcher.respawn = false;
    }
    Ok(built)
}

/// Tells a plugin's watcher the addresses as they are, once they are known; others are left alone.
pub fn connect(watcher: &mut WatcherConfig, circus: &Global) {
    let Value::Array(words) = &mut watcher.args else { return };
    if !watcher.name.original().starts_with("plugin:") {
        return;
    }
    for (flag, address) in ENDPOINTS.into_iter().zip([&circus.endpoint, &circus.pubsub_endpoint]) {
        let place = words.iter().position(|word| word == flag).map(|at| at + 1);
        if let Some(word) = place.and_then(|at| words.get_mut(at)) {
            *word = Value::from(address.as_str());
        }
    }
}

/// What runs it.
struct Program {
    cmd: String,
    first: Vec<String>,
    built_in: bool,
}

fn program(
    section: &Section,
    class: &str,
    options: &BTreeMap<String, String>,
    python: &dyn Python,
) -> Result<Program, Vec<ValueError>> {
    let fault = |key: &str, reason: String| match section.get(key) {
        Some(entry) => section.error(entry, reason),
        None => {
            ValueError { place: section.place(), section: section.name.clone(), key: key.to_owned(), reason }
        }
    };
    if class.is_empty() {
        let reason = "missing: the class to run, e.g. circus.plugins.flapping.Flapping";
        return Err(vec![fault("use", reason.to_owned())]);
    }
    if let Some(built_in) = Class::from_path(class) {
        let settings = plugin::settings(built_in, options);
        settings.map_err(|faults| {
            faults.into_iter().map(|wrong| fault(wrong.key, wrong.reason)).collect::<Vec<_>>()
        })?;
        return Ok(Program { cmd: python.own_program(), first: vec![RUN.to_owned()], built_in: true });
    }
    let found = python.importable(class).map_err(|reason| vec![fault("use", format!("{class}: {reason}"))]);
    let first = vec!["-c".to_owned(), IN_PYTHON.to_owned()];
    found.map(|cmd| Program { cmd, first, built_in: false })
}

/// A list, so that nothing has to be quoted.
fn arguments(first: Vec<String>, circus: &Global, options: &BTreeMap<String, String>, class: &str) -> Value {
    let [endpoint, pubsub] = ENDPOINTS;
    let mut words = first;
    words.extend([endpoint, &circus.endpoint, pubsub, &circus.pubsub_endpoint].map(str::to_owned));
    words.extend(["--check-delay".to_owned(), circus.check_delay.to_string()]);
    words.extend(["--config".to_owned(), plugin::to_text(options)]);
    for (flag, value) in [("--log-level", &circus.loglevel), ("--log-output", &circus.logoutput)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            words.extend([flag.to_owned(), value.clone()]);
        }
    }
    words.push(class.to_owned());
    json!(words)
}

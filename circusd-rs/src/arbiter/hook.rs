//! Hooks as the rules see them: their names, what each is told, and what a failure counts as.
//!
//! It refuses to know how a hook is called: [`HookCall`] goes out, an outcome comes back.

use circus_protocol::json::float;
use circus_protocol::number::{Pid, Signal};
use serde_json::{Map, Value};

use crate::arbiter::effect::{Callee, HookCall, HookLoad};
use crate::arbiter::id::Key;
use crate::arbiter::time::seconds;
use crate::arbiter::words;
use crate::config::{Global, HookConfig, WatcherConfig, option};

/// The hook that edits figures; it publishes nothing and decides nothing.
pub(super) const EXTENDED_STATS: &str = "extended_stats";

/// What the process library of stock calls a process that is gone.
const GONE: i64 = 2;

/// One moment at which a watcher may have a hook, with what the hook is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Point {
    BeforeStart,
    AfterStart,
    BeforeSpawn,
    /// With the key of the process, whose birth is told when the hook agrees.
    AfterSpawn {
        key: Key,
        pid: Pid,
    },
    BeforeStop,
    AfterStop,
    BeforeSignal {
        pid: Pid,
        signal: Signal,
    },
    AfterSignal {
        pid: Pid,
        signal: Signal,
    },
    BeforeReap {
        pid: Pid,
    },
    AfterReap {
        pid: Pid,
        exit_code: Option<i32>,
        /// It died without being asked to.
        unasked: bool,
    },
}

impl Point {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::AfterStart => "after_start",
            Self::BeforeSpawn => "before_spawn",
            Self::AfterSpawn { .. } => "after_spawn",
            Self::BeforeStop => "before_stop",
            Self::AfterStop => "after_stop",
            Self::BeforeSignal { .. } => "before_signal",
            Self::AfterSignal { .. } => "after_signal",
            Self::BeforeReap { .. } => "before_reap",
            Self::AfterReap { .. } => "after_reap",
        }
    }

    /// Whether its answer is pointless once nobody wants the watcher up any more.
    pub(super) fn is_of_a_start(self) -> bool {
        match self {
            Self::BeforeStart | Self::AfterStart | Self::BeforeSpawn | Self::AfterSpawn { .. } => true,
            Self::BeforeStop
            | Self::AfterStop
            | Self::BeforeSignal { .. }
            | Self::AfterSignal { .. }
            | Self::BeforeReap { .. }
            | Self::AfterReap { .. } => false,
        }
    }

    /// Whether a failure counts as agreement although nobody said so.
    pub(super) fn forgives(self) -> bool {
        match self {
            Self::BeforeStop | Self::AfterStop | Self::BeforeSignal { .. } | Self::AfterSignal { .. } => true,
            Self::BeforeStart
            | Self::AfterStart
            | Self::BeforeSpawn
            | Self::AfterSpawn { .. }
            | Self::BeforeReap { .. }
            | Self::AfterReap { .. } => false,
        }
    }

    /// What this call is about, in circus' words.
    pub(super) fn extra(self, now: f64) -> Map<String, Value> {
        let number = |pid: Pid| Value::from(pid.get());
        let pairs = match self {
            Self::BeforeStart | Self::AfterStart | Self::BeforeSpawn | Self::BeforeStop | Self::AfterStop => {
                vec![]
            }
            Self::AfterSpawn { pid, .. } => vec![("pid", number(pid))],
            Self::BeforeSignal { pid, signal } | Self::AfterSignal { pid, signal } => {
                vec![("pid", number(pid)), ("signum", Value::from(signal.0))]
            }
            Self::BeforeReap { pid } => vec![("process_pid", number(pid)), ("time", float(now))],
            Self::AfterReap { pid, exit_code, unasked } => vec![
                ("process_pid", number(pid)),
                ("time", float(now)),
                ("exit_code", Value::from(exit_code)),
                ("process_status", if unasked { Value::from(GONE) } else { Value::Null }),
            ],
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

/// A call of `hook` for a watcher that runs with `config`.
pub(super) fn call(
    name: &str,
    hook: &HookConfig,
    config: &WatcherConfig,
    pids: Vec<Pid>,
    global: &Global,
    extra: Map<String, Value>,
) -> HookCall {
    let pids: Vec<i32> = pids.into_iter().map(Pid::get).collect();
    let facts = object([
        ("name", Value::from(config.name.original())),
        ("res_name", Value::from(config.name.topic())),
        ("numprocesses", Value::from(config.numprocesses)),
        ("pids", Value::from(pids)),
        ("options", Value::Object(option::show_all(config))),
    ]);
    let arbiter = object([
        ("endpoint", Value::from(global.endpoint.as_str())),
        ("pubsub_endpoint", Value::from(global.pubsub_endpoint.as_str())),
        ("stats_endpoint", Value::from(global.stats_endpoint.as_str())),
        ("check_delay", float(global.check_delay)),
    ]);
    HookCall {
        hook: name.to_owned(),
        callee: callee(&hook.path),
        watcher: config.name.original().to_owned(),
        facts,
        env: config
            .env
            .iter()
            .flat_map(|env| env.iter())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        working_dir: config.working_dir.clone(),
        arbiter,
        extra,
        search: config.python_path(),
        limit: seconds(global.hook_timeout),
    }
}

/// What must be imported before `config` may be used; `None` when nothing must.
pub(super) fn load(
    paths: Vec<String>,
    again: bool,
    config: &WatcherConfig,
    global: &Global,
) -> Option<Box<HookLoad>> {
    let paths: Vec<String> =
        paths.into_iter().filter(|path| !path.starts_with(HookConfig::PROGRAM)).collect();
    if paths.is_empty() {
        return None;
    }
    Some(Box::new(HookLoad {
        paths,
        search: config.python_path(),
        again,
        limit: seconds(global.hook_timeout),
    }))
}

/// Our addition is a program instead of a Python function. What cannot be split into words is one
/// word, and no program will have that name.
fn callee(path: &str) -> Callee {
    match path.strip_prefix(HookConfig::PROGRAM) {
        Some(line) => Callee::Program(words::split(line).unwrap_or_else(|_| vec![line.to_owned()])),
        None => Callee::Python(path.to_owned()),
    }
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

//! Hooks, wherever they are written; the outcome comes back as an input.
//!
//! ```text
//!  Runner ──RunHook──► Hooks ─┬─ a program ──► program: one process for one call
//!                             └─ a Python path ──► python: one interpreter for all, a thread for each call
//! ```
//!
//! Every call ends: with an answer, or with an error when its process ends or its time is over. It
//! refuses to know what an answer means. Processes belong to the warden, like all others, and end with
//! the daemon: whoever waits for them holds no more than a weak end of its orders.

pub(crate) mod program;
pub(crate) mod python;

use std::time::Duration;

use circus_protocol::number::Wid;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::arbiter::effect::{Callee, HookCall, HookLoad, SocketUse, SpawnSpec, Stdio};
use crate::arbiter::id::{JobId, WatcherId};
use crate::arbiter::input::{HookOutcome, Input};
use crate::config::Config;
use crate::host::warden::Order;
use python::{Answer, Question};

/// How long one watcher's Python hooks may take to import when the configuration is read.
const IMPORT: Duration = Duration::from_secs(10);

/// The host's end of everybody's hooks.
#[derive(Debug)]
pub(crate) struct Hooks {
    inputs: mpsc::Sender<Input>,
    orders: mpsc::Sender<Order>,
    python: mpsc::Sender<Question>,
    handle: Handle,
    programs: u64,
}

impl Hooks {
    /// Nothing runs until the first hook does.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, orders: mpsc::Sender<Order>, handle: Handle) -> Self {
        let python = python::start(orders.downgrade(), &handle);
        Self { inputs, orders, python, handle, programs: 0 }
    }

    /// Begins a call; `HookDone` follows.
    pub(crate) fn run(&mut self, job: JobId, call: HookCall) {
        let inputs = self.inputs.clone();
        match &call.callee {
            Callee::Program(argv) => {
                self.programs += 1;
                let (argv, key, orders) =
                    (argv.clone(), program::key(self.programs), self.orders.downgrade());
                self.handle.spawn(async move {
                    let outcome = program::run(call, argv, key, orders).await;
                    let _the_loop_left = inputs.send(Input::HookDone { job, outcome }).await;
                });
            }
            Callee::Python(path) => {
                let limit = call.limit;
                let answer = ask(&self.python, request(path, &call), limit);
                self.handle.spawn(async move {
                    let outcome = match answer.await {
                        Ok(Answer { truth, stats }) => HookOutcome::Returned { truth, stats },
                        Err(error) => HookOutcome::Raised(error),
                    };
                    let _the_loop_left = inputs.send(Input::HookDone { job, outcome }).await;
                });
            }
        }
    }

    /// Begins to import; `HooksLoaded` follows.
    pub(crate) fn load(&mut self, job: JobId, load: HookLoad) {
        let inputs = self.inputs.clone();
        let answer = ask(&self.python, import(&load.paths, &load.search, load.again), load.limit);
        self.handle.spawn(async move {
            let result = answer.await.map(|_| ());
            let _the_loop_left = inputs.send(Input::HooksLoaded { job, result }).await;
        });
    }

    /// For the reading of configurations.
    pub(crate) fn vetting(&self) -> Vetting {
        Vetting { python: self.python.clone() }
    }
}

/// Looks at a configuration's Python hooks before it is used.
#[derive(Debug)]
pub struct Vetting {
    python: mpsc::Sender<Question>,
}

impl Vetting {
    /// Leaves out the watchers whose hooks cannot be imported, as stock does; with a warning for each.
    pub async fn vet(self, mut config: Config) -> (Config, Vec<String>) {
        let (mut kept, mut warnings) = (Vec::with_capacity(config.watchers.len()), Vec::new());
        for watcher in std::mem::take(&mut config.watchers) {
            let mut faults = Vec::new();
            for (name, hook) in watcher.python_hooks() {
                let paths = std::slice::from_ref(&hook.path);
                let question = import(paths, &watcher.python_path(), false);
                if let Err(error) = ask(&self.python, question, IMPORT).await {
                    faults.push(format!("hooks.{name} = {}: {error}", hook.path));
                }
            }
            if faults.is_empty() {
                kept.push(watcher);
            } else {
                let name = watcher.name.original();
                warnings.push(format!("Failed to create watcher '{name}': {}", faults.join("; ")));
            }
        }
        config.watchers = kept;
        (config, warnings)
    }
}

/// Puts a question to Python; the answer comes at the latest after the limit.
fn ask(
    python: &mpsc::Sender<Question>,
    request: Map<String, Value>,
    limit: Duration,
) -> impl Future<Output = Result<Answer, String>> + Send + use<> {
    let (answer, answered) = oneshot::channel();
    let sent = python.try_send(Question { request, limit, answer });
    async move {
        sent.map_err(|_| "too many Python hooks wait to be called".to_owned())?;
        answered.await.unwrap_or_else(|_| Err(python::ENDED.to_owned()))
    }
}

fn request(path: &str, call: &HookCall) -> Map<String, Value> {
    let env: Map<String, Value> =
        call.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut watcher = call.facts.clone();
    watcher.insert("env".to_owned(), Value::Object(env));
    watcher.insert("working_dir".to_owned(), Value::from(call.working_dir.as_str()));
    object(json!({
        "op": "call",
        "path": path,
        "hook": call.hook,
        "watcher": watcher,
        "arbiter": call.arbiter,
        "extra": call.extra,
        "search": call.search,
    }))
}

fn import(paths: &[String], search: &[String], again: bool) -> Map<String, Value> {
    object(json!({"op": "load", "paths": paths, "search": search, "again": again}))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// Tells the warden, if the daemon goes on.
pub(super) async fn order(orders: &mpsc::WeakSender<Order>, order: Order) -> Result<(), String> {
    let ends = || "the daemon ends".to_owned();
    let orders = orders.upgrade().ok_or_else(ends)?;
    orders.send(order).await.map_err(|_| ends())
}

/// A helper process: as the daemon's own user, in a group of its own.
pub(super) fn spec(argv: Vec<String>, env: Vec<(String, String)>, working_dir: String) -> Box<SpawnSpec> {
    Box::new(SpawnSpec {
        watcher: "hooks".to_owned(),
        watcher_id: WatcherId(0),
        wid: Wid(0),
        argv,
        env,
        working_dir,
        uid: None,
        gid: None,
        rlimits: Vec::new(),
        stdin: Stdio::Null,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
        sockets: SocketUse::default(),
        preparation: None,
        looks: None,
    })
}

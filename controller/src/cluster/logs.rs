//! `logs` on one node: which watchers and sources are meant, and a piece of each.
//!
//! ```text
//!  native  (status) ─► (sources of each) ─► logs, logs, … ─► verdict
//!  stock   (status ─► options of each) ─► one-shot ─────────► verdict
//! ```
//!
//! A circusd-rs is asked for what it keeps. A stock node keeps nothing, but its streams and its
//! services' logs may go to files, which a one-shot reads. Places of an earlier answer are read on
//! without looking again.

mod stock;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use circus_protocol::service::Membership;
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::clock::Offset;
use crate::cluster::log::stamp;
use crate::cluster::names::{any_glob, listed, select};
use crate::cluster::node::Daemon;
use crate::cluster::oneshot::{OneShot, Step};
use crate::cluster::plan::ServicesFile;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused, refused_by_rs};
use crate::outcome::{LogPlace, LogsPart, LogsRequest, NodeState};

/// The most lines of one answer, when it is not known how many are wanted.
const MANY_LINES: u32 = 10_000;
/// The most bytes of one answer of a circusd-rs.
const PIECE: u64 = 256 * 1024;
/// How far back a log is read for a time.
const FAR: usize = 16 * 1024 * 1024;

/// A word of [`LogsRequest::sources`].
const ALL: &str = "all";

/// The steps.
#[derive(Debug)]
pub struct Logs {
    request: LogsRequest,
    setting: Setting,
    stage: Stage,
    asked: Duration,
    clock: Option<Offset>,
    /// Watchers whose sources are still to be asked for.
    names: VecDeque<String>,
    tasks: VecDeque<Task>,
    done: Vec<Value>,
    added: bool,
}

/// Where and when it runs.
#[derive(Debug)]
pub struct Setting {
    /// The node's name.
    pub node: String,
    /// The Unix time at which the cluster's time is zero.
    pub epoch: f64,
    /// What paths on a stock node may name.
    pub membership: Membership,
    /// Which log files there are on a stock node.
    pub services: Option<Arc<ServicesFile>>,
    /// The name of the watcher that may be needed.
    pub oneshot: String,
}

/// One log to be read.
#[derive(Debug, Clone, PartialEq)]
struct Task {
    name: String,
    source: String,
    path: Option<String>,
    /// Where, unless its last lines are wanted.
    at: Option<(u64, Option<String>)>,
}

#[derive(Debug)]
enum Stage {
    Status,
    Sources { name: String },
    Options { name: String },
    Reading { task: Task, text: String },
    Shot(OneShot),
}

impl Logs {
    /// Begins nothing yet.
    #[must_use]
    pub fn new(request: LogsRequest, setting: Setting) -> Self {
        let (names, tasks) = (VecDeque::new(), VecDeque::new());
        let (stage, asked, clock, done, added) = (Stage::Status, Duration::ZERO, None, Vec::new(), false);
        Self { request, setting, stage, asked, clock, names, tasks, done, added }
    }

    fn send(&mut self, context: &Context<'_>, stage: Stage, request: Request) -> Next {
        self.stage = stage;
        self.asked = context.now;
        Next::Send(request)
    }

    fn begin(&mut self, context: &Context<'_>) -> Next {
        if let Daemon::Rs { version, .. } = context.daemon
            && !context.daemon.can("logs")
        {
            let reason = format!("circusd-rs {version} does not offer logs");
            return Verdict::bare(NodeState::Refused, reason).into();
        }
        if let LogsPart::On { places } = &self.request.part {
            let places = places.get(&self.setting.node).map(Vec::as_slice).unwrap_or_default();
            self.tasks = places.iter().map(Task::of).collect();
            return self.go_on(context);
        }
        let literal = !self.request.names.is_empty() && !any_glob(&self.request.names);
        if literal && *context.daemon != Daemon::Stock {
            self.names = self.request.names.clone().into();
            return self.go_on(context);
        }
        self.send(context, Stage::Status, Request::new("status", json!({})))
    }

    fn listed(&mut self, context: &Context<'_>, reply: &Map<String, Value>) -> Next {
        match select(&listed(reply), &self.request.names) {
            Ok(chosen) => self.names = chosen.into_iter().map(|watcher| watcher.name).collect(),
            Err(unselected) => return unselected.verdict().into(),
        }
        self.go_on(context)
    }

    /// What is to be found out next, or read.
    fn go_on(&mut self, context: &Context<'_>) -> Next {
        if let Some(name) = self.names.pop_front() {
            let about = json!({ "name": name });
            if *context.daemon == Daemon::Stock {
                return self.send(context, Stage::Options { name }, Request::new("options", about));
            }
            if self.request.sources.iter().any(|source| source == ALL) {
                let request = Request::new("logs", json!({"name": name, "sources": true}));
                return self.send(context, Stage::Sources { name }, request);
            }
            let sources = self.request.sources.clone();
            self.tasks.extend(sources.into_iter().map(|source| Task::new(&name, source)));
            return self.go_on(context);
        }
        if *context.daemon == Daemon::Stock {
            return self.shoot();
        }
        match self.tasks.pop_front() {
            Some(task) => self.read(context, task, String::new(), None),
            None => self.finish(context),
        }
    }

    fn read(&mut self, context: &Context<'_>, task: Task, text: String, limit: Option<u64>) -> Next {
        let mut about = Map::from_iter([
            ("name".to_owned(), json!(task.name)),
            ("source".to_owned(), json!(task.source)),
        ]);
        match (&task.at, &self.request.part) {
            (Some((offset, generation)), _) => {
                about.insert("offset".to_owned(), json!(offset));
                about.extend(generation.iter().map(|word| ("generation".to_owned(), json!(word))));
                about.extend(limit.map(|limit| ("limit".to_owned(), json!(limit))));
            }
            (None, LogsPart::Last { lines }) => drop(about.insert("lines".to_owned(), json!(lines))),
            (None, LogsPart::Since { .. } | LogsPart::On { .. }) => {
                about.insert("lines".to_owned(), json!(MANY_LINES));
            }
        }
        if self.request.binary {
            about.insert("encoding".to_owned(), json!("base64"));
        }
        let request = Request::new("logs", Value::Object(about));
        self.send(context, Stage::Reading { task, text }, request)
    }

    /// A piece of a log came.
    fn piece(
        &mut self,
        context: &Context<'_>,
        mut task: Task,
        later: String,
        mut reply: Map<String, Value>,
    ) -> Next {
        let by = self.setting.epoch + context.now.as_secs_f64();
        let text = reply.get("text").and_then(Value::as_str).unwrap_or_default();
        let offset = reply.get("offset").and_then(Value::as_u64).unwrap_or_default();
        let zone = reply.get("zone").and_then(Value::as_i64).and_then(|zone| i32::try_from(zone).ok());
        let more = match self.request.part {
            LogsPart::Since { time } if offset > 0 && text.len() + later.len() < FAR => {
                let ahead = self.clock.map_or(0.0, |clock| clock.seconds);
                let first = text.lines().find_map(stamp::of);
                first.is_none_or(|stamp| stamp.unix(zone.unwrap_or(0)) - ahead >= time)
            }
            LogsPart::Since { .. } | LogsPart::Last { .. } | LogsPart::On { .. } => false,
        };
        let text = format!("{text}{later}");
        if more {
            let before = offset.saturating_sub(PIECE);
            let generation = reply.get("generation").and_then(Value::as_str).map(str::to_owned);
            task.at = Some((before, generation));
            return self.read(context, task, text, Some(offset - before));
        }
        for envelope in ["id", "time", "status"] {
            reply.shift_remove(envelope);
        }
        if !self.request.binary {
            reply.insert("text".to_owned(), json!(text));
        }
        let mut entry = Map::from_iter([
            ("name".to_owned(), json!(task.name)),
            ("source".to_owned(), json!(task.source)),
        ]);
        entry.extend(reply);
        entry.insert("by".to_owned(), json!(by));
        self.done.push(Value::Object(entry));
        self.go_on(context)
    }

    fn failed(&mut self, task: &Task, refused: bool, error: &str) {
        self.done.push(json!({"name": task.name, "source": task.source, "error": error, "refused": refused}));
    }

    /// On a stock node: everything at once.
    fn shoot(&mut self) -> Next {
        let lines = match self.request.part {
            LogsPart::Last { lines } => lines,
            LogsPart::Since { .. } | LogsPart::On { .. } => MANY_LINES,
        };
        let tasks: Vec<Value> = self.tasks.drain(..).map(|task| task.for_program(lines)).collect();
        if tasks.is_empty() {
            return self.end(None);
        }
        match OneShot::launch(self.setting.oneshot.clone(), stock::PROGRAM, &json!({ "tasks": tasks })) {
            Ok((shot, next)) => {
                (self.added, self.stage) = (true, Stage::Shot(shot));
                next
            }
            Err(verdict) => verdict.into(),
        }
    }

    fn shot(&mut self, context: &Context<'_>, event: Event) -> Next {
        let Stage::Shot(shot) = &mut self.stage else {
            return Verdict::bare(NodeState::Failed, "woken without a pause").into();
        };
        let result = match shot.step(event) {
            Step::Go(next) => return next,
            Step::Result(result) => result,
        };
        if let Some(verdict) = crate::cluster::configure::failure(&result) {
            return verdict.into();
        }
        let by = self.setting.epoch + context.now.as_secs_f64();
        let logs = result.get("logs").and_then(Value::as_array).into_iter().flatten();
        for entry in logs.filter_map(Value::as_object) {
            let mut entry = entry.clone();
            if let Some(packed) = entry.shift_remove("z") {
                let Some(bytes) = stock::unpack(&packed) else {
                    return Verdict::bare(NodeState::Failed, "what the one-shot read cannot be unpacked")
                        .into();
                };
                match self.request.binary {
                    true => entry.insert("base64".to_owned(), json!(STANDARD.encode(bytes))),
                    false => entry.insert("text".to_owned(), json!(String::from_utf8_lossy(&bytes))),
                };
                entry.insert("by".to_owned(), json!(by));
                entry.insert("zone".to_owned(), result.get("zone").cloned().unwrap_or_default());
            }
            self.done.push(Value::Object(entry));
        }
        self.end(None)
    }

    fn finish(&mut self, context: &Context<'_>) -> Next {
        let pubsub = match context.daemon {
            Daemon::Rs { publishes, .. } => publishes.as_deref().map(Value::from),
            Daemon::Stock => None,
        };
        self.end(pubsub)
    }

    fn end(&mut self, pubsub: Option<Value>) -> Next {
        let error = |entry: &Value| {
            let text = entry.get("error")?.as_str()?.to_owned();
            Some((text, entry.get("refused").and_then(Value::as_bool) == Some(true)))
        };
        let errors: Vec<(String, bool)> = self.done.iter().filter_map(error).collect();
        let data = json!({
            "logs": std::mem::take(&mut self.done),
            "clock": self.clock.map(Offset::to_json),
            "pubsub": pubsub,
        });
        let logs = data.get("logs").and_then(Value::as_array).map_or(0, Vec::len);
        if !errors.is_empty() && errors.len() == logs {
            let state = if errors.iter().all(|(_, refused)| *refused) {
                NodeState::Refused
            } else {
                NodeState::Failed
            };
            let texts: Vec<&str> = errors.iter().map(|(text, _)| text.as_str()).collect();
            return Verdict::with(state, texts.join("; "), data).into();
        }
        Verdict::with(NodeState::Done, "", data).into()
    }

    fn answered(&mut self, context: &Context<'_>, reply: Map<String, Value>) -> Next {
        let measured = Offset::of(&reply, self.setting.epoch, self.asked, context.now);
        self.clock = measured.map(|offset| offset.better(self.clock)).or(self.clock);
        match std::mem::replace(&mut self.stage, Stage::Status) {
            Stage::Status => self.listed(context, &reply),
            Stage::Sources { name } => {
                let sources = reply.get("sources").and_then(Value::as_array).into_iter().flatten();
                let sources = sources.filter_map(Value::as_str);
                self.tasks.extend(sources.map(|source| Task::new(&name, source.to_owned())));
                self.go_on(context)
            }
            Stage::Options { name } => {
                let (tasks, errors) = self.files_of(&name, &reply);
                self.tasks.extend(tasks);
                self.done.extend(errors);
                self.go_on(context)
            }
            Stage::Reading { task, text, .. } => self.piece(context, task, text, reply),
            shot @ Stage::Shot(_) => {
                self.stage = shot;
                self.shot(context, Event::Answer(Answer::Ok(reply)))
            }
        }
    }

    fn refused(&mut self, context: &Context<'_>, errno: i64, reason: String) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Status) {
            Stage::Status => refused("status", errno, &reason).into(),
            Stage::Sources { name } | Stage::Options { name } => {
                let verdict = refused_by_rs("logs", errno, &reason);
                self.failed(
                    &Task::new(&name, "all".to_owned()),
                    verdict.state == NodeState::Refused,
                    &verdict.reason,
                );
                self.go_on(context)
            }
            Stage::Reading { task, .. } => {
                let verdict = refused_by_rs("logs", errno, &reason);
                self.failed(&task, verdict.state == NodeState::Refused, &verdict.reason);
                self.go_on(context)
            }
            shot @ Stage::Shot(_) => {
                self.stage = shot;
                self.shot(context, Event::Answer(Answer::Error { errno, reason }))
            }
        }
    }
}

impl Procedure for Logs {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        match event {
            Event::Begin => self.begin(context),
            Event::Woken => self.shot(context, event),
            Event::Answer(Answer::Ok(reply)) => self.answered(context, reply),
            Event::Answer(Answer::Error { errno, reason }) => self.refused(context, errno, reason),
        }
    }

    fn leftover(&self) -> Option<&str> {
        self.added.then_some(self.setting.oneshot.as_str())
    }
}

impl Task {
    fn new(name: &str, source: String) -> Self {
        Self { name: name.to_owned(), source, path: None, at: None }
    }

    fn of(place: &LogPlace) -> Self {
        let LogPlace { name, source, offset, generation, path } = place.clone();
        Self { name, source, path, at: Some((offset, generation)) }
    }

    fn for_program(self, lines: u32) -> Value {
        let mut task = json!({"name": self.name, "source": self.source, "path": self.path});
        if let Some(map) = task.as_object_mut() {
            match self.at {
                Some((offset, generation)) => {
                    map.insert("offset".to_owned(), json!(offset));
                    map.insert("generation".to_owned(), json!(generation));
                }
                None => drop(map.insert("lines".to_owned(), json!(lines))),
            }
        }
        task
    }
}

#[cfg(test)]
mod tests;

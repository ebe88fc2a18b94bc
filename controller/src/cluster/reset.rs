//! `reset` on one node: by its own command, or by a one-shot under the same rules.
//!
//! ```text
//!  circusd-rs:  reset ─► verdict
//!  stock:       status ─► (stop) ─► one-shot ─► verdict
//! ```

use std::sync::Arc;

use circus_protocol::command::ResetKind;
use circus_protocol::service::{Membership, RenderError, ResetTask, plan_reset};
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::configure::{failure, is_running};
use crate::cluster::names::{Listed, alternation, listed, named, placed};
use crate::cluster::node::Daemon;
use crate::cluster::oneshot::{OneShot, Step};
use crate::cluster::plan::ServicesFile;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused, refused_by_rs};
use crate::outcome::{NodeState, ResetRequest};

/// The program that moves files on a stock node.
const PROGRAM: &str = include_str!("oneshot/reset.py");

/// Why a stock node cannot be reset, and what to do.
const NO_SERVICES: &str = "a stock circusd has no reset command: name the services with --services FILE \
                           (the sections of a circusd-rs node) and the console does it";

/// The steps.
#[derive(Debug)]
pub struct Reset {
    request: ResetRequest,
    membership: Membership,
    services: Option<Arc<ServicesFile>>,
    oneshot: String,
    stage: Stage,
    tasks: Vec<ResetTask>,
    added: bool,
}

#[derive(Debug)]
enum Stage {
    Native,
    Listing,
    Stopping,
    Shot(OneShot),
}

impl Reset {
    /// `oneshot` is the name of the watcher that may be needed.
    #[must_use]
    pub fn new(
        request: ResetRequest,
        membership: Membership,
        services: Option<Arc<ServicesFile>>,
        oneshot: String,
    ) -> Self {
        Self { request, membership, services, oneshot, stage: Stage::Native, tasks: Vec::new(), added: false }
    }

    fn begin(&mut self, daemon: &Daemon) -> Next {
        match daemon {
            Daemon::Rs { .. } if daemon.can("reset") => Next::Send(Request::new("reset", self.native())),
            Daemon::Rs { version, .. } => {
                Verdict::bare(NodeState::Refused, format!("circusd-rs {version} does not offer reset")).into()
            }
            Daemon::Stock => self.plan(),
        }
    }

    fn native(&self) -> Value {
        let ResetRequest { services, kind, dry_run, stop, undo, keep } = &self.request;
        let mut map = named(services);
        map.insert("kind".to_owned(), json!(word(*kind)));
        for (name, value) in [("dry_run", dry_run), ("stop", stop), ("undo", undo)] {
            if *value {
                map.insert(name.to_owned(), json!(true));
            }
        }
        if let Some(keep) = keep {
            map.insert("keep".to_owned(), json!(keep));
        }
        // A daemon that was started after the last `configure` knows its place from here only.
        map.extend(placed(&self.membership));
        Value::Object(map)
    }

    fn plan(&mut self) -> Next {
        let Some(file) = &self.services else { return Verdict::bare(NodeState::Refused, NO_SERVICES).into() };
        let wanted = (!self.request.services.is_empty()).then_some(self.request.services.as_slice());
        match plan_reset(&file.services, Some(&self.membership), wanted, self.request.kind) {
            Ok(tasks) if tasks.is_empty() => {
                let text = format!("no service has anything to reset of kind {}", word(self.request.kind));
                Verdict::with(NodeState::Unchanged, text, json!({"services": {}})).into()
            }
            Ok(tasks) => {
                self.tasks = tasks;
                self.stage = Stage::Listing;
                Next::Send(Request::new("status", json!({})))
            }
            Err(errors) => {
                let lines: Vec<String> = errors.iter().map(RenderError::to_string).collect();
                Verdict::bare(NodeState::Refused, lines.join("; ")).into()
            }
        }
    }

    /// Nothing is moved while its service runs; to look does no harm.
    fn check(&mut self, all: &[Listed]) -> Next {
        let mut running: Vec<String> = Vec::new();
        for task in &self.tasks {
            if is_running(all, &task.service) && !running.contains(&task.service) {
                running.push(task.service.clone());
            }
        }
        if running.is_empty() || self.request.dry_run {
            return self.shoot();
        }
        if !self.request.stop {
            let verb = if running.len() == 1 { "is" } else { "are" };
            let text = format!("{} {verb} running; stop first, or reset with --stop", running.join(", "));
            return Verdict::bare(NodeState::Refused, text).into();
        }
        self.stage = Stage::Stopping;
        Next::Send(Request::new(
            "stop",
            json!({"name": alternation(&running), "match": "regex", "waiting": true}),
        ))
    }

    fn shoot(&mut self) -> Next {
        let tasks: Vec<Value> = self.tasks.iter().map(|task| row(task, self.request.keep)).collect();
        let ResetRequest { dry_run, undo, .. } = &self.request;
        let payload = json!({"tasks": tasks, "dry_run": dry_run, "undo": undo});
        match OneShot::launch(self.oneshot.clone(), PROGRAM, &payload) {
            Ok((shot, next)) => {
                (self.added, self.stage) = (true, Stage::Shot(shot));
                next
            }
            Err(verdict) => verdict.into(),
        }
    }

    fn answered(&mut self, answer: Answer) -> Next {
        match (&mut self.stage, answer) {
            (Stage::Native, Answer::Ok(reply)) => done(&reply).into(),
            (Stage::Native, Answer::Error { errno, reason }) => refused_by_rs("reset", errno, &reason).into(),
            (Stage::Listing, Answer::Ok(reply)) => self.check(&listed(&reply)),
            (Stage::Stopping, Answer::Ok(_)) => {
                // The next look must find them stopped; if somebody starts them again, that is a refusal.
                self.request.stop = false;
                self.stage = Stage::Listing;
                Next::Send(Request::new("status", json!({})))
            }
            (Stage::Listing, Answer::Error { errno, reason }) => refused("status", errno, &reason).into(),
            (Stage::Stopping, Answer::Error { errno, reason }) => refused("stop", errno, &reason).into(),
            (Stage::Shot(shot), answer) => match shot.step(Event::Answer(answer)) {
                Step::Go(next) => next,
                Step::Result(result) => finished(&result).into(),
            },
        }
    }
}

impl Procedure for Reset {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        match (event, &mut self.stage) {
            (Event::Begin, _) => self.begin(context.daemon),
            (Event::Answer(answer), _) => self.answered(answer),
            (Event::Woken, Stage::Shot(shot)) => match shot.step(Event::Woken) {
                Step::Go(next) => next,
                Step::Result(result) => finished(&result).into(),
            },
            (Event::Woken, Stage::Native | Stage::Listing | Stage::Stopping) => {
                Verdict::bare(NodeState::Failed, "woken without a pause").into()
            }
        }
    }

    fn leftover(&self) -> Option<&str> {
        self.added.then_some(self.oneshot.as_str())
    }
}

fn word(kind: ResetKind) -> &'static str {
    match kind {
        ResetKind::Data => "data",
        ResetKind::Log => "log",
        ResetKind::All => "all",
    }
}

/// A rule for the program on the node.
fn row(task: &ResetTask, keep: Option<f64>) -> Value {
    let rule = &task.rule;
    let texts = |globs: &[circus_protocol::service::glob::Glob]| -> Vec<String> {
        globs.iter().map(ToString::to_string).collect()
    };
    let kind = rule.kind.word();
    let name = if rule.label.is_empty() { kind.to_owned() } else { format!("{kind}:{}", rule.label) };
    json!({
        "service": task.service, "rule": name, "root": task.root.to_string_lossy(),
        "delete": texts(&rule.delete), "truncate": texts(&rule.truncate), "keep": texts(&rule.keep),
        "require_dirs": rule.require_dirs, "keep_seconds": keep.unwrap_or(rule.keep_seconds).max(0.0),
    })
}

fn finished(result: &Map<String, Value>) -> Verdict {
    failure(result).unwrap_or_else(|| done(result))
}

/// Done or unchanged, by what went.
fn done(reply: &Map<String, Value>) -> Verdict {
    let services = reply.get("services").cloned().unwrap_or_else(|| json!({}));
    let went = |row: &Value| {
        ["deleted", "truncated"]
            .iter()
            .any(|key| row.get(key).and_then(Value::as_array).is_some_and(|l| !l.is_empty()))
    };
    let any = services.as_object().into_iter().flatten().any(|(_, row)| went(row));
    let (state, reason) =
        if any { (NodeState::Done, "") } else { (NodeState::Unchanged, "nothing to reset") };
    Verdict::with(state, reason, json!({ "services": services }))
}

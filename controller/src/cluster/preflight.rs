//! `preflight` on one node: by its own command, or by a one-shot that looks at the same things.
//!
//! ```text
//!  circusd-rs:  preflight ─► verdict
//!  stock:       status ─► (options ─► list) of each service ─► one-shot ─► verdict
//! ```
//!
//! A stock circusd does not tell which limits a watcher sets; those of a running process are read.

use std::collections::VecDeque;
use std::sync::Arc;

use circus_protocol::service::Membership;
use circus_protocol::service::preflight::{Facts, Finding, Grade, Look, Process, report};
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::configure::failure;
use crate::cluster::names::{Listed, any_glob, listed, named, placed, select};
use crate::cluster::oneshot::{OneShot, Step};
use crate::cluster::plan::ServicesFile;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused, refused_by_rs};
use crate::outcome::NodeState;
use crate::words;

/// The program that looks on a stock node.
const PROGRAM: &str = include_str!("oneshot/preflight.py");

/// Why a stock node cannot be looked at, and what to do.
const NO_SERVICES: &str = "a stock circusd has no preflight command: name the services with --services FILE \
                           (the sections of a circusd-rs node) and the console looks";

/// The steps.
#[derive(Debug)]
pub struct Preflight {
    wanted: Vec<String>,
    membership: Membership,
    services: Option<Arc<ServicesFile>>,
    oneshot: String,
    stage: Stage,
    looks: Vec<Look>,
    added: bool,
}

#[derive(Debug)]
enum Stage {
    Native,
    /// What patterns mean on a node that can look itself.
    Naming,
    Listing,
    /// The first of the queue was asked for its options.
    Options(VecDeque<Listed>),
    /// And then for its processes.
    Processes {
        name: String,
        process: Process,
        rest: VecDeque<Listed>,
    },
    Shot(OneShot),
}

impl Preflight {
    /// Of these services; of all when none is named. `oneshot` is the name of the watcher that may be
    /// needed.
    #[must_use]
    pub fn new(
        wanted: Vec<String>,
        membership: Membership,
        services: Option<Arc<ServicesFile>>,
        oneshot: String,
    ) -> Self {
        Self { wanted, membership, services, oneshot, stage: Stage::Native, looks: Vec::new(), added: false }
    }

    fn native(&self) -> Request {
        let mut map = named(&self.wanted);
        map.extend(placed(&self.membership));
        Request::new("preflight", Value::Object(map))
    }

    fn begin(&mut self, context: &Context<'_>) -> Next {
        if context.daemon.can("preflight") && any_glob(&self.wanted) {
            self.stage = Stage::Naming;
            return Next::Send(Request::new("status", json!({})));
        }
        if context.daemon.can("preflight") {
            return Next::Send(self.native());
        }
        if context.daemon.can("hello") || self.services.is_none() {
            let reason = match context.daemon.can("hello") {
                true => format!("{} does not offer preflight", context.daemon.describe()),
                false => NO_SERVICES.to_owned(),
            };
            return Verdict::bare(NodeState::Refused, reason).into();
        }
        self.stage = Stage::Listing;
        Next::Send(Request::new("status", json!({})))
    }

    /// Services of the file that have a watcher there and are meant.
    fn chosen(&mut self, all: &[Listed]) -> Next {
        let Some(file) = &self.services else { return Verdict::bare(NodeState::Refused, NO_SERVICES).into() };
        let chosen = match select(all, &self.wanted) {
            Ok(chosen) => chosen,
            Err(unselected) => return unselected.verdict().into(),
        };
        let is_service = |watcher: &Listed| file.services.get(&watcher.name).is_some();
        let queue: VecDeque<Listed> = chosen.into_iter().filter(is_service).collect();
        self.options(queue)
    }

    fn options(&mut self, queue: VecDeque<Listed>) -> Next {
        let Some(first) = queue.front() else { return self.shoot() };
        let request = Request::new("options", json!({"name": first.name}));
        self.stage = Stage::Options(queue);
        Next::Send(request)
    }

    fn learnt(&mut self, mut queue: VecDeque<Listed>, reply: &Map<String, Value>) -> Next {
        let Some(first) = queue.pop_front() else { return self.shoot() };
        let process = process(reply.get("options").unwrap_or(&Value::Null));
        if first.state == "stopped" {
            return self.looked(&first.name, process, queue);
        }
        let request = Request::new("list", json!({"name": first.name}));
        self.stage = Stage::Processes { name: first.name, process, rest: queue };
        Next::Send(request)
    }

    fn looked(&mut self, name: &str, process: Process, rest: VecDeque<Listed>) -> Next {
        let services = self.services.as_ref().map(|file| &file.services);
        if let Some((all, service)) = services.and_then(|all| Some((all, all.get(name)?))) {
            let variables = all.variables_of(service, Some(&self.membership));
            self.looks.push(Look::of(service, &variables, process));
        }
        self.options(rest)
    }

    fn shoot(&mut self) -> Next {
        if self.looks.is_empty() {
            return verdict(report(&[], &[])).into();
        }
        let looks: Vec<Value> = self.looks.iter().map(Look::to_json).collect();
        match OneShot::launch(self.oneshot.clone(), PROGRAM, &json!({ "looks": looks })) {
            Ok((shot, next)) => {
                (self.added, self.stage) = (true, Stage::Shot(shot));
                next
            }
            Err(verdict) => verdict.into(),
        }
    }

    fn found(&self, result: &Map<String, Value>) -> Verdict {
        if let Some(verdict) = failure(result) {
            return verdict;
        }
        let rows = result.get("facts").and_then(Value::as_array).into_iter().flatten();
        let facts: Vec<Facts> = rows.filter_map(Value::as_object).map(Facts::from_json).collect();
        verdict(report(&self.looks, &facts))
    }

    fn answered(&mut self, answer: Answer) -> Next {
        match (std::mem::replace(&mut self.stage, Stage::Native), answer) {
            (Stage::Native, Answer::Ok(mut reply)) => {
                reply.retain(|key, _| matches!(key.as_str(), "services" | "checks" | "findings"));
                verdict(reply).into()
            }
            (Stage::Native, Answer::Error { errno, reason }) => {
                refused_by_rs("preflight", errno, &reason).into()
            }
            (Stage::Naming, Answer::Ok(reply)) => match select(&listed(&reply), &self.wanted) {
                Ok(chosen) => {
                    self.wanted = chosen.into_iter().map(|watcher| watcher.name).collect();
                    Next::Send(self.native())
                }
                Err(unselected) => unselected.verdict().into(),
            },
            (Stage::Listing, Answer::Ok(reply)) => self.chosen(&listed(&reply)),
            (Stage::Options(queue), Answer::Ok(reply)) => self.learnt(queue, &reply),
            (Stage::Processes { name, mut process, rest }, Answer::Ok(reply)) => {
                let pids = reply.get("pids").and_then(Value::as_array).into_iter().flatten();
                process.pids =
                    pids.filter_map(Value::as_i64).filter_map(|pid| i32::try_from(pid).ok()).collect();
                self.looked(&name, process, rest)
            }
            (Stage::Naming | Stage::Listing, Answer::Error { errno, reason }) => {
                refused("status", errno, &reason).into()
            }
            (Stage::Options(_), Answer::Error { errno, reason }) => refused("options", errno, &reason).into(),
            (Stage::Processes { .. }, Answer::Error { errno, reason }) => {
                refused("list", errno, &reason).into()
            }
            (Stage::Shot(shot), answer) => self.shot(shot, Event::Answer(answer)),
        }
    }

    fn shot(&mut self, mut shot: OneShot, event: Event) -> Next {
        match shot.step(event) {
            Step::Go(next) => {
                self.stage = Stage::Shot(shot);
                next
            }
            Step::Result(result) => self.found(&result).into(),
        }
    }
}

impl Procedure for Preflight {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        match event {
            Event::Begin => self.begin(context),
            Event::Answer(answer) => self.answered(answer),
            Event::Woken => match std::mem::replace(&mut self.stage, Stage::Native) {
                Stage::Shot(shot) => self.shot(shot, Event::Woken),
                Stage::Native
                | Stage::Naming
                | Stage::Listing
                | Stage::Options(_)
                | Stage::Processes { .. } => Verdict::bare(NodeState::Failed, "woken without a pause").into(),
            },
        }
    }

    fn leftover(&self) -> Option<&str> {
        self.added.then_some(self.oneshot.as_str())
    }
}

/// A problem makes the node fail; a warning does not.
fn verdict(reply: Map<String, Value>) -> Verdict {
    let findings = reply.get("findings").and_then(Value::as_array).into_iter().flatten();
    let findings: Vec<Finding> = findings.map(Finding::from_json).collect();
    let count = |grade| findings.iter().filter(|finding| finding.grade == grade).count();
    let told = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        many => Some(format!("{many} {word}s")),
    };
    let (problems, warnings) = (count(Grade::Problem), count(Grade::Warning));
    let words = [(problems, Grade::Problem), (warnings, Grade::Warning)];
    let reason: Vec<String> =
        words.into_iter().filter_map(|(count, grade)| told(count, grade.word())).collect();
    let state = if problems > 0 { NodeState::Failed } else { NodeState::Done };
    Verdict::with(state, reason.join(", "), Value::Object(reply))
}

/// How a stock watcher starts its processes, from its options.
pub(super) fn process(options: &Value) -> Process {
    let text = |key: &str| options.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let id = |key: &str| match options.get(key) {
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
        _ => None,
    };
    let shell = options.get("shell").and_then(Value::as_bool).unwrap_or(false);
    let command = text("executable").or_else(|| text("cmd")).filter(|_| !shell).unwrap_or_default();
    // What circus puts in there is known to it alone.
    let plain = !command.contains("$(") && !command.contains("((");
    let first = words::split(command, words::SHLEX).ok().and_then(|words| words.into_iter().next());
    let env = options.get("env").and_then(Value::as_object).into_iter().flatten();
    Process {
        program: first.filter(|_| plain).unwrap_or_default(),
        uid: id("uid"),
        gid: id("gid"),
        working_dir: text("working_dir").unwrap_or_default().to_owned(),
        env: env.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
        rlimits: Vec::new(),
        pids: Vec::new(),
    }
}

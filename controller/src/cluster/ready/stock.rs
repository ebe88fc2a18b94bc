//! Readiness on a stock node, one round at a time.
//!
//! ```text
//!  status ─► (stats) of each with probes ─► the console's questions ─► told
//!                                             └ all good, and some are the node's to ask
//!                                                 (options) of each ─► one-shot ─► rm ─► told
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use circus_protocol::service::Membership;
use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::configure::failure;
use crate::cluster::names::{Listed, Unselected, listed, select};
use crate::cluster::oneshot::{OneShot, Removal, Step};
use crate::cluster::plan::ServicesFile;
use crate::cluster::preflight::process;
use crate::cluster::probing::{Asked, answers};
use crate::cluster::procedure::{Event, Next, Verdict, refused};
use crate::outcome::NodeState;

/// The program that asks on a stock node.
const PROGRAM: &str = include_str!("../oneshot/probe.py");
/// How long it asks again by itself, in seconds: much less than what makes a one-shot a leftover.
const PATIENCE: f64 = 10.0;

/// What a round came to.
#[derive(Debug)]
pub(super) enum Round {
    /// Go on like this.
    Go(Next),
    /// It is over.
    Told {
        /// Each one's readiness, in the form in which a circusd-rs tells it.
        watchers: Map<String, Value>,
        /// Whether probes were asked.
        probed: bool,
    },
}

/// The steps of one round.
#[derive(Debug)]
pub struct Stock {
    wanted: Vec<String>,
    patience: f64,
    node: Membership,
    services: Option<Arc<ServicesFile>>,
    oneshot: String,
    added: bool,
    stage: Stage,
    chosen: Vec<Listed>,
    asked: Vec<Asked>,
    errands: Vec<Value>,
    /// Of each watcher with probes, over all rounds.
    lives: HashMap<String, Lives>,
}

/// How often processes ended that nobody counts: others are there than at the last look. Who comes and
/// goes between two looks is not seen.
#[derive(Debug, Default)]
struct Lives {
    pids: BTreeSet<String>,
    ends: usize,
    most: usize,
}

impl Lives {
    fn look(&mut self, pids: BTreeSet<String>) {
        // Between two lives there is none.
        if pids.is_empty() {
            return;
        }
        if !self.pids.is_empty() {
            self.ends += pids.difference(&self.pids).count();
        }
        self.most = self.most.max(pids.len());
        self.pids = pids;
    }
}

#[derive(Debug)]
enum Stage {
    Resting,
    Listing,
    /// The ages of these are asked for, by their places in `asked`.
    Ages(VecDeque<usize>),
    Console,
    /// And how these start their processes.
    Options(VecDeque<usize>),
    Shot(OneShot),
    Removing(Removal),
}

impl Stock {
    /// The node's place, what is known of its services, and the name of a watcher that may be needed.
    #[must_use]
    pub fn new(node: Membership, services: Option<Arc<ServicesFile>>, oneshot: String) -> Self {
        Self {
            wanted: Vec::new(),
            patience: 0.0,
            node,
            services,
            oneshot,
            added: false,
            stage: Stage::Resting,
            chosen: Vec::new(),
            asked: Vec::new(),
            errands: Vec::new(),
            lives: HashMap::new(),
        }
    }

    /// The one-shot that may be there.
    pub(super) fn leftover(&self) -> Option<&str> {
        self.added.then_some(self.oneshot.as_str())
    }

    /// No round is under way.
    pub(super) fn rests(&self) -> bool {
        matches!(self.stage, Stage::Resting)
    }

    /// A new round about these watchers, or all. `wait`: a program on the node asks again by itself for a
    /// while.
    pub(super) fn begin(&mut self, wanted: &[String], wait: bool) -> Next {
        self.wanted = wanted.to_vec();
        self.patience = if wait { PATIENCE } else { 0.0 };
        self.stage = Stage::Listing;
        Next::Send(Request::new("status", json!({})))
    }

    pub(super) fn step(&mut self, event: Event) -> Round {
        match (std::mem::replace(&mut self.stage, Stage::Resting), event) {
            (Stage::Listing, Event::Answer(Answer::Ok(reply))) => self.listed(&listed(&reply)),
            (Stage::Ages(queue), Event::Answer(answer)) => self.aged(queue, &answer),
            (Stage::Console, Event::Answer(Answer::Ok(reply))) => self.heard(&reply),
            (Stage::Options(queue), Event::Answer(Answer::Ok(reply))) => self.learnt(queue, &reply),
            (Stage::Shot(mut shot), event) => match shot.step(event) {
                Step::Go(next) => {
                    self.stage = Stage::Shot(shot);
                    Round::Go(next)
                }
                Step::Result(result) => self.answered(&result),
            },
            (Stage::Removing(mut removal), event) => {
                let next = removal.step(event);
                self.stage = Stage::Removing(removal);
                match next {
                    Next::Finish(verdict) if verdict.state == NodeState::Done => {
                        self.added = false;
                        self.told()
                    }
                    next => Round::Go(next),
                }
            }
            (Stage::Listing, Event::Answer(Answer::Error { errno, reason })) => {
                Round::Go(refused("status", errno, &reason).into())
            }
            (Stage::Options(_), Event::Answer(Answer::Error { errno, reason })) => {
                Round::Go(refused("options", errno, &reason).into())
            }
            (
                Stage::Resting | Stage::Listing | Stage::Ages(_) | Stage::Console | Stage::Options(_),
                Event::Begin | Event::Woken | Event::Answer(_),
            ) => Round::Go(Verdict::bare(NodeState::Failed, "an answer without a question").into()),
        }
    }

    fn listed(&mut self, all: &[Listed]) -> Round {
        match select(all, &self.wanted) {
            Ok(chosen) => self.chosen = chosen,
            Err(unselected) => return Round::Go(Unselected::verdict(unselected).into()),
        }
        let services = self.services.as_ref().map(|file| &file.services);
        let probes = |watcher: &Listed| {
            let services = services.filter(|_| watcher.state == "active")?;
            Asked::of(services, services.get(&watcher.name)?, &self.node, &watcher.name)
        };
        self.asked = self.chosen.iter().filter_map(probes).collect();
        self.ages((0..self.asked.len()).collect())
    }

    fn ages(&mut self, queue: VecDeque<usize>) -> Round {
        let first = queue.front().and_then(|at| self.asked.get(*at));
        if let Some(asked) = first {
            let request = Request::new("stats", json!({"name": asked.watcher}));
            self.stage = Stage::Ages(queue);
            return Round::Go(Next::Send(request));
        }
        let questions: Vec<_> = self.asked.iter().flat_map(Asked::questions).cloned().collect();
        if questions.is_empty() {
            return self.heard(&Map::new());
        }
        self.stage = Stage::Console;
        Round::Go(Next::Probe(questions))
    }

    /// What the console was told. Nobody is sent to the node before that is well.
    fn heard(&mut self, reply: &Map<String, Value>) -> Round {
        let mut answers = answers(reply);
        for asked in &mut self.asked {
            asked.answer(&mut answers);
        }
        let errands = self.asked.iter().enumerate().filter(|(_, asked)| !asked.errands().is_empty());
        let queue = errands.map(|(at, _)| at).collect();
        self.errands.clear();
        self.options(queue)
    }

    /// A process that is just dying keeps stock from telling figures: then its age is not known.
    fn aged(&mut self, mut queue: VecDeque<usize>, answer: &Answer) -> Round {
        let info = match answer {
            Answer::Ok(reply) => reply.get("info").and_then(Value::as_object),
            Answer::Error { .. } => None,
        };
        let ages = info.into_iter().flat_map(Map::values).filter_map(|figures| figures.get("age")?.as_f64());
        let age = ages.reduce(f64::max);
        if let Some(asked) = queue.pop_front().and_then(|at| self.asked.get_mut(at)) {
            asked.with_age(age);
            // One that has ended is listed until stock notices.
            let pids = info.into_iter().flat_map(Map::keys).cloned().collect();
            self.lives.entry(asked.watcher.clone()).or_default().look(pids);
        }
        self.ages(queue)
    }

    fn options(&mut self, queue: VecDeque<usize>) -> Round {
        if let Some(asked) = queue.front().and_then(|at| self.asked.get(*at)) {
            let request = Request::new("options", json!({"name": asked.watcher}));
            self.stage = Stage::Options(queue);
            return Round::Go(Next::Send(request));
        }
        if self.errands.is_empty() {
            return self.told();
        }
        let payload = json!({"errands": self.errands, "patience": self.patience});
        Round::Go(match OneShot::launch(self.oneshot.clone(), PROGRAM, &payload) {
            Ok((shot, next)) => {
                (self.added, self.stage) = (true, Stage::Shot(shot));
                next
            }
            Err(verdict) => verdict.into(),
        })
    }

    /// Programs run as the watcher's processes do.
    fn learnt(&mut self, mut queue: VecDeque<usize>, reply: &Map<String, Value>) -> Round {
        let process = process(reply.get("options").unwrap_or(&Value::Null));
        let env: Map<String, Value> = process.env.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
        if let Some(asked) = queue.pop_front().and_then(|at| self.asked.get(at)) {
            for mut errand in asked.errands() {
                if let Some(errand) = errand.as_object_mut() {
                    errand.insert("uid".to_owned(), json!(process.uid));
                    errand.insert("gid".to_owned(), json!(process.gid));
                    errand.insert("working_dir".to_owned(), json!(process.working_dir));
                    errand.insert("env".to_owned(), Value::Object(env.clone()));
                    errand.insert("age".to_owned(), json!(asked.age));
                }
                self.errands.push(errand);
            }
        }
        self.options(queue)
    }

    fn answered(&mut self, result: &Map<String, Value>) -> Round {
        if let Some(verdict) = failure(result) {
            return Round::Go(verdict.into());
        }
        let mut answers = answers(result);
        for asked in &mut self.asked {
            if !asked.errands().is_empty() {
                asked.report(&mut answers);
            }
        }
        // It is removed before the next round, which may need another.
        let mut removal = Removal::new(self.oneshot.clone());
        let next = removal.step(Event::Begin);
        self.stage = Stage::Removing(removal);
        Round::Go(next)
    }

    /// What its probes say, and how its processes fare.
    fn seen(&self, asked: &Asked) -> Value {
        let mut told = asked.told();
        if let (Some(lives), Some(told)) = (self.lives.get(&asked.watcher), told.as_object_mut()) {
            told.insert("ends".to_owned(), json!(lives.ends));
            told.insert("numprocesses".to_owned(), json!(lives.most));
        }
        told
    }

    fn told(&mut self) -> Round {
        self.stage = Stage::Resting;
        let state = |watcher: &Listed| match watcher.state.as_str() {
            "active" => {
                let asked = self.asked.iter().find(|asked| asked.watcher == watcher.name);
                asked.map_or_else(
                    || json!({"state": "up", "ready": true, "detail": ""}),
                    |asked| self.seen(asked),
                )
            }
            "stopped" => json!({"state": "down", "ready": false, "detail": ""}),
            other => json!({"state": "starting", "ready": false, "detail": other}),
        };
        let watchers = self.chosen.iter().map(|watcher| (watcher.name.clone(), state(watcher))).collect();
        Round::Told { watchers, probed: !self.asked.is_empty() }
    }
}

//! `start`, `stop`, `restart`, `reload`, and the `status` they all begin and end with.
//!
//! ```text
//!  status ─► stop (all at once) ─► start (one after the other) ─► status ─► verdict
//!                                                                   ▲  │ still starting or stopping
//!                                                                   └──┘
//! ```
//!
//! Watchers are always addressed by name: a nameless `start` skips those that do not start by
//! themselves, a nameless `restart` may kill a stock daemon, and a `start` of an active watcher whose
//! processes died blocks it for as long as the others live. So an active watcher is never started.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::names::{Listed, alternation, is_oneshot, listed, select};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::outcome::NodeState;

/// How long between two looks at a watcher that is neither up nor down.
const SETTLE: Duration = Duration::from_millis(50);

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Only look.
    Status,
    /// Up.
    Start,
    /// Down.
    Stop,
    /// Down, then up.
    Restart,
    /// New processes.
    Reload,
}

/// The steps.
#[derive(Debug)]
pub struct Lifecycle {
    verb: Verb,
    wanted: Vec<String>,
    stage: Stage,
    /// Watchers that were neither up nor down when last looked at.
    unsettled: Vec<String>,
}

#[derive(Debug)]
enum Stage {
    Listing,
    Acting { chosen: Vec<String>, queue: VecDeque<Request>, sent: String },
    Checking { chosen: Vec<String>, changed: bool },
}

impl Lifecycle {
    /// For these watchers; for all when none is named.
    #[must_use]
    pub fn new(verb: Verb, wanted: Vec<String>) -> Self {
        Self { verb, wanted, stage: Stage::Listing, unsettled: Vec::new() }
    }

    fn list() -> Next {
        Next::Send(Request::new("status", json!({})))
    }

    fn chosen(&mut self, all: &[Listed]) -> Next {
        let chosen = match (self.verb, self.wanted.is_empty()) {
            // To look at, circus' own helpers are as good as any.
            (Verb::Status, true) => Ok(all.iter().filter(|w| !is_oneshot(&w.name)).cloned().collect()),
            _ => select(all, &self.wanted),
        };
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(unselected) => return unselected.verdict().into(),
        };
        if self.verb == Verb::Status {
            return Verdict::with(NodeState::Done, String::new(), states(&chosen)).into();
        }
        // What a start would do to such a watcher depends on how that ends.
        let moving =
            |w: &Listed| w.state == "stopping" || (w.state == "starting" && self.verb == Verb::Start);
        self.unsettled = chosen.iter().filter(|w| moving(w)).map(told).collect();
        if !self.unsettled.is_empty() && self.verb != Verb::Stop {
            return Next::Pause(SETTLE);
        }
        let queue = self.requests(&chosen);
        self.act(chosen.into_iter().map(|w| w.name).collect(), queue)
    }

    /// What must be sent, given the states now.
    fn requests(&self, chosen: &[Listed]) -> VecDeque<Request> {
        let running = || chosen.iter().filter(|w| w.state != "stopped").map(|w| w.name.clone());
        let stopped = || chosen.iter().filter(|w| w.state == "stopped").map(|w| w.name.clone());
        let mut queue = VecDeque::new();
        match self.verb {
            Verb::Status => {}
            Verb::Start => queue.extend(stopped().map(|name| start(&name))),
            Verb::Stop => queue.extend(stop(&running().collect::<Vec<_>>())),
            Verb::Restart => {
                queue.extend(stop(&running().collect::<Vec<_>>()));
                queue.extend(chosen.iter().map(|w| start(&w.name)));
            }
            // Stock's `reload` would start what was stopped on purpose.
            Verb::Reload => {
                queue.extend(
                    running().map(|name| Request::new("reload", json!({"name": name, "waiting": true}))),
                );
            }
        }
        queue
    }

    fn act(&mut self, chosen: Vec<String>, mut queue: VecDeque<Request>) -> Next {
        let changed = !queue.is_empty();
        match queue.pop_front() {
            Some(request) => {
                self.stage = Stage::Acting { chosen, queue, sent: request.describe() };
                Next::Send(request)
            }
            None => {
                self.stage = Stage::Checking { chosen, changed };
                Self::list()
            }
        }
    }

    fn done(&mut self, all: &[Listed], chosen: &[String], changed: bool) -> Next {
        let now: Vec<Listed> = all.iter().filter(|w| chosen.contains(&w.name)).cloned().collect();
        let moving = |w: &&Listed| w.state == "starting" || w.state == "stopping";
        self.unsettled = now.iter().filter(moving).map(told).collect();
        if !self.unsettled.is_empty() {
            return Next::Pause(SETTLE);
        }
        let wrong: Vec<&str> = match self.verb {
            Verb::Start | Verb::Restart => not_in(&now, "active"),
            Verb::Stop => not_in(&now, "stopped"),
            Verb::Reload | Verb::Status => Vec::new(),
        };
        let data = states(&now);
        if !wrong.is_empty() {
            let state =
                if self.verb == Verb::Stop { "still active" } else { "stopped again; its log says why" };
            return Verdict::with(NodeState::Failed, format!("{}: {state}", wrong.join(", ")), data).into();
        }
        if changed {
            return Verdict::with(NodeState::Done, String::new(), data).into();
        }
        let reason = if now.is_empty() { "no watchers".to_owned() } else { self.idle().to_owned() };
        Verdict::with(NodeState::Unchanged, reason, data).into()
    }

    fn idle(&self) -> &'static str {
        match self.verb {
            Verb::Start => "already active",
            Verb::Stop => "already stopped",
            Verb::Reload => "not running",
            Verb::Restart | Verb::Status => "nothing to do",
        }
    }
}

fn told(watcher: &Listed) -> String {
    format!("{} is still {}", watcher.name, watcher.state)
}

fn not_in<'a>(now: &'a [Listed], state: &str) -> Vec<&'a str> {
    now.iter().filter(|w| w.state != state).map(|w| w.name.as_str()).collect()
}

/// `{"watchers": {name: state}}`.
fn states(list: &[Listed]) -> Value {
    let map: Map<String, Value> = list.iter().map(|w| (w.name.clone(), json!(w.state))).collect();
    json!({ "watchers": map })
}

fn start(name: &str) -> Request {
    Request::new("start", json!({"name": name, "match": "simple", "waiting": true}))
}

/// One command for all of them, so that their times to end run in parallel.
fn stop(names: &[String]) -> Option<Request> {
    match names {
        [] => None,
        [name] => Some(Request::new("stop", json!({"name": name, "match": "simple", "waiting": true}))),
        several => {
            let pattern = alternation(several);
            Some(Request::new("stop", json!({"name": pattern, "match": "regex", "waiting": true})))
        }
    }
}

impl Procedure for Lifecycle {
    fn next(&mut self, _: &Context<'_>, event: Event) -> Next {
        let answer = match event {
            Event::Begin | Event::Woken => return Self::list(),
            Event::Answer(answer) => answer,
        };
        let reply = match answer {
            Answer::Ok(reply) => reply,
            Answer::Error { errno, reason } => {
                let what = match &self.stage {
                    Stage::Acting { sent, .. } => sent.clone(),
                    Stage::Listing | Stage::Checking { .. } => "status".to_owned(),
                };
                return refused(&what, errno, &reason).into();
            }
        };
        match std::mem::replace(&mut self.stage, Stage::Listing) {
            Stage::Listing => self.chosen(&listed(&reply)),
            Stage::Acting { chosen, queue, .. } if queue.is_empty() => {
                self.stage = Stage::Checking { chosen, changed: true };
                Self::list()
            }
            Stage::Acting { chosen, queue, .. } => self.act(chosen, queue),
            Stage::Checking { chosen, changed } => {
                let next = self.done(&listed(&reply), &chosen, changed);
                self.stage = Stage::Checking { chosen, changed };
                next
            }
        }
    }

    fn waits_for(&self) -> Option<String> {
        (!self.unsettled.is_empty()).then(|| self.unsettled.join(", "))
    }
}

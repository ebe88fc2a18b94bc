//! `why` on a node that answers: what its daemon is, whether it takes commands, what its clock shows,
//! and how a watcher (or, without a name, each of them) stands.
//!
//! ```text
//!  status ─► native: why NAME ─► why DEPENDENCY … ─────────────► chain
//!        └─► stock:  options ─► stats ─► add of what there is ─► chain
//! ```
//!
//! How a node is reached at all is the business of whoever asks. Nothing is changed: the `add` names a
//! watcher that exists, which stock refuses, but with other words while it is locked.

mod story;

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request, short};
use crate::cluster::chain::{Link, broken};
use crate::cluster::clock::Offset;
use crate::cluster::names::{Listed, is_helper, listed, select};
use crate::cluster::node::Daemon;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::outcome::NodeState;
use story::Place;
pub(super) use story::judged;

/// A clock that is further off than this many seconds is wrong: databases order writes by it.
const TOLERANCE: f64 = 1.0;
/// How many watchers of a node are asked for their story.
const MAX_STORIES: usize = 100;
/// How far a chain of dependencies is followed.
const MAX_DEPTH: usize = 8;

/// The walk over one node.
#[derive(Debug)]
pub struct Why {
    node: String,
    /// The watcher that is meant; each of them when `None`.
    name: Option<String>,
    epoch: f64,
    asked: Duration,
    stage: Stage,
    clock: Option<Offset>,
    watchers: Vec<Listed>,
    queue: VecDeque<String>,
    depth: usize,
    /// What the first story about the meant watcher said, as it came.
    told: Map<String, Value>,
    links: Vec<Link>,
}

#[derive(Debug)]
enum Stage {
    Status,
    Story { name: String },
    Options { name: String },
    Stats { name: Option<String>, options: Map<String, Value> },
    Lock,
}

impl Why {
    /// `epoch` is the Unix time at which the cluster's time is zero.
    #[must_use]
    pub fn new(node: &str, name: Option<String>, epoch: f64) -> Self {
        Self {
            node: node.to_owned(),
            name,
            epoch,
            asked: Duration::ZERO,
            stage: Stage::Status,
            clock: None,
            watchers: Vec::new(),
            queue: VecDeque::new(),
            depth: 0,
            told: Map::new(),
            links: Vec::new(),
        }
    }

    fn send(&mut self, context: &Context<'_>, stage: Stage, request: Request) -> Next {
        self.stage = stage;
        self.asked = context.now;
        Next::Send(request)
    }

    fn listed(&mut self, context: &Context<'_>, reply: &Map<String, Value>) -> Next {
        self.watchers = listed(reply);
        self.links.push(Link::whole("daemon", "answers"));
        self.links.push(version(context.daemon));
        self.links.extend(self.clock.map(clock_link));
        if broken(&self.links).is_some() {
            return self.finish();
        }
        let names: Vec<String> = match &self.name {
            None => {
                let own = self.watchers.iter().filter(|watcher| !is_helper(&watcher.name));
                own.map(|watcher| watcher.name.clone()).collect()
            }
            Some(name) => match select(&self.watchers, std::slice::from_ref(name)) {
                Ok(chosen) => chosen.into_iter().map(|watcher| watcher.name).collect(),
                Err(unselected) => {
                    let reason = unselected.to_string();
                    let remedy = "name one it has, or add its section to the ini and `call reloadconfig`";
                    self.links.push(Link::broken("watcher", reason, remedy));
                    return self.finish();
                }
            },
        };
        if names.len() > 1 {
            // A pattern that several match: each at a glance.
            self.name = None;
        }
        if let Some(name) = self.name.as_ref().and(names.first()) {
            self.links.push(Link::whole("watcher", format!("there is a watcher {name}")));
        }
        self.queue = names.into_iter().take(MAX_STORIES).collect();
        match context.daemon {
            Daemon::Stock if self.name.is_none() => {
                let stage = Stage::Stats { name: None, options: Map::new() };
                self.send(context, stage, Request::new("stats", json!({})))
            }
            Daemon::Stock | Daemon::Rs { .. } => self.ask(context),
        }
    }

    /// Goes on with the next watcher.
    fn ask(&mut self, context: &Context<'_>) -> Next {
        let Some(name) = self.queue.pop_front() else { return self.finish() };
        let about = json!({ "name": name });
        match context.daemon {
            Daemon::Stock => self.send(context, Stage::Options { name }, Request::new("options", about)),
            Daemon::Rs { .. } if context.daemon.can("why") => {
                self.send(context, Stage::Story { name }, Request::new("why", about))
            }
            Daemon::Rs { .. } => self.finish(),
        }
    }

    fn story(&mut self, context: &Context<'_>, name: &str, mut reply: Map<String, Value>) -> Next {
        let now = reply.get("time").and_then(Value::as_f64).unwrap_or(self.epoch + context.now.as_secs_f64());
        let place = Place { watcher: name, node: &self.node };
        let links = story::native(place, &reply, now);
        if self.name.is_none() {
            return self.glance(context, name, links);
        }
        let waits = broken(&links).filter(|link| link.name == "order" && self.depth < MAX_DEPTH);
        let other = waits.and_then(|link| story::dependency(&link.text)).map(str::to_owned);
        if self.depth == 0 {
            for envelope in ["id", "time", "status"] {
                reply.shift_remove(envelope);
            }
            self.told = reply;
            self.links.extend(links);
        } else if let (Some(cause), Some(waiting)) = (broken(&links), self.links.last_mut()) {
            // What it waits for is itself held up: that is what must be mended.
            waiting.text = format!("{}; {name}: {}", waiting.text, cause.text);
            waiting.remedy.clone_from(&cause.remedy);
        }
        match other.filter(|other| self.watchers.iter().any(|watcher| watcher.name == *other)) {
            Some(other) => {
                self.depth += 1;
                let request = Request::new("why", json!({ "name": other }));
                self.send(context, Stage::Story { name: other }, request)
            }
            None => self.finish(),
        }
    }

    /// For `why NODE`: who was stopped on purpose is no trouble of the node.
    fn glance(&mut self, context: &Context<'_>, name: &str, links: Vec<Link>) -> Next {
        let link = match broken(&links) {
            None => Link::whole("watcher", format!("{name}: runs")),
            Some(link) if link.name == "wanted" => {
                Link::odd("watcher", format!("{name}: {}", link.text), link.remedy.clone())
            }
            Some(link) => Link::broken("watcher", format!("{name}: {}", link.text), link.remedy.clone()),
        };
        self.links.push(link);
        self.ask(context)
    }

    fn stock_figures(&mut self, reply: &Map<String, Value>) {
        let Stage::Stats { name, options } = &self.stage else { return };
        let none = Map::new();
        match name {
            Some(name) => {
                let processes = reply.get("info").and_then(Value::as_object).unwrap_or(&none);
                let place = Place { watcher: name, node: &self.node };
                let links = story::stock(place, state_of(&self.watchers, name), options, processes);
                self.told.insert("name".to_owned(), json!(name));
                self.told.insert("state".to_owned(), json!(state_of(&self.watchers, name)));
                self.links.extend(links);
            }
            None => {
                let infos = reply.get("infos").and_then(Value::as_object).unwrap_or(&none);
                for name in std::mem::take(&mut self.queue) {
                    let state = state_of(&self.watchers, &name);
                    let alive = infos.get(&name).and_then(Value::as_object);
                    let alive = alive.is_some_and(|map| map.values().any(Value::is_object));
                    self.links.push(match (state, alive) {
                        ("active", false) => {
                            let text = format!("{name}: active without a process");
                            let remedy = format!("circusman why {name} --on {}", self.node);
                            Link::broken("watcher", text, remedy)
                        }
                        ("active", true) => Link::whole("watcher", format!("{name}: runs")),
                        (other, _) => Link::odd("watcher", format!("{name}: {other}"), ""),
                    });
                }
            }
        }
    }

    /// Stock refuses this in any case; if it is locked, the runner hears so and asks again.
    fn lock(&mut self, context: &Context<'_>) -> Next {
        let Some(known) = self.watchers.first() else { return self.finish() };
        let properties = json!({"name": known.name, "cmd": "true", "start": false});
        self.send(context, Stage::Lock, Request::new("add", properties))
    }

    fn finish(&mut self) -> Next {
        let links = std::mem::take(&mut self.links);
        let (state, reason) = match broken(&links) {
            Some(link) => (NodeState::Failed, format!("{}: {}", link.name, link.text)),
            None => (NodeState::Done, String::new()),
        };
        let mut data = std::mem::take(&mut self.told);
        data.insert("clock".to_owned(), self.clock.map_or(Value::Null, Offset::to_json));
        data.insert("links".to_owned(), links.iter().map(Link::to_json).collect());
        Verdict::with(state, reason, Value::Object(data)).into()
    }

    fn answered(&mut self, context: &Context<'_>, reply: Map<String, Value>) -> Next {
        let measured = Offset::of(&reply, self.epoch, self.asked, context.now);
        self.clock = measured.map(|offset| offset.better(self.clock)).or(self.clock);
        match &mut self.stage {
            Stage::Status => self.listed(context, &reply),
            Stage::Story { name } => {
                let name = std::mem::take(name);
                self.story(context, &name, reply)
            }
            Stage::Options { name } => {
                let name = std::mem::take(name);
                let options = reply.get("options").and_then(Value::as_object).cloned().unwrap_or_default();
                let request = Request::new("stats", json!({ "name": name }));
                self.send(context, Stage::Stats { name: Some(name), options }, request)
            }
            Stage::Stats { .. } => {
                self.stock_figures(&reply);
                self.lock(context)
            }
            Stage::Lock => self.finish(),
        }
    }
}

impl Procedure for Why {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        match (event, &self.stage) {
            (Event::Begin | Event::Woken, _) => {
                self.send(context, Stage::Status, Request::new("status", json!({})))
            }
            (Event::Answer(Answer::Ok(reply)), _) => self.answered(context, reply),
            // It exists already: the answer of a daemon that is not locked.
            (Event::Answer(Answer::Error { .. }), Stage::Lock) => self.finish(),
            // A watcher that went meanwhile, or processes that stock cannot tell figures of just now.
            (Event::Answer(Answer::Error { reason, .. }), Stage::Stats { .. }) => {
                self.links.push(Link::odd("process", format!("no figures now: {}", short(&reason)), ""));
                self.lock(context)
            }
            (Event::Answer(Answer::Error { .. }), Stage::Story { .. }) if self.name.is_none() => {
                self.ask(context)
            }
            (
                Event::Answer(Answer::Error { errno, reason }),
                Stage::Status | Stage::Story { .. } | Stage::Options { .. },
            ) => refused("why", errno, &reason).into(),
        }
    }
}

fn state_of<'a>(watchers: &'a [Listed], name: &str) -> &'a str {
    watchers.iter().find(|watcher| watcher.name == name).map_or("gone", |watcher| watcher.state.as_str())
}

fn version(daemon: &Daemon) -> Link {
    match daemon {
        Daemon::Stock => Link::whole("version", "a stock circusd, which tells less than a circusd-rs"),
        Daemon::Rs { .. } if daemon.can("why") => Link::whole("version", daemon.describe()),
        Daemon::Rs { version, .. } => {
            let text = format!("circusd-rs {version} is too old to tell more: it has no `why`");
            Link::broken("version", text, "install a newer circusd-rs there, then `circusman call upgrade`")
        }
    }
}

fn clock_link(Offset { seconds, error }: Offset) -> Link {
    let way = if seconds < 0.0 { "behind" } else { "ahead" };
    let size = seconds.abs();
    if size > TOLERANCE + error {
        let text = format!("its clock is {size:.1} s {way} of ours");
        let remedy =
            "set it by NTP on both sides (`chronyc tracking` tells), databases order their writes by it";
        return Link::broken("clock", text, remedy);
    }
    Link::whole("clock", format!("{:.0} ms {way}, give or take {:.0} ms", size * 1e3, error * 1e3))
}

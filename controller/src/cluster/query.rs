//! `stats` and raw commands: what is asked and answered without changing the order of anything.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::names::{Listed, any_glob, is_oneshot, select};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::outcome::NodeState;

/// Figures of the processes: all in one question, or one watcher after the other.
#[derive(Debug)]
pub struct Stats {
    queue: VecDeque<String>,
    /// With a pattern among them: all are asked for, and these are told.
    patterns: Vec<String>,
    asked: Option<String>,
    found: Map<String, Value>,
}

impl Stats {
    /// Of these watchers; of all when none is named.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        let (patterns, names) = if any_glob(&names) { (names, Vec::new()) } else { (Vec::new(), names) };
        Self { queue: names.into(), patterns, asked: None, found: Map::new() }
    }

    fn ask(&mut self) -> Next {
        match self.queue.pop_front() {
            Some(name) => {
                let request = Request::new("stats", json!({"name": name}));
                self.asked = Some(name);
                Next::Send(request)
            }
            None => Verdict::with(NodeState::Done, "", Value::Object(std::mem::take(&mut self.found))).into(),
        }
    }
}

impl Procedure for Stats {
    fn next(&mut self, _: &Context<'_>, event: Event) -> Next {
        let mut reply = match event {
            Event::Begin | Event::Woken if self.queue.is_empty() => {
                return Next::Send(Request::new("stats", json!({})));
            }
            Event::Begin | Event::Woken => return self.ask(),
            Event::Answer(Answer::Ok(reply)) => reply,
            Event::Answer(Answer::Error { errno, reason }) => return refused("stats", errno, &reason).into(),
        };
        match self.asked.take() {
            Some(name) => {
                self.found.insert(name, reply.remove("info").unwrap_or_default());
            }
            None => {
                let infos = reply.remove("infos");
                let pairs = infos.as_ref().and_then(Value::as_object).into_iter().flatten();
                self.found =
                    pairs.filter(|(n, _)| !is_oneshot(n)).map(|(n, v)| (n.clone(), v.clone())).collect();
                if !self.patterns.is_empty() {
                    let named = |name: &String| Listed { name: name.clone(), state: String::new() };
                    let all: Vec<Listed> = self.found.keys().map(named).collect();
                    match select(&all, &self.patterns) {
                        Ok(chosen) => self.found.retain(|name, _| chosen.iter().any(|w| w.name == *name)),
                        Err(unselected) => return unselected.verdict().into(),
                    }
                }
            }
        }
        self.ask()
    }
}

/// One raw command.
#[derive(Debug)]
pub struct Call {
    request: Request,
}

impl Call {
    /// Exactly as given.
    #[must_use]
    pub fn new(command: &str, properties: Value) -> Self {
        let properties = if properties.is_null() { json!({}) } else { properties };
        Self { request: Request::new(command, properties) }
    }
}

impl Procedure for Call {
    fn next(&mut self, _: &Context<'_>, event: Event) -> Next {
        match event {
            Event::Begin | Event::Woken => Next::Send(self.request.clone()),
            Event::Answer(Answer::Ok(mut reply)) => {
                reply.shift_remove("id");
                reply.shift_remove("time");
                // `status` with a name has the watcher's state here, which is the answer.
                if reply.get("status").and_then(Value::as_str) == Some("ok") {
                    reply.shift_remove("status");
                }
                Verdict::with(NodeState::Done, "", Value::Object(reply)).into()
            }
            Event::Answer(Answer::Error { errno, reason }) => {
                refused(&self.request.command, errno, &reason).into()
            }
        }
    }
}

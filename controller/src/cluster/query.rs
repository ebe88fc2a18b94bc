//! `stats` and raw commands: what is asked and answered without changing the order of anything.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::names::{Listed, is_oneshot, listed, select};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused};
use crate::figures::watcher_data;
use crate::outcome::NodeState;

/// Figures of the processes and the state of their watchers.
///
/// ```text
///  stats ─► pause ─┐     CPU is measured between two questions; the first one only begins it
///                  ▼
///  all:   stats with tally ─► status, unless the daemon knows tallies (stock does not) ─► verdict
///  named: status ─► stats NAME with tally ─► ... ─► verdict
/// ```
#[derive(Debug)]
pub struct Stats {
    names: Vec<String>,
    over: Duration,
    stage: Stage,
    found: Map<String, Value>,
}

#[derive(Debug)]
enum Stage {
    /// The first question, whose answer only begins the measurement.
    Begins,
    Pausing,
    All,
    /// The answer to `stats`, as long as the states are not known.
    States(Map<String, Value>),
    Listing,
    Named {
        asked: Listed,
        queue: VecDeque<Listed>,
    },
}

impl Stats {
    /// Of these watchers; of all when none is named. CPU over so long; zero: since whoever asked last.
    #[must_use]
    pub fn new(names: Vec<String>, over: Duration) -> Self {
        Self { names, over, stage: Stage::Begins, found: Map::new() }
    }

    fn all(tally: bool) -> Next {
        // A daemon that does not know the word overlooks it.
        Next::Send(Request::new("stats", if tally { json!({"tally": true}) } else { json!({}) }))
    }

    fn begin(&mut self) -> Next {
        if self.names.is_empty() {
            self.stage = Stage::All;
            return Self::all(true);
        }
        self.stage = Stage::Listing;
        Next::Send(Request::new("status", json!({})))
    }

    fn ask(&mut self, mut queue: VecDeque<Listed>) -> Next {
        let Some(asked) = queue.pop_front() else { return self.done() };
        let request = Request::new("stats", json!({"name": asked.name, "tally": true}));
        self.stage = Stage::Named { asked, queue };
        Next::Send(request)
    }

    fn done(&mut self) -> Next {
        let found = std::mem::take(&mut self.found);
        Verdict::with(NodeState::Done, "", json!({ "watchers": found })).into()
    }

    /// Puts the figures of all watchers together with what is known of each.
    fn gather(&mut self, infos: Map<String, Value>, about: impl Fn(&str) -> (Option<String>, Option<Value>)) {
        for (name, processes) in infos.into_iter().filter(|(name, _)| !is_oneshot(name)) {
            let (state, tally) = about(&name);
            let tally = tally.as_ref().and_then(Value::as_object);
            self.found.insert(name, watcher_data(state.as_deref(), tally, processes));
        }
    }

    fn answered(&mut self, mut reply: Map<String, Value>) -> Next {
        match std::mem::replace(&mut self.stage, Stage::Begins) {
            Stage::Begins => {
                self.stage = Stage::Pausing;
                Next::Pause(self.over)
            }
            Stage::Pausing => self.begin(),
            Stage::All => {
                let infos = infos(&mut reply);
                let Some(Value::Object(tally)) = reply.remove("tally") else {
                    self.stage = Stage::States(infos);
                    return Next::Send(Request::new("status", json!({})));
                };
                self.gather(infos, |name| (None, tally.get(name).cloned()));
                self.done()
            }
            Stage::States(infos) => {
                let states = listed(&reply);
                let state = |name: &str| states.iter().find(|w| w.name == name).map(|w| w.state.clone());
                self.gather(infos, |name| (state(name), None));
                self.done()
            }
            Stage::Listing => match select(&listed(&reply), &self.names) {
                Ok(chosen) => self.ask(chosen.into()),
                Err(unselected) => unselected.verdict().into(),
            },
            Stage::Named { asked, queue } => {
                let processes = reply.remove("info").unwrap_or_default();
                let tally = reply.get("tally").and_then(|tally| tally.get(&asked.name)?.as_object());
                let data = watcher_data(Some(&asked.state), tally, processes);
                self.found.insert(asked.name, data);
                self.ask(queue)
            }
        }
    }
}

fn infos(reply: &mut Map<String, Value>) -> Map<String, Value> {
    match reply.remove("infos") {
        Some(Value::Object(infos)) => infos,
        Some(_) | None => Map::new(),
    }
}

impl Procedure for Stats {
    fn next(&mut self, _: &Context<'_>, event: Event) -> Next {
        match event {
            Event::Begin if self.over.is_zero() => self.begin(),
            Event::Begin => Self::all(false),
            Event::Woken => self.begin(),
            Event::Answer(Answer::Ok(reply)) => self.answered(reply),
            Event::Answer(Answer::Error { errno, reason }) => refused("stats", errno, &reason).into(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::Daemon;

    const OVER: Duration = Duration::from_millis(500);

    /// Plays a node that answers these, in this order; gives what was asked and what came of it.
    fn play(mut stats: Stats, answers: &[Value]) -> (Vec<String>, Verdict) {
        let context = Context { daemon: &Daemon::Stock, now: Duration::ZERO };
        let mut answers = answers.iter();
        let mut asked = Vec::new();
        let mut event = Event::Begin;
        loop {
            event = match stats.next(&context, event) {
                Next::Send(request) => {
                    asked.push(format!("{} {}", request.command, request.properties));
                    let reply = answers.next().expect("an answer");
                    match reply.get("errno").and_then(Value::as_i64) {
                        Some(errno) => Event::Answer(Answer::Error { errno, reason: "no".to_owned() }),
                        None => Event::Answer(Answer::Ok(reply.as_object().expect("an object").clone())),
                    }
                }
                next @ Next::Probe(_) => panic!("{next:?}"),
                Next::Pause(time) => {
                    asked.push(format!("pause {time:?}"));
                    Event::Woken
                }
                Next::Finish(verdict) => return (asked, verdict),
            };
        }
    }

    #[test]
    fn a_daemon_that_counts_is_asked_once() {
        let infos = json!({"infos": {"Web": {"17": {"cpu": 0.5}}, "circusman-x-1": {}},
            "tally": {"Web": {"state": "active", "numprocesses": 1, "starts": 2, "restarts": 1, "ends": 1}}});
        let (asked, verdict) = play(Stats::new(vec![], Duration::ZERO), &[infos]);
        assert_eq!(asked, [r#"stats {"tally":true}"#]);
        let expected = json!({"watchers": {"Web": {"state": "active", "numprocesses": 1, "starts": 2, "restarts": 1,
            "ends": 1, "processes": {"17": {"cpu": 0.5}}}}});
        assert_eq!((verdict.state, verdict.data), (NodeState::Done, expected));
    }

    #[test]
    fn stock_tells_figures_and_states_apart() {
        let infos = json!({"infos": {"Web": {"17": {"cpu": 0.5}}}});
        let states = json!({"statuses": {"Web": "active"}});
        let (asked, verdict) = play(Stats::new(vec![], OVER), &[infos.clone(), infos, states]);
        assert_eq!(asked, ["stats {}", "pause 500ms", r#"stats {"tally":true}"#, "status {}"]);
        let expected = json!({"watchers": {"Web": {"state": "active", "processes": {"17": {"cpu": 0.5}}}}});
        assert_eq!(verdict.data, expected);
    }

    #[test]
    fn only_named_watchers_are_asked_for() {
        let states = json!({"statuses": {"Web": "active", "db": "stopped", "x": "active"}});
        let info = json!({"name": "Web", "info": {"17": {}},
            "tally": {"Web": {"state": "active", "numprocesses": 1, "starts": 3, "restarts": 2, "ends": 2}}});
        let names = || vec!["web".to_owned(), "db".to_owned()];
        let none = json!({"name": "db", "info": {}});
        let (asked, verdict) = play(Stats::new(names(), Duration::ZERO), &[states.clone(), info, none]);
        assert_eq!(
            asked,
            ["status {}", r#"stats {"name":"Web","tally":true}"#, r#"stats {"name":"db","tally":true}"#]
        );
        let expected = json!({"watchers": {"Web": {"state": "active", "numprocesses": 1, "starts": 3,
            "restarts": 2, "ends": 2, "processes": {"17": {}}},
            "db": {"state": "stopped", "processes": {}}}});
        assert_eq!(verdict.data, expected);
        let (_, verdict) = play(Stats::new(vec!["wob".to_owned()], Duration::ZERO), &[states]);
        assert_eq!(verdict.reason, "no watcher named wob; it has Web, db, x");
        let (_, verdict) = play(Stats::new(vec![], OVER), &[json!({"errno": 5})]);
        assert_eq!((verdict.state, verdict.reason.as_str()), (NodeState::Failed, "stats: no"));
    }
}

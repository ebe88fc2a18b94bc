//! What nodes tell by themselves, put into the picture before anybody has asked; pure, as the model is.
//!
//! ```text
//!  news ─► the node in the picture changes ─► tracker ─► log
//!             └─► Effect::Glance: the node is asked for what an event does not tell (figures, counts)
//! ```
//!
//! Both ways meet in the tracker, so what was told by itself is not told again when it is asked for. An
//! answer that is older than what its node told since is not believed.

use std::sync::Arc;

use super::model::{Effect, Model};
use crate::cluster::view::{Change, News, Status, cause};
use crate::figures::{self, Node, Process, Watcher, track};
use crate::outcome::{NodeState, Outcome};

/// Deaths whose reason is kept for the tracker; it takes most of them at once.
const MAX_CAUSES: usize = 1_000;

/// Why a process ended.
#[derive(Debug)]
pub(super) struct Cause {
    text: Option<String>,
    /// It was told to.
    wanted: bool,
}

impl Model {
    /// Only some watchers are asked for.
    #[must_use]
    pub fn narrow(mut self, narrow: bool) -> Self {
        self.narrow = narrow;
        self
    }

    /// The nodes of an answer to `stats` that came at that time. Of those that have told something since
    /// they answered, the picture is newer.
    pub(super) fn believed(&self, outcome: &Outcome, at: f64) -> Vec<Node> {
        let asked = at - outcome.elapsed.as_secs_f64();
        let mut nodes = figures::nodes(outcome);
        for node in &mut nodes {
            let answered = asked + node.elapsed.as_secs_f64();
            if self.told.get(&node.name).is_some_and(|told| *told > answered)
                && let Some(newer) = self.nodes.iter().find(|known| known.name == node.name)
            {
                node.clone_from(newer);
            }
        }
        nodes
    }

    /// Some nodes were asked again. Curves have their points from readings of all.
    pub(super) fn glance(&mut self, outcome: &Outcome, at: f64) {
        for mut node in self.believed(outcome, at) {
            let Some(place) = self.nodes.iter().position(|known| known.name == node.name) else { continue };
            let changes = self.tracker.take(std::slice::from_mut(&mut node));
            self.say_all(changes, at);
            if let Some(known) = self.nodes.get_mut(place) {
                *known = node;
            }
        }
        self.rebuild();
    }

    /// Puts what nodes told into the picture; they are to be asked for the rest.
    pub(super) fn news(&mut self, news: &[Arc<News>], at: f64) -> Vec<Effect> {
        // Nothing to put it into yet, or somebody wants to look at it as it is; then all are asked.
        if !self.seen || self.paused {
            return Vec::new();
        }
        let (mut changed, mut ask): (Vec<usize>, Vec<String>) = (Vec::new(), Vec::new());
        for news in news {
            let Some(place) = self.nodes.iter().position(|node| *node.name == *news.node) else { continue };
            self.told.insert(news.node.to_string(), at);
            if self.apply(place, news) && !ask.iter().any(|name| **name == *news.node) {
                ask.push(news.node.to_string());
            }
            if !changed.contains(&place) {
                changed.push(place);
            }
        }
        for place in changed {
            if let Some(node) = self.nodes.get_mut(place) {
                let changes = self.tracker.take(std::slice::from_mut(node));
                self.say_all(changes, at);
            }
        }
        self.rebuild();
        if ask.is_empty() { Vec::new() } else { vec![Effect::Glance(ask)] }
    }

    /// Whether the node is to be asked for more.
    fn apply(&mut self, place: usize, news: &News) -> bool {
        let Some(node) = self.nodes.get_mut(place) else { return false };
        // Somebody who asks for some watchers means no others.
        let stranger = news.change.watcher().is_some_and(|name| named(node, name).is_none());
        if stranger && self.narrow {
            return false;
        }
        match put(node, &news.change) {
            Told::Nothing => {}
            Told::Death(pid, cause) => {
                if self.causes.len() >= MAX_CAUSES {
                    self.causes.clear();
                }
                self.causes.insert((news.node.to_string(), pid), cause);
            }
            Told::Line => {
                let at = news.at.as_secs_f64();
                let bad = news.change.is_trouble() && !self.expects(at);
                self.say(at, news.to_string(), bad);
            }
        }
        match &news.change {
            Change::Up { .. } | Change::Spawned { .. } | Change::Died { .. } => true,
            Change::Status { to, .. } => to.is_some(),
            Change::Down { .. } | Change::Ready { .. } | Change::Note { .. } => false,
        }
    }

    /// What somebody who acts on watchers now has to expect of them.
    fn expects(&self, at: f64) -> bool {
        self.running > 0 || at < self.expected_until
    }

    /// Writes down what the tracker noticed, with the reasons that nodes told.
    pub(super) fn say_all(&mut self, changes: Vec<track::Change>, at: f64) {
        for change in changes {
            let cause = change.gone.and_then(|pid| self.causes.remove(&(change.node.clone(), pid)));
            let mut text = match &change.watcher {
                Some(watcher) => format!("{}: {watcher}: {}", change.node, change.text),
                None => format!("{}: {}", change.node, change.text),
            };
            let mut expected = change.watcher.is_some() && self.expects(at);
            if let Some(cause) = cause {
                expected |= cause.wanted;
                if let Some(reason) = cause.text {
                    text += &format!(": {reason}");
                }
            }
            self.say(at, text, change.bad && !expected);
        }
    }
}

/// What is written down about a piece of news beside what the tracker notices.
enum Told {
    Nothing,
    Death(i64, Cause),
    Line,
}

/// Puts a change into the picture of its node.
fn put(node: &mut Node, change: &Change) -> Told {
    match change {
        // What it runs now, it is asked.
        Change::Up { .. } => {}
        Change::Down { why } => {
            if node.is_up() {
                (node.state, node.reason, node.daemon) = (NodeState::Unreachable, why.to_string(), None);
                node.watchers.clear();
            }
        }
        Change::Status { watcher, to: None, .. } => {
            node.watchers.retain(|known| !is_named(known, watcher));
        }
        Change::Status { watcher, to: Some(status), .. } => match named(node, watcher) {
            Some(known) => turn_into(known, *status),
            None => {
                let mut new = Watcher { name: watcher.to_string(), ..Watcher::default() };
                turn_into(&mut new, *status);
                node.watchers.push(new);
            }
        },
        Change::Spawned { watcher, pid, .. } => {
            let Some(known) = named(node, watcher) else { return Told::Nothing };
            let pid = i64::from(*pid);
            if known.processes.iter().all(|process| process.pid != pid) {
                known.processes.push(Process { pid, command: "-".to_owned(), ..Process::default() });
            }
        }
        Change::Died { watcher, pid, code, wanted } => {
            let Some(known) = named(node, watcher) else { return Told::Line };
            let pid = i64::from(*pid);
            let place = known.processes.iter().position(|process| process.pid == pid);
            // The tracker knows those that it has seen the beginning of, and no others.
            let tracked = place.is_some_and(|at| known.processes.remove(at).created.is_some());
            let cause = Cause { text: code.map(cause), wanted: *wanted };
            return if tracked { Told::Death(pid, cause) } else { Told::Line };
        }
        Change::Ready { .. } | Change::Note { .. } => return Told::Line,
    }
    Told::Nothing
}

fn is_named(watcher: &Watcher, name: &str) -> bool {
    watcher.name.to_lowercase() == name.to_lowercase()
}

fn named<'a>(node: &'a mut Node, name: &str) -> Option<&'a mut Watcher> {
    node.watchers.iter_mut().find(|watcher| is_named(watcher, name))
}

fn turn_into(watcher: &mut Watcher, status: Status) {
    watcher.state = Some(status.word().to_owned());
    if status == Status::Stopped {
        watcher.processes.clear();
    }
}

//! Who comes after whom on this node: `after`, `conflicts`, and stopping in the reverse order.
//!
//! A watcher whose `after` is not fulfilled stands at a [`Gate`]; it still is wanted, and goes through
//! when the gate opens. A watcher that shall stop stays while those after it, which shall stop too, do
//! not yet. Starting one by a command wishes for those before it too; stopping one does not touch
//! others. It refuses to know readiness from the inside, and which process is which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use circus_protocol::readiness::ReadyState;
use circus_protocol::reply::Refusal;
use circus_protocol::service::{Dependency, Level, Service, Services};

use crate::arbiter::effect::LogLevel;
use crate::arbiter::id::WatcherId;
use crate::arbiter::question::Preparation;
use crate::arbiter::readiness::word;
use crate::arbiter::standing::CONFLICT;
use crate::arbiter::watcher::{Phase, RefusedStart, Wanted, Watcher};
use crate::arbiter::{Arbiter, Work};

/// What a watcher that shall start waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Gate {
    /// A service that must have come further.
    After {
        service: String,
        level: Level,
        /// How far it has come; `None` when there is no such watcher.
        state: Option<ReadyState>,
    },
    /// A watcher it is in conflict with, and which is on its way out.
    Leaves(String),
}

impl fmt::Display for Gate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After { service, level, state } => {
                let level = word(*level);
                match state {
                    Some(state) => write!(out, "waits for {service}:{level}, which is {}", state.word()),
                    None => write!(out, "waits for {service}:{level}, and there is no such watcher"),
                }
            }
            Self::Leaves(other) => write!(out, "waits for {other} to stop"),
        }
    }
}

/// A watcher's place in the order; all empty for a watcher without a service.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Why it may not start.
    pub(super) gate: Option<Gate>,
    /// Who must stop first.
    pub(super) stays_for: Option<String>,
    /// What is done before its first process starts.
    pub(super) preparation: Option<Arc<Preparation>>,
    /// Somebody's data depends on it.
    pub(super) is_service: bool,
    /// What its neighbours saw last.
    seen: Option<Seen>,
}

type Seen = (bool, Wanted, ReadyState, [bool; 2]);

/// What the services' sections say about one watcher.
#[derive(Debug, Default, Clone)]
pub(super) struct Rule {
    /// Its place in the list of services; `None` when it is only somebody's neighbour.
    pub(super) service: Option<usize>,
    after: Vec<Dependency>,
    dependents: BTreeSet<String>,
    /// In both directions.
    conflicts: BTreeSet<String>,
}

/// By lower-cased name.
pub(super) type Rules = BTreeMap<String, Rule>;

/// The rules of these services.
pub(super) fn rules(services: &Services) -> Rules {
    let mut rules = Rules::new();
    for (index, service) in services.services.iter().enumerate() {
        let name = service.name.to_lowercase();
        for dependency in &service.after {
            let before = rules.entry(dependency.service.to_lowercase()).or_default();
            before.dependents.insert(name.clone());
        }
        for other in service.conflicts.iter().map(|other| other.to_lowercase()).filter(|other| *other != name)
        {
            rules.entry(other.clone()).or_default().conflicts.insert(name.clone());
            rules.entry(name.clone()).or_default().conflicts.insert(other);
        }
        let rule = rules.entry(name).or_default();
        rule.service = Some(index);
        rule.after.clone_from(&service.after);
    }
    rules
}

impl Arbiter {
    pub(super) fn rule(&self, id: WatcherId) -> Option<&Rule> {
        // Most nodes have no services, and most steps are theirs.
        if self.rules.is_empty() {
            return None;
        }
        self.rules.get(self.watchers.get(&id)?.config.name.key())
    }

    /// The service of a watcher.
    pub(super) fn service(&self, id: WatcherId) -> Option<&Service> {
        self.services.services.get(self.rule(id)?.service?)
    }

    fn named(&self, name: &str) -> Option<&Watcher> {
        self.watchers.get(self.names.get(&name.to_lowercase())?)
    }

    // ---- before a watcher converges ----

    /// Puts it where it stands in the order now.
    pub(super) fn line_up(&mut self, id: WatcherId, work: &mut Work) {
        let (Some(rule), Some(watcher)) = (self.rule(id), self.watchers.get(&id)) else {
            // The file may have had one before.
            return self.leave_order(id);
        };
        let starts = watcher.is_stopped() && watcher.wanted == Wanted::Up;
        let gate = if starts { self.gate(rule) } else { Ok(None) };
        let stays_for = if stays(watcher) { self.last_dependent(rule) } else { None };
        let name = watcher.config.name.original().to_owned();
        let (gate, refused) = match gate {
            Ok(gate) => (gate, None),
            Err(other) => {
                let text = format!("'{name}'{CONFLICT}'{other}', which runs");
                self.note_refused(id, other, text.clone(), work);
                (None, Some(text))
            }
        };
        let clear = starts && gate.is_none() && refused.is_none();
        if let Some(watcher) = self.watchers.get_mut(&id) {
            (watcher.order.gate, watcher.order.stays_for) = (gate, stays_for);
        }
        if let Some(text) = refused {
            work.log(LogLevel::Error, format!("{text}; stop it first"));
            self.lend(id, work, |watcher, _| watcher.refuse_start(text));
        }
        if clear {
            self.prepare(id, work);
        }
    }

    fn leave_order(&mut self, id: WatcherId) {
        if let Some(Watcher { order, .. }) = self.watchers.get_mut(&id) {
            (order.gate, order.stays_for, order.preparation) = (None, None, None);
            order.is_service = false;
        }
    }

    /// What keeps it from starting; an error names what does so for good.
    fn gate(&self, rule: &Rule) -> Result<Option<Gate>, String> {
        for other in rule.conflicts.iter().filter_map(|name| self.named(name)) {
            let name = || other.config.name.original().to_owned();
            match (other.is_stopped(), other.returns()) {
                (true, _) => {}
                (false, true) => return Err(name()),
                (false, false) => return Ok(Some(Gate::Leaves(name()))),
            }
        }
        for Dependency { service, level } in &rule.after {
            let state = match self.named(service) {
                Some(before) if before.readiness.reaches(*level, self.service(before.id)) => continue,
                Some(before) => Some(before.readiness.told().state),
                None => None,
            };
            return Ok(Some(Gate::After { service: service.clone(), level: *level, state }));
        }
        Ok(None)
    }

    /// Somebody who comes after it and has not stopped yet, although it shall.
    fn last_dependent(&self, rule: &Rule) -> Option<String> {
        let leaves = |watcher: &&Watcher| !watcher.is_stopped() && watcher.wanted == Wanted::Down;
        let after = rule.dependents.iter().filter_map(|name| self.named(name)).find(leaves)?;
        Some(after.config.name.original().to_owned())
    }

    // ---- after it has converged ----

    /// Whoever stands in the order with it looks again, if there is something new to see.
    pub(super) fn tell_neighbours(&mut self, id: WatcherId, work: &mut Work) {
        let service = self.service(id);
        let Some(watcher) = self.watchers.get(&id) else { return };
        let readiness = &watcher.readiness;
        let levels = [Level::Up, Level::Joined].map(|level| readiness.reaches(level, service));
        let seen = (watcher.is_stopped(), watcher.wanted, readiness.told().state, levels);
        if self.rules.is_empty() || watcher.order.seen == Some(seen) {
            return;
        }
        if let Some(rule) = self.rule(id) {
            let before = rule.after.iter().map(|dependency| dependency.service.to_lowercase());
            let names = before.chain(rule.dependents.iter().cloned()).chain(rule.conflicts.iter().cloned());
            let ids = names.filter_map(|name| self.names.get(&name).copied());
            work.dirty.extend(ids);
        }
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.order.seen = Some(seen);
        }
    }

    // ---- wishes ----

    /// Those that must be up before it and are down, the first to start first.
    pub(super) fn down_before(&self, id: WatcherId) -> Vec<WatcherId> {
        let (mut found, mut open) = (Vec::new(), vec![id]);
        while let Some(next) = open.pop() {
            let after = self.rule(next).map(|rule| rule.after.as_slice()).unwrap_or_default();
            for before in after.iter().filter_map(|dependency| self.named(&dependency.service)) {
                if before.is_down() && !found.contains(&before.id) && before.id != id {
                    found.push(before.id);
                    open.push(before.id);
                }
            }
        }
        found.reverse();
        found
    }

    /// Refuses a start that a conflict would forbid; who was to start remembers it.
    pub(super) fn refuse_conflicts(&mut self, id: WatcherId, work: &Work) -> Result<(), Refusal> {
        for before in self.down_before(id).into_iter().chain([id]) {
            let (Some(rule), Some(watcher)) = (self.rule(before), self.watchers.get(&before)) else {
                continue;
            };
            if let (true, Err(by)) = (watcher.is_stopped(), self.gate(rule)) {
                let text = format!("'{}'{CONFLICT}'{by}', which runs", watcher.config.name.original());
                self.note_refused(id, by, text.clone(), work);
                return Err(Refusal::Conflict(format!("{text}; stop it first")));
            }
        }
        Ok(())
    }

    fn note_refused(&mut self, id: WatcherId, by: String, text: String, work: &Work) {
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.record.refused = Some(RefusedStart { at: work.now.wall, by, text });
        }
    }
}

/// Whether it shall stop, and has not begun to. One that is removed has no place in the order any more.
fn stays(watcher: &Watcher) -> bool {
    let up = matches!(watcher.phase, Phase::Starting { .. } | Phase::Active);
    up && !watcher.hurry && watcher.wanted == Wanted::Down
}

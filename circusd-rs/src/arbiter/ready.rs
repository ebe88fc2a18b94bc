//! `ready`, and what readiness leads to: questions for the host, events, restarts.
//!
//! Who asks and wants to wait is answered when every watcher in question is ready, or will not be, or
//! when the time is over; the answer is the same, the client judges it.

use circus_protocol::command::Selection;
use circus_protocol::command::services::Ready;
use circus_protocol::event::EventKind;
use circus_protocol::readiness::{Readiness, ReadyState};
use circus_protocol::reply::{Refusal, Reply};
use serde_json::{Map, Value};

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::{ReplyTo, WatcherId};
use crate::arbiter::readiness::{self, Move, Names, Stage};
use crate::arbiter::selection::Chosen;
use crate::arbiter::time::{Moment, seconds};
use crate::arbiter::watcher::Watcher;
use crate::arbiter::{Arbiter, Ending, Work};

/// How many may wait; more are told to ask again.
const MOST_WAITING: usize = 256;

/// Somebody who wants to know.
#[derive(Debug)]
struct Waiter {
    reply: ReplyTo,
    ids: Vec<WatcherId>,
    until: Moment,
}

/// All who want to know.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<Waiter>,
    /// Something has changed since the last look.
    moved: bool,
}

impl Waiters {
    /// When the first of them has waited long enough.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.waiting.iter().map(|waiter| waiter.until).min()
    }

    /// The end of everything: whoever still waits.
    pub(super) fn drain(&mut self) -> Vec<ReplyTo> {
        self.waiting.drain(..).map(|waiter| waiter.reply).collect()
    }
}

impl Arbiter {
    pub(super) fn ready(
        &mut self,
        ready: &Ready,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let selection = Selection { name: ready.name.clone(), matching: ready.matching, waiting: false };
        let ids = match self.choose(&selection)? {
            Chosen::One(id) => vec![id],
            Chosen::Several(ids) => ids,
        };
        if self.waiters.waiting.len() >= MOST_WAITING {
            let text = format!("{MOST_WAITING} others wait for readiness already; try again later");
            return Err(Refusal::Conflict(text));
        }
        // Looked at before they are told of: most have had no reason to move yet.
        work.dirty.extend(ids.iter().copied());
        let until = work.now.mono + seconds(ready.wait.unwrap_or_default());
        self.waiters.moved = true;
        self.waiters.waiting.extend(reply.map(|reply| Waiter { reply, ids, until }));
        Ok(())
    }

    /// Answers those whose watchers have come as far as they will, or whose time is over.
    pub(super) fn answer_waiters(&mut self, work: &mut Work) {
        let now = work.now.mono;
        let due = self.waiters.moved || self.waiters.deadline().is_some_and(|at| at <= now);
        self.waiters.moved = false;
        let waiting = if due { std::mem::take(&mut self.waiters.waiting) } else { return };
        for waiter in waiting {
            let over = waiter.until <= now || waiter.ids.iter().all(|id| self.is_decided(*id));
            if over {
                let body = self.readiness_of(&waiter.ids);
                work.reply(Some(waiter.reply), Reply::Ok(body));
            } else {
                self.waiters.waiting.push(waiter);
            }
        }
    }

    fn is_decided(&self, id: WatcherId) -> bool {
        let Some(watcher) = self.watchers.get(&id) else { return true };
        let told = watcher.readiness.told();
        match told.state {
            ReadyState::Failed | ReadyState::Down => true,
            ReadyState::Starting | ReadyState::Up | ReadyState::Joined => told.ready,
        }
    }

    fn readiness_of(&self, ids: &[WatcherId]) -> Map<String, Value> {
        let watchers = || ids.iter().filter_map(|id| self.watchers.get(id));
        let all = watchers().all(|watcher| watcher.readiness.told().ready);
        // Who waits wants to know whether that is in vain.
        let each = |watcher: &Watcher| {
            let mut told = watcher.readiness.told().to_json();
            if let Some(told) = told.as_object_mut() {
                told.insert("ends".to_owned(), Value::from(watcher.cards.tally().ends));
                told.insert("numprocesses".to_owned(), Value::from(watcher.config.numprocesses));
            }
            (watcher.config.name.original().to_owned(), told)
        };
        let mut body = Map::new();
        body.insert("ready".to_owned(), Value::from(all));
        body.insert("watchers".to_owned(), Value::Object(watchers().map(each).collect()));
        body
    }

    // ---- probes ----

    pub(super) fn names_of_node(&self) -> Names<'_> {
        Names {
            services: &self.services,
            membership: self.membership.as_ref(),
            global: &self.global,
            hostname: &self.facts.hostname,
        }
    }

    /// Looks how far it has come, and does what follows.
    pub(super) fn judge(&mut self, id: WatcherId, work: &mut Work) {
        let (services, rules) = (std::sync::Arc::clone(&self.services), &self.rules);
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let index = rules.get(watcher.config.name.key()).and_then(|rule| rule.service);
        let service = index.and_then(|index| services.services.get(index));
        let probed = service.is_some_and(|service| !service.probes.is_empty());
        let stage = Stage::of(watcher, work.now);
        let moves = watcher.readiness.look(&stage, service, work.now);
        for step in moves {
            match step {
                Move::Changed => self.tell_readiness(id, probed, work),
                Move::Cancel(attempt) => work.out.push(Effect::CancelProbe { watcher: id, attempt }),
                Move::Ask { attempt, level } => self.send_probe(id, attempt, level, work),
                Move::Restart(reason) => self.restart_late(id, &reason, work),
            }
        }
    }

    /// Stock's clients see nothing of it: only services with probes have this event.
    fn tell_readiness(&mut self, id: WatcherId, probed: bool, work: &mut Work) {
        self.waiters.moved = true;
        let Some(watcher) = self.watchers.get(&id).filter(|_| probed) else { return };
        let Readiness { state, ready, since: _, detail } = watcher.readiness.told().clone();
        let name = &watcher.config.name;
        let (level, text) = match (state, detail.is_empty()) {
            (ReadyState::Failed, _) => (LogLevel::Warn, format!("{name}: {detail}")),
            (_, true) => (LogLevel::Info, format!("{name} is {}", state.word())),
            (_, false) => (LogLevel::Info, format!("{name} is {}: {detail}", state.word())),
        };
        work.log(level, text);
        self.publish(id, EventKind::Ready { state, ready, detail }, work);
    }

    fn send_probe(
        &mut self,
        id: WatcherId,
        attempt: u64,
        level: circus_protocol::service::Level,
        work: &mut Work,
    ) {
        let (Some(watcher), Some(service)) = (self.watchers.get(&id), self.service(id)) else { return };
        match readiness::call(self.names_of_node(), &watcher.config, service, level) {
            Ok(call) => work.out.push(Effect::Probe { watcher: id, attempt, call: Box::new(call) }),
            Err(reason) => self.probed(id, attempt, Err(reason), work),
        }
    }

    /// An answer has come, for whoever still wants it.
    pub(super) fn probed(
        &mut self,
        id: WatcherId,
        attempt: u64,
        result: Result<(), String>,
        work: &mut Work,
    ) {
        let services = std::sync::Arc::clone(&self.services);
        let index = self.rule(id).and_then(|rule| rule.service);
        let service = index.and_then(|index| services.services.get(index));
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.readiness.hear(attempt, result, service, work.now.mono);
            work.dirty.push_back(id);
        }
    }

    fn restart_late(&mut self, id: WatcherId, reason: &str, work: &mut Work) {
        if self.ending != Ending::No {
            return;
        }
        if let Some(watcher) = self.watchers.get(&id) {
            work.log(LogLevel::Warn, format!("{}: {reason}; restarting it", watcher.config.name));
        }
        self.wish(id, "a probe", work, Watcher::wish_restart);
    }

    /// When it is to be looked at because of its probes.
    pub(super) fn next_probe(&self, id: WatcherId) -> Option<Moment> {
        self.watchers.get(&id)?.readiness.deadline(self.service(id))
    }

    /// It is not ours any more.
    pub(super) fn forget_probes(&mut self, id: WatcherId, work: &mut Work) {
        let mut moves = Vec::new();
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.readiness.end_run(&mut moves);
        }
        for step in moves {
            if let Move::Cancel(attempt) = step {
                work.out.push(Effect::CancelProbe { watcher: id, attempt });
            }
        }
    }

    /// What the host does before the next first process.
    pub(super) fn prepare(&mut self, id: WatcherId, work: &mut Work) {
        let (Some(watcher), Some(service)) = (self.watchers.get(&id), self.service(id)) else { return };
        let (preparation, problems) = readiness::preparation(self.names_of_node(), &watcher.config, service);
        for problem in problems {
            work.log(LogLevel::Warn, problem);
        }
        let preparation = (!preparation.is_empty()).then(|| std::sync::Arc::new(preparation));
        if let Some(watcher) = self.watchers.get_mut(&id) {
            watcher.order.preparation = preparation;
            watcher.order.is_service = true;
        }
    }
}

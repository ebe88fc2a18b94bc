//! How this watcher stands: [`Standing`] from what it knows anyway, and the `waiting` events.

use circus_protocol::event::EventKind;
use circus_protocol::number::Wid;

use super::{Ctx, Phase, Wanted, Watcher};
use crate::arbiter::input::StreamTrouble;
use crate::arbiter::slots::{Closed, Rest, Slot};
use crate::arbiter::standing::{Reason, Standing};
use crate::arbiter::time::{Moment, Now};

/// What a watcher remembers for those who ask.
#[derive(Debug)]
pub(in crate::arbiter) struct Record {
    /// Unix time of the last change of phase.
    since: Option<f64>,
    /// Why it is down, when it is.
    pub(super) halt: Reason,
    /// Why the last try to start a process failed.
    pub(super) error: String,
    /// How the last process that ended by itself did.
    pub(super) exit_code: Option<i32>,
    /// The last start that a conflict refused, until one succeeds.
    pub(in crate::arbiter) refused: Option<RefusedStart>,
    /// What is wrong with its streams.
    pub(in crate::arbiter) stdout: Option<Box<StreamTrouble>>,
    pub(in crate::arbiter) stderr: Option<Box<StreamTrouble>>,
}

impl Default for Record {
    fn default() -> Self {
        let (error, halt) = (String::new(), Reason::NotStarted);
        Self { since: None, halt, error, exit_code: None, refused: None, stdout: None, stderr: None }
    }
}

/// A start that was refused.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::arbiter) struct RefusedStart {
    /// Unix time.
    pub(in crate::arbiter) at: f64,
    /// Who was in the way.
    pub(in crate::arbiter) by: String,
    /// In the words of the answer.
    pub(in crate::arbiter) text: String,
}

impl Watcher {
    pub(super) fn enter(&mut self, phase: Phase, ctx: &Ctx<'_>) {
        if phase == Phase::Stopped {
            self.cards.settled();
        }
        self.phase = phase;
        self.record.since = Some(ctx.now.wall);
    }

    /// State, reason, and when that ends by itself.
    pub(in crate::arbiter) fn standing(&self, now: Now) -> Standing {
        let (reason, until) = self.reason(now.mono);
        let until = until.filter(|at| *at > now.mono);
        let until = until.map(|at| now.wall + at.since(now.mono).as_secs_f64());
        Standing { state: self.status(), since: self.record.since, reason, until }
    }

    fn reason(&self, now: Moment) -> (Reason, Option<Moment>) {
        if let Some(name) = self.hooks.name() {
            return (Reason::Hook { name }, None);
        }
        if let Some(other) = &self.order.stays_for {
            return (Reason::Order { text: format!("stops when {other} has stopped") }, None);
        }
        match self.phase {
            Phase::Stopped => match self.wanted {
                Wanted::Down | Wanted::Gone => (self.record.halt.clone(), None),
                Wanted::Queued => (Reason::Turn, None),
                Wanted::Up => match &self.order.gate {
                    Some(gate) => (Reason::Order { text: gate.to_string() }, None),
                    None => (Reason::Held, None),
                },
                Wanted::Demand => self.rest(now).unwrap_or((Reason::Demand, None)),
            },
            Phase::Starting { .. } => self.retry().unwrap_or_else(|| {
                let spawning = self.processes.spawning();
                let warming = !spawning && self.warm > now;
                if warming { (Reason::Warmup, Some(self.warm)) } else { (Reason::Spawning, None) }
            }),
            Phase::Active => self.retry().or_else(|| self.rest(now)).unwrap_or_else(|| {
                let reloading = self.reload.is_some();
                (if reloading { Reason::Reloading } else { Reason::Running }, None)
            }),
            Phase::Stopping { .. } => {
                let until = self.processes.due().next().map(|(at, _)| at);
                (Reason::Ending { processes: self.processes.len() }, until)
            }
        }
    }

    fn retry(&self) -> Option<(Reason, Option<Moment>)> {
        let tries = self.tries.in_vain();
        let reason = Reason::Retry { error: self.record.error.clone(), tries };
        (tries > 0).then(|| (reason, Some(self.tries.not_before().max(self.warm))))
    }

    /// Who rests, if anybody does; who was started too often comes first.
    fn rest(&self, now: Moment) -> Option<(Reason, Option<Moment>)> {
        if let Some((places, slot)) = self.slots.limited() {
            return Some((reason_of(slot, places)?, None));
        }
        let (places, worst) = self.slots.waiting(now)?;
        Some((reason_of(worst, places)?, self.slots.deadline(now)))
    }

    // ---- stopping by itself ----

    /// Whether every place is closed, so that nobody will ever be there again.
    pub(super) fn is_worn_out(&self) -> bool {
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        wanted > 0 && self.processes.is_empty() && self.slots.closed() >= wanted
    }

    /// Why it is.
    pub(super) fn wear_out(&mut self, ctx: &Ctx<'_>) {
        // A pause that is still on ends for nobody: without a next start there is no back-off.
        let limited = |reason: &Reason| matches!(reason, Reason::StartLimit { .. });
        let rest = self.rest(ctx.now.mono).map(|(reason, _)| reason).filter(limited);
        let done = Reason::Finished { exit_code: self.record.exit_code };
        self.record.halt = rest.unwrap_or(done);
        if let Reason::StartLimit { .. } = self.record.halt {
            self.trouble = Some(format!("'{}' stopped: {}", self.config.name, self.record.halt));
        }
    }

    // ---- events ----

    /// Its place rests: whoever gave the watcher a policy is told.
    pub(super) fn say_resting(&mut self, wid: Wid, ctx: &mut Ctx<'_>) {
        if !self.config.policy.is_set() {
            return;
        }
        let Some(slot) = self.slots.get(wid) else { return };
        let Some(reason) = reason_of(slot, 1) else { return };
        let until = match slot.rest {
            Rest::Until(at) => Some(at).filter(|at| *at > ctx.now.mono),
            Rest::Closed(_) => None,
        };
        if until.is_some() || matches!(slot.rest, Rest::Closed(_)) {
            self.say_waiting(&reason, until, Some(wid), ctx);
        }
    }

    /// The next try waits.
    pub(super) fn say_retrying(&mut self, ctx: &mut Ctx<'_>) {
        if let Some((reason, until)) = self.retry() {
            self.say_waiting(&reason, until, None, ctx);
        }
    }

    fn say_waiting(&mut self, reason: &Reason, until: Option<Moment>, wid: Option<Wid>, ctx: &mut Ctx<'_>) {
        let Some(waiting_for) = reason.waiting_for() else { return };
        let retry_at = until.map(|at| ctx.now.wall + at.since(ctx.now.mono).as_secs_f64());
        let (waiting_for, why) = (waiting_for.to_owned(), reason.to_string());
        self.say(EventKind::Waiting { waiting_for, why, wid, retry_at }, ctx);
    }
}

fn reason_of(slot: &Slot, places: usize) -> Option<Reason> {
    let exit_code = slot.exit_code;
    match slot.rest {
        Rest::Until(_) => Some(Reason::Backoff { places, failures: slot.failures, exit_code }),
        Rest::Closed(Closed::Limit { starts, window }) => {
            Some(Reason::StartLimit { places, starts, window, exit_code })
        }
        Rest::Closed(Closed::Finished) => None,
    }
}

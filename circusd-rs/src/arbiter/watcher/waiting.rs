//! Who waits for a watcher, and until when it waits itself.

use super::hooks::KILL_PATIENCE;
use super::{Ctx, Phase, Wanted, Watcher};
use crate::arbiter::operation::{Goal, OpId, Outcome, Ticket};
use crate::arbiter::standing::Reason;
use crate::arbiter::time::Moment;

/// After so many failed tries those who wait are told, although the watcher goes on trying.
pub(super) const TRIES_BEFORE_ANSWER: u32 = 5;

impl Watcher {
    /// It was wanted up and may not be; whoever waits is told why.
    pub(in crate::arbiter) fn refuse_start(&mut self, why: String) {
        self.wish_down(Wanted::Down, "conflicts");
        self.record.halt = Reason::Broken { error: why.clone() };
        self.trouble = Some(why);
    }

    /// Those who only wait for a beginning wait no longer.
    pub(in crate::arbiter) fn release_begun(&mut self, done: &mut Vec<(OpId, Outcome)>) {
        self.tickets.retain(|ticket| {
            let waits = ticket.goal != Goal::Begun;
            if !waits {
                done.push((ticket.op, Outcome::done()));
            }
            waits
        });
    }

    pub(super) fn settle_tickets(&mut self, ctx: &mut Ctx<'_>) {
        if self.hooks.waiting() {
            // Its beginning has been seen; everything else waits until it is over.
            return self.release_begun(ctx.done);
        }
        let tickets = std::mem::take(&mut self.tickets);
        for mut ticket in tickets {
            match self.settled(&mut ticket, ctx.now.mono) {
                Some(outcome) => ctx.done.push((ticket.op, outcome)),
                None => self.tickets.push(ticket),
            }
        }
    }

    fn settled(&self, ticket: &mut Ticket, now: Moment) -> Option<Outcome> {
        match &mut ticket.goal {
            Goal::Begun => self.begun().then(Outcome::done),
            Goal::Told => Some(Outcome::done()),
            Goal::Down | Goal::Between => self.is_down().then(Outcome::done),
            Goal::Released => self.is_stopped().then(Outcome::done),
            Goal::Killed { keys } => {
                // Who is gone stays gone, and need not be looked for in the next step.
                while keys.pop_if(|key| !self.processes.contains(*key)).is_some() {}
                keys.is_empty().then(Outcome::done)
            }
            Goal::Up { before } | Goal::Reloaded { before } => match self.phase {
                Phase::Active if self.reload.is_none() && !self.refill => {
                    Some(Outcome::moved(before, self.pids()))
                }
                Phase::Stopped => (self.is_down() || self.config.on_demand).then(|| self.failure(before)),
                Phase::Starting { .. } | Phase::Active => self.in_vain(),
                Phase::Stopping { .. } => None,
            },
            Goal::Settled => match self.phase {
                Phase::Active if self.is_calm(now) => Some(Outcome::done()),
                Phase::Stopped => Some(self.failure(&[])),
                Phase::Starting { .. } | Phase::Active => self.in_vain(),
                Phase::Stopping { .. } => None,
            },
        }
    }

    /// Whoever waits for a program that cannot be started is told after a while.
    fn in_vain(&self) -> Option<Outcome> {
        let (name, tries) = (&self.config.name, self.tries.in_vain());
        let text = || format!("'{name}' could not be started in {tries} tries, still trying");
        (tries >= TRIES_BEFORE_ANSWER).then(|| Outcome::Failed(text()))
    }

    /// The first process is there or failed, or there is nothing to wait for.
    fn begun(&self) -> bool {
        match self.phase {
            Phase::Stopped => self.wanted != Wanted::Queued,
            Phase::Starting { spawned } => spawned > 0 || self.tries.in_vain() > 0,
            Phase::Active => !self.processes.spawning(),
            Phase::Stopping { .. } => true,
        }
    }

    /// As many as are wanted, or as many as there can be now, and nobody on the way out or in.
    fn is_calm(&self, now: Moment) -> bool {
        let quiet = !self.processes.spawning() && self.processes.leaving().next().is_none();
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        // Who waits for a socket gets no more processes before somebody knocks again.
        let settles = !self.config.respawns() || self.config.on_demand;
        let resting = settles || self.slots.resting(now).next().is_some();
        self.reload.is_none() && quiet && (self.processes.filled() >= wanted || resting)
    }

    fn failure(&self, before: &[circus_protocol::number::Pid]) -> Outcome {
        match &self.trouble {
            Some(trouble) => Outcome::Failed(trouble.clone()),
            // circus calls a program that cannot be executed a success without processes.
            None => Outcome::moved(before, self.pids()),
        }
    }

    /// The next moment after `now` at which something may be due.
    pub(in crate::arbiter) fn next_deadline(&self, now: Moment) -> Option<Moment> {
        if self.hooks.waiting() {
            let kills = self.processes.due().filter(|(_, process)| process.leaving());
            return kills.map(|(at, _)| at + KILL_PATIENCE).find(|at| *at > now);
        }
        let processes = self.processes.next_due(now).into_iter();
        let starting = match self.phase {
            Phase::Starting { .. } | Phase::Active => [Some(self.warm), Some(self.tries.not_before())],
            Phase::Stopped | Phase::Stopping { .. } => [None, None],
        };
        let starting = starting.into_iter().flatten();
        processes.chain(starting).chain(self.slots.deadline(now)).filter(|at| *at > now).min()
    }
}

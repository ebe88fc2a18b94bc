//! What the host reports about a watcher's processes: births, failed births, deaths.

use circus_protocol::event::EventKind;
use circus_protocol::number::{Pid, Signal};

use super::{Ctx, Phase, Reload, Watcher};
use crate::arbiter::effect::{Effect, LogLevel, Reach};
use crate::arbiter::hook::Point;
use crate::arbiter::id::Key;
use crate::arbiter::pace::Pace;
use crate::arbiter::process::{Process, State, Why};
use crate::arbiter::slots::Death;
use crate::arbiter::time::seconds;
use crate::config::policy::Restart;

impl Watcher {
    /// Fork and exec succeeded.
    pub(in crate::arbiter) fn spawned(&mut self, key: Key, pid: Pid, ctx: &mut Ctx<'_>) {
        let expires = self.life(ctx).map(|life| ctx.now.mono + life);
        if self.processes.get(key).is_none_or(|process| !process.spawning()) {
            return self.bug("spawned, but not asked for", key, ctx);
        }
        self.processes.change(key, |process| process.state = State::Running { pid, expires });
        let point = Point::AfterSpawn { key, pid };
        if self.hooked(point) {
            self.call(point, ctx);
        } else {
            self.born(key, pid, ctx);
        }
    }

    /// It is there, and nobody minds.
    pub(super) fn born(&mut self, key: Key, pid: Pid, ctx: &mut Ctx<'_>) {
        let Some(process) = self.processes.get(key) else {
            return self.bug("born, but not there", key, ctx);
        };
        let started = process.started;
        self.cards.born();
        self.record.refused = None;
        self.publish_at(EventKind::Spawn { pid }, started, ctx);
        let tries = std::mem::take(&mut self.tries);
        if tries.stalled() > 0 {
            let text =
                format!("'{}' can be started again, after {} tries", self.config.name, tries.in_vain());
            self.log(LogLevel::Info, text, ctx);
        }
        if let Phase::Starting { spawned } = &mut self.phase {
            *spawned = spawned.saturating_add(1);
        }
        if let Some(Reload::Replace { boundary, spawned, .. }) = &mut self.reload
            && key >= *boundary
        {
            *spawned = spawned.saturating_add(1);
        }
    }

    /// How long a new process may live.
    fn life(&self, ctx: &mut Ctx<'_>) -> Option<std::time::Duration> {
        let age = u64::try_from(self.config.max_age).ok().filter(|age| *age > 0)?;
        let more = ctx.random.up_to(u64::try_from(self.config.max_age_variance).unwrap_or(0));
        Some(std::time::Duration::from_secs(age.saturating_add(more)).min(seconds(f64::INFINITY)))
    }

    /// Fork or exec failed.
    pub(in crate::arbiter) fn spawn_failed(
        &mut self,
        key: Key,
        error: &str,
        transient: bool,
        ctx: &mut Ctx<'_>,
    ) {
        ctx.buried.push(key);
        self.note_failure(key, error, ctx);
        if self.strike(key).is_none_or(|process| !process.spawning()) {
            return self.bug("failed to spawn, but not asked for", key, ctx);
        }
        // Want of room may last, and is told when it is over.
        if !transient || self.tries.stalled() == 0 || self.record.error != error {
            self.log(LogLevel::Warn, format!("error in '{}': {error}", self.config.name), ctx);
        }
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        error.clone_into(&mut self.record.error);
        // Where tries are counted they follow at once, where they are not they may never end.
        let patient = transient || self.config.max_retry == -1 || self.config.policy.backoff.is_some();
        let pace = Pace::of(&self.config.policy, ctx.ceiling);
        if transient {
            self.tries.stall(ctx.now.mono, pace, ctx.random);
        } else {
            self.tries.fail(ctx.now.mono, patient.then_some(pace), ctx.random);
        }
        let reload_over = patient
            && matches!(self.reload, Some(Reload::Replace { .. }))
            && self.tries.in_vain() >= super::waiting::TRIES_BEFORE_ANSWER;
        if !self.may_try(self.tries.failed()) || reload_over {
            self.give_up(ctx);
        } else if transient || self.config.policy.backoff.is_some() {
            self.say_retrying(ctx);
        }
    }

    /// A process died and was reaped.
    pub(in crate::arbiter) fn exited(
        &mut self,
        key: Key,
        exit_code: Option<i32>,
        lingering: bool,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(process) = self.processes.get(key).cloned() else {
            return self.bug("exited, but not known", key, ctx);
        };
        match process.state {
            State::Spawning | State::Draining { .. } => self.bug("exited, but not alive", key, ctx),
            State::Running { pid, .. } => {
                self.say_reaped(pid, exit_code, true, ctx);
                self.judge(Death { wid: process.wid, started: process.since, exit_code }, ctx);
                let drain = State::Draining { why: Why::Crashed, kill_at: None };
                self.leave(key, lingering, Signal::KILL, drain, ctx);
            }
            State::Stopping { pid, why, signal, kill_at } => {
                match (&mut self.phase, why) {
                    (_, Why::Vetoed) => {}
                    (Phase::Stopping { reaps }, _) => {
                        reaps.insert(key, (pid, exit_code));
                    }
                    (_, Why::Sequential) => self.say_reaped(pid, exit_code, false, ctx),
                    (_, Why::Crashed | Why::Replaced | Why::Surplus | Why::Watcher) => {}
                }
                let signal = if kill_at.is_some() { signal } else { Signal::KILL };
                self.leave(key, lingering, signal, State::Draining { why, kill_at }, ctx);
            }
        }
    }

    /// A process ended by itself: how soon is there another in its place, if at all?
    fn judge(&mut self, death: Death, ctx: &mut Ctx<'_>) {
        self.record.exit_code = death.exit_code;
        let policy = &self.config.policy;
        // Who waits for a socket is started by it, however the last one ended.
        let choosy = policy.restart == Some(Restart::OnFailure) && !self.config.on_demand;
        if choosy && policy.expects(death.exit_code) {
            self.slots.finished(death);
            return;
        }
        let pace = Pace::of(policy, ctx.ceiling);
        self.slots.died(death, ctx.now.mono, pace, ctx.random);
        if self.config.respawns() || self.config.on_demand {
            self.say_resting(death.wid, ctx);
        }
    }

    /// The dead one is forgotten, or, if others of its group live, they are asked to end as it was.
    fn leave(&mut self, key: Key, lingering: bool, signal: Signal, drain: State, ctx: &mut Ctx<'_>) {
        if lingering {
            self.processes.change(key, |process| process.state = drain);
            self.emit(Effect::Signal { key, signal, reach: Reach::Tree }, ctx);
        } else {
            self.strike(key);
            ctx.buried.push(key);
        }
    }

    /// It is no more, and its number another's.
    fn strike(&mut self, key: Key) -> Option<Process> {
        let process = self.processes.remove(key)?;
        self.slots.give_back(process.wid);
        Some(process)
    }

    /// The last of a dead process' group is gone.
    pub(in crate::arbiter) fn gone(&mut self, key: Key, ctx: &mut Ctx<'_>) {
        match self.processes.get(key).map(|process| process.state) {
            Some(State::Draining { .. }) => {
                self.strike(key);
                ctx.buried.push(key);
            }
            Some(State::Spawning | State::Running { .. } | State::Stopping { .. }) | None => {
                self.bug("gone, but not draining", key, ctx);
            }
        }
    }

    /// Fills every place once, which `respawn = False` alone would not, or would only later.
    pub(super) fn fill_again(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.shed_surplus(ctx);
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        let spawning = self.processes.spawning();
        // A place that closed meanwhile is filled by nobody.
        self.refill = spawning || self.processes.filled() + self.slots.closed() < wanted;
        !self.refill || self.spawn_missing(u32::MAX, ctx)
    }
}

//! The hooks of one watcher: it stands still while one is under way, and nobody else does.
//!
//! ```text
//!            a step in front of which a hook was called
//!   free ───────────────────────────────────────────────► waiting ──┐ more steps queue up,
//!     ▲                                                      │      │ facts are kept,
//!     │ answered, or overtaken; steps and facts catch up     │ ◄────┘ wishes change fields
//!     └──────────────────────────────────────────────────────┘
//! ```
//!
//! Whatever leaves the watcher goes through [`Watcher::emit`] or [`Watcher::say`], so that it stays
//! behind the hooks called before it. Without hooks nothing ever queues. Two things do not wait: a
//! wish to be down overtakes the hooks of a start, and SIGKILL is late by [`KILL_PATIENCE`] at most.

use std::collections::VecDeque;
use std::time::Duration;

use circus_protocol::event::EventKind;
use circus_protocol::number::{Pid, Signal};

use super::{Ctx, Phase, Reload, Wanted, Watcher};
use crate::arbiter::effect::{Effect, LogLevel, Reach};
use crate::arbiter::hook::{self, Point};
use crate::arbiter::id::{JobId, Key};
use crate::arbiter::input::{HookOutcome, OomKills, Usage};
use crate::arbiter::process::Why;
use crate::arbiter::standing::Reason;

/// How long SIGKILL waits for a hook beyond `graceful_timeout`.
pub(super) const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(in crate::arbiter) struct Hooks {
    under_way: Option<(JobId, Point)>,
    /// What waits for it, in order; empty when nothing is under way.
    steps: VecDeque<Step>,
    /// What the host reported meanwhile.
    facts: VecDeque<Fact>,
    /// The last `before_signal` said no.
    vetoed: bool,
}

#[derive(Debug)]
enum Step {
    Call(Point),
    Emit(Effect),
    Say(EventKind),
    /// A signal that `before_signal` may have forbidden.
    Signal {
        key: Key,
        signal: Signal,
        reach: Reach,
    },
}

/// What the host reports about a process.
#[derive(Debug, Clone)]
pub(in crate::arbiter) enum Fact {
    Spawned { key: Key, pid: Pid },
    SpawnFailed { key: Key, error: String, transient: bool },
    Exited { key: Key, exit_code: Option<i32>, lingering: bool, usage: Option<Usage>, oom: Option<OomKills> },
    Gone { key: Key },
}

impl Fact {
    /// The key that is no more after this.
    fn buries(&self) -> Option<Key> {
        match self {
            Self::SpawnFailed { key, .. } | Self::Gone { key } => Some(*key),
            Self::Exited { key, lingering, .. } => (!lingering).then_some(*key),
            Self::Spawned { .. } => None,
        }
    }
}

impl Hooks {
    /// Whether anything waits for a hook.
    pub(in crate::arbiter) fn waiting(&self) -> bool {
        self.under_way.is_some()
    }

    /// Which.
    pub(in crate::arbiter) fn name(&self) -> Option<&'static str> {
        self.under_way.as_ref().map(|(_, point)| point.name())
    }
}

impl Watcher {
    /// Something was reported; what comes while a hook is under way is looked at afterwards.
    pub(in crate::arbiter) fn hear(&mut self, fact: Fact, ctx: &mut Ctx<'_>) {
        if self.hooks.waiting() {
            self.hooks.facts.push_back(fact);
        } else {
            self.learn(fact, ctx);
        }
    }

    fn learn(&mut self, fact: Fact, ctx: &mut Ctx<'_>) {
        match fact {
            Fact::Spawned { key, pid } => self.spawned(key, pid, ctx),
            Fact::SpawnFailed { key, error, transient } => self.spawn_failed(key, &error, transient, ctx),
            Fact::Exited { key, exit_code, lingering, usage, oom } => {
                self.note_end(key, exit_code, (usage, oom), ctx);
                self.exited(key, exit_code, lingering, ctx);
            }
            Fact::Gone { key } => self.gone(key, ctx),
        }
    }

    /// Catches up with what was kept; false while a hook is under way.
    pub(super) fn catch_up(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.leave_overtaken(ctx);
        while !self.hooks.waiting() {
            let Some(fact) = self.hooks.facts.pop_front() else { return true };
            self.learn(fact, ctx);
        }
        false
    }

    // ---- what leaves ----

    pub(super) fn emit(&mut self, effect: Effect, ctx: &mut Ctx<'_>) {
        self.push(Step::Emit(effect), ctx);
    }

    /// Publishes an event, with the time at which it leaves.
    pub(super) fn say(&mut self, kind: EventKind, ctx: &mut Ctx<'_>) {
        self.push(Step::Say(kind), ctx);
    }

    /// A signal between its hooks, and the event that tells of it if it is one that ends a process.
    pub(in crate::arbiter) fn send(
        &mut self,
        key: Key,
        signal: Signal,
        reach: Reach,
        tell: bool,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(pid) = self.processes.get(key).and_then(|process| process.pid()) else {
            return self.emit(Effect::Signal { key, signal, reach }, ctx);
        };
        self.call(Point::BeforeSignal { pid, signal }, ctx);
        self.push(Step::Signal { key, signal, reach }, ctx);
        self.call(Point::AfterSignal { pid, signal }, ctx);
        if tell {
            self.say(EventKind::Kill { pid }, ctx);
        }
    }

    /// A death between its hooks.
    pub(super) fn say_reaped(&mut self, pid: Pid, exit_code: Option<i32>, unasked: bool, ctx: &mut Ctx<'_>) {
        self.call(Point::BeforeReap { pid }, ctx);
        self.say(EventKind::Reap { pid, exit_code }, ctx);
        self.call(Point::AfterReap { pid, exit_code, unasked }, ctx);
    }

    // ---- calling ----

    /// Whether there is a hook to wait for at this point.
    pub(in crate::arbiter) fn hooked(&self, point: Point) -> bool {
        !self.hurry && self.config.hooks.contains_key(point.name())
    }

    /// Calls the hook, if there is one; what follows waits for it.
    pub(super) fn call(&mut self, point: Point, ctx: &mut Ctx<'_>) {
        if self.hooked(point) {
            self.push(Step::Call(point), ctx);
        }
    }

    fn push(&mut self, step: Step, ctx: &mut Ctx<'_>) {
        if self.hooks.waiting() {
            self.hooks.steps.push_back(step);
        } else {
            self.take_step(step, ctx);
        }
    }

    fn take_step(&mut self, step: Step, ctx: &mut Ctx<'_>) {
        match step {
            Step::Emit(Effect::Signal { key, .. }) if self.is_buried(key) => {}
            Step::Emit(effect) => ctx.out.push(effect),
            Step::Say(kind) => self.publish(kind, ctx),
            Step::Signal { key, signal, reach } => {
                let vetoed = std::mem::take(&mut self.hooks.vetoed);
                if (!vetoed || signal == Signal::KILL) && !self.is_buried(key) {
                    ctx.out.push(Effect::Signal { key, signal, reach });
                }
            }
            Step::Call(point) => {
                let Some(config) = self.config.hooks.get(point.name()).filter(|_| !self.hurry) else {
                    return;
                };
                let (pids, extra) = (self.pids().collect(), point.extra(ctx.now.wall));
                let call = hook::call(point.name(), config, &self.config, pids, ctx.global, extra);
                *ctx.next_job += 1;
                let job = JobId(*ctx.next_job);
                ctx.called.push(job);
                self.hooks.under_way = Some((job, point));
                ctx.out.push(Effect::RunHook { job, call: Box::new(call) });
            }
        }
    }

    /// Whether its end was reported already, and not yet looked at.
    pub(super) fn is_buried(&self, key: Key) -> bool {
        self.hooks.facts.iter().any(|fact| fact.buries() == Some(key))
    }

    fn take_steps(&mut self, ctx: &mut Ctx<'_>) {
        while !self.hooks.waiting() {
            let Some(step) = self.hooks.steps.pop_front() else { return };
            self.take_step(step, ctx);
        }
    }

    // ---- answers ----

    /// A hook has answered; one that was overtaken is not waited for any more.
    pub(in crate::arbiter) fn hook_done(&mut self, job: JobId, outcome: HookOutcome, ctx: &mut Ctx<'_>) {
        let Some((_, point)) = self.hooks.under_way.take_if(|(waited, _)| *waited == job) else { return };
        let name = point.name().to_owned();
        let agreed = match outcome {
            HookOutcome::Returned { truth, stats: _ } => {
                self.publish(EventKind::HookSuccess { name }, ctx);
                truth
            }
            HookOutcome::Raised(error) => {
                let text = format!("Hook '{name}' of {} failed: {error}", self.config.name);
                self.log(LogLevel::Error, text, ctx);
                let config = self.config.hooks.get(point.name());
                self.publish(EventKind::HookFailure { name, error }, ctx);
                point.forgives() || config.is_some_and(|config| config.ignore_failure)
            }
        };
        self.take_answer(point, agreed, ctx);
        self.take_steps(ctx);
    }

    /// Nobody wants the answer any more: the watcher shall be down, or everything now.
    fn leave_overtaken(&mut self, ctx: &mut Ctx<'_>) {
        let Some((_, point)) = self.hooks.under_way else { return };
        let overtaken = self.hurry || (self.leaves() && point.is_of_a_start());
        if !overtaken {
            return;
        }
        self.hooks.under_way = None;
        if let Point::AfterSpawn { key, pid } = point {
            self.born(key, pid, ctx);
        }
        self.take_steps(ctx);
    }

    fn take_answer(&mut self, point: Point, agreed: bool, ctx: &mut Ctx<'_>) {
        match point {
            Point::BeforeStart if agreed => {
                if self.may_start() {
                    self.begin_start(ctx);
                }
            }
            Point::AfterStart if agreed => {
                if matches!(self.phase, Phase::Starting { .. }) && !self.leaves() {
                    self.become_active(ctx);
                }
            }
            Point::BeforeSpawn if agreed => {
                if matches!(self.phase, Phase::Starting { .. } | Phase::Active) && !self.leaves() {
                    self.spawn_now(ctx);
                }
            }
            Point::AfterSpawn { key, pid } if agreed => self.born(key, pid, ctx),
            Point::BeforeStart => {
                self.reload = None;
                self.abort(point);
            }
            Point::AfterStart => self.abort(point),
            Point::BeforeSpawn => self.refuse_spawn(point),
            Point::AfterSpawn { key, .. } => {
                self.end(key, Why::Vetoed, self.config.stop_signal, self.grace(), ctx);
                self.refuse_spawn(point);
            }
            Point::BeforeSignal { .. } => self.hooks.vetoed = !agreed,
            Point::BeforeStop
            | Point::AfterStop
            | Point::AfterSignal { .. }
            | Point::BeforeReap { .. }
            | Point::AfterReap { .. } => {}
        }
    }

    /// A hook does not want it up.
    fn abort(&mut self, point: Point) {
        match self.wanted {
            Wanted::Up | Wanted::Queued => {
                self.wanted = Wanted::Down;
                self.record.halt = Reason::Refused { hook: point.name().to_owned() };
            }
            Wanted::Down | Wanted::Demand | Wanted::Gone => {}
        }
    }

    /// A hook does not want another process; in a reload that leaves one place empty, otherwise the
    /// watcher stops.
    fn refuse_spawn(&mut self, point: Point) {
        if let Some(Reload::Replace { spawned, .. }) = &mut self.reload {
            *spawned = spawned.saturating_add(1);
        } else {
            self.abort(point);
        }
    }
}

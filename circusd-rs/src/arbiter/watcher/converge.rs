//! What is wanted against what there is: the only place that starts and ends processes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::event::EventKind;
use circus_protocol::number::Signal;

use super::hooks::KILL_PATIENCE;
use super::{Ctx, Phase, Reload, Style, Wanted, Watcher};
use crate::arbiter::effect::{Effect, LogLevel, Reach};
use crate::arbiter::hook::Point;
use crate::arbiter::id::Key;
use crate::arbiter::pace::Tries;
use crate::arbiter::process::{Process, State, Why};
use crate::arbiter::question::Preparation;
use crate::arbiter::spawnspec;
use crate::arbiter::standing::Reason;
use crate::arbiter::time::{Moment, seconds};
use crate::config::StreamConfig;

impl Watcher {
    /// Does whatever is due. Idempotent: a second call at the same time changes nothing.
    pub(in crate::arbiter) fn converge(&mut self, ctx: &mut Ctx<'_>) {
        while self.catch_up(ctx) && self.advance(ctx) {}
        self.kill_overdue(ctx);
        self.settle_tickets(ctx);
    }

    /// One transition or one layer of work; true when there may be more.
    fn advance(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let leave = self.leaves();
        match self.phase {
            Phase::Stopped => self.when_stopped(ctx),
            Phase::Starting { .. } | Phase::Active if leave => {
                self.order.stays_for.is_none() && self.begin_stop(ctx)
            }
            Phase::Starting { spawned } => self.when_starting(spawned, ctx),
            Phase::Active => self.when_active(ctx),
            Phase::Stopping { .. } => self.when_stopping(ctx),
        }
    }

    /// Whether it may not stay up.
    pub(in crate::arbiter) fn leaves(&self) -> bool {
        self.cycle
            || matches!(self.wanted, Wanted::Down | Wanted::Demand | Wanted::Gone)
            || self.rebuild.is_some()
    }

    /// Whether a stopped watcher may start.
    pub(super) fn may_start(&self) -> bool {
        let free = self.holds == 0 && self.rebuild.is_none() && (self.knocked || !self.config.on_demand);
        self.is_stopped() && self.wanted == Wanted::Up && free && self.order.gate.is_none()
    }

    fn when_stopped(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.cycle = false;
        if let Some(config) = self.rebuild.take() {
            self.definition = config.from_file.then(|| (*config).clone());
            self.config = *config;
        }
        self.await_demand();
        if !self.may_start() {
            return false;
        }
        if self.hooked(Point::BeforeStart) {
            self.call(Point::BeforeStart, ctx);
            return false;
        }
        self.begin_start(ctx);
        true
    }

    pub(super) fn begin_start(&mut self, ctx: &mut Ctx<'_>) {
        self.trouble = None;
        self.tries = Tries::default();
        if !std::mem::take(&mut self.knocked) {
            self.slots.clear();
        }
        self.warm = Moment::default();
        self.open_streams(ctx);
        self.enter(Phase::Starting { spawned: 0 }, ctx);
    }

    /// An `on_demand` watcher that should be up waits for somebody to knock; any other does not.
    fn await_demand(&mut self) {
        match self.wanted {
            Wanted::Up | Wanted::Queued if self.config.on_demand && !self.knocked => {
                self.wanted = Wanted::Demand;
            }
            Wanted::Demand if !self.config.on_demand => self.wanted = Wanted::Up,
            Wanted::Down | Wanted::Gone => self.knocked = false,
            Wanted::Queued | Wanted::Up | Wanted::Demand => {}
        }
    }

    fn when_starting(&mut self, spawned: u32, ctx: &mut Ctx<'_>) -> bool {
        let wanted = self.config.numprocesses;
        if wanted == 0 {
            self.wanted = Wanted::Down;
            self.record.halt = Reason::NoProcesses;
            return self.begin_stop(ctx);
        }
        if spawned < wanted {
            return self.spawn_missing(wanted - spawned, ctx);
        }
        if self.processes.spawning() || ctx.now.mono < self.warm {
            return false;
        }
        if self.hooked(Point::AfterStart) {
            self.call(Point::AfterStart, ctx);
            return false;
        }
        self.become_active(ctx);
        true
    }

    pub(super) fn become_active(&mut self, ctx: &mut Ctx<'_>) {
        self.enter(Phase::Active, ctx);
        self.say(EventKind::Start, ctx);
        self.log(LogLevel::Info, format!("{} started", self.config.name), ctx);
    }

    fn when_active(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.expire(ctx);
        if self.reload.is_some() {
            return self.advance_reload(ctx);
        }
        if self.config.on_demand {
            self.shed_surplus(ctx);
            return self.processes.is_empty() && self.rest_on_demand(ctx);
        }
        if self.refill {
            return self.fill_again(ctx);
        }
        if !self.config.respawns() {
            if self.processes.is_empty() && self.config.numprocesses > 0 {
                return self.end_worn_out(ctx);
            }
            self.shed_surplus(ctx);
            return false;
        }
        self.shed_surplus(ctx);
        if self.is_worn_out() {
            return self.end_worn_out(ctx);
        }
        self.spawn_missing(u32::MAX, ctx)
    }

    /// Nobody is there, and nobody will be.
    fn end_worn_out(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.wear_out(ctx);
        self.log(LogLevel::Info, format!("{}: {}", self.config.name, self.record.halt), ctx);
        self.wanted = Wanted::Down;
        self.begin_stop(ctx)
    }

    /// All processes of an `on_demand` watcher ended by themselves: the next knock starts it again. As
    /// with stock, this is no `stop` to anybody.
    fn rest_on_demand(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.enter(Phase::Stopped, ctx);
        self.wanted = Wanted::Demand;
        self.close_streams(ctx);
        self.log(LogLevel::Info, format!("{} waits for its socket", self.config.name), ctx);
        true
    }

    pub(super) fn begin_stop(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.cycle = false;
        self.refill = false;
        // A restart on the way keeps nothing to reload: what comes up is new.
        self.reload = self.reload.take().filter(|_| self.wanted == Wanted::Up).map(|reload| match reload {
            Reload::Queued(Style::Restart) | Reload::Pending(Style::Restart) => {
                Reload::Pending(Style::Restart)
            }
            Reload::Queued(_) | Reload::Pending(_) | Reload::Replace { .. } | Reload::Sequential { .. } => {
                Reload::Pending(Style::Start)
            }
        });
        self.enter(Phase::Stopping { reaps: BTreeMap::new() }, ctx);
        self.call(Point::BeforeStop, ctx);
        let (signal, limit) = (self.config.stop_signal, ctx.now.mono + self.grace());
        let leaving: Vec<Key> = self.processes.leaving().map(|process| process.key).collect();
        for key in leaving {
            let again = self.processes.change(key, |process| process.join_the_watcher(signal, limit));
            if again == Some(true) {
                self.ask(key, signal, ctx);
            }
        }
        true
    }

    fn when_stopping(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let running: Vec<Key> = self.processes.running().map(|process| process.key).collect();
        for key in running {
            self.end(key, Why::Watcher, self.config.stop_signal, self.grace(), ctx);
        }
        if !self.processes.is_empty() {
            return false;
        }
        if let Phase::Stopping { reaps } = &mut self.phase
            && let Some((_, (pid, exit_code))) = reaps.pop_first()
        {
            self.say_reaped(pid, exit_code, false, ctx);
            return true;
        }
        self.enter(Phase::Stopped, ctx);
        self.close_streams(ctx);
        self.slots.clear();
        self.say(EventKind::Stop, ctx);
        self.call(Point::AfterStop, ctx);
        self.log(LogLevel::Info, format!("{} stopped", self.config.name), ctx);
        true
    }

    fn close_streams(&mut self, ctx: &mut Ctx<'_>) {
        if self.config.stdout_stream.is_some() || self.config.stderr_stream.is_some() {
            self.emit(Effect::CloseStreams { watcher: self.id }, ctx);
        }
    }

    /// (Re)opens the output streams, if there are any.
    pub(in crate::arbiter) fn open_streams(&self, ctx: &mut Ctx<'_>) {
        let name = self.config.name.original();
        let named = |stream: &Option<StreamConfig>| stream.clone().map(|stream| stream.named(name));
        let (stdout, stderr) = (named(&self.config.stdout_stream), named(&self.config.stderr_stream));
        if stdout.is_some() || stderr.is_some() {
            ctx.out.push(Effect::OpenStreams { watcher: self.id, name: name.into(), stdout, stderr });
        }
    }

    pub(super) fn grace(&self) -> Duration {
        if self.hurry { Duration::ZERO } else { seconds(self.config.graceful_timeout) }
    }

    // ---- ending ----

    /// Asks one running process to end.
    pub(super) fn end(&mut self, key: Key, why: Why, signal: Signal, grace: Duration, ctx: &mut Ctx<'_>) {
        let kill_at = Some(ctx.now.mono + grace);
        let Some(State::Running { pid, .. }) = self.processes.get(key).map(|process| process.state) else {
            return;
        };
        self.processes.change(key, |process| process.state = State::Stopping { pid, why, signal, kill_at });
        self.ask(key, signal, ctx);
    }

    fn ask(&mut self, key: Key, signal: Signal, ctx: &mut Ctx<'_>) {
        let reach = if self.config.stop_children { Reach::WithChildren } else { Reach::Process };
        self.send(key, signal, reach, true, ctx);
    }

    /// SIGKILL to every tree whose time is up.
    fn kill_overdue(&mut self, ctx: &mut Ctx<'_>) {
        let (now, patience) = (ctx.now.mono, self.patience());
        let due = self.processes.due().take_while(|(at, _)| *at + patience <= now);
        let overdue = due.filter(|(_, process)| process.leaving());
        let mut overdue: Vec<_> = overdue.map(|(_, process)| (process.key, process.pid())).collect();
        // The oldest first, whoever was asked to end first.
        overdue.sort_unstable_by_key(|(key, _)| *key);
        // Behind a hook that does not end, nothing may stand that must.
        let stuck = self.hooks.waiting();
        for (key, pid) in overdue {
            self.processes.change(key, Process::is_killed);
            if pid.is_some() && !stuck {
                self.send(key, Signal::KILL, Reach::Tree, true, ctx);
                continue;
            }
            if stuck && self.is_buried(key) {
                continue;
            }
            ctx.out.push(Effect::Signal { key, signal: Signal::KILL, reach: Reach::Tree });
            if let Some(pid) = pid {
                self.say(EventKind::Kill { pid }, ctx);
            }
        }
    }

    /// How much later than planned SIGKILL comes.
    fn patience(&self) -> Duration {
        if self.hooks.waiting() { KILL_PATIENCE } else { Duration::ZERO }
    }

    fn expire(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now.mono;
        let due = self.processes.due().take_while(|(at, _)| *at <= now);
        let mut old: Vec<Key> =
            due.filter(|(_, process)| process.running()).map(|(_, process)| process.key).collect();
        old.sort_unstable();
        for key in old {
            self.end(key, Why::Replaced, self.config.stop_signal, self.grace(), ctx);
        }
    }

    /// The oldest leave, the youngest of them first; one that is leaving anyway needs no successor.
    pub(super) fn shed_surplus(&mut self, ctx: &mut Ctx<'_>) {
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        let surplus = self.processes.filled().saturating_sub(wanted);
        if surplus == 0 {
            return;
        }
        let leaving = self.processes.leaving().filter(|process| process.counts()).take(surplus);
        let leaving: Vec<Key> = leaving.map(|process| process.key).collect();
        for key in &leaving {
            self.processes.change(*key, Process::is_surplus);
        }
        let running = self.processes.running().take(surplus - leaving.len());
        let mut oldest: Vec<Key> = running.map(|process| process.key).collect();
        oldest.reverse();
        for key in oldest {
            self.end(key, Why::Surplus, self.config.stop_signal, self.grace(), ctx);
        }
    }

    // ---- starting ----

    /// Starts the next missing process, if there is one and its time has come; one at a time.
    pub(super) fn spawn_missing(&mut self, most: u32, ctx: &mut Ctx<'_>) -> bool {
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        let filled = self.processes.filled();
        if filled >= wanted && self.slots.any_closed() && self.filled_by_living() >= wanted {
            self.slots.reopen();
        }
        if most == 0 || filled + self.slots.vacant(ctx.now.mono) >= wanted || ctx.now.mono < self.warm {
            return false;
        }
        self.spawn_one(ctx)
    }

    /// What a process leaves behind fills its place, but nobody has come for it.
    fn filled_by_living(&self) -> usize {
        let filled = self.processes.values().filter(|process| process.counts());
        filled.filter(|process| !self.slots.is_closed(process.wid)).count()
    }

    /// Starts one process if none is being started and there are not too many. True when that
    /// failed so that the watcher stops.
    pub(super) fn spawn_one(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let most = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX).saturating_mul(2);
        if self.processes.spawning() || self.processes.len() >= most || ctx.now.mono < self.tries.not_before()
        {
            return false;
        }
        if !self.may_try(0) {
            return self.give_up(ctx);
        }
        // Once for each process, not for each try.
        if self.tries.in_vain() == 0 && self.hooked(Point::BeforeSpawn) {
            self.call(Point::BeforeSpawn, ctx);
            return false;
        }
        self.spawn_now(ctx)
    }

    /// As `spawn_one`, when nothing stands in the way any more.
    pub(super) fn spawn_now(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let wid = self.slots.lowest(ctx.now.mono);
        let (before, looks) = (self.preparation(), self.config.looks(self.order.is_service));
        let spec = match spawnspec::build(&self.config, self.id, wid, ctx.sockets, before, looks) {
            Ok(spec) => spec,
            Err(error) => {
                self.log(LogLevel::Error, format!("error in '{}': {error}", self.config.name), ctx);
                self.trouble = Some(format!("'{}' cannot be started: {error}", self.config.name));
                self.record.halt = Reason::Broken { error };
                self.wanted = Wanted::Down;
                return self.begin_stop(ctx);
            }
        };
        *ctx.next_key += 1;
        let key = Key(*ctx.next_key);
        ctx.born.push(key);
        let process =
            Process { key, wid, started: ctx.now.wall, since: ctx.now.mono, state: State::Spawning };
        self.processes.insert(process);
        self.slots.take(wid);
        self.warm = ctx.now.mono + seconds(self.config.warmup_delay);
        self.emit(Effect::Spawn { key, spec }, ctx);
        false
    }

    /// What the host does first: nothing that a process which lives might mind.
    fn preparation(&self) -> Option<Arc<Preparation>> {
        let whole = self.order.preparation.as_ref()?;
        match (self.processes.is_empty(), self.reload.is_some()) {
            (true, _) => Some(Arc::clone(whole)),
            // The new generation is asked about what it writes itself.
            (false, true) => Some(Arc::new(Preparation { remove: Vec::new(), logs: whole.logs.clone() })),
            (false, false) => None,
        }
    }

    /// Whether `max_retry` allows another try after so many failed ones.
    pub(super) fn may_try(&self, failed: u32) -> bool {
        self.config.max_retry == -1 || i64::from(failed) < self.config.max_retry
    }

    /// Nothing can be started: the watcher stops, except in a reload, where the old ones stay.
    pub(super) fn give_up(&mut self, ctx: &mut Ctx<'_>) -> bool {
        let tries = std::mem::take(&mut self.tries).in_vain();
        if let Some(Reload::Replace { failed, .. }) = &mut self.reload {
            *failed = true;
            return true;
        }
        self.log(LogLevel::Error, format!("{} cannot be started, giving up", self.config.name), ctx);
        self.record.halt = Reason::Unstartable { error: self.record.error.clone(), tries };
        self.wanted = Wanted::Down;
        self.begin_stop(ctx)
    }
}

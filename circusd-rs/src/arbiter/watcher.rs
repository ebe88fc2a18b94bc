//! One watcher: what is wanted of it, what there is, and the one place that compares the two.
//!
//! ```text
//!              wanted up                 enough spawned
//!   ┌─ Stopped ─────────► Starting ─────────────────────► Active ─┐
//!   │     ▲                  │                               │    │ reload, respawn,
//!   │     │                  │ wanted down, restart, failed  │    │ surplus, max_age
//!   │     │ all gone         ▼                               │    │
//!   │     └────────────── Stopping ◄─────────────────────────┘ ◄──┘
//!   ▼ wanted gone
//! forgotten
//! ```
//!
//! Commands and facts only change fields; [`Watcher::converge`] acts. A restart is "owed a stop" with
//! `wanted` still up, a changed definition is taken over on the way through Stopped. It refuses to
//! know other watchers, clients and names: whoever waits left a [`Ticket`].
//!
//! What leaves a watcher, and every step whose hook decides, goes through [`hooks`].

mod converge;
mod deaths;
pub(in crate::arbiter) mod hooks;
mod reload;
mod standing;
mod story;
mod waiting;

use std::collections::BTreeMap;
use std::time::Duration;

use circus_protocol::event::{Event, EventKind};
use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::Refusal;
use serde_json::Value;

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::{JobId, Key, WatcherId};
use crate::arbiter::operation::{Goal, OpId, Outcome, Ticket};
use crate::arbiter::order::Order;
use crate::arbiter::pace::Tries;
use crate::arbiter::process::{Process, State, Why};
use crate::arbiter::processes::Processes;
use crate::arbiter::readiness::Readiness;
use crate::arbiter::slots::Slots;
use crate::arbiter::sockets::Bound;
use crate::arbiter::standing::Reason;
use crate::arbiter::story::card::Cards;
use crate::arbiter::time::{Moment, Now};
use crate::config::option::{self, Trigger};
use crate::config::policy::{Policy, Restart};
use crate::config::{Global, WatcherConfig};
pub(super) use standing::RefusedStart;

/// What circus prints as status, with what is only known in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    Stopped,
    Starting {
        /// How many starts succeeded.
        spawned: u32,
    },
    Active,
    Stopping {
        /// Deaths to publish when all are gone, in the order of their births.
        reaps: BTreeMap<Key, (Pid, Option<i32>)>,
    },
}

/// What is wanted of a watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Down,
    /// Up, when its turn comes.
    Queued,
    Up,
    /// Down until a socket of its is readable (`on_demand`).
    Demand,
    /// Down and then forgotten.
    Gone,
}

/// A graceful reload under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reload {
    /// Waits for its turn.
    Queued(Style),
    /// Waits until the watcher is active.
    Pending(Style),
    /// New ones first; those older than the boundary leave when there are enough.
    Replace { boundary: Key, spawned: u32, failed: bool },
    /// One after the other; those older than the boundary are left to do.
    Sequential { boundary: Key },
}

/// How to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Graceful,
    Sequential,
    /// Nothing to replace: starting is all there is to it.
    Start,
    /// Stop and start; nothing is said about a reload.
    Restart,
}

/// What every step of a watcher may use.
pub(super) struct Ctx<'a> {
    pub(super) now: Now,
    pub(super) out: &'a mut Vec<Effect>,
    /// Fresh keys.
    pub(super) next_key: &'a mut u64,
    /// The keys that were taken in this step.
    pub(super) born: &'a mut Vec<Key>,
    /// For `max_age_variance` and `backoff_jitter`.
    pub(super) random: &'a mut Random,
    /// The longest pause between two tries.
    pub(super) ceiling: Duration,
    /// The names and settings that hooks are told.
    pub(super) global: &'a Global,
    /// Fresh jobs.
    pub(super) next_job: &'a mut u64,
    /// The hooks that were called in this step.
    pub(super) called: &'a mut Vec<JobId>,
    /// The keys that are no more since this step.
    pub(super) buried: &'a mut Vec<Key>,
    pub(super) sockets: &'a Bound,
    /// What became of tickets.
    pub(super) done: &'a mut Vec<(OpId, Outcome)>,
}

/// A small generator (splitmix64): nothing here needs more than to differ.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    /// A number from 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        most.checked_add(1).map_or(z, |range| z % range)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) id: WatcherId,
    /// The running options.
    pub(super) config: WatcherConfig,
    /// What the configuration file said when it was built; `None` after `add`.
    pub(super) definition: Option<WatcherConfig>,
    pub(super) phase: Phase,
    pub(super) wanted: Wanted,
    /// Must stop before it may be up.
    pub(super) cycle: bool,
    /// Takes the place of `config` on the way through Stopped.
    pub(super) rebuild: Option<Box<WatcherConfig>>,
    /// Jobs of the host that forbid a start.
    pub(super) holds: u32,
    /// Somebody knocked at its socket: the next start is not left to wait for that.
    pub(super) knocked: bool,
    /// SIGKILL without grace.
    pub(super) hurry: bool,
    pub(super) reload: Option<Reload>,
    /// Somebody wants what is not replaced, or not yet, to be there again.
    pub(super) refill: bool,
    pub(super) processes: Processes,
    pub(super) tickets: Vec<Ticket>,
    /// Why the last start failed, if it was more than a program that could not be executed.
    pub(super) trouble: Option<String>,
    /// Not before this moment may the next process start (`warmup_delay`).
    pub(super) warm: Moment,
    pub(super) tries: Tries,
    pub(super) slots: Slots,
    pub(super) hooks: hooks::Hooks,
    /// For those who ask why it is as it is.
    pub(super) record: standing::Record,
    /// How far it has come.
    pub(super) readiness: Readiness,
    /// Its place among others.
    pub(super) order: Order,
    /// How its processes ended.
    pub(super) cards: Cards,
    /// The deadline the arbiter has noted for it.
    pub(super) noted: Option<Moment>,
}

impl Watcher {
    pub(super) fn new(id: WatcherId, config: WatcherConfig) -> Self {
        Self {
            id,
            definition: config.from_file.then(|| config.clone()),
            config,
            phase: Phase::Stopped,
            wanted: Wanted::Down,
            cycle: false,
            rebuild: None,
            holds: 0,
            knocked: false,
            hurry: false,
            reload: None,
            refill: false,
            processes: Processes::default(),
            tickets: Vec::new(),
            trouble: None,
            warm: Moment::default(),
            tries: Tries::default(),
            slots: Slots::default(),
            hooks: hooks::Hooks::default(),
            record: standing::Record::default(),
            readiness: Readiness::default(),
            order: Order::default(),
            cards: Cards::default(),
            noted: None,
        }
    }

    /// As circus prints it.
    pub(super) fn status(&self) -> &'static str {
        match self.phase {
            Phase::Stopped => "stopped",
            Phase::Starting { .. } => "starting",
            Phase::Active => "active",
            Phase::Stopping { .. } => "stopping",
        }
    }

    /// Pids of the living, oldest first; one that a hook did not want was never there.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.processes.values().filter(|process| !process.vetoed()).filter_map(Process::pid)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.phase == Phase::Stopped
    }

    /// Stopped for good: whoever is down keeps being down until somebody wishes otherwise.
    pub(super) fn is_down(&self) -> bool {
        let unwanted = matches!(self.wanted, Wanted::Down | Wanted::Demand | Wanted::Gone);
        self.is_stopped() && !self.hooks.waiting() && unwanted
    }

    /// Down, and nobody waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.is_down() && self.tickets.is_empty() && self.holds == 0
    }

    /// Whether a place in the queue is (still) its own.
    pub(super) fn awaits_turn(&self) -> bool {
        self.wanted == Wanted::Queued || matches!(self.reload, Some(Reload::Queued(_)))
    }

    /// Whether the one behind it in the queue may go: it is up, gave up, or keeps trying in vain.
    pub(super) fn turn_is_over(&self) -> bool {
        match self.phase {
            Phase::Active => match self.reload {
                None | Some(Reload::Queued(_)) => true,
                Some(Reload::Pending(_) | Reload::Replace { .. } | Reload::Sequential { .. }) => {
                    self.tries.in_vain() > 0
                }
            },
            Phase::Stopped => self.wanted != Wanted::Up || self.holds > 0 || self.order.gate.is_some(),
            Phase::Starting { .. } => self.tries.in_vain() > 1,
            Phase::Stopping { .. } => self.reload != Some(Reload::Pending(Style::Restart)),
        }
    }

    /// Whether it is only waiting for time to pass, or for a hook.
    pub(super) fn is_pausing(&self, now: Moment) -> bool {
        let spawning = self.processes.spawning();
        self.hooks.waiting() || !spawning && (self.warm > now || self.tries.not_before() > now)
    }

    /// Whether a readable socket of its starts it.
    pub(super) fn is_armed(&self, now: Moment) -> bool {
        let rested = self.slots.resting(now).next().is_none();
        self.is_stopped()
            && self.wanted == Wanted::Demand
            && self.holds == 0
            && rested
            && !self.hooks.waiting()
    }

    /// Whether it is about to be up, or is.
    pub(super) fn returns(&self) -> bool {
        matches!(self.wanted, Wanted::Up | Wanted::Queued)
    }

    // ---- wishes ----

    /// Somebody knocked at a socket of its.
    pub(super) fn demanded(&mut self, now: Moment) {
        if self.is_armed(now) {
            self.wanted = Wanted::Up;
            self.knocked = true;
        }
    }

    /// Its processes must end so that a socket they hold can change; it comes back by itself.
    pub(super) fn wish_release(&mut self) {
        if matches!(self.phase, Phase::Starting { .. } | Phase::Active) && self.returns() {
            self.cycle = true;
        }
    }

    /// Its turn has come.
    pub(super) fn take_turn(&mut self) {
        if self.wanted == Wanted::Queued {
            self.wanted = Wanted::Up;
        }
        if let Some(Reload::Queued(style)) = self.reload {
            self.reload = Some(Reload::Pending(style));
            let runs = matches!(self.phase, Phase::Starting { .. } | Phase::Active);
            self.cycle |= runs && style == Style::Restart;
        }
    }

    /// Somebody wants it up, now.
    pub(super) fn wish_up(&mut self) {
        if self.is_stopped() {
            self.trouble = None;
            self.tries = Tries::default();
        }
        let rests = !self.slots.is_empty() || !self.config.respawns();
        self.refill = self.phase == Phase::Active && rests;
        self.wanted = Wanted::Up;
        self.slots.clear();
        self.tries.hasten();
    }

    /// Somebody wants it up, in its turn.
    pub(super) fn wish_queued(&mut self) {
        let waits = self.is_stopped() && self.wanted != Wanted::Up;
        self.wish_up();
        if waits {
            self.wanted = Wanted::Queued;
        }
    }

    /// Somebody wants it down; `Gone` is never taken back.
    pub(super) fn wish_down(&mut self, wanted: Wanted, by: &str) {
        if self.wanted != Wanted::Gone {
            self.wanted = wanted;
        }
        self.cycle = false;
        self.knocked = false;
        self.reload = None;
        self.trouble = None;
        self.record.halt = Reason::Asked { by: by.to_owned() };
    }

    /// Somebody wants it stopped and started.
    pub(super) fn wish_restart(&mut self) {
        self.wish_up();
        self.cycle = matches!(self.phase, Phase::Starting { .. } | Phase::Active);
        self.reload = None;
    }

    /// Somebody wants its processes replaced; a stopped watcher is started (Q15).
    pub(super) fn wish_reload(&mut self, style: Style, queued: bool) {
        let style = match self.phase {
            Phase::Starting { .. } | Phase::Active => style,
            Phase::Stopped | Phase::Stopping { .. } if style == Style::Restart => style,
            Phase::Stopped | Phase::Stopping { .. } => Style::Start,
        };
        if queued {
            self.wish_queued()
        } else {
            self.wish_up()
        }
        self.reload = Some(if queued { Reload::Queued(style) } else { Reload::Pending(style) });
    }

    /// Kill what is left, now.
    pub(super) fn wish_hurry(&mut self, now: Moment) {
        self.hurry = true;
        let leaving: Vec<Key> = self.processes.leaving().map(|process| process.key).collect();
        for key in leaving {
            self.processes.change(key, |process| match &mut process.state {
                State::Spawning | State::Running { .. } => {}
                State::Stopping { kill_at, .. } | State::Draining { kill_at, .. } => {
                    *kill_at = kill_at.map(|_| now);
                }
            });
        }
    }

    /// `kill`: these processes end, the watcher goes on. One that is ending already is left to it.
    pub(super) fn wish_kill(&mut self, key: Key, signal: Signal, grace: Duration, ctx: &mut Ctx<'_>) {
        self.end(key, Why::Replaced, signal, grace, ctx);
    }

    /// Changes what can change without a restart, on a new number of processes.
    pub(super) fn wish_count(&mut self, count: u32) {
        self.config.numprocesses = count;
        self.trouble = None;
        self.tries = Tries::default();
    }

    /// Other rules for what follows a death: whoever rests by the old ones is tried again now.
    pub(super) fn wish_policy(&mut self, policy: Policy) {
        let before = std::mem::replace(&mut self.config.policy, policy);
        self.trouble = None;
        self.tries = Tries::default();
        self.forgive(before.restart);
    }

    /// The rules have changed: nobody rests by the old ones. Who was done stays done unless the very
    /// rule about that has changed.
    fn forgive(&mut self, restart: Option<Restart>) {
        if restart == self.config.policy.restart {
            self.slots.forgive();
        } else {
            self.slots.clear();
        }
    }

    /// `set` of one option; the processes follow when all are applied.
    pub(super) fn wish_option(
        &mut self,
        key: &str,
        value: &Value,
        ctx: &mut Ctx<'_>,
    ) -> Result<Trigger, Refusal> {
        let streams = (self.config.stdout_stream.clone(), self.config.stderr_stream.clone());
        let policy = self.config.policy.clone();
        let trigger = option::set(&mut self.config, key, value)?;
        if policy != self.config.policy {
            self.forgive(policy.restart);
        }
        if streams != (self.config.stdout_stream.clone(), self.config.stderr_stream.clone())
            && !self.is_stopped()
        {
            self.open_streams(ctx);
        }
        self.tries = Tries::default();
        self.trouble = None;
        self.say(EventKind::Updated, ctx);
        Ok(trigger)
    }

    // ---- tickets ----

    /// A wish against those who wait for `goals`: they are told by what they were overtaken.
    pub(super) fn overtake(
        &mut self,
        overtaken: fn(&Goal) -> bool,
        by: &str,
        done: &mut Vec<(OpId, Outcome)>,
    ) {
        let name = self.config.name.original().to_owned();
        self.tickets.retain(|ticket| {
            if !overtaken(&ticket.goal) {
                return true;
            }
            let outcome = match ticket.goal {
                // Only the beginning was of interest, and it has begun.
                Goal::Begun => Outcome::done(),
                Goal::Up { .. }
                | Goal::Down
                | Goal::Between
                | Goal::Released
                | Goal::Reloaded { .. }
                | Goal::Settled
                | Goal::Told
                | Goal::Killed { .. } => {
                    Outcome::Overtaken(format!("{} of '{name}' was overtaken by {by}", ticket.command))
                }
            };
            done.push((ticket.op, outcome));
            false
        });
    }

    // ---- saying something ----

    fn publish(&self, kind: EventKind, ctx: &mut Ctx<'_>) {
        self.publish_at(kind, ctx.now.wall, ctx);
    }

    fn publish_at(&self, kind: EventKind, time: f64, ctx: &mut Ctx<'_>) {
        ctx.out.push(Effect::Publish(Event { watcher: self.config.name.topic(), time, kind }));
    }

    fn log(&self, level: LogLevel, text: String, ctx: &mut Ctx<'_>) {
        let watcher = Some(self.config.name.original().to_owned());
        ctx.out.push(Effect::Log { level, watcher, text });
    }

    /// A broken invariant: loud in tests, a line in the log otherwise.
    fn bug(&self, text: &str, key: Key, ctx: &mut Ctx<'_>) {
        debug_assert!(false, "{}: {text}: {key:?}", self.config.name);
        self.log(LogLevel::Error, format!("bug: {text} (key {})", key.0), ctx);
    }
}

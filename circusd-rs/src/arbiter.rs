//! The arbiter: all watchers, and every decision about them, as values.
//!
//! [`Arbiter::step`] takes the time and one [`input::Input`] and returns the list of
//! [`effect::Effect`]s to perform, in order. It never touches the system.
//!
//! The contract with whoever performs the effects (the host; in tests a pretend host):
//!
//! 1. Each `Spawn` is answered by exactly one `Spawned` or `SpawnFailed` with the same key.
//! 2. Each `Spawned` is followed by exactly one `Exited`. If that says `lingering`, exactly one `Gone`
//!    follows when the last process of the group has ended; else the key is gone at once.
//! 3. A `Signal` for a key already gone is dropped silently.
//! 4. Each `Sample`, `Deliver`, `ReadLog`, `Recall`, `Configure`, `Reset`, `Preflight`, `RunHook`, `LoadHooks`,
//!    `Sockets` and `ReadConfig` is answered by exactly one `Sampled`, `Delivered`, `LogRead`, `Recalled`,
//!    `Configured`, `ResetDone`, `Preflighted`, `HookDone`, `HooksLoaded`, `SocketsChanged` or `Config`; the hooks'
//!    at the latest after their limit.
//!    A `Probe` is answered by exactly one `Probed`, at the latest after its limit; after a
//!    `CancelProbe` nobody minds whether there is one.
//! 5. Effects of one step are performed in order, so a waiting reply leaves after the events it
//!    reports.
//! 6. `Watch` names all sockets that are watched from now on. A watched socket that is readable is
//!    reported once by `SocketReady`, and is not watched any more until it is named again.
//! 7. `next_deadline` names the moment at which a `Tick` is wanted; late is fine, early is harmless.
//!
//! There is no daemon-wide lock: every command is a wish for its watchers, and the newest wish wins.

pub mod id;

pub mod effect;
pub mod input;
pub mod question;
pub mod roster;
pub mod time;

mod adopt;
mod answer;
mod command;
mod deliver;
mod extended;
mod hook;
mod load;
mod logs;
mod operation;
mod order;
mod pace;
mod preflight;
mod process;
mod processes;
mod readiness;
mod ready;
mod select;
mod selection;
mod services;
mod settle;
mod slots;
mod sockets;
mod spawnspec;
mod standing;
mod story;
mod turn;
mod watcher;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::{Membership, Services};

pub use preflight::looks;

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::{JobId, Key, ReplyTo, SampleTag, WatcherId};
use crate::arbiter::input::{BoundSocket, Input, Interrupt};
use crate::arbiter::operation::{OpId, Operations, Outcome};
use crate::arbiter::sockets::Managed;
use crate::arbiter::time::{Moment, Now};
use crate::arbiter::turn::Turns;
use crate::arbiter::watcher::hooks::Fact;
use crate::arbiter::watcher::{Ctx, Random, Watcher};
use crate::config::{Global, Inherited};

/// What the daemon knows about itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DaemonFacts {
    /// Its own number.
    pub pid: u32,
    /// The node's name.
    pub hostname: String,
    /// Of this program.
    pub version: String,
    /// The managed sockets it was started with.
    pub sockets: Vec<BoundSocket>,
}

/// All watchers, and who waits for what.
#[derive(Debug)]
pub struct Arbiter {
    facts: DaemonFacts,
    global: Global,
    services: Arc<Services>,
    /// What they say about order.
    rules: order::Rules,
    /// The cluster's membership, once `configure` told it.
    membership: Option<Membership>,
    inherited: Arc<Inherited>,
    /// In the daemon's order: ids grow.
    watchers: BTreeMap<WatcherId, Watcher>,
    /// By lower-cased name; not those that were removed and still have processes.
    names: BTreeMap<String, WatcherId>,
    /// Whose process a key is.
    keys: HashMap<Key, WatcherId>,
    /// Processes left alone by `rm nostop`.
    strays: BTreeSet<Key>,
    deadlines: BTreeSet<(Moment, WatcherId)>,
    turns: Turns,
    operations: Operations,
    /// What each `ReadConfig` under way is for, in order.
    readings: VecDeque<Reading>,
    jobs: BTreeMap<JobId, deliver::Job>,
    desk: services::Desk,
    samples: BTreeMap<SampleTag, answer::Question>,
    sockets: Managed,
    waiters: ready::Waiters,
    ending: Ending,
    /// How many watchers are not down.
    up: usize,
    random: Random,
    next: Counters,
}

/// The last number given away, each kind on its own.
#[derive(Debug, Default)]
struct Counters {
    key: u64,
    watcher: u64,
    job: u64,
    sample: u64,
}

/// Why the configuration is being read.
#[derive(Debug)]
enum Reading {
    /// A restart of everything.
    Rebuild,
    /// `reloadconfig`.
    Reload(OpId),
}

/// How far the daemon's own end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Not at all.
    No,
    /// Everything was asked to stop.
    Graceful,
    /// Everything was killed.
    Killing,
    /// `Exit` was said.
    Over,
}

/// What one step collects.
struct Work {
    now: Now,
    out: Vec<Effect>,
    /// Watchers to look at, in this order.
    dirty: VecDeque<WatcherId>,
    done: Vec<(OpId, Outcome)>,
}

impl Work {
    fn reply(&mut self, to: Option<ReplyTo>, reply: Reply) {
        self.out.extend(to.map(|to| Effect::Reply { to, reply }));
    }

    fn refuse(&mut self, to: Option<ReplyTo>, refusal: Refusal) {
        self.reply(to, Reply::Error(refusal));
    }

    fn log(&mut self, level: LogLevel, text: String) {
        self.out.push(Effect::Log { level, watcher: None, text });
    }
}

impl Arbiter {
    /// An arbiter without watchers. The first input is the configuration: start-up is a difference
    /// from nothing. `seed` is for `max_age_variance` and `backoff_jitter`.
    #[must_use]
    pub fn new(seed: u64, mut daemon: DaemonFacts) -> Self {
        let sockets = Managed::new(std::mem::take(&mut daemon.sockets));
        Self {
            facts: daemon,
            sockets,
            global: Global::default(),
            services: Arc::default(),
            rules: order::Rules::new(),
            membership: None,
            inherited: Arc::default(),
            watchers: BTreeMap::new(),
            names: BTreeMap::new(),
            keys: HashMap::new(),
            strays: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            turns: Turns::default(),
            operations: Operations::default(),
            readings: VecDeque::new(),
            jobs: BTreeMap::new(),
            desk: services::Desk::default(),
            samples: BTreeMap::new(),
            waiters: ready::Waiters::default(),
            ending: Ending::No,
            up: 0,
            random: Random(seed),
            next: Counters::default(),
        }
    }

    /// Takes one input and returns what is to be done, in order.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        let (dirty, out, done) = (VecDeque::new(), Vec::new(), Vec::new());
        let mut work = Work { now, out, dirty, done };
        if self.ending == Ending::Over {
            if let Input::Command { reply, .. } = input {
                work.refuse(reply, Refusal::Conflict(ENDING.to_owned()));
            }
            return work.out;
        }
        match input {
            Input::Command { command, reply } => self.obey(command, reply, &mut work),
            Input::Config(read) => self.adopt(read, &mut work),
            Input::Spawned { key, pid } => self.hear(key, Fact::Spawned { key, pid }, &mut work),
            Input::SpawnFailed { key, error, transient } => {
                self.hear(key, Fact::SpawnFailed { key, error, transient }, &mut work);
                self.strays.remove(&key);
            }
            Input::Exited { key, exit_code, lingering, usage, oom } => {
                self.hear(key, Fact::Exited { key, exit_code, lingering, usage, oom }, &mut work);
                if !lingering {
                    self.strays.remove(&key);
                }
            }
            Input::Gone { key } => {
                self.hear(key, Fact::Gone { key }, &mut work);
                self.strays.remove(&key);
            }
            Input::Probed { watcher, attempt, result } => self.probed(watcher, attempt, result, &mut work),
            Input::HookDone { job, outcome } => self.hook_done(job, outcome, &mut work),
            Input::HooksLoaded { job, result } => self.hooks_loaded(job, result, &mut work),
            Input::Sampled { tag, figures } => self.sampled(tag, figures, &mut work),
            Input::Delivered { job, result } => self.delivered(job, result, &mut work),
            Input::LogRead { job, result } => self.log_read(job, result, &mut work),
            Input::Recalled { job, words, troubles } => self.recalled(job, &words, &troubles, &mut work),
            Input::Output { watcher, state } => self.output(watcher, state, &mut work),
            Input::Configured { job, result } => self.configured(job, result, &mut work),
            Input::ResetDone { job, result } => self.reset_done(job, result, &mut work),
            Input::Preflighted { job, facts } => self.preflighted(job, &facts, &mut work),
            Input::SocketsChanged { job, sockets, errors } => {
                self.sockets_changed(job, sockets, &errors, &mut work);
            }
            Input::SocketReady { socket } => self.socket_ready(&socket, &mut work),
            Input::Interrupted(Interrupt::Stop) => self.interrupted(&mut work),
            Input::Interrupted(Interrupt::Reload) => self.hang_up(&mut work),
            Input::Tick => self.tick(&mut work),
        }
        self.settle(&mut work);
        work.out
    }

    /// Whether the next configuration is for a restart of everything.
    #[must_use]
    pub fn is_rebuilding(&self) -> bool {
        self.ending == Ending::No && matches!(self.readings.front(), Some(Reading::Rebuild))
    }

    /// When a `Tick` is wanted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let first = self.deadlines.first().map(|(at, _)| *at);
        first.into_iter().chain(self.turns.deadline()).chain(self.waiters.deadline()).min()
    }

    fn tick(&mut self, work: &mut Work) {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= work.now.mono);
        work.dirty.extend(due.map(|(_, id)| *id));
    }

    /// Changes one watcher, which will converge before the step ends.
    fn with<R>(
        &mut self,
        id: WatcherId,
        work: &mut Work,
        act: impl FnOnce(&mut Watcher, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let result = self.lend(id, work, act)?;
        work.dirty.push_back(id);
        Some(result)
    }

    /// Gives one watcher what it needs to act, and keeps count.
    fn lend<R>(
        &mut self,
        id: WatcherId,
        work: &mut Work,
        act: impl FnOnce(&mut Watcher, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let watcher = self.watchers.get_mut(&id)?;
        let was_down = watcher.is_down();
        let (mut born, mut called, mut buried) = (Vec::new(), Vec::new(), Vec::new());
        let mut ctx = Ctx {
            now: work.now,
            out: &mut work.out,
            next_key: &mut self.next.key,
            born: &mut born,
            random: &mut self.random,
            ceiling: adopt::ceiling(&self.global),
            global: &self.global,
            next_job: &mut self.next.job,
            called: &mut called,
            buried: &mut buried,
            sockets: &self.sockets.bound,
            done: &mut work.done,
        };
        let result = act(watcher, &mut ctx);
        self.keys.extend(born.into_iter().map(|key| (key, id)));
        self.jobs.extend(called.into_iter().map(|job| (job, deliver::Job::Hook(id))));
        for key in buried {
            self.keys.remove(&key);
        }
        match (was_down, watcher.is_down()) {
            (true, false) => self.up += 1,
            (false, true) => self.up = self.up.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
        Some(result)
    }

    /// Something happened to a process.
    fn hear(&mut self, key: Key, fact: Fact, work: &mut Work) {
        let Some(id) = self.keys.get(&key).copied() else {
            // Left alone by `rm nostop`; what becomes of it is nobody's business.
            debug_assert!(self.strays.contains(&key), "unknown key {key:?}");
            return;
        };
        self.with(id, work, |watcher, ctx| watcher.hear(fact, ctx));
    }
}

/// What everybody is told who asks for something while the daemon ends; circus' own words.
const ENDING: &str = "arbiter is already running arbiter_stop command";

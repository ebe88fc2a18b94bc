//! Managed sockets: which there are, whom a readable one wakes, and how they change while their
//! users run.
//!
//! ```text
//!  on_demand watcher:  stopped, wanted on demand ──SocketReady──► starting ─► active
//!                            ▲      (its sockets are watched)                   │
//!                            └────────── the last process ended by itself ──────┘
//!
//!  changed sockets:  users stop and are held ─► Sockets ─► SocketsChanged ─► users start
//! ```
//!
//! It refuses to open, bind or poll anything; numbers and addresses come from the host.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use circus_protocol::reply::Reply;
use serde_json::{Value, json};

use crate::arbiter::command::ok;
use crate::arbiter::deliver::Job;
use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::{JobId, WatcherId};
use crate::arbiter::input::{BoundAddress, BoundSocket};
use crate::arbiter::operation::{Goal, OpId, Operation, Outcome, Shape, Then};
use crate::arbiter::time::Moment;
use crate::arbiter::watcher::Watcher;
use crate::arbiter::{Arbiter, Ending, Reading, Work};
use crate::config::diff::{self, SocketChange};
use crate::config::socket::{holds, named_by, serves};
use crate::config::{Config, WatcherConfig};

/// The bound sockets by name.
pub(super) type Bound = BTreeMap<String, BoundSocket>;

/// Everything about managed sockets.
#[derive(Debug, Default)]
pub(super) struct Managed {
    pub(super) bound: Bound,
    /// Watchers that start when a socket of theirs is readable.
    armed: BTreeSet<WatcherId>,
    /// What the host was asked to watch and has not reported.
    watched: BTreeSet<String>,
    /// Something happened to an armed watcher or to the sockets.
    stale: bool,
    /// One change at a time: a configuration that came meanwhile waits.
    changing: bool,
    later: VecDeque<(Reading, Box<Config>)>,
}

/// A change of the sockets under way.
#[derive(Debug)]
pub(super) struct SocketJob {
    /// Until the host has it.
    changes: Option<Vec<SocketChange>>,
    held: Vec<WatcherId>,
    reading: Reading,
    config: Box<Config>,
}

impl Managed {
    pub(super) fn new(sockets: Vec<BoundSocket>) -> Self {
        let bound = sockets.into_iter().map(|socket| (socket.config.name.clone(), socket));
        Self { bound: bound.collect(), ..Self::default() }
    }

    /// `listsockets`.
    pub(super) fn list(&self) -> Reply {
        let mut sockets: Vec<&BoundSocket> = self.bound.values().collect();
        sockets.sort_by_key(|socket| socket.fd);
        let shown: Vec<Value> = sockets.into_iter().map(show).collect();
        ok(json!({"sockets": shown}))
    }
}

fn show(socket: &BoundSocket) -> Value {
    let (fd, name, backlog) = (socket.fd, &socket.config.name, socket.config.backlog);
    match &socket.address {
        BoundAddress::Inet { host, port } => {
            json!({"fd": fd, "name": name, "backlog": backlog, "host": host, "port": port})
        }
        BoundAddress::Unix { path } => json!({"fd": fd, "name": name, "backlog": backlog, "path": path}),
    }
}

impl Arbiter {
    // ---- on demand ----

    /// A watcher converged; what it waits for may be something else now.
    pub(super) fn note_demand(&mut self, id: WatcherId, now: Moment) {
        let armed = self.watchers.get(&id).is_some_and(|watcher| watcher.is_armed(now));
        let changed = if armed { self.sockets.armed.insert(id) } else { self.sockets.armed.remove(&id) };
        self.sockets.stale |= armed || changed;
    }

    /// Has the host watch exactly the sockets that somebody waits for.
    pub(super) fn watch_sockets(&mut self, work: &mut Work) {
        if !std::mem::take(&mut self.sockets.stale) || self.ending != Ending::No {
            return;
        }
        let armed: Vec<&WatcherConfig> =
            self.sockets.armed.iter().filter_map(|id| self.watchers.get(id)).map(|w| &w.config).collect();
        let demanded = |name: &&String| armed.iter().any(|watcher| serves(watcher, name));
        let wanted: BTreeSet<String> = self.sockets.bound.keys().filter(demanded).cloned().collect();
        if wanted != self.sockets.watched {
            work.out.push(Effect::Watch { sockets: wanted.clone() });
            self.sockets.watched = wanted;
        }
    }

    /// Somebody knocks at a socket that was watched.
    pub(super) fn socket_ready(&mut self, socket: &str, work: &mut Work) {
        if !self.sockets.watched.remove(socket) || self.ending != Ending::No {
            return;
        }
        self.sockets.stale = true;
        let called = |id: &&WatcherId| self.watchers.get(id).is_some_and(|w| serves(&w.config, socket));
        let ids: Vec<WatcherId> = self.sockets.armed.iter().filter(called).copied().collect();
        for id in self.descending(ids) {
            self.with(id, work, |watcher, ctx| watcher.demanded(ctx.now.mono));
        }
    }

    // ---- changes ----

    /// Takes the sockets of a new configuration over first, if they differ; `None` when that is under
    /// way and the rest of the configuration follows by itself.
    pub(super) fn sockets_first(
        &mut self,
        reading: Reading,
        config: Box<Config>,
        work: &mut Work,
    ) -> Option<(Reading, Box<Config>)> {
        if self.sockets.changing {
            self.sockets.later.push_back((reading, config));
            return None;
        }
        let bound = self.sockets.bound.values().map(|socket| &socket.config);
        let changes = diff::sockets(bound, &config.sockets);
        if changes.is_empty() {
            return Some((reading, config));
        }
        let missed = missed(&changes, &config);
        if !missed.is_empty() {
            self.sockets_failed(reading, &missed, work);
            return None;
        }
        self.sockets.changing = true;
        let held = self.hold_users(&changes, work);
        let running = |id: &WatcherId| self.watchers.get(id).is_some_and(|watcher| !watcher.is_stopped());
        let goals = held.iter().copied().filter(running).map(|id| (id, Goal::Released)).collect();
        let job = self.new_job(Job::Sockets(SocketJob { changes: Some(changes), held, reading, config }));
        self.claim(Operation::new(None, Shape::Plain, Then::Job(job)), goals, "reloadconfig", work);
        None
    }

    /// Whoever may hold a socket that goes or moves is stopped, and started when that is done.
    fn hold_users(&mut self, changes: &[SocketChange], work: &mut Work) -> Vec<WatcherId> {
        let moving: Vec<&str> = changes
            .iter()
            .filter_map(|change| match change {
                SocketChange::Remove(name) => Some(name.as_str()),
                SocketChange::Rebind(socket) => Some(socket.name.as_str()),
                SocketChange::Adjust(_) | SocketChange::Add(_) => None,
            })
            .collect();
        let touched = |watcher: &&Watcher| moving.iter().any(|name| holds(&watcher.config, name));
        let ids = self.watchers.values().filter(touched).map(|watcher| watcher.id).collect();
        let ids = self.ascending(ids);
        for id in &ids {
            self.with(*id, work, |watcher, _| {
                watcher.holds += 1;
                watcher.wish_release();
            });
        }
        ids
    }

    /// The users are out of the way.
    pub(super) fn begin_sockets(&mut self, job: JobId, work: &mut Work) {
        if let Some(Job::Sockets(SocketJob { changes, .. })) = self.jobs.get_mut(&job)
            && let Some(changes) = changes.take()
        {
            work.out.push(Effect::Sockets { job, changes });
        }
    }

    pub(super) fn sockets_changed(
        &mut self,
        job: JobId,
        sockets: Option<Vec<BoundSocket>>,
        errors: &[String],
        work: &mut Work,
    ) {
        let done = match self.jobs.remove(&job) {
            Some(Job::Sockets(done)) => done,
            Some(
                other @ (Job::Deliver { .. }
                | Job::Service(_)
                | Job::Hook(_)
                | Job::Load(_)
                | Job::Extended(_)
                | Job::Preflight { .. }
                | Job::Logs { .. }),
            ) => {
                self.jobs.insert(job, other);
                debug_assert!(false, "job {job:?} is not about sockets");
                return;
            }
            None => {
                debug_assert!(false, "unknown job {job:?}");
                return;
            }
        };
        if let Some(sockets) = sockets {
            self.sockets.bound = Managed::new(sockets).bound;
            // The host watches none of them any more.
            self.sockets.watched.clear();
        }
        self.sockets.stale = true;
        self.sockets.changing = false;
        let SocketJob { held, reading, config, changes: _ } = done;
        for id in &held {
            self.with(*id, work, |watcher, _| watcher.holds = watcher.holds.saturating_sub(1));
        }
        if self.ending == Ending::No {
            self.after_sockets(reading, config, &held, errors, work);
        }
    }

    fn after_sockets(
        &mut self,
        reading: Reading,
        config: Box<Config>,
        held: &[WatcherId],
        errors: &[String],
        work: &mut Work,
    ) {
        let op = match &reading {
            Reading::Reload(op) => Some(*op),
            Reading::Rebuild => None,
        };
        if errors.is_empty() {
            self.adopt_watchers(reading, *config, work);
        } else if op.is_some() {
            self.sockets_failed(reading, errors, work);
        } else {
            self.report(errors, work);
            self.adopt_watchers(reading, *config, work);
        }
        for id in op.iter().flat_map(|_| held) {
            self.await_user(op, *id, work);
        }
        while let Some((reading, config)) = self.sockets.later.pop_front() {
            if let Some((reading, config)) = self.sockets_first(reading, config, work) {
                self.adopt_watchers(reading, *config, work);
            }
            if self.sockets.changing {
                break;
            }
        }
    }

    /// `reloadconfig` also waits for whom it stopped on the way.
    fn await_user(&mut self, op: Option<OpId>, id: WatcherId, work: &mut Work) {
        let Some(op) = op else { return };
        let waits =
            |watcher: &Watcher| watcher.returns() && !watcher.tickets.iter().any(|ticket| ticket.op == op);
        if self.watchers.get(&id).is_some_and(waits) {
            self.wait(op, id, Goal::Up { before: Vec::new() }, work);
        }
    }

    /// The new configuration is not taken over: its sockets are not there.
    fn sockets_failed(&mut self, reading: Reading, errors: &[String], work: &mut Work) {
        self.report(errors, work);
        match reading {
            Reading::Reload(op) => work.done.push((op, Outcome::Failed(errors.join("; ")))),
            Reading::Rebuild => {
                work.log(LogLevel::Warn, "restarting with the old configuration".to_owned());
                self.start_all(work);
            }
        }
    }
}

/// Watchers of the new configuration that name a socket which goes.
fn missed(changes: &[SocketChange], config: &Config) -> Vec<String> {
    let gone = |name: &str| changes.iter().any(|c| matches!(c, SocketChange::Remove(gone) if gone == name));
    let of = |watcher: &WatcherConfig| {
        let name = watcher.name.original().to_owned();
        let named = named_by(watcher).into_iter().filter(|socket| gone(socket));
        named
            .map(|socket| {
                format!(
                    "watcher '{name}' uses the socket '{socket}', which is no longer in the configuration"
                )
            })
            .collect::<Vec<_>>()
    };
    config.watchers.iter().flat_map(of).collect()
}

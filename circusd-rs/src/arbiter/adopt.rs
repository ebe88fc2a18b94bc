//! Taking over a configuration: at start-up, after a restart of everything, for `reloadconfig`.
//!
//! All three are the same difference between what the watchers were built from and what the files say;
//! only how much counts as changed differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::WatcherId;
use crate::arbiter::operation::{Goal, OpId, Outcome, Ticket};
use crate::arbiter::pace::DEFAULT_CEILING;
use crate::arbiter::time::seconds;
use crate::arbiter::watcher::{Wanted, Watcher};
use crate::arbiter::{Arbiter, Ending, Reading, Work};
use crate::config::diff::{self, Change};
use crate::config::{Config, Global, WatcherConfig};

/// The longest pause between two starts of what keeps dying.
pub(super) fn ceiling(global: &Global) -> Duration {
    let delay = seconds(global.check_delay);
    if delay.is_zero() { DEFAULT_CEILING } else { delay }
}

impl Arbiter {
    pub(super) fn adopt(&mut self, read: Result<Box<Config>, Vec<String>>, work: &mut Work) {
        let reading = self.readings.pop_front();
        if self.ending != Ending::No {
            // Whoever waits is told at the end, and nothing starts any more.
            return;
        }
        match (reading, read) {
            (None, Ok(config)) => self.build(*config, work),
            (None, Err(errors)) => self.report(&errors, work),
            (Some(reading), Ok(config)) => {
                if let Some((reading, config)) = self.sockets_first(reading, config, work) {
                    self.adopt_watchers(reading, *config, work);
                }
            }
            (Some(Reading::Rebuild), Err(errors)) => {
                self.report(&errors, work);
                work.log(LogLevel::Warn, "restarting with the old configuration".to_owned());
                self.start_all(work);
            }
            (Some(Reading::Reload(op)), Err(errors)) => {
                self.report(&errors, work);
                work.done.push((op, Outcome::Failed(errors.join("; "))));
            }
        }
    }

    /// The sockets of this configuration are there.
    pub(super) fn adopt_watchers(&mut self, reading: Reading, config: Config, work: &mut Work) {
        match reading {
            Reading::Rebuild => {
                self.clear(&config, work);
                self.build(config, work);
            }
            Reading::Reload(op) => self.change(config, op, work),
        }
    }

    pub(super) fn report(&self, errors: &[String], work: &mut Work) {
        for error in errors {
            work.log(LogLevel::Error, format!("configuration: {error}"));
        }
    }

    /// From nothing, or after everything was stopped.
    fn build(&mut self, config: Config, work: &mut Work) {
        self.take_globals(&config);
        let before = WatcherId(self.next.watcher);
        for config in config.watchers {
            // Those that are left were started again by somebody in between. Names that differ only
            // in case are several watchers, of which the last can be addressed.
            match self.names.get(config.name.key()).copied().filter(|id| *id <= before) {
                Some(id) => self.rebuild(id, config, "restart", work),
                None => {
                    self.create(config);
                }
            }
        }
        self.start_all(work);
    }

    /// Forgets every watcher that is down, and removes what runs and is not in the files.
    fn clear(&mut self, config: &Config, work: &mut Work) {
        let (idle, busy): (Vec<&Watcher>, Vec<&Watcher>) = self.watchers.values().partition(|w| w.is_idle());
        let idle: Vec<WatcherId> = idle.into_iter().map(|watcher| watcher.id).collect();
        let named: BTreeSet<&str> = config.watchers.iter().map(|watcher| watcher.name.key()).collect();
        let busy = busy.into_iter().filter(|watcher| !named.contains(watcher.config.name.key()));
        let busy: Vec<WatcherId> = busy.map(|watcher| watcher.id).collect();
        for id in idle {
            if let Some(watcher) = self.watchers.remove(&id) {
                self.forget_name(&watcher);
                work.out.push(Effect::ForgetStreams { watcher: id });
            }
        }
        for id in busy {
            self.remove(id, "restart", work);
        }
    }

    fn take_globals(&mut self, config: &Config) {
        self.global = config.circus.clone();
        self.services = Arc::clone(&config.services);
        self.rules = super::order::rules(&self.services);
        self.inherited = Arc::clone(&config.inherited);
    }

    /// Everything with autostart, in its turn.
    pub(super) fn start_all(&mut self, work: &mut Work) {
        let autostart = self.present().filter(|watcher| watcher.config.autostart && watcher.is_down());
        let ids: Vec<WatcherId> = autostart.map(|watcher| watcher.id).collect();
        for id in ids {
            self.queue_start(id, work);
        }
    }

    /// A watcher that is stopped.
    pub(super) fn create(&mut self, config: WatcherConfig) -> WatcherId {
        self.next.watcher += 1;
        let id = WatcherId(self.next.watcher);
        self.names.insert(config.name.key().to_owned(), id);
        self.watchers.insert(id, Watcher::new(id, config));
        id
    }

    // ---- reloadconfig ----

    fn change(&mut self, config: Config, op: OpId, work: &mut Work) {
        let old =
            Config { circus: self.global.clone(), services: Arc::clone(&self.services), ..Config::default() };
        for key in diff::needs_restart(&old, &config) {
            work.log(LogLevel::Warn, format!("[circus] {key} changed: it takes a restart of the daemon"));
        }
        let applied = Global {
            check_delay: config.circus.check_delay,
            warmup_delay: config.circus.warmup_delay,
            hook_timeout: config.circus.hook_timeout,
            ..self.global.clone()
        };
        self.take_globals(&Config { circus: applied, ..config.clone() });
        // What `add` made is compared by how it runs: it is in no file, so it goes unless it is now.
        let reachable = self.names.values().filter_map(|id| self.watchers.get(id));
        let built: Vec<WatcherConfig> =
            reachable.map(|w| w.definition.clone().unwrap_or_else(|| w.config.clone())).collect();
        for change in diff::watchers(&built, &config.watchers) {
            self.apply(change, op, work);
        }
        // What is asked of them, and whom they wait for, may be another now.
        work.dirty.extend(self.watchers.keys().copied());
        work.done.push((op, Outcome::done()));
    }

    fn apply(&mut self, change: Change, op: OpId, work: &mut Work) {
        match change {
            Change::Remove(config) => {
                if let Some(id) = self.names.get(config.name.key()).copied() {
                    self.remove(id, "reloadconfig", work);
                    self.wait(op, id, Goal::Down, work);
                }
            }
            Change::Resize(config) => {
                if let Some(id) = self.names.get(config.name.key()).copied() {
                    self.with(id, work, |watcher, _| {
                        let before = watcher.definition.replace(config.clone());
                        let before = before.unwrap_or_else(|| watcher.config.clone());
                        if before.numprocesses != config.numprocesses {
                            watcher.wish_count(config.numprocesses);
                        }
                        watcher.config.figures = config.figures;
                        if before.policy != config.policy {
                            watcher.wish_policy(config.policy);
                        }
                    });
                    self.wait(op, id, Goal::Settled, work);
                }
            }
            Change::Replace(config) => {
                if let Some(id) = self.names.get(config.name.key()).copied() {
                    let autostart = config.autostart && !config.on_demand;
                    self.rebuild(id, config, "reloadconfig", work);
                    let goal = if autostart { Goal::Up { before: Vec::new() } } else { Goal::Down };
                    self.wait(op, id, goal, work);
                }
            }
            Change::Add(config) => {
                let (start, on_demand) = (config.autostart, config.on_demand);
                let id = self.create(config);
                if start {
                    self.queue_start(id, work);
                }
                if start && !on_demand {
                    self.wait(op, id, Goal::Up { before: Vec::new() }, work);
                }
            }
        }
    }

    pub(super) fn wait(&mut self, op: OpId, id: WatcherId, goal: Goal, work: &mut Work) {
        let ticket = Ticket { op, goal, command: "reloadconfig" };
        if self.with(id, work, |watcher, _| watcher.tickets.push(ticket)).is_some()
            && let Some(operation) = self.operations.get_mut(op)
        {
            operation.outstanding += 1;
        }
    }

    /// Stopped, then gone; its name is free at once.
    fn remove(&mut self, id: WatcherId, by: &str, work: &mut Work) {
        if let Some(watcher) = self.watchers.get(&id) {
            let key = watcher.config.name.key().to_owned();
            if self.names.get(&key) == Some(&id) {
                self.names.remove(&key);
            }
        }
        self.wish_down(id, Wanted::Gone, by, work);
    }

    fn forget_name(&mut self, watcher: &Watcher) {
        let key = watcher.config.name.key();
        if self.names.get(key) == Some(&watcher.id) {
            self.names.remove(key);
        }
        if let Some(at) = watcher.noted {
            self.deadlines.remove(&(at, watcher.id));
        }
    }

    /// Stopped, built anew, and started if that is what the file says.
    fn rebuild(&mut self, id: WatcherId, config: WatcherConfig, by: &str, work: &mut Work) {
        let up = config.autostart;
        self.wish_down(id, Wanted::Down, by, work);
        self.with(id, work, |watcher, ctx| {
            watcher.overtake(Goal::wants_down, by, ctx.done);
            watcher.rebuild = Some(Box::new(config));
            if up {
                watcher.wish_up();
            }
        });
    }
}

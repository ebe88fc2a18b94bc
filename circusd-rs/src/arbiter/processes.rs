//! The processes of one watcher, with what every step asks about all of them counted as they change.
//!
//! A watcher may have ten thousand, and each birth and each death is a step of its own: a step that
//! looked at all of them would make starting them cost the square of their number. So there are
//! indexes, and a process changes only through [`Processes::change`], which keeps them true. It refuses
//! to know what a process is wanted for.

use std::collections::{BTreeMap, BTreeSet};

use crate::arbiter::id::Key;
use crate::arbiter::process::Process;
use crate::arbiter::time::Moment;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Processes {
    all: BTreeMap<Key, Process>,
    spawning: usize,
    filled: usize,
    running: BTreeSet<Key>,
    leaving: BTreeSet<Key>,
    /// Their deadlines.
    due: BTreeSet<(Moment, Key)>,
    /// How many were looked at by those who looked at all.
    #[cfg(test)]
    looked: std::cell::Cell<usize>,
}

impl Processes {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.all.contains_key(&key)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Process> {
        self.all.get(&key)
    }

    /// All, oldest first. Not for what every step asks.
    pub(super) fn values(&self) -> impl DoubleEndedIterator<Item = &Process> {
        #[cfg(test)]
        self.looked.set(self.looked.get() + self.all.len());
        self.all.values()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.all.keys().copied()
    }

    // ---- what is known of all ----

    /// Whether somebody is asked for and not there yet.
    pub(super) fn spawning(&self) -> bool {
        self.spawning > 0
    }

    /// How many places are taken.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Those that live and shall live, oldest first.
    pub(super) fn running(&self) -> impl DoubleEndedIterator<Item = &Process> {
        self.running.iter().filter_map(|key| self.all.get(key))
    }

    /// Those on their way out, oldest first.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Process> {
        self.leaving.iter().filter_map(|key| self.all.get(key))
    }

    /// Those with a deadline, the first one first.
    pub(super) fn due(&self) -> impl Iterator<Item = (Moment, &Process)> {
        self.due.iter().filter_map(|(at, key)| Some((*at, self.all.get(key)?)))
    }

    /// The first deadline that lies ahead.
    pub(super) fn next_due(&self, now: Moment) -> Option<Moment> {
        let ahead = self.due.range((now, Key(u64::MAX))..);
        ahead.map(|(at, _)| *at).find(|at| *at > now)
    }

    // ---- changes ----

    pub(super) fn insert(&mut self, process: Process) {
        self.remove(process.key);
        self.count(&process);
        self.all.insert(process.key, process);
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Process> {
        let process = self.all.remove(&key)?;
        self.discount(&process);
        Some(process)
    }

    /// The only way to change one; `None` when there is no such process.
    pub(super) fn change<R>(&mut self, key: Key, act: impl FnOnce(&mut Process) -> R) -> Option<R> {
        let mut process = self.remove(key)?;
        let result = act(&mut process);
        self.insert(process);
        Some(result)
    }

    fn count(&mut self, process: &Process) {
        self.spawning += usize::from(process.spawning());
        self.filled += usize::from(process.counts());
        if process.running() {
            self.running.insert(process.key);
        }
        if process.leaving() {
            self.leaving.insert(process.key);
        }
        self.due.extend(process.deadline().map(|at| (at, process.key)));
    }

    fn discount(&mut self, process: &Process) {
        self.spawning -= usize::from(process.spawning());
        self.filled -= usize::from(process.counts());
        self.running.remove(&process.key);
        self.leaving.remove(&process.key);
        if let Some(at) = process.deadline() {
            self.due.remove(&(at, process.key));
        }
    }

    /// How many were looked at by those who looked at all, so far.
    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.looked.get()
    }

    /// Whether what is counted is what there is.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let count = |is: fn(&Process) -> bool| self.all.values().filter(|process| is(process)).count();
        let keys = |is: fn(&Process) -> bool| -> Vec<Key> {
            self.all.values().filter(|process| is(process)).map(|process| process.key).collect()
        };
        assert_eq!((self.spawning, self.filled), (count(Process::spawning), count(Process::counts)));
        assert_eq!(self.running.iter().copied().collect::<Vec<_>>(), keys(Process::running));
        assert_eq!(self.leaving.iter().copied().collect::<Vec<_>>(), keys(Process::leaving));
        let due = |process: &Process| Some((process.deadline()?, process.key));
        assert_eq!(self.due, self.all.values().filter_map(due).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use circus_protocol::number::{Pid, Signal, Wid};

    use super::*;
    use crate::arbiter::process::{State, Why};
    use crate::arbiter::watcher::Random;

    fn moment(seconds: u64) -> Moment {
        Moment(Duration::from_secs(seconds))
    }

    fn state(random: &mut Random) -> State {
        let pid = Pid::new(7).unwrap();
        let why = [Why::Crashed, Why::Replaced, Why::Surplus, Why::Watcher, Why::Vetoed];
        let why = why[usize::try_from(random.up_to(4)).unwrap()];
        let at = Some(moment(random.up_to(9))).filter(|_| random.up_to(1) == 0);
        match random.up_to(3) {
            0 => State::Spawning,
            1 => State::Running { pid, expires: at },
            2 => State::Stopping { pid, why, signal: Signal::TERM, kill_at: at },
            _ => State::Draining { why, kill_at: at },
        }
    }

    #[test]
    fn what_is_counted_is_what_there_is_whatever_happens() {
        let mut random = Random(5);
        let mut processes = Processes::default();
        for step in 0..2000 {
            let (key, state) = (Key(random.up_to(20)), state(&mut random));
            match random.up_to(2) {
                0 => {
                    let (wid, started, since) = (Wid(1), 0.0, moment(0));
                    processes.insert(Process { key, wid, started, since, state });
                }
                1 => drop(processes.remove(key)),
                _ => {
                    let there = processes.contains(key);
                    let changed = processes.change(key, |process| process.state = state);
                    assert_eq!(changed.is_some(), there);
                }
            }
            processes.check();
            let now = moment(step % 10);
            let ahead = processes.values().filter_map(Process::deadline).filter(|at| *at > now);
            assert_eq!(processes.next_due(now), ahead.min());
        }
        assert!(processes.len() > 5, "{processes:?}");
    }
}

//! Whose turn it is: watchers that start, or reload, one after the other, highest priority first.
//!
//! Being queued delays nobody else: a start by name goes past the queue, a stop leaves it. What stands
//! here is only a claim; whether it still holds is asked when the turn comes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::arbiter::id::WatcherId;
use crate::arbiter::time::{Moment, seconds};
use crate::arbiter::{Arbiter, Work};

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By priority, highest first, then in the daemon's order.
    waiting: BTreeSet<(Reverse<i64>, WatcherId)>,
    current: Option<WatcherId>,
    /// The pause between two (`warmup_delay` of `[circus]`).
    not_before: Moment,
    /// Set while the pause is what is waited for.
    pausing: bool,
}

impl Turns {
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.pausing.then_some(self.not_before)
    }

    pub(super) fn enter(&mut self, priority: i64, id: WatcherId) {
        self.waiting.insert((Reverse(priority), id));
    }
}

impl Arbiter {
    /// Hands the turn on; true if somebody got it.
    pub(super) fn advance_turns(&mut self, work: &mut Work) -> bool {
        if let Some(id) = self.turns.current {
            if self.watchers.get(&id).is_some_and(|watcher| !watcher.turn_is_over()) {
                self.release_if_slow(id, work);
                return false;
            }
            self.turns.current = None;
            self.turns.not_before = work.now.mono + seconds(self.global.warmup_delay);
        }
        self.turns.pausing = false;
        while let Some(first) = self.turns.waiting.first().copied() {
            let (_, id) = first;
            if !self.watchers.get(&id).is_some_and(super::watcher::Watcher::awaits_turn) {
                self.turns.waiting.remove(&first);
                continue;
            }
            if work.now.mono < self.turns.not_before {
                self.turns.pausing = true;
                self.release_waiting(work);
                return false;
            }
            self.turns.waiting.remove(&first);
            self.turns.current = Some(id);
            self.with(id, work, |watcher, _| watcher.take_turn());
            return true;
        }
        false
    }

    /// Whoever only wants to hear that it began does not wait for pauses.
    fn release_if_slow(&mut self, current: WatcherId, work: &mut Work) {
        let now = work.now.mono;
        let pausing = self.watchers.get(&current).is_some_and(|watcher| watcher.is_pausing(now));
        if pausing {
            self.release_waiting(work);
        }
    }

    fn release_waiting(&mut self, work: &mut Work) {
        for (_, id) in &self.turns.waiting {
            if let Some(watcher) = self.watchers.get_mut(id) {
                watcher.release_begun(&mut work.done);
            }
        }
    }
}

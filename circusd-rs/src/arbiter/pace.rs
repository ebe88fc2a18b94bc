//! How soon a process that dies, or does not start, is tried again.
//!
//! A first death is replaced at once. Whatever dies young again and again waits longer each time, so
//! that a broken command cannot spin, and never longer than the ceiling. It refuses to know
//! processes: a *slot* is a worker id, because a successor takes its predecessor's.

use std::collections::BTreeMap;
use std::time::Duration;

use circus_protocol::number::Wid;

use crate::arbiter::time::Moment;

/// Dying younger than this counts as a failure.
const YOUNG: Duration = Duration::from_secs(1);
/// The first pause; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause where the configuration's `check_delay` gives none.
pub(super) const DEFAULT_CEILING: Duration = Duration::from_secs(5);

/// The pause before try number `failures + 1`: none, then doubling up to the ceiling.
fn pause(failures: u32, ceiling: Duration) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(16)).min(ceiling),
    }
}

/// The young deaths of each slot of one watcher.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(BTreeMap<Wid, Slot>);

#[derive(Debug, Clone, Copy)]
struct Slot {
    deaths: u32,
    not_before: Moment,
}

impl Slots {
    /// Somebody wants it tried again now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A process of this slot died that lived this long.
    pub(super) fn died(&mut self, wid: Wid, lived: Duration, now: Moment, ceiling: Duration) {
        if lived >= YOUNG {
            self.0.remove(&wid);
            return;
        }
        let slot = self.0.entry(wid).or_insert(Slot { deaths: 0, not_before: now });
        slot.deaths = slot.deaths.saturating_add(1);
        slot.not_before = now + pause(slot.deaths, ceiling);
    }

    /// The slots that must stay empty for now.
    pub(super) fn resting(&self, now: Moment) -> impl Iterator<Item = Wid> {
        self.0.iter().filter(move |(_, slot)| slot.not_before > now).map(|(wid, _)| *wid)
    }

    /// The next moment at which a slot may be filled again.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        self.0.values().map(|slot| slot.not_before).filter(|at| *at > now).min()
    }
}

/// How often in a row a watcher's program could not be started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    failed: u32,
    not_before: Moment,
}

impl Tries {
    pub(super) fn failed(self) -> u32 {
        self.failed
    }

    /// When the next try may come.
    pub(super) fn not_before(self) -> Moment {
        self.not_before
    }

    /// One more failed; with `patient` the next one waits.
    pub(super) fn fail(&mut self, now: Moment, patient: Option<Duration>) {
        self.failed = self.failed.saturating_add(1);
        self.not_before = match patient {
            Some(ceiling) => now + pause(self.failed, ceiling),
            None => now,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_ceiling_and_are_forgotten_after_a_life() {
        let ceiling = Duration::from_millis(500);
        let pauses: Vec<u128> = (1..7).map(|failures| pause(failures, ceiling).as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 500, 500]);
        assert_eq!(pause(u32::MAX, ceiling), ceiling);

        let mut slots = Slots::default();
        let now = Moment(Duration::from_secs(9));
        slots.died(Wid(1), Duration::ZERO, now, ceiling);
        assert_eq!(slots.resting(now).count(), 0);
        slots.died(Wid(1), Duration::ZERO, now, ceiling);
        assert_eq!(slots.resting(now).collect::<Vec<_>>(), [Wid(1)]);
        assert_eq!(slots.deadline(now), Some(now + FIRST_PAUSE));
        slots.died(Wid(1), YOUNG, now, ceiling);
        assert_eq!(slots.deadline(now), None);
    }
}

//! How soon a process that dies, or does not start, is tried again, and when it is not any more.
//!
//! A first death is replaced at once. Whatever dies young again and again waits longer each time, so
//! that a broken command cannot spin, and never longer than the ceiling; the options of
//! [`crate::config::policy`] change each of these numbers. A place that is *closed* stays empty until
//! somebody wishes otherwise: its process was done, or was started too often.
//!
//! It refuses to know processes: a *slot* is a worker id, because a successor takes its predecessor's.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use circus_protocol::number::Wid;

use crate::arbiter::time::Moment;
use crate::arbiter::watcher::Random;
use crate::config::policy::Policy;

/// The first pause where no other is given; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause where the configuration's `check_delay` gives none.
pub(super) const DEFAULT_CEILING: Duration = Duration::from_secs(5);
/// Chance takes off so many thousandths of a pause at most.
const WHOLE: u32 = 1000;

/// The numbers of one watcher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// After the first failure.
    first: Duration,
    /// After the second; it doubles from there.
    second: Duration,
    ceiling: Duration,
    /// The share that chance may take off.
    jitter: f64,
    /// Dying younger than this counts as a failure.
    young: Duration,
    /// So many starts within this time.
    limit: Option<(u32, Duration)>,
}

impl Pace {
    /// By the watcher's options; `ceiling` stands where these give none.
    pub(super) fn of(policy: &Policy, ceiling: Duration) -> Self {
        let (first, second) = match policy.backoff {
            None => (Duration::ZERO, FIRST_PAUSE),
            Some(first) => (first, first.saturating_mul(2)),
        };
        Self {
            first,
            second,
            ceiling: policy.backoff_max.unwrap_or(ceiling.max(first)),
            jitter: policy.backoff_jitter.unwrap_or(0.0),
            young: policy.success_after(),
            limit: policy.limit(),
        }
    }

    /// The pause after so many failures in a row.
    fn pause(self, failures: u32, random: &mut Random) -> Duration {
        let whole = match failures {
            0 => Duration::ZERO,
            1 => self.first,
            more => self.second.saturating_mul(1 << (more - 2).min(31)),
        };
        let whole = whole.min(self.ceiling);
        if self.jitter <= 0.0 || whole.is_zero() {
            return whole;
        }
        let chance = u32::try_from(random.up_to(u64::from(WHOLE))).unwrap_or(WHOLE);
        whole.mul_f64(1.0 - self.jitter.min(1.0) * f64::from(chance) / f64::from(WHOLE))
    }
}

/// Why a place stays empty until somebody wishes otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its process ended as expected, and that is not followed by a start.
    Finished,
    /// It was started so often within this time.
    Limit { starts: u32, window: Duration },
}

/// Until when a place stays empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Until(Moment),
    Closed(Closed),
}

impl Rest {
    fn holds(self, now: Moment) -> bool {
        match self {
            Self::Until(at) => at > now,
            Self::Closed(_) => true,
        }
    }
}

/// What is known about the deaths in one place.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// In a row.
    pub(super) failures: u32,
    /// Of the last death.
    pub(super) exit_code: Option<i32>,
    pub(super) rest: Rest,
    /// Of those that count for the limit, oldest first; empty without a limit.
    starts: VecDeque<Moment>,
}

/// The end of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    pub(super) wid: Wid,
    pub(super) started: Moment,
    pub(super) exit_code: Option<i32>,
}

/// The places of one watcher in which somebody died young.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(BTreeMap<Wid, Slot>);

impl Slots {
    /// Somebody wants them filled again now.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Whoever failed may be tried again now; who was done stays done.
    pub(super) fn forgive(&mut self) {
        self.0.retain(|_, slot| slot.rest == Rest::Closed(Closed::Finished));
    }

    /// Nobody died young lately.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As many live as shall: nobody is missed in a closed place.
    pub(super) fn reopen(&mut self) {
        self.0.retain(|_, slot| !matches!(slot.rest, Rest::Closed(_)));
    }

    /// A process ended and shall have a successor.
    pub(super) fn died(&mut self, death: Death, now: Moment, pace: Pace, random: &mut Random) {
        let slot = self.slot(death);
        let succeeded = now.since(death.started) >= pace.young;
        slot.failures = if succeeded { 0 } else { slot.failures.saturating_add(1) };
        let next = now + pace.pause(slot.failures, random);
        slot.rest = Rest::Until(next);
        if let Some((limit, window)) = pace.limit {
            slot.starts.push_back(death.started);
            // What counts is who was started within the window when the successor would be.
            slot.starts.retain(|start| *start + window > next);
            if u32::try_from(slot.starts.len()).is_ok_and(|starts| starts >= limit) {
                slot.rest = Rest::Closed(Closed::Limit { starts: limit, window });
                slot.starts.clear();
            }
        } else {
            slot.starts.clear();
        }
        if slot.failures == 0 && slot.starts.is_empty() && slot.rest == Rest::Until(now) {
            self.0.remove(&death.wid);
        }
    }

    /// A process is done: it shall have no successor.
    pub(super) fn finished(&mut self, death: Death) {
        let slot = self.slot(death);
        slot.failures = 0;
        slot.rest = Rest::Closed(Closed::Finished);
    }

    fn slot(&mut self, death: Death) -> &mut Slot {
        let rest = Rest::Until(Moment::default());
        let new = || Slot { failures: 0, exit_code: None, rest, starts: VecDeque::new() };
        let slot = self.0.entry(death.wid).or_insert_with(new);
        slot.exit_code = death.exit_code;
        slot
    }

    /// What is known of a place.
    pub(super) fn get(&self, wid: Wid) -> Option<&Slot> {
        self.0.get(&wid)
    }

    /// The places that must stay empty for now.
    pub(super) fn resting(&self, now: Moment) -> impl Iterator<Item = (Wid, &Slot)> {
        self.0.iter().filter(move |(_, slot)| slot.rest.holds(now)).map(|(wid, slot)| (*wid, slot))
    }

    pub(super) fn is_closed(&self, wid: Wid) -> bool {
        self.0.get(&wid).is_some_and(|slot| matches!(slot.rest, Rest::Closed(_)))
    }

    /// How many are closed.
    pub(super) fn closed(&self) -> usize {
        self.0.values().filter(|slot| matches!(slot.rest, Rest::Closed(_))).count()
    }

    /// The next moment at which a place may be filled again.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let ends = self.0.values().filter_map(|slot| match slot.rest {
            Rest::Until(at) => Some(at),
            Rest::Closed(_) => None,
        });
        ends.filter(|at| *at > now).min()
    }
}

/// How often in a row a watcher's program could not be started.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tries {
    /// What `max_retry` counts.
    failed: u32,
    /// Failures that are not the program's: the system had no room just then.
    stalled: u32,
    not_before: Moment,
}

impl Tries {
    /// What `max_retry` counts.
    pub(super) fn failed(self) -> u32 {
        self.failed
    }

    /// Those that want of room made fail.
    pub(super) fn stalled(self) -> u32 {
        self.stalled
    }

    /// All of them.
    pub(super) fn in_vain(self) -> u32 {
        self.failed.saturating_add(self.stalled)
    }

    /// When the next try may come.
    pub(super) fn not_before(self) -> Moment {
        self.not_before
    }

    /// Somebody wants the next try now.
    pub(super) fn hasten(&mut self) {
        self.not_before = Moment::default();
    }

    /// One more failed; with a pace the next one waits.
    pub(super) fn fail(&mut self, now: Moment, pace: Option<Pace>, random: &mut Random) {
        self.failed = self.failed.saturating_add(1);
        self.not_before = now + pace.map_or(Duration::ZERO, |pace| pace.pause(self.in_vain(), random));
    }

    /// One more failed for want of room; the next one always waits.
    pub(super) fn stall(&mut self, now: Moment, pace: Pace, random: &mut Random) {
        self.stalled = self.stalled.saturating_add(1);
        self.not_before = now + pace.pause(self.in_vain(), random).max(FIRST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: Duration = Duration::from_millis(500);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn death(wid: u32, started: Moment) -> Death {
        Death { wid: Wid(wid), started, exit_code: Some(1) }
    }

    fn pauses(policy: &Policy, ceiling: Duration) -> Vec<u128> {
        let pace = Pace::of(policy, ceiling);
        (1..7).map(|failures| pace.pause(failures, &mut Random(1)).as_millis()).collect()
    }

    #[test]
    fn pauses_grow_to_the_ceiling_and_are_forgotten_after_a_life() {
        let stock = Policy::default();
        assert_eq!(pauses(&stock, CEILING), [0, 100, 200, 400, 500, 500]);
        let pace = Pace::of(&stock, CEILING);
        assert_eq!(pace.pause(u32::MAX, &mut Random(1)), CEILING);

        let mut slots = Slots::default();
        let now = Moment(seconds(9));
        slots.died(death(1, now), now, pace, &mut Random(1));
        assert_eq!(slots.resting(now).count(), 0);
        slots.died(death(1, now), now, pace, &mut Random(1));
        assert_eq!(slots.resting(now).map(|(wid, _)| wid).collect::<Vec<_>>(), [Wid(1)]);
        assert_eq!(slots.deadline(now), Some(now + FIRST_PAUSE));
        slots.died(death(1, Moment(seconds(8))), now, pace, &mut Random(1));
        assert_eq!(slots.deadline(now), None);
        assert!(slots.get(Wid(1)).is_none());
    }

    #[test]
    fn a_given_backoff_is_the_first_pause_and_has_its_own_ceiling() {
        let policy = Policy { backoff: Some(seconds(2)), ..Policy::default() };
        assert_eq!(pauses(&policy, CEILING), [2000, 2000, 2000, 2000, 2000, 2000], "never below itself");
        let policy = Policy { backoff_max: Some(seconds(30)), ..policy };
        assert_eq!(pauses(&policy, CEILING), [2000, 4000, 8000, 16000, 30000, 30000]);
        let lower = Policy { backoff_max: Some(seconds(1)), ..policy };
        assert_eq!(pauses(&lower, CEILING), [1000; 6], "the ceiling is the ceiling");
    }

    #[test]
    fn chance_takes_off_its_share_and_no_more() {
        let policy = Policy { backoff: Some(seconds(4)), backoff_jitter: Some(0.25), ..Policy::default() };
        let pace = Pace::of(&policy, seconds(4));
        let mut random = Random(3);
        let drawn: Vec<Duration> = (0..200).map(|_| pace.pause(1, &mut random)).collect();
        assert!(drawn.iter().all(|pause| (seconds(3)..=seconds(4)).contains(pause)));
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*most - *least > Duration::from_millis(900), "{least:?} to {most:?}");
        let mut again = Random(3);
        assert!(drawn.iter().all(|pause| *pause == pace.pause(1, &mut again)), "a seed decides");
    }

    #[test]
    fn a_place_closes_when_the_next_start_would_be_one_too_many() {
        let policy = Policy {
            start_limit: Some(3),
            start_limit_window: Some(seconds(10)),
            success_after: Some(Duration::ZERO),
            ..Policy::default()
        };
        let pace = Pace::of(&policy, CEILING);
        let mut slots = Slots::default();
        let mut die = |start: u64, end: u64| {
            let now = Moment(seconds(end));
            slots.died(death(1, Moment(seconds(start))), now, pace, &mut Random(1));
            slots.get(Wid(1)).map(|slot| slot.rest)
        };
        assert_eq!(die(0, 1), Some(Rest::Until(Moment(seconds(1)))));
        assert_eq!(die(1, 2), Some(Rest::Until(Moment(seconds(2)))));
        // The first start is ten seconds old now: it does not count any more.
        assert_eq!(die(2, 10), Some(Rest::Until(Moment(seconds(10)))));
        let limit = Closed::Limit { starts: 3, window: seconds(10) };
        assert_eq!(die(10, 10), Some(Rest::Closed(limit)));
        assert_eq!(slots.deadline(Moment(seconds(10))), None);
        assert_eq!(slots.closed(), 1);
        slots.reopen();
        assert_eq!(slots.resting(Moment(seconds(10))).count(), 0);
    }

    #[test]
    fn what_is_finished_waits_for_nothing() {
        let mut slots = Slots::default();
        slots.finished(death(2, Moment::default()));
        assert_eq!(slots.closed(), 1);
        assert_eq!(slots.deadline(Moment::default()), None);
        assert_eq!(slots.resting(Moment(seconds(1_000_000))).count(), 1);
    }

    #[test]
    fn want_of_room_is_not_counted_and_always_waits() {
        let (mut tries, mut random) = (Tries::default(), Random(1));
        let pace = Pace::of(&Policy::default(), CEILING);
        let now = Moment(seconds(1));
        tries.stall(now, pace, &mut random);
        assert_eq!((tries.failed(), tries.in_vain(), tries.not_before()), (0, 1, now + FIRST_PAUSE));
        tries.fail(now, None, &mut random);
        assert_eq!((tries.failed(), tries.in_vain(), tries.not_before()), (1, 2, now));
        tries.fail(now, Some(pace), &mut random);
        assert_eq!(tries.not_before(), now + Duration::from_millis(200));
        tries.hasten();
        assert_eq!(tries.not_before(), Moment::default());
    }
}

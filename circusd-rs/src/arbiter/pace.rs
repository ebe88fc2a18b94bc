//! How soon a process that dies, or does not start, is tried again, and when it is not any more.
//!
//! A first death is replaced at once. Whatever dies young again and again waits longer each time, so
//! that a broken command cannot spin, and never longer than the ceiling; the options of
//! [`crate::config::policy`] change each of these numbers. It refuses to know whose pauses they are:
//! [`super::slots`] does.

use std::time::Duration;

use crate::arbiter::time::Moment;
use crate::arbiter::watcher::Random;
use crate::config::policy::Policy;

/// The first pause where no other is given; it doubles from there.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
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

    /// Whether somebody of this age has not died young.
    pub(super) fn lived(self, age: Duration) -> bool {
        age >= self.young
    }

    /// So many starts within this time are the last.
    pub(super) fn limit(self) -> Option<(u32, Duration)> {
        self.limit
    }

    /// The pause after so many failures in a row.
    pub(super) fn pause(self, failures: u32, random: &mut Random) -> Duration {
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

    fn pauses(policy: &Policy, ceiling: Duration) -> Vec<u128> {
        let pace = Pace::of(policy, ceiling);
        (1..7).map(|failures| pace.pause(failures, &mut Random(1)).as_millis()).collect()
    }

    #[test]
    fn pauses_grow_to_the_ceiling() {
        let stock = Policy::default();
        assert_eq!(pauses(&stock, CEILING), [0, 100, 200, 400, 500, 500]);
        let pace = Pace::of(&stock, CEILING);
        assert_eq!(pace.pause(u32::MAX, &mut Random(1)), CEILING);
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

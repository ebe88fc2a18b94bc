//! The places of one watcher: which worker ids are in use, and which stay empty for a while or for good.
//!
//! ```text
//!          take                     give back, and no rest is on
//!   free ────────► taken ───────────────────────────────────────► free
//!     ▲              │ give back, and a rest is on
//!     │ wake         ▼
//!     └─────────── vacant
//! ```
//!
//! A place that is *closed* stays empty until somebody wishes otherwise: its process was done, or was
//! started too often. Everything that a step asks is answered without a look at all places, because a
//! watcher may have ten thousand and each death is a step.
//!
//! It refuses to know processes: a *slot* is a worker id, because a successor takes its predecessor's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use circus_protocol::number::Wid;

use crate::arbiter::pace::Pace;
use crate::arbiter::time::Moment;
use crate::arbiter::watcher::Random;

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
    fn end(self) -> End {
        match self {
            Self::Until(at) => End::At(at),
            Self::Closed(_) => End::Never,
        }
    }
}

/// When a rest is over by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    At(Moment),
    Never,
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

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    /// The places in which somebody died young, or was done.
    known: BTreeMap<Wid, Slot>,
    /// The rests that are on, or were at the last [`Self::wake`].
    ends: BTreeSet<(End, Wid)>,
    /// The failures of those among them that end by themselves.
    failures: BTreeSet<(u32, Wid)>,
    /// Up to this number each is taken, free or vacant; those above are free.
    highest: u32,
    free: BTreeSet<Wid>,
    /// Nobody's, and a rest is on.
    vacant: BTreeSet<Wid>,
}

impl Slots {
    // ---- whose numbers are whose ----

    /// The smallest number that is neither in use nor must rest.
    pub(super) fn lowest(&mut self, now: Moment) -> Wid {
        self.wake(now);
        self.free.first().copied().unwrap_or(Wid(self.highest.saturating_add(1)))
    }

    /// Somebody has this number from now on.
    pub(super) fn take(&mut self, wid: Wid) {
        self.free.remove(&wid);
        self.vacant.remove(&wid);
        if wid.0 > self.highest {
            self.free.extend((self.highest + 1..wid.0).map(Wid));
            self.highest = wid.0;
        }
    }

    /// Nobody has it any more.
    pub(super) fn give_back(&mut self, wid: Wid) {
        let rests = self.known.get(&wid).is_some_and(|slot| self.ends.contains(&(slot.rest.end(), wid)));
        if rests {
            self.vacant.insert(wid);
        } else {
            self.free.insert(wid);
            self.shrink();
        }
    }

    /// How many places rest that nobody fills.
    pub(super) fn vacant(&mut self, now: Moment) -> usize {
        self.wake(now);
        self.vacant.len()
    }

    fn shrink(&mut self) {
        while self.free.remove(&Wid(self.highest)) {
            self.highest -= 1;
        }
    }

    // ---- what happens ----

    /// Rests that are over by now hold nobody up any more.
    fn wake(&mut self, now: Moment) {
        while let Some((end, wid)) = self.ends.first().copied().filter(|(end, _)| *end <= End::At(now)) {
            self.end_rest(wid, end);
        }
    }

    /// Somebody wants them filled again now.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.ends.clear();
        self.failures.clear();
        self.free.append(&mut self.vacant);
        self.shrink();
    }

    /// Whoever failed may be tried again now; who was done stays done.
    pub(super) fn forgive(&mut self) {
        self.forget(|slot| slot.rest != Rest::Closed(Closed::Finished));
    }

    /// As many live as shall: nobody is missed in a closed place.
    pub(super) fn reopen(&mut self) {
        self.forget(|slot| matches!(slot.rest, Rest::Closed(_)));
    }

    fn forget(&mut self, which: impl Fn(&Slot) -> bool) {
        let gone = self.known.iter().filter(|(_, slot)| which(slot)).map(|(wid, slot)| (*wid, slot.rest));
        for (wid, rest) in gone.collect::<Vec<_>>() {
            self.end_rest(wid, rest.end());
            self.known.remove(&wid);
        }
    }

    /// A process ended and shall have a successor.
    pub(super) fn died(&mut self, death: Death, now: Moment, pace: Pace, random: &mut Random) {
        let slot = self.slot(death);
        slot.failures =
            if pace.lived(now.since(death.started)) { 0 } else { slot.failures.saturating_add(1) };
        let next = now + pace.pause(slot.failures, random);
        slot.rest = Rest::Until(next);
        if let Some((limit, window)) = pace.limit() {
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
        let (failures, rest) = (slot.failures, slot.rest);
        if failures == 0 && slot.starts.is_empty() && rest == Rest::Until(now) {
            self.known.remove(&death.wid);
        } else if rest.end() > End::At(now) {
            self.begin_rest(death.wid, rest, failures);
        }
    }

    /// A process is done: it shall have no successor.
    pub(super) fn finished(&mut self, death: Death) {
        let slot = self.slot(death);
        (slot.failures, slot.rest) = (0, Rest::Closed(Closed::Finished));
        let rest = slot.rest;
        self.begin_rest(death.wid, rest, 0);
    }

    /// What is known of the place of one that died, whose last rest is over.
    fn slot(&mut self, death: Death) -> &mut Slot {
        if let Some(end) = self.known.get(&death.wid).map(|slot| slot.rest.end()) {
            self.end_rest(death.wid, end);
        }
        let rest = Rest::Until(Moment::default());
        let new = || Slot { failures: 0, exit_code: None, rest, starts: VecDeque::new() };
        let slot = self.known.entry(death.wid).or_insert_with(new);
        slot.exit_code = death.exit_code;
        slot
    }

    fn begin_rest(&mut self, wid: Wid, rest: Rest, failures: u32) {
        self.ends.insert((rest.end(), wid));
        if let Rest::Until(_) = rest {
            self.failures.insert((failures, wid));
        }
        if self.free.remove(&wid) {
            self.vacant.insert(wid);
        }
    }

    fn end_rest(&mut self, wid: Wid, end: End) {
        self.ends.remove(&(end, wid));
        if let Some(slot) = self.known.get(&wid) {
            self.failures.remove(&(slot.failures, wid));
        }
        if self.vacant.remove(&wid) {
            self.free.insert(wid);
            self.shrink();
        }
    }

    // ---- questions ----

    /// Nobody died young lately.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What is known of a place.
    pub(super) fn get(&self, wid: Wid) -> Option<&Slot> {
        self.known.get(&wid)
    }

    /// The places that must stay empty for now.
    pub(super) fn resting(&self, now: Moment) -> impl Iterator<Item = Wid> {
        let on = self.ends.range((End::At(now), Wid(u32::MAX))..);
        on.filter(move |(end, _)| *end > End::At(now)).map(|(_, wid)| *wid)
    }

    /// Whether any must stay empty until somebody wishes otherwise.
    pub(super) fn any_closed(&self) -> bool {
        self.ends.last().is_some_and(|(end, _)| *end == End::Never)
    }

    pub(super) fn is_closed(&self, wid: Wid) -> bool {
        self.ends.contains(&(End::Never, wid))
    }

    /// How many are closed.
    pub(super) fn closed(&self) -> usize {
        self.ends.range((End::Never, Wid(0))..).count()
    }

    /// How many were started too often, and the first of them.
    pub(super) fn limited(&self) -> Option<(usize, &Slot)> {
        let closed = || self.ends.range((End::Never, Wid(0))..).filter_map(|(_, wid)| self.known.get(wid));
        let limited = || closed().filter(|slot| matches!(slot.rest, Rest::Closed(Closed::Limit { .. })));
        Some((limited().count(), limited().next()?))
    }

    /// How many wait for their time, and the one with the most failures.
    pub(super) fn waiting(&self, now: Moment) -> Option<(usize, &Slot)> {
        let over = self.ends.range(..=(End::At(now), Wid(u32::MAX))).count();
        let mut slots = self.failures.iter().rev().filter_map(|(_, wid)| self.known.get(wid));
        let worst = slots.find(|slot| slot.rest.end() > End::At(now))?;
        Some((self.failures.len().saturating_sub(over), worst))
    }

    /// The next moment at which a place may be filled again.
    pub(super) fn deadline(&self, now: Moment) -> Option<Moment> {
        let (end, _) =
            self.ends.range((End::At(now), Wid(u32::MAX))..).find(|(end, _)| *end > End::At(now))?;
        match end {
            End::At(at) => Some(*at),
            End::Never => None,
        }
    }

    /// Whether every number is accounted for, when these are taken.
    #[cfg(test)]
    pub(super) fn check(&self, taken: &BTreeSet<Wid>) {
        let resting: BTreeSet<Wid> = self.ends.iter().map(|(_, wid)| *wid).collect();
        let all: BTreeSet<Wid> = (1..=self.highest).map(Wid).collect();
        let nobodys: BTreeSet<Wid> = all.difference(taken).copied().collect();
        assert!(taken.is_subset(&all), "{taken:?} {self:?}");
        assert_eq!(self.vacant, nobodys.intersection(&resting).copied().collect());
        assert_eq!(self.free, nobodys.difference(&resting).copied().collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::pace::FIRST_PAUSE;
    use crate::config::policy::Policy;

    const CEILING: Duration = Duration::from_millis(500);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn death(wid: u32, started: Moment) -> Death {
        Death { wid: Wid(wid), started, exit_code: Some(1) }
    }

    #[test]
    fn pauses_are_forgotten_after_a_life() {
        let pace = Pace::of(&Policy::default(), CEILING);
        let mut slots = Slots::default();
        let now = Moment(seconds(9));
        slots.died(death(1, now), now, pace, &mut Random(1));
        assert_eq!(slots.resting(now).count(), 0);
        slots.died(death(1, now), now, pace, &mut Random(1));
        assert_eq!(slots.resting(now).collect::<Vec<_>>(), [Wid(1)]);
        assert_eq!(slots.deadline(now), Some(now + FIRST_PAUSE));
        slots.died(death(1, Moment(seconds(8))), now, pace, &mut Random(1));
        assert_eq!(slots.deadline(now), None);
        assert!(slots.get(Wid(1)).is_none());
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

    /// One place as it was told, and what follows from it by looking at everything.
    #[derive(Default)]
    struct Simple {
        taken: BTreeSet<Wid>,
        rests: BTreeMap<Wid, Rest>,
    }

    impl Simple {
        fn resting(&self, now: Moment) -> BTreeSet<Wid> {
            let on = self.rests.iter().filter(|(_, rest)| rest.end() > End::At(now));
            on.map(|(wid, _)| *wid).collect()
        }

        fn check(&self, slots: &mut Slots, now: Moment) {
            let resting = self.resting(now);
            assert_eq!(slots.resting(now).collect::<BTreeSet<_>>(), resting);
            let closed = resting.iter().filter(|wid| matches!(self.rests[*wid], Rest::Closed(_)));
            assert_eq!((slots.closed(), slots.any_closed()), (closed.clone().count(), closed.count() > 0));
            let waits = resting.iter().filter(|wid| matches!(self.rests[*wid], Rest::Until(_))).copied();
            let worst = waits.clone().max_by_key(|wid| (slots.get(*wid).unwrap().failures, *wid));
            let told = slots.waiting(now).map(|(count, slot)| (count, slot.failures));
            assert_eq!(told, worst.map(|wid| (waits.count(), slots.get(wid).unwrap().failures)));
            let ends = resting.iter().filter_map(|wid| match self.rests[wid] {
                Rest::Until(at) => Some(at),
                Rest::Closed(_) => None,
            });
            assert_eq!(slots.deadline(now), ends.min());
            let lowest = (1..).map(Wid).find(|wid| !self.taken.contains(wid) && !resting.contains(wid));
            assert_eq!(slots.lowest(now), lowest.unwrap());
            assert_eq!(slots.vacant(now), resting.difference(&self.taken).count());
            slots.check(&self.taken);
        }
    }

    fn policy(random: &mut Random) -> Policy {
        let limit = random.up_to(3) as u32;
        Policy {
            backoff: (random.up_to(1) == 0).then(|| seconds(random.up_to(3))),
            start_limit: (limit > 0).then_some(limit),
            start_limit_window: (limit > 0).then_some(seconds(20)),
            success_after: Some(seconds(random.up_to(2))),
            ..Policy::default()
        }
    }

    /// Somebody dies, or is done, and leaves at once or later.
    fn die(slots: &mut Slots, simple: &mut Simple, now: Moment, random: &mut Random) {
        let some = random.up_to(simple.taken.len() as u64) as usize;
        let Some(wid) = simple.taken.iter().nth(some).copied() else { return };
        let death = death(wid.0, Moment(now.0.saturating_sub(seconds(random.up_to(3)))));
        match random.up_to(5) {
            0 => slots.finished(death),
            1 => {}
            _ => slots.died(death, now, Pace::of(&policy(random), CEILING), random),
        }
        match slots.get(wid) {
            Some(slot) => drop(simple.rests.insert(wid, slot.rest)),
            None => drop(simple.rests.remove(&wid)),
        }
        if random.up_to(4) > 0 {
            slots.give_back(wid);
            simple.taken.remove(&wid);
        }
    }

    #[test]
    fn the_lowest_free_number_is_given_whatever_happened() {
        for seed in 0..100 {
            let mut random = Random(seed);
            let (mut slots, mut simple) = (Slots::default(), Simple::default());
            let mut now = Moment(seconds(100));
            for _ in 0..300 {
                match random.up_to(20) {
                    0 => {
                        slots.clear();
                        simple.rests.clear();
                    }
                    1 => {
                        slots.forgive();
                        simple.rests.retain(|_, rest| *rest == Rest::Closed(Closed::Finished));
                    }
                    2 => {
                        slots.reopen();
                        simple.rests.retain(|_, rest| matches!(rest, Rest::Until(_)));
                    }
                    3..=5 => now = now + Duration::from_millis(random.up_to(1500)),
                    6..=12 => {
                        let wid = slots.lowest(now);
                        slots.take(wid);
                        simple.taken.insert(wid);
                    }
                    _ => die(&mut slots, &mut simple, now, &mut random),
                }
                simple.check(&mut slots, now);
            }
        }
    }

    #[test]
    fn what_a_step_costs_does_not_grow_with_the_places() {
        let mut slots = Slots::default();
        let pace = Pace::of(&Policy::default(), CEILING);
        let now = Moment(seconds(9));
        for number in 1..=10_000 {
            assert_eq!(slots.lowest(now), Wid(number));
            slots.take(Wid(number));
        }
        for number in (1..=10_000).rev() {
            for _ in 0..2 {
                slots.died(death(number, now), now, pace, &mut Random(1));
            }
            slots.give_back(Wid(number));
        }
        assert_eq!((slots.vacant(now), slots.free.len(), slots.highest), (10_000, 0, 10_000));
        assert_eq!(slots.lowest(now), Wid(10_001), "and not by looking at those that rest");
        assert_eq!(slots.lowest(now + FIRST_PAUSE), Wid(1));
        assert!(slots.ends.is_empty() && slots.failures.is_empty() && slots.vacant.is_empty());
        assert_eq!((slots.free.len(), slots.highest), (0, 0), "nobody's numbers are not kept");
    }
}

//! Crash cards: what is kept of each death, bounded for each watcher.
//!
//! Ends that somebody commanded are kept apart, so that a stop does not push the crash before it out.
//! It refuses to judge; [`super::verdict`] does when somebody asks.

use std::collections::VecDeque;
use std::time::Duration;

use circus_protocol::number::{Pid, Wid};

use crate::arbiter::id::Key;
use crate::arbiter::input::{OomKills, Usage};

/// How many crashes of one watcher are remembered.
const CRASHES: usize = 5;

/// The window in which crashes are counted, in seconds.
pub(in crate::arbiter) const WINDOW: f64 = 600.0;

/// How many ends are counted within it; more is as bad.
const COUNTED: usize = 100;

/// One death, or one try to be born.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::arbiter) struct Card {
    pub(in crate::arbiter) key: Key,
    pub(in crate::arbiter) wid: Wid,
    pub(in crate::arbiter) pid: Option<Pid>,
    /// Unix times.
    pub(in crate::arbiter) started: f64,
    pub(in crate::arbiter) died: f64,
    pub(in crate::arbiter) age: Duration,
    pub(in crate::arbiter) end: End,
    pub(in crate::arbiter) by: By,
    pub(in crate::arbiter) usage: Option<Usage>,
    pub(in crate::arbiter) oom: Option<OomKills>,
    /// How many of its watcher crashed in the window before, this one included.
    pub(in crate::arbiter) crashes: usize,
    /// How often its worker id had been started again in the window before, whatever for.
    pub(in crate::arbiter) restarts: usize,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::arbiter) enum End {
    /// With this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows: somebody else collected it.
    Unknown,
    /// It never ran. Whether it was its directory that could not be entered is known by the error.
    NotStarted { error: String, directory: bool },
}

impl End {
    /// From what circus calls an exit code.
    pub(in crate::arbiter) fn of(exit_code: Option<i32>) -> Self {
        match exit_code {
            None => Self::Unknown,
            Some(code) if code < 0 => Self::Signal(-code),
            Some(code) => Self::Status(code),
        }
    }
}

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::arbiter) enum By {
    /// Its own, or somebody's outside of the daemon.
    Itself,
    /// The watcher stops.
    Stop,
    /// Another takes its place: `kill`, a reload, `max_age`.
    Replaced,
    /// It was old enough.
    MaxAge,
    /// One too many.
    Surplus,
    /// A hook did not want it.
    Hook,
    /// It did not end when it was asked to, so it was killed.
    Timeout,
}

/// What was counted since the daemon began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::arbiter) struct Tally {
    /// Processes that were started.
    pub(in crate::arbiter) starts: u64,
    /// Those of them that took the place of one that had ended by itself.
    pub(in crate::arbiter) restarts: u64,
    /// Processes that ended by themselves.
    pub(in crate::arbiter) ends: u64,
    /// Places that became free so and were not taken yet.
    vacant: u64,
}

/// One watcher's.
#[derive(Debug, Default)]
pub(in crate::arbiter) struct Cards {
    /// The last one at the end.
    crashes: VecDeque<Card>,
    /// The last end that somebody commanded.
    commanded: Option<Box<Card>>,
    /// The last ends, whoever wanted them.
    recent: VecDeque<Ended>,
    tally: Tally,
}

/// What is counted of an end.
#[derive(Debug, Clone, Copy)]
struct Ended {
    /// Unix time.
    at: f64,
    wid: Wid,
    crashed: bool,
    ran: bool,
}

impl Cards {
    /// A process was started.
    pub(in crate::arbiter) fn born(&mut self) {
        let Tally { starts, restarts, vacant, .. } = &mut self.tally;
        *starts += 1;
        if *vacant > 0 {
            *vacant -= 1;
            *restarts += 1;
        }
    }

    /// The watcher stands still: who starts next takes nobody's place.
    pub(in crate::arbiter) fn settled(&mut self) {
        self.tally.vacant = 0;
    }

    /// What was counted.
    pub(in crate::arbiter) fn tally(&self) -> Tally {
        self.tally
    }

    pub(in crate::arbiter) fn keep(&mut self, mut card: Card) {
        let (at, wid) = (card.died, card.wid);
        // Also what lies ahead, should the clock have been set back.
        self.recent.retain(|ended| (ended.at - at).abs() <= WINDOW);
        card.restarts = self.recent.iter().filter(|ended| ended.ran && ended.wid == wid).count();
        let ran = !matches!(card.end, End::NotStarted { .. });
        self.recent.push_back(Ended { at, wid, crashed: card.by == By::Itself, ran });
        if self.recent.len() > COUNTED {
            self.recent.pop_front();
        }
        card.crashes = self.recent.iter().filter(|ended| ended.crashed).count();
        if card.by != By::Itself {
            self.commanded = Some(Box::new(card));
            return;
        }
        if ran {
            self.tally.ends += 1;
            self.tally.vacant += 1;
        }
        // A program that cannot be started fails the same way again and again: once is enough.
        if let (Some(last), End::NotStarted { .. }) = (self.crashes.back_mut(), &card.end)
            && last.end == card.end
        {
            *last = card;
            return;
        }
        self.crashes.push_back(card);
        if self.crashes.len() > CRASHES {
            self.crashes.pop_front();
        }
    }

    /// The last crash.
    pub(in crate::arbiter) fn last(&self) -> Option<&Card> {
        self.crashes.back()
    }

    /// The last end that somebody commanded.
    pub(in crate::arbiter) fn commanded(&self) -> Option<&Card> {
        self.commanded.as_deref()
    }

    /// All crashes that are remembered, the last one first.
    pub(in crate::arbiter) fn crashes(&self) -> impl Iterator<Item = &Card> {
        self.crashes.iter().rev()
    }
}

#[cfg(test)]
pub(in crate::arbiter) mod tests {
    use super::*;

    pub(in crate::arbiter) fn card(end: End, by: By, died: f64) -> Card {
        let age = Duration::from_secs(5);
        let (pid, started) = (Pid::new(42), died - 5.0);
        let (usage, oom) = (None, None);
        let (key, wid, crashes, restarts) = (Key(1), Wid(1), 0, 0);
        Card { key, wid, pid, started, died, age, end, by, usage, oom, crashes, restarts }
    }

    #[test]
    fn the_last_crashes_stay_and_a_stop_does_not_push_them_out() {
        let mut cards = Cards::default();
        for number in 0..200 {
            cards.keep(card(End::Status(number), By::Itself, f64::from(number)));
        }
        cards.keep(card(End::Signal(15), By::Stop, 300.0));
        let kept: Vec<End> = cards.crashes().map(|card| card.end.clone()).collect();
        assert_eq!(kept.first(), Some(&End::Status(199)));
        assert_eq!((kept.len(), cards.last().unwrap().crashes), (CRASHES, COUNTED));
        assert_eq!(cards.commanded().unwrap().by, By::Stop);
        cards.keep(card(End::Status(1), By::Itself, 5000.0));
        assert_eq!((cards.last().unwrap().crashes, cards.last().unwrap().restarts), (1, 0));
    }

    #[test]
    fn restarts_are_those_of_its_own_place_whatever_for() {
        let mut cards = Cards::default();
        let of = |wid, by, died| Card { wid: Wid(wid), ..card(End::Status(1), by, died) };
        cards.keep(of(1, By::Stop, 1.0));
        cards.keep(of(1, By::Replaced, 2.0));
        cards.keep(of(2, By::Itself, 3.0));
        cards.keep(of(1, By::Itself, 4.0));
        assert_eq!((cards.last().unwrap().crashes, cards.last().unwrap().restarts), (2, 2));
        let error = "no".to_owned();
        let end = End::NotStarted { error, directory: false };
        cards.keep(Card { end, ..of(1, By::Itself, 5.0) });
        assert_eq!(cards.last().unwrap().restarts, 3);
        // What never ran was not started again either, and what is long ago does not count.
        cards.keep(of(1, By::Itself, 601.5));
        assert_eq!(cards.last().unwrap().restarts, 2);
    }

    #[test]
    fn failing_to_start_again_and_again_is_one_card() {
        let mut cards = Cards::default();
        let error = || End::NotStarted { error: "no".to_owned(), directory: false };
        cards.keep(card(End::Status(1), By::Itself, 1.0));
        for number in 0..10 {
            cards.keep(card(error(), By::Itself, f64::from(number)));
        }
        assert_eq!((cards.crashes().count(), cards.last().unwrap().crashes), (2, 11));
    }

    #[test]
    fn a_restart_takes_the_place_of_one_that_ended_by_itself() {
        let mut cards = Cards::default();
        let told = |cards: &Cards| (cards.tally().starts, cards.tally().restarts, cards.tally().ends);
        cards.born();
        cards.keep(card(End::Status(0), By::Itself, 1.0));
        cards.keep(card(End::NotStarted { error: "no".to_owned(), directory: false }, By::Itself, 2.0));
        assert_eq!(told(&cards), (1, 0, 1));
        cards.born();
        cards.keep(card(End::Signal(15), By::Replaced, 3.0));
        cards.born();
        assert_eq!(told(&cards), (3, 1, 1), "a commanded one is no restart");
        cards.keep(card(End::Signal(9), By::Itself, 4.0));
        cards.settled();
        cards.born();
        assert_eq!(told(&cards), (4, 1, 2), "neither is a start after a stop");
    }
}

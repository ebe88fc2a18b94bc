//! How far one watcher has come, as a state machine of its own beside the watcher's.
//!
//! ```text
//!            a process runs           up: probe says yes,          joined: probe says yes
//!   Down ──► Starting ──────────────────────────────────► Up ──────────────────────────► Joined
//!     ▲        │ ▲  ▲                                      │ ▲ │                            │
//!     │        │ │  └── another process ───────────────────┴─┼─┼────────────────────────────┤
//!     │        │ │                         recheck says no ──┼─┴────────────────────────────┘
//!     │        ▼ │ yes at last                               │
//!     │       Failed (not in time, or it does not start) ────┘
//!     └── nobody wants it up any more: from everywhere
//! ```
//!
//! What is true belongs to a *run*: the life of the oldest process. Another oldest process is another
//! run, and everything is asked anew; the answer to a question of an earlier run is not heard. Without
//! a probe `up` is the watcher being active, and `joined` is `up`.
//!
//! It refuses to know how a question is answered, and why a watcher runs: a [`Stage`] comes in.

mod ask;
mod stage;

use std::time::Duration;

use circus_protocol::readiness::{self, ReadyState};
use circus_protocol::service::{Check, Level, OnTimeout, Probe, Service};

use crate::arbiter::id::Key;
use crate::arbiter::time::{Moment, Now, seconds};
pub(super) use ask::{Names, call, preparation};
pub(super) use stage::Stage;

/// So many rechecks in a row must say no before it is believed: one may be lost in a busy moment.
const MISSES: u32 = 3;

/// What is known about one watcher, and what is being found out.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    told: readiness::Readiness,
    run: Option<Key>,
    reached: Option<Level>,
    asking: Option<Asking>,
    /// The number of the last question.
    attempt: u64,
}

/// A level that is being asked for, or, once reached, asked again.
#[derive(Debug)]
struct Asking {
    level: Level,
    begun: Moment,
    next: Next,
    /// What the last answer was, if it was no.
    last: String,
    /// How often in a row a recheck said no.
    misses: u32,
    /// Its time is over, which was said.
    late: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The next question is due then.
    At(Moment),
    /// This one is under way.
    Under(u64),
}

/// What follows from a look.
#[derive(Debug, PartialEq)]
pub(super) enum Move {
    /// The state is another; it is in [`Readiness::told`].
    Changed,
    /// Ask this, with this number.
    Ask { attempt: u64, level: Level },
    /// The answer to this one is of no interest any more.
    Cancel(u64),
    /// Its time is over, and it shall be restarted then.
    Restart(String),
}

impl Readiness {
    /// What is told about it.
    pub(super) fn told(&self) -> &readiness::Readiness {
        &self.told
    }

    /// Whether it has come so far.
    pub(super) fn reaches(&self, level: Level, service: Option<&Service>) -> bool {
        match (level, self.reached) {
            (_, None) => false,
            (Level::Up, Some(Level::Up | Level::Joined)) | (Level::Joined, Some(Level::Joined)) => true,
            (Level::Joined, Some(Level::Up)) => probe(service, Level::Joined).is_none(),
        }
    }

    /// When it wants to be looked at again.
    pub(super) fn deadline(&self, service: Option<&Service>) -> Option<Moment> {
        let asking = self.asking.as_ref()?;
        let next = match asking.next {
            Next::At(at) => Some(at),
            Next::Under(_) => None,
        };
        let late = probe(service, asking.level)
            .and_then(|probe| probe.timeout)
            .filter(|_| !asking.late && self.reached < Some(asking.level))
            .map(|timeout| asking.begun + seconds(timeout));
        next.into_iter().chain(late).min()
    }

    /// Compares what is known with how the watcher stands. Idempotent at one moment.
    pub(super) fn look(&mut self, stage: &Stage, service: Option<&Service>, now: Now) -> Vec<Move> {
        let mut moves = Vec::new();
        match stage {
            Stage::Down { failed, detail } => {
                self.end_run(&mut moves);
                let state = if *failed { ReadyState::Failed } else { ReadyState::Down };
                self.tell(state, false, detail, now, &mut moves);
            }
            Stage::Coming { detail } => {
                self.end_run(&mut moves);
                self.tell(ReadyState::Starting, false, detail, now, &mut moves);
            }
            Stage::Running { key, youngest, active } => {
                if self.run != Some(*key) {
                    self.end_run(&mut moves);
                    self.run = Some(*key);
                }
                self.climb(*youngest, *active, service, now, &mut moves);
                self.tell_run(*active, service, now, &mut moves);
            }
        }
        moves
    }

    /// An answer; one that nobody waits for is not heard.
    pub(super) fn hear(
        &mut self,
        attempt: u64,
        result: Result<(), String>,
        service: Option<&Service>,
        now: Moment,
    ) {
        let Some(asking) = &mut self.asking else { return };
        if asking.next != Next::Under(attempt) {
            return;
        }
        let Some(probe) = probe(service, asking.level) else {
            // The next look sees to it.
            asking.next = Next::At(now);
            return;
        };
        let again = self.reached >= Some(asking.level);
        asking.next = Next::At(now + pause(probe, again));
        match result {
            Ok(()) => {
                asking.last.clear();
                asking.misses = 0;
                if !again {
                    self.reached = Some(asking.level);
                    self.asking = watch(probe, now);
                }
            }
            Err(reason) => {
                asking.last = reason;
                asking.misses = asking.misses.saturating_add(1);
                if again && asking.misses >= MISSES {
                    self.fall(now);
                }
            }
        }
    }

    /// The level is lost, and asked for as at the beginning.
    fn fall(&mut self, now: Moment) {
        let Some(asking) = &mut self.asking else { return };
        self.reached = match asking.level {
            Level::Up => None,
            Level::Joined => Some(Level::Up),
        };
        (asking.begun, asking.misses, asking.late) = (now, 0, false);
        asking.next = Next::At(now);
    }

    /// Whatever was asked is of no interest any more.
    pub(super) fn end_run(&mut self, moves: &mut Vec<Move>) {
        if let Some(Asking { next: Next::Under(attempt), .. }) = self.asking {
            moves.push(Move::Cancel(attempt));
        }
        (self.run, self.reached, self.asking) = (None, None, None);
    }

    /// Goes up as far as one can without an answer, and asks where one is needed.
    fn climb(
        &mut self,
        youngest: Moment,
        active: bool,
        service: Option<&Service>,
        now: Now,
        moves: &mut Vec<Move>,
    ) {
        if self.asking.as_ref().is_some_and(|asking| probe(service, asking.level).is_none()) {
            self.stop_asking(moves);
        }
        if self.reached.is_none() {
            let there = match probe(service, Level::Up) {
                Some(probe) => self.question(probe, youngest, now, moves),
                None => active,
            };
            if !there {
                return;
            }
            self.reached = Some(Level::Up);
        }
        // With no level above, the highest that has a probe may be asked again.
        if let Some(probe) = probe(service, Level::Joined).or(probe(service, Level::Up)) {
            self.question(probe, youngest, now, moves);
        }
    }

    /// Asks if it is time to; true when the level was reached without a question.
    fn question(&mut self, probe: &Probe, youngest: Moment, now: Now, moves: &mut Vec<Move>) -> bool {
        let reached = self.reached >= Some(probe.level);
        match &self.asking {
            Some(asking) if asking.level == probe.level => {}
            Some(_) | None if reached => return false,
            Some(_) | None => {
                self.stop_asking(moves);
                self.asking = Some(Asking::new(probe.level, now.mono));
            }
        }
        let Some(asking) = &mut self.asking else { return false };
        let overdue = probe.timeout.is_some_and(|timeout| now.mono >= asking.begun + seconds(timeout));
        if overdue && !asking.late && !reached {
            asking.late = true;
            if probe.on_timeout == OnTimeout::Restart {
                moves.push(Move::Restart(asking.lateness(probe)));
            }
        }
        match asking.next {
            Next::Under(_) => return false,
            Next::At(at) if at > now.mono => return false,
            Next::At(_) => {}
        }
        if let Some(old_enough) = old_enough(probe, youngest).filter(|at| *at > now.mono) {
            asking.next = Next::At(old_enough);
            return false;
        }
        if probe.checks.iter().all(|check| matches!(check, Check::PidAlive(_))) {
            let again = reached.then(|| watch(probe, now.mono)).flatten();
            (self.reached, self.asking) = (self.reached.max(Some(probe.level)), again);
            return !reached;
        }
        self.attempt += 1;
        asking.next = Next::Under(self.attempt);
        moves.push(Move::Ask { attempt: self.attempt, level: probe.level });
        false
    }

    fn stop_asking(&mut self, moves: &mut Vec<Move>) {
        if let Some(Asking { next: Next::Under(attempt), .. }) = self.asking.take() {
            moves.push(Move::Cancel(attempt));
        }
    }

    fn tell_run(&mut self, active: bool, service: Option<&Service>, now: Now, moves: &mut Vec<Move>) {
        let probed = self.asking.as_ref().and_then(|asking| Some((asking, probe(service, asking.level)?)));
        let missing = probed.filter(|(asking, _)| self.reached < Some(asking.level));
        let late = missing.is_some_and(|(asking, _)| asking.late);
        let detail = match missing {
            Some((asking, probe)) if asking.late => asking.lateness(probe),
            Some((asking, _)) => asking.progress(),
            None if self.reached.is_none() && !active => "its processes are being started".to_owned(),
            None => String::new(),
        };
        let state = match self.reached {
            _ if late => ReadyState::Failed,
            None => ReadyState::Starting,
            Some(Level::Up) => ReadyState::Up,
            Some(Level::Joined) => ReadyState::Joined,
        };
        let ready = self.reaches(Level::Joined, service);
        self.tell(state, ready, &detail, now, moves);
    }

    fn tell(&mut self, state: ReadyState, ready: bool, detail: &str, now: Now, moves: &mut Vec<Move>) {
        if self.told.detail != detail {
            detail.clone_into(&mut self.told.detail);
        }
        if self.told.since == 0.0 {
            self.told.since = now.wall;
        }
        if (self.told.state, self.told.ready) != (state, ready) {
            (self.told.state, self.told.ready, self.told.since) = (state, ready, now.wall);
            moves.push(Move::Changed);
        }
    }
}

impl Asking {
    fn new(level: Level, now: Moment) -> Self {
        Self { level, begun: now, next: Next::At(now), last: String::new(), misses: 0, late: false }
    }

    fn progress(&self) -> String {
        let level = word(self.level);
        if self.last.is_empty() {
            format!("not {level} yet")
        } else {
            format!("not {level} yet: {}", self.last)
        }
    }

    fn lateness(&self, probe: &Probe) -> String {
        let (level, patience) = (word(self.level), probe.timeout.unwrap_or_default());
        let reason = if self.last.is_empty() { "no answer" } else { self.last.as_str() };
        format!("not {level} after {patience} s: {reason}")
    }
}

/// The level as the sections spell it.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Up => "up",
        Level::Joined => "joined",
    }
}

/// What keeps an eye on a level that was reached, if somebody wants that.
fn watch(probe: &Probe, now: Moment) -> Option<Asking> {
    let again = probe.recheck?;
    Some(Asking { next: Next::At(now + seconds(again)), ..Asking::new(probe.level, now) })
}

fn pause(probe: &Probe, again: bool) -> Duration {
    seconds(if again { probe.recheck.unwrap_or(probe.interval) } else { probe.interval })
}

/// When the youngest process will have lived as long as the probe wants.
fn old_enough(probe: &Probe, youngest: Moment) -> Option<Moment> {
    let ages = probe.checks.iter().filter_map(|check| match check {
        Check::PidAlive(age) => Some(youngest + seconds(*age)),
        Check::Tcp(_) | Check::Http { .. } | Check::Exec { .. } | Check::Log { .. } => None,
    });
    ages.max()
}

fn probe(service: Option<&Service>, level: Level) -> Option<&Probe> {
    service?.probes.iter().find(|probe| probe.level == level)
}

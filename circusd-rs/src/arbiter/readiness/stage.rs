//! How a watcher stands, in the few words that readiness is about.

use crate::arbiter::id::Key;
use crate::arbiter::standing::Reason;
use crate::arbiter::time::{Moment, Now};
use crate::arbiter::watcher::{Phase, Watcher};

/// How a watcher stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::arbiter) enum Stage {
    /// Nobody wants it up, or it could not be.
    Down { failed: bool, detail: String },
    /// It is to be up; nothing runs yet, or what runs will not stay.
    Coming { detail: String },
    /// Something runs that shall run.
    Running {
        /// The oldest process.
        key: Key,
        /// When the youngest was started.
        youngest: Moment,
        /// As many run as shall.
        active: bool,
    },
}

impl Stage {
    pub(in crate::arbiter) fn of(watcher: &Watcher, now: Now) -> Self {
        let mut running = watcher.processes.running();
        match watcher.phase {
            Phase::Stopped => stopped(watcher, now),
            Phase::Starting { .. } | Phase::Active if !watcher.leaves() => match running.next() {
                Some(oldest) => Self::Running {
                    key: oldest.key,
                    youngest: running.next_back().unwrap_or(oldest).since,
                    active: watcher.phase == Phase::Active,
                },
                None => Self::Coming { detail: why(watcher, now) },
            },
            Phase::Starting { .. } | Phase::Active | Phase::Stopping { .. } => leaving(watcher, now),
        }
    }
}

/// In the words in which everybody is told.
fn why(watcher: &Watcher, now: Now) -> String {
    watcher.standing(now).reason.to_string()
}

fn stopped(watcher: &Watcher, now: Now) -> Stage {
    let reason = watcher.standing(now).reason;
    if watcher.returns() {
        return Stage::Coming { detail: reason.to_string() };
    }
    let failed = match reason {
        Reason::Unstartable { .. }
        | Reason::Broken { .. }
        | Reason::Refused { .. }
        | Reason::StartLimit { .. } => true,
        Reason::NotStarted
        | Reason::Asked { .. }
        | Reason::NoProcesses
        | Reason::Finished { .. }
        | Reason::Turn
        | Reason::Demand
        | Reason::Held
        | Reason::Hook { .. }
        | Reason::Order { .. }
        | Reason::Spawning
        | Reason::Warmup
        | Reason::Retry { .. }
        | Reason::Backoff { .. }
        | Reason::Reloading
        | Reason::Ending { .. }
        | Reason::Running => false,
    };
    match &watcher.trouble {
        Some(trouble) => Stage::Down { failed: true, detail: trouble.clone() },
        None => Stage::Down { failed, detail: reason.to_string() },
    }
}

fn leaving(watcher: &Watcher, now: Now) -> Stage {
    if watcher.returns() {
        return Stage::Coming { detail: "stops before it starts again".to_owned() };
    }
    let detail = match watcher.order.stays_for {
        Some(_) => why(watcher, now),
        None => "is being stopped".to_owned(),
    };
    Stage::Down { failed: false, detail }
}

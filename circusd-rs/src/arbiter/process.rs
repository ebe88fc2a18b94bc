//! One process of a watcher, and what is known about it.
//!
//! ```text
//! Spawning ──Spawned──► Running ──stop──► Stopping ──Exited──► removed
//!     │                    │                  │
//! SpawnFailed           Exited,            Exited,
//!     ▼                lingering          lingering
//!  removed                 ▼                  ▼
//!                       Draining ───────── Draining ──Gone──► removed
//! ```
//!
//! There is no dead variant: reaped means removed, in the same step. It refuses to know its watcher;
//! [`super::watcher`] decides everything.

use circus_protocol::number::{Pid, Signal, Wid};

use crate::arbiter::id::Key;
use crate::arbiter::time::Moment;

/// A process from the wish to start it until the last of its group is gone.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) key: Key,
    pub(super) wid: Wid,
    /// Unix time of the wish to start it, which circus reports as `started`.
    pub(super) started: f64,
    /// The same moment on the clock that decides.
    pub(super) since: Moment,
    pub(super) state: State,
}

/// See the diagram of the module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// Asked for, not there yet: it has no pid and cannot be signalled.
    Spawning,
    /// It lives and shall live.
    Running {
        pid: Pid,
        /// When `max_age` ends it.
        expires: Option<Moment>,
    },
    /// It lives and was asked to end.
    Stopping {
        pid: Pid,
        why: Why,
        /// What it was asked with; its children get the same if they outlive it.
        signal: Signal,
        /// When SIGKILL follows; `None` once it did.
        kill_at: Option<Moment>,
    },
    /// It is dead, others of its group are not.
    Draining { why: Why, kill_at: Option<Moment> },
}

/// Why a process ends, which decides whether its death is published and whether it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// By itself, or by a signal that somebody sent: published at once, replaced.
    Crashed,
    /// `kill`, or `max_age`: not published, replaced when gone.
    Replaced,
    /// Sequential reload: published at once, replaced when gone.
    Sequential,
    /// One too many: not published, not replaced.
    Surplus,
    /// The watcher stops: published when all are gone.
    Watcher,
    /// A hook did not want it: neither its birth nor its death is published, not replaced.
    Vetoed,
}

impl Why {
    /// The watcher stops, and this one goes with it.
    fn join_the_watcher(&mut self) {
        match self {
            Self::Crashed | Self::Replaced | Self::Sequential | Self::Surplus | Self::Watcher => {
                *self = Self::Watcher;
            }
            Self::Vetoed => {}
        }
    }
}

impl Process {
    /// The pid while the process lives.
    pub(super) fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Spawning | State::Draining { .. } => None,
            State::Running { pid, .. } | State::Stopping { pid, .. } => Some(pid),
        }
    }

    /// Whether it fills a place: it lives and shall live, or must be gone before its successor comes.
    pub(super) fn counts(&self) -> bool {
        match self.state {
            State::Spawning | State::Running { .. } => true,
            State::Stopping { why, .. } | State::Draining { why, .. } => match why {
                Why::Crashed | Why::Replaced | Why::Sequential => true,
                Why::Surplus | Why::Watcher | Why::Vetoed => false,
            },
        }
    }

    /// Whether it is on its way out, dead or not.
    pub(super) fn leaving(&self) -> bool {
        match self.state {
            State::Spawning | State::Running { .. } => false,
            State::Stopping { .. } | State::Draining { .. } => true,
        }
    }

    /// Whether it ends because a hook did not want it.
    pub(super) fn vetoed(&self) -> bool {
        match self.state {
            State::Spawning | State::Running { .. } => false,
            State::Stopping { why, .. } | State::Draining { why, .. } => why == Why::Vetoed,
        }
    }

    pub(super) fn running(&self) -> bool {
        match self.state {
            State::Running { .. } => true,
            State::Spawning | State::Stopping { .. } | State::Draining { .. } => false,
        }
    }

    pub(super) fn spawning(&self) -> bool {
        self.state == State::Spawning
    }

    /// The watcher stops, and those on their way out go with it, by `limit` at the latest. True when it
    /// is to be asked again, by this signal.
    pub(super) fn join_the_watcher(&mut self, by: Signal, limit: Moment) -> bool {
        match &mut self.state {
            State::Spawning | State::Running { .. } => false,
            State::Draining { why, kill_at } => {
                why.join_the_watcher();
                *kill_at = kill_at.map(|at| at.min(limit));
                false
            }
            State::Stopping { why, signal, kill_at, .. } => {
                why.join_the_watcher();
                *kill_at = kill_at.map(|at| at.min(limit));
                let again = *signal != by && kill_at.is_some();
                if again {
                    *signal = by;
                }
                again
            }
        }
    }

    /// It is one too many: nobody will follow it.
    pub(super) fn is_surplus(&mut self) {
        match &mut self.state {
            State::Spawning | State::Running { .. } => {}
            State::Stopping { why, .. } | State::Draining { why, .. } => *why = Why::Surplus,
        }
    }

    /// SIGKILL was sent: nothing else will be.
    pub(super) fn is_killed(&mut self) {
        match &mut self.state {
            State::Spawning | State::Running { .. } => {}
            State::Stopping { kill_at, .. } | State::Draining { kill_at, .. } => *kill_at = None,
        }
    }

    /// The next moment at which something is due.
    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.state {
            State::Spawning => None,
            State::Running { expires, .. } => expires,
            State::Stopping { kill_at, .. } | State::Draining { kill_at, .. } => kill_at,
        }
    }
}

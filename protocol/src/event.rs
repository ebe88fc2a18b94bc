//! Events: what the daemon publishes when something happened to a watcher.

use crate::number::Pid;

/// One event on the pubsub endpoint; two frames, topic `watcher.<name>.<action>` and a JSON object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event spelling of the watcher's name ([`crate::name::WatcherName::topic`]).
    pub watcher: String,
    /// Unix time in seconds; for `spawn` the moment before the fork.
    pub time: f64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// Forked, exec succeeded.
    Spawn {
        /// The new process.
        pid: Pid,
    },
    /// The watcher became active.
    Start,
    /// A stop signal or the final SIGKILL was sent.
    Kill {
        /// To whom.
        pid: Pid,
    },
    /// A death was noticed.
    Reap {
        /// Whose.
        pid: Pid,
        /// Exit status, or minus the signal number.
        exit_code: Option<i32>,
    },
    /// The watcher stopped, or failed to start.
    Stop,
    /// A graceful reload ended.
    Reload,
    /// `set` applied one option.
    Updated,
    /// `add` created the watcher.
    Add,
    /// `rm` removed it.
    Remove,
    /// A hook returned.
    HookSuccess {
        /// Which hook.
        name: String,
    },
    /// A hook raised.
    HookFailure {
        /// Which hook.
        name: String,
        /// What it said.
        error: String,
    },
}

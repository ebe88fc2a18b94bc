//! Why a watcher is as it is, as data: what state, since when, for what reason, and when that ends by
//! itself. `status` tells the part that circus has no word for, `waiting` events announce it, and
//! whoever tells a watcher's story begins here.
//!
//! It decides nothing; [`super::watcher`] fills it in from what it knows anyway.

use std::fmt;
use std::time::Duration;

/// How a conflict is told, between the two names.
pub(super) const CONFLICT: &str = " is in conflict with ";

/// How a watcher stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// As circus prints it.
    pub(super) state: &'static str,
    /// Unix time of the last change of `state`; `None` before the first.
    pub(super) since: Option<f64>,
    pub(super) reason: Reason,
    /// Unix time at which the reason ends by itself; `None` where only somebody else can end it.
    pub(super) until: Option<f64>,
}

/// Why a watcher is in its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    // ---- stopped, and stays so until a command comes ----
    /// Nobody wanted it up so far.
    NotStarted,
    /// This command wanted it down.
    Asked { by: String },
    /// `numprocesses` is 0.
    NoProcesses,
    /// Its program could not be started.
    Unstartable { error: String, tries: u32 },
    /// Its command makes no sense.
    Broken { error: String },
    /// This hook did not want it up.
    Refused { hook: String },
    /// All processes ended, and that is not followed by a start.
    Finished { exit_code: Option<i32> },
    /// In so many places processes were started too often; a command fills them again.
    StartLimit { places: usize, starts: u32, window: Duration, exit_code: Option<i32> },

    // ---- something has to happen first ----
    /// Others go first.
    Turn,
    /// Somebody has to knock at its socket.
    Demand,
    /// A job of the daemon (`reset`, `configure`, a change of sockets) has to end.
    Held,
    /// This hook has to return.
    Hook { name: &'static str },
    /// Its place among others: who must be ready, or stop, first.
    Order { text: String },
    /// The next process is being started.
    Spawning,
    /// `warmup_delay`.
    Warmup,
    /// The program could not be started, and is tried again.
    Retry { error: String, tries: u32 },
    /// In so many places processes died young, and their successors wait.
    Backoff { places: usize, failures: u32, exit_code: Option<i32> },
    /// Its processes are being replaced, or will be in its turn.
    Reloading,
    /// So many processes have to end.
    Ending { processes: usize },

    /// It runs.
    Running,
}

impl Reason {
    /// For programs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::NotStarted => "not-started",
            Self::Asked { .. } => "asked",
            Self::NoProcesses => "no-processes",
            Self::Unstartable { .. } => "unstartable",
            Self::Broken { error } if error.contains(CONFLICT) => "conflict",
            Self::Broken { .. } => "broken",
            Self::Refused { .. } => "refused",
            Self::Finished { .. } => "finished",
            Self::StartLimit { .. } => "start-limit",
            Self::Turn => "turn",
            Self::Demand => "demand",
            Self::Held => "held",
            Self::Hook { .. } => "hook",
            Self::Order { .. } => "order",
            Self::Spawning => "spawning",
            Self::Warmup => "warmup",
            Self::Retry { .. } => "retry",
            Self::Backoff { .. } => "backoff",
            Self::Reloading => "reloading",
            Self::Ending { .. } => "ending",
            Self::Running => "running",
        }
    }

    /// What it waits for, where circus has no state for that.
    pub(super) fn waiting_for(&self) -> Option<&'static str> {
        match self {
            Self::Backoff { .. } => Some("backoff"),
            Self::Retry { .. } => Some("retry"),
            Self::StartLimit { .. } => Some("start"),
            Self::Order { .. } => Some("order"),
            Self::NotStarted
            | Self::Asked { .. }
            | Self::NoProcesses
            | Self::Unstartable { .. }
            | Self::Broken { .. }
            | Self::Refused { .. }
            | Self::Finished { .. }
            | Self::Turn
            | Self::Demand
            | Self::Held
            | Self::Hook { .. }
            | Self::Spawning
            | Self::Warmup
            | Self::Reloading
            | Self::Ending { .. }
            | Self::Running => None,
        }
    }
}

/// One line for a person.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => f.write_str("it was not started yet"),
            Self::Asked { by } => write!(f, "{by} wanted it down"),
            Self::NoProcesses => f.write_str("numprocesses is 0"),
            Self::Unstartable { error, tries } => {
                write!(f, "it could not be started in {}: {error}", times(*tries, "try", "tries"))
            }
            Self::Broken { error } => write!(f, "it cannot be started: {error}"),
            Self::Refused { hook } => write!(f, "the hook {hook} did not want it up"),
            Self::Finished { exit_code } => write!(f, "its processes are done, {}", end(*exit_code)),
            Self::StartLimit { places, starts, window, exit_code } => {
                let (starts, seconds) = (times(*starts, "time", "times"), window.as_secs_f64());
                write!(f, "{} started {starts} within {seconds} s, which is the start limit; ", of(*places))?;
                write!(f, "the last one {}; only a command starts it again", end(*exit_code))
            }
            Self::Turn => f.write_str("others go first"),
            Self::Demand => f.write_str("nobody knocked at its socket yet"),
            Self::Held => f.write_str("a job of the daemon has to end first"),
            Self::Hook { name } => write!(f, "the hook {name} has not returned yet"),
            Self::Order { text } => f.write_str(text),
            Self::Spawning => f.write_str("a process is being started"),
            Self::Warmup => f.write_str("warmup_delay has to pass"),
            Self::Retry { error, tries } => {
                write!(f, "{} to start it failed, the next one comes: {error}", times(*tries, "try", "tries"))
            }
            Self::Backoff { places, failures, exit_code } => {
                let failures = times(*failures, "time", "times");
                write!(f, "{} died young {failures} in a row, the last one {}", of(*places), end(*exit_code))
            }
            Self::Reloading => f.write_str("its processes are being replaced"),
            Self::Ending { processes } => {
                write!(f, "{} to end", times(*processes, "process has", "processes have"))
            }
            Self::Running => f.write_str("it runs"),
        }
    }
}

fn times<N: PartialEq + From<u8> + fmt::Display>(count: N, one: &str, more: &str) -> String {
    let word = if count == N::from(1) { one } else { more };
    format!("{count} {word}")
}

fn of(places: usize) -> String {
    if places > 1 { format!("{places} of its processes") } else { "its process".to_owned() }
}

/// How a process ended, as the end of a sentence.
fn end(exit_code: Option<i32>) -> String {
    use circus_protocol::number::Signal;
    match exit_code {
        None => "ended, nobody knows how".to_owned(),
        Some(code) if code < 0 => match Signal(-code).name() {
            Some(name) => format!("ended by SIG{name}"),
            None => format!("ended by signal {}", -code),
        },
        Some(code) => format!("ended with status {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_sentences() {
        let limit =
            Reason::StartLimit { places: 1, starts: 3, window: Duration::from_secs(60), exit_code: Some(-9) };
        assert_eq!(
            limit.to_string(),
            "its process started 3 times within 60 s, which is the start limit; the last one ended by \
             SIGKILL; only a command starts it again"
        );
        let backoff = Reason::Backoff { places: 2, failures: 1, exit_code: Some(7) };
        assert_eq!(
            backoff.to_string(),
            "2 of its processes died young 1 time in a row, the last one ended with status 7"
        );
        assert_eq!(Reason::Ending { processes: 1 }.to_string(), "1 process has to end");
        let error = "no room".to_owned();
        assert_eq!(
            Reason::Retry { error, tries: 1 }.to_string(),
            "1 try to start it failed, the next one comes: no room"
        );
    }
}

//! One process of ours: what it may still be called by, and how far a signal to it reaches.
//!
//! ```text
//!  Starting ──exec──► Running ──reaped──► Lingering ──group empty──► (forgotten)
//!     └──exec failed──► (forgotten)  └──reaped, group empty──► (forgotten)
//! ```
//!
//! The process leads its group and session. Its number is used for signals only in `Running`, when
//! it cannot have been reused because we have not reaped it. In `Lingering` only the group's number
//! is used, which the kernel does not give away while the group has members; should a process of that
//! number exist again, the group must have been empty in between, so it is no longer ours.
//!
//! It refuses to know who asked and who is told; the warden does. Both run on one thread, so nothing
//! can be reaped between a look and a signal.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::Refusal;

use crate::arbiter::effect::Reach;
use crate::host::spawn::plan::{Plan, words};
use crate::host::spawn::raw;
use crate::host::tree::{self, Entry, Snapshot};

/// First pause between two looks at a lingering group, and the longest.
const LINGER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// How often a kill looks again for processes that were forked while it was killing.
const ROUNDS: usize = 4;

/// Where a process of ours stands.
#[derive(Debug)]
pub(crate) enum State {
    /// Forked, not yet executed; signals wait.
    Starting { plan: Box<Plan>, waiting: Vec<(Signal, Reach)> },
    /// It runs, or has ended and was not yet reaped.
    Running,
    /// Reaped; others of its group live. The next look is in `pause`.
    Lingering { pause: Duration, only_dead: bool },
}

/// A process of ours.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) state: State,
}

impl Child {
    pub(crate) fn starting(pid: Pid, plan: Plan) -> Self {
        Self { pid, state: State::Starting { plan: Box::new(plan), waiting: Vec::new() } }
    }

    /// Whether the group still has a member once the leader was reaped.
    pub(crate) fn group_exists(&self) -> bool {
        let group = self.pid.get();
        is_there(-group) && !is_there(group)
    }

    /// Whether a lingering group is to be waited for. Members that have ended and whom only their
    /// parent's neglect keeps in the table do not count, nobody can end them again; but a picture can
    /// miss a process that forks while it is taken, so that needs two looks in a row.
    pub(crate) fn group_lives(&mut self, picture: &mut Picture) -> bool {
        if !self.group_exists() {
            return false;
        }
        let alive = picture.get().map_or(true, |all| all.group_lives(self.pid.get()));
        match &mut self.state {
            State::Lingering { only_dead, .. } => alive || !std::mem::replace(only_dead, true),
            State::Starting { .. } | State::Running => true,
        }
    }

    /// From now on only the group is watched.
    pub(crate) fn linger(&mut self) {
        self.state = State::Lingering { pause: LINGER.0, only_dead: false };
    }

    /// The pause before the next look at the group, growing.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        let State::Lingering { pause, .. } = &mut self.state else { return None };
        let now = *pause;
        *pause = (now * 2).min(LINGER.1);
        Some(now)
    }

    /// Signal as far as asked. Who is already gone is no error; what the kernel refuses is.
    pub(crate) fn signal(
        &mut self,
        signal: Signal,
        reach: Reach,
        picture: &mut Picture,
    ) -> Result<(), Refusal> {
        match &mut self.state {
            State::Starting { waiting, .. } => {
                waiting.push((signal, reach));
                Ok(())
            }
            State::Running => self.signal_running(signal, reach, picture),
            State::Lingering { .. } => match reach {
                Reach::Tree if self.group_exists() => self.signal_tree(signal, picture),
                Reach::Child(pid) => Err(stranger(pid)),
                Reach::Tree | Reach::Process | Reach::WithChildren | Reach::Children => Ok(()),
            },
        }
    }

    fn signal_running(&self, signal: Signal, reach: Reach, picture: &mut Picture) -> Result<(), Refusal> {
        let pid = self.pid.get();
        match reach {
            Reach::Process => send(pid, signal),
            Reach::WithChildren => {
                let children = children(pid, picture)?;
                send(pid, signal)?;
                send_each(&children, signal)
            }
            Reach::Children => send_each(&children(pid, picture)?, signal),
            Reach::Tree => self.signal_tree(signal, picture),
            Reach::Child(child) => {
                // Asked for by name, so look now and not at a picture from before.
                let found = children(pid, &mut Picture::default())?;
                match found.iter().find(|entry| entry.pid == child.get()) {
                    Some(entry) => send_each(&[*entry], signal),
                    None => Err(stranger(child)),
                }
            }
        }
    }

    /// The descendants are looked up before anybody is signalled, because afterwards nobody can tell
    /// whose they were. After a kill, [`Picture::settle`] looks again.
    fn signal_tree(&self, signal: Signal, picture: &mut Picture) -> Result<(), Refusal> {
        let group = self.pid.get();
        let found = picture.get()?.descendants(group);
        send(-group, signal)?;
        send_each(found.iter().filter(|entry| entry.group != group), signal)?;
        if signal == Signal::KILL {
            picture.done.extend(found.iter().map(|entry| (entry.pid, entry.start)));
            picture.killed.push(group);
        }
        Ok(())
    }
}

/// All processes as they were at most one batch of orders ago, taken when first needed; and whose
/// trees were killed in this batch.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    all: Option<Snapshot>,
    killed: Vec<i32>,
    done: HashSet<(i32, u64)>,
}

impl Picture {
    /// Forget what was seen: there are new processes.
    pub(crate) fn outdate(&mut self) {
        self.all = None;
    }

    /// At the end of a batch, before anything is reaped: kill those that were forked while their
    /// trees were killed. One look serves all trees; each alone would cost a look of its own.
    pub(crate) fn settle(mut self) {
        for _ in 0..ROUNDS {
            if self.killed.is_empty() {
                return;
            }
            let Ok(all) = Snapshot::take() else { return };
            let mut found: Vec<Entry> =
                self.killed.iter().flat_map(|group| all.descendants(*group)).collect();
            found.retain(|entry| self.done.insert((entry.pid, entry.start)));
            if found.is_empty() {
                return;
            }
            if let Err(refusal) = send_each(&found, Signal::KILL) {
                tracing::warn!(%refusal, "kill refused");
            }
        }
    }

    fn get(&mut self) -> Result<&Snapshot, Refusal> {
        match self.all {
            Some(ref snapshot) => Ok(snapshot),
            None => {
                let snapshot = Snapshot::take().map_err(|error| refusal(&error))?;
                Ok(self.all.insert(snapshot))
            }
        }
    }
}

fn stranger(pid: Pid) -> Refusal {
    Refusal::Raised(format!("process no longer exists (pid={pid})"))
}

fn children(pid: i32, picture: &mut Picture) -> Result<Vec<Entry>, Refusal> {
    Ok(picture.get()?.children(pid).copied().collect())
}

/// The process itself may be gone and its number another's: that one is left alone.
fn send_each<'a>(entries: impl IntoIterator<Item = &'a Entry>, signal: Signal) -> Result<(), Refusal> {
    entries.into_iter().filter(|entry| tree::is_still(entry)).try_for_each(|entry| send(entry.pid, signal))
}

fn send(target: i32, signal: Signal) -> Result<(), Refusal> {
    match raw::kill(target, signal.0) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        Err(error) => return Err(refusal(&error)),
    }
    if signal == Signal::KILL {
        // A stopped process dies all the same, but some kernels want it woken; nobody is harmed.
        let _gone = raw::kill(target, Signal::CONT.0);
    }
    Ok(())
}

fn is_there(target: i32) -> bool {
    match raw::kill(target, 0) {
        Ok(()) => true,
        Err(error) => error.raw_os_error() == Some(libc::EPERM),
    }
}

/// The kernel's refusal in circus' words.
pub(crate) fn refusal(error: &io::Error) -> Refusal {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let text = words(errno).split_once("] ").map_or_else(|| error.to_string(), |(_, text)| text.to_owned());
    Refusal::Os { errno, text }
}

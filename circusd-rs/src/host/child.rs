//! One process of ours: what it may still be called by, and how far a signal to it reaches.
//!
//! ```text
//!  Starting ──exec──► Running ──reaped──► Lingering ──nobody left──► (forgotten)
//!     └──exec failed──► (forgotten)  └──reaped, nobody left──► (forgotten)
//! ```
//!
//! The process leads its own group and session. Its number is used for signals only in `Running`, when
//! it cannot have been reused because we have not reaped it. In `Lingering` its *tree* is what the
//! orphans say that came to us ([`Kin`]), with all who descend from them, and who is in its cgroup.
//! Members of a tree that are not our children may be reaped by somebody else at any time, so each is
//! held by a descriptor, compared with what was seen of it, and signalled through that.
//!
//! It refuses to know who asked and who is told; the warden does. Both run on one thread, so nothing
//! can be reaped between a look and a signal.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::Refusal;

use crate::arbiter::effect::Reach;
use crate::host::cgroup::Cgroup;
use crate::host::oom::Count;
use crate::host::spawn::plan::{Plan, words};
use crate::host::spawn::raw;
use crate::host::tree::{self, Entry, Snapshot};

/// First pause between two looks at who was left behind, and the longest.
const LINGER: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The longest such pause once they were killed: who still forks must not gain on us.
const KILLED: Duration = Duration::from_millis(40);

/// How often a kill looks again for processes that were forked while it was killing.
const ROUNDS: usize = 4;

/// Where a process of ours stands.
#[derive(Debug)]
pub(crate) enum State {
    /// Forked, not yet executed; signals wait.
    Starting { plan: Box<Plan>, waiting: Vec<(Signal, Reach)> },
    /// It runs, or has ended and was not yet reaped.
    Running,
    /// Reaped; others of its tree live. The next look is in `pause`.
    Lingering { pause: Duration, only_dead: bool },
}

/// Who has lost the parent through whom a tree could be followed.
#[derive(Debug)]
pub(crate) enum Kin {
    /// These orphans came to us; they are not reaped.
    Adopted(Vec<i32>),
    /// Orphans go elsewhere: only the group is left to go by.
    Elsewhere,
}

/// A process of ours.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: Pid,
    pub(crate) state: State,
    /// Where its tree lives, if there may be such a place.
    pub(crate) cgroup: Option<Cgroup>,
    /// Its whole tree was killed: whoever is found of it is killed again.
    pub(crate) killed: bool,
    /// How often memory had run out when it was started.
    pub(crate) ooms: Count,
    /// What the kernel took for its memory before it executed its program: ours, at most so many bytes.
    pub(crate) floor: u64,
    /// Somebody looks at its figures now and then.
    pub(crate) is_looked_at: bool,
    /// Its children that were sent a signal together with it.
    told: HashSet<(Signal, i32, u64)>,
}

impl Child {
    pub(crate) fn starting(pid: Pid, plan: Plan, cgroup: Option<Cgroup>) -> Self {
        let state = State::Starting { plan: Box::new(plan), waiting: Vec::new() };
        Self {
            pid,
            state,
            cgroup,
            killed: false,
            ooms: Count::default(),
            floor: 0,
            is_looked_at: false,
            told: HashSet::new(),
        }
    }

    /// Whether the group still has a member once the leader was reaped. Should a process of that
    /// number exist again, the group must have been empty in between.
    pub(crate) fn group_exists(&self) -> bool {
        let group = self.pid.get();
        is_there(-group) && !is_there(group)
    }

    /// As [`Self::group_exists`], for a lingering group that is to be waited for. Members that have
    /// ended and whom only their parent's neglect keeps in the table do not count, nobody can end them
    /// again; but a picture can miss a process that forks while it is taken, so that needs two looks in
    /// a row.
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

    /// Whether its cgroup has members that have not ended.
    pub(crate) fn is_populated(&self) -> bool {
        self.cgroup.as_ref().is_some_and(Cgroup::is_populated)
    }

    /// From now on only who was left behind is watched.
    pub(crate) fn linger(&mut self) {
        self.state = State::Lingering { pause: LINGER.0, only_dead: false };
    }

    /// The pause before the next look at who was left behind, growing.
    pub(crate) fn next_pause(&mut self) -> Option<Duration> {
        let longest = if self.killed { KILLED } else { LINGER.1 };
        let State::Lingering { pause, .. } = &mut self.state else { return None };
        let now = (*pause).min(longest);
        *pause = now * 2;
        Some(now)
    }

    /// Signal as far as asked. Who is already gone is no error; what the kernel refuses is.
    pub(crate) fn signal(
        &mut self,
        signal: Signal,
        reach: Reach,
        kin: &Kin,
        picture: &mut Picture,
    ) -> Result<(), Refusal> {
        match &mut self.state {
            State::Starting { waiting, .. } => {
                waiting.push((signal, reach));
                Ok(())
            }
            State::Running => self.signal_running(signal, reach, kin, picture),
            State::Lingering { .. } => match reach {
                Reach::Tree => self.signal_left(signal, kin, picture),
                Reach::Child(pid) => Err(stranger(pid)),
                Reach::Process | Reach::WithChildren | Reach::Children => Ok(()),
            },
        }
    }

    fn signal_running(
        &mut self,
        signal: Signal,
        reach: Reach,
        kin: &Kin,
        picture: &mut Picture,
    ) -> Result<(), Refusal> {
        let pid = self.pid.get();
        match reach {
            Reach::Process => send(pid, signal),
            Reach::WithChildren => {
                let children = children(pid, picture)?;
                self.told.extend(children.iter().map(|entry| (signal, entry.pid, entry.start)));
                send(pid, signal)?;
                send_each(&children, signal)
            }
            Reach::Children => send_each(&children(pid, picture)?, signal),
            Reach::Tree => self.signal_tree(signal, kin, picture),
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
    fn signal_tree(&mut self, signal: Signal, kin: &Kin, picture: &mut Picture) -> Result<(), Refusal> {
        let group = self.pid.get();
        if self.kill_cgroup(signal) {
            send(-group, signal)?;
            return send_each(&kin.entries(), signal);
        }
        let mut found = picture.get()?.descendants(Some(group), kin.numbers());
        self.add_members(&mut found);
        send(-group, signal)?;
        send_each(found.iter().filter(|entry| entry.group != group), signal)?;
        self.note_kill(signal, Some(group), kin, &found, picture);
        Ok(())
    }

    /// As [`Self::signal_tree`], when the leader was reaped. Who was told together with it is not told
    /// again.
    fn signal_left(&mut self, signal: Signal, kin: &Kin, picture: &mut Picture) -> Result<(), Refusal> {
        if self.kill_cgroup(signal) {
            return send_each(&kin.entries(), signal);
        }
        let group = self.pid.get();
        let leader = match kin {
            Kin::Adopted(_) => None,
            Kin::Elsewhere if self.group_exists() => Some(group),
            Kin::Elsewhere => return Ok(()),
        };
        let mut found = picture.get()?.descendants(leader, kin.numbers());
        self.add_members(&mut found);
        // While an orphan that nobody has reaped is in the group, its number is not another's.
        let still = kin.entries().iter().any(|entry| entry.group == group);
        if signal == Signal::KILL && (still || leader.is_some()) {
            send(-group, signal)?;
        }
        found.retain(|entry| !self.told.contains(&(signal, entry.pid, entry.start)));
        send_each(&found, signal)?;
        self.note_kill(signal, leader, kin, &found, picture);
        Ok(())
    }

    /// Whether the kernel has ended everybody in the cgroup.
    fn kill_cgroup(&mut self, signal: Signal) -> bool {
        let Some(cgroup) = self.cgroup.as_ref().filter(|_| signal == Signal::KILL) else { return false };
        self.killed = true;
        cgroup.kill().is_ok()
    }

    /// Those whom only the cgroup knows.
    fn add_members(&self, found: &mut Vec<Entry>) {
        let Some(cgroup) = &self.cgroup else { return };
        let known: HashSet<i32> = found.iter().map(|entry| entry.pid).chain([self.pid.get()]).collect();
        let more = cgroup.members().into_iter().filter(|pid| !known.contains(pid));
        found.extend(more.filter_map(Entry::read));
    }

    fn note_kill(
        &mut self,
        signal: Signal,
        leader: Option<i32>,
        kin: &Kin,
        found: &[Entry],
        picture: &mut Picture,
    ) {
        if signal == Signal::KILL {
            self.killed = true;
            picture.done.extend(found.iter().map(|entry| (entry.pid, entry.start)));
            picture.killed.push((leader, kin.numbers().to_vec()));
        }
    }
}

impl Kin {
    fn numbers(&self) -> &[i32] {
        match self {
            Self::Adopted(orphans) => orphans,
            Self::Elsewhere => &[],
        }
    }

    fn entries(&self) -> Vec<Entry> {
        self.numbers().iter().filter_map(|pid| Entry::read(*pid)).collect()
    }
}

/// All processes as they were at most one batch of orders ago, taken when first needed; and whose
/// trees were killed in this batch.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    all: Option<Snapshot>,
    killed: Vec<(Option<i32>, Vec<i32>)>,
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
            let trees = self.killed.iter();
            let mut found: Vec<Entry> =
                trees.flat_map(|(leader, others)| all.descendants(*leader, others)).collect();
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

fn send_each<'a>(entries: impl IntoIterator<Item = &'a Entry>, signal: Signal) -> Result<(), Refusal> {
    let mut result = Ok(());
    for entry in entries {
        // One that refuses must not save the others.
        result = result.and(send_member(entry, signal));
    }
    result
}

/// The process itself may be gone and its number another's: that one is left alone. The descriptor
/// means one process for ever; if it is still the one that was seen, it is the one that is signalled.
fn send_member(entry: &Entry, signal: Signal) -> Result<(), Refusal> {
    let held = raw::pidfd_open(entry.pid);
    if !tree::is_still(entry) {
        return Ok(());
    }
    match held {
        Ok(pidfd) => send_by(|signal| raw::pidfd_send_signal(&pidfd, signal), signal),
        // An old kernel, or no descriptor left.
        Err(_) => send(entry.pid, signal),
    }
}

fn send(target: i32, signal: Signal) -> Result<(), Refusal> {
    send_by(|signal| raw::kill(target, signal), signal)
}

fn send_by(send: impl Fn(i32) -> io::Result<()>, signal: Signal) -> Result<(), Refusal> {
    match send(signal.0) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        Err(error) => return Err(refusal(&error)),
    }
    if signal == Signal::KILL {
        // A stopped process dies all the same, but some kernels want it woken; nobody is harmed.
        let _gone = send(Signal::CONT.0);
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

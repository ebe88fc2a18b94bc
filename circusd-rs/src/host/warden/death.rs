//! How the warden's processes end: exits are collected, who outlives a leader is watched.
//!
//! ```text
//!  Notice::Ended, SIGCHLD ─► sweep ─► reap ─► bury ─► Exited ──others live──► look, look, … ─► Gone
//! ```
//!
//! Whether a dead process has left anybody behind is asked once for all that died in a sweep, after
//! they were reaped: by then the kernel has given us their children. The last of a tree is always an
//! orphan that we reap, so every sweep that reaped one looks who is left; the looks in between are
//! for those that no orphan leads to (cgroups), and for killing again whoever forked meanwhile.
//!
//! Covered without cgroups: who shares the group or the session, who descends from somebody alive, and
//! every orphan that bears its [`mark`](crate::host::mark). Where orphans do not come to us at all,
//! only the group.
//!
//! It refuses to know why a process ended.

use tokio::time::Instant;

use super::Warden;
use crate::arbiter::effect::Reach;
use crate::arbiter::id::Key;
use crate::arbiter::input::{Input, OomKills};
use crate::host::cgroup::Cgroup;
use crate::host::child::{Child, Kin, Picture, State};
use crate::host::clock;
use crate::host::oom::Count;
use crate::host::spawn::raw;
use circus_protocol::number::Signal;

/// How often in a row to look for new orphans of a tree that was killed and has no cgroup: each may
/// have left a child of its own just before it ended.
const CHASE: usize = 64;

/// How the kernel ends who takes too much memory.
const KILLED: Option<i32> = Some(-Signal::KILL.0);

impl Warden {
    /// Its number may be another's from now on.
    fn look_no_more(&mut self, key: Key) {
        if let Some(child) = self.children.get_mut(&key).filter(|child| child.is_looked_at) {
            child.is_looked_at = false;
            self.history.died(key);
        }
    }

    pub(super) fn forget(&mut self, key: Key, pid: i32) {
        self.look_no_more(key);
        let gone = self.children.remove(&key);
        gone.and_then(|child| child.cgroup).iter().for_each(Cgroup::remove);
        self.looks.remove(&key);
        if self.keys.get(&pid) == Some(&key) {
            self.keys.remove(&pid);
        }
    }

    /// Collect the exit of a process of ours, if it has ended.
    pub(super) fn reap(&mut self, key: Key) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let State::Running = child.state else { return };
        let (exit_code, usage) = match raw::reap(child.pid.get(), child.floor) {
            Ok(None) => return,
            Ok(Some((code, usage))) => (Some(code), Some(usage)),
            // Somebody else reaped it; the number is free, so never signal it again.
            Err(error) => {
                tracing::error!(pid = child.pid.get(), %error, "an exit was collected by somebody else");
                (None, None)
            }
        };
        child.linger();
        let pid = child.pid.get();
        self.keys.remove(&pid);
        // Before anybody hears of the death: who then asks for its last words finds them.
        self.outputs.died(key);
        self.look_no_more(key);
        self.dead.push((key, exit_code, usage));
    }

    /// Tell of those that were reaped, now that it can be seen whom they have left behind.
    pub(super) fn bury(&mut self) {
        if self.dead.is_empty() {
            return;
        }
        self.look_for_orphans();
        let dead = std::mem::take(&mut self.dead);
        let killed = dead.iter().any(|(_, exit_code, _)| *exit_code == KILLED);
        let counted = killed.then(|| self.ooms.now());
        for (key, exit_code, usage) in dead {
            let oom = self.ooms_at(key, exit_code, counted);
            let lingering = self.left_anybody(key);
            if lingering {
                self.look_later(key);
            } else if let Some(pid) = self.children.get(&key).map(|child| child.pid.get()) {
                self.forget(key, pid);
            }
            self.tell(key, Input::Exited { key, exit_code, lingering, usage, oom });
        }
    }

    /// Only a kill can have been for want of memory.
    fn ooms_at(&self, key: Key, exit_code: Option<i32>, counted: Option<Count>) -> Option<OomKills> {
        let child = self.children.get(&key).filter(|_| exit_code == KILLED)?;
        let own = child.cgroup.as_ref().and_then(Cgroup::memory);
        let tree = own.as_ref().map(|group| group.kills);
        let group = own.or_else(|| self.ooms.group_since(child.ooms));
        Some(OomKills { tree, group, machine: child.ooms.machine_until(counted?) })
    }

    /// Among the orphans as they were at the last look.
    fn left_anybody(&self, key: Key) -> bool {
        let Some(child) = self.children.get(&key) else { return false };
        let found = if self.adopt { self.orphans.any_of(key) } else { child.group_exists() };
        found || child.is_populated()
    }

    fn look_for_orphans(&mut self) {
        if self.adopt {
            self.orphans.look(&self.keys, &self.children, self.cgroups.as_ref());
        }
    }

    /// Who can no longer be found through a parent.
    pub(super) fn kin(&mut self, key: Key) -> Kin {
        if !self.adopt {
            return Kin::Elsewhere;
        }
        self.look_for_orphans();
        Kin::Adopted(self.orphans.of(key))
    }

    fn look_later(&mut self, key: Key) {
        if let Some(pause) = self.children.get_mut(&key).and_then(Child::next_pause) {
            self.looks.insert(key, Instant::from(clock::monotonic()) + pause);
        }
    }

    /// Look at the lingering trees whose time has come. What was killed and still lives has forked
    /// meanwhile, and is killed again.
    pub(super) fn look_at_left(&mut self) {
        let now = Instant::from(clock::monotonic());
        let due: Vec<Key> =
            self.looks.iter().filter(|(_, when)| **when <= now).map(|(key, _)| *key).collect();
        self.look_for_orphans();
        let mut picture = Picture::default();
        for key in due {
            let Some(child) = self.children.get_mut(&key) else { continue };
            let group = !self.adopt && child.group_lives(&mut picture);
            let lives = group || self.adopt && self.orphans.any_of(key) || child.is_populated();
            let (killed, pid) = (child.killed, child.pid.get());
            if !lives {
                self.forget(key, pid);
                self.tell(key, Input::Gone { key });
                continue;
            }
            if killed {
                self.chase(key, &mut picture);
            }
            self.look_later(key);
        }
        picture.settle();
    }

    /// Kill a tree that was killed before, and whatever it leaves while that is done.
    fn chase(&mut self, key: Key, picture: &mut Picture) {
        self.signal(key, Signal::KILL, Reach::Tree, picture);
        for _ in 0..CHASE {
            let before = self.orphans.of(key);
            self.look_for_orphans();
            let after = self.orphans.of(key);
            if after.iter().all(|orphan| before.contains(orphan)) {
                return;
            }
            picture.outdate();
            self.signal(key, Signal::KILL, Reach::Tree, picture);
        }
    }

    /// Somebody was reaped; who was the last of a tree?
    fn look_who_is_gone(&mut self) {
        let lingering: Vec<Key> = self.looks.keys().copied().collect();
        if lingering.is_empty() {
            return;
        }
        self.look_for_orphans();
        for key in lingering {
            if self.left_anybody(key) {
                continue;
            }
            if let Some(pid) = self.children.get(&key).map(|child| child.pid.get()) {
                self.forget(key, pid);
                self.tell(key, Input::Gone { key });
            }
        }
    }

    /// A child has ended, ours or an orphan that came to us. Peek first: taking any exit would take
    /// those of processes that were forked elsewhere in the daemon, too.
    pub(super) fn sweep(&mut self) {
        let mut orphans = 0_usize;
        self.halted = false;
        while let Ok(Some(pid)) = raw::peek() {
            match self.keys.get(&pid).copied() {
                Some(key) => {
                    let starting = self
                        .children
                        .get(&key)
                        .is_some_and(|child| matches!(child.state, State::Starting { .. }));
                    if starting {
                        // Swept again when its start has been noticed.
                        self.halted = true;
                        break;
                    }
                    self.reap(key);
                }
                None if self.adopt => {
                    let _it_was_seen_dead = raw::reap(pid, 0);
                    self.orphans.forget(pid);
                    orphans += 1;
                }
                None => {
                    self.reap_each();
                    break;
                }
            }
        }
        self.bury();
        if orphans > 0 || !self.adopt {
            self.look_who_is_gone();
        }
    }

    /// Something that is not ours is in the way of peeking; ask for each of ours.
    fn reap_each(&mut self) {
        let keys: Vec<Key> = self.keys.values().copied().collect();
        for key in keys {
            self.reap(key);
        }
    }
}

//! The orphans that came to us, and whose they are.
//!
//! When a process ends, the kernel gives its children to the nearest subreaper above: the daemon's
//! main thread, which has no other children because the warden's thread forks. So the list of that
//! thread's children is the list of orphans, and an empty list says that no dead process of ours has
//! left anybody behind. A number in it means the same process until the warden reaps it, so each is
//! looked at once.
//!
//! Whose an orphan is, its [`mark`](super::mark) says, or else its cgroup, or else its group or
//! session. Who bears none of them (limits set anew on the way, a session of its own, no cgroup, and a
//! parent that ended) is nobody's: it is reaped, and never signalled.
//!
//! It refuses to know what becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::arbiter::id::Key;
use crate::host::cgroup::Cgroups;
use crate::host::child::Child;
use crate::host::mark::Marker;
use crate::host::tree::{Entry, Snapshot};

/// See the module.
#[derive(Debug)]
pub(crate) struct Orphans {
    me: u32,
    marker: Option<Marker>,
    /// Owners of those that were there at the last look.
    known: BTreeMap<i32, Option<Key>>,
}

impl Orphans {
    pub(crate) fn new(me: u32, marker: Option<Marker>) -> Self {
        Self { me, marker, known: BTreeMap::new() }
    }

    /// Look who is there now. `ours` are the unreaped processes that we forked; `all` also those that
    /// were reaped and have left somebody.
    pub(crate) fn look(
        &mut self,
        ours: &BTreeMap<i32, Key>,
        all: &BTreeMap<Key, Child>,
        cgroups: Option<&Cgroups>,
    ) {
        let there: BTreeSet<i32> = self.list().into_iter().filter(|pid| !ours.contains_key(pid)).collect();
        self.known.retain(|pid, _| there.contains(pid));
        for pid in there {
            if !self.known.contains_key(&pid) {
                let owner = self.owner(pid, all, cgroups);
                self.known.insert(pid, owner);
            }
        }
    }

    fn owner(&self, pid: i32, all: &BTreeMap<Key, Child>, cgroups: Option<&Cgroups>) -> Option<Key> {
        let by_mark = || self.marker.and_then(|marker| marker.read(pid));
        let by_cgroup = || cgroups.and_then(|cgroups| cgroups.owner(pid));
        let by_group = || {
            let entry = Entry::read(pid)?;
            let leads = |child: &Child| [entry.group, entry.session].contains(&child.pid.get());
            // The youngest, should a number have been used twice.
            all.iter().rfind(|(_, child)| leads(child)).map(|(key, _)| *key)
        };
        by_mark().or_else(by_cgroup).or_else(by_group)
    }

    /// The kernel can be built without lists of children; then everybody is asked for the parent.
    fn list(&self) -> Vec<i32> {
        match fs::read_to_string(format!("/proc/self/task/{}/children", self.me)) {
            Ok(text) => text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
            Err(_) => Snapshot::take()
                .map(|all| all.children(self.me.cast_signed()).map(|entry| entry.pid).collect())
                .unwrap_or_default(),
        }
    }

    /// It was reaped: its number may become another's.
    pub(crate) fn forget(&mut self, pid: i32) {
        self.known.remove(&pid);
    }

    /// Whether anybody is left of a process' tree.
    pub(crate) fn any_of(&self, key: Key) -> bool {
        self.known.values().any(|owner| *owner == Some(key))
    }

    /// Who is left of a process' tree, without their own descendants.
    pub(crate) fn of(&self, key: Key) -> Vec<i32> {
        self.known.iter().filter(|(_, owner)| **owner == Some(key)).map(|(pid, _)| *pid).collect()
    }
}

//! From what a client names to watchers, and wishes with their side effects on others.

use std::cmp::Reverse;

use circus_protocol::command::Selection;
use circus_protocol::reply::Refusal;

use crate::arbiter::id::WatcherId;
use crate::arbiter::operation::Goal;
use crate::arbiter::select::Pattern;
use crate::arbiter::watcher::{Wanted, Watcher};
use crate::arbiter::{Arbiter, Work};

/// Whom a selection means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Exactly one, by whatever pattern.
    One(WatcherId),
    /// Several by a pattern, or all there are.
    Several(Vec<WatcherId>),
}

impl Arbiter {
    /// The watcher of that name.
    pub(super) fn find(&self, name: &str) -> Result<WatcherId, Refusal> {
        let id = self.names.get(&name.to_lowercase()).copied();
        id.ok_or_else(|| Refusal::NotFound(name.to_owned()))
    }

    pub(super) fn get(&self, name: &str) -> Result<&Watcher, Refusal> {
        let id = self.find(name)?;
        self.watchers.get(&id).ok_or_else(|| Refusal::NotFound(name.to_owned()))
    }

    /// All that were not removed, in the daemon's order.
    pub(super) fn present(&self) -> impl Iterator<Item = &Watcher> {
        self.watchers.values().filter(|watcher| watcher.wanted != Wanted::Gone)
    }

    pub(super) fn choose(&self, selection: &Selection) -> Result<Chosen, Refusal> {
        let Some(name) = &selection.name else {
            return Ok(Chosen::Several(self.present().map(|watcher| watcher.id).collect()));
        };
        let pattern = Pattern::new(name, selection.matching)?;
        if let Pattern::Exact(_) = pattern {
            return self.find(name).map(Chosen::One);
        }
        let named = self.names.iter().filter(|(key, _)| pattern.matches(key));
        let mut ids: Vec<WatcherId> = named.map(|(_, id)| *id).collect();
        ids.sort_unstable();
        match ids.as_slice() {
            [] => Err(Refusal::NotFound(name.clone())),
            [id] => Ok(Chosen::One(*id)),
            [_, _, ..] => Ok(Chosen::Several(ids)),
        }
    }

    fn priority(&self, id: WatcherId) -> i64 {
        self.watchers.get(&id).map_or(0, |watcher| watcher.config.priority)
    }

    /// In the order of signals: lowest priority first.
    pub(super) fn ascending(&self, mut ids: Vec<WatcherId>) -> Vec<WatcherId> {
        ids.sort_by_key(|id| self.priority(*id));
        ids
    }

    /// In the order of starts: highest priority first.
    pub(super) fn descending(&self, mut ids: Vec<WatcherId>) -> Vec<WatcherId> {
        ids.sort_by_key(|id| Reverse(self.priority(*id)));
        ids
    }

    /// A wish to be down, and what it overtakes.
    pub(super) fn wish_down(&mut self, id: WatcherId, wanted: Wanted, by: &str, work: &mut Work) {
        self.operations.forget(id);
        self.with(id, work, |watcher, ctx| {
            watcher.wish_down(wanted, by);
            watcher.overtake(Goal::wants_up, by, ctx.done);
        });
    }

    /// A wish to be up, and what it overtakes.
    pub(super) fn wish(&mut self, id: WatcherId, by: &str, work: &mut Work, wish: impl FnOnce(&mut Watcher)) {
        self.operations.forget(id);
        self.with(id, work, |watcher, ctx| {
            watcher.overtake(Goal::wants_down, by, ctx.done);
            wish(watcher);
        });
    }
}

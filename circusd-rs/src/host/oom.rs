//! Whether a process may have been ended for want of memory: what the kernel has counted meanwhile.
//!
//! It refuses to judge: who tells the story of a death does.

use std::time::{Duration, Instant};

use crate::arbiter::input::MemoryGroup;
use crate::host::cgroup::{Counted, machine_oom_kills};
use crate::host::clock;

/// Processes that are started closer together share one look.
const FRESH: Duration = Duration::from_millis(100);

/// What had been counted when a process was started; `None` where nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count {
    machine: Option<u64>,
    group: Option<u64>,
}

impl Count {
    /// What the machine has counted since then.
    pub(crate) fn machine_until(self, now: Self) -> Option<u64> {
        now.machine.zip(self.machine).map(|(now, then)| now.saturating_sub(then))
    }
}

/// The counts of the machine and of the daemon's own group, not read more often than needed.
#[derive(Debug)]
pub(crate) struct Ooms {
    group: Option<Counted>,
    last: Option<(Instant, Count)>,
}

impl Ooms {
    pub(crate) fn new() -> Self {
        Self { group: Counted::own(), last: None }
    }

    /// The counts as they were a moment ago.
    pub(crate) fn lately(&mut self) -> Count {
        let now = clock::monotonic();
        match self.last {
            Some((when, count)) if now.saturating_duration_since(when) < FRESH => count,
            Some(_) | None => self.now(),
        }
    }

    /// The counts as they are.
    pub(crate) fn now(&mut self) -> Count {
        let group = self.group.as_ref().and_then(Counted::kills);
        let count = Count { machine: machine_oom_kills(), group };
        self.last = Some((clock::monotonic(), count));
        count
    }

    /// What the daemon's own group has counted since then, and its figures.
    pub(crate) fn group_since(&self, then: Count) -> Option<MemoryGroup> {
        self.group.as_ref()?.since(then.group?)
    }
}

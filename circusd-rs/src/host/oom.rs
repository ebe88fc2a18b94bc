//! Whether a process may have been ended for want of memory: what the kernel has counted meanwhile.
//!
//! It refuses to judge: who tells the story of a death does.

use std::time::{Duration, Instant};

use crate::host::cgroup::machine_oom_kills;
use crate::host::clock;

/// Processes that are started closer together share one look.
const FRESH: Duration = Duration::from_millis(100);

/// The machine's count, not read more often than needed.
#[derive(Debug, Default)]
pub(crate) struct Ooms {
    last: Option<(Instant, Option<u64>)>,
}

impl Ooms {
    /// The count as it was a moment ago.
    pub(crate) fn lately(&mut self) -> Option<u64> {
        let now = clock::monotonic();
        match self.last {
            Some((when, count)) if now.saturating_duration_since(when) < FRESH => count,
            Some(_) | None => self.now(),
        }
    }

    /// The count as it is.
    pub(crate) fn now(&mut self) -> Option<u64> {
        let count = machine_oom_kills();
        self.last = Some((clock::monotonic(), count));
        count
    }
}

//! What a process has used, and what it runs.

use std::fs;
use std::time::Duration;

use crate::proc::{field, listed};

/// What a process and its threads have used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Time on a CPU, to the nanosecond.
    pub(crate) cpu: Duration,
    /// How often a thread gave up its CPU to wait: each is a wake-up later.
    pub(crate) waits: u64,
}

impl Used {
    /// Of these processes together, as long as their threads live.
    pub(crate) fn by(pids: &[i32]) -> Self {
        let mut used = Self::default();
        for task in pids.iter().flat_map(|pid| listed(&format!("/proc/{pid}/task"))) {
            let text = fs::read_to_string(format!("{task}/schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
            used.cpu += Duration::from_nanos(nanos);
            let status = fs::read_to_string(format!("{task}/status")).unwrap_or_default();
            used.waits += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        }
        used
    }
}

/// The name of the program that a process runs now; empty when it is gone.
pub(crate) fn program(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

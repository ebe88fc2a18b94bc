//! What `/proc` tells about a supervisor, read without disturbing it.
//!
//! It knows no supervisor by name.

use std::fs;
use std::time::{Duration, Instant};

pub(crate) fn listed(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

pub(crate) fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// A line of `/proc/PID/status`, `VmRSS:` for example.
pub(crate) fn status(pid: i32, name: &str) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), name).unwrap_or(0)
}

/// Resident memory of these processes together, in MiB.
pub(crate) fn resident(pids: &[i32]) -> f64 {
    pids.iter().map(|pid| status(*pid, "VmRSS:") as f64).sum::<f64>() / 1024.0
}

/// The processes whose parent is `pid`, whichever of its threads forked them.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let tasks = listed(&format!("/proc/{pid}/task")).into_iter();
    let texts = tasks.map(|task| fs::read_to_string(format!("{task}/children")).unwrap_or_default());
    texts.flat_map(|text| text.split(' ').filter_map(|word| word.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Looks every `pause` until `condition` gives something; `None` when that takes longer than `patience`.
pub(crate) fn wait<T>(
    patience: Duration,
    pause: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(pause);
    }
}

//! Waiting on conditions with a deadline.

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen. Only a failure takes that long, so it is generous:
/// test machines are busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until `condition` gives something, or panics naming what was waited for.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

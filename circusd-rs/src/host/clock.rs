//! The only file of the daemon that reads a clock.
//!
//! It knows nothing of deadlines; it says what time it is.
#![expect(clippy::disallowed_methods, reason = "this is the clock module the rule speaks of")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::arbiter::time::{Moment, Now};

/// Both clocks, the monotonic one counted from when this was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: Moment(self.start.elapsed()), wall: wall() }
    }

    /// When a moment is for the runtime's timers: `tokio::time::sleep_until(clock.instant(deadline).into())`.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start.checked_add(moment.0).unwrap_or(self.start)
    }
}

/// Unix time in seconds.
pub(crate) fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The monotonic clock.
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Seconds that local time is ahead of UTC now.
pub(crate) fn zone() -> i32 {
    chrono::Local::now().offset().local_minus_utc()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn both_clocks_go_forward() {
        let clock = Clock::start();
        let (one, two) = (clock.now(), clock.now());
        assert!(two.mono >= one.mono && one.mono.0 < Duration::from_secs(60));
        assert!(one.wall > 1.6e9, "{}", one.wall);
        let ahead = Moment(Duration::from_secs(5));
        assert_eq!(clock.instant(ahead).duration_since(clock.instant(Moment::default())), ahead.0);
    }
}

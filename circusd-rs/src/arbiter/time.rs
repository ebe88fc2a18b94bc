//! Time as the rules see it: values that somebody else read from a clock.

use std::ops::Add;
use std::time::Duration;

/// A moment of the monotonic clock, counted from the daemon's start. Immune to wall-clock changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

/// Now, on both clocks: one to decide by, one to print.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Now {
    /// For deadlines and ages.
    pub mono: Moment,
    /// Unix time in seconds, for replies and events.
    pub wall: f64,
}

/// Seconds from a configuration or a client as a duration; what is negative, infinite or no number
/// becomes the nearest sensible one.
#[must_use]
pub fn seconds(value: f64) -> Duration {
    /// A year is as good as for ever, and additions cannot overflow.
    const LONGEST: f64 = 365.0 * 24.0 * 3600.0;
    if value.is_nan() { Duration::ZERO } else { Duration::from_secs_f64(value.clamp(0.0, LONGEST)) }
}

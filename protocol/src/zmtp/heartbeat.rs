//! Signs of life: when to ask a silent peer, and when to give it up. Sees no bytes and no clock.
//!
//! ```text
//!  heard ──interval──► asked ──timeout──► given up
//!    ▲───── any byte ────┘
//! ```
//!
//! Peers of version 3.0 do not know PING and some cut the connection at one, so they are never asked.

use core::time::Duration;

use super::fault::Fault;
use super::limits::HeartbeatLimits;

/// Watches one open connection. Times count from the beginning of the connection.
#[derive(Debug)]
pub struct Heartbeat {
    limits: Option<HeartbeatLimits>,
    heard: Duration,
    asked: Option<Duration>,
    /// The peer's own wish, from its last PING.
    ttl: Option<Duration>,
}

impl Heartbeat {
    /// Watches a peer just heard; `limits` is `None` when it must not be asked.
    #[must_use]
    pub fn new(limits: Option<HeartbeatLimits>, now: Duration) -> Self {
        Self { limits, heard: now, asked: None, ttl: None }
    }

    /// Bytes came.
    pub fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.asked = None;
    }

    /// The peer sent a PING with this wish; zero takes the wish back.
    pub fn wished(&mut self, ttl: Duration) {
        self.ttl = (!ttl.is_zero()).then_some(ttl);
    }

    /// When [`Heartbeat::tick`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let ours = self.limits.map(|limits| match self.asked {
            Some(asked) => asked + limits.timeout,
            None => self.heard + limits.interval,
        });
        let theirs = self.ttl.map(|ttl| self.heard + ttl);
        ours.into_iter().chain(theirs).min()
    }

    /// Whether a PING is due.
    ///
    /// # Errors
    /// The peer was silent for too long.
    pub fn tick(&mut self, now: Duration) -> Result<bool, Fault> {
        if let Some(ttl) = self.ttl
            && now >= self.heard + ttl
        {
            return Err(Fault::Silent { limit: ttl });
        }
        let Some(limits) = self.limits else { return Ok(false) };
        match self.asked {
            Some(asked) if now >= asked + limits.timeout => {
                Err(Fault::Silent { limit: limits.interval + limits.timeout })
            }
            None if now >= self.heard + limits.interval => {
                self.asked = Some(now);
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> Heartbeat {
        Heartbeat::new(Some(HeartbeatLimits { interval: 3 * SECOND, timeout: 2 * SECOND }), SECOND)
    }

    #[test]
    fn a_silent_peer_is_asked_once_and_then_given_up() {
        let mut beat = watch();
        assert_eq!(beat.deadline(), Some(4 * SECOND));
        assert_eq!(beat.tick(3 * SECOND), Ok(false));
        assert_eq!(beat.tick(4 * SECOND), Ok(true));
        assert_eq!(beat.deadline(), Some(6 * SECOND));
        assert_eq!(beat.tick(5 * SECOND), Ok(false));
        assert_eq!(beat.tick(6 * SECOND), Err(Fault::Silent { limit: 5 * SECOND }));
    }

    #[test]
    fn any_byte_counts_as_an_answer() {
        let mut beat = watch();
        assert_eq!(beat.tick(4 * SECOND), Ok(true));
        beat.heard(5 * SECOND);
        assert_eq!(beat.tick(6 * SECOND), Ok(false));
        assert_eq!(beat.deadline(), Some(8 * SECOND));
    }

    #[test]
    fn the_peer_may_wish_to_be_given_up_earlier() {
        let mut beat = Heartbeat::new(None, SECOND);
        assert_eq!(beat.deadline(), None);
        beat.wished(2 * SECOND);
        assert_eq!(beat.deadline(), Some(3 * SECOND));
        assert!(beat.tick(3 * SECOND).is_err());
        beat.wished(Duration::ZERO);
        assert_eq!(beat.tick(9 * SECOND), Ok(false));
    }
}

//! How much one peer may cost. Knows no peer; every number is a named constant and an option.

use core::time::Duration;

/// The longest message accepted, all its frames together.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// The most frames one message may have. Empty frames cost the sender two bytes, us sixteen times that.
pub const MAX_FRAMES: usize = 1_024;
/// The longest command accepted after the handshake; subscriptions are commands.
pub const MAX_COMMAND: usize = 16 * 1024;
/// The longest command accepted during the handshake, from a peer that proved nothing yet.
pub const MAX_HANDSHAKE_COMMAND: usize = 4 * 1024;
/// The longest identity, as the specification says.
pub const MAX_IDENTITY: usize = 255;
/// The most different prefixes one peer may subscribe to.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;
/// The most bytes all prefixes of one peer may have together.
pub const MAX_SUBSCRIPTION_BYTES: usize = 512 * 1024;
/// How long a peer may take from the first byte to READY.
pub const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Silence after which we ask whether the peer is still there.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(30);
/// How long the answer may take.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(30);

/// The limits one session keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireLimits {
    /// See [`MAX_MESSAGE`].
    pub max_message: usize,
    /// See [`MAX_FRAMES`].
    pub max_frames: usize,
    /// See [`MAX_COMMAND`].
    pub max_command: usize,
    /// See [`HANDSHAKE_TIME`].
    pub handshake_time: Duration,
    /// When to ask a silent peer for a sign of life; `None` never asks.
    pub heartbeat: Option<HeartbeatLimits>,
}

/// When a silent peer is asked, and when it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatLimits {
    /// See [`HEARTBEAT_INTERVAL`].
    pub interval: Duration,
    /// See [`HEARTBEAT_TIMEOUT`].
    pub timeout: Duration,
}

impl Default for WireLimits {
    fn default() -> Self {
        Self {
            max_message: MAX_MESSAGE,
            max_frames: MAX_FRAMES,
            max_command: MAX_COMMAND,
            handshake_time: HANDSHAKE_TIME,
            heartbeat: Some(HeartbeatLimits { interval: HEARTBEAT_INTERVAL, timeout: HEARTBEAT_TIMEOUT }),
        }
    }
}

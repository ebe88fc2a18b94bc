//! How much all peers together may cost, and how patient we are. Every number is a named constant
//! and an option.

use core::time::Duration;

use bytes::Bytes;

pub use crate::zmtp::limits::{HeartbeatLimits, WireLimits};

/// The most connections of one bound socket.
pub const MAX_CONNECTIONS: usize = 4_096;
/// The most of these from one address. All users of this machine share one when they come over
/// loopback, so it is not small.
pub const MAX_CONNECTIONS_PER_ADDRESS: usize = 2_048;
/// The most messages waiting for one peer.
pub const MAX_QUEUE: usize = 1_000;
/// The most bytes waiting for one peer; one message may exceed it when nothing else waits.
pub const MAX_QUEUE_BYTES: usize = 16 * 1024 * 1024;
/// The most received messages waiting for us. When they are that many, peers are not read from.
pub const MAX_INBOX: usize = 1_024;
/// The most bytes of received or half-received messages, all connections of one socket together.
/// Messages up to [`FREE_BYTES`] are not counted, so large ones cannot keep small ones out.
pub const MAX_INBOX_BYTES: usize = 256 * 1024 * 1024;
/// What a connection may hold without being counted.
pub const FREE_BYTES: usize = 32 * 1024;
/// The most messages waiting to be spread to subscribers.
pub const MAX_PUBLISH_QUEUE: usize = 8_192;
/// How long what is queued may take to leave after a socket is closed.
pub const LINGER: Duration = Duration::from_secs(1);
/// The pause after the system refused to accept, for want of descriptors for example.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long resolving a name and connecting may take.
pub const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The first pause before connecting again; it doubles with each failure.
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before connecting again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence after which the kernel asks whether the other machine is still there.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// How often it repeats the question.
pub const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How many unanswered questions mean that it is gone.
pub const TCP_KEEPALIVE_COUNT: u32 = 3;
/// Who may connect to a bound ipc socket: only our own user.
pub const IPC_MODE: u32 = 0o600;

/// The limits of a bound socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What one connection may cost.
    pub wire: WireLimits,
    /// See [`MAX_CONNECTIONS`].
    pub max_connections: usize,
    /// See [`MAX_CONNECTIONS_PER_ADDRESS`].
    pub max_connections_per_address: usize,
    /// See [`MAX_QUEUE`].
    pub max_queue: usize,
    /// See [`MAX_QUEUE_BYTES`].
    pub max_queue_bytes: usize,
    /// See [`MAX_INBOX`].
    pub max_inbox: usize,
    /// See [`MAX_INBOX_BYTES`].
    pub max_inbox_bytes: usize,
    /// See [`LINGER`].
    pub linger: Duration,
    /// See [`IPC_MODE`].
    pub ipc_mode: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wire: WireLimits::default(),
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: MAX_CONNECTIONS_PER_ADDRESS,
            max_queue: MAX_QUEUE,
            max_queue_bytes: MAX_QUEUE_BYTES,
            max_inbox: MAX_INBOX,
            max_inbox_bytes: MAX_INBOX_BYTES,
            linger: LINGER,
            ipc_mode: IPC_MODE,
        }
    }
}

/// The limits and habits of a connecting socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkOptions {
    /// The name we announce; empty for none.
    pub identity: Bytes,
    /// What the peer may cost.
    pub wire: WireLimits,
    /// See [`CONNECT_TIME`].
    pub connect_time: Duration,
    /// See [`FIRST_PAUSE`].
    pub first_pause: Duration,
    /// See [`LONGEST_PAUSE`].
    pub longest_pause: Duration,
    /// See [`MAX_QUEUE`].
    pub max_queue: usize,
    /// See [`MAX_QUEUE_BYTES`].
    pub max_queue_bytes: usize,
    /// See [`MAX_INBOX`].
    pub max_inbox: usize,
    /// See [`MAX_INBOX_BYTES`].
    pub max_inbox_bytes: usize,
    /// See [`LINGER`].
    pub linger: Duration,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            identity: Bytes::new(),
            wire: WireLimits::default(),
            connect_time: CONNECT_TIME,
            first_pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE,
            max_queue: MAX_QUEUE,
            max_queue_bytes: MAX_QUEUE_BYTES,
            max_inbox: MAX_INBOX,
            max_inbox_bytes: MAX_INBOX_BYTES,
            linger: LINGER,
        }
    }
}

//! Why a connection is not, or no longer, usable. Every variant ends the connection; none can be
//! caused by us alone.

use super::socket::SocketType;

/// What the peer did wrong, or failed to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first bytes are not those of a ZMTP greeting.
    #[error("not a ZeroMQ peer: byte {at} of the greeting is {byte:#04x}")]
    NotZmtp {
        /// Position in the greeting.
        at: usize,
        /// What stood there.
        byte: u8,
    },
    /// ZMTP 1 or 2, which libzmq spoke before version 4.
    #[error("the peer speaks ZMTP {major}, at least 3 is needed")]
    Version {
        /// What the peer announced.
        major: u8,
    },
    /// A security mechanism that this side does not use.
    #[error("the peer wants the security mechanism {theirs:?}, this side uses {ours}")]
    Mechanism {
        /// Ours.
        ours: &'static str,
        /// What the peer announced.
        theirs: String,
    },
    /// The handshake took too long.
    #[error("the handshake took longer than {limit:?}")]
    HandshakeTime {
        /// The limit.
        limit: core::time::Duration,
    },
    /// Reserved bits are set, or a command claims to continue.
    #[error("frame flags {flags:#04x} are not allowed")]
    Flags {
        /// What stood there.
        flags: u8,
    },
    /// A message larger than allowed, judged by its headers.
    #[error("a message of {size} bytes exceeds the limit of {limit}")]
    MessageSize {
        /// Bytes claimed so far.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// A message of more frames than allowed.
    #[error("a message has more than {limit} frames")]
    Frames {
        /// The limit.
        limit: usize,
    },
    /// A command larger than allowed.
    #[error("a command of {size} bytes exceeds the limit of {limit}")]
    CommandSize {
        /// Bytes claimed.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// A message although the handshake is not finished.
    #[error("a message came before the handshake was finished")]
    EarlyMessage,
    /// A command that cannot be read, or has no place here.
    #[error("malformed or misplaced command: {what}")]
    Command {
        /// What is wrong.
        what: &'static str,
    },
    /// The two socket types do not talk to each other.
    #[error("a {theirs} socket does not fit a {ours} socket")]
    Incompatible {
        /// Ours.
        ours: SocketType,
        /// What the peer announced, escaped.
        theirs: String,
    },
    /// The peer refused us with an ERROR command.
    #[error("the peer refused: {reason:?}")]
    Refused {
        /// Its reason, escaped.
        reason: String,
    },
    /// No sign of life within the time limit.
    #[error("no sign of life for {limit:?}")]
    Silent {
        /// The limit.
        limit: core::time::Duration,
    },
    /// More subscriptions than one peer may have.
    #[error("the peer exceeds the limit of {limit} {what}")]
    Subscriptions {
        /// The limit.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
    /// All connections together hold as much unfinished input as they may.
    #[error("no room for {size} more bytes of unfinished messages")]
    Memory {
        /// What this connection would have needed.
        size: usize,
    },
}

/// Text of a peer made harmless for logs and terminals.
pub(super) fn escaped(text: &[u8]) -> String {
    const LONGEST: usize = 64;
    text.iter().take(LONGEST).flat_map(|byte| byte.escape_ascii()).map(char::from).collect()
}

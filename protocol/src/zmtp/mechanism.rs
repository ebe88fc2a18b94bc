//! Security mechanisms: the commands between greeting and traffic. Only NULL, which proves nothing;
//! CURVE would be a second variant of [`Handshake`] with more steps, a key in [`Peer`], and a
//! transformation of frames that `session` asks for. Knows no bytes below commands.

use bytes::{Bytes, BytesMut};

use super::command::{self, Command, Properties};
use super::fault::{Fault, escaped};
use super::frame;
use super::limits::MAX_IDENTITY;
use super::socket::SocketType;

/// What the handshake found out about the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its socket type, which fits ours.
    pub socket_type: SocketType,
    /// The identity it announced; empty when none. Not checked by anybody: a name, not a proof.
    pub identity: Bytes,
    /// Its minor version: 3.0 peers know neither PING nor SUBSCRIBE commands.
    pub minor: u8,
}

/// The handshake of the mechanism in use.
#[derive(Debug)]
pub enum Handshake {
    /// NULL: READY from both sides.
    Null(Null),
}

/// What we tell a peer in a NULL handshake.
#[derive(Debug)]
pub struct Null {
    socket_type: SocketType,
    identity: Bytes,
}

impl Handshake {
    /// A NULL handshake. An identity longer than [`MAX_IDENTITY`] is cut to it.
    #[must_use]
    pub fn null(socket_type: SocketType, mut identity: Bytes) -> Self {
        identity.truncate(MAX_IDENTITY);
        Self::Null(Null { socket_type, identity })
    }

    /// The mechanism's name in the greeting.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null(_) => "NULL",
        }
    }

    /// The peer's greeting was good: write what comes first.
    pub fn start(&mut self, out: &mut BytesMut) {
        match self {
            Self::Null(null) => {
                frame::encode_command(&command::ready(null.socket_type.name(), &null.identity), out);
            }
        }
    }

    /// A command came. Returns the peer once it is known; what to answer is written to `out`, also
    /// when the peer is refused.
    ///
    /// # Errors
    /// The peer refuses us, does not fit, or does not follow the mechanism.
    pub fn command(
        &mut self,
        command: Command,
        minor: u8,
        out: &mut BytesMut,
    ) -> Result<Option<Peer>, Fault> {
        match (self, command) {
            (Self::Null(null), Command::Ready(properties)) => {
                let judged = null.judge(&properties, minor);
                if let Err(fault) = &judged {
                    frame::encode_command(&command::error(&fault.to_string()), out);
                }
                judged.map(Some)
            }
            (Self::Null(_), Command::Error(reason)) => Err(Fault::Refused { reason: escaped(&reason) }),
            (
                Self::Null(_),
                Command::Ping { .. }
                | Command::Pong
                | Command::Subscribe(_)
                | Command::Cancel(_)
                | Command::Unknown,
            ) => Err(Fault::Command { what: "READY was expected" }),
        }
    }
}

impl Null {
    fn judge(&self, properties: &Properties, minor: u8) -> Result<Peer, Fault> {
        let Some(theirs) = &properties.socket_type else {
            return Err(Fault::Command { what: "READY names no Socket-Type" });
        };
        if properties.identity.len() > MAX_IDENTITY {
            return Err(Fault::Command { what: "the identity is longer than 255 bytes" });
        }
        let fits = SocketType::from_name(theirs).filter(|theirs| self.socket_type.talks_to(*theirs));
        let misfit = || Fault::Incompatible { ours: self.socket_type, theirs: escaped(theirs) };
        Ok(Peer {
            socket_type: fits.ok_or_else(misfit)?,
            // Copied, so that a short name does not keep the whole command alive.
            identity: Bytes::copy_from_slice(&properties.identity),
            minor,
        })
    }
}

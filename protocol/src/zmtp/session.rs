//! One connection, seen from the protocol: bytes in, events out, bytes to send on the side. The
//! phases are drawn in `zmtp`; what fills and empties the buffers is `transport`'s affair.

use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::command::{self, Command};
use super::fault::Fault;
use super::frame::{self, Decoder, Item};
use super::greeting::{self, GreetingReader};
use super::heartbeat::Heartbeat;
use super::limits::WireLimits;
use super::mechanism::{Handshake, Peer};
use super::socket::SocketType;

/// What one side brings into a connection.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our socket type.
    pub socket_type: SocketType,
    /// Our identity; empty for none.
    pub identity: Bytes,
    /// What the peer may cost.
    pub limits: WireLimits,
}

/// What the peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done; always the first event.
    Open(Peer),
    /// A whole message.
    Message(Vec<Bytes>),
    /// It subscribed to a prefix (publishing sockets only).
    Subscribe(Bytes),
    /// It took one subscription back (publishing sockets only).
    Cancel(Bytes),
}

#[derive(Debug)]
enum Phase {
    Greeting(GreetingReader),
    Handshake { minor: u8 },
    Open { minor: u8, heartbeat: Heartbeat },
}

/// The machine of one connection. After a [`Fault`] it must not be fed again.
#[derive(Debug)]
pub struct Session {
    socket_type: SocketType,
    limits: WireLimits,
    phase: Phase,
    handshake: Handshake,
    decoder: Decoder,
    out: BytesMut,
    /// The latest PONG owed. Only one: a peer that asks without reading must not fill our memory.
    pong: Option<Bytes>,
    /// Leaves with our READY.
    first: BytesMut,
}

impl Session {
    /// Begins a connection; the greeting is ready to be sent.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let handshake = Handshake::null(config.socket_type, config.identity);
        let mut out = BytesMut::new();
        greeting::encode(handshake.name(), false, &mut out);
        Self {
            socket_type: config.socket_type,
            limits: config.limits,
            phase: Phase::Greeting(GreetingReader::new(handshake.name())),
            handshake,
            decoder: Decoder::new(config.limits),
            out,
            pong: None,
            first: BytesMut::new(),
        }
    }

    /// Messages that leave together with our READY instead of waiting for the peer's, which saves a round
    /// trip. A NULL handshake allows it: what a peer does with our READY does not depend on its own. A
    /// peer that turns out not to fit has received them for nothing. Not before the peer's greeting:
    /// libzmq 4.3.5 gets stuck when a message comes in the same segment as the greeting.
    pub fn hurry(&mut self, messages: &[Vec<Bytes>]) {
        for frames in messages {
            for (at, frame) in frames.iter().enumerate() {
                frame::encode_header(frame.len(), at + 1 < frames.len(), &mut self.first);
                self.first.put_slice(frame);
            }
        }
    }

    /// Eats input until there is an event (`Some`) or the input is used up (`None`).
    ///
    /// # Errors
    /// The connection must be closed, after sending what [`Session::take_output`] gives.
    pub fn advance(&mut self, now: Duration, input: &mut &[u8]) -> Result<Option<Event>, Fault> {
        if let Phase::Open { heartbeat, .. } = &mut self.phase
            && !input.is_empty()
        {
            heartbeat.heard(now);
        }
        loop {
            if let Phase::Greeting(reader) = &mut self.phase {
                let Some(minor) = reader.advance(input)? else { return Ok(None) };
                self.handshake.start(&mut self.out);
                self.out.unsplit(std::mem::take(&mut self.first));
                self.phase = Phase::Handshake { minor };
            }
            let Some(item) = self.decoder.advance(input)? else { return Ok(None) };
            if let Some(event) = self.item(now, item)? {
                return Ok(Some(event));
            }
        }
    }

    fn item(&mut self, now: Duration, item: Item) -> Result<Option<Event>, Fault> {
        match item {
            Item::Message(frames) => Ok(self.message(frames)),
            Item::Command(body) => {
                let command = Command::read(&body)?;
                if let Phase::Handshake { minor } = self.phase {
                    let peer = self.handshake.command(command, minor, &mut self.out)?;
                    return Ok(peer.map(|peer| self.opened(now, peer)));
                }
                self.command(command)
            }
        }
    }

    fn opened(&mut self, now: Duration, peer: Peer) -> Event {
        let ask = self.limits.heartbeat.filter(|_| peer.minor >= 1);
        self.phase = Phase::Open { minor: peer.minor, heartbeat: Heartbeat::new(ask, now) };
        self.decoder.open();
        Event::Open(peer)
    }

    fn message(&self, frames: Vec<Bytes>) -> Option<Event> {
        if !self.socket_type.publishes() {
            return Some(Event::Message(frames));
        }
        // How peers of version 3.0 subscribe. What else they say, a publisher has no ear for.
        match frames.as_slice() {
            [only] => match only.split_first()? {
                (1, prefix) => Some(Event::Subscribe(only.slice_ref(prefix))),
                (0, prefix) => Some(Event::Cancel(only.slice_ref(prefix))),
                _ => None,
            },
            _ => None,
        }
    }

    fn command(&mut self, command: Command) -> Result<Option<Event>, Fault> {
        let publishes = self.socket_type.publishes();
        match command {
            Command::Ready(_) => Err(Fault::Command { what: "READY came twice" }),
            Command::Error(reason) => Err(Fault::Refused { reason: super::fault::escaped(&reason) }),
            Command::Ping { ttl, context } => {
                if let Phase::Open { heartbeat, .. } = &mut self.phase {
                    heartbeat.wished(ttl);
                }
                self.pong = Some(context);
                Ok(None)
            }
            Command::Subscribe(prefix) => Ok(publishes.then_some(Event::Subscribe(prefix))),
            Command::Cancel(prefix) => Ok(publishes.then_some(Event::Cancel(prefix))),
            Command::Pong | Command::Unknown => Ok(None),
        }
    }

    /// When [`Session::tick`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Greeting(_) | Phase::Handshake { .. } => Some(self.limits.handshake_time),
            Phase::Open { heartbeat, .. } => heartbeat.deadline(),
        }
    }

    /// Time has passed.
    ///
    /// # Errors
    /// The peer took too long.
    pub fn tick(&mut self, now: Duration) -> Result<(), Fault> {
        match &mut self.phase {
            Phase::Greeting(_) | Phase::Handshake { .. } => {
                let limit = self.limits.handshake_time;
                if now >= limit { Err(Fault::HandshakeTime { limit }) } else { Ok(()) }
            }
            Phase::Open { heartbeat, .. } => {
                if heartbeat.tick(now)? {
                    frame::encode_command(&command::ping(), &mut self.out);
                }
                Ok(())
            }
        }
    }

    /// Whether the handshake is done, so that messages may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Whether the protocol itself has something to send.
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty() || self.pong.is_some()
    }

    /// Moves what the protocol itself has to send: never more than a few hundred bytes, and what
    /// [`Session::hurry`] was given.
    pub fn take_output(&mut self, to: &mut BytesMut) {
        if !self.out.is_empty() {
            to.put_slice(&self.out);
            self.out = BytesMut::new();
        }
        if let Some(context) = self.pong.take() {
            frame::encode_command(&command::pong(&context), to);
        }
    }

    /// Writes a subscription or its end in the form the peer understands.
    pub fn encode_subscription(&self, wanted: bool, prefix: &[u8], to: &mut BytesMut) {
        let minor = match &self.phase {
            Phase::Open { minor, .. } | Phase::Handshake { minor } => *minor,
            Phase::Greeting(_) => 0,
        };
        if minor >= 1 {
            frame::encode_command(&command::subscription(wanted, prefix), to);
        } else {
            frame::encode_header(prefix.len() + 1, false, to);
            to.put_u8(u8::from(wanted));
            to.put_slice(prefix);
        }
    }

    /// Bytes held for input that is not complete.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.decoder.unfinished()
    }
}

#[cfg(test)]
mod tests;

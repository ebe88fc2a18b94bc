//! Commands: what peers tell each other beside messages. Reads and writes their bodies; what they
//! cause is decided in `mechanism` and `session`.

use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::fault::Fault;

/// The longest context of a PING; it comes back in the PONG.
pub const MAX_PING_CONTEXT: usize = 16;
/// The longest reason of an ERROR.
const MAX_REASON: usize = 255;

/// A command, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The end of the handshake, with the peer's properties.
    Ready(Properties),
    /// The peer refuses us.
    Error(Bytes),
    /// The peer asks for a sign of life.
    Ping {
        /// After so much silence the peer wants to be given up; zero means no wish.
        ttl: Duration,
        /// Comes back in the PONG.
        context: Bytes,
    },
    /// The answer to our PING.
    Pong,
    /// The peer wants messages with this prefix.
    Subscribe(Bytes),
    /// The peer takes one subscription back.
    Cancel(Bytes),
    /// Something newer than we are; ignored when the connection is open.
    Unknown,
}

/// The properties of a READY command that matter here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// `Socket-Type`, which every peer must announce.
    pub socket_type: Option<Bytes>,
    /// `Identity`, empty when none was announced.
    pub identity: Bytes,
}

impl Command {
    /// Reads the body of a command frame.
    ///
    /// # Errors
    /// A body that is shorter than its own lengths say.
    pub fn read(body: &Bytes) -> Result<Self, Fault> {
        let mut rest = body.clone();
        let name = short(&mut rest).ok_or(Fault::Command { what: "its name is cut off" })?;
        Ok(match name.as_ref() {
            b"READY" => Self::Ready(properties(rest)?),
            b"ERROR" => Self::Error(short(&mut rest).ok_or(Fault::Command { what: "ERROR is cut off" })?),
            b"PING" => {
                let (Some(high), Some(low)) = (byte(&mut rest), byte(&mut rest)) else {
                    return Err(Fault::Command { what: "PING is cut off" });
                };
                if rest.len() > MAX_PING_CONTEXT {
                    return Err(Fault::Command { what: "PING has a context of more than 16 bytes" });
                }
                let tenths = u64::from(u16::from_be_bytes([high, low]));
                Self::Ping { ttl: Duration::from_millis(tenths * 100), context: rest }
            }
            b"PONG" => Self::Pong,
            b"SUBSCRIBE" => Self::Subscribe(rest),
            b"CANCEL" => Self::Cancel(rest),
            _ => Self::Unknown,
        })
    }
}

fn properties(mut rest: Bytes) -> Result<Properties, Fault> {
    let cut = Fault::Command { what: "a property of READY is cut off" };
    let mut found = Properties::default();
    while !rest.is_empty() {
        let name = short(&mut rest).ok_or(cut.clone())?;
        let value = long(&mut rest).ok_or(cut.clone())?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            found.socket_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"Identity") {
            found.identity = value;
        }
    }
    Ok(found)
}

fn byte(rest: &mut Bytes) -> Option<u8> {
    take(rest, 1)?.first().copied()
}

fn short(rest: &mut Bytes) -> Option<Bytes> {
    let length = byte(rest)?;
    take(rest, usize::from(length))
}

fn long(rest: &mut Bytes) -> Option<Bytes> {
    let length: [u8; 4] = take(rest, 4)?.as_ref().try_into().ok()?;
    take(rest, usize::try_from(u32::from_be_bytes(length)).ok()?)
}

fn take(rest: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= rest.len()).then(|| rest.split_to(count))
}

/// The body of a READY command.
#[must_use]
pub fn ready(socket_type: &str, identity: &[u8]) -> BytesMut {
    let mut body = named("READY");
    put_property("Socket-Type", socket_type.as_bytes(), &mut body);
    if !identity.is_empty() {
        put_property("Identity", identity, &mut body);
    }
    body
}

/// The body of an ERROR command.
#[must_use]
pub fn error(reason: &str) -> BytesMut {
    let mut body = named("ERROR");
    let reason: String = reason.chars().filter(char::is_ascii).take(MAX_REASON).collect();
    put_short(reason.as_bytes(), &mut body);
    body
}

/// The body of a PING command without a wish for the peer's patience.
#[must_use]
pub fn ping() -> BytesMut {
    let mut body = named("PING");
    body.put_u16(0);
    body
}

/// The body of the answer to a PING.
#[must_use]
pub fn pong(context: &[u8]) -> BytesMut {
    let mut body = named("PONG");
    body.put_slice(context);
    body
}

/// The body of a SUBSCRIBE or CANCEL command, for peers of version 3.1.
#[must_use]
pub fn subscription(wanted: bool, prefix: &[u8]) -> BytesMut {
    let mut body = named(if wanted { "SUBSCRIBE" } else { "CANCEL" });
    body.put_slice(prefix);
    body
}

fn named(name: &str) -> BytesMut {
    let mut body = BytesMut::new();
    put_short(name.as_bytes(), &mut body);
    body
}

fn put_property(name: &str, value: &[u8], body: &mut BytesMut) {
    put_short(name.as_bytes(), body);
    body.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    body.put_slice(value);
}

/// Callers keep texts within one byte's length; a longer one is cut rather than sent wrong.
fn put_short(text: &[u8], body: &mut BytesMut) {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    body.put_u8(length);
    body.put_slice(text.get(..usize::from(length)).unwrap_or(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(body: &[u8]) -> Result<Command, Fault> {
        Command::read(&Bytes::copy_from_slice(body))
    }

    #[test]
    fn what_we_write_we_read() {
        let Ok(Command::Ready(found)) = read(&ready("DEALER", b"me")) else { panic!("not READY") };
        assert_eq!(found.socket_type.as_deref(), Some(&b"DEALER"[..]));
        assert_eq!(found.identity, "me");
        assert_eq!(read(&error("no")), Ok(Command::Error("no".into())));
        assert_eq!(read(&ping()), Ok(Command::Ping { ttl: Duration::ZERO, context: Bytes::new() }));
        assert_eq!(read(&pong(b"x")), Ok(Command::Pong));
        assert_eq!(read(&subscription(true, b"watcher.")), Ok(Command::Subscribe("watcher.".into())));
        assert_eq!(read(&subscription(false, b"")), Ok(Command::Cancel("".into())));
    }

    #[test]
    fn a_ping_brings_its_wish_and_its_context() {
        let wish = Command::Ping { ttl: Duration::from_secs(25), context: "abc".into() };
        assert_eq!(read(b"\x04PING\x00\xfaabc"), Ok(wish));
        assert!(read(b"\x04PING\x00\xfa0123456789abcdefg").is_err());
        assert!(read(b"\x04PING\x00").is_err());
    }

    #[test]
    fn cut_off_commands_are_faults() {
        assert!(read(b"").is_err());
        assert!(read(b"\x05REA").is_err());
        assert!(read(b"\x05READY\x0bSocket-Type\xff\xff\xff\xffREP").is_err());
        assert_eq!(read(b"\x04WHAT?"), Ok(Command::Unknown));
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&body);
            for name in ["READY", "ERROR", "PING", "SUBSCRIBE"] {
                let mut named = named(name);
                named.extend_from_slice(&body);
                let _ = read(&named);
            }
        }
    }
}

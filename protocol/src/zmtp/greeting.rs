//! The greeting: 64 bytes with which both sides begin. Knows neither handshake nor frames.
//!
//! ```text
//! 0      1 … 8     9      10      11      12 … 31     32          33 … 63
//! 0xff   padding   0x7f   major   minor   mechanism   as-server   filler
//! ```

use bytes::{BufMut, BytesMut};

use super::fault::{Fault, escaped};

/// How long a greeting is.
pub const GREETING_LENGTH: usize = 64;
const MECHANISM_AT: usize = 12;
const MECHANISM_LENGTH: usize = 20;
const OUR_MAJOR: u8 = 3;
const OUR_MINOR: u8 = 1;

/// Writes our greeting.
pub fn encode(mechanism: &str, as_server: bool, out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, OUR_MAJOR, OUR_MINOR]);
    out.put_slice(mechanism.as_bytes());
    out.resize(start + MECHANISM_AT + MECHANISM_LENGTH, 0);
    out.put_u8(u8::from(as_server));
    out.resize(start + GREETING_LENGTH, 0);
}

/// Reads a peer's greeting and judges each byte as it comes, so that a web browser or a port
/// scanner is closed at its first byte and not after 64.
#[derive(Debug)]
pub struct GreetingReader {
    seen: usize,
    minor: u8,
    mechanism: [u8; MECHANISM_LENGTH],
    ours: &'static str,
}

impl GreetingReader {
    /// Expects a peer with our mechanism.
    #[must_use]
    pub fn new(ours: &'static str) -> Self {
        Self { seen: 0, minor: 0, mechanism: [0; MECHANISM_LENGTH], ours }
    }

    /// Eats what belongs to the greeting. Returns the peer's minor version once it is complete.
    ///
    /// # Errors
    /// The first byte that no acceptable peer would send.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<u8>, Fault> {
        while self.seen < GREETING_LENGTH {
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.judge(byte)?;
            self.seen += 1;
        }
        Ok(Some(self.minor))
    }

    fn judge(&mut self, byte: u8) -> Result<(), Fault> {
        match self.seen {
            0 if byte != 0xff => Err(Fault::NotZmtp { at: 0, byte }),
            9 if byte != 0x7f => Err(Fault::NotZmtp { at: 9, byte }),
            10 if byte < OUR_MAJOR => Err(Fault::Version { major: byte }),
            11 => {
                self.minor = byte;
                Ok(())
            }
            at @ 12..32 => self.judge_mechanism(at - MECHANISM_AT, byte),
            32 if byte > 1 => Err(Fault::NotZmtp { at: 32, byte }),
            _ => Ok(()),
        }
    }

    fn judge_mechanism(&mut self, at: usize, byte: u8) -> Result<(), Fault> {
        if let Some(slot) = self.mechanism.get_mut(at) {
            *slot = byte;
        }
        if at + 1 < MECHANISM_LENGTH {
            return Ok(());
        }
        // Judged as a whole, because its name is what a person needs to see.
        let name = self.mechanism.split(|byte| *byte == 0).next().unwrap_or_default();
        let padded = self.mechanism.iter().skip(name.len()).all(|byte| *byte == 0);
        if name == self.ours.as_bytes() && padded {
            Ok(())
        } else {
            Err(Fault::Mechanism { ours: self.ours, theirs: escaped(name) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting() -> BytesMut {
        let mut out = BytesMut::new();
        encode("NULL", false, &mut out);
        out
    }

    #[test]
    fn our_own_greeting_is_accepted_byte_by_byte() {
        let ours = greeting();
        assert_eq!(ours.len(), GREETING_LENGTH);
        let mut reader = GreetingReader::new("NULL");
        for (at, byte) in ours.iter().enumerate() {
            let done = reader.advance(&mut &[*byte][..]).expect("good byte");
            assert_eq!(done, (at == 63).then_some(1));
        }
    }

    #[test]
    fn each_wrong_byte_is_refused_where_it_stands() {
        let http = GreetingReader::new("NULL").advance(&mut &b"G"[..]);
        assert_eq!(http, Err(Fault::NotZmtp { at: 0, byte: b'G' }));
        for (at, byte) in [(0, 0), (9, 0), (10, 1), (12, b'X'), (16, b'X'), (31, 1), (32, 2)] {
            let mut bad = greeting();
            bad[at] = byte;
            let until = if (12..32).contains(&at) { 32 } else { at + 1 };
            let mut reader = GreetingReader::new("NULL");
            assert_eq!(reader.advance(&mut &bad[..until - 1]), Ok(None), "{at}");
            assert!(reader.advance(&mut &bad[until - 1..until]).is_err(), "{at}");
        }
    }
}

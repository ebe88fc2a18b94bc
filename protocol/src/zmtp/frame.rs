//! Frames: the unit after the greeting. Assembles messages and commands out of chunks of any size.
//! Knows nothing of what a command means.
//!
//! ```text
//! flags (1: more, 2: long, 4: command)   size (1 byte, or 8 when long)   body
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::fault::Fault;
use super::limits::{MAX_HANDSHAKE_COMMAND, WireLimits};

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const LARGEST_SHORT: usize = 255;
/// The most a header takes.
pub const MAX_HEADER: usize = 9;
/// What is reserved on the word of a header alone; beyond that memory follows bytes received.
const TRUSTED_SIZE: usize = 16 * 1024;

/// Something complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A whole message, at least one frame.
    Message(Vec<Bytes>),
    /// The body of a command frame.
    Command(Bytes),
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; MAX_HEADER], have: usize },
    Body { flags: u8, missing: usize, body: BytesMut },
}

const START: State = State::Header { bytes: [0; MAX_HEADER], have: 0 };

/// Turns bytes into [`Item`]s.
#[derive(Debug)]
pub struct Decoder {
    limits: WireLimits,
    open: bool,
    state: State,
    frames: Vec<Bytes>,
    /// What the headers of this message claim, together.
    size: usize,
    /// What its complete frames take.
    held: usize,
}

impl Decoder {
    /// A decoder that accepts commands only, until [`Decoder::open`].
    #[must_use]
    pub fn new(limits: WireLimits) -> Self {
        Self { limits, open: false, state: START, frames: Vec::new(), size: 0, held: 0 }
    }

    /// The handshake is done: messages may come.
    pub fn open(&mut self) {
        self.open = true;
    }

    /// Bytes held for a message or command that is not complete.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let body = match &self.state {
            State::Header { .. } => 0,
            State::Body { body, .. } => body.capacity(),
        };
        body + self.held
    }

    /// Eats input until something is complete (`Some`) or the input is used up (`None`).
    ///
    /// # Errors
    /// The first header that breaks a rule or a limit; nothing is reserved for it.
    pub fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Item>, Fault> {
        loop {
            match &mut self.state {
                State::Header { bytes, have } => {
                    let Some((flags, size)) = read_header(bytes, have, input)? else { return Ok(None) };
                    let missing = self.judge(flags, size)?;
                    self.state = State::Body { flags, missing, body: BytesMut::new() };
                }
                State::Body { flags, missing, body } => {
                    let flags = *flags;
                    let Some(frame) = read_body(missing, body, input) else { return Ok(None) };
                    self.state = START;
                    if flags & COMMAND != 0 {
                        return Ok(Some(Item::Command(frame)));
                    }
                    self.held += frame.len() + size_of::<Bytes>();
                    self.frames.push(frame);
                    if flags & MORE == 0 {
                        (self.size, self.held) = (0, 0);
                        return Ok(Some(Item::Message(core::mem::take(&mut self.frames))));
                    }
                }
            }
        }
    }

    fn judge(&mut self, flags: u8, size: u64) -> Result<usize, Fault> {
        let fits = usize::try_from(size).ok();
        if flags & COMMAND != 0 {
            let limit = if self.open { self.limits.max_command } else { MAX_HANDSHAKE_COMMAND };
            return fits.filter(|size| *size <= limit).ok_or(Fault::CommandSize { size, limit });
        }
        if !self.open {
            return Err(Fault::EarlyMessage);
        }
        if self.frames.len() >= self.limits.max_frames {
            return Err(Fault::Frames { limit: self.limits.max_frames });
        }
        let limit = self.limits.max_message;
        let total = fits.and_then(|size| self.size.checked_add(size)).filter(|total| *total <= limit);
        self.size = total.ok_or(Fault::MessageSize { size, limit })?;
        Ok(fits.unwrap_or(limit))
    }
}

fn read_header(
    bytes: &mut [u8; MAX_HEADER],
    have: &mut usize,
    input: &mut &[u8],
) -> Result<Option<(u8, u64)>, Fault> {
    loop {
        let flags = bytes.first().copied().unwrap_or_default();
        match (*have, flags & LONG != 0) {
            (2, false) => return Ok(Some((flags, u64::from(bytes.get(1).copied().unwrap_or_default())))),
            (MAX_HEADER, _) => {
                let size = bytes.iter().skip(1).fold(0, |size, byte| (size << 8) | u64::from(*byte));
                return Ok(Some((flags, size)));
            }
            _ => {}
        }
        let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
        // The flags are judged at once: a stranger's next eight bytes are not worth waiting for.
        let strange = byte & !(MORE | LONG | COMMAND) != 0 || byte & (MORE | COMMAND) == MORE | COMMAND;
        if *have == 0 && strange {
            return Err(Fault::Flags { flags: byte });
        }
        *input = rest;
        if let Some(slot) = bytes.get_mut(*have) {
            *slot = byte;
        }
        *have += 1;
    }
}

fn read_body(missing: &mut usize, body: &mut BytesMut, input: &mut &[u8]) -> Option<Bytes> {
    let take = input.len().min(*missing);
    let (now, rest) = input.split_at_checked(take)?;
    *input = rest;
    if body.is_empty() && take == *missing {
        return Some(Bytes::copy_from_slice(now));
    }
    if body.capacity() - body.len() < take {
        // What is reserved stays in proportion to what was received.
        let room = *missing;
        body.reserve(room.min(TRUSTED_SIZE.max(body.len())).max(take));
    }
    body.put_slice(now);
    *missing -= take;
    (*missing == 0).then(|| core::mem::take(body).freeze())
}

/// Writes the header of one frame of a message.
pub fn encode_header(size: usize, more: bool, out: &mut BytesMut) {
    put_header(if more { MORE } else { 0 }, size, out);
}

/// Writes a whole command frame.
pub fn encode_command(body: &[u8], out: &mut BytesMut) {
    put_header(COMMAND, body.len(), out);
    out.put_slice(body);
}

fn put_header(flags: u8, size: usize, out: &mut BytesMut) {
    if let (true, Ok(short)) = (size <= LARGEST_SHORT, u8::try_from(size)) {
        out.put_slice(&[flags, short]);
    } else {
        out.put_u8(flags | LONG);
        out.put_u64(size as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(frames: &[Bytes]) -> BytesMut {
        let mut out = BytesMut::new();
        for (at, frame) in frames.iter().enumerate() {
            encode_header(frame.len(), at + 1 < frames.len(), &mut out);
            out.put_slice(frame);
        }
        out
    }

    fn open(limits: WireLimits) -> Decoder {
        let mut decoder = Decoder::new(limits);
        decoder.open();
        decoder
    }

    #[test]
    fn limits_are_kept_before_memory_is_reserved() {
        let limits = WireLimits { max_message: 100, max_frames: 3, ..WireLimits::default() };
        let huge = [2, 0, 0, 1, 0, 0, 0, 0, 0];
        let fault = open(limits).advance(&mut &huge[..]);
        assert_eq!(fault, Err(Fault::MessageSize { size: 1 << 40, limit: 100 }));
        let most = [2, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(open(limits).advance(&mut &most[..]), Err(Fault::MessageSize { .. })));
        assert_eq!(open(limits).advance(&mut &[1, 0, 1, 0, 1, 0, 1, 0][..]), Err(Fault::Frames { limit: 3 }));
        assert_eq!(Decoder::new(limits).advance(&mut &[0, 0][..]), Err(Fault::EarlyMessage));
        let early = [6, 0, 0, 1, 0, 0, 0, 0, 0];
        assert!(matches!(Decoder::new(limits).advance(&mut &early[..]), Err(Fault::CommandSize { .. })));
        assert_eq!(open(limits).advance(&mut &[5][..]), Err(Fault::Flags { flags: 5 }));
        let mut two = [1, 60].to_vec();
        two.resize(62, 7);
        two.extend([0, 60]);
        let fault = open(limits).advance(&mut &two[..]);
        assert_eq!(fault, Err(Fault::MessageSize { size: 60, limit: 100 }));
    }

    #[test]
    fn memory_follows_the_bytes_received() {
        let mut decoder = open(WireLimits::default());
        let header = [2, 0, 0, 0, 0, 3, 0, 0, 0];
        assert_eq!(decoder.advance(&mut &header[..]), Ok(None));
        assert_eq!(decoder.unfinished(), 0);
        assert_eq!(decoder.advance(&mut &[0; 10][..]), Ok(None));
        assert!(decoder.unfinished() <= 2 * TRUSTED_SIZE, "{}", decoder.unfinished());
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_chunks_end_in_items_or_a_fault(
            bytes in proptest::collection::vec(any::<u8>(), 0..600), chunk in 1usize..40, opened: bool,
        ) {
            let mut decoder = Decoder::new(WireLimits { max_message: 300, ..WireLimits::default() });
            if opened { decoder.open(); }
            'all: for mut piece in bytes.chunks(chunk) {
                loop {
                    match decoder.advance(&mut piece) {
                        Ok(Some(_)) => {}
                        Ok(None) => { prop_assert!(piece.is_empty()); break }
                        Err(_) => break 'all,
                    }
                }
            }
        }

        #[test]
        fn what_is_encoded_is_decoded_in_any_chunks(
            message in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 1..6),
            chunk in 1usize..2000,
        ) {
            let frames: Vec<Bytes> = message.into_iter().map(Bytes::from).collect();
            let mut decoder = open(WireLimits::default());
            let mut got = Vec::new();
            for mut piece in encoded(&frames).chunks(chunk) {
                while let Some(item) = decoder.advance(&mut piece).expect("no fault") { got.push(item) }
            }
            prop_assert_eq!(got, vec![Item::Message(frames)]);
        }
    }
}

//! What children print, for those who listen right now: topics `log.<name>.<wid>.<stream>`.
//!
//! Nothing is made while nobody subscribes to such a topic, and nobody is waited for: what a listener
//! cannot take is counted, and the next message says how much is missing. Text is cut only between
//! characters. It knows no subscribers and writes nothing.

use bytes::Bytes;
use circus_protocol::json::float;
use circus_protocol::transport::Aside;
use serde_json::{Map, Value};

use crate::host::clock;
use crate::host::stream::line::Speaker;

/// The most text of one message, in bytes.
const PIECE: usize = 32 * 1024;

/// The way to whoever listens, if there is an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Air(pub(crate) Option<Aside>);

/// One pipe's topic.
#[derive(Debug, Default)]
pub(crate) struct Topic {
    name: Option<Bytes>,
    /// The beginning of a character whose rest has not come yet.
    begun: Vec<u8>,
    /// Bytes that could not be published since the last message.
    lost: u64,
}

impl Topic {
    pub(crate) fn speak(&mut self, speaker: Speaker<'_>, bytes: &[u8], air: &Air) {
        let Some(aside) = air.0.as_ref().filter(|aside| aside.is_heard()) else { return self.rest() };
        let name = self.name.get_or_insert_with(|| topic(speaker)).clone();
        if !aside.has_subscriber(&name) {
            return self.rest();
        }
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let whole = whole_characters(&text);
        self.begun = text.get(whole..).unwrap_or_default().to_vec();
        let mut rest = text.get(..whole).unwrap_or_default();
        while !rest.is_empty() {
            let end = piece(rest);
            let (now, later) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.say(speaker, &name, now, aside);
            rest = later;
        }
    }

    /// The pipe has ended: so has an unfinished character.
    pub(crate) fn end(&mut self, speaker: Speaker<'_>, air: &Air) {
        let begun = std::mem::take(&mut self.begun);
        if let (Some(aside), Some(name), false) = (&air.0, self.name.clone(), begun.is_empty()) {
            self.say(speaker, &name, &begun, aside);
        }
    }

    /// Nobody listens any more.
    fn rest(&mut self) {
        if !self.begun.is_empty() {
            self.begun = Vec::new();
        }
        self.lost = 0;
    }

    fn say(&mut self, speaker: Speaker<'_>, name: &Bytes, bytes: &[u8], aside: &Aside) {
        if !aside.has_room() {
            self.lost += bytes.len() as u64;
            return;
        }
        let mut message = Map::new();
        message.insert("pid".to_owned(), speaker.pid.get().into());
        message.insert("time".to_owned(), float(clock::wall()));
        message.insert("text".to_owned(), String::from_utf8_lossy(bytes).into());
        if self.lost > 0 {
            message.insert("lost".to_owned(), self.lost.into());
        }
        let payload = Bytes::from(Value::Object(message).to_string());
        if aside.publish(vec![name.clone(), payload]) {
            self.lost = 0;
        } else {
            self.lost += bytes.len() as u64;
        }
    }
}

fn topic(speaker: Speaker<'_>) -> Bytes {
    Bytes::from(format!("log.{}.{}.{}", speaker.name, speaker.wid.0, speaker.feed))
}

/// Where to cut: after a line if there is one, else between two characters.
fn piece(text: &[u8]) -> usize {
    let Some(first) = text.get(..PIECE).filter(|_| text.len() > PIECE) else { return text.len() };
    match first.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at + 1,
        None => whole_characters(first).max(1),
    }
}

/// How much of a text is there without a character that is only begun at its end. What is no UTF-8
/// counts as a character.
pub(crate) fn whole_characters(text: &[u8]) -> usize {
    let length = text.len();
    for back in 1..=length.min(3) {
        let byte = text.get(length - back).copied().unwrap_or_default();
        let needs = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => 1,
        };
        return if needs > back { length - back } else { length };
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_only_begun_waits() {
        for (text, whole) in [
            (&b""[..], 0),
            (b"abc", 3),
            ("aß".as_bytes(), 3),
            (b"a\xc3", 1),
            (b"a\xe2\x82", 1),
            (b"a\xf0\x9f\x92", 1),
            ("€".as_bytes(), 3),
            (b"\x80\x80\x80\x80", 4),
            (b"a\xff", 2),
        ] {
            assert_eq!(whole_characters(text), whole, "{text:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_after_lines() {
        assert_eq!(piece(b"short"), 5);
        let lines = "x".repeat(PIECE - 10) + "\n" + &"y".repeat(PIECE);
        assert_eq!(piece(lines.as_bytes()), PIECE - 9);
        let euros = "€".repeat(PIECE);
        assert_eq!(piece(euros.as_bytes()), PIECE / 3 * 3);
    }
}

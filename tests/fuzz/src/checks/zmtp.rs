//! One connection fed by a stranger: whole or in pieces, the same comes out of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use circus_protocol::zmtp::fault::Fault;
use circus_protocol::zmtp::frame::{self, Decoder, Item};
use circus_protocol::zmtp::limits::WireLimits;
use circus_protocol::zmtp::session::{Config, Event, Session};
use circus_protocol::zmtp::socket::SocketType;
use circus_protocol::zmtp::subscription::Subscriptions;

const NOW: Duration = Duration::from_secs(1);
/// What is held for input that is not complete, per byte that came. An empty frame costs its sender two.
const HELD_PER_BYTE: usize = 40;
/// What a header alone may reserve, twice for the buffer's growth.
const HELD: usize = 64 * 1024;

/// The first byte chooses our side, the second the pieces, the rest is what the peer sends.
pub fn check(data: &[u8]) {
    let [side, cut, sent @ ..] = data else { return };
    let whole = heard(*side, [sent]);
    assert_eq!(whole, heard(*side, sent.chunks(1 + usize::from(*cut))));
    assert_eq!(whole, heard(*side, sent.chunks(1)));
    subscribed(&whole.events);
    for event in &whole.events {
        if let Event::Message(frames) = event {
            repeated(frames);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Heard {
    events: Vec<Event>,
    end: Option<Fault>,
    output: BytesMut,
}

fn session(side: u8) -> Session {
    let socket_type = match side % 4 {
        0 => SocketType::Router,
        1 => SocketType::Pub,
        2 => SocketType::Sub,
        _ => SocketType::Dealer,
    };
    let mut limits = WireLimits::default();
    if side & 4 != 0 {
        (limits.max_message, limits.max_frames, limits.max_command) = (300, 5, 100);
    }
    let identity = if side & 8 == 0 { Bytes::new() } else { Bytes::from_static(b"me") };
    Session::new(Config { socket_type, identity, limits })
}

fn heard<'a>(side: u8, pieces: impl IntoIterator<Item = &'a [u8]>) -> Heard {
    let mut session = session(side);
    let mut heard = Heard { events: Vec::new(), end: None, output: BytesMut::new() };
    let mut fed = 0;
    'fed: for piece in pieces {
        let mut input = piece;
        fed += piece.len();
        loop {
            match session.advance(NOW, &mut input) {
                Ok(Some(event)) => heard.events.push(event),
                Ok(None) => break,
                Err(fault) => {
                    heard.end = Some(fault);
                    break 'fed;
                }
            }
        }
        assert!(input.is_empty());
        assert!(session.unfinished() <= HELD + HELD_PER_BYTE * fed, "{} for {fed}", session.unfinished());
    }
    let open = heard.events.first().is_some_and(|event| matches!(event, Event::Open(_)));
    assert_eq!((session.is_open(), heard.events.is_empty()), (open, !open));
    if heard.end.is_none() {
        let _ = (session.deadline(), session.tick(NOW));
        session.encode_subscription(true, b"watcher.", &mut heard.output);
    }
    session.take_output(&mut heard.output);
    assert!(!session.has_output());
    heard
}

fn subscribed(events: &[Event]) {
    let mut subscriptions = Subscriptions::default();
    for event in events {
        match event {
            Event::Subscribe(prefix) => {
                if subscriptions.subscribe(prefix).is_ok() {
                    assert!(subscriptions.matches(prefix));
                }
            }
            Event::Cancel(prefix) => {
                subscriptions.cancel(prefix);
            }
            Event::Open(_) | Event::Message(_) => {}
        }
    }
    assert_eq!(subscriptions.prefixes().count(), subscriptions.len());
}

/// A message that came in would arrive elsewhere as it is.
fn repeated(frames: &[Bytes]) {
    let mut sent = BytesMut::new();
    for (at, frame) in frames.iter().enumerate() {
        frame::encode_header(frame.len(), at + 1 < frames.len(), &mut sent);
        sent.put_slice(frame);
    }
    let mut decoder = Decoder::new(WireLimits::default());
    decoder.open();
    assert_eq!(decoder.advance(&mut &sent[..]), Ok(Some(Item::Message(frames.to_vec()))));
}

use super::*;
use crate::zmtp::limits::HeartbeatLimits;
use proptest::prelude::*;

const NOW: Duration = Duration::from_secs(1);

fn session(socket_type: SocketType) -> Session {
    Session::new(Config { socket_type, identity: Bytes::new(), limits: WireLimits::default() })
}

/// Carries bytes from one side to the other until both are quiet.
fn carry(one: &mut Session, two: &mut Session) -> Result<Vec<Event>, Fault> {
    let mut bytes = BytesMut::new();
    one.take_output(&mut bytes);
    let (mut input, mut events) = (&bytes[..], Vec::new());
    while let Some(event) = two.advance(NOW, &mut input)? {
        events.push(event);
    }
    Ok(events)
}

fn pair(one: SocketType, two: SocketType) -> (Session, Session) {
    let (mut one, mut two) = (session(one), session(two));
    assert_eq!(carry(&mut one, &mut two), Ok(vec![]));
    assert!(matches!(carry(&mut two, &mut one).as_deref(), Ok([Event::Open(_)])));
    assert!(matches!(carry(&mut one, &mut two).as_deref(), Ok([Event::Open(_)])));
    (one, two)
}

fn feed(session: &mut Session, bytes: &[u8]) -> Result<Vec<Event>, Fault> {
    let (mut input, mut events) = (bytes, Vec::new());
    while let Some(event) = session.advance(NOW, &mut input)? {
        events.push(event);
    }
    Ok(events)
}

fn greeted(minor: u8) -> BytesMut {
    let mut bytes = BytesMut::new();
    greeting::encode("NULL", false, &mut bytes);
    bytes[11] = minor;
    bytes
}

fn peer_of(socket_type: &str, minor: u8) -> BytesMut {
    let mut bytes = greeted(minor);
    frame::encode_command(&command::ready(socket_type, b"me"), &mut bytes);
    bytes
}

#[test]
fn a_handshake_tells_who_the_peer_is() {
    let events = feed(&mut session(SocketType::Router), &peer_of("DEALER", 0));
    let peer = Peer { socket_type: SocketType::Dealer, identity: "me".into(), minor: 0 };
    assert_eq!(events, Ok(vec![Event::Open(peer)]));
}

#[test]
fn what_is_in_a_hurry_leaves_with_ready_and_not_before() {
    let (mut dealer, mut router) = (session(SocketType::Dealer), session(SocketType::Router));
    let messages = [vec![Bytes::from_static(b"one")], vec![Bytes::new(), Bytes::from(vec![b'x'; 300])]];
    dealer.hurry(&messages);
    let mut greeting = BytesMut::new();
    dealer.take_output(&mut greeting);
    assert_eq!(greeting, greeted(1));
    assert_eq!(feed(&mut router, &greeting), Ok(vec![]));
    // The router's READY is still on its way when everything of ours is there.
    let mut bytes = BytesMut::new();
    router.take_output(&mut bytes);
    let (greeting, ready) = bytes.split_at(greeting.len());
    assert_eq!(feed(&mut dealer, greeting), Ok(vec![]));
    let events = carry(&mut dealer, &mut router).expect("a fitting peer");
    assert!(matches!(events[0], Event::Open(_)), "{events:?}");
    assert_eq!(events[1..], messages.map(Event::Message));
    assert!(matches!(feed(&mut dealer, ready).as_deref(), Ok([Event::Open(_)])));
    assert_eq!(carry(&mut dealer, &mut router), Ok(vec![]), "nothing is said twice");
}

#[test]
fn a_misfit_is_told_why_before_it_is_closed() {
    let mut router = session(SocketType::Router);
    let fault = feed(&mut router, &peer_of("PUSH", 1)).expect_err("misfit");
    assert_eq!(fault.to_string(), "a PUSH socket does not fit a ROUTER socket");
    let mut told = BytesMut::new();
    router.take_output(&mut told);
    assert!(told.windows(6).any(|part| part == b"\x05ERROR"));
}

#[test]
fn nothing_but_ready_may_follow_the_greeting() {
    for body in [&b"\x04PING\x00\x00"[..], b"\x09SUBSCRIBEx", b"\x05HELLO", b"\x05ERROR\x02no"] {
        let mut bytes = greeted(1);
        frame::encode_command(body, &mut bytes);
        assert!(feed(&mut session(SocketType::Pub), &bytes).is_err(), "{body:?}");
    }
}

#[test]
fn pings_are_answered_with_one_pong_however_many_came() {
    let (mut router, _dealer) = pair(SocketType::Router, SocketType::Dealer);
    for context in ["a", "b", "c"] {
        let mut bytes = BytesMut::new();
        frame::encode_command(format!("\x04PING\0\0{context}").as_bytes(), &mut bytes);
        assert_eq!(feed(&mut router, &bytes), Ok(vec![]));
    }
    let mut out = BytesMut::new();
    router.take_output(&mut out);
    assert_eq!(&out[..], b"\x04\x06\x04PONGc");
}

#[test]
fn only_peers_that_know_ping_are_asked() {
    let limits = WireLimits {
        heartbeat: Some(HeartbeatLimits { interval: NOW, timeout: NOW }),
        ..WireLimits::default()
    };
    for (minor, asked) in [(0, false), (1, true)] {
        let config = Config { socket_type: SocketType::Router, identity: Bytes::new(), limits };
        let mut router = Session::new(config);
        feed(&mut router, &peer_of("DEALER", minor)).expect("good peer");
        router.take_output(&mut BytesMut::new());
        router.tick(2 * NOW).expect("not silent yet");
        assert_eq!(router.has_output(), asked);
        assert_eq!(router.tick(3 * NOW).is_err(), asked);
    }
}

#[test]
fn subscriptions_come_as_commands_or_as_messages() {
    for minor in [0, 1] {
        let mut publisher = session(SocketType::Pub);
        feed(&mut publisher, &peer_of("SUB", minor)).expect("good peer");
        let mut subscriber = session(SocketType::Sub);
        feed(&mut subscriber, &peer_of("PUB", minor)).expect("good peer");
        let mut bytes = BytesMut::new();
        subscriber.encode_subscription(true, b"abc", &mut bytes);
        subscriber.encode_subscription(false, b"", &mut bytes);
        assert_eq!(bytes.first(), Some(&(4 * minor)));
        let events = feed(&mut publisher, &bytes);
        assert_eq!(events, Ok(vec![Event::Subscribe("abc".into()), Event::Cancel("".into())]));
        assert_eq!(feed(&mut publisher, b"\x00\x03\x07hi\x00\x00"), Ok(vec![]), "user messages are ignored");
    }
}

#[test]
fn a_slow_handshake_is_given_up() {
    let mut router = session(SocketType::Router);
    assert_eq!(router.deadline(), Some(Duration::from_secs(10)));
    assert_eq!(router.tick(Duration::from_secs(9)), Ok(()));
    assert!(matches!(router.tick(Duration::from_secs(10)), Err(Fault::HandshakeTime { .. })));
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_end_in_events_or_a_fault(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), chunk in 1usize..64, begun in 0u8..3,
    ) {
        let mut session = session(SocketType::Pub);
        let mut start = if begun == 1 { greeted(1) } else { peer_of("SUB", 1) };
        if begun == 0 { start.clear() }
        start.extend_from_slice(&bytes);
        'all: for mut piece in start.chunks(chunk) {
            loop {
                match session.advance(NOW, &mut piece) {
                    Ok(Some(_)) => {}
                    Ok(None) => { prop_assert!(piece.is_empty()); break }
                    Err(_) => break 'all,
                }
            }
        }
        let mut out = BytesMut::new();
        session.take_output(&mut out);
        prop_assert!(out.len() < 1_000);
    }
}

//! Attacks on a bound ROUTER.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use circus_protocol::transport::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{setsockopt, sockopt};

use crate::common::{
    Noise, Server, Threads, alone, attacked, closed, connect, greeting, header, hello, memory, pause,
    processor, ready, served, throw, unharmed,
};

/// The limits of a daemon, but with a handshake time that a test can wait for.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.wire.handshake_time = Duration::from_millis(1_500);
    limits
}

#[test]
fn random_bytes() {
    attacked(limits(), |address| {
        let mut noise = Noise(1);
        for round in 0..300 {
            throw(address, &noise.bytes(round * 7 + 1));
        }
    });
}

#[test]
fn a_browser_is_closed_at_once() {
    let mut patient = limits();
    patient.wire.handshake_time = Duration::from_secs(3_600);
    attacked(patient, |address| {
        closed(throw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
        closed(throw(address, b"G"));
    });
}

#[test]
fn junk_after_the_greeting_and_after_ready() {
    attacked(limits(), |address| {
        let mut noise = Noise(2);
        for round in 0..1_000 {
            let start = if round % 3 == 0 { hello("DEALER") } else { greeting(3, "NULL", 0) };
            throw(address, &[start, noise.bytes(200)].concat());
        }
    });
}

#[test]
fn wrong_versions_mechanisms_and_types() {
    attacked(limits(), |address| {
        for start in [
            greeting(0, "NULL", 0),
            greeting(1, "NULL", 0),
            greeting(2, "NULL", 0),
            greeting(3, "PLAIN", 0),
            greeting(3, "CURVE", 1),
            greeting(3, "CURVE", 0),
            greeting(3, "", 0),
            greeting(3, "NULLNULLNULLNULLNULL", 0),
            greeting(3, "NULL", 7),
        ] {
            closed(throw(address, &[start, ready("DEALER")].concat()));
        }
        for kind in ["PUSH", "PAIR", "PUB", "SUB", "REP", "", "\u{7}"] {
            let told = closed(throw(address, &hello(kind)));
            assert!(told.windows(6).any(|part| part == b"\x05ERROR"), "{kind} is told why");
        }
    });
}

#[test]
fn half_open_connections_are_given_up() {
    attacked(limits(), |address| {
        let start = greeting(3, "NULL", 0);
        let held: Vec<_> =
            (0..1_000).map(|round| throw(address, start.get(..round % 65).unwrap_or(&start))).collect();
        let endpoint = format!("tcp://{address}").parse().expect("endpoint");
        served(&endpoint, 20);
        for stream in held {
            closed(stream);
        }
    });
}

#[test]
fn half_open_connections_make_way_when_there_is_no_room() {
    let mut crowded = limits();
    crowded.max_connections = 50;
    crowded.wire.handshake_time = Duration::from_secs(3_600);
    attacked(crowded.clone(), |address| {
        let _held: Vec<_> = (0..200).map(|_| throw(address, b"\xff")).collect();
        let endpoint = format!("tcp://{address}").parse().expect("endpoint");
        served(&endpoint, 20);
        // Those with a finished handshake stay, so one too many is turned away.
        let mut good: Vec<_> = (0..50).map(|_| throw(address, &hello("DEALER"))).collect();
        for stream in &mut good {
            stream.read_exact(&mut [0; 64 + 30]).expect("greeting and READY");
        }
        closed(connect(address));
    });
    crowded.max_connections = 1_000;
    crowded.max_connections_per_address = 50;
    attacked(crowded, |address| {
        let _held: Vec<_> = (0..200).map(|_| throw(address, b"\xff")).collect();
        let endpoint = format!("tcp://{address}").parse().expect("endpoint");
        served(&endpoint, 20);
    });
}

fn reset(stream: &TcpStream) {
    let hard = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &hard).expect("option");
}

#[test]
fn connect_and_close_or_reset() {
    attacked(limits(), |address| {
        for round in 0..3_000 {
            let stream = connect(address);
            if round % 2 == 0 {
                reset(&stream);
            }
        }
    });
}

#[test]
fn headers_that_claim_too_much() {
    attacked(limits(), |address| {
        for size in [1 << 33, 1 << 34, 1 << 35, 1 << 40, (1 << 63) - 1, u64::MAX] {
            closed(throw(address, &[hello("DEALER"), header(size)].concat()));
            // As a command, before READY and after it.
            let mut command = header(size);
            command[0] = 6;
            closed(throw(address, &[greeting(3, "NULL", 0), command.clone()].concat()));
            closed(throw(address, &[hello("DEALER"), command].concat()));
        }
    });
}

#[test]
fn a_header_that_claims_too_much_under_a_memory_limit() {
    attacked(limits(), |address| {
        let (soft, hard) = getrlimit(Resource::RLIMIT_AS).expect("limit");
        setrlimit(Resource::RLIMIT_AS, 4 << 30, hard).expect("limit");
        closed(throw(address, &[hello("DEALER"), header(1 << 34)].concat()));
        setrlimit(Resource::RLIMIT_AS, soft, hard).expect("limit");
    });
}

#[test]
fn many_headers_that_claim_what_is_allowed() {
    let mut generous = limits();
    generous.wire.max_message = 1 << 30;
    attacked(generous, |address| {
        let before = memory();
        let claim = [hello("DEALER"), header(1 << 30), vec![7; 100]].concat();
        let _held: Vec<_> = (0..100).map(|_| throw(address, &claim)).collect();
        pause(100);
        assert!(memory() < before + (16 << 20), "memory follows claims");
    });
}

#[test]
fn unfinished_messages_cannot_use_up_the_memory() {
    let mut frugal = limits();
    frugal.max_inbox_bytes = 16 << 20;
    attacked(frugal, |address| {
        let before = memory();
        let part = [hello("DEALER"), header(8 << 20), vec![7; 4 << 20]].concat();
        let _held: Vec<_> = (0..30).map(|_| throw(address, &part)).collect();
        assert!(memory() < before + (64 << 20), "{} KiB more", (memory() - before) >> 10);
        let endpoint = format!("tcp://{address}").parse().expect("endpoint");
        served(&endpoint, 20);
    });
}

#[test]
fn a_message_without_end() {
    attacked(limits(), |address| {
        let mut stream = throw(address, &hello("DEALER"));
        let empty = [1, 0].repeat(500_000);
        let sent = (0..100).take_while(|_| stream.write_all(&empty).is_ok()).count();
        assert!(sent < 100, "50 million frames were taken");
    });
}

#[test]
fn a_frame_of_500_megabytes_really_sent() {
    attacked(limits(), |address| {
        let mut stream = throw(address, &[hello("DEALER"), header(500_000_000)].concat());
        let part = vec![7; 1_000_000];
        let sent = (0..500).take_while(|_| stream.write_all(&part).is_ok()).count();
        assert!(sent < 500, "500 MB were taken");
    });
}

#[test]
fn pings_are_answered_also_a_flood_that_nobody_reads() {
    attacked(limits(), |address| {
        let ping = b"\x04\x0a\x04PING\0\0abc";
        let mut stream = throw(address, &[&hello("DEALER")[..], ping].concat());
        let mut told = vec![0; 64 + 30];
        stream.read_exact(&mut told).expect("greeting and READY");
        let mut pong = [0; 10];
        stream.read_exact(&mut pong).expect("PONG");
        assert_eq!(&pong, b"\x04\x08\x04PONGabc");
        let flood = ping.repeat(50_000);
        for _ in 0..10 {
            stream.write_all(&flood).expect("read as fast as they come");
        }
    });
}

#[test]
fn no_descriptors_left() {
    let _alone = alone();
    let server = Server::start(Threads::One, limits());
    let before = memory();
    let address = server.address();
    let mut existing = throw(address, &hello("DEALER"));
    existing.read_exact(&mut [0; 64 + 30]).expect("greeting and READY");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
    let open = std::fs::read_dir("/proc/self/fd").expect("fds").count();
    setrlimit(Resource::RLIMIT_NOFILE, open as u64 + 40, hard).expect("limit");
    let take = || existing.try_clone();
    let mut held: Vec<_> = std::iter::repeat_with(take).map_while(Result::ok).collect();
    // The last descriptor is the client's, so that none is left to accept it with.
    held.pop();
    held.push(TcpStream::connect(address).expect("connect"));
    let start = processor();
    for _ in 0..20 {
        existing.write_all(b"\0\x02hi").expect("send");
        let mut reply = [0; 4];
        existing.read_exact(&mut reply).expect("reply");
        assert_eq!(&reply, b"\0\x02hi");
        pause(20);
    }
    let spent = processor() - start;
    drop(held);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("limit");
    assert!(spent < Duration::from_millis(100), "{spent:?} of processor time");
    served(&server.endpoint, 20);
    unharmed(before);
}

#[test]
fn a_client_that_never_reads_its_replies() {
    attacked(limits(), |address| {
        let mut deaf = throw(address, &hello("DEALER"));
        let mut request = vec![2, 0, 0, 0, 0, 0, 0, 4, 0];
        request.resize(9 + 1_024, b'x');
        let requests = request.repeat(100);
        let endpoint = format!("tcp://{address}").parse().expect("endpoint");
        let mut sent = 0;
        for round in 0..1_000 {
            if deaf.write_all(&requests).is_err() {
                break;
            }
            sent += 100;
            if round % 100 == 0 {
                served(&endpoint, 10);
            }
        }
        assert!(sent < 100_000, "it was not cut");
    });
}

/// Clients come, ask and go, some without a word, for a few seconds.
fn churn(threads: Threads) {
    let _alone = alone();
    let server = Server::start(threads, limits());
    let address = server.address();
    served(&server.endpoint, 20);
    let mut before = 0;
    for round in 0..2 {
        let clients: Vec<_> =
            (0..8).map(|seed| std::thread::spawn(move || visits(address, seed, 150))).collect();
        for client in clients {
            client.join().expect("every visit is answered");
        }
        served(&server.endpoint, 20);
        // The first round is for the allocator.
        if round == 0 {
            before = memory();
        }
    }
    unharmed(before);
    assert!(memory() < before + (4 << 20), "{} KiB more after 1,200 connections", (memory() - before) >> 10);
}

fn visits(address: SocketAddr, seed: usize, count: usize) {
    for round in 0..count {
        let mut stream = throw(address, &hello("DEALER"));
        match (seed + round) % 4 {
            0 => reset(&stream),
            1 => {}
            _ => {
                stream.write_all(b"\0\x02hi").expect("send");
                let mut reply = [0; 64 + 30 + 4];
                stream.read_exact(&mut reply).expect("reply");
                assert!(reply.ends_with(b"\0\x02hi"));
            }
        }
    }
}

#[test]
fn coming_and_going_on_one_thread() {
    churn(Threads::One);
}

#[test]
fn coming_and_going_on_several_threads() {
    churn(Threads::Several);
}

#[test]
fn an_idle_connection_costs_little() {
    let _alone = alone();
    let server = Server::start(Threads::One, limits());
    let address = server.address();
    let held = |count| -> Vec<TcpStream> {
        let visit = |_| {
            let mut stream = throw(address, &hello("DEALER"));
            stream.write_all(b"\0\x02hi").expect("send");
            stream.read_exact(&mut [0; 64 + 30 + 4]).expect("reply");
            stream
        };
        (0..count).map(visit).collect()
    };
    drop(held(200));
    served(&server.endpoint, 1);
    let before = memory();
    let count = 1_000;
    let kept = held(count);
    let each = memory().saturating_sub(before) / count;
    println!("{each} bytes per connection");
    assert!(each <= 16 * 1024, "{each} bytes per connection");
    drop(kept);
}

//! Attacks on a bound PUB.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use circus_protocol::transport::{Limits, LinkEvent, LinkOptions, Publisher, Subscriber};
use circus_tests::wait::PATIENCE;

use crate::common::{Threads, address, alone, any_port, closed, hello, memory, runtime, throw, unharmed};

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("took too long")
}

async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(wait).await;
}

/// A good subscriber hears what is published while `publish` goes on.
async fn heard(publisher: &Publisher, subscriber: &mut Subscriber) {
    let heard = async { while !matches!(subscriber.recv().await, LinkEvent::Message(_)) {} };
    let published = async {
        loop {
            publisher.publish(vec![Bytes::from_static(b"good")]);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(async {
        tokio::select! { () = heard => {}, () = published => {} }
    })
    .await;
}

#[test]
fn subscribers_that_never_read_miss_messages_and_cost_little() {
    for threads in [Threads::One, Threads::Several] {
        let _alone = alone();
        let before = memory();
        runtime(threads).block_on(async {
            let publisher = Publisher::bind(&[any_port()], Limits::default()).await.expect("bind");
            let endpoint = publisher.endpoints()[0].clone();
            let mut good = Subscriber::connect(endpoint.clone(), LinkOptions::default()).expect("connect");
            good.subscribe("good").expect("subscribe");
            let deaf: Vec<TcpStream> = (0..20)
                .map(|_| throw(address(&endpoint), &[hello("SUB"), b"\0\x04\x01bad".to_vec()].concat()))
                .collect();
            until(|| publisher.has_subscriber(b"bad")).await;
            heard(&publisher, &mut good).await;
            let text = Bytes::from(vec![b'x'; 1_024]);
            for round in 0..40_000 {
                publisher.publish(vec![Bytes::from_static(b"bad"), text.clone()]);
                if round % 100 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            heard(&publisher, &mut good).await;
            assert!(publisher.dropped() > 0);
            let more = memory().saturating_sub(before);
            assert!(more < 64 << 20, "{} KiB for 20 subscribers", more >> 10);
            drop(deaf);
            heard(&publisher, &mut good).await;
            until(|| !publisher.has_subscriber(b"bad")).await;
        });
        unharmed(before);
    }
}

#[test]
fn subscriptions_without_end_are_cut() {
    let _alone = alone();
    let before = memory();
    runtime(Threads::Several).block_on(async {
        let publisher = Publisher::bind(&[any_port()], Limits::default()).await.expect("bind");
        let endpoint = publisher.endpoints()[0].clone();
        let address = address(&endpoint);
        let attack = tokio::task::spawn_blocking(move || {
            let mut stream = throw(address, &hello("SUB"));
            for start in 0..200u32 {
                let many = (0..1_000).flat_map(|at| {
                    let prefix = (start * 1_000 + at).to_be_bytes();
                    [&[0, 5, 1][..], &prefix].concat()
                });
                if stream.write_all(&many.collect::<Vec<_>>()).is_err() {
                    break;
                }
            }
            closed(stream);
        });
        let mut good = Subscriber::connect(endpoint, LinkOptions::default()).expect("connect");
        good.subscribe("good").expect("subscribe");
        heard(&publisher, &mut good).await;
        soon(attack).await.expect("cut");
        heard(&publisher, &mut good).await;
    });
    unharmed(before);
}

#[test]
fn subscribers_that_come_and_go_while_much_is_published() {
    for threads in [Threads::One, Threads::Several] {
        let _alone = alone();
        let before = memory();
        runtime(threads).block_on(async {
            let publisher = Publisher::bind(&[any_port()], Limits::default()).await.expect("bind");
            let endpoint = publisher.endpoints()[0].clone();
            let address = address(&endpoint);
            let visitors: Vec<_> = (0..4)
                .map(|_| {
                    std::thread::spawn(move || {
                        for round in 0..100 {
                            let mut stream = throw(address, &[hello("SUB"), b"\0\x01\x01".to_vec()].concat());
                            if round % 2 == 0 {
                                stream.read_exact(&mut [0; 64 + 27 + 6]).expect("a message");
                            }
                        }
                    })
                })
                .collect();
            let busy = async {
                while !visitors.iter().all(std::thread::JoinHandle::is_finished) {
                    publisher.publish(vec![Bytes::from_static(b"good")]);
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
            };
            soon(busy).await;
            for visitor in visitors {
                visitor.join().expect("visitor");
            }
            let mut good = Subscriber::connect(endpoint, LinkOptions::default()).expect("connect");
            good.subscribe("good").expect("subscribe");
            heard(&publisher, &mut good).await;
        });
        unharmed(before);
    }
}

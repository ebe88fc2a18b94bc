//! Attacks by a server on those who connect to it.

use core::time::Duration;
use std::io::Write;
use std::net::TcpListener;

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::transport::{
    Dealer, DownReason, Limits, LinkEvent, LinkOptions, Publisher, Router, Subscriber,
};
use circus_protocol::zmtp::fault::Fault;
use circus_tests::wait::PATIENCE;

use crate::common::{Noise, Threads, alone, greeting, header, hello, memory, runtime, unharmed};

/// Serves each connection with one of `lies`, then makes room for somebody honest.
fn liar(lies: Vec<Vec<u8>>) -> (Endpoint, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("address")).parse().expect("endpoint");
    let thread = std::thread::spawn(move || {
        for lie in lies {
            let (mut stream, _) = listener.accept().expect("accept");
            let _ = stream.write_all(&lie);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    (endpoint, thread)
}

fn lies(socket_type: &str) -> Vec<Vec<u8>> {
    let mut noise = Noise(3);
    let mut command = header(1 << 40);
    command[0] = 6;
    vec![
        [hello(socket_type), header(1 << 40)].concat(),
        [hello(socket_type), header(u64::MAX)].concat(),
        [greeting(3, "NULL", 0), command].concat(),
        [hello(socket_type), [1, 0].repeat(5_000)].concat(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        noise.bytes(1_000),
        hello("PUSH"),
    ]
}

fn quick() -> LinkOptions {
    LinkOptions {
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(20),
        ..LinkOptions::default()
    }
}

/// The reasons of as many failures as there are lies.
async fn faults<F: Future<Output = LinkEvent>>(mut recv: impl FnMut() -> F, count: usize) -> Vec<Fault> {
    let mut faults = Vec::new();
    while faults.len() < count {
        match recv().await {
            LinkEvent::Disconnected { reason: DownReason::Protocol(fault), .. } => faults.push(fault),
            LinkEvent::Disconnected { reason, .. } => panic!("{reason}"),
            LinkEvent::Connected { .. } | LinkEvent::Message(_) => {}
        }
    }
    faults
}

fn told_apart(faults: &[Fault]) {
    assert!(
        matches!(
            faults,
            [
                Fault::MessageSize { .. },
                Fault::MessageSize { .. },
                Fault::CommandSize { .. },
                Fault::Frames { .. },
                Fault::NotZmtp { .. },
                Fault::NotZmtp { .. },
                Fault::Incompatible { .. },
            ]
        ),
        "{faults:?}"
    );
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("took too long")
}

#[test]
fn a_dealer_survives_a_lying_router() {
    let _alone = alone();
    let before = memory();
    let (endpoint, thread) = liar(lies("ROUTER"));
    runtime(Threads::One).block_on(async {
        let mut dealer = Dealer::connect(endpoint.clone(), quick()).expect("connect");
        let cell = tokio::sync::Mutex::new(&mut dealer);
        told_apart(&soon(faults(async || cell.lock().await.recv().await, 7)).await);
        thread.join().expect("liar");
        let mut router = Router::bind(&[endpoint], Limits::default()).await.expect("bind");
        while !dealer.is_connected() {
            soon(dealer.recv()).await;
        }
        for _ in 0..20 {
            dealer.send(vec![Bytes::from_static(b"hi")]).expect("send");
            let incoming = soon(router.recv()).await;
            router.send(incoming.peer, incoming.frames).expect("reply");
            assert!(matches!(soon(dealer.recv()).await, LinkEvent::Message(_)));
        }
    });
    unharmed(before);
}

#[test]
fn a_subscriber_survives_a_lying_publisher() {
    let _alone = alone();
    let before = memory();
    let (endpoint, thread) = liar(lies("PUB"));
    runtime(Threads::One).block_on(async {
        let mut subscriber = Subscriber::connect(endpoint.clone(), quick()).expect("connect");
        subscriber.subscribe("a").expect("subscribe");
        let cell = tokio::sync::Mutex::new(&mut subscriber);
        told_apart(&soon(faults(async || cell.lock().await.recv().await, 7)).await);
        thread.join().expect("liar");
        let publisher = Publisher::bind(&[endpoint], Limits::default()).await.expect("bind");
        let heard = async { while !matches!(subscriber.recv().await, LinkEvent::Message(_)) {} };
        tokio::pin!(heard);
        let published = async {
            loop {
                publisher.publish(vec![Bytes::from_static(b"abc")]);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(async {
            tokio::select! { () = heard => {}, () = published => {} }
        })
        .await;
    });
    unharmed(before);
}

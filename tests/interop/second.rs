//! Against the `zeromq` crate, in the same process.

use circus_protocol::transport::{Dealer, LinkEvent, LinkOptions, Subscriber};
use core::time::Duration;
use zeromq::{
    DealerSocket, PubSocket, ReqSocket, RouterSocket, Socket, SocketOptions, SocketRecv, SocketSend,
    SubSocket, ZmqMessage,
};

use crate::common::{
    answer, connected, echo, endpoints, frames, heard, large, publisher, quick, router, soon, wanted,
};

fn message(texts: &[&str]) -> ZmqMessage {
    ZmqMessage::try_from(frames(texts)).expect("frames")
}

#[tokio::test]
async fn its_dealers_are_answered() {
    let (_directory, endpoints) = endpoints();
    for endpoint in endpoints {
        let mut router = router(&endpoint).await;
        let bound = router.endpoints()[0].to_string();
        for identity in ["", "somebody"] {
            let mut options = SocketOptions::default();
            if !identity.is_empty() {
                options.peer_identity(identity.parse().expect("identity"));
            }
            let mut dealer = DealerSocket::with_options(options);
            soon(dealer.connect(&bound)).await.expect("connect");
            let large = ZmqMessage::from(large());
            for message in [message(&["one"]), message(&["", "a", "", "b"]), large] {
                let exchange = async {
                    dealer.send(message.clone()).await.expect("send");
                    dealer.recv().await.expect("recv")
                };
                let served = async {
                    let incoming = router.recv().await;
                    assert_eq!(incoming.identity, identity);
                    router.send(incoming.peer, incoming.frames).expect("reply");
                    // Stays in recv, as a server does, while the reply is on its way.
                    router.recv().await
                };
                let answer = tokio::select! {
                    answer = soon(exchange) => answer,
                    more = served => panic!("one message became two: {more:?}"),
                };
                assert!(answer.into_vec() == message.into_vec());
            }
        }
        router.close().await;
    }
}

#[tokio::test]
async fn its_req_is_answered_behind_the_delimiter() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut router = router(&endpoint).await;
    let mut req = ReqSocket::new();
    soon(req.connect(&router.endpoints()[0].to_string())).await.expect("connect");
    for _ in 0..5 {
        req.send(message(&["question"])).await.expect("send");
        echo(&mut router, 1).await;
        assert_eq!(soon(req.recv()).await.expect("recv").into_vec(), frames(&["question"]));
    }
}

#[tokio::test]
async fn its_router_answers_us_and_is_found_again() {
    let (_directory, endpoints) = endpoints();
    for endpoint in endpoints {
        let mut bind = endpoint.to_string().replace('*', "0");
        let mut dealer = None;
        for _ in 0..2 {
            let mut router = RouterSocket::new();
            bind = soon(router.bind(&bind)).await.expect("bind").to_string();
            let dealer = dealer.get_or_insert_with(|| {
                let options = LinkOptions { identity: "me".into(), ..quick() };
                Dealer::connect(bind.parse().expect("endpoint"), options).expect("connect")
            });
            connected(dealer).await;
            for message in [frames(&["", "text"]), vec![large()]] {
                dealer.send(message.clone()).expect("send");
                let got = soon(router.recv()).await.expect("recv");
                assert_eq!(got.get(0).map(|name| &name[..]), Some(&b"me"[..]));
                soon(router.send(got)).await.expect("send");
                assert!(answer(dealer).await == message);
            }
            soon(router.close()).await;
            let event = soon(dealer.recv()).await;
            assert!(matches!(event, LinkEvent::Disconnected { .. }), "{event:?}");
            if let Some(path) = bind.strip_prefix("ipc://") {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[tokio::test]
async fn its_subscribers_hear_us() {
    let (_directory, endpoints) = endpoints();
    for endpoint in endpoints {
        let publisher = publisher(&endpoint).await;
        let mut sub = SubSocket::new();
        soon(sub.connect(&publisher.endpoints()[0].to_string())).await.expect("connect");
        soon(sub.subscribe("a.")).await.expect("subscribe");
        wanted(&publisher, b"a.x", true).await;
        publisher.publish(frames(&["b.x", "1"]));
        publisher.publish(frames(&["a.x", "2"]));
        assert_eq!(soon(sub.recv()).await.expect("recv").into_vec(), frames(&["a.x", "2"]));
        soon(sub.unsubscribe("a.")).await.expect("unsubscribe");
        wanted(&publisher, b"a.x", false).await;
    }
}

#[tokio::test]
async fn we_hear_its_publisher_also_after_a_restart() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut bind = endpoint.to_string().replace('*', "0");
    let mut subscriber: Option<Subscriber> = None;
    for _ in 0..2 {
        let mut publisher = PubSocket::new();
        bind = soon(publisher.bind(&bind)).await.expect("bind").to_string();
        let subscriber = subscriber.get_or_insert_with(|| {
            let mut made = Subscriber::connect(bind.parse().expect("endpoint"), quick()).expect("connect");
            made.subscribe("a.").expect("subscribe");
            made
        });
        let message = async {
            let hear = heard(subscriber);
            tokio::pin!(hear);
            loop {
                publisher.send(message(&["b.x", "no"])).await.expect("send");
                publisher.send(message(&["a.x", "yes"])).await.expect("send");
                tokio::select! {
                    message = &mut hear => return message,
                    () = tokio::time::sleep(Duration::from_millis(10)) => {}
                }
            }
        };
        assert_eq!(soon(message).await, frames(&["a.x", "yes"]));
        soon(publisher.close()).await;
        let down = async { while !matches!(subscriber.recv().await, LinkEvent::Disconnected { .. }) {} };
        soon(down).await;
    }
}

//! Against libzmq.

use core::time::Duration;

use bytes::Bytes;
use circus_protocol::transport::limits::HeartbeatLimits;
use circus_protocol::transport::{
    Dealer, DownReason, Limits, LinkEvent, LinkOptions, Origin, Router, Subscriber,
};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::common::{
    LARGE, answer, connected, echo, endpoints, frames, heard, large, publisher, quick, router, soon, wanted,
};
use crate::python::Python;

#[tokio::test]
async fn dealers_are_answered() {
    let (_directory, endpoints) = endpoints();
    let mut python = Python::start();
    for endpoint in endpoints {
        let mut router = router(&endpoint).await;
        let bound = router.endpoints()[0].to_string();
        for options in [json!({}), json!({"IDENTITY": "0123456789abcdef0123456789abcdef"})] {
            python.ask(json!(["open", "d", "DEALER", options])).await;
            python.ask(json!(["connect", "d", bound])).await;
            for message in [json!(["{}"]), json!(["", "a", "", "b"]), json!([[LARGE, "x"]]), json!([""])] {
                python.tell(json!(["send", "d", message]));
                let incoming = soon(router.recv()).await;
                assert_eq!(incoming.identity, options["IDENTITY"].as_str().unwrap_or_default());
                if let Origin::Ipc(who) = incoming.info.origin {
                    assert_eq!(who.pid, i32::try_from(python.pid()).ok());
                }
                router.send(incoming.peer, incoming.frames).expect("reply");
                assert!(python.hear().await.is_null());
                assert_eq!(python.ask(json!(["recv", "d"])).await, message);
            }
            python.ask(json!(["close", "d"])).await;
        }
        router.close().await;
    }
}

#[tokio::test]
async fn req_is_answered_behind_its_delimiter() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut router = router(&endpoint).await;
    let mut python = Python::start();
    python.ask(json!(["open", "r", "REQ", {}])).await;
    python.ask(json!(["connect", "r", router.endpoints()[0].to_string()])).await;
    for round in 0..10 {
        let text = format!("question {round}");
        python.tell(json!(["send", "r", [text]]));
        let incoming = soon(router.recv()).await;
        assert_eq!(incoming.frames, frames(&["", &text]));
        router.send(incoming.peer, incoming.frames).expect("reply");
        python.hear().await;
        assert_eq!(python.ask(json!(["recv", "r"])).await, json!([text]));
    }
}

#[tokio::test]
async fn a_router_may_connect_to_our_router_and_a_misfit_harms_nobody() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut router = router(&endpoint).await;
    let bound = router.endpoints()[0].to_string();
    let mut python = Python::start();
    python.ask(json!(["open", "misfit", "PUSH", {}])).await;
    python.ask(json!(["connect", "misfit", bound])).await;
    python.ask(json!(["open", "r", "ROUTER", {"CONNECT_ROUTING_ID": "us", "ROUTER_MANDATORY": 1}])).await;
    python.ask(json!(["connect", "r", bound])).await;
    python.tell(json!(["send", "r", ["us", "hello"]]));
    let incoming = soon(router.recv()).await;
    assert_eq!(incoming.frames, frames(&["hello"]));
    router.send(incoming.peer, frames(&["back"])).expect("reply");
    python.hear().await;
    assert_eq!(python.ask(json!(["recv", "r"])).await, json!(["us", "back"]));
}

#[tokio::test]
async fn our_dealer_asks_a_router_and_finds_it_again_after_a_restart() {
    let (_directory, endpoints) = endpoints();
    for endpoint in endpoints {
        let mut bind = endpoint.to_string();
        let mut dealer = None;
        for round in 0..2 {
            let mut python = Python::start();
            python.ask(json!(["open", "r", "ROUTER", {}])).await;
            bind = python.ask(json!(["bind", "r", bind])).await.as_str().expect("endpoint").to_owned();
            let options = || LinkOptions { identity: "me".into(), ..quick() };
            let dealer = dealer.get_or_insert_with(|| {
                Dealer::connect(bind.parse().expect("endpoint"), options()).expect("connect")
            });
            connected(dealer).await;
            dealer.send(frames(&["", "text", ""])).expect("send");
            assert_eq!(python.ask(json!(["recv", "r"])).await, json!(["me", "", "text", ""]), "{round}");
            python.tell(json!(["echo", "r", 2]));
            for message in [frames(&["a", "b"]), vec![large()]] {
                dealer.send(message.clone()).expect("send");
                assert!(answer(dealer).await == message);
            }
            python.hear().await;
            drop(python);
            let event = soon(dealer.recv()).await;
            assert!(matches!(event, LinkEvent::Disconnected { reason: DownReason::Closed, .. }), "{event:?}");
        }
    }
}

#[tokio::test]
async fn a_dealer_finds_our_router_again_after_a_restart() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut first = router(&endpoint).await;
    let bound = first.endpoints()[0].clone();
    let mut python = Python::start();
    python.ask(json!(["open", "d", "DEALER", {"IDENTITY": "same"}])).await;
    python.ask(json!(["connect", "d", bound.to_string()])).await;
    for _ in 0..3 {
        python.ask(json!(["send", "d", ["again"]])).await;
        echo(&mut first, 1).await;
        assert_eq!(python.ask(json!(["recv", "d"])).await, json!(["again"]));
        soon(first.close()).await;
        first = router(&bound).await;
    }
}

#[tokio::test]
async fn subscribers_get_prefixes_counted() {
    let (_directory, endpoints) = endpoints();
    let mut python = Python::start();
    for endpoint in endpoints {
        let publisher = publisher(&endpoint).await;
        let bound = publisher.endpoints()[0].to_string();
        python.ask(json!(["open", "s", "SUB", {}])).await;
        python.ask(json!(["subscribe", "s", "watcher.a"])).await;
        python.ask(json!(["connect", "s", bound])).await;
        wanted(&publisher, b"watcher.a.x", true).await;
        python.ask(json!(["subscribe", "s", "watcher.a"])).await;
        python.ask(json!(["subscribe", "s", "watcher."])).await;
        wanted(&publisher, b"watcher.b", true).await;
        publisher.publish(frames(&["watcher.a.x", "1"]));
        publisher.publish(frames(&["other", "2"]));
        publisher.publish(frames(&["watcher.b", "3"]));
        assert_eq!(python.ask(json!(["recv", "s"])).await, json!(["watcher.a.x", "1"]), "once only");
        assert_eq!(python.ask(json!(["recv", "s"])).await, json!(["watcher.b", "3"]));
        python.ask(json!(["unsubscribe", "s", "watcher."])).await;
        wanted(&publisher, b"watcher.b", false).await;
        python.ask(json!(["unsubscribe", "s", "watcher.a"])).await;
        publisher.publish(frames(&["watcher.a", "4"]));
        assert_eq!(python.ask(json!(["recv", "s"])).await, json!(["watcher.a", "4"]));
        // The second one was announced twice by libzmq, but is cancelled once: what comes too much, it
        // filters itself.
        python.ask(json!(["unsubscribe", "s", "watcher.a"])).await;
        publisher.publish(frames(&["watcher.a", "5"]));
        assert_eq!(python.ask(json!(["quiet", "s", 50])).await, true);
        python.ask(json!(["close", "s"])).await;
    }
}

#[tokio::test]
async fn xsub_subscribes_and_a_restarted_publisher_is_found_again() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut first = publisher(&endpoint).await;
    let bound = first.endpoints()[0].clone();
    let mut python = Python::start();
    for (name, kind) in [("x", "XSUB"), ("s", "SUB")] {
        python.ask(json!(["open", name, kind, {}])).await;
        python.ask(json!(["connect", name, bound.to_string()])).await;
    }
    python.ask(json!(["send", "x", ["\u{1}x."]])).await;
    python.ask(json!(["send", "x", ["a message to nobody"]])).await;
    python.ask(json!(["subscribe", "s", "s."])).await;
    for round in 0..3 {
        // libzmq subscribes again only when its owner looks at the socket.
        while !(first.has_subscriber(b"x.y") && first.has_subscriber(b"s.y")) {
            python.ask(json!(["quiet", "x", 20])).await;
            python.ask(json!(["quiet", "s", 20])).await;
        }
        for (name, topic) in [("x", "x.y"), ("s", "s.y")] {
            first.publish(frames(&[topic, "text"]));
            assert_eq!(python.ask(json!(["recv", name])).await, json!([topic, "text"]), "{round}");
        }
        soon(first.close()).await;
        first = publisher(&bound).await;
    }
    python.ask(json!(["send", "x", ["\u{0}x."]])).await;
    wanted(&first, b"x.y", false).await;
}

#[tokio::test]
async fn our_subscriber_subscribes_again_when_a_publisher_comes_back() {
    let (_directory, endpoints) = endpoints();
    for endpoint in endpoints {
        let mut bind = endpoint.to_string();
        let mut subscriber: Option<Subscriber> = None;
        for round in 0..2 {
            let mut python = Python::start();
            python.ask(json!(["open", "p", "XPUB", {}])).await;
            bind = python.ask(json!(["bind", "p", bind])).await.as_str().expect("endpoint").to_owned();
            let subscriber = subscriber.get_or_insert_with(|| {
                let mut made =
                    Subscriber::connect(bind.parse().expect("endpoint"), quick()).expect("connect");
                made.subscribe("a.").expect("subscribe");
                made
            });
            let connected =
                async { while !matches!(subscriber.recv().await, LinkEvent::Connected { .. }) {} };
            soon(connected).await;
            assert_eq!(python.ask(json!(["recv", "p"])).await, json!(["\u{1}a."]), "{round}");
            subscriber.subscribe("b.").expect("subscribe");
            if round == 0 {
                assert_eq!(python.ask(json!(["recv", "p"])).await, json!(["\u{1}b."]));
            }
            for message in [["c.", "1"], ["a.x", "2"], ["b.x", "3"]] {
                python.ask(json!(["send", "p", message])).await;
            }
            assert_eq!(heard(subscriber).await, frames(&["a.x", "2"]));
            if round == 0 {
                assert_eq!(heard(subscriber).await, frames(&["b.x", "3"]));
                subscriber.unsubscribe("b.");
                subscriber.unsubscribe("b.");
                assert_eq!(python.ask(json!(["recv", "p"])).await, json!(["\u{0}b."]));
            }
        }
    }
}

/// So long that a busy machine lets nobody miss five of them.
const BEAT: Duration = Duration::from_millis(300);

fn beating(mut options: LinkOptions) -> LinkOptions {
    options.wire.heartbeat = Some(HeartbeatLimits { interval: BEAT, timeout: 5 * BEAT });
    options
}

#[tokio::test]
async fn heartbeats_of_both_sides_keep_an_idle_connection() {
    let (_directory, [endpoint, _]) = endpoints();
    let mut limits = Limits::default();
    limits.wire.heartbeat = Some(HeartbeatLimits { interval: BEAT, timeout: 5 * BEAT });
    let mut router = Router::bind(std::slice::from_ref(&endpoint), limits).await.expect("bind");
    let mut python = Python::start();
    let beats = json!({"HEARTBEAT_IVL": 300, "HEARTBEAT_TIMEOUT": 1500, "HEARTBEAT_TTL": 1500});
    python.ask(json!(["open", "d", "DEALER", beats])).await;
    python.ask(json!(["connect", "d", router.endpoints()[0].to_string()])).await;
    python.ask(json!(["open", "r", "ROUTER", beats])).await;
    let bound = python.ask(json!(["bind", "r", "tcp://127.0.0.1:*"])).await;
    let bound = bound.as_str().expect("endpoint").parse().expect("endpoint");
    let mut dealer = Dealer::connect(bound, beating(quick())).expect("connect");
    connected(&mut dealer).await;
    python.ask(json!(["send", "d", ["first"]])).await;
    let first = soon(router.recv()).await.peer;
    let quiet = tokio::time::timeout(10 * BEAT, async { tokio::join!(router.recv(), dealer.recv()) }).await;
    assert!(quiet.is_err(), "{quiet:?}");
    python.ask(json!(["send", "d", ["second"]])).await;
    assert_eq!(soon(router.recv()).await.peer, first, "still the same connection");
    router.send(first, vec![Bytes::new()]).expect("reply");
    assert_eq!(python.ask(json!(["recv", "d"])).await, json!([""]));

    python.signal(Signal::SIGSTOP);
    let event = soon(dealer.recv()).await;
    python.signal(Signal::SIGCONT);
    let LinkEvent::Disconnected { reason, .. } = event else { panic!("{event:?}") };
    assert!(reason.to_string().contains("no sign of life"), "{reason}");
    connected(&mut dealer).await;
}

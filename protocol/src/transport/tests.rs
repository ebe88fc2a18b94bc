//! The four sockets among themselves; other implementations are met in the `tests` crate.

use core::future::Future;
use core::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::endpoint::Endpoint;

const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("took too long")
}

fn any_port() -> Endpoint {
    "tcp://127.0.0.1:*".parse().expect("endpoint")
}

fn frames(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
}

async fn router(endpoint: &Endpoint) -> Router {
    Router::bind(std::slice::from_ref(endpoint), Limits::default()).await.expect("bind")
}

async fn connected(dealer: &mut Dealer) {
    while !dealer.is_connected() {
        soon(dealer.recv()).await;
    }
}

fn quick() -> LinkOptions {
    LinkOptions { longest_pause: Duration::from_millis(100), ..LinkOptions::default() }
}

#[tokio::test]
async fn a_request_is_answered_and_the_peer_is_known() {
    let mut router = router(&any_port()).await;
    let options = LinkOptions { identity: "me".into(), ..quick() };
    let mut dealer = Dealer::connect(router.endpoints()[0].clone(), options).expect("connect");
    assert_eq!(dealer.send(frames(&["early"])), Err(SendError::Gone));
    connected(&mut dealer).await;
    dealer.send(frames(&["one", "", "three"])).expect("send");
    let incoming = soon(router.recv()).await;
    assert_eq!((incoming.identity, incoming.frames), ("me".into(), frames(&["one", "", "three"])));
    assert!(matches!(incoming.info.origin, Origin::Tcp(address) if address.ip().is_loopback()));
    router.send(incoming.peer, frames(&["answer"])).expect("send");
    assert_eq!(soon(dealer.recv()).await, LinkEvent::Message(frames(&["answer"])));
    soon(dealer.close()).await;
    let gone = async {
        while router.send(incoming.peer, frames(&["late"])).is_ok() {
            let _ = timeout(Duration::from_millis(10), router.recv()).await;
        }
    };
    soon(gone).await;
}

#[tokio::test]
async fn two_peers_of_one_name_are_both_served() {
    let mut router = router(&any_port()).await;
    let options = LinkOptions { identity: "same".into(), ..quick() };
    let mut dealers: Vec<_> = (0..2)
        .map(|_| Dealer::connect(router.endpoints()[0].clone(), options.clone()).expect("connect"))
        .collect();
    for round in 0..20 {
        for (at, dealer) in dealers.iter_mut().enumerate() {
            connected(dealer).await;
            let text = format!("{round} from {at}");
            dealer.send(frames(&[&text])).expect("send");
            let incoming = soon(router.recv()).await;
            router.send(incoming.peer, incoming.frames).expect("send");
            assert_eq!(soon(dealer.recv()).await, LinkEvent::Message(frames(&[&text])));
        }
    }
}

#[tokio::test]
async fn ipc_tells_who_connects_replaces_stale_files_and_cleans_up() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("circus.sock");
    let endpoint: Endpoint = format!("ipc://{}", path.display()).parse().expect("endpoint");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a stale file"));
    let mut first = router(&endpoint).await;
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("file").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let second = Router::bind(std::slice::from_ref(&endpoint), Limits::default()).await;
    assert!(matches!(second, Err(BindError::InUse { .. })), "{second:?}");
    let mut dealer = Dealer::connect(endpoint.clone(), quick()).expect("connect");
    connected(&mut dealer).await;
    dealer.send(frames(&["hi"])).expect("send");
    let incoming = soon(first.recv()).await;
    let Origin::Ipc(who) = incoming.info.origin else { panic!("not ipc") };
    assert_eq!(who.pid, i32::try_from(std::process::id()).ok());
    soon(first.close()).await;
    assert!(!path.exists());
    std::fs::write(&path, "precious").expect("a file");
    let refused = Router::bind(&[endpoint], Limits::default()).await;
    assert!(matches!(refused, Err(BindError::NotASocket { .. })), "{refused:?}");
}

#[tokio::test]
async fn wildcards_names_and_interfaces_can_be_bound() {
    for text in ["tcp://*:*", "tcp://lo:*", "tcp://localhost:*"] {
        let bound = router(&text.parse().expect("endpoint")).await;
        assert!(matches!(&bound.endpoints()[0], Endpoint::Tcp(at) if at.port != 0), "{text}");
    }
    let taken = router(&any_port()).await;
    let again = Router::bind(taken.endpoints(), Limits::default()).await;
    assert!(matches!(again, Err(BindError::InUse { .. })), "{again:?}");
    let unknown = ["tcp://no..such:*".parse().expect("name")];
    let unknown = Router::bind(&unknown, Limits::default()).await;
    assert!(matches!(unknown, Err(BindError::Host { .. })), "{unknown:?}");
}

#[tokio::test]
async fn subscribers_get_what_they_asked_for_also_after_a_restart() {
    let mut publisher = Publisher::bind(&[any_port()], Limits::default()).await.expect("bind");
    let endpoint = publisher.endpoints()[0].clone();
    let mut subscriber = Subscriber::connect(endpoint.clone(), quick()).expect("connect");
    subscriber.subscribe("a.").expect("subscribe");
    for round in 0..3 {
        let subscribed = async {
            while !publisher.has_subscriber(b"a.x") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(subscribed).await;
        assert!(!publisher.has_subscriber(b"b.x"));
        publisher.publish(frames(&["b.x", "not this"]));
        publisher.publish(frames(&["a.x", "this"]));
        let message = async {
            loop {
                if let LinkEvent::Message(message) = subscriber.recv().await {
                    return message;
                }
            }
        };
        assert_eq!(soon(message).await, frames(&["a.x", "this"]), "{round}");
        soon(publisher.close()).await;
        let down = soon(subscriber.recv()).await;
        assert!(matches!(down, LinkEvent::Disconnected { reason: DownReason::Closed, .. }), "{down:?}");
        publisher = Publisher::bind(std::slice::from_ref(&endpoint), Limits::default()).await.expect("bind");
    }
}

#[tokio::test]
async fn the_reason_of_a_failure_is_told() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let silent: Endpoint =
        format!("tcp://{}", held.local_addr().expect("address")).parse().expect("endpoint");
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|bound| bound.local_addr()).expect("address");
    let publisher = Publisher::bind(&[any_port()], Limits::default()).await.expect("bind");
    let mut options = quick();
    options.wire.handshake_time = Duration::from_secs(1);
    for (endpoint, part) in [
        (format!("tcp://{free}").parse().expect("endpoint"), "nobody listens"),
        ("ipc:///nowhere/at/all".parse().expect("endpoint"), "no such socket"),
        (silent, "handshake took longer"),
        (publisher.endpoints()[0].clone(), "PUB socket does not fit a DEALER"),
    ] {
        let mut dealer = Dealer::connect(endpoint, options.clone()).expect("connect");
        let LinkEvent::Disconnected { reason, .. } = soon(dealer.recv()).await else { panic!("connected") };
        assert!(reason.to_string().contains(part), "{reason}");
    }
    assert!(Dealer::connect(any_port(), quick()).is_err());
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_and_others_are_served() {
    let limits = Limits { max_queue: 10, max_queue_bytes: 1 << 20, ..Limits::default() };
    let mut router = Router::bind(&[any_port()], limits).await.expect("bind");
    let options = LinkOptions { max_inbox: 1, ..quick() };
    let mut deaf = Dealer::connect(router.endpoints()[0].clone(), options).expect("connect");
    connected(&mut deaf).await;
    deaf.send(frames(&["talk"])).expect("send");
    let talker = soon(router.recv()).await;
    let big = Bytes::from(vec![0; 1 << 20]);
    let flood = async {
        while router.send(talker.peer, vec![big.clone()]).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon(flood).await;
    assert_eq!(router.send(talker.peer, frames(&["x"])), Err(SendError::Gone));
}

#[tokio::test]
async fn calls_find_their_replies() {
    let mut router = router(&any_port()).await;
    let endpoint = router.endpoints()[0].clone();
    let server = tokio::spawn(async move {
        loop {
            let incoming = router.recv().await;
            let request: Value = serde_json::from_slice(&incoming.frames[0]).expect("JSON");
            if request["command"] == "mute" {
                continue;
            }
            let stale = json!({"id": "other", "status": "error"});
            let reply = json!({"id": request["id"], "status": "ok", "got": request["properties"]});
            for reply in [stale, reply] {
                router.send(incoming.peer, vec![Bytes::from(reply.to_string())]).expect("send");
            }
        }
    });
    let mut client = Client::connect(endpoint.clone()).expect("connect");
    for round in 0..5 {
        let reply = client.call("list", json!({"round": round}), PATIENCE).await.expect("reply");
        assert_eq!(reply["got"]["round"], round);
    }
    let mute = client.call("mute", json!({}), Duration::from_millis(50)).await;
    assert!(matches!(mute, Err(CallError::TimedOut { .. })), "{mute:?}");
    server.abort();
    let gone = client.call("list", json!({}), PATIENCE).await;
    assert!(matches!(gone, Err(CallError::Unreachable { reason: DownReason::Closed, .. })), "{gone:?}");
}

#[test]
fn everything_is_closed_when_a_runtime_with_several_threads_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("runtime");
    let bound = runtime.block_on(async { router(&any_port()).await });
    let endpoint = bound.endpoints()[0].to_string();
    drop(bound);
    drop(runtime);
    std::net::TcpListener::bind(endpoint.trim_start_matches("tcp://")).expect("the port is free again");
}

/// What two links told of themselves, in words.
type Told = (usize, String);

fn feeder(
    at: usize,
    endpoint: &Endpoint,
    inbox: &tokio::sync::mpsc::Sender<(Told, Option<PeerSender>)>,
) -> Feeder {
    let tell = move |fed| {
        let (word, sender) = match fed {
            Fed::Accepted => ("accepted".to_owned(), None),
            Fed::Connected(sender) => ("connected".to_owned(), Some(sender)),
            Fed::Disconnected(reason) => (reason.to_string(), None),
            Fed::Message(frames) => (String::from_utf8_lossy(&frames[0]).into_owned(), None),
        };
        Some(((at, word), sender))
    };
    let first = vec![frames(&["first"])];
    Feeder::dealer(endpoint.clone(), quick().into(), first, (inbox.clone(), tell)).expect("connect")
}

#[tokio::test]
async fn many_links_share_one_channel_and_lose_nothing_when_it_is_full() {
    const EACH: usize = 50;
    let mut router = router(&any_port()).await;
    let endpoint = router.endpoints()[0].clone();
    // So small that the links wait for us most of the time.
    let (inbox, mut heard) = tokio::sync::mpsc::channel(1);
    let mut feeders: Vec<_> = (0..2).map(|at| feeder(at, &endpoint, &inbox)).collect();
    let mut senders = [None, None];
    let mut words = vec![Vec::new(), Vec::new()];
    while senders.iter().any(Option::is_none) {
        let ((at, word), sender) = soon(heard.recv()).await.expect("open");
        words[at].push(word);
        senders[at] = sender.or(senders[at].take());
    }
    for _ in 0..feeders.len() {
        assert_eq!(soon(router.recv()).await.frames, frames(&["first"]));
    }
    for sender in senders.iter().flatten() {
        sender.send(frames(&["hello"])).expect("send");
        let incoming = soon(router.recv()).await;
        for number in 0..EACH {
            router.send(incoming.peer, frames(&[&number.to_string()])).expect("send");
        }
    }
    while words.iter().any(|words| words.len() < EACH + 2) {
        let ((at, word), _) = soon(heard.recv()).await.expect("open");
        words[at].push(word);
    }
    let expected: Vec<String> = ["accepted", "connected"]
        .map(str::to_owned)
        .into_iter()
        .chain((0..EACH).map(|n| n.to_string()))
        .collect();
    assert_eq!(words, [expected.clone(), expected]);
    // What was sent before the end leaves, and then the other side sees the end.
    let last = feeders.pop().expect("two");
    senders[1].as_ref().expect("connected").send(frames(&["last words"])).expect("send");
    soon(last.close()).await;
    assert_eq!(soon(router.recv()).await.frames, frames(&["last words"]));
    assert_eq!(senders[1].as_ref().expect("connected").send(frames(&["late"])), Err(SendError::Gone));
    // The other one goes on, and is told to end by dropping it.
    let sender = senders[0].as_ref().expect("connected");
    sender.send(frames(&["still there"])).expect("send");
    assert_eq!(soon(router.recv()).await.frames, frames(&["still there"]));
    drop(feeders);
    soon(async {
        while sender.send(frames(&["late"])) != Err(SendError::Gone) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_feeding_subscriber_hears_its_prefix_and_subscribes_again() {
    let endpoint = any_port();
    let publisher = Publisher::bind(std::slice::from_ref(&endpoint), Limits::default()).await.expect("bind");
    let bound = publisher.endpoints()[0].clone();
    let (inbox, mut heard) = tokio::sync::mpsc::channel(8);
    let tell = |fed| match fed {
        Fed::Accepted => None,
        Fed::Connected(_) => Some("connected".to_owned()),
        Fed::Disconnected(_) => Some("gone".to_owned()),
        Fed::Message(frames) => Some(String::from_utf8_lossy(&frames[0]).into_owned()),
    };
    let feeder = Feeder::subscriber(bound.clone(), quick().into(), b"a.", inbox, tell).expect("connect");
    for mut publisher in [Some(publisher), None] {
        let publisher = match publisher.take() {
            Some(publisher) => publisher,
            None => Publisher::bind(std::slice::from_ref(&bound), Limits::default()).await.expect("bind"),
        };
        while soon(heard.recv()).await.expect("open") != "connected" {}
        soon(async {
            while !publisher.has_subscriber(b"a.x") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        publisher.publish(frames(&["b.x", "1"]));
        publisher.publish(frames(&["a.x", "2"]));
        assert_eq!(soon(heard.recv()).await.as_deref(), Some("a.x"));
        soon(publisher.close()).await;
        assert_eq!(soon(heard.recv()).await.as_deref(), Some("gone"));
    }
    soon(feeder.close()).await;
    assert_eq!(heard.recv().await, None);
}

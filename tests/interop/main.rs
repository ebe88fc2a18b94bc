//! Our sockets against two other implementations of ZeroMQ: libzmq, driven through pyzmq, and the
//! `zeromq` crate. In both directions, over tcp and ipc. Knows nothing of circus.

#[cfg(test)]
mod libzmq;
#[cfg(test)]
mod python;
#[cfg(test)]
mod second;

#[cfg(test)]
mod common {
    use core::future::Future;
    use core::time::Duration;

    use bytes::Bytes;
    use circus_protocol::endpoint::Endpoint;
    use circus_protocol::transport::{Dealer, Limits, LinkEvent, LinkOptions, Publisher, Router, Subscriber};
    use circus_tests::wait::PATIENCE;

    pub(crate) const LARGE: usize = 20_000_000;

    pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(PATIENCE, what).await.expect("took too long")
    }

    /// A directory for ipc sockets, and an endpoint of each kind.
    pub(crate) fn endpoints() -> (tempfile::TempDir, [Endpoint; 2]) {
        let directory = tempfile::tempdir().expect("directory");
        let path = format!("ipc://{}/socket", directory.path().display());
        (directory, ["tcp://127.0.0.1:*".parse().expect("tcp"), path.parse().expect("ipc")])
    }

    pub(crate) fn frames(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
    }

    pub(crate) fn large() -> Bytes {
        vec![b'x'; LARGE].into()
    }

    pub(crate) fn quick() -> LinkOptions {
        LinkOptions {
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(100),
            ..LinkOptions::default()
        }
    }

    pub(crate) async fn router(endpoint: &Endpoint) -> Router {
        Router::bind(std::slice::from_ref(endpoint), Limits::default()).await.expect("bind")
    }

    pub(crate) async fn publisher(endpoint: &Endpoint) -> Publisher {
        Publisher::bind(std::slice::from_ref(endpoint), Limits::default()).await.expect("bind")
    }

    /// Answers `count` messages with themselves.
    pub(crate) async fn echo(router: &mut Router, count: usize) {
        for _ in 0..count {
            let incoming = soon(router.recv()).await;
            router.send(incoming.peer, incoming.frames).expect("reply");
        }
    }

    pub(crate) async fn connected(dealer: &mut Dealer) {
        let up = async {
            while !dealer.is_connected() {
                dealer.recv().await;
            }
        };
        soon(up).await;
    }

    /// The next message of a dealer; changes of state are passed over.
    pub(crate) async fn answer(dealer: &mut Dealer) -> Vec<Bytes> {
        let message = async {
            loop {
                if let LinkEvent::Message(frames) = dealer.recv().await {
                    return frames;
                }
            }
        };
        soon(message).await
    }

    pub(crate) async fn heard(subscriber: &mut Subscriber) -> Vec<Bytes> {
        let message = async {
            loop {
                if let LinkEvent::Message(frames) = subscriber.recv().await {
                    return frames;
                }
            }
        };
        soon(message).await
    }

    /// Waits until somebody, or nobody, wants a topic.
    pub(crate) async fn wanted(publisher: &Publisher, topic: &[u8], somebody: bool) {
        let change = async {
            while publisher.has_subscriber(topic) != somebody {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        soon(change).await;
    }
}

//! The connecting side: one task per peer that connects, and connects again. Its owner hears of
//! every change and why, so that a person can be told why a node is down.
//!
//! ```text
//!  connecting ──► handshake ──► up ──┐
//!      ▲  └──── down ◄──┘ ◄──────────┘
//!      └── pause (doubles, jittered) ─┘
//! ```

use core::convert::Infallible;
use core::time::Duration;
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, End};
use super::limits::{FREE_BYTES, LinkOptions};
use super::peer::{Budget, Charge, Origin, Outgoing, PeerId, PeerSender};
use super::stream::Stream;
use crate::endpoint::{Endpoint, Host, HostPort};
use crate::zmtp::fault::Fault;
use crate::zmtp::session::{Config, Event, Session};
use crate::zmtp::socket::SocketType;

/// An endpoint that names nothing one could connect to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot connect to {endpoint}: {reason}")]
pub struct ConnectError {
    /// What was given.
    pub endpoint: Endpoint,
    /// Why not.
    pub reason: &'static str,
}

/// What happens on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The handshake is done; sending works from now on.
    Connected {
        /// Who is there.
        peer: Origin,
    },
    /// The connection ended, or an attempt failed.
    Disconnected {
        /// Why.
        reason: DownReason,
        /// When the next attempt follows.
        again_in: Duration,
    },
    /// A message came.
    Message(Vec<Bytes>),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// The host name does not resolve.
    #[error("the name {host} does not resolve: {reason}")]
    Name {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody listens there.
    #[error("connection refused: nobody listens there")]
    Refused,
    /// The ipc path does not exist.
    #[error("no such socket: nobody listens there")]
    NoSocket,
    /// We may not connect there.
    #[error("permission denied")]
    Denied,
    /// No answer in time.
    #[error("no answer within {limit:?}")]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The peer closed before the handshake was done: not ZeroMQ, too busy, or not willing.
    #[error("the peer closed the connection during the handshake")]
    ClosedEarly,
    /// The peer closed an open connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer is not a fitting ZeroMQ socket, or broke the protocol.
    #[error("{0}")]
    Protocol(Fault),
    /// Anything else the system reports.
    #[error("{0}")]
    System(String),
}

impl From<io::Error> for DownReason {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::NotFound => Self::NoSocket,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::System(error.to_string()),
        }
    }
}

/// What the task tells its owner.
pub(super) enum Notice {
    Accepted,
    Up { sender: PeerSender, peer: Origin },
    Down { reason: DownReason, again_in: Duration },
    Message { frames: Vec<Bytes>, charge: Charge },
}

/// The prefixes a subscribing link announces on every connection.
pub(super) enum Topics {
    /// Subscribes to nothing.
    None,
    /// Always the same one.
    Only(&'static [u8]),
    /// They come and go.
    These(watch::Receiver<Arc<BTreeSet<Bytes>>>),
}

/// What a link lasts for: whoever has it. When it is dropped, the link ends.
#[derive(Debug)]
pub(super) struct Hold {
    _held: oneshot::Receiver<Infallible>,
}

/// The task behind a connecting socket. What it tells is made by `tell` and goes to `inbox`, which may be
/// shared with other links.
pub(super) struct Link<T, F> {
    endpoint: Endpoint,
    socket_type: SocketType,
    options: Arc<LinkOptions>,
    held: oneshot::Sender<Infallible>,
    inbox: mpsc::Sender<T>,
    tell: F,
    topics: Topics,
    /// Leaves with the first handshake, see [`Session::hurry`].
    first: Vec<Vec<Bytes>>,
    budget: Arc<Budget>,
}

impl<T: Send, F: FnMut(Notice) -> Option<T> + Send> Link<T, F> {
    pub(super) fn new(
        endpoint: Endpoint,
        socket_type: SocketType,
        options: Arc<LinkOptions>,
        topics: Topics,
        (inbox, tell): (mpsc::Sender<T>, F),
    ) -> Result<(Self, Hold), ConnectError> {
        let reason = match &endpoint {
            Endpoint::Udp(_) => Some("a ZeroMQ socket needs tcp:// or ipc://"),
            Endpoint::Tcp(_) | Endpoint::Ipc(_) if endpoint.is_wildcard() => {
                Some("a wildcard can only be bound; name a host and a port")
            }
            Endpoint::Tcp(_) | Endpoint::Ipc(_) => None,
        };
        if let Some(reason) = reason {
            return Err(ConnectError { endpoint, reason });
        }
        let budget = Budget::new(options.max_inbox_bytes, FREE_BYTES);
        let (held, hold) = oneshot::channel();
        let link =
            Self { endpoint, socket_type, options, held, inbox, tell, topics, first: Vec::new(), budget };
        Ok((link, Hold { _held: hold }))
    }

    /// Says this first, without waiting for the peer's READY; on later connections not again.
    pub(super) fn saying(self, first: Vec<Vec<Bytes>>) -> Self {
        Self { first, ..self }
    }

    /// Runs until nobody holds it any more.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps room for `self` twice")]
    pub(super) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move { self.drive().await }
    }

    async fn drive(&mut self) {
        let mut backoff = Backoff::new(self.options.first_pause, self.options.longest_pause);
        loop {
            let begun = Instant::now();
            let Some((reason, was_up)) = self.attempt().await else { return };
            if was_up && begun.elapsed() >= self.options.connect_time {
                backoff.reset();
            }
            let again_in = backoff.next(RandomState::new().hash_one(0u8));
            if !self.told(Notice::Down { reason, again_in }).await {
                return;
            }
            tokio::select! {
                () = self.held.closed() => return,
                () = sleep(again_in) => {}
            }
        }
    }

    /// Tells; false when nobody wants to know any more.
    async fn told(&mut self, notice: Notice) -> bool {
        let Some(told) = (self.tell)(notice) else { return true };
        tokio::select! {
            biased;
            sent = self.inbox.send(told) => sent.is_ok(),
            () = self.held.closed() => false,
        }
    }

    /// A function of its own, because a future keeps room for whatever it makes on the way.
    fn session(&mut self) -> Session {
        let mut session = Session::new(Config {
            socket_type: self.socket_type,
            identity: self.options.identity.clone(),
            limits: self.options.wire,
        });
        session.hurry(&std::mem::take(&mut self.first));
        session
    }

    /// One connection from beginning to end; `None` when nobody holds it any more.
    async fn attempt(&mut self) -> Option<(DownReason, bool)> {
        let limit = self.options.connect_time;
        let connected = tokio::select! {
            biased;
            () = self.held.closed() => return None,
            connected = timeout(limit, connect(&self.endpoint)) => connected,
        };
        let (stream, peer) = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(reason)) => return Some((reason, false)),
            Err(_) => return Some((DownReason::Timeout { limit }, false)),
        };
        if !self.told(Notice::Accepted).await {
            return None;
        }
        let (sender, queue, shared) =
            PeerSender::new(PeerId::next(), self.options.max_queue, self.options.max_queue_bytes);
        let session = self.session();
        let opened = shared.clone();
        let Self { options, held, inbox, tell, topics, budget, .. } = self;
        let mut connection = Connection::new(stream, session, queue, shared, budget, options.linger);
        let mut tell = |event, charge| match event {
            Event::Open(_) => tell(Notice::Up { sender: sender.clone(), peer }),
            Event::Message(frames) => tell(Notice::Message { frames, charge }),
            Event::Subscribe(_) | Event::Cancel(_) => None,
        };
        let end = tokio::select! {
            biased;
            () = held.closed() => {
                connection.close().await;
                return None;
            }
            end = connection.run(inbox, &mut tell) => end,
            () = announce(&sender, topics) => return None,
        };
        Some((reason_of(end, opened.open.load(Ordering::Relaxed))?, opened.open.load(Ordering::Relaxed)))
    }
}

/// Why a connection ended that `was_up`; `None` when nobody wants to know any more.
fn reason_of(end: End, was_up: bool) -> Option<DownReason> {
    Some(match end {
        End::Shutdown => return None,
        End::Closed | End::Kicked if was_up => DownReason::Closed,
        End::Closed | End::Kicked => DownReason::ClosedEarly,
        End::Fault(fault) => DownReason::Protocol(fault),
        End::Io(error) if !was_up && error.kind() == io::ErrorKind::ConnectionReset => {
            DownReason::ClosedEarly
        }
        End::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => DownReason::Closed,
        End::Io(error) => DownReason::from(error),
    })
}

/// Keeps the peer's idea of our subscriptions up to date as long as the connection lives.
async fn announce(sender: &PeerSender, topics: &Topics) {
    let mut topics = match topics {
        Topics::None => return core::future::pending().await,
        Topics::Only(prefix) => {
            let outgoing = Outgoing::Subscription { wanted: true, prefix: Arc::from(*prefix) };
            let _gone = sender.push(outgoing).await;
            return core::future::pending().await;
        }
        Topics::These(topics) => topics.clone(),
    };
    let mut told: Arc<BTreeSet<Bytes>> = Arc::default();
    loop {
        let wanted = topics.borrow_and_update().clone();
        let more = wanted.difference(&told).map(|prefix| (true, prefix));
        let less = told.difference(&wanted).map(|prefix| (false, prefix));
        for (wanted, prefix) in more.chain(less) {
            let outgoing = Outgoing::Subscription { wanted, prefix: Arc::from(&prefix[..]) };
            if sender.push(outgoing).await.is_err() {
                return core::future::pending().await;
            }
        }
        told = wanted;
        if topics.changed().await.is_err() {
            return core::future::pending().await;
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<(Stream, Origin), DownReason> {
    match endpoint {
        Endpoint::Ipc(path) => Ok(Stream::ipc(UnixStream::connect(path).await?)?),
        Endpoint::Tcp(HostPort { host, port }) | Endpoint::Udp(HostPort { host, port }) => {
            let stream = match host {
                Host::Ip(ip) => TcpStream::connect((*ip, *port)).await?,
                Host::Any => TcpStream::connect((core::net::Ipv4Addr::LOCALHOST, *port)).await?,
                Host::Name(name) => {
                    let unknown =
                        |error: io::Error| DownReason::Name { host: name.clone(), reason: error.to_string() };
                    let found: Vec<_> =
                        tokio::net::lookup_host((name.as_str(), *port)).await.map_err(unknown)?.collect();
                    TcpStream::connect(found.as_slice()).await?
                }
            };
            // On one machine a connection to a free port may, rarely, end up at itself.
            if stream.local_addr().ok() == stream.peer_addr().ok() {
                return Err(DownReason::Refused);
            }
            Ok(Stream::tcp(stream)?)
        }
    }
}

/// The pauses between attempts. Pure; randomness is an argument.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    fn reset(&mut self) {
        self.next = self.first;
    }

    /// Between half and all of a pause that doubles each time.
    fn next(&mut self, random: u64) -> Duration {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2).min(self.longest);
        let half = pause / 2;
        half + half.mul_f64((random % 1_000) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_vary_by_half() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        let low: Vec<_> = (0..6).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(low, [50, 100, 200, 400, 500, 500]);
        assert!(backoff.next(999) > Duration::from_millis(990));
        backoff.reset();
        assert!(backoff.next(500) == Duration::from_millis(75));
    }

    #[test]
    fn a_link_is_small_for_there_may_be_ten_thousand() {
        let (inbox, _notices) = mpsc::channel::<Notice>(1);
        let endpoint = Endpoint::Tcp(HostPort { host: Host::Name("x".to_owned()), port: 1 });
        let options = Arc::new(LinkOptions::default());
        let told = (inbox, Some::<Notice> as fn(Notice) -> Option<Notice>);
        let (link, _hold) =
            Link::new(endpoint, SocketType::Dealer, options, Topics::None, told).expect("an address");
        let (rest, whole) = (size_of_val(&link), size_of_val(&link.run()));
        assert!(whole < 2_800, "{whole} bytes, {rest} of them before it runs");
        // Queues are made in blocks of 32 places.
        assert!(size_of::<Outgoing>() <= 24, "{}", size_of::<Outgoing>());
    }
}

//! PUB: spreads messages to whoever subscribed. Never waits for anybody: a subscriber that does not
//! keep up misses messages, and every miss is counted.
//!
//! A task of its own, the hub, owns the subscriptions. What may be published without any effect is
//! known to the publishing side by a small snapshot, so that nobody pays for unread messages.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::accept::{self, Acceptor};
use super::aside::{self, Aside, Said};
use super::connection::Connection;
use super::limits::{FREE_BYTES, Limits, MAX_PUBLISH_QUEUE};
use super::listen::BindError;
use super::peer::{Budget, Origin, Outgoing, PeerId, PeerSender, SendError, Shared};
use super::stream::Stream;
use crate::endpoint::Endpoint;
use crate::zmtp::session::{Config, Event, Session};
use crate::zmtp::socket::SocketType;
use crate::zmtp::subscription::Subscriptions;

/// With more different prefixes than this the snapshot says "somebody" for every topic.
const SNAPSHOT: usize = 64;
/// How many changes of subscriptions are handled at once.
const CHANGES: usize = 64;

/// A bound PUB socket. Dropping it closes everything in the background; [`Publisher::close`] waits.
#[derive(Debug)]
pub struct Publisher {
    messages: mpsc::Sender<Arc<[Bytes]>>,
    asides: mpsc::Sender<Said>,
    wanted: watch::Receiver<Wanted>,
    dropped: Arc<AtomicU64>,
    endpoints: Vec<Endpoint>,
    acceptor: JoinHandle<()>,
}

/// What subscribers want, as far as it is worth knowing without asking the hub.
#[derive(Debug)]
pub(super) enum Wanted {
    Prefixes(BTreeSet<Bytes>),
    Anything,
}

impl Wanted {
    fn matches(&self, topic: &[u8]) -> bool {
        match self {
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| topic.starts_with(prefix)),
            Self::Anything => true,
        }
    }

    /// The length of the longest prefix that matches.
    pub(super) fn longest(&self, topic: &[u8]) -> Option<usize> {
        match self {
            Self::Prefixes(prefixes) => {
                prefixes.iter().filter(|prefix| topic.starts_with(prefix)).map(Bytes::len).max()
            }
            Self::Anything => Some(usize::MAX),
        }
    }

    /// Whether some prefix begins with this.
    pub(super) fn begins(&self, kind: &[u8]) -> bool {
        match self {
            Self::Prefixes(prefixes) => prefixes.iter().any(|prefix| prefix.starts_with(kind)),
            Self::Anything => true,
        }
    }
}

enum Change {
    Subscribe(PeerSender, Bytes),
    Cancel(PeerId, Bytes),
    Left(PeerId),
}

impl Publisher {
    /// Binds every endpoint, or none.
    ///
    /// # Errors
    /// What stands in the way, with the endpoint.
    pub async fn bind(endpoints: &[Endpoint], limits: Limits) -> Result<Self, BindError> {
        let (listeners, endpoints) = accept::bind(endpoints, limits.ipc_mode).await?;
        let (owner, changes) = mpsc::channel(limits.max_inbox.max(1));
        let (messages, published) = mpsc::channel(MAX_PUBLISH_QUEUE);
        let (asides, said) = mpsc::channel(aside::QUEUE);
        let (snapshot, wanted) = watch::channel(Wanted::Prefixes(BTreeSet::new()));
        let dropped = Arc::new(AtomicU64::new(0));
        let acceptor = Acceptor::new(listeners, &limits);
        let budget = Budget::new(limits.max_inbox_bytes, FREE_BYTES);
        let start = {
            let owner = owner.clone();
            move |stream, origin| serve(stream, origin, &limits, &budget, owner.clone())
        };
        let hub = Hub { peers: HashMap::new(), snapshot, dropped: dropped.clone() };
        tokio::spawn(hub.run(changes, published, said));
        let acceptor = tokio::spawn(acceptor.run(owner, start));
        Ok(Self { messages, asides, wanted, dropped, endpoints, acceptor })
    }

    /// What is really bound, in the order given to [`Publisher::bind`].
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether somebody might receive a message whose first frame begins like this. False only when
    /// surely nobody would; worth asking before a message is made.
    #[must_use]
    pub fn has_subscriber(&self, topic: &[u8]) -> bool {
        self.wanted.borrow().matches(topic)
    }

    /// Whether anybody subscribed to anything. False only when surely nobody did.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        match &*self.wanted.borrow() {
            Wanted::Prefixes(prefixes) => !prefixes.is_empty(),
            Wanted::Anything => true,
        }
    }

    /// Returns when somebody has subscribed to something. For ever, if the socket was closed.
    pub async fn heard(&self) {
        let mut wanted = self.wanted.clone();
        let anybody = |wanted: &Wanted| match wanted {
            Wanted::Prefixes(prefixes) => !prefixes.is_empty(),
            Wanted::Anything => true,
        };
        if wanted.wait_for(anybody).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Publishes a message whose first frame is the topic; never waits.
    pub fn publish(&self, frames: Vec<Bytes>) {
        let Some(topic) = frames.first() else { return };
        if self.has_subscriber(topic) && self.messages.try_send(frames.into()).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A second way in for messages of a kind, the beginning of their topics, that are worth less than
    /// others.
    #[must_use]
    pub fn aside(&self, kind: &'static [u8]) -> Aside {
        let (messages, wanted) = (self.asides.clone(), self.wanted.clone());
        Aside { messages, wanted, dropped: self.dropped.clone(), kind }
    }

    /// How many deliveries were left out because something was full.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Closes the listeners at once and the connections when what is queued has left, or after the
    /// linger time.
    pub async fn close(self) {
        let Self { messages, acceptor, .. } = self;
        drop(messages);
        let _ = acceptor.await;
    }
}

struct Hub {
    peers: HashMap<PeerId, Member>,
    snapshot: watch::Sender<Wanted>,
    dropped: Arc<AtomicU64>,
}

struct Member {
    sender: PeerSender,
    subscriptions: Subscriptions,
}

impl Hub {
    async fn run(
        mut self,
        mut changes: mpsc::Receiver<Change>,
        mut published: mpsc::Receiver<Arc<[Bytes]>>,
        mut said: mpsc::Receiver<Said>,
    ) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                message = published.recv() => match message {
                    Some(message) => self.spread(&message),
                    // Ending drops `changes`, which tells the acceptor and all connections.
                    None => return,
                },
                Some(said) = said.recv() => self.whisper(&said),
                _ = changes.recv_many(&mut batch, CHANGES) => {
                    let mut changed = false;
                    for change in batch.drain(..) {
                        changed |= self.change(change);
                    }
                    if changed {
                        self.publish_snapshot();
                    }
                }
            }
        }
    }

    fn change(&mut self, change: Change) -> bool {
        match change {
            Change::Subscribe(sender, prefix) => {
                let id = sender.id();
                let fresh = || Member { sender, subscriptions: Subscriptions::default() };
                let member = self.peers.entry(id).or_insert_with(fresh);
                member.subscriptions.subscribe(&prefix).unwrap_or_else(|_too_many| {
                    member.sender.kick();
                    false
                })
            }
            Change::Cancel(id, prefix) => {
                self.peers.get_mut(&id).is_some_and(|member| member.subscriptions.cancel(&prefix))
            }
            Change::Left(id) => self.peers.remove(&id).is_some(),
        }
    }

    fn spread(&self, message: &Arc<[Bytes]>) {
        let Some(topic) = message.first() else { return };
        for member in self.peers.values() {
            if member.subscriptions.matches(topic)
                && member.sender.offer(Outgoing::Message(message.clone())) == Err(SendError::Full)
            {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn whisper(&self, said: &Said) {
        let Some(topic) = said.frames.first() else { return };
        for member in self.peers.values() {
            let asked = member.subscriptions.longest(topic).is_some_and(|length| length >= said.least);
            if asked
                && (member.sender.is_half_full()
                    || member.sender.offer(Outgoing::Message(said.frames.clone())).is_err())
            {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn publish_snapshot(&self) {
        let mut prefixes = BTreeSet::new();
        for prefix in self.peers.values().flat_map(|member| member.subscriptions.prefixes()) {
            if !prefixes.contains(prefix) {
                prefixes.insert(prefix.clone());
            }
            if prefixes.len() > SNAPSHOT {
                self.snapshot.send_replace(Wanted::Anything);
                return;
            }
        }
        self.snapshot.send_replace(Wanted::Prefixes(prefixes));
    }
}

fn serve(
    stream: Stream,
    _origin: Origin,
    limits: &Limits,
    budget: &Arc<Budget>,
    owner: mpsc::Sender<Change>,
) -> (Arc<Shared>, impl Future<Output = ()> + Send + use<>) {
    let id = PeerId::next();
    let (sender, queue, shared) = PeerSender::new(id, limits.max_queue, limits.max_queue_bytes);
    let session =
        Session::new(Config { socket_type: SocketType::Pub, identity: Bytes::new(), limits: limits.wire });
    let mut connection = Connection::new(stream, session, queue, shared.clone(), budget, limits.linger);
    let opened = shared.clone();
    let serving = async move {
        let mut tell = |event, _charge| match event {
            Event::Subscribe(prefix) => Some(Change::Subscribe(sender.clone(), prefix)),
            Event::Cancel(prefix) => Some(Change::Cancel(id, prefix)),
            Event::Open(_) | Event::Message(_) => None,
        };
        let _ = connection.run(&owner, &mut tell).await;
        if opened.open.load(Ordering::Relaxed) {
            let _ = owner.send(Change::Left(id)).await;
        }
    };
    (shared, serving)
}

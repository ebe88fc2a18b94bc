//! ROUTER: receives requests from many peers and answers each. Routes by connection, not by the
//! name a peer announces, so that two peers of one name are both served.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::accept::{self, Acceptor};
use super::connection::Connection;
use super::limits::{FREE_BYTES, Limits};
use super::listen::BindError;
use super::peer::{Budget, Charge, Origin, PeerId, PeerInfo, PeerSender, SendError, Shared};
use super::stream::Stream;
use crate::endpoint::Endpoint;
use crate::zmtp::session::{Config, Event, Session};
use crate::zmtp::socket::SocketType;

/// A message, and where it came from.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The connection it came on.
    pub peer: PeerId,
    /// The name the peer announced; empty when none. A name, not a proof.
    pub identity: Bytes,
    /// What the kernel knows of the peer.
    pub info: Arc<PeerInfo>,
    /// The frames, without any identity in front.
    pub frames: Vec<Bytes>,
    /// Sends to this connection, also from other tasks.
    pub sender: PeerSender,
}

enum Notice {
    Message { from: Arc<Known>, frames: Vec<Bytes>, charge: Charge },
    Left(PeerId),
}

struct Known {
    sender: PeerSender,
    identity: Bytes,
    info: Arc<PeerInfo>,
}

/// A bound ROUTER socket. Dropping it closes everything in the background; [`Router::close`] waits.
#[derive(Debug)]
pub struct Router {
    notices: mpsc::Receiver<Notice>,
    peers: HashMap<PeerId, PeerSender>,
    endpoints: Vec<Endpoint>,
    acceptor: JoinHandle<()>,
}

impl Router {
    /// Binds every endpoint, or none.
    ///
    /// # Errors
    /// What stands in the way, with the endpoint.
    pub async fn bind(endpoints: &[Endpoint], limits: Limits) -> Result<Self, BindError> {
        let (listeners, endpoints) = accept::bind(endpoints, limits.ipc_mode).await?;
        let (owner, notices) = mpsc::channel(limits.max_inbox.max(1));
        let acceptor = Acceptor::new(listeners, &limits);
        let budget = Budget::new(limits.max_inbox_bytes, FREE_BYTES);
        let start = {
            let owner = owner.clone();
            move |stream, origin| serve(stream, origin, &limits, &budget, owner.clone())
        };
        let acceptor = tokio::spawn(acceptor.run(owner, start));
        Ok(Self { notices, peers: HashMap::new(), endpoints, acceptor })
    }

    /// What is really bound, in the order given to [`Router::bind`].
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The next message. Cancelling it loses nothing.
    pub async fn recv(&mut self) -> Incoming {
        loop {
            match self.notices.recv().await {
                Some(Notice::Message { from, frames, charge }) => {
                    drop(charge);
                    let peer = from.sender.id();
                    self.peers.entry(peer).or_insert_with(|| from.sender.clone());
                    return Incoming {
                        peer,
                        identity: from.identity.clone(),
                        info: from.info.clone(),
                        frames,
                        sender: from.sender.clone(),
                    };
                }
                Some(Notice::Left(peer)) => {
                    self.peers.remove(&peer);
                }
                // The acceptor lives as long as this; only a runtime that ends stops it.
                None => std::future::pending().await,
            }
        }
    }

    /// Sends to a peer a message came from; never waits.
    ///
    /// # Errors
    /// The peer is gone, or does not read: then it is cut, so that its next connection starts clean.
    pub fn send(&mut self, peer: PeerId, frames: Vec<Bytes>) -> Result<(), SendError> {
        let sender = self.peers.get(&peer).ok_or(SendError::Gone)?;
        let sent = sender.send(frames);
        match sent {
            Ok(()) | Err(SendError::Empty) => {}
            Err(SendError::Full) => {
                sender.kick();
                self.peers.remove(&peer);
            }
            Err(SendError::Gone) => {
                self.peers.remove(&peer);
            }
        }
        sent
    }

    /// Ends the connection to a peer.
    pub fn kick(&mut self, peer: PeerId) {
        if let Some(sender) = self.peers.remove(&peer) {
            sender.kick();
        }
    }

    /// Closes the listeners at once and the connections when what is queued has left, or after the
    /// linger time.
    pub async fn close(self) {
        let Self { notices, peers, acceptor, .. } = self;
        drop((notices, peers));
        let _ = acceptor.await;
    }
}

fn serve(
    stream: Stream,
    origin: Origin,
    limits: &Limits,
    budget: &Arc<Budget>,
    owner: mpsc::Sender<Notice>,
) -> (Arc<Shared>, impl Future<Output = ()> + Send + use<>) {
    let id = PeerId::next();
    let (sender, queue, shared) = PeerSender::new(id, limits.max_queue, limits.max_queue_bytes);
    let session =
        Session::new(Config { socket_type: SocketType::Router, identity: Bytes::new(), limits: limits.wire });
    let mut connection = Connection::new(stream, session, queue, shared.clone(), budget, limits.linger);
    let opened = shared.clone();
    let serving = async move {
        let mut known = None;
        let mut tell = |event, charge| match event {
            Event::Open(peer) => {
                let info = Arc::new(PeerInfo { origin, socket_type: peer.socket_type });
                known = Some(Arc::new(Known { sender: sender.clone(), identity: peer.identity, info }));
                None
            }
            Event::Message(frames) => known.clone().map(|from| Notice::Message { from, frames, charge }),
            Event::Subscribe(_) | Event::Cancel(_) => None,
        };
        let _ = connection.run(&owner, &mut tell).await;
        if opened.open.load(Ordering::Relaxed) {
            let _ = owner.send(Notice::Left(id)).await;
        }
    };
    (shared, serving)
}

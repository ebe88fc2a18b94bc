//! Who is at the other end of a connection, and the way to send there. Knows no wire.

use core::fmt;
use core::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::zmtp::socket::SocketType;

/// Names one connection for as long as the process lives; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(u64);

impl PeerId {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number itself, for logs.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "#{}", self.0)
    }
}

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Where it connected from.
    pub origin: Origin,
    /// Its socket type.
    pub socket_type: SocketType,
}

/// Where a connection comes from, as the kernel says; no peer can invent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A tcp address.
    Tcp(SocketAddr),
    /// A process of this machine.
    Ipc(Credentials),
}

/// The process at the other end of an ipc connection, when it connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// Its process number, where the system tells.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(out, "{address}"),
            Self::Ipc(who) => {
                write!(out, "uid {} gid {}", who.uid, who.gid)?;
                who.pid.map_or(Ok(()), |pid| write!(out, " pid {pid}"))
            }
        }
    }
}

/// Why a message was not taken. Never a matter of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer is not, or no longer, connected.
    #[error("the peer is not connected")]
    Gone,
    /// Too much waits for the peer already; a bound socket cuts such a peer.
    #[error("too many messages wait for the peer")]
    Full,
    /// A message needs at least one frame.
    #[error("a message without frames cannot be sent")]
    Empty,
}

/// What a connection is asked to send.
#[derive(Debug, Clone)]
pub(super) enum Outgoing {
    Message(Arc<[Bytes]>),
    /// Its prefix is no `Bytes`, which would make every place in every queue larger.
    Subscription {
        wanted: bool,
        prefix: Arc<[u8]>,
    },
}

impl Outgoing {
    /// What it costs while it waits.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Message(frames) => frames.iter().map(|frame| frame.len() + size_of::<Bytes>()).sum(),
            Self::Subscription { prefix, .. } => prefix.len(),
        }
    }
}

/// What a connection and its senders share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) queued: AtomicUsize,
    pub(super) kick: Notify,
    /// The handshake is done.
    pub(super) open: AtomicBool,
}

/// Sends to one connection. Clones may be handed to other tasks; when the connection ends, they all
/// say [`SendError::Gone`].
#[derive(Debug, Clone)]
pub struct PeerSender {
    id: PeerId,
    queue: mpsc::Sender<Outgoing>,
    shared: Arc<Shared>,
    max_bytes: usize,
}

impl PeerSender {
    pub(super) fn new(
        id: PeerId,
        messages: usize,
        max_bytes: usize,
    ) -> (Self, mpsc::Receiver<Outgoing>, Arc<Shared>) {
        let (queue, receiver) = mpsc::channel(messages.max(1));
        let shared = Arc::new(Shared::default());
        (Self { id, queue, shared: shared.clone(), max_bytes }, receiver, shared)
    }

    /// Which connection this is.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Queues a message; never waits.
    ///
    /// # Errors
    /// The peer is gone, or too much waits for it: then it stays connected, and the caller decides.
    pub fn send(&self, frames: Vec<Bytes>) -> Result<(), SendError> {
        if frames.is_empty() {
            return Err(SendError::Empty);
        }
        self.offer(Outgoing::Message(frames.into()))
    }

    pub(super) fn offer(&self, outgoing: Outgoing) -> Result<(), SendError> {
        let cost = outgoing.cost();
        let before = self.shared.queued.fetch_add(cost, Ordering::Relaxed);
        let sent = if before > 0 && before.saturating_add(cost) > self.max_bytes {
            Err(if self.queue.is_closed() { SendError::Gone } else { SendError::Full })
        } else {
            self.queue.try_send(outgoing).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Full,
                mpsc::error::TrySendError::Closed(_) => SendError::Gone,
            })
        };
        if sent.is_err() {
            self.shared.queued.fetch_sub(cost, Ordering::Relaxed);
        }
        sent
    }

    /// Whether half of what may wait does: then what is worth less stays out.
    pub(super) fn is_half_full(&self) -> bool {
        self.queue.capacity() < self.queue.max_capacity().div_ceil(2)
            || self.shared.queued.load(Ordering::Relaxed) > self.max_bytes / 2
    }

    /// Waits for room; for subscriptions of our own, which must not be lost.
    pub(super) async fn push(&self, outgoing: Outgoing) -> Result<(), SendError> {
        self.shared.queued.fetch_add(outgoing.cost(), Ordering::Relaxed);
        self.queue.send(outgoing).await.map_err(|_| SendError::Gone)
    }

    /// Ends the connection without waiting for what is queued.
    pub fn kick(&self) {
        self.shared.kick.notify_one();
    }
}

/// A share of the memory that all connections of a socket may use for input.
#[derive(Debug)]
pub(super) struct Charge {
    budget: Arc<Budget>,
    held: usize,
}

/// The memory that all connections of a socket may use for input.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
    free: usize,
}

impl Budget {
    pub(super) fn new(limit: usize, free: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit, free })
    }

    pub(super) fn charge(self: &Arc<Self>) -> Charge {
        Charge { budget: self.clone(), held: 0 }
    }
}

impl Charge {
    /// Holds what `bytes` cost from now on; false when there is no room for more.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let wanted = if bytes <= self.budget.free { 0 } else { bytes };
        let used = &self.budget.used;
        if wanted <= self.held {
            used.fetch_sub(self.held - wanted, Ordering::Relaxed);
        } else {
            let more = wanted - self.held;
            if used.fetch_add(more, Ordering::Relaxed).saturating_add(more) > self.budget.limit {
                used.fetch_sub(more, Ordering::Relaxed);
                return false;
            }
        }
        self.held = wanted;
        true
    }

    /// What is held goes with a message; the connection begins anew.
    pub(super) fn take(&mut self) -> Self {
        let held = core::mem::take(&mut self.held);
        Self { budget: self.budget.clone(), held }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_in_messages_and_bytes() {
        let (sender, receiver, _shared) = PeerSender::new(PeerId::next(), 2, 1_000);
        assert_eq!(sender.send(vec![]), Err(SendError::Empty));
        assert_eq!(sender.send(vec![Bytes::from(vec![0; 5_000])]), Ok(()), "one alone may be large");
        assert_eq!(sender.send(vec![Bytes::from_static(b"x")]), Err(SendError::Full));
        drop(receiver);
        assert_eq!(sender.send(vec![Bytes::from_static(b"x")]), Err(SendError::Gone));
    }

    #[test]
    fn charges_are_given_back() {
        let budget = Budget::new(100, 10);
        let (mut one, mut two) = (budget.charge(), budget.charge());
        assert!(one.set(10) && one.set(90) && two.set(10));
        assert!(!two.set(20));
        let moved = one.take();
        assert!(!two.set(20));
        drop(moved);
        assert!(two.set(100) && !one.set(11));
        drop(two);
        assert!(one.set(100));
    }
}

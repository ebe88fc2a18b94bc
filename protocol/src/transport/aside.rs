//! The second way into a [`Publisher`](super::Publisher), for messages that are worth less than others,
//! such as copies of what processes print.
//!
//! They wait in a small queue of their own, fill at most half of what may wait for one subscriber, and
//! reach only those who asked for their kind by name: a subscription to everything is older than they
//! are and does not mean them. Whoever speaks here is never kept waiting. Knows no peers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::publisher::Wanted;

/// How many messages may wait.
pub(super) const QUEUE: usize = 64;

/// A message, and how long a subscription must be to mean it.
pub(super) struct Said {
    pub(super) least: usize,
    pub(super) frames: Arc<[Bytes]>,
}

/// See the module. Clones speak to the same publisher.
#[derive(Debug, Clone)]
pub struct Aside {
    pub(super) messages: mpsc::Sender<Said>,
    pub(super) wanted: watch::Receiver<Wanted>,
    pub(super) dropped: Arc<AtomicU64>,
    pub(super) kind: &'static [u8],
}

impl Aside {
    /// Whether anybody might subscribe to this topic, or to a beginning of it that names its kind.
    #[must_use]
    pub fn has_subscriber(&self, topic: &[u8]) -> bool {
        self.wanted.borrow().longest(topic).is_some_and(|least| least >= self.kind.len())
    }

    /// Whether anybody asked for this kind; false only when surely nobody did.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.wanted.borrow().begins(self.kind)
    }

    /// Whether there is room for a message; worth asking before it is made.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.messages.capacity() > 0
    }

    /// Publishes a message whose first frame is its topic; false when there was no room.
    pub fn publish(&self, frames: Vec<Bytes>) -> bool {
        let said = Said { least: self.kind.len(), frames: frames.into() };
        let sent = self.messages.try_send(said).is_ok();
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }
}

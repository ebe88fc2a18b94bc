//! SUB: receives what one PUB publishes under chosen prefixes, and subscribes again by itself after
//! each reconnection. What was published in between is lost; the events tell that there was a gap.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::limits::LinkOptions;
use super::link::{ConnectError, Hold, Link, LinkEvent, Notice, Topics};
use crate::endpoint::Endpoint;
use crate::zmtp::fault::Fault;
use crate::zmtp::socket::SocketType;
use crate::zmtp::subscription::Subscriptions;

/// A connecting SUB socket. Dropping it closes it.
#[derive(Debug)]
pub struct Subscriber {
    notices: mpsc::Receiver<Notice>,
    subscriptions: Subscriptions,
    topics: watch::Sender<Arc<BTreeSet<Bytes>>>,
    hold: Hold,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Begins to connect, and goes on until the socket is closed. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn connect(endpoint: Endpoint, options: LinkOptions) -> Result<Self, ConnectError> {
        let (topics, announced) = watch::channel(Arc::default());
        let (owner, notices) = mpsc::channel(options.max_inbox.max(1));
        let topic = Topics::These(announced);
        let (link, hold) = Link::new(endpoint, SocketType::Sub, options.into(), topic, (owner, Some))?;
        let subscriptions = Subscriptions::default();
        Ok(Self { notices, subscriptions, topics, hold, task: tokio::spawn(link.run()) })
    }

    /// Wants messages whose first frame begins so, now and after every reconnection. Counted: what
    /// is subscribed twice must be unsubscribed twice.
    ///
    /// # Errors
    /// More subscriptions than a publisher of ours would accept.
    pub fn subscribe(&mut self, prefix: impl Into<Bytes>) -> Result<(), Fault> {
        if self.subscriptions.subscribe(&prefix.into())? {
            self.announce();
        }
        Ok(())
    }

    /// Takes one subscription back.
    pub fn unsubscribe(&mut self, prefix: impl Into<Bytes>) {
        if self.subscriptions.cancel(&prefix.into()) {
            self.announce();
        }
    }

    fn announce(&self) {
        self.topics.send_replace(Arc::new(self.subscriptions.prefixes().cloned().collect()));
    }

    /// The next thing that happens. Cancelling it loses nothing. A message that was under way when
    /// its subscription ended is left out.
    pub async fn recv(&mut self) -> LinkEvent {
        loop {
            match self.notices.recv().await {
                Some(Notice::Accepted) => {}
                Some(Notice::Up { sender: _, peer }) => return LinkEvent::Connected { peer },
                Some(Notice::Down { reason, again_in }) => {
                    return LinkEvent::Disconnected { reason, again_in };
                }
                Some(Notice::Message { frames, charge }) => {
                    drop(charge);
                    if frames.first().is_some_and(|topic| self.subscriptions.matches(topic)) {
                        return LinkEvent::Message(frames);
                    }
                }
                // The task lives as long as this; only a runtime that ends stops it.
                None => core::future::pending().await,
            }
        }
    }

    /// Closes the connection and waits until it is closed.
    pub async fn close(self) {
        let Self { notices, hold, task, .. } = self;
        drop((notices, hold));
        let _ = task.await;
    }
}

//! DEALER: asks one ROUTER without waiting for answers, and stays connected to it.

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::limits::LinkOptions;
use super::link::{ConnectError, Hold, Link, LinkEvent, Notice, Topics};
use super::peer::{PeerSender, SendError};
use crate::endpoint::Endpoint;
use crate::zmtp::socket::SocketType;

/// A connecting DEALER socket. Dropping it closes it in the background; [`Dealer::close`] waits.
#[derive(Debug)]
pub struct Dealer {
    notices: mpsc::Receiver<Notice>,
    sender: Option<PeerSender>,
    accepted: watch::Receiver<bool>,
    hold: Hold,
    task: JoinHandle<()>,
}

impl Dealer {
    /// Begins to connect, and goes on until the socket is closed. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn connect(endpoint: Endpoint, options: LinkOptions) -> Result<Self, ConnectError> {
        let (owner, notices) = mpsc::channel(options.max_inbox.max(1));
        let (accepts, accepted) = watch::channel(false);
        let tell = move |notice| match notice {
            Notice::Accepted => {
                accepts.send_replace(true);
                None
            }
            Notice::Up { .. } | Notice::Down { .. } | Notice::Message { .. } => Some(notice),
        };
        let (link, hold) =
            Link::new(endpoint, SocketType::Dealer, options.into(), Topics::None, (owner, tell))?;
        Ok(Self { notices, sender: None, accepted, hold, task: tokio::spawn(link.run()) })
    }

    /// Resolves when somebody has accepted a connection, whatever comes of it: who hears nothing more
    /// than that talks to a peer that hangs, not to a host that is down.
    pub fn accepted(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut accepted = self.accepted.clone();
        async move {
            if accepted.wait_for(|accepted| *accepted).await.is_err() {
                // The socket is closed: nobody will accept any more.
                core::future::pending().await
            }
        }
    }

    /// The next thing that happens. Cancelling it loses nothing.
    pub async fn recv(&mut self) -> LinkEvent {
        loop {
            match self.notices.recv().await {
                Some(notice) => {
                    if let Some(event) = self.note(notice) {
                        return event;
                    }
                }
                // The task lives as long as this; only a runtime that ends stops it.
                None => core::future::pending().await,
            }
        }
    }

    /// What has happened already, without waiting for more.
    pub fn try_recv(&mut self) -> Option<LinkEvent> {
        loop {
            let notice = self.notices.try_recv().ok()?;
            if let Some(event) = self.note(notice) {
                return Some(event);
            }
        }
    }

    fn note(&mut self, notice: Notice) -> Option<LinkEvent> {
        match notice {
            // Told by `accepted`.
            Notice::Accepted => None,
            Notice::Up { sender, peer } => {
                self.sender = Some(sender);
                Some(LinkEvent::Connected { peer })
            }
            Notice::Down { reason, again_in } => {
                self.sender = None;
                Some(LinkEvent::Disconnected { reason, again_in })
            }
            Notice::Message { frames, charge } => {
                drop(charge);
                Some(LinkEvent::Message(frames))
            }
        }
    }

    /// Sends on the present connection; never waits. What was sent when a connection breaks may be
    /// lost, and is not repeated on the next one: only the caller knows whether that would be right.
    ///
    /// # Errors
    /// [`Dealer::recv`] has not told of a connection, or it is gone again, or too much waits.
    pub fn send(&self, frames: Vec<Bytes>) -> Result<(), SendError> {
        self.sender.as_ref().ok_or(SendError::Gone)?.send(frames)
    }

    /// Whether [`Dealer::recv`] has told of a connection that has not ended since.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.sender.is_some()
    }

    /// The sending half of the present connection, for other tasks.
    #[must_use]
    pub fn sender(&self) -> Option<PeerSender> {
        self.sender.clone()
    }

    /// Waits until what is queued has left, or for the linger time.
    pub async fn close(self) {
        let Self { notices, sender, hold, task, .. } = self;
        drop((notices, sender, hold));
        let _ = task.await;
    }
}

//! A connecting socket among many of one owner: what happens on all of them goes into one channel, so that
//! none needs a channel and a task of its own to be heard. For who follows ten thousand peers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::limits::LinkOptions;
use super::link::{ConnectError, DownReason, Hold, Link, Notice, Topics};
use super::peer::PeerSender;
use crate::endpoint::Endpoint;
use crate::zmtp::socket::SocketType;

/// What happens on a [`Feeder`].
#[derive(Debug)]
pub enum Fed {
    /// Somebody has accepted a connection, whatever comes of it.
    Accepted,
    /// The handshake is done; this sends on the new connection.
    Connected(PeerSender),
    /// The connection ended, or an attempt failed.
    Disconnected(DownReason),
    /// A message came.
    Message(Vec<Bytes>),
}

/// A connecting DEALER or SUB. It connects, and connects again, until this is dropped; then it ends in the
/// background when what was sent has left, and [`Feeder::close`] waits for that.
#[derive(Debug)]
pub struct Feeder {
    hold: Hold,
    task: JoinHandle<()>,
}

impl Feeder {
    /// Begins to connect a DEALER. What `tell` makes of what happens goes to `inbox`; while that is
    /// full, nothing more is read from the peer. The messages `first` leave with the handshake of the first
    /// connection, a round trip before [`Fed::Connected`]; who turns out to be no fitting peer may have
    /// seen them. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn dealer<T: Send + 'static>(
        endpoint: Endpoint,
        options: Arc<LinkOptions>,
        first: Vec<Vec<Bytes>>,
        (inbox, tell): (mpsc::Sender<T>, impl FnMut(Fed) -> Option<T> + Send + 'static),
    ) -> Result<Self, ConnectError> {
        Self::begin(endpoint, SocketType::Dealer, options, (Topics::None, first), inbox, tell)
    }

    /// The same with a SUB that wants all messages whose first frame begins with `prefix`.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn subscriber<T: Send + 'static>(
        endpoint: Endpoint,
        options: Arc<LinkOptions>,
        prefix: &'static [u8],
        inbox: mpsc::Sender<T>,
        tell: impl FnMut(Fed) -> Option<T> + Send + 'static,
    ) -> Result<Self, ConnectError> {
        Self::begin(endpoint, SocketType::Sub, options, (Topics::Only(prefix), Vec::new()), inbox, tell)
    }

    fn begin<T: Send + 'static>(
        endpoint: Endpoint,
        socket_type: SocketType,
        options: Arc<LinkOptions>,
        (topics, first): (Topics, Vec<Vec<Bytes>>),
        inbox: mpsc::Sender<T>,
        mut tell: impl FnMut(Fed) -> Option<T> + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let prefix = match topics {
            Topics::Only(prefix) => prefix,
            Topics::None | Topics::These(_) => b"",
        };
        let tell = move |notice| {
            tell(match notice {
                Notice::Accepted => Fed::Accepted,
                Notice::Up { sender, .. } => Fed::Connected(sender),
                Notice::Down { reason, .. } => Fed::Disconnected(reason),
                // A publisher may send what nobody wanted.
                Notice::Message { frames, .. }
                    if !frames.first().is_some_and(|topic| topic.starts_with(prefix)) =>
                {
                    return None;
                }
                Notice::Message { frames, charge } => {
                    drop(charge);
                    Fed::Message(frames)
                }
            })
        };
        let (link, hold) = Link::new(endpoint, socket_type, options, topics, (inbox, tell))?;
        Ok(Self { hold, task: tokio::spawn(link.saying(first).run()) })
    }

    /// Waits until what was sent has left, or for the linger time.
    pub async fn close(self) {
        let Self { hold, task } = self;
        drop(hold);
        let _ = task.await;
    }
}

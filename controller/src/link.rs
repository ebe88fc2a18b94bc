//! The talking: one task for each connected node, which knows a DEALER and nothing of operations.
//!
//! ```text
//!  fleet ──frames──► link ──► Dealer ══► node
//!        ◄──Heard───      ◄──        ◄══
//! ```
//!
//! A link lives for one connection. When that cannot be made or breaks, the link says why and ends:
//! whether to connect again is for the cluster to decide. An ear is a SUB on a node's pubsub endpoint; it
//! connects again by itself, and tells whenever what came before may have been missed.

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::event;
use circus_protocol::transport::{Dealer, DownReason, LinkEvent, LinkOptions, Subscriber};
use std::time::Duration;
use tokio::sync::mpsc;

use crate::cluster::Input;
use crate::cluster::node::NodeId;

/// Frames waiting for one node. Each operation asks one thing at a time, so this is never full; if it
/// were, the frame would be dropped and the operation would time out.
const OUTGOING: usize = 32;
/// Connecting ends with the operation's deadline; this one is only there so that nothing is for ever.
const CONNECT_TIME: Duration = Duration::from_secs(600);
/// Each attempt is a link of its own, so the socket's own retries never happen.
const NEVER: Duration = Duration::from_secs(3600);

/// The longest pause before an ear tries again; what it would hear is asked for meanwhile.
const EAR_PAUSE: Duration = Duration::from_secs(10);

/// Something that happened on a link.
#[derive(Debug)]
pub struct Heard {
    /// Which link, so that an old one cannot speak for a new one.
    pub generation: u64,
    /// For the cluster.
    pub input: Input,
}

/// The fleet's end of a link. Dropping it ends the link after what was given to it is sent.
#[derive(Debug)]
pub struct Link {
    /// See [`Heard::generation`].
    pub generation: u64,
    outgoing: mpsc::Sender<Vec<u8>>,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    /// Begins to connect. What happens goes to `news`; when that is full the link waits, and with it
    /// the node.
    #[must_use]
    pub fn open(node: NodeId, generation: u64, endpoint: Endpoint, news: mpsc::Sender<Heard>) -> Self {
        let (outgoing, frames) = mpsc::channel(OUTGOING);
        let teller = Teller { node, generation, news };
        let task = tokio::spawn(run(teller, endpoint, frames));
        Self { generation, outgoing, task }
    }

    /// Gives a frame to the link; whether it arrived is told by the answer, or by its absence.
    pub fn send(&self, payload: Vec<u8>) {
        // The link has ended: that is told, or about to be told, as a loss.
        let _ = self.outgoing.try_send(payload);
    }

    /// Waits until what was given to the link is sent.
    pub async fn close(self) {
        drop(self.outgoing);
        // A link that panicked has nothing more to send.
        let _ = self.task.await;
    }
}

/// The fleet's end of a subscription to a node's events. Dropping it ends it at once.
#[derive(Debug)]
pub struct Ear {
    /// See [`Heard::generation`].
    pub generation: u64,
    task: tokio::task::AbortHandle,
}

impl Ear {
    /// Begins to connect. What happens goes to `news`; when that is full the ear waits, and the node
    /// leaves out what does not fit.
    #[must_use]
    pub fn open(node: NodeId, generation: u64, endpoint: Endpoint, news: mpsc::Sender<Heard>) -> Self {
        let teller = Teller { node, generation, news };
        let task = tokio::spawn(listen(teller, endpoint)).abort_handle();
        Self { generation, task }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(teller: Teller, endpoint: Endpoint) {
    let node = teller.node;
    let options = LinkOptions { longest_pause: EAR_PAUSE, ..LinkOptions::default() };
    let Ok(mut subscriber) = Subscriber::connect(endpoint, options) else {
        return teller.tell(Input::Deaf { node }).await;
    };
    if subscriber.subscribe(event::PREFIX).is_err() {
        return teller.tell(Input::Deaf { node }).await;
    }
    loop {
        let input = match subscriber.recv().await {
            LinkEvent::Connected { .. } => Input::Listening { node },
            LinkEvent::Disconnected { .. } => Input::Deaf { node },
            LinkEvent::Message(frames) => {
                let [topic, payload] = frames.as_slice() else { continue };
                Input::Heard { node, topic: topic.to_vec(), payload: payload.to_vec() }
            }
        };
        teller.tell(input).await;
    }
}

/// Tells the fleet.
struct Teller {
    node: NodeId,
    generation: u64,
    news: mpsc::Sender<Heard>,
}

impl Teller {
    async fn tell(&self, input: Input) {
        // Without a fleet there is nobody to tell.
        let _ = self.news.send(Heard { generation: self.generation, input }).await;
    }

    async fn lost(&self, reason: String) {
        self.tell(Input::Lost { node: self.node, reason }).await;
    }
}

async fn run(teller: Teller, endpoint: Endpoint, mut frames: mpsc::Receiver<Vec<u8>>) {
    let options = LinkOptions {
        connect_time: CONNECT_TIME,
        first_pause: NEVER,
        longest_pause: NEVER,
        ..LinkOptions::default()
    };
    let mut dealer = match Dealer::connect(endpoint, options) {
        Ok(dealer) => dealer,
        Err(error) => return teller.lost(error.to_string()).await,
    };
    let accepted = dealer.accepted();
    tokio::pin!(accepted);
    let mut reached = false;
    loop {
        tokio::select! {
            // In this order, so that what ends a connection never comes before its beginning.
            biased;
            () = &mut accepted, if !reached => {
                reached = true;
                teller.tell(Input::Reached { node: teller.node }).await;
            }
            event = dealer.recv() => match event {
                LinkEvent::Connected { .. } => teller.tell(Input::Opened { node: teller.node }).await,
                LinkEvent::Disconnected { reason, .. } => return teller.lost(words(&reason)).await,
                LinkEvent::Message(parts) => {
                    // A circusd answers in one frame; whatever came before it is not for us.
                    let payload = parts.last().map(|part| part.to_vec()).unwrap_or_default();
                    teller.tell(Input::Received { node: teller.node, payload }).await;
                }
            },
            frame = frames.recv() => match frame {
                Some(frame) => {
                    if let Err(error) = dealer.send(vec![Bytes::from(frame)]) {
                        return teller.lost(error.to_string()).await;
                    }
                }
                None => return dealer.close().await,
            },
        }
    }
}

#[cfg(test)]
mod tests;

/// For a person who wanted a circusd there.
fn words(reason: &DownReason) -> String {
    match reason {
        DownReason::Protocol(fault) => format!("no circusd's endpoint: {fault}; check the port"),
        DownReason::ClosedEarly => {
            "the connection was closed at once: no circusd listens there, or it is just ending".to_owned()
        }
        DownReason::Name { .. }
        | DownReason::Refused
        | DownReason::NoSocket
        | DownReason::Denied
        | DownReason::Timeout { .. }
        | DownReason::Closed
        | DownReason::System(_) => reason.to_string(),
    }
}

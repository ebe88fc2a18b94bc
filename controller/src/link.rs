//! The talking: one task for each connected node, which knows a DEALER and nothing of operations.
//!
//! ```text
//!  fleet ──frames──► link ══► node
//!        ◄──Heard───      ◄══
//! ```
//!
//! A link lives for one connection. When that cannot be made or breaks, the link says why and ends:
//! whether to connect again is for the cluster to decide. An ear is a SUB on a node's pubsub endpoint; it
//! connects again by itself, and tells whenever what came before may have been missed.
//!
//! What all of them hear goes into the fleet's one channel. With ten thousand nodes it counts what each
//! takes: a channel and a task more for each of them would double it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::event;
use circus_protocol::transport::{DownReason, Fed, Feeder, LinkOptions, PeerSender};
use tokio::sync::mpsc;

use crate::cluster::Input;
use crate::cluster::node::NodeId;

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
    /// The way to send on a connection that was just made; for [`Link::opened`].
    pub sender: Option<PeerSender>,
}

/// How all links and all ears of a fleet connect.
#[derive(Debug)]
pub struct Options {
    link: Arc<LinkOptions>,
    ear: Arc<LinkOptions>,
}

impl Default for Options {
    fn default() -> Self {
        let link = LinkOptions {
            connect_time: CONNECT_TIME,
            first_pause: NEVER,
            longest_pause: NEVER,
            ..LinkOptions::default()
        };
        let ear = LinkOptions { longest_pause: EAR_PAUSE, ..LinkOptions::default() };
        Self { link: link.into(), ear: ear.into() }
    }
}

/// The fleet's end of a link. Dropping it ends the link after what was given to it is sent.
#[derive(Debug)]
pub struct Link {
    /// See [`Heard::generation`].
    pub generation: u64,
    feeder: Option<Feeder>,
    sender: Option<PeerSender>,
}

impl Link {
    /// Begins to connect. What happens goes to `news`; when that is full the link waits, and with it
    /// the node. The frames `first` leave with the handshake.
    #[must_use]
    pub fn open(
        node: NodeId,
        generation: u64,
        endpoint: Endpoint,
        first: Vec<Vec<u8>>,
        options: &Options,
        news: mpsc::Sender<Heard>,
    ) -> Self {
        let tell = move |fed| {
            let (input, sender) = match fed {
                Fed::Accepted => (Input::Reached { node }, None),
                Fed::Connected(sender) => (Input::Opened { node }, Some(sender)),
                Fed::Disconnected(reason) => (Input::Lost { node, reason: words(&reason) }, None),
                Fed::Message(parts) => {
                    // A circusd answers in one frame; whatever came before it is not for us.
                    let payload = parts.last().map(|part| part.to_vec()).unwrap_or_default();
                    (Input::Received { node, payload }, None)
                }
            };
            Some(Heard { generation, input, sender })
        };
        let first = first.into_iter().map(|payload| vec![Bytes::from(payload)]).collect();
        let feeder = match Feeder::dealer(endpoint, options.link.clone(), first, (news.clone(), tell)) {
            Ok(feeder) => Some(feeder),
            Err(error) => {
                say(generation, Input::Lost { node, reason: error.to_string() }, news);
                None
            }
        };
        Self { generation, feeder, sender: None }
    }

    /// What it told last is that there is a connection, and how to send on it.
    pub fn opened(&mut self, sender: PeerSender) {
        self.sender = Some(sender);
    }

    /// Gives a frame to the link; whether it arrived is told by the answer, or by its absence.
    pub fn send(&self, payload: Vec<u8>) {
        if let Some(sender) = &self.sender {
            // The connection has ended: that is told, or about to be told, as a loss. Or a thousand frames
            // wait for a node that reads none: then this one will not be answered either.
            let _ = sender.send(vec![Bytes::from(payload)]);
        }
    }

    /// Waits until what was given to the link is sent.
    pub async fn close(self) {
        if let Some(feeder) = self.feeder {
            feeder.close().await;
        }
    }
}

/// The fleet's end of a subscription to a node's events. Dropping it ends it at once.
#[derive(Debug)]
pub struct Ear {
    /// See [`Heard::generation`].
    pub generation: u64,
    _feeder: Option<Feeder>,
}

impl Ear {
    /// Begins to connect. What happens goes to `news`; when that is full the ear waits, and the node
    /// leaves out what does not fit.
    #[must_use]
    pub fn open(
        node: NodeId,
        generation: u64,
        endpoint: Endpoint,
        options: &Options,
        news: mpsc::Sender<Heard>,
    ) -> Self {
        let tell = move |fed| {
            let input = match fed {
                Fed::Accepted => return None,
                Fed::Connected(_) => Input::Listening { node },
                Fed::Disconnected(_) => Input::Deaf { node },
                Fed::Message(frames) => {
                    let [topic, payload] = frames.as_slice() else { return None };
                    Input::Heard { node, topic: topic.to_vec(), payload: payload.to_vec() }
                }
            };
            Some(Heard { generation, input, sender: None })
        };
        let feeder =
            Feeder::subscriber(endpoint, options.ear.clone(), event::PREFIX.as_bytes(), news.clone(), tell);
        if feeder.is_err() {
            say(generation, Input::Deaf { node }, news);
        }
        Self { generation, _feeder: feeder.ok() }
    }
}

/// Tells the fleet what no link can.
fn say(generation: u64, input: Input, news: mpsc::Sender<Heard>) {
    tokio::spawn(async move {
        // Without a fleet there is nobody to tell.
        let _ = news.send(Heard { generation, input, sender: None }).await;
    });
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

//! `listen`: prints what the pubsub endpoint publishes, as stock prints it, until it is interrupted.

use circus_protocol::endpoint::Endpoint;
use circus_protocol::transport::{LinkEvent, Subscriber};

use super::connection::{AskError, link_options};
use super::show;
use crate::cli::output::{data, talk};

/// Prints events whose topics begin with one of `topics`; does not end by itself.
pub(super) async fn listen(endpoint: &Endpoint, topics: &[String]) -> Result<(), AskError> {
    let mut subscriber = Subscriber::connect(endpoint.clone(), link_options())?;
    for topic in topics {
        subscriber.subscribe(topic.clone()).map_err(|_| AskError::Send(endpoint.clone()))?;
    }
    let mut told = false;
    loop {
        match subscriber.recv().await {
            LinkEvent::Connected { .. } => told = false,
            LinkEvent::Disconnected { reason, .. } => {
                // Once for each time that it is away: silence would look like a quiet daemon.
                if !std::mem::replace(&mut told, true) {
                    talk(&format!("circusctl: no events from {endpoint}: {reason}; still trying"));
                }
            }
            LinkEvent::Message(frames) => {
                if let [topic, payload] = frames.as_slice() {
                    data(&show::event(topic, payload));
                }
            }
        }
    }
}

//! A small client of circus' control endpoint: a command out, its reply back, within a deadline.
//! Knows the envelope's id and nothing else of commands and replies.

use core::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::timeout;

use super::dealer::Dealer;
use super::limits::LinkOptions;
use super::link::{ConnectError, DownReason, LinkEvent};
use super::peer::SendError;
use crate::codec::encode_request;
use crate::endpoint::Endpoint;
use crate::json;

/// Why a call brought no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke while we waited. The command may have been carried out.
    #[error("cannot reach {endpoint}: {reason}")]
    Unreachable {
        /// Where we tried.
        endpoint: Endpoint,
        /// Why not.
        reason: DownReason,
    },
    /// No reply in time. The command may have been carried out.
    #[error("no reply from {endpoint} to {command:?} within {limit:?}")]
    TimedOut {
        /// Where we asked.
        endpoint: Endpoint,
        /// What we asked.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// Something came that is not a circus reply.
    #[error("bad reply from {endpoint}: {reason}")]
    BadReply {
        /// Who sent it.
        endpoint: Endpoint,
        /// What is wrong with it.
        reason: String,
    },
    /// More commands wait to be sent than may.
    #[error("too many commands wait to be sent to {endpoint}")]
    Busy {
        /// Where they wait to go.
        endpoint: Endpoint,
    },
}

/// A connection to one control endpoint; connects again by itself between calls.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    dealer: Dealer,
    /// Why there was no connection when last heard of.
    down: Option<DownReason>,
    next_id: u64,
}

impl Client {
    /// Begins to connect. Needs a tokio runtime.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn connect(endpoint: Endpoint) -> Result<Self, ConnectError> {
        Self::with_options(endpoint, LinkOptions::default())
    }

    /// As [`Client::connect`], with options.
    ///
    /// # Errors
    /// The endpoint names nothing one could connect to.
    pub fn with_options(endpoint: Endpoint, options: LinkOptions) -> Result<Self, ConnectError> {
        let dealer = Dealer::connect(endpoint.clone(), options)?;
        Ok(Self { endpoint, dealer, down: None, next_id: 1 })
    }

    /// Sends a command and waits for its reply, the connection included. Replies to earlier calls
    /// that were given up are left out.
    ///
    /// # Errors
    /// No connection, no reply in time, or something that is no reply.
    pub async fn call(
        &mut self,
        command: &str,
        properties: Value,
        limit: Duration,
    ) -> Result<Value, CallError> {
        // What happened since the last call is no news about this one.
        while let Some(event) = self.dealer.try_recv() {
            self.note(&event);
        }
        let exchange = self.exchange(command, properties);
        match (timeout(limit, exchange).await, &self.down) {
            (Ok(outcome), _) => outcome,
            (Err(_), Some(reason)) => Err(self.unreachable(reason.clone())),
            (Err(_), None) => Err(CallError::TimedOut {
                endpoint: self.endpoint.clone(),
                command: command.to_owned(),
                limit,
            }),
        }
    }

    fn note(&mut self, event: &LinkEvent) {
        match event {
            LinkEvent::Connected { .. } => self.down = None,
            LinkEvent::Disconnected { reason, .. } => self.down = Some(reason.clone()),
            LinkEvent::Message(_) => {}
        }
    }

    fn unreachable(&self, reason: DownReason) -> CallError {
        CallError::Unreachable { endpoint: self.endpoint.clone(), reason }
    }

    async fn exchange(&mut self, command: &str, properties: Value) -> Result<Value, CallError> {
        let id = format!("{:x}", self.next_id);
        self.next_id += 1;
        let frames = vec![Bytes::from(encode_request(&id, command, &properties))];
        let mut sent = self.try_send(&frames)?;
        loop {
            let event = self.dealer.recv().await;
            self.note(&event);
            match event {
                LinkEvent::Connected { .. } if sent => {}
                LinkEvent::Connected { .. } => sent = self.try_send(&frames)?,
                LinkEvent::Disconnected { reason, .. } => return Err(self.unreachable(reason)),
                LinkEvent::Message(frames) => {
                    let reply = self.read(&frames)?;
                    if reply.get("id").and_then(Value::as_str) == Some(&id) {
                        return Ok(reply);
                    }
                }
            }
        }
    }

    /// False when there is no connection yet, or it is gone and the event is still to come.
    fn try_send(&self, frames: &[Bytes]) -> Result<bool, CallError> {
        match self.dealer.send(frames.to_vec()) {
            Ok(()) => Ok(true),
            Err(SendError::Gone | SendError::Empty) => Ok(false),
            Err(SendError::Full) => Err(CallError::Busy { endpoint: self.endpoint.clone() }),
        }
    }

    fn read(&self, frames: &[Bytes]) -> Result<Value, CallError> {
        let bad = |reason: String| CallError::BadReply { endpoint: self.endpoint.clone(), reason };
        // A peer that answers as REP does puts an empty frame in front.
        let payload = match frames {
            [payload] => payload,
            [delimiter, payload] if delimiter.is_empty() => payload,
            _ => return Err(bad(format!("expected one frame, got {}", frames.len()))),
        };
        json::parse(payload).map_err(|error| bad(format!("not JSON: {error}")))
    }

    /// Closes the connection, after what is queued has left.
    pub async fn close(self) {
        self.dealer.close().await;
    }
}

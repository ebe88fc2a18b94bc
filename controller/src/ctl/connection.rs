//! One question to one daemon: connects, asks, waits for the answer with our id.
//!
//! As stock's socket it goes on trying to connect until the time is over, so that a script may ask a
//! daemon that is only just starting. Knows the envelope's id, not what is asked.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::json;
use circus_protocol::transport::link::ConnectError;
use circus_protocol::transport::{Dealer, DownReason, LinkEvent, LinkOptions};
use serde_json::{Map, Value};

/// The pause before connecting again; short, because somebody waits.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody can be asked there.
    #[error(transparent)]
    Endpoint(#[from] ConnectError),
    /// The time is over.
    #[error("Timed out.")]
    TimedOut {
        /// Why there was no connection in the end, if there was none.
        down: Option<DownReason>,
    },
    /// The connection broke after the question had left.
    #[error("{endpoint}: {reason}, before the reply came; whether the command was carried out is not known")]
    Broken {
        /// Whom we asked.
        endpoint: Endpoint,
        /// What happened.
        reason: DownReason,
    },
    /// Too much for the socket.
    #[error("{0}: the command could not be sent")]
    Send(Endpoint),
}

/// How links of this program behave.
pub(super) fn link_options() -> LinkOptions {
    LinkOptions { first_pause: PAUSE, longest_pause: PAUSE, ..LinkOptions::default() }
}

/// Asks; without a limit as long as it takes.
pub(super) async fn ask(
    endpoint: &Endpoint,
    command: &str,
    properties: Map<String, Value>,
    limit: Option<Duration>,
) -> Result<Map<String, Value>, AskError> {
    let mut dealer = Dealer::connect(endpoint.clone(), link_options())?;
    let id = fresh_id();
    let frame = Bytes::from(request(&id, command, properties));
    let mut down = None;
    let exchange = exchange(&mut dealer, endpoint, &id, frame, &mut down);
    match limit {
        None => exchange.await,
        Some(limit) => match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AskError::TimedOut { down }),
        },
    }
}

async fn exchange(
    dealer: &mut Dealer,
    endpoint: &Endpoint,
    id: &str,
    frame: Bytes,
    down: &mut Option<DownReason>,
) -> Result<Map<String, Value>, AskError> {
    let mut sent = false;
    loop {
        match dealer.recv().await {
            LinkEvent::Connected { .. } => {
                *down = None;
                if !sent {
                    dealer.send(vec![frame.clone()]).map_err(|_| AskError::Send(endpoint.clone()))?;
                    sent = true;
                }
            }
            // A command that may have been carried out is not sent twice.
            LinkEvent::Disconnected { reason, .. } if sent => {
                return Err(AskError::Broken { endpoint: endpoint.clone(), reason });
            }
            LinkEvent::Disconnected { reason, .. } => *down = Some(reason),
            LinkEvent::Message(parts) => {
                let reply = parts.last().map(|part| json::parse(part));
                if let Some(Ok(Value::Object(reply))) = reply
                    && reply.get("id").and_then(Value::as_str) == Some(id)
                {
                    return Ok(reply);
                }
            }
        }
    }
}

/// The request with its keys in stock's order: a daemon quotes it in some of its refusals.
fn request(id: &str, command: &str, properties: Map<String, Value>) -> Vec<u8> {
    let mut envelope = Map::new();
    envelope.insert("command".to_owned(), command.into());
    envelope.insert("properties".to_owned(), Value::Object(properties));
    envelope.insert("id".to_owned(), id.into());
    json::to_vec(&Value::Object(envelope))
}

/// 32 hexadecimal digits that nobody else uses; the standard library's hash keys are random.
fn fresh_id() -> String {
    let half = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_requests_as_stock_does() {
        let mut properties = Map::new();
        properties.insert("name".to_owned(), "é".into());
        let request = String::from_utf8(request("ab", "list", properties)).unwrap();
        assert_eq!(request, r#"{"command": "list", "properties": {"name": "\u00e9"}, "id": "ab"}"#);
        assert!(fresh_id().len() == 32 && fresh_id() != fresh_id());
    }
}

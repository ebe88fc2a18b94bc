//! Discovery: one datagram asks, every circusd that hears it says where its control endpoint is.
//! Sockets and multicast groups are for others; this is the text of the two datagrams.

use serde_json::{Map, Value};

use crate::json;

/// What stock clients send; the daemon answers any datagram, also an empty one.
pub const QUERY: &[u8] = b"\"\"";

/// The longest answer that is read.
pub const MAX_DATAGRAM: usize = 1024;

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The control endpoint as configured; may name all interfaces (`tcp://0.0.0.0:5555`).
    pub endpoint: String,
}

/// Why a datagram is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not JSON.
    #[error("discovery answer is not json: {0}")]
    Json(#[from] json::JsonError),
    /// JSON without a textual `endpoint`.
    #[error("discovery answer without an endpoint")]
    NoEndpoint,
}

impl Answer {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut map = Map::new();
        map.insert("endpoint".to_owned(), Value::String(self.endpoint.clone()));
        json::to_vec(&Value::Object(map))
    }

    /// Reads a datagram.
    ///
    /// # Errors
    ///
    /// Anything but a JSON object with a textual `endpoint`.
    pub fn decode(datagram: &[u8]) -> Result<Self, AnswerError> {
        let value = json::parse(datagram)?;
        match value.get("endpoint").and_then(Value::as_str) {
            Some(endpoint) => Ok(Self { endpoint: endpoint.to_owned() }),
            None => Err(AnswerError::NoEndpoint),
        }
    }

    /// The endpoint as the asker reaches it: `0.0.0.0` and `*` stand for where the answer came from.
    #[must_use]
    pub fn reachable_from(&self, sender: &str) -> String {
        match self.endpoint.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')) {
            Some(("0.0.0.0" | "*", port)) => format!("tcp://{sender}:{port}"),
            Some(_) | None => self.endpoint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_stock_s() {
        let answer = Answer { endpoint: "tcp://0.0.0.0:5555".to_owned() };
        assert_eq!(answer.encode(), br#"{"endpoint": "tcp://0.0.0.0:5555"}"#);
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer.clone()));
        assert_eq!(answer.reachable_from("127.0.0.9"), "tcp://127.0.0.9:5555");
        let bound = Answer { endpoint: "tcp://127.0.0.1:5555".to_owned() };
        assert_eq!(bound.reachable_from("127.0.0.9"), "tcp://127.0.0.1:5555");
    }

    #[test]
    fn other_datagrams_are_none() {
        assert_eq!(Answer::decode(QUERY), Err(AnswerError::NoEndpoint));
        assert_eq!(Answer::decode(br#"{"endpoint": 5}"#), Err(AnswerError::NoEndpoint));
        assert!(matches!(Answer::decode(b""), Err(AnswerError::Json(_))));
    }
}

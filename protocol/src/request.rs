//! A request as it was received: the envelope, nothing understood yet. It is read by
//! [`crate::codec::decode_request`] and understood by [`crate::command::Command::parse`].

use bytes::Bytes;
use serde_json::Value;

/// What a client sent, kept whole so that a refusal can quote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Echoed in the reply; `null` when absent.
    pub id: Value,
    /// The command name as sent; compared lower-cased.
    pub command: String,
    /// The arguments; an object unless the client was careless.
    pub properties: Value,
    /// `msg_type` was exactly `cast`: no reply is wanted, not even an error.
    pub cast: bool,
    /// The payload as received, white space stripped; circus quotes it in unexpected errors.
    pub raw: Bytes,
}

//! What a command is answered with: as the daemon means it, before the envelope (time, id) is put
//! around it ([`Reply`]), and as a client receives it ([`Envelope`]).

use serde_json::{Map, Value};

use crate::number::Errno;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `"status": "ok"` with the command's own keys between `time` and `id`.
    Ok(Map<String, Value>),
    /// `status` with a name: the watcher's state *replaces* the word `ok`.
    Status(String),
    /// `"status": "error"`.
    Error(Refusal),
}

impl Reply {
    /// A plain ok without further keys.
    #[must_use]
    pub fn ok() -> Self {
        Self::Ok(Map::new())
    }
}

/// Why a request is not, or was not, done. One variant for each kind of words circus has.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The payload is no JSON.
    #[error("json invalid")]
    InvalidJson,
    /// `command` names nothing we know; holds the Python repr of the name.
    #[error("unknown command: {0}")]
    UnknownCommand(String),
    /// Bad arguments; the text is the whole reason.
    #[error("{0}")]
    Message(String),
    /// No watcher of that name (as sent).
    #[error("program {0} not found")]
    NotFound(String),
    /// The kernel refused; `[Errno 22] Invalid argument`.
    #[error("[Errno {errno}] {text}")]
    Os {
        /// The kernel's number.
        errno: i32,
        /// The kernel's words.
        text: String,
    },
    /// Anything circus raises as an exception; the reason becomes `command b'<request>': <text>`.
    #[error("{0}")]
    Raised(String),
    /// A wish that a newer one overtook, or that cannot be granted now; the text is the whole reason (errno 5).
    #[error("{0}")]
    Conflict(String),
    /// The asynchronous part failed (errno 6); holds our reason, stock says only `server error`.
    #[error("{0}")]
    Server(String),
}

impl Refusal {
    /// The number that goes with the reason.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Self::InvalidJson => Errno::InvalidJson,
            Self::UnknownCommand(_) => Errno::UnknownCommand,
            Self::Message(_) | Self::NotFound(_) => Errno::Message,
            Self::Os { .. } => Errno::Os,
            Self::Raised(_) | Self::Conflict(_) => Errno::Command,
            Self::Server(_) => Errno::Server,
        }
    }
}

/// A reply as a client received it.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// How it went.
    pub status: Status,
    /// The request's id.
    pub id: Value,
    /// Unix time of the reply.
    pub time: Option<f64>,
    /// The command's own keys.
    pub keys: Map<String, Value>,
}

/// How a request went, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `ok`.
    Ok,
    /// A watcher's state in the place of `ok`.
    State(String),
    /// `error`.
    Error {
        /// Why; empty when the daemon did not say.
        reason: String,
        /// circus' number.
        errno: Option<i64>,
        /// A Python traceback, from a stock daemon.
        tb: Option<String>,
    },
}

impl Envelope {
    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self.status {
            Status::Error { .. } => true,
            Status::Ok | Status::State(_) => false,
        }
    }

    /// circus' number, of an error that has a known one.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self.status {
            Status::Error { errno, .. } => errno.and_then(Errno::from_wire),
            Status::Ok | Status::State(_) => None,
        }
    }
}

//! The circus wire protocol, as a library.
//!
//! A daemon binds three ZeroMQ sockets. On the *control* endpoint (ROUTER) a client sends one
//! frame, a JSON [`request`], and gets one frame back, a JSON [`reply`]. On the *pubsub* endpoint
//! (PUB) the daemon publishes [`event`]s, on the *stats* endpoint (PUB) samples; both as two
//! frames, topic and JSON.
//!
//! ```text
//! {"id": "a1", "command": "list", "properties": {"name": "web"}}
//! {"status": "ok", "time": 1795331250.21, "pids": [12455, 12456], "id": "a1"}
//! ```
//!
//! What came is kept first ([`request::Request`]) and understood second ([`command::Command`]), so
//! that a refusal can quote what was sent. Everything here is plain data without input or output,
//! with one exception: [`transport`] (feature `transport`), which drives the pure [`zmtp`] machine
//! with tokio. The files that both ends read besides the wire, the ini dialect and the description
//! of services, are [`ini`] and [`service`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod codec;
pub mod command;
pub mod discovery;
pub mod endpoint;
pub mod event;
pub mod ini;
pub mod json;
pub mod name;
pub mod number;
pub mod readiness;
pub mod reply;
pub mod request;
pub mod service;
pub mod stat;
#[cfg(feature = "transport")]
pub mod transport;
pub mod zmtp;

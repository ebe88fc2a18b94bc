//! ZeroMQ sockets on tokio: ROUTER and PUB that bind, DEALER and SUB that connect, over tcp and ipc; and
//! the one [GET](http) with which both programs see whether a service answers.
//!
//! The only input and output of this crate. One task per connection drives a pure
//! [`Session`](crate::zmtp::session::Session); tasks and handles exchange values over bounded
//! channels, there is no lock, and everything works on one thread as on many.
//!
//! ```text
//!  bind:     acceptor ──spawns──► connection ──Message──► Router::recv       Router::send ──queue──► connection
//!                                 connection ──Subscribe─► hub ◄──message── Publisher::publish
//!                                                          hub ──queue──► connection of each subscriber
//!  connect:  link: [resolve, connect, handshake, run] ──State, Message──► Dealer::recv, Subscriber::recv, or
//!              ▲────────── jittered pause ──────────┘                     one channel for many (Feeder)
//! ```
//!
//! What happens when something is full: a peer that does not read its replies is cut; a slow
//! subscriber misses messages, which are counted; a peer that sends faster than it is served is not
//! read from for a while; a connection too many takes the place of the oldest one that has not
//! finished its handshake, or is closed at once.
//!
//! # Why not the `zeromq` crate
//! It was measured as a daemon open to a network would use it, at version 0.7.0. A frame header of
//! nine bytes that claims 2^40 aborts the process, on the binding and on the connecting side, and
//! nothing outside the crate can prevent it. Under ordinary coming and going of peers its ROUTER
//! and PUB can stop for ever on a runtime with several threads. A client that never reads blocks
//! everybody else, a subscriber that never reads costs memory without end, a heartbeat ends the
//! connection, a DEALER never reconnects, and who a peer is cannot be seen. The crate stays in the
//! tests as a second opinion on interoperation.

pub mod http;
pub mod limits;

mod accept;
mod aside;
mod connection;
mod listen;
mod outbox;
mod peer;
mod stream;

pub mod router;

pub mod publisher;

pub mod link;

pub mod dealer;

pub mod subscriber;

pub mod feeder;

pub mod client;

pub use aside::Aside;
pub use client::{CallError, Client};
pub use dealer::Dealer;
pub use feeder::{Fed, Feeder};
pub use limits::{Limits, LinkOptions};
pub use link::{DownReason, LinkEvent};
pub use listen::BindError;
pub use peer::{Credentials, Origin, PeerId, PeerInfo, PeerSender, SendError};
pub use publisher::Publisher;
pub use router::{Incoming, Router};
pub use subscriber::Subscriber;

#[cfg(test)]
mod tests;

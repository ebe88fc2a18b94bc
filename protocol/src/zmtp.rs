//! ZMTP 3.1, the protocol ZeroMQ peers speak over a byte stream, without input or output.
//!
//! Written after the public specifications 23/ZMTP, 37/ZMTP, 28/REQREP and 29/PUBSUB. A
//! [`Session`](session::Session) eats the bytes of one connection in chunks of any size and yields
//! events; what it wants to send is taken from it. It refuses to know sockets, clocks and queues:
//! time is an argument, counted from the beginning of the connection.
//!
//! ```text
//!            64 bytes, each judged       READY from both
//!            as soon as it arrives       sides, types fit
//!  Greeting ─────────────────────► Handshake ────────────► Open ─┐ messages, subscriptions,
//!     │                               │                     │ ◄──┘ PING and PONG
//!     └────────── any Fault ──────────┴─────────────────────┴────► the driver closes
//! ```
//!
//! Every byte may come from an enemy, so every length is checked against [`limits`] before memory is
//! reserved, memory grows only with bytes that really arrived, and nothing here panics. The
//! [`mechanism`] is the only part that CURVE would add to.

pub mod limits;

pub mod command;
pub mod fault;
pub mod frame;
pub mod greeting;
pub mod heartbeat;
pub mod mechanism;
pub mod session;
pub mod socket;
pub mod subscription;

//! What tests of more than one crate share: daemons of both kinds, a client that is not ours, and
//! transcripts that compare.
//!
//! The client is the `zeromq` crate, so that a mistake in our own transport cannot hide behind
//! itself. Everything runs on loopback; each daemon gets an address of its own in 127.0.0.0/8.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on must say so and end"
)]

pub mod address;
pub mod daemon;
pub mod ending;
pub mod normal;
pub mod pty;
pub mod script;
pub mod wait;
pub mod wire;

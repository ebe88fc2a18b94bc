//! The node daemon, as a library so that its parts can be tested.
//!
//! ```text
//!  ROUTER ─frames─► endpoint::control ─Command─► daemon loop: arbiter.step(now, input) ─Effect─► host::Runner ─syscalls─► kernel
//!                                                  │  │      ▲                                        │
//!  ROUTER ◄─frames─ endpoint::control ◄─Reply──────┘  │      └───── Input: Spawned, Exited, … ────────┘
//!  PUB    ◄─frames─ endpoint::events  ◄─Event─────────┘
//! ```
//!
//! Invariants, said as absences:
//!
//! - [`arbiter`] and [`config`] touch nothing: no clock, file, process, socket or task. What they
//!   decide leaves as [`arbiter::effect::Effect`]s, what happened comes in as
//!   [`arbiter::input::Input`]s.
//! - [`host`] speaks to the kernel and never decides; [`endpoint`] speaks ZeroMQ and knows nothing
//!   of processes; the two never see each other.
//! - [`plugin`] is another program in the same file: a client of the daemon like any other.
//! - [`profiles`] shows what is shipped and writes a first configuration file; it runs nothing.
//! - One loop ([`daemon`]) owns the arbiter. Nothing is shared by a lock.

pub mod arbiter;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod endpoint;
pub mod host;
mod log;
pub mod plugin;
pub mod profiles;

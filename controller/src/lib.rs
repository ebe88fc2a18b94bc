//! circusman: one console for every node of a cluster.
//!
//! ```text
//!  cli ┐                        ┌► link (one task per node) ─► circusd-rs or stock circusd
//!  console ├─ Operation ─► fleet ─┤        cluster.step(now, input) decides what to send to whom
//!  demo ┘    ◄─ Outcome, view,    └◄─ replies, events, connection changes
//!               news ──
//! ```
//!
//! The same shape as the daemon: [`cluster`] is pure (nodes, operations, the planner, the one-shot
//! watchers for stock nodes; no I/O, no clock), [`link`] does the talking, [`fleet`] drives one with
//! the other, and the faces ([`cli`], [`console`]) see plain data ([`outcome`]) only. [`ctl`] stands apart: a
//! native circusctl and circus-top for one daemon. [`inventory`] says which nodes there are, asking [`sources`];
//! [`detect`] finds out who is there before anybody has said so.

pub mod cli;
pub mod cluster;
pub mod console;
pub mod ctl;
pub mod demo;
pub mod detect;
pub mod export;
pub mod figures;
pub mod fleet;
pub mod http;
pub mod inventory;
pub mod link;
pub mod outcome;
pub mod reach;
pub mod render;
pub mod simulate;
pub mod sources;
pub mod top;
mod words;

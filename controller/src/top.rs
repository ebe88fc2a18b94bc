//! `top`: the cluster on one screen, live.
//!
//! ```text
//!  keys, mouse, size ─┐                      ┌─► screen (only when something changed, 20 times a second)
//!  figures ◄─ fleet ──┼─► Model::update ─────┤
//!  outcomes ◄─ fleet ─┘        (pure)        └─► effects: look, act, tell, suspend, leave
//! ```
//!
//! Two fleets: one asks for figures again and again, the other one acts, so that a database that stops
//! slowly does not hold up the picture, and a node that hangs holds up no action. Both run in tasks of
//! their own and are told what to do by message.

pub mod deed;
pub mod layout;
pub mod model;
pub mod tree;
pub mod view;

mod keys;
mod screen;
mod work;

pub use work::{TopArgs, top};

#[cfg(test)]
mod tests;

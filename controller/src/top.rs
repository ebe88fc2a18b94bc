//! `top`: the cluster on one screen, live.
//!
//! ```text
//!  keys, mouse, size ─┐                      ┌─► screen (only when something changed, 20 times a second)
//!  news ◄─ fleet ─────┼─► Model::update ─────┤
//!  figures ◄─ fleet ──┤        (pure)        │
//!  outcomes ◄─ fleet ─┘                      └─► effects: look, glance, act, tell, suspend, leave
//! ```
//!
//! One fleet, the session's own: what nodes tell by themselves is on the screen at once, and figures are
//! asked for again and again. Three tasks use it, so that a database that stops slowly does not hold up the
//! picture, nor a node that hangs an action, nor a look at all nodes a glance at one where something has
//! happened.

pub mod deed;
pub mod layout;
pub mod model;
pub mod tree;
pub mod view;

mod keys;
mod live;
mod screen;
mod work;

pub use work::{TopArgs, top};

#[cfg(test)]
mod tests;

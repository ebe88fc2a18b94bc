//! What we bind; knows nothing of processes.

pub mod control;
pub mod events;

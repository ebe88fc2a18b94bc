//! What we bind: control, events, discovery. Speaks ZeroMQ and UDP; knows nothing of processes.

pub mod control;
pub mod discovery;
pub mod events;

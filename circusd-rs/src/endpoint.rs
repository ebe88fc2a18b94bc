//! What we bind: control, events, stats, discovery. Speaks ZeroMQ and UDP; knows nothing of processes.

pub mod control;
pub mod discovery;
pub mod events;
pub mod stats;

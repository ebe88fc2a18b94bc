//! The rules from outside: scripts with their traces, random histories with their invariants.

pub(super) mod play;

mod histories;
mod hooks;
mod jobs;
mod policy;
mod readiness;
mod sockets;
mod table;
mod traces;

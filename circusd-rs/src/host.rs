//! The other side of the contract: everything that touches the kernel.
//!
//! ```text
//!  daemon loop ──Effect──► runner ─┬─► warden ── fork, signal, reap: every process of ours
//!        ▲                         │      └─ pipes ─► output ── files, terminal
//!        │                         ├─► sampler ── /proc ◄── history: the last minutes of figures
//!        └────────Input────────────┴─► a thread for each job: configure, reset
//! ```
//!
//! Who owns what: the warden's thread owns the processes' numbers, the output thread owns pipes and
//! files, the sampler owns what it saw last. They send messages and share nothing. None of them
//! decides anything, and none knows the endpoints.

pub mod runner;

pub(crate) mod warden;

pub(crate) mod spawn;

pub mod socket;

pub(crate) mod child;

pub(crate) mod orphan;

pub(crate) mod mark;

pub mod cgroup;

pub(crate) mod oom;

pub(crate) mod history;

pub mod descriptors;

pub(crate) mod tree;

pub mod stream;

mod log;

pub(crate) mod syslog;

pub mod sample;

pub mod configure;

pub mod reset;

pub mod hook;

pub(crate) mod probe;

mod preflight;

mod walk;

pub mod account;

pub mod files;

pub mod python;

pub mod interrupt;

pub mod clock;

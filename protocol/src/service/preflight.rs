//! What an administrator looks at before a service is started on a node, and what is wrong there.
//!
//! ```text
//!  Look (what to look at) ─► whoever is on the node ─► Facts ─► judge ─► Finding, each with its remedy
//! ```
//!
//! Looking is the node's business: a circusd-rs does it itself, on a stock node a program of the
//! console's. Here is only what to look at and what to think of it, so that both say the same.

mod json;
mod judge;
mod plan;

pub use json::report;
pub use judge::judge;
pub use plan::Process;

use super::Limit;

/// What is looked at for one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Look {
    /// The service.
    pub service: String,
    /// How its processes are started.
    pub process: Process,
    /// The node's address in the cluster, when it is known.
    pub address: Option<String>,
    /// Ports it wants.
    pub ports: Vec<u16>,
    /// Resources it should have.
    pub limits: Vec<Limit>,
    /// Versions of Java it runs on; empty when it needs none.
    pub java: Vec<u16>,
    /// Directories that must be there.
    pub needed: Vec<String>,
    /// Directories that it writes into; it may make them itself.
    pub written: Vec<String>,
}

/// What is so on the node. What could not be looked at is absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// As whom its processes run, or why not.
    pub user: Option<Result<Account, String>>,
    /// The daemon may raise limits and change users.
    pub privileged: bool,
    /// The node's own name.
    pub hostname: String,
    /// Why that name leads to no address.
    pub hostname_error: Option<String>,
    /// Why [`Look::address`] is not this node's.
    pub address_error: Option<String>,
    /// Why its program cannot be started.
    pub program_error: Option<String>,
    /// What a process gets of each resource that was asked for.
    pub limits: Vec<Reached>,
    /// Who listens on its ports already.
    pub holders: Vec<Holder>,
    /// What `java -version` says, or why nothing.
    pub java: Option<Result<String, String>>,
    /// What is where directories should be.
    pub paths: Vec<PathFact>,
}

/// A user and its groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Its name, or its number when it has none.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// All groups, the first one first.
    pub groups: Vec<u32>,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// As in [`Limit::resource`].
    pub resource: String,
    /// What counts now; unlimited when absent.
    pub soft: Option<u64>,
    /// Up to where a process may raise it; unlimited when absent.
    pub hard: Option<u64>,
    /// Read from the running process rather than from the daemon that would start one.
    pub running: bool,
}

/// Somebody who listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// On this port.
    pub port: u16,
    /// The address with the port, as the kernel has it.
    pub at: String,
    /// Who; absent when the daemon may not look into it.
    pub pid: Option<u32>,
    /// The beginning of its command line.
    pub command: String,
    /// Whose it is.
    pub user: String,
    /// A process of the service itself, or of the daemon for it.
    pub own: bool,
}

/// A path, or the nearest directory above it that exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathFact {
    /// What was looked for.
    pub path: String,
    /// What there is of it.
    pub found: String,
    /// Whether that is a directory.
    pub is_dir: bool,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its owner and group by name.
    pub owner: String,
    /// Its permission bits.
    pub mode: u32,
    /// Something in it that belongs to somebody else: its path and owner.
    pub foreign: Option<(String, String)>,
    /// Why it could not be looked at.
    pub error: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// It may work.
    Warning,
    /// It will not.
    Problem,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose; empty for what is about the node.
    pub service: String,
    /// What was looked at: `hostname`, `address`, `user`, `program`, `port`, `limit`, `java`, `directory`.
    pub check: String,
    /// How bad it is.
    pub grade: Grade,
    /// What is so.
    pub text: String,
    /// What to do.
    pub remedy: String,
}

#[cfg(test)]
mod tests;

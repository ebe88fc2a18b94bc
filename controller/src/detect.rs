//! Who is there: asks the addresses of a range, and the multicast group, which daemon answers.
//!
//! ```text
//!  range ─► connect (many at once, short deadline) ─► hello ─► dstats ─┐
//!  group ─► answers ─► endpoints that belong to who answered ─► hello ─┴─► found ─► same daemon twice?
//!                                                                            └─► what changed since
//! ```
//!
//! [`ask`] does the talking for one address, [`scan`] for many, [`multicast`] for the group; [`compare`]
//! and [`report`] are values. Whoever calls this has been told by the user which range is meant.

pub mod ask;
pub mod compare;
pub mod multicast;
pub mod report;
pub mod scan;

use std::net::SocketAddr;

use circus_protocol::endpoint::Endpoint;

/// An address to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// As a SPEC names it.
    pub name: String,
    /// Where a control endpoint would be.
    pub endpoint: Endpoint,
}

/// What an address turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// A daemon.
    Daemon(Daemon),
    /// Somebody accepts connections, but it is no daemon, or says nothing; why.
    Other(String),
    /// Nobody accepts connections; why.
    Nobody(String),
}

/// A circusd of either kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Daemon {
    /// What it is.
    pub kind: Kind,
    /// Its process id, as far as it is told.
    pub pid: Option<i64>,
    /// When it was started, in Unix seconds, as far as it is told.
    pub started: Option<f64>,
    /// Where it publishes events, as it is configured.
    pub pubsub: Option<String>,
    /// How many watchers it has.
    pub watchers: Option<u64>,
}

/// What a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A Python circusd. No command of its tells the version.
    Stock,
    /// A circusd-rs.
    Native {
        /// Its version.
        version: String,
        /// Its host's name.
        node: String,
    },
}

/// A daemon, and how it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What a SPEC calls it.
    pub name: String,
    /// Its control endpoint.
    pub endpoint: Endpoint,
    /// What it is.
    pub daemon: Daemon,
    /// It is in the range.
    pub in_range: bool,
    /// It answered the group.
    pub in_group: bool,
    /// The name under which the same daemon was found before.
    pub same_as: Option<String>,
}

/// An answer of the group that was not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    /// Who answered.
    pub sender: SocketAddr,
    /// What it answered.
    pub endpoint: String,
    /// Why it was not asked.
    pub reason: &'static str,
}

/// All that came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detected {
    /// The daemons in the order of the range, then those that only answered the group, by address.
    pub found: Vec<Found>,
    /// Who accepts connections and is none: name and reason.
    pub others: Vec<(String, String)>,
    /// Names at which nobody accepts connections.
    pub nobody: Vec<String>,
    /// Answers of the group that were not followed.
    pub aside: Vec<Aside>,
    /// Why the group could not be asked.
    pub group_error: Option<String>,
}

impl Kind {
    /// As results print it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Stock => "circusd".to_owned(),
            Self::Native { version, .. } => format!("circusd-rs {version}"),
        }
    }
}

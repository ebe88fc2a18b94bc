//! Which nodes a cluster has: a SPEC as the user writes it, parsed once. Values only: what has to be
//! read or asked for is behind [`spec::Sources`].

pub mod change;
pub mod edit;
pub mod fold;
pub mod select;
pub mod spec;

use circus_protocol::endpoint::Endpoint;

pub use change::Change;

/// One node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// As the user wrote it and as every table prints it: an address or a host name.
    pub name: String,
    /// What `configure` calls the node's address: the host part, without port.
    pub address: String,
    /// Where its control endpoint is.
    pub endpoint: Endpoint,
    /// Came out of a range: when it was never seen it is *absent*, not unreachable.
    pub from_range: bool,
}

/// All nodes, in the order that gives them their identifiers (1-based).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// The SPEC they came from, to print and to remember.
    pub spec: String,
}

//! An operation as all nodes share it, and which steps it takes on a node of a given kind.

use std::time::Duration;

use circus_protocol::service::Services;

use crate::cluster::Ids;
use crate::cluster::lifecycle::{Lifecycle, Verb};
use crate::cluster::node::Daemon;
use crate::cluster::procedure::{Procedure, Verdict};
use crate::cluster::query::{Call, Stats};
use crate::inventory::NodeSpec;
use crate::outcome::{NodeState, Operation};

/// `--services FILE`: the description of the services for nodes that have none of their own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServicesFile {
    /// The file, as the user named it.
    pub path: String,
    /// What it says.
    pub services: Services,
    /// Each template's path as written there, and its text.
    pub templates: Vec<(String, String)>,
}

/// One operation on the cluster.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is wanted.
    pub operation: Operation,
    /// Time for each node.
    pub timeout: Duration,
    /// The addresses of the whole inventory, targeted or not: the cluster's membership.
    pub members: Vec<String>,
    /// For stock nodes.
    pub services: Option<ServicesFile>,
}

impl Plan {
    /// What a sentence calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.operation {
            Operation::Status { .. } => "status",
            Operation::Start { .. } => "start",
            Operation::Stop { .. } => "stop",
            Operation::Restart { .. } => "restart",
            Operation::Reload { .. } => "reload",
            Operation::Configure(_) => "configure",
            Operation::Reset(_) => "reset",
            Operation::Stats { .. } => "stats",
            Operation::Call { command, .. } => command,
        }
    }

    /// The steps on one node; `index` is its position in the inventory.
    ///
    /// # Errors
    /// The node's outcome, when the operation cannot even begin there.
    pub fn procedure(
        &self,
        index: usize,
        node: &NodeSpec,
        daemon: &Daemon,
        ids: &mut Ids,
    ) -> Result<Box<dyn Procedure>, Verdict> {
        let _ = (index, node, daemon, ids);
        Ok(match &self.operation {
            Operation::Status { names } => lifecycle(Verb::Status, names),
            Operation::Start { names } => lifecycle(Verb::Start, names),
            Operation::Stop { names } => lifecycle(Verb::Stop, names),
            Operation::Restart { names } => lifecycle(Verb::Restart, names),
            Operation::Reload { names } => lifecycle(Verb::Reload, names),
            Operation::Stats { names } => Box::new(Stats::new(names.clone())),
            Operation::Call { command, properties } => Box::new(Call::new(command, properties.clone())),
            Operation::Configure(_) | Operation::Reset(_) => {
                return Err(Verdict::bare(NodeState::Refused, "not possible yet"));
            }
        })
    }
}

fn lifecycle(verb: Verb, names: &[String]) -> Box<dyn Procedure> {
    Box::new(Lifecycle::new(verb, names.to_vec()))
}

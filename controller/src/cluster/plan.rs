//! An operation as all nodes share it, and which steps it takes on a node of a given kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::service::Services;
use serde_json::json;

use crate::cluster::Ids;
use crate::cluster::answer::Request;
use crate::cluster::configure::{Configure, Place};
use crate::cluster::lifecycle::{Lifecycle, Verb};
use crate::cluster::logs::{Logs, Setting};
use crate::cluster::oneshot::new_name;
use crate::cluster::preflight::Preflight;
use crate::cluster::procedure::{Procedure, Verdict};
use crate::cluster::query::{Call, Stats};
use crate::cluster::ready::{Ready, Stock};
use crate::cluster::reset::Reset;
use crate::cluster::survey::Survey;
use crate::cluster::why::Why;
use crate::inventory::NodeSpec;
use crate::outcome::{ConfigureRequest, NodeState, Operation};

/// `--services FILE`: the description of the services for nodes that have none of their own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServicesFile {
    /// The file, as the user named it.
    pub path: String,
    /// What it says.
    pub services: Services,
    /// The text of each template by its path, or why it cannot be read. The fleet reads them before
    /// each `configure`, because people edit them between two.
    pub templates: HashMap<String, Result<String, String>>,
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
    pub services: Option<Arc<ServicesFile>>,
    /// The Unix time at which the cluster's time is zero.
    pub epoch: f64,
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
            Operation::Preflight { .. } => "preflight",
            Operation::Stats { .. } => "stats",
            Operation::Ready { .. } | Operation::Up { .. } => "ready",
            Operation::Why { .. } => "why",
            Operation::Logs(_) => "logs",
            Operation::Survey => "survey",
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
        ids: &mut Ids,
    ) -> Result<Box<dyn Procedure>, Verdict> {
        Ok(match &self.operation {
            Operation::Status { names } => lifecycle(Verb::Status, names),
            Operation::Start { names } => lifecycle(Verb::Start, names),
            Operation::Stop { names } => lifecycle(Verb::Stop, names),
            Operation::Restart { names } => lifecycle(Verb::Restart, names),
            Operation::Reload { names } => lifecycle(Verb::Reload, names),
            Operation::Stats { names, over } => Box::new(Stats::new(names.clone(), *over)),
            Operation::Ready { names, wait, crashes } => {
                let ready = Ready::new(names.clone(), *wait, self.stock(index, node, ids)?);
                Box::new(ready.giving_up_after(*crashes))
            }
            Operation::Up { names, crashes } => {
                let ready = Ready::up(names.clone(), self.stock(index, node, ids)?);
                Box::new(ready.giving_up_after(*crashes))
            }
            Operation::Why { name } => Box::new(Why::new(&node.name, name.clone(), self.epoch)),
            Operation::Logs(request) => {
                let membership = self.place(index, node)?.membership(&ConfigureRequest::default());
                let (services, oneshot) = (self.services.clone(), new_name("logs", &ids.request()));
                let (node, epoch) = (node.name.clone(), self.epoch);
                let setting = Setting { node, epoch, membership, services, oneshot };
                Box::new(Logs::new(request.of(&setting.node), setting))
            }
            Operation::Survey => Box::new(Survey::new(self.services.clone())),
            Operation::Call { command, properties } => Box::new(Call::new(command, properties.clone())),
            Operation::Configure(request) => {
                let name = new_name("configure", &ids.request());
                let services = self.services.clone();
                Box::new(Configure::new(self.place(index, node)?, request.clone(), services, name))
            }
            Operation::Preflight { names } => {
                let name = new_name("preflight", &ids.request());
                let membership = self.place(index, node)?.membership(&ConfigureRequest::default());
                Box::new(Preflight::new(names.clone(), membership, self.services.clone(), name))
            }
            Operation::Reset(request) => {
                let name = new_name("reset", &ids.request());
                let membership = self.place(index, node)?.membership(&ConfigureRequest::default());
                Box::new(Reset::new(request.clone(), membership, self.services.clone(), name))
            }
        })
    }
}

impl Plan {
    /// What every node is asked first, of whatever kind its daemon is; `None` when that depends on it.
    pub(crate) fn first_question(&self) -> Option<Request> {
        match &self.operation {
            Operation::Status { .. }
            | Operation::Start { .. }
            | Operation::Stop { .. }
            | Operation::Restart { .. }
            | Operation::Reload { .. } => Some(Request::new("status", json!({}))),
            Operation::Configure(_)
            | Operation::Reset(_)
            | Operation::Preflight { .. }
            | Operation::Stats { .. }
            | Operation::Ready { .. }
            | Operation::Up { .. }
            | Operation::Why { .. }
            | Operation::Logs(_)
            | Operation::Survey
            | Operation::Call { .. } => None,
        }
    }

    /// How far watchers have come on a node that cannot say so itself.
    fn stock(&self, index: usize, node: &NodeSpec, ids: &mut Ids) -> Result<Stock, Verdict> {
        let membership = self.place(index, node)?.membership(&ConfigureRequest::default());
        Ok(Stock::new(membership, self.services.clone(), new_name("ready", &ids.request())))
    }

    /// What the node is told about its place.
    pub(crate) fn place(&self, index: usize, node: &NodeSpec) -> Result<Place, Verdict> {
        let identifier = u32::try_from(index + 1).map_err(|_| {
            Verdict::bare(NodeState::Refused, format!("{} nodes are too many", self.members.len()))
        })?;
        Ok(Place { identifier, address: node.address.clone(), cluster: self.members.clone() })
    }
}

fn lifecycle(verb: Verb, names: &[String]) -> Box<dyn Procedure> {
    Box::new(Lifecycle::new(verb, names.to_vec()))
}

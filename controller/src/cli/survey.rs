//! The look before an operation that spans several nodes: what each has, what it says of its services,
//! and what runs. One question to each node serves the order of starts, and resets that are for all
//! nodes together.

use std::collections::HashMap;

use circus_protocol::service::Sequence;
use serde_json::{Map, Value};

use super::exit::Exit;
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, perform};
use crate::cluster::sequence::Place;
use crate::inventory::Inventory;
use crate::outcome::{NodeOutcome, Operation, Outcome};
use crate::render::watchers_of;

/// What the nodes told.
#[derive(Debug)]
pub(super) struct Survey {
    outcome: Outcome,
}

impl Survey {
    /// Asks these nodes, targeted or not.
    pub(super) async fn of(session: &mut Session, global: &Global, nodes: &[String]) -> Result<Self, Stop> {
        let outcome = perform::asked(session, global, &Operation::Survey, READ_TIMEOUT, nodes).await?;
        Ok(Self { outcome })
    }

    /// Asks all nodes.
    pub(super) async fn of_all(session: &mut Session, global: &Global) -> Result<Self, Stop> {
        let all: Vec<String> = session.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect();
        Self::of(session, global, &all).await
    }

    /// Each node's services.
    pub(super) fn services(&self) -> impl Iterator<Item = Sequence> {
        self.outcome.nodes.iter().flat_map(services)
    }

    /// Each node and the watchers on it that are not down.
    pub(super) fn running(&self) -> impl Iterator<Item = (&str, &str)> {
        let up = |node| watchers_of(node).into_iter().flatten().filter(|(_, state)| *state != "stopped");
        let nodes = self.outcome.nodes.iter();
        nodes.flat_map(move |node| up(node).map(|(watcher, _)| (node.node.as_str(), watcher.as_str())))
    }

    /// Who has what. A node that does not answer must not be left out of an order silently: then these
    /// rows are the result.
    pub(super) fn places(&self, inventory: &Inventory, targets: &[String]) -> Result<Vec<Place>, Outcome> {
        let is_target = |row: &&NodeOutcome| targets.contains(&row.node);
        let rows: Vec<NodeOutcome> = self.outcome.nodes.iter().filter(is_target).cloned().collect();
        let asked = Outcome { nodes: rows, elapsed: self.outcome.elapsed };
        if Exit::of(&asked) != Exit::Done {
            return Err(asked);
        }
        let nodes = inventory.nodes.iter().enumerate();
        let positions: HashMap<&str, usize> = nodes.map(|(at, node)| (node.name.as_str(), at)).collect();
        Ok(asked.nodes.iter().filter_map(|row| place(row, *positions.get(row.node.as_str())?)).collect())
    }

    #[cfg(test)]
    pub(super) fn told(rows: &[(&str, Value)]) -> Self {
        let node = |(name, data): &(&str, Value)| NodeOutcome {
            node: (*name).to_owned(),
            state: crate::outcome::NodeState::Done,
            reason: String::new(),
            daemon: None,
            data: data.clone(),
            elapsed: std::time::Duration::ZERO,
        };
        Self { outcome: Outcome { nodes: rows.iter().map(node).collect(), ..Outcome::default() } }
    }
}

/// What a row of a survey says; `None` for a node that has nothing to start.
pub(super) fn place(row: &NodeOutcome, index: usize) -> Option<Place> {
    Some(Place {
        node: row.node.clone(),
        index,
        watchers: watchers_of(row)?.keys().cloned().collect(),
        services: services(row).collect(),
    })
}

/// What a row says of services.
fn services(row: &NodeOutcome) -> impl Iterator<Item = Sequence> {
    let said = row.data.get("services").and_then(Value::as_object);
    said.into_iter().flat_map(Map::iter).filter_map(|(name, said)| Sequence::from_json(name, said))
}

//! Rolling operations: a few nodes at a time, each batch ready before the next.
//!
//! ```text
//!  places ─► plan ─► batches: [stop, start, wait] on node1 │ [stop, start, wait] on node2 │ …
//!                       └► Roll: one move after the other; the first batch that fails is the last
//! ```
//!
//! What restarts or reloads goes node by node, all services of a node together. What starts or stops goes
//! service by service, as their dependencies over the cluster want, each in batches. Nodes that the
//! services start first come first, and are stopped last. Pure, as all of [`crate::cluster`].

mod roll;

use std::time::Duration;

use circus_protocol::service::First;

use crate::cluster::names::is_meant;
use crate::cluster::sequence::{self, Group, Place, Step};

pub use roll::{Next, Roll};

/// What is done to each node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Start.
    Start,
    /// Stop.
    Stop,
    /// Stop and start.
    Restart,
    /// Replace processes.
    Reload,
    /// Write configuration files.
    Configure,
    /// Stop, write configuration files, start.
    Reconfigure,
}

/// One thing done to one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Start these.
    Start,
    /// Stop these.
    Stop,
    /// Reload these.
    Reload,
    /// Write the files of these services.
    Configure,
    /// Go on when these are ready.
    Wait,
}

impl Act {
    /// As plans and reasons call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Configure => "configure",
            Self::Wait => "wait for",
        }
    }
}

/// A part of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// Do this.
    Do(Act, Group),
    /// Nothing, for so long: the services' own stagger.
    Pause(Duration),
}

/// Nodes that are worked on together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// They.
    pub nodes: Vec<String>,
    /// One after the other.
    pub moves: Vec<Move>,
}

/// How many nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Nodes(usize),
    /// Of a hundred, rounded down.
    Percent(usize),
}

impl Share {
    /// Of so many.
    #[must_use]
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Nodes(count) => count,
            Self::Percent(share) => total.saturating_mul(share) / 100,
        }
    }
}

/// When nodes count as ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// As soon as the services are up.
    Up,
    /// When they are all the way: joined, where that can be told.
    #[default]
    Joined,
}

/// How to go about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Manner {
    /// The nodes of each batch; the last of these is that of all further ones. At least one node.
    pub sizes: Vec<Share>,
    /// Between two batches.
    pub pause: Duration,
    /// What a batch must reach.
    pub level: Level,
    /// More failed nodes than these end it; `None`: never.
    pub max_fail: Option<Share>,
}

impl Default for Manner {
    fn default() -> Self {
        let sizes = vec![Share::Nodes(1)];
        Self { sizes, pause: Duration::ZERO, level: Level::Joined, max_fail: Some(Share::Nodes(0)) }
    }
}

/// The batches that do `deed` with `wanted`, or with everything when that is empty.
///
/// # Errors
/// Services that wait for each other.
pub fn plan(places: &[Place], wanted: &[String], deed: Deed, manner: &Manner) -> Result<Vec<Batch>, String> {
    let mut places = places.to_vec();
    places.sort_by_key(|place| !leads(place, wanted));
    let groups = |places: &[Place]| -> Result<Vec<Group>, String> {
        let steps = sequence::stop(places, wanted)?;
        Ok(steps
            .into_iter()
            .filter_map(|step| if let Step::Stop(group) = step { Some(group) } else { None })
            .collect())
    };
    match deed {
        Deed::Start => {
            let waves = groups(&places)?.into_iter().rev();
            Ok(waves.flat_map(|group| in_batches(group, manner, &[Act::Start, Act::Wait])).collect())
        }
        Deed::Stop => {
            places.reverse();
            Ok(groups(&places)?
                .into_iter()
                .flat_map(|group| in_batches(group, manner, &[Act::Stop]))
                .collect())
        }
        Deed::Restart | Deed::Reload | Deed::Configure | Deed::Reconfigure => {
            let all: Vec<&Place> = places.iter().collect();
            let batches = split(&all, &manner.sizes);
            batches.into_iter().map(|batch| whole(&batch, wanted, deed, &groups)).collect()
        }
    }
}

/// All that is done with the services of these nodes, together.
fn whole(
    batch: &[&Place],
    wanted: &[String],
    deed: Deed,
    groups: &impl Fn(&[Place]) -> Result<Vec<Group>, String>,
) -> Result<Batch, String> {
    let places: Vec<Place> = batch.iter().map(|place| (*place).clone()).collect();
    let nodes: Vec<String> = places.iter().map(|place| place.node.clone()).collect();
    let mut moves = Vec::new();
    if let Deed::Restart | Deed::Reconfigure = deed {
        moves.extend(groups(&places)?.into_iter().map(|group| Move::Do(Act::Stop, group)));
    }
    if let Deed::Configure | Deed::Reconfigure = deed {
        moves.push(Move::Do(Act::Configure, Group { names: wanted.to_vec(), nodes: nodes.clone() }));
    }
    if let Deed::Restart | Deed::Reconfigure = deed {
        moves.extend(sequence::start(&places, wanted)?.into_iter().map(|step| match step {
            Step::Start(group) => Move::Do(Act::Start, group),
            Step::Stop(group) => Move::Do(Act::Stop, group),
            Step::Wait(group) => Move::Do(Act::Wait, group),
            Step::Pause(time) => Move::Pause(time),
        }));
    }
    if deed == Deed::Reload {
        for group in groups(&places)?.into_iter().rev() {
            moves.push(Move::Do(Act::Reload, group.clone()));
            moves.push(Move::Do(Act::Wait, group));
        }
    }
    Ok(Batch { nodes, moves })
}

/// One service, or several that do not depend on each other.
fn in_batches(group: Group, manner: &Manner, acts: &[Act]) -> Vec<Batch> {
    let batches = split(&group.nodes, &manner.sizes);
    let batch = |nodes: Vec<String>| {
        let part = Group { names: group.names.clone(), nodes: nodes.clone() };
        Batch { nodes, moves: acts.iter().map(|act| Move::Do(*act, part.clone())).collect() }
    };
    batches.into_iter().map(batch).collect()
}

fn split<T: Clone>(all: &[T], sizes: &[Share]) -> Vec<Vec<T>> {
    let (mut rest, mut batches) = (all, Vec::new());
    while !rest.is_empty() {
        let size = sizes.get(batches.len()).or(sizes.last()).map_or(1, |size| size.of(all.len()));
        let (batch, others) = rest.split_at(size.clamp(1, rest.len()));
        batches.push(batch.to_vec());
        rest = others;
    }
    batches
}

/// Whether one of the services starts here first.
fn leads(place: &Place, wanted: &[String]) -> bool {
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| is_meant(name, one));
    place.services.iter().filter(|service| is_wanted(&service.service)).any(|service| {
        match service.order.first {
            First::Nobody => false,
            First::FirstMember => place.index == 0,
            First::Seeds => sequence::is_seed(service.seeds, place.index),
        }
    })
}

#[cfg(test)]
mod tests;

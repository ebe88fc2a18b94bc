//! Drives the pure [`crate::cluster`] with the [`crate::link`]s: what every face holds.
//!
//! The only clock of the console is here: the cluster is told the time with every input.

mod brake;
mod services;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::service::Services;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use crate::cluster::plan::ServicesFile;
pub use brake::{Brake, Pulled};

use crate::cluster::node::NodeId;
use crate::cluster::plan::Plan;
use crate::cluster::run::CLEANUP_TIME;
use crate::cluster::{Cluster, Effect, Input};
use crate::inventory::Inventory;
use crate::link::{Link, News};
use crate::outcome::{Operation, Outcome, Progress, RunOptions};

/// News waiting to be read. When it is full the links wait, and their nodes with them.
const NEWS: usize = 1024;

/// All nodes and the connections to them; connections are opened when needed and stay open.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
    services: Option<ServicesFile>,
    cluster: Cluster,
    links: HashMap<NodeId, Link>,
    generation: u64,
    news: mpsc::Receiver<News>,
    teller: mpsc::Sender<News>,
    begun: Option<Instant>,
    brake: Brake,
}

impl Fleet {
    /// Connects to nobody yet.
    #[must_use]
    pub fn new(inventory: Inventory, services: Option<ServicesFile>) -> Self {
        let (teller, news) = mpsc::channel(NEWS);
        let cluster = Cluster::new(&inventory, session());
        Self {
            inventory,
            services,
            cluster,
            links: HashMap::new(),
            generation: 0,
            news,
            teller,
            begun: None,
            brake: Brake::default(),
        }
    }

    /// The nodes.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Other nodes from now on; connections to nodes that are in both stay open.
    pub fn replace_inventory(&mut self, inventory: Inventory) {
        let effects = self.cluster.replace(&inventory);
        self.inventory = inventory;
        self.perform(effects, &mut |_| {});
    }

    /// Runs one operation on all targeted nodes at once. Never fails as a whole: each targeted node
    /// has exactly one outcome. The [`Brake`] ends it early, with an outcome for each node all the same.
    /// Dropping the future abandons the operation; what it may have left on
    /// stock nodes is removed by the next operation on them, or by [`Fleet::close`], or, if this
    /// process ends without either, by the next console.
    pub async fn run(
        &mut self,
        operation: Operation,
        options: &RunOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        let begun = self.now();
        let plan = self.plan(operation, options.timeout);
        self.catch_up();
        let abandoned = Abandoned { fleet: self };
        let fleet = &mut *abandoned.fleet;
        let effects = fleet.cluster.begin(begun, plan, options.parallel, options.targets.as_deref());
        fleet.perform(effects, progress);
        let mut pulled = fleet.brake.release();
        while !fleet.cluster.is_finished() {
            let effects = tokio::select! {
                input = fleet.next_input() => {
                    let now = fleet.now();
                    fleet.cluster.step(now, input)
                }
                how = brake::changed(&mut pulled) => {
                    let now = fleet.now();
                    match how {
                        Pulled::No => Vec::new(),
                        Pulled::Gently => fleet.cluster.interrupt(now),
                        Pulled::Hard => fleet.cluster.leave(now),
                    }
                }
            };
            fleet.perform(effects, progress);
        }
        let nodes = fleet.cluster.take_rows();
        Outcome { nodes, elapsed: fleet.now().saturating_sub(begun) }
    }

    /// What ends an operation early; each operation begins with a released one.
    #[must_use]
    pub fn brake(&self) -> Brake {
        self.brake.clone()
    }

    fn plan(&self, operation: Operation, timeout: Duration) -> Plan {
        let members: Vec<String> = self.inventory.nodes.iter().map(|node| node.address.clone()).collect();
        let mut plan = Plan { operation, timeout, members, services: None };
        plan.services = match (&self.services, &plan.operation) {
            (Some(file), Operation::Configure(request)) => {
                let places =
                    self.inventory.nodes.iter().enumerate().filter_map(|(at, n)| plan.place(at, n).ok());
                let memberships: Vec<_> = places.map(|place| place.membership(request)).collect();
                Some(Arc::new(file.with_templates(&memberships)))
            }
            (Some(file), Operation::Reset(_) | Operation::Survey | Operation::Preflight { .. }) => {
                Some(Arc::new(file.clone()))
            }
            // Nothing else needs them.
            (_, _) => None,
        };
        plan
    }

    /// What `--services FILE` says, for nodes that have no services of their own.
    #[must_use]
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref().map(|file| &file.services)
    }

    /// Removes what abandoned operations may have left on stock nodes, then ends all connections.
    pub async fn close(mut self) {
        let indebted = self.cluster.indebted();
        if !indebted.is_empty() {
            // Any operation does that first; this one does nothing else.
            let options =
                RunOptions { timeout: CLEANUP_TIME, parallel: indebted.len(), targets: Some(indebted) };
            let _: Outcome = self.run(Operation::Status { names: Vec::new() }, &options, &mut |_| {}).await;
        }
        for (_, link) in self.links.drain() {
            link.close().await;
        }
    }

    /// Since the first operation began.
    fn now(&mut self) -> Duration {
        self.begun.get_or_insert_with(Instant::now).elapsed()
    }

    /// What happened between two operations: connections that broke meanwhile.
    fn catch_up(&mut self) {
        while let Ok(news) = self.news.try_recv() {
            if let Some(input) = self.current(news) {
                let now = self.now();
                let effects = self.cluster.step(now, input);
                self.perform(effects, &mut |_| {});
            }
        }
    }

    async fn next_input(&mut self) -> Input {
        loop {
            let now = self.now();
            let wait = self.cluster.next_deadline().map(|at| at.saturating_sub(now));
            let news = match wait {
                Some(wait) => tokio::time::timeout(wait, self.news.recv()).await,
                None => Ok(self.news.recv().await),
            };
            match news {
                Err(_) => return Input::Tick,
                Ok(Some(news)) => {
                    if let Some(input) = self.current(news) {
                        return input;
                    }
                }
                // We hold a sender ourselves, so the channel never ends.
                Ok(None) => return Input::Tick,
            }
        }
    }

    /// The input, if it comes from a link that is still in use.
    fn current(&mut self, news: News) -> Option<Input> {
        let node = match &news.input {
            Input::Reached { node }
            | Input::Opened { node }
            | Input::Lost { node, .. }
            | Input::Received { node, .. } => *node,
            Input::Tick => return Some(news.input),
        };
        let link = self.links.get(&node).filter(|link| link.generation == news.generation)?;
        debug_assert!(link.generation <= self.generation, "links are numbered");
        if let Input::Lost { .. } = news.input {
            self.links.remove(&node);
        }
        Some(news.input)
    }

    fn perform(&mut self, effects: Vec<Effect>, progress: &mut dyn FnMut(Progress)) {
        for effect in effects {
            match effect {
                Effect::Open { node } => {
                    let Some(spec) = self.cluster.node(node) else { continue };
                    self.generation += 1;
                    let link = Link::open(node, self.generation, spec.endpoint.clone(), self.teller.clone());
                    self.links.insert(node, link);
                }
                Effect::Send { node, payload } => {
                    if let Some(link) = self.links.get(&node) {
                        link.send(payload);
                    }
                }
                Effect::Close { node } => {
                    self.links.remove(&node);
                }
                Effect::Report(news) => progress(news),
                // Told as `Progress::Finished`, and kept by the cluster.
                Effect::Ended { .. } => {}
            }
        }
    }
}

/// Cleans up when the future of an operation is dropped before its end.
struct Abandoned<'a> {
    fleet: &'a mut Fleet,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        let effects = self.fleet.cluster.abandon();
        self.fleet.perform(effects, &mut |_| {});
    }
}

/// Digits that no other console has: the hasher's keys are random for each process.
fn session() -> String {
    let number = RandomState::new().hash_one(0_u8);
    format!("{:08x}", number & 0xffff_ffff)
}

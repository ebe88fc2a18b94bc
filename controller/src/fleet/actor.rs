//! The task that owns the cluster and its links. Decides nothing: it tells the cluster what happened and
//! when, and performs what the cluster wants.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Ask, Pace, Pulled, ServicesFile, Told, descriptors, probe};
use crate::cluster::follow::Manner;
use crate::cluster::node::NodeId;
use crate::cluster::operations::{Dirty, OperationId};
use crate::cluster::plan::Plan;
use crate::cluster::view::{ClusterView, News};
use crate::cluster::{Cluster, Effect, Input};
use crate::inventory::Inventory;
use crate::link::{Ear, Heard, Link, Options};
use crate::outcome::{Operation, Outcome, RunOptions};

/// Inputs waiting to be read. When it is full the links wait, and their nodes with them.
const INPUTS: usize = 1024;
/// How many of them are handled before anything else has its turn.
const BATCH: usize = 256;
/// The shortest time between two views.
const VIEW_GAP: Duration = Duration::from_millis(50);
/// The time between two views when only heartbeats came.
const PULSE_GAP: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Actor {
    inventory: Inventory,
    services: Option<ServicesFile>,
    cluster: Cluster,
    links: HashMap<NodeId, Link>,
    ears: HashMap<NodeId, Ear>,
    options: Options,
    generation: u64,
    heard: mpsc::Receiver<Heard>,
    teller: mpsc::Sender<Heard>,
    operations: HashMap<OperationId, Listener>,
    views: watch::Sender<Arc<ClusterView>>,
    news: broadcast::Sender<Arc<News>>,
    started: Instant,
    /// When the last view was published.
    published: Option<Instant>,
}

/// Whoever began an operation.
struct Listener {
    teller: mpsc::UnboundedSender<Told>,
    begun: Instant,
}

impl Actor {
    /// Connects to nobody yet.
    pub(super) fn new(
        inventory: Inventory,
        services: Option<ServicesFile>,
        views: watch::Sender<Arc<ClusterView>>,
        news: broadcast::Sender<Arc<News>>,
    ) -> Self {
        let (teller, heard) = mpsc::channel(INPUTS);
        let random = RandomState::new();
        // Digits that no other console has: the hasher's keys are random for each process.
        let session = format!("{:08x}", random.hash_one(0_u8) & 0xffff_ffff);
        Self {
            cluster: Cluster::new(&inventory, session),
            inventory,
            services,
            links: HashMap::new(),
            ears: HashMap::new(),
            options: Options::default(),
            generation: 0,
            heard,
            teller,
            operations: HashMap::new(),
            views,
            news,
            started: Instant::now(),
            published: None,
        }
    }

    /// Runs until the last handle is gone, or the fleet is closed.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                ask = asks.recv() => match ask {
                    Some(Ask::Close(done)) => {
                        self.close().await;
                        let _nobody_waits = done.send(());
                        return;
                    }
                    Some(ask) => self.answer(ask),
                    None => return,
                },
                _ = self.heard.recv_many(&mut batch, BATCH) => {
                    for mut heard in batch.drain(..) {
                        if self.is_current(&mut heard) {
                            self.step(heard.input);
                        }
                    }
                }
                () = sleep_until(wake) => {}
            }
            if self.cluster.next_deadline().is_some_and(|due| due <= self.now()) {
                self.step(Input::Tick);
            }
            self.publish();
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// When there is something to do even if nothing happens.
    fn wake(&self) -> Instant {
        const FAR: Duration = Duration::from_secs(3600);
        let tick = self.cluster.next_deadline().map(|due| self.started + due);
        tick.into_iter().chain(self.next_view()).min().unwrap_or_else(|| Instant::now() + FAR)
    }

    /// When the next view is due, if one is.
    fn next_view(&self) -> Option<Instant> {
        let gap = match self.cluster.dirty() {
            Dirty::Clean => return None,
            Dirty::Pulse => PULSE_GAP,
            Dirty::Changed => VIEW_GAP,
        };
        self.cluster.is_following().then(|| self.published.map_or(self.started, |last| last + gap))
    }

    fn publish(&mut self) {
        let now = Instant::now();
        if self.next_view().is_none_or(|due| due > now) {
            return;
        }
        self.published = Some(now);
        self.cluster.set_wall(self.wall());
        let view = self.cluster.view(self.now());
        self.views.send_replace(Arc::new(view));
    }

    /// What time of day it was when we started, by the system's clock as it stands now.
    #[expect(clippy::disallowed_methods, reason = "the console's only clock is here")]
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.now())
    }

    fn answer(&mut self, ask: Ask) {
        let now = self.now();
        match ask {
            Ask::Begin { operation, options, teller } => self.begin(operation, &options, teller),
            Ask::Pull(operation, how) => {
                let effects = match how {
                    Pulled::No => Vec::new(),
                    Pulled::Gently => self.cluster.interrupt(now, operation),
                    Pulled::Hard => self.cluster.leave(now, operation),
                };
                self.perform(effects);
            }
            Ask::Abandon(operation) => {
                self.operations.remove(&operation);
                let effects = self.cluster.abandon(now, operation);
                self.perform(effects);
            }
            Ask::Replace(inventory) => {
                self.make_room(inventory.nodes.len(), self.cluster.is_following());
                let effects = self.cluster.replace(now, &inventory);
                self.inventory = inventory;
                self.perform(effects);
            }
            Ask::Services(services) => self.services = services,
            Ask::Follow(pace) => self.follow(pace),
            Ask::Figures(every) => {
                let effects = self.cluster.want_figures(now, every);
                self.perform(effects);
            }
            Ask::Indebted(told) => {
                let _nobody_waits = told.send(self.cluster.indebted());
            }
            // Handled where the task can end.
            Ask::Close(_) => {}
        }
    }

    /// How many nodes can be listened to.
    fn make_room(&mut self, nodes: usize, followed: bool) -> usize {
        let room = descriptors::want(nodes, followed);
        self.cluster.make_room(room.connections);
        room.ears
    }

    fn follow(&mut self, pace: Pace) {
        if self.cluster.is_following() {
            return;
        }
        let ears = self.make_room(self.inventory.nodes.len(), true);
        let seed = RandomState::new().hash_one(0_u8);
        let manner = Manner { wall: self.wall(), pace, figures: None, ears, seed };
        let effects = self.cluster.follow(self.now(), manner);
        self.perform(effects);
    }

    fn begin(&mut self, operation: Operation, options: &RunOptions, teller: mpsc::UnboundedSender<Told>) {
        self.make_room(self.inventory.nodes.len(), self.cluster.is_following());
        let plan = self.plan(operation, options.timeout);
        let now = self.now();
        let (id, effects) = self.cluster.begin(now, plan, options.parallel, options.targets.as_deref());
        // Whoever has gone already is noticed with the first row.
        let _gone = teller.send(Told::Begun(id));
        self.operations.insert(id, Listener { teller, begun: Instant::now() });
        self.perform(effects);
    }

    fn plan(&self, operation: Operation, timeout: Duration) -> Plan {
        let members: Vec<String> = self.inventory.nodes.iter().map(|node| node.address.clone()).collect();
        let epoch = self.wall().as_secs_f64();
        let mut plan = Plan { operation, timeout, members, services: None, epoch };
        plan.services = match (&self.services, &plan.operation) {
            (Some(file), Operation::Configure(request)) => {
                let places =
                    self.inventory.nodes.iter().enumerate().filter_map(|(at, n)| plan.place(at, n).ok());
                let memberships: Vec<_> = places.map(|place| place.membership(request)).collect();
                Some(Arc::new(file.with_templates(&memberships)))
            }
            (
                Some(file),
                Operation::Reset(_)
                | Operation::Survey
                | Operation::Preflight { .. }
                | Operation::Logs(_)
                | Operation::Ready { .. }
                | Operation::Up { .. },
            ) => Some(Arc::new(file.clone())),
            // Nothing else needs them.
            (_, _) => None,
        };
        plan
    }

    fn step(&mut self, input: Input) {
        let now = self.now();
        let effects = self.cluster.step(now, input);
        self.perform(effects);
    }

    /// Whether it comes from a link that is still in use; which then knows what it has to.
    fn is_current(&mut self, heard: &mut Heard) -> bool {
        match &heard.input {
            Input::Reached { node } | Input::Opened { node } | Input::Received { node, .. } => {
                let link = self.links.get_mut(node).filter(|link| link.generation == heard.generation);
                let current = link.is_some();
                if let (Some(link), Some(sender)) = (link, heard.sender.take()) {
                    link.opened(sender);
                }
                current
            }
            Input::Lost { node, .. } => {
                let ended = self.links.get(node).is_some_and(|link| link.generation == heard.generation);
                if ended {
                    self.links.remove(node);
                }
                ended
            }
            Input::Listening { node } | Input::Deaf { node } | Input::Heard { node, .. } => {
                self.ears.get(node).is_some_and(|ear| ear.generation == heard.generation)
            }
            // Asked by nobody's link.
            Input::Probed { .. } | Input::Tick => true,
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open { node, first } => {
                    let Some(spec) = self.cluster.node(node) else { continue };
                    self.generation += 1;
                    let (endpoint, teller) = (spec.endpoint.clone(), self.teller.clone());
                    let link = Link::open(node, self.generation, endpoint, first, &self.options, teller);
                    self.links.insert(node, link);
                }
                Effect::Send { node, payload } => {
                    if let Some(link) = self.links.get(&node) {
                        link.send(payload);
                    }
                }
                Effect::Probe { node, id, questions } => {
                    let teller = self.teller.clone();
                    tokio::spawn(async move {
                        let answers = probe::all(questions).await;
                        let input = Input::Probed { node, id, answers };
                        let _nobody_asks = teller.send(Heard { generation: 0, input, sender: None }).await;
                    });
                }
                Effect::Close { node } => {
                    self.links.remove(&node);
                }
                Effect::Listen { node, endpoint } => {
                    self.generation += 1;
                    let ear = Ear::open(node, self.generation, endpoint, &self.options, self.teller.clone());
                    self.ears.insert(node, ear);
                }
                Effect::Unlisten { node } => {
                    self.ears.remove(&node);
                }
                Effect::Report(operation, progress) => self.tell(operation, Told::Progress(progress)),
                Effect::News(news) => {
                    // Nobody has to listen.
                    let _unheard = self.news.send(Arc::new(news));
                }
                Effect::Finished { operation, rows } => {
                    if let Some(listener) = self.operations.remove(&operation) {
                        let outcome = Outcome { nodes: rows, elapsed: listener.begun.elapsed() };
                        let _gone = listener.teller.send(Told::Done(outcome));
                    }
                }
            }
        }
    }

    fn tell(&mut self, operation: OperationId, told: Told) {
        let Some(listener) = self.operations.get(&operation) else { return };
        if listener.teller.send(told).is_err() {
            self.operations.remove(&operation);
            let effects = self.cluster.abandon(self.now(), operation);
            self.perform(effects);
        }
    }

    async fn close(&mut self) {
        self.ears.clear();
        for (_, link) in self.links.drain() {
            link.close().await;
        }
    }
}

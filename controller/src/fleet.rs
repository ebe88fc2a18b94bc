//! Drives the pure [`crate::cluster`] with the [`crate::link`]s: what every face holds.
//!
//! ```text
//!  face ──Ask──► actor ──Effect──► links ══► nodes
//!       ◄─Told──  │    ◄──Input──
//!       ◄─view, news (whoever wants them)
//! ```
//!
//! One task, the actor, owns the cluster and its links. Faces hold handles: they begin operations, any
//! number at the same time, and read what is known of the cluster once it is followed. The only clock of
//! the console is the actor's: the cluster is told the time with every input.

mod actor;
mod brake;
mod descriptors;
mod probe;
mod services;

use std::sync::Arc;
use std::time::Duration;

use circus_protocol::service::Services;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use crate::cluster::follow::Pace;
pub use crate::cluster::plan::ServicesFile;
pub use brake::{Brake, Pulled};
pub(crate) use descriptors::raise as room_for;

use crate::cluster::operations::OperationId;
use crate::cluster::run::CLEANUP_TIME;
use crate::cluster::view::{ClusterView, News};
use crate::inventory::Inventory;
use crate::outcome::{Operation, Outcome, Progress, RunOptions};
use actor::Actor;

/// Wishes waiting for the actor. When it is full, whoever has one more waits.
const ASKS: usize = 64;
/// News that a reader may be behind by. Who is further behind is told how many it has missed.
const NEWS: usize = 4_096;

/// What a face wants of the actor.
enum Ask {
    Begin { operation: Operation, options: RunOptions, teller: mpsc::UnboundedSender<Told> },
    Pull(OperationId, Pulled),
    Abandon(OperationId),
    Replace(Inventory),
    Services(Option<ServicesFile>),
    Follow(Pace),
    Figures(Option<Duration>),
    Indebted(oneshot::Sender<Vec<String>>),
    Close(oneshot::Sender<()>),
}

/// What the actor tells whoever began an operation. Not bounded by a number, but by the operation: one
/// row for each target and a few notes.
enum Told {
    Begun(OperationId),
    Progress(Progress),
    Done(Outcome),
}

/// All nodes and the connections to them; connections are opened when needed and stay open. Dropping it
/// and all its handles ends them.
#[derive(Debug)]
pub struct Fleet {
    inventory: Inventory,
    services: Option<ServicesFile>,
    handle: Handle,
    brake: Brake,
}

/// What a face needs to begin operations and to see the cluster; clones are for further tasks.
#[derive(Debug, Clone)]
pub struct Handle {
    asks: mpsc::Sender<Ask>,
    views: watch::Receiver<Arc<ClusterView>>,
    news: broadcast::Sender<Arc<News>>,
}

impl Fleet {
    /// Connects to nobody yet. Needs a tokio runtime.
    #[must_use]
    pub fn new(inventory: Inventory, services: Option<ServicesFile>) -> Self {
        let (asks, asked) = mpsc::channel(ASKS);
        let (news, _) = broadcast::channel(NEWS);
        let (views, seen) = watch::channel(Arc::default());
        let actor = Actor::new(inventory.clone(), services.clone(), views, news.clone());
        // It ends with the last handle; a panic in it shows as operations that never were.
        tokio::spawn(actor.run(asked));
        let handle = Handle { asks, views: seen, news };
        Self { inventory, services, handle, brake: Brake::default() }
    }

    /// The nodes.
    #[must_use]
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// What `--services FILE` says, for nodes that have no services of their own.
    #[must_use]
    pub fn services(&self) -> Option<&Services> {
        self.services.as_ref().map(|file| &file.services)
    }

    /// For further tasks.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Other nodes from now on; connections to nodes that are in both stay open, and what is under way
    /// there goes on.
    pub fn replace_inventory(&mut self, inventory: Inventory) {
        self.inventory = inventory.clone();
        self.handle.ask(Ask::Replace(inventory));
    }

    /// Another `--services FILE` from now on; the one before.
    pub fn replace_services(&mut self, services: Option<ServicesFile>) -> Option<ServicesFile> {
        self.handle.ask(Ask::Services(services.clone()));
        std::mem::replace(&mut self.services, services)
    }

    /// Follows every node from now on, those of later inventories too: one connection for each that is
    /// made again and again, with a heartbeat, and what the nodes tell of their watchers. Nothing changes
    /// when they are followed already.
    pub fn follow(&self, pace: Pace) {
        self.handle.ask(Ask::Follow(pace));
    }

    /// What ends an operation of [`Fleet::run`] early; each begins with a released one.
    #[must_use]
    pub fn brake(&self) -> Brake {
        self.brake.clone()
    }

    /// See [`Handle::run`]. The [`Brake`] ends it early, with an outcome for each node all the same.
    pub async fn run(
        &mut self,
        operation: Operation,
        options: &RunOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        self.handle.run_braked(operation, options, &self.brake, progress).await
    }

    /// Removes what abandoned operations may have left on stock nodes, then ends all connections.
    pub async fn close(self) {
        let (teller, told) = oneshot::channel();
        self.handle.ask(Ask::Indebted(teller));
        let indebted = told.await.unwrap_or_default();
        if !indebted.is_empty() {
            // Any operation does that first; this one does nothing else.
            let options =
                RunOptions { timeout: CLEANUP_TIME, parallel: indebted.len(), targets: Some(indebted) };
            let _: Outcome =
                self.handle.run(Operation::Status { names: Vec::new() }, &options, &mut |_| {}).await;
        }
        let (teller, told) = oneshot::channel();
        self.handle.ask(Ask::Close(teller));
        let _closed = told.await;
    }
}

impl Handle {
    /// Runs one operation on all targeted nodes at once, beside whatever else is under way. Never fails
    /// as a whole: each targeted node has exactly one outcome. Dropping the future abandons the
    /// operation; what it may have left on stock nodes is removed by the next operation on them, or by
    /// [`Fleet::close`], or, if this process ends without either, by the next console.
    pub async fn run(
        &self,
        operation: Operation,
        options: &RunOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        self.run_braked(operation, options, &Brake::default(), progress).await
    }

    /// The same with a [`Brake`] that ends it early, with an outcome for each node all the same.
    pub async fn run_braked(
        &self,
        operation: Operation,
        options: &RunOptions,
        brake: &Brake,
        progress: &mut dyn FnMut(Progress),
    ) -> Outcome {
        let mut pulled = brake.release();
        let (teller, mut told) = mpsc::unbounded_channel();
        let options = options.clone();
        if self.asks.send(Ask::Begin { operation, options, teller }).await.is_err() {
            return Outcome::default();
        }
        let mut abandoned = Abandoned { handle: self, operation: None };
        loop {
            let news = tokio::select! {
                news = told.recv() => news,
                how = brake::changed(&mut pulled), if abandoned.operation.is_some() => {
                    if let Some(operation) = abandoned.operation {
                        let _closed = self.asks.send(Ask::Pull(operation, how)).await;
                    }
                    continue;
                }
            };
            match news {
                Some(Told::Begun(operation)) => abandoned.operation = Some(operation),
                Some(Told::Progress(news)) => progress(news),
                Some(Told::Done(outcome)) => {
                    abandoned.operation = None;
                    return outcome;
                }
                // The actor ended: the fleet is being closed.
                None => return Outcome::default(),
            }
        }
    }

    /// What is known of the cluster now. Empty until the fleet is followed.
    #[must_use]
    pub fn view(&self) -> Arc<ClusterView> {
        self.views.borrow().clone()
    }

    /// The view as it changes: at most every 50 ms, and once a second when nothing but heartbeats came.
    /// Only the latest is kept.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.views.clone()
    }

    /// What changes, as it changes. A reader that is behind by more than some thousands is told how many
    /// it has missed.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.subscribe()
    }

    /// Figures of processes in the views from now on, asked for so often; `None`: not any more.
    pub fn figures(&self, every: Option<Duration>) {
        self.ask(Ask::Figures(every));
    }

    /// Without waiting: whoever asks may not be able to.
    fn ask(&self, ask: Ask) {
        if let Err(mpsc::error::TrySendError::Full(ask)) = self.asks.try_send(ask) {
            let asks = self.asks.clone();
            tokio::spawn(async move {
                let _closed = asks.send(ask).await;
            });
        }
    }
}

/// Tells the actor when the future of an operation is dropped before its end.
struct Abandoned<'a> {
    handle: &'a Handle,
    operation: Option<OperationId>,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if let Some(operation) = self.operation {
            // If there is no room, the actor finds out by itself as soon as it has a row to tell.
            let _ = self.handle.asks.try_send(Ask::Abandon(operation));
        }
    }
}

/// Unix time, for comparing clocks.
#[expect(clippy::disallowed_methods, reason = "the only clock of the console is here")]
pub(crate) fn wall() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

//! One reading for all who want one at the same time: the fleet is asked only when somebody does, and
//! not again while the last reading is fresh. It is the session's fleet: a console that follows its nodes
//! has one connection to each, whoever asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::metrics::Reading;
use crate::figures;
use crate::figures::track::Tracker;
use crate::fleet::{Handle, wall};
use crate::outcome::{Operation, RunOptions};

/// Those who wait for a reading. There are fewer connections, so nobody waits to get in here.
const WAITING: usize = 64;

/// Somebody who wants a reading.
type Wish = oneshot::Sender<Arc<Reading>>;

/// Asks for readings.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    wishes: mpsc::Sender<Wish>,
    last: watch::Receiver<Arc<Reading>>,
}

impl Asker {
    /// A fresh reading; `None` when the gatherer is gone.
    pub(super) async fn reading(&self) -> Option<Arc<Reading>> {
        let (wish, answer) = oneshot::channel();
        self.wishes.send(wish).await.ok()?;
        answer.await.ok()
    }

    /// The last reading, whatever its age; nobody is asked.
    pub(super) fn last(&self) -> Arc<Reading> {
        Arc::clone(&self.last.borrow())
    }

    /// Whether readings can be had at all.
    pub(super) fn is_alive(&self) -> bool {
        !self.wishes.is_closed()
    }
}

/// What is asked, and how.
pub(super) struct Gatherer {
    pub(super) handle: Handle,
    pub(super) operation: Operation,
    pub(super) options: RunOptions,
    /// How long a reading is as good as a new one.
    pub(super) fresh: Duration,
}

/// A gatherer's two ends.
pub(super) fn channel() -> (Asker, Readings) {
    let (wishes, waiting) = mpsc::channel(WAITING);
    let (tell, last) = watch::channel(Arc::new(Reading::default()));
    (Asker { wishes, last }, Readings { waiting, tell })
}

/// Where wishes come from and readings go.
pub(super) struct Readings {
    waiting: mpsc::Receiver<Wish>,
    tell: watch::Sender<Arc<Reading>>,
}

impl Gatherer {
    /// Works until nobody can ask any more.
    pub(super) async fn run(self, mut readings: Readings) {
        let mut tracker = Tracker::default();
        let mut taken: Option<Instant> = None;
        let mut count = 0;
        while let Some(wish) = readings.waiting.recv().await {
            let is_fresh = taken.is_some_and(|at| at.elapsed() < self.fresh);
            if !is_fresh {
                count += 1;
                let at = wall();
                let outcome = self.handle.run(self.operation.clone(), &self.options, &mut |_| {}).await;
                let nodes = figures::nodes(&outcome);
                let took = outcome.elapsed.as_secs_f64();
                let reading = Reading::new(nodes, &mut tracker, (at, took), count);
                readings.tell.send_replace(Arc::new(reading));
                taken = Some(Instant::now());
            }
            let reading = Arc::clone(&readings.tell.borrow());
            // Who does not wait any longer has gone.
            let _gone = wish.send(reading);
        }
    }
}

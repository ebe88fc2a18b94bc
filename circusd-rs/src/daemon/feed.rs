//! The stats feed: once a second, for whoever subscribed.
//!
//! ```text
//!  loop ──Roster, the latest only──► feed ──whose figures──► sampler's thread
//!   ▲                                 │ ▲                        │
//!   └──── whether anybody listens ────┘ └────── figures ─────────┘
//!                                     └──► stats endpoint
//!
//!  endpoint taken ──tries again──► bound ──somebody wants reads──► looks at the sockets, 100 a second
//! ```
//!
//! Nobody waits for the loop and the loop waits for nobody: it leaves a new [`Roster`] each second
//! while somebody listens, the feed takes the one that lies there. While nobody listens, neither
//! does anything, nor wakes up for it.

use std::sync::Arc;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::arbiter::roster::Roster;
use crate::endpoint::stats::Stats;
use crate::host::sample::feed::Feed;
use crate::host::socket::Reads;

/// How often figures are published: circus' rate.
const PERIOD: Duration = Duration::from_secs(1);

/// How often sockets are looked at: circus' rate.
const LOOK: Duration = Duration::from_millis(10);

/// Between two tries to bind a taken endpoint.
const RETRY: Duration = Duration::from_secs(2);

/// Where figures are published.
#[derive(Debug)]
pub(super) enum Figures {
    Bound(Stats),
    /// Somebody else has the endpoint; it may become free.
    Taken(Endpoint),
}

impl Figures {
    /// What is really bound.
    pub(super) fn bound(&self) -> Option<&Endpoint> {
        match self {
            Self::Bound(stats) => stats.bound(),
            Self::Taken(_) => None,
        }
    }
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Desk {
    roster: watch::Sender<Arc<Roster>>,
    heard: watch::Receiver<bool>,
    interval: Interval,
}

impl Desk {
    /// Returns when a new roster is wanted. Cancelling it loses nothing.
    pub(super) async fn due(&mut self) {
        loop {
            if *self.heard.borrow_and_update() {
                self.interval.tick().await;
                return;
            }
            if self.heard.changed().await.is_err() {
                // Without the feed nobody wants anything.
                std::future::pending().await
            }
            self.interval.reset_immediately();
        }
    }

    /// Leaves the latest.
    pub(super) fn leave(&self, roster: Roster) {
        self.roster.send_replace(Arc::new(roster));
    }
}

/// A feed and its desk in the loop.
pub(super) fn start(
    figures: Figures,
    sampler: Feed,
    reads: Reads,
) -> (Desk, impl Future<Output = ()> + Send + use<>) {
    let (roster, latest) = watch::channel(Arc::default());
    let (hearing, heard) = watch::channel(false);
    let desk = Desk { roster, heard, interval: ticker(PERIOD) };
    let publish = async move {
        let stats = match figures {
            Figures::Bound(stats) => stats,
            Figures::Taken(endpoint) => bind_later(&endpoint).await,
        };
        publish(stats, sampler, reads, latest, hearing).await;
    };
    (desk, publish)
}

async fn bind_later(endpoint: &Endpoint) -> Stats {
    let mut tries = ticker(RETRY);
    loop {
        tries.tick().await;
        if let Ok(stats) = Stats::bind(endpoint, std::process::id()).await {
            tracing::info!("stats_endpoint {endpoint} is free now: figures are published");
            return stats;
        }
    }
}

async fn publish(
    stats: Stats,
    sampler: Feed,
    mut reads: Reads,
    latest: watch::Receiver<Arc<Roster>>,
    hearing: watch::Sender<bool>,
) {
    let mut ticks = ticker(PERIOD);
    let mut looks = ticker(LOOK);
    // The roster of the time before the first subscriber is none.
    let mut ready = false;
    let mut counts = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = looks.tick(), if counts => {
                reads.look();
                continue;
            }
        }
        if !stats.is_heard() {
            hearing.send_replace(false);
            (ready, counts) = (false, false);
            stats.heard().await;
            hearing.send_replace(true);
            ticks.reset();
        }
        if !std::mem::replace(&mut ready, true) {
            continue;
        }
        let roster = Arc::clone(&latest.borrow());
        let wanted = stats.wanted(&roster);
        let figures = if wanted.is_empty() { Vec::new() } else { sampler.look(wanted).await };
        stats.publish(&roster, figures).await;
        stats.publish_reads(&roster, &reads.take());
        counts = stats.wants_reads(&roster);
    }
}

fn ticker(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

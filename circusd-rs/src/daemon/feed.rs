//! The stats feed: once a second, for whoever subscribed.
//!
//! ```text
//!  loop ──Roster, the latest only──► feed ──whose figures──► sampler's thread
//!   ▲                                 │ ▲                        │
//!   └──── whether anybody listens ────┘ └────── figures ─────────┘
//!                                     └──► stats endpoint
//! ```
//!
//! Nobody waits for the loop and the loop waits for nobody: it leaves a new [`Roster`] each second
//! while somebody listens, the feed takes the one that lies there. While nobody listens, neither
//! does anything.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::arbiter::roster::Roster;
use crate::endpoint::stats::Stats;
use crate::host::sample::feed::Feed;

/// How often figures are published: circus' rate.
const PERIOD: Duration = Duration::from_secs(1);

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
pub(super) fn start(stats: Stats, sampler: Feed) -> (Desk, impl Future<Output = ()> + Send + use<>) {
    let (roster, latest) = watch::channel(Arc::default());
    let (hearing, heard) = watch::channel(false);
    let desk = Desk { roster, heard, interval: ticker() };
    (desk, publish(stats, sampler, latest, hearing))
}

async fn publish(
    stats: Stats,
    sampler: Feed,
    latest: watch::Receiver<Arc<Roster>>,
    hearing: watch::Sender<bool>,
) {
    let mut ticks = ticker();
    // The roster of the time before the first subscriber is none.
    let mut ready = false;
    loop {
        ticks.tick().await;
        let heard = stats.is_heard();
        hearing.send_if_modified(|before| std::mem::replace(before, heard) != heard);
        if !(heard && std::mem::replace(&mut ready, heard)) {
            ready = heard;
            continue;
        }
        let roster = Arc::clone(&latest.borrow());
        let wanted = stats.wanted(&roster);
        let figures = if wanted.is_empty() { Vec::new() } else { sampler.look(wanted).await };
        stats.publish(&roster, figures).await;
    }
}

fn ticker() -> Interval {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

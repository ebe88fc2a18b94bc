//! Follows what a SPEC's nodes are, as long as somebody cares: files are looked at each second, commands
//! and name servers asked each minute.
//!
//! ```text
//!  SPEC ─► files changed? minute over? ─► read again (own thread) ─► other nodes? ─► latest wins
//!             ▲                                                          │
//!             └──────────────────────────────────────────────────────────┘
//! ```
//!
//! A source that fails changes nothing: the nodes stay what they were, and the failure is told once.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::System;
use crate::inventory::Inventory;
use crate::inventory::spec;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often commands and name servers are asked.
const ASK: Duration = Duration::from_secs(60);

/// What the last look brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Other nodes than before.
    Nodes(Inventory),
    /// The source failed; the nodes are still those from before.
    Failed(String),
}

/// Follows one SPEC; dropping it ends that.
#[derive(Debug)]
#[must_use = "dropping it ends the following"]
pub struct Follower {
    news: watch::Receiver<Option<News>>,
    task: JoinHandle<()>,
}

impl Follower {
    /// Needs a tokio runtime. `None`: the SPEC names its nodes itself, so nothing can change.
    #[must_use]
    pub fn start(inventory: Inventory, port: u16, system: System) -> Option<Self> {
        if system.seen().is_empty() {
            return None;
        }
        let (teller, news) = watch::channel(None);
        let task = tokio::spawn(follow(inventory, port, system, teller));
        Some(Self { news, task })
    }

    /// What is new since this was called last.
    pub fn take(&mut self) -> Option<News> {
        if !self.news.has_changed().unwrap_or(false) {
            return None;
        }
        self.news.borrow_and_update().clone()
    }

    /// Waits until there is something to [`Follower::take`]; for ever once nothing can come.
    pub async fn changed(&self) {
        let mut news = self.news.clone();
        if news.wait_for(Option::is_some).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    mut inventory: Inventory,
    port: u16,
    mut system: System,
    teller: watch::Sender<Option<News>>,
) {
    let mut failure = None;
    let mut asked = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let due = system.seen().must_ask() && asked.elapsed() >= ASK;
        if !due && !system.seen().changed() {
            continue;
        }
        let text = inventory.spec.clone();
        let read = tokio::task::spawn_blocking(move || {
            system.forget();
            let parsed = spec::parse(&text, port, &mut system);
            (system, parsed)
        });
        // The thread cannot panic; if it did there would be nothing to go on with.
        let Ok((after, parsed)) = read.await else { return };
        system = after;
        asked = Instant::now();
        match parsed {
            Ok(parsed) => {
                failure = None;
                if parsed.inventory != inventory {
                    inventory = parsed.inventory;
                    let _nobody_cares = teller.send(Some(News::Nodes(inventory.clone())));
                }
            }
            Err(error) => {
                let told = error.to_string();
                if failure.as_ref() != Some(&told) {
                    let _nobody_cares = teller.send(Some(News::Failed(told.clone())));
                    failure = Some(told);
                }
            }
        }
    }
}

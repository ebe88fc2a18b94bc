//! New endpoints for a daemon that runs: what a restart of everything may change.
//!
//! ```text
//!  as before ─► nothing      changed ─► bind the new one ─┬─► take it, close the old one
//!                                                         └─► refused: say so, keep the old one
//! ```
//!
//! The old endpoint is let go only when the new one is there, so the daemon can always be reached.
//! Knows nothing of watchers.

use circus_protocol::reply::{Refusal, Reply};

use super::feed::Figures;
use super::setup::{self, SetupError};
use super::{Daemon, open_feed};
use crate::config::Global;
use crate::endpoint::events::Events;
use crate::host::stream::LIVE;

/// What those are told who still wait for an answer on the old endpoint.
const MOVED: &str = "the daemon restarts on another endpoint";

impl Daemon {
    /// Takes over the endpoints of a new `[circus]`; puts back into it what could not be taken over.
    pub(super) async fn rebind(&mut self, circus: &mut Global) {
        let [control, events, stats] = self.addresses.named.clone();
        if circus.pubsub_endpoint != events
            && let Err(error) = self.rebind_events(circus).await
        {
            tracing::error!("{error}; events stay on {events}");
            circus.pubsub_endpoint = events;
        }
        let moved = circus.endpoint != control;
        if moved && let Err(error) = self.rebind_control(circus).await {
            tracing::error!("{error}; commands stay on {control}");
            circus.endpoint = control;
        }
        if circus.stats_endpoint != stats || circus.statsd != self.feed.is_some() {
            self.rebind_stats(circus).await;
        }
        if moved || circus.multicast_endpoint != self.group {
            self.rediscover(circus);
        }
    }

    async fn rebind_events(&mut self, circus: &Global) -> Result<(), SetupError> {
        let endpoint = setup::endpoint("pubsub_endpoint", &circus.pubsub_endpoint)?;
        let bound = Events::bind(&endpoint).await;
        let new = bound.map_err(|source| SetupError::Bind { key: "pubsub_endpoint", source })?;
        self.addresses.take(1, &circus.pubsub_endpoint, new.bound());
        self.runner.listeners(new.aside(LIVE));
        tokio::spawn(std::mem::replace(&mut self.events, new).close());
        Ok(())
    }

    async fn rebind_control(&mut self, circus: &Global) -> Result<(), SetupError> {
        let endpoint = setup::endpoint("endpoint", &circus.endpoint)?;
        let refusal = Reply::Error(Refusal::Server(MOVED.to_owned()));
        let moved = self.control.rebind(&endpoint, &refusal, self.clock.now().wall).await;
        let old = moved.map_err(|source| SetupError::Bind { key: "endpoint", source })?;
        tokio::spawn(old.close());
        self.addresses.take(0, &circus.endpoint, self.control.bound());
        setup::own(circus, self.control.bound())
    }

    /// Figures are nobody's life: without them the daemon goes on.
    async fn rebind_stats(&mut self, circus: &Global) {
        if let Some(feed) = self.feed.take() {
            feed.abort();
        }
        self.desk = None;
        let figures = match setup::endpoint("stats_endpoint", &circus.stats_endpoint) {
            Ok(endpoint) if circus.statsd => Some(setup::publish_figures(endpoint).await),
            Ok(_) => None,
            Err(error) => {
                tracing::error!("{error}");
                None
            }
        };
        self.addresses.take(2, &circus.stats_endpoint, figures.as_ref().and_then(Figures::bound));
        let reads = &self.reads;
        match figures.map(|figures| open_feed(figures, reads, &mut self.tasks)).transpose() {
            Ok(opened) => (self.desk, self.feed) = opened.unzip(),
            Err(error) => tracing::error!("{error}; no figures are published"),
        }
    }

    fn rediscover(&mut self, circus: &Global) {
        if let Some(discovery) = self.discovery.take() {
            discovery.abort();
        }
        self.group.clone_from(&circus.multicast_endpoint);
        let [control, _, _] = &self.addresses.bound;
        let Some(group) = &circus.multicast_endpoint else { return };
        match setup::discover(group, control) {
            Ok(discovery) => {
                self.discovery = discovery.map(|discovery| self.tasks.spawn(discovery.answer()));
            }
            Err(error) => tracing::error!("{error}; nobody discovers this node"),
        }
    }
}

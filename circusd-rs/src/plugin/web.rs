//! HttpObserver: asks a web server whether it is well; restarts a watcher when it is not.
//!
//! Well is an answer below 400, after redirections. The rest is an error with a code, 599 when there
//! was no answer at all, as in circus.

use std::time::Duration;

use circus_protocol::transport::http;
use tokio::time::{Instant, timeout};

use super::metrics::Metrics;
use super::node::Node;
use super::{PluginError, Work};
use crate::config::plugin::HttpObserver;

/// The code of no answer.
const NOTHING: u16 = 599;

/// See the module.
#[derive(Debug)]
pub(super) struct Observer {
    settings: HttpObserver,
    metrics: Metrics,
}

impl Observer {
    pub(super) async fn new(settings: HttpObserver) -> Result<Self, PluginError> {
        Ok(Self { metrics: Metrics::new(&settings.statsd).await?, settings })
    }

    /// The code of an error, or `None` when all is well.
    async fn ask(&self) -> Option<u16> {
        let url = &self.settings.check_url;
        let limit = Duration::from_secs_f64(self.settings.timeout);
        let (code, reason) = match timeout(limit, http::get(url)).await {
            Ok(Ok(code)) if code < 400 => return None,
            Ok(Ok(code)) => (code, format!("status {code}")),
            Ok(Err(error)) => (NOTHING, error.to_string()),
            Err(_) => (NOTHING, format!("no answer within {limit:?}")),
        };
        tracing::warn!("{url}: {reason}");
        Some(code)
    }
}

impl Work for Observer {
    fn period(&self) -> Option<f64> {
        Some(self.settings.loop_rate)
    }

    async fn round(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let begun = Instant::now();
        let Some(code) = self.ask().await else {
            self.metrics.milliseconds("http_stats.request_time", begun.elapsed().as_millis()).await;
            return Ok(());
        };
        self.metrics.count("http_stats.error").await;
        self.metrics.count(&format!("http_stats.error.{code}")).await;
        let Some(name) = self.settings.restart_on_error.clone() else { return Ok(()) };
        // One that was stopped on purpose answers nothing, and is to stay stopped.
        if !node.is_active(&name).await? {
            return Ok(());
        }
        self.metrics.count("http_stats.restart_on_error").await;
        tracing::info!("{name}: restarting because of {}", self.settings.check_url);
        node.order("restart", &name).await
    }
}

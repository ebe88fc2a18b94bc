//! Metrics to a statsd server: one datagram each, sent and forgotten.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use tokio::net::{UdpSocket, lookup_host};

use super::PluginError;
use crate::config::plugin::Statsd;

/// Where metrics go, and what their names begin with.
#[derive(Debug)]
pub(super) struct Metrics {
    socket: UdpSocket,
    host: String,
    port: u16,
    target: Option<SocketAddr>,
    prefix: String,
    sample_rate: f64,
    /// Not secret: it decides which metrics are left out.
    random: RandomState,
    sent: u64,
}

impl Metrics {
    pub(super) async fn new(settings: &Statsd) -> Result<Self, PluginError> {
        let failed = |source| PluginError::System { what: "cannot send metrics".to_owned(), source };
        let mut metrics = Self {
            socket: UdpSocket::bind(("0.0.0.0", 0)).await.map_err(failed)?,
            host: settings.host.clone(),
            port: settings.port,
            target: None,
            prefix: format!("circus.{}.watcher", settings.application),
            sample_rate: settings.sample_rate,
            random: RandomState::new(),
            sent: 0,
        };
        metrics.find().await;
        Ok(metrics)
    }

    /// A server whose name does not resolve may resolve later.
    async fn find(&mut self) {
        match lookup_host((self.host.as_str(), self.port)).await {
            Ok(mut found) => self.target = found.find(SocketAddr::is_ipv4),
            Err(error) => tracing::warn!("statsd host {:?}: {error}", self.host),
        }
    }

    pub(super) async fn count(&mut self, name: &str) {
        self.send(name, "1|c").await;
    }

    pub(super) async fn gauge(&mut self, name: &str, value: &str) {
        self.send(name, &format!("{value}|g")).await;
    }

    pub(super) async fn milliseconds(&mut self, name: &str, value: u128) {
        self.send(name, &format!("{value}|ms")).await;
    }

    async fn send(&mut self, name: &str, value: &str) {
        if self.target.is_none() {
            self.find().await;
        }
        let Some(target) = self.target else { return };
        self.sent = self.sent.wrapping_add(1);
        let draw = self.random.hash_one(self.sent) as f64 / u64::MAX as f64;
        if let Some(text) = line(&self.prefix, name, value, self.sample_rate, draw) {
            // Nobody listening is the server's business; there is no delivery to rely on.
            let _lost = self.socket.send_to(text.as_bytes(), target).await;
        }
    }
}

/// What is sent, unless the draw (0 to 1) says that this one is left out. What is sent says how many
/// it stands for.
fn line(prefix: &str, name: &str, value: &str, sample_rate: f64, draw: f64) -> Option<String> {
    if sample_rate >= 1.0 {
        return Some(format!("{prefix}.{name}:{value}"));
    }
    (draw < sample_rate).then(|| format!("{prefix}.{name}:{value}|@{sample_rate}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampled_metric_says_for_how_many_it_stands() {
        assert_eq!(
            line("circus.app.watcher", "a.spawn", "1|c", 1.0, 1.0).unwrap(),
            "circus.app.watcher.a.spawn:1|c"
        );
        assert_eq!(line("p", "a", "1|c", 0.5, 0.4).unwrap(), "p.a:1|c|@0.5");
        assert_eq!(line("p", "a", "1|c", 0.5, 0.5), None);
    }
}

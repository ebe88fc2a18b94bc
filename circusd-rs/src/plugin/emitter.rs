//! StatsdEmitter: every event as a counter. FullStats: everybody's figures, every round.

use circus_protocol::event::Event;
use circus_protocol::stat::ProcessFigures;
use serde_json::{Value, json};

use super::metrics::Metrics;
use super::node::{Node, missing};
use super::{PluginError, Work};
use crate::config::plugin::{Statsd, bytes};
use crate::host::sample::Sampler;

/// See the module.
#[derive(Debug)]
pub(super) struct Emitter {
    metrics: Metrics,
}

impl Emitter {
    pub(super) async fn new(settings: &Statsd) -> Result<Self, PluginError> {
        Ok(Self { metrics: Metrics::new(settings).await? })
    }
}

impl Work for Emitter {
    async fn event(&mut self, event: Event, _node: &mut Node) -> Result<(), PluginError> {
        self.metrics.count(&format!("{}.{}", event.watcher, event.kind.action())).await;
        Ok(())
    }
}

/// See the module. It looks at the processes itself, so that its CPU shares are of its own rounds
/// whoever else asks the daemon.
#[derive(Debug)]
pub(super) struct Full {
    metrics: Metrics,
    period: f64,
    sampler: Sampler,
}

impl Full {
    pub(super) async fn new(settings: &Statsd, period: f64) -> Result<Self, PluginError> {
        Ok(Self { metrics: Metrics::new(settings).await?, period, sampler: sampler()? })
    }

    /// Everybody's figures, by the watchers' names as configured; plugins are left out.
    async fn look(&mut self, node: &mut Node) -> Result<Vec<(String, Vec<ProcessFigures>)>, PluginError> {
        let reply = node.call("status", json!({})).await?;
        let statuses = reply.get("statuses").and_then(Value::as_object);
        let statuses = statuses.ok_or_else(|| missing("status", "statuses"))?;
        let mut figures = Vec::new();
        for name in statuses.keys().filter(|name| !name.starts_with("plugin:")) {
            // One that went meanwhile has no figures.
            if let Ok(pids) = node.pids(name).await {
                figures.push((name.clone(), self.sampler.each(&pids)));
            }
        }
        Ok(figures)
    }
}

impl Work for Full {
    fn period(&self) -> Option<f64> {
        Some(self.period)
    }

    /// So that the first round has something to compare with.
    async fn begin(&mut self, node: &mut Node) -> Result<(), PluginError> {
        self.look(node).await.map(drop)
    }

    async fn round(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let looked = self.look(node).await;
        if looked.is_err() {
            self.metrics.count("_stats.error").await;
        }
        for (name, figures) in looked? {
            for (key, value) in gauges(&figures) {
                self.metrics.gauge(&format!("_stats.{name}.{key}"), &value).await;
            }
        }
        Ok(())
    }
}

/// The gauges of one watcher; without processes only how many there are.
fn gauges(figures: &[ProcessFigures]) -> Vec<(&'static str, String)> {
    let mut gauges = vec![("watchers_num", figures.len().to_string())];
    if figures.is_empty() {
        return gauges;
    }
    let cpus: Vec<f64> = figures.iter().filter_map(|figures| figures.cpu).collect();
    let shares: Vec<f64> = figures.iter().filter_map(|figures| figures.mem).collect();
    let sizes: Vec<f64> = figures.iter().filter_map(|figures| bytes(&figures.mem_info1)).collect();
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let decimal = |value: f64| format!("{value:?}");
    let whole = |value: f64| format!("{:.0}", value.trunc());
    gauges.extend([
        ("cpu_max", decimal(most(&cpus))),
        ("cpu_sum", decimal(cpus.iter().sum())),
        ("mem_pct_max", decimal(most(&shares))),
        ("mem_pct_sum", decimal(shares.iter().sum())),
        ("mem_max", whole(most(&sizes))),
        ("mem_sum", whole(sizes.iter().sum())),
    ]);
    gauges
}

pub(super) fn sampler() -> Result<Sampler, PluginError> {
    Sampler::new().map_err(|source| PluginError::System { what: "cannot take figures".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_gauges() {
        assert_eq!(gauges(&[]), [("watchers_num", "0".to_owned())]);
        let one = |cpu: f64, mem: f64, size: &str| ProcessFigures {
            cpu: Some(cpu),
            mem: Some(mem),
            mem_info1: size.to_owned(),
            ..ProcessFigures::from_map(&serde_json::from_str(r#"{"pid": 1}"#).unwrap()).unwrap()
        };
        let shown: Vec<String> = gauges(&[one(1.5, 0.25, "1.50K"), one(2.0, 0.5, "1.00M")])
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            shown.join(" "),
            "watchers_num=2 cpu_max=2.0 cpu_sum=3.5 mem_pct_max=0.5 mem_pct_sum=0.75 mem_max=1048576 mem_sum=1050112"
        );
    }
}

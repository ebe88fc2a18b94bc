//! ResourceWatcher: a watcher that stays beyond a limit, or below one, is restarted.
//!
//! It looks at the processes itself, so that its CPU shares are of its own rounds whoever else asks
//! the daemon. A watcher that is not meant to run, or has no processes, breaks no limit.

use std::collections::BTreeMap;

use circus_protocol::number::Pid;
use circus_protocol::stat::ProcessFigures;
use serde_json::json;

use super::emitter::sampler;
use super::metrics::Metrics;
use super::node::Node;
use super::{PluginError, Work};
use crate::arbiter::effect::SampleTarget;
use crate::config::plugin::{Memory, ResourceWatcher, bytes};
use crate::host::sample::Sampler;

/// See the module.
#[derive(Debug)]
pub(super) struct Observer {
    settings: ResourceWatcher,
    metrics: Metrics,
    sampler: Sampler,
    /// Of the watcher as a whole.
    watcher: Counts,
    /// Of each child of its processes.
    children: BTreeMap<i64, Counts>,
}

/// The most and the least of some processes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extremes {
    cpu: [f64; 2],
    percent: [f64; 2],
    bytes: [f64; 2],
}

/// Rounds in a row beyond each limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts([u32; LIMITS.len()]);

/// What the counters of the limits are called.
const LIMITS: [&str; 5] = ["over_cpu", "under_cpu", "over_memory", "under_memory", "over_health"];

impl Extremes {
    /// `None` without processes.
    fn of<'a>(figures: impl Iterator<Item = &'a ProcessFigures> + Clone) -> Option<Self> {
        figures.clone().next()?;
        let range = |read: fn(&ProcessFigures) -> f64| {
            let most = figures.clone().map(read).fold(0.0, f64::max);
            [most, figures.clone().map(read).fold(f64::INFINITY, f64::min)]
        };
        Some(Self {
            cpu: range(|figures| figures.cpu.unwrap_or(0.0)),
            percent: range(|figures| figures.mem.unwrap_or(0.0)),
            bytes: range(|figures| bytes(&figures.mem_info1).unwrap_or(0.0)),
        })
    }

    /// Which of [`LIMITS`] are broken.
    fn broken(&self, settings: &ResourceWatcher) -> [bool; LIMITS.len()] {
        let [cpu, least_cpu] = self.cpu;
        let [percent, least_percent] = self.percent;
        let [bytes, least_bytes] = self.bytes;
        let health = f64::midpoint(cpu, percent);
        [
            settings.max_cpu != 0.0 && cpu > settings.max_cpu,
            settings.min_cpu.is_some_and(|least| least_cpu <= least),
            match settings.max_mem {
                Memory::Percent(most) => percent > most,
                Memory::Bytes(most) => bytes > most,
            },
            match settings.min_mem {
                Some(Memory::Percent(least)) => least_percent < least,
                Some(Memory::Bytes(least)) => least_bytes < least,
                None => false,
            },
            settings.health_threshold != 0.0 && health > settings.health_threshold,
        ]
    }
}

impl Counts {
    /// True when one limit was broken once too often; then everything begins anew.
    fn add(&mut self, broken: [bool; LIMITS.len()], bearable: u32) -> bool {
        for (count, broken) in self.0.iter_mut().zip(broken) {
            *count = if broken { count.saturating_add(1) } else { 0 };
        }
        let enough = self.0.iter().any(|count| *count > bearable);
        if enough {
            *self = Self::default();
        }
        enough
    }
}

impl Observer {
    pub(super) async fn new(settings: ResourceWatcher) -> Result<Self, PluginError> {
        let metrics = Metrics::new(&settings.statsd).await?;
        let (watcher, children) = (Counts::default(), BTreeMap::new());
        Ok(Self { settings, metrics, sampler: sampler()?, watcher, children })
    }

    async fn count(&mut self, what: &str) {
        let name = format!("_resource_watcher.{}.{what}", self.settings.watcher);
        self.metrics.count(&name).await;
    }

    async fn count_broken(&mut self, broken: [bool; LIMITS.len()]) {
        for (limit, _) in LIMITS.into_iter().zip(broken).filter(|(_, broken)| *broken) {
            self.count(limit).await;
        }
    }

    fn look(&mut self, pids: &[Pid]) -> Vec<ProcessFigures> {
        let targets: Vec<SampleTarget> = pids.iter().map(|pid| SampleTarget::Process(*pid)).collect();
        let maps = self.sampler.look(&targets).into_iter().flatten();
        maps.filter_map(|map| ProcessFigures::from_map(&map).ok()).collect()
    }

    async fn processes(&mut self, node: &mut Node) -> Result<Vec<ProcessFigures>, PluginError> {
        let name = self.settings.watcher.clone();
        if !node.is_active(&name).await? {
            return Ok(Vec::new());
        }
        Ok(self.look(&node.pids(&name).await?))
    }

    async fn look_at_children(
        &mut self,
        figures: &[ProcessFigures],
        node: &mut Node,
    ) -> Result<(), PluginError> {
        let mut outcome = Ok(());
        let mut seen = BTreeMap::new();
        for parent in figures {
            for child in &parent.children {
                let Some(extremes) = Extremes::of(std::iter::once(child)) else { continue };
                let broken = extremes.broken(&self.settings);
                self.count_broken(broken).await;
                let mut counts = self.children.remove(&child.pid).unwrap_or_default();
                if counts.add(broken, self.settings.max_count) {
                    self.count("restarting").await;
                    let signal = json!({
                        "name": self.settings.watcher,
                        "signum": self.settings.child_signal,
                        "pid": parent.pid,
                        "childpid": child.pid,
                    });
                    outcome = outcome.and(node.call("signal", signal).await.map(drop));
                }
                seen.insert(child.pid, counts);
            }
        }
        // Those that are not seen any more begin anew.
        self.children = seen;
        outcome
    }
}

impl Work for Observer {
    fn period(&self) -> Option<f64> {
        Some(self.settings.loop_rate)
    }

    /// So that the first round has something to compare with.
    async fn begin(&mut self, node: &mut Node) -> Result<(), PluginError> {
        self.processes(node).await.map(drop)
    }

    async fn round(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let figures = self.processes(node).await;
        if figures.is_err() {
            self.count("error").await;
        }
        let figures = figures?;
        let Some(extremes) = Extremes::of(figures.iter()) else {
            self.watcher = Counts::default();
            return Ok(());
        };
        let broken = extremes.broken(&self.settings);
        self.count_broken(broken).await;
        if self.watcher.add(broken, self.settings.max_count) {
            self.count("restarting").await;
            let name = self.settings.watcher.clone();
            tracing::info!("{name}: beyond its limits for too long. Restarting.");
            self.children.clear();
            return node.order("restart", &name).await;
        }
        if self.settings.process_children {
            return self.look_at_children(&figures, node).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::plugin::{Class, Settings, settings};

    fn limits(pairs: &[(&str, &str)]) -> ResourceWatcher {
        let pairs = pairs.iter().chain(&[("watcher", "web")]);
        let options = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let Ok(Settings::ResourceWatcher(limits)) = settings(Class::ResourceWatcher, &options) else {
            panic!()
        };
        limits
    }

    fn broken(extremes: &Extremes, pairs: &[(&str, &str)]) -> Vec<&'static str> {
        let broken = extremes.broken(&limits(pairs));
        LIMITS.into_iter().zip(broken).filter_map(|(limit, broken)| broken.then_some(limit)).collect()
    }

    #[test]
    fn limits_are_of_the_most_and_the_least() {
        let extremes =
            Extremes { cpu: [95.0, 5.0], percent: [60.0, 1.0], bytes: [600.0 * 1024.0, 100.0 * 1024.0] };
        assert_eq!(broken(&extremes, &[]), ["over_cpu", "over_health"]);
        assert_eq!(broken(&extremes, &[("max_cpu", "0"), ("health_threshold", "0")]), Vec::<&str>::new());
        let absolute =
            [("max_cpu", "0"), ("health_threshold", "0"), ("max_mem", "500K"), ("min_mem", "200K")];
        assert_eq!(broken(&extremes, &absolute), ["over_memory", "under_memory"]);
        let least = [("max_cpu", "0"), ("health_threshold", "0"), ("min_cpu", "5"), ("min_mem", "2")];
        assert_eq!(broken(&extremes, &least), ["under_cpu", "under_memory"]);
        assert_eq!(Extremes::of(std::iter::empty()), None);
    }

    #[test]
    fn a_limit_must_be_broken_in_a_row() {
        let mut counts = Counts::default();
        let over = [true, false, false, false, false];
        assert!(!counts.add(over, 2));
        assert!(!counts.add(over, 2));
        assert!(!counts.add([false; 5], 2));
        assert!(!counts.add(over, 2));
        assert!(!counts.add(over, 2));
        assert!(counts.add(over, 2));
        assert_eq!(counts, Counts::default());
    }
}

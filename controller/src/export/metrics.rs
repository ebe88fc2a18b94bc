//! Which metrics there are, and their values in a reading. Pure.
//!
//! Names follow Prometheus' conventions: base units, counters end in `_total`, one meaning for each
//! name. What a node does not tell has no sample. Labels are bounded: nodes are those of the cluster,
//! watchers those that [`crate::figures::track`] follows, processes are named by their worker id, which
//! is used again, never by pid.

use super::exposition::{Exposition, Family, Kind};
use crate::figures::track::{MAX_WATCHERS, Tracker};
use crate::figures::{Node, Sum, Watcher};

const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Gauge, unit }
}

const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> Family {
    Family { name, help, kind: Kind::Counter, unit }
}

const BUILD: Family = gauge("circusman_build_info", None, "Always 1; the version of this exporter.");
const SCRAPES: Family =
    counter("circusman_readings_total", None, "How often the nodes were asked since this exporter began.");
const SCRAPE_TIME: Family = gauge(
    "circusman_reading_duration_seconds",
    Some("seconds"),
    "How long it took to ask all nodes, the slowest included.",
);
const READ_AT: Family =
    gauge("circusman_reading_timestamp_seconds", Some("seconds"), "When the nodes were asked, in Unix time.");
const UP: Family = gauge("circus_node_up", None, "1 when the node's daemon answered, 0 when it did not.");
const INFO: Family = gauge(
    "circus_node_info",
    None,
    "Always 1; what the node runs. A stock daemon does not tell its version.",
);
const NODE_TIME: Family =
    gauge("circus_node_scrape_duration_seconds", Some("seconds"), "How long the node's answer took.");
const DROPPED: Family =
    gauge("circus_node_watchers_dropped", None, "Watchers left out because the node names too many.");
const STATE: Family =
    gauge("circus_watcher_state", None, "1 for the state the watcher is in, 0 for the others.");
const PROCESSES: Family = gauge("circus_watcher_processes", None, "Processes the watcher has.");
const WANTED: Family = gauge(
    "circus_watcher_processes_wanted",
    None,
    "Processes the watcher should have when it is active. Only from circusd-rs.",
);
const CHILDREN: Family = gauge(
    "circus_watcher_children",
    None,
    "Direct children of the watcher's processes, which circus does not manage.",
);
const CPU: Family = counter(
    "circus_watcher_cpu_seconds_total",
    Some("seconds"),
    "CPU time of the watcher's processes and their children since this exporter first saw them, and all they had used \
     by then (modulo one hour, as circus tells it). Whole seconds.",
);
const CPU_RATIO: Family = gauge(
    "circus_watcher_cpu_usage_ratio",
    Some("ratio"),
    "CPU in use, 1 is one CPU, measured by the daemon since anybody asked it last; rate() of the seconds is steadier.",
);
const MEMORY: Family = gauge(
    "circus_watcher_resident_memory_bytes",
    Some("bytes"),
    "Resident memory of the watcher's processes and their children; shared pages count for each.",
);
const VIRTUAL: Family = gauge(
    "circus_watcher_virtual_memory_bytes",
    Some("bytes"),
    "Virtual memory of the watcher's processes and their children.",
);
const AGE: Family = gauge(
    "circus_watcher_oldest_process_age_seconds",
    Some("seconds"),
    "How long the oldest of the watcher's processes has lived.",
);
const RESTARTS: Family = counter(
    "circus_watcher_restarts_total",
    None,
    "Processes that took the place of one that had ended: by itself, as circusd-rs counts them since it began; for a \
     stock daemon however it ended, as seen between two readings of this exporter.",
);
const STARTS: Family = counter(
    "circus_watcher_process_starts_total",
    None,
    "Processes that were started: since the daemon began (circusd-rs), or as seen by this exporter (stock).",
);
const ENDS: Family = counter(
    "circus_watcher_process_ends_total",
    None,
    "Processes that ended by themselves, whatever their exit status. Only from circusd-rs.",
);
const PROCESS_CPU: Family = gauge(
    "circus_process_cpu_usage_ratio",
    Some("ratio"),
    "CPU in use by one process and its children, 1 is one CPU.",
);
const PROCESS_MEMORY: Family = gauge(
    "circus_process_resident_memory_bytes",
    Some("bytes"),
    "Resident memory of one process and its children.",
);
const PROCESS_AGE: Family =
    gauge("circus_process_age_seconds", Some("seconds"), "How long the process has lived.");

/// circus' words; what is none of them is `unknown`.
const STATES: [&str; 5] = ["active", "starting", "stopping", "stopped", "unknown"];

/// All nodes at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// When they were asked, in Unix seconds.
    pub at: f64,
    /// How long that took, in seconds.
    pub took: f64,
    /// How many readings there were, this one included.
    pub count: u64,
    /// CPU seconds of each node's watchers, in their order.
    pub cpu_seconds: Vec<Vec<Option<f64>>>,
}

impl Reading {
    /// The reading, with what only shows over time.
    pub fn new(mut nodes: Vec<Node>, tracker: &mut Tracker, (at, took): (f64, f64), count: u64) -> Self {
        let _only_the_counts_matter = tracker.take(&mut nodes);
        let of = |node: &Node| {
            node.watchers.iter().map(|watcher| tracker.cpu_seconds(&node.name, &watcher.name)).collect()
        };
        let cpu_seconds = nodes.iter().map(of).collect();
        Self { nodes, at, took, count, cpu_seconds }
    }
}

/// The metrics of a reading: of all nodes, or only of those `wanted`.
#[must_use]
pub fn exposition(reading: &Reading, wanted: &dyn Fn(&str) -> bool, processes: bool) -> Exposition {
    let mut all = Exposition::default();
    all.put(BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    all.put(SCRAPES, &[], reading.count as f64);
    all.put(SCRAPE_TIME, &[], reading.took);
    all.put(READ_AT, &[], reading.at);
    for (node, cpu) in reading.nodes.iter().zip(&reading.cpu_seconds).filter(|(node, _)| wanted(&node.name)) {
        of_node(&mut all, node);
        if !node.is_up() {
            continue;
        }
        for (watcher, cpu) in node.watchers.iter().zip(cpu).take(MAX_WATCHERS) {
            of_watcher(&mut all, &node.name, watcher, *cpu);
            if processes {
                of_processes(&mut all, &node.name, watcher);
            }
        }
    }
    all
}

fn of_node(all: &mut Exposition, node: &Node) {
    let labels = [("node", node.name.as_str())];
    all.put(UP, &labels, if node.is_up() { 1.0 } else { 0.0 });
    if let Some(daemon) = &node.daemon {
        let (name, version) = daemon.split_once(' ').unwrap_or((daemon, ""));
        all.put(INFO, &[("node", &node.name), ("daemon", name), ("version", version)], 1.0);
    }
    all.put(NODE_TIME, &labels, node.elapsed.as_secs_f64());
    let dropped = node.watchers.len().saturating_sub(MAX_WATCHERS);
    all.put(DROPPED, &labels, dropped as f64);
}

fn of_watcher(all: &mut Exposition, node: &str, watcher: &Watcher, cpu_seconds: Option<f64>) {
    let labels = [("node", node), ("watcher", watcher.name.as_str())];
    let state = watcher.state.as_deref().filter(|state| STATES.contains(state)).unwrap_or("unknown");
    for word in STATES {
        let [node, name] = labels;
        all.put(STATE, &[node, name, ("state", word)], if word == state { 1.0 } else { 0.0 });
    }
    let Sum { cpu, memory, virtual_memory, age, processes, children, .. } = watcher.sum();
    let numbers = [
        (PROCESSES, Some(processes as f64)),
        (CHILDREN, Some(children as f64)),
        (WANTED, watcher.wanted.map(|wanted| wanted as f64)),
        (CPU, cpu_seconds),
        // Without processes nothing is used.
        (CPU_RATIO, cpu.map(|percent| percent / 100.0).or((processes == 0).then_some(0.0))),
        (MEMORY, memory.or((processes == 0).then_some(0.0))),
        (VIRTUAL, virtual_memory.or((processes == 0).then_some(0.0))),
        (AGE, age),
        (RESTARTS, watcher.restarts.map(|count| count as f64)),
        (STARTS, watcher.starts.map(|count| count as f64)),
        (ENDS, watcher.ends.map(|count| count as f64)),
    ];
    for (family, value) in numbers {
        if let Some(value) = value {
            all.put(family, &labels, value);
        }
    }
}

fn of_processes(all: &mut Exposition, node: &str, watcher: &Watcher) {
    let mut seen = std::collections::HashSet::new();
    for process in &watcher.processes {
        // Two processes of one place: the old one is on its way out.
        let Some(wid) = process.wid.filter(|wid| seen.insert(*wid)) else { continue };
        let wid = wid.to_string();
        let labels = [("node", node), ("watcher", watcher.name.as_str()), ("wid", wid.as_str())];
        let sum = process.sum();
        let numbers = [
            (PROCESS_CPU, sum.cpu.map(|percent| percent / 100.0)),
            (PROCESS_MEMORY, sum.memory),
            (PROCESS_AGE, sum.age),
        ];
        for (family, value) in numbers {
            if let Some(value) = value {
                all.put(family, &labels, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::Format;
    use super::*;
    use crate::figures::tests::sample;

    fn reading() -> Reading {
        Reading::new(sample(), &mut Tracker::default(), (1_795_953_600.0, 0.25), 3)
    }

    #[test]
    fn a_mixed_cluster() {
        insta::assert_snapshot!(exposition(&reading(), &|_| true, true).print(Format::Text));
    }

    #[test]
    fn one_node_alone() {
        let text = exposition(&reading(), &|name| name == "node02", false).print(Format::Open);
        assert!(text.contains("circus_node_up{node=\"node02\"} 1\n") && !text.contains("node01"), "{text}");
        assert!(!text.contains("wid=") && text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn a_node_that_invents_watchers_fills_nobodys_memory() {
        let mut nodes = sample();
        let watcher = |number: usize| Watcher { name: format!("w{number}"), ..Watcher::default() };
        nodes[0].watchers = (0..MAX_WATCHERS + 7).map(watcher).collect();
        let reading = Reading::new(nodes, &mut Tracker::default(), (0.0, 0.0), 1);
        let text = exposition(&reading, &|name| name == "node01", false).print(Format::Text);
        assert!(text.contains("circus_node_watchers_dropped{node=\"node01\"} 7\n"));
        assert_eq!(text.matches("circus_watcher_processes{").count(), MAX_WATCHERS);
    }

    #[test]
    fn names_follow_the_conventions() {
        let all = exposition(&reading(), &|_| true, true).print(Format::Text);
        for line in all.lines().filter(|line| line.starts_with("# TYPE")) {
            let mut words = line.split(' ').skip(2);
            let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(name.starts_with("circus_") || name.starts_with("circusman_"), "{line}");
        }
    }
}

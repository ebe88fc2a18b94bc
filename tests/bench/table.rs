//! Collects figures and prints them side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::peer::Peer;
use crate::scenario::Scale;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    Start,
    MemoryOne,
    MemoryMany,
    Idle,
    Wakes,
    Respawn,
    RespawnWorst,
    Stop,
    Status,
    Stats,
    Feed,
    FeedRate,
    Capture,
    CaptureCpu,
}

impl Row {
    /// What it says, and the target.
    fn words(self, scale: &Scale) -> (String, &'static str) {
        let many = scale.watchers;
        match self {
            Self::Start => (format!("start {many} watchers (ms)"), "1.5x bare, dinit"),
            Self::MemoryOne => ("resident memory, 1 watcher (MiB)".to_owned(), "6"),
            Self::MemoryMany => (format!("resident memory, {many} watchers (MiB)"), "12"),
            Self::Idle => (format!("CPU when idle, {many} watchers (%)"), "0.0"),
            Self::Wakes => (format!("wake-ups in {} s idle", scale.idle.as_secs()), "do not scale"),
            Self::Respawn => (format!("kill -9 to successor, median of {} (ms)", scale.kills), "3"),
            Self::RespawnWorst => ("kill -9 to successor, worst (ms)".to_owned(), "10"),
            Self::Stop => (format!("stop {many} watchers (ms)"), "dinit"),
            Self::Status => ("`status` of one, round trip (us)".to_owned(), "1.3x echo (bare)"),
            Self::Stats => (format!("`stats` of all, {} processes (ms)", scale.asked), "20"),
            Self::Feed => (format!("stats feed at 1 Hz, {many} processes (% CPU)"), "2"),
            Self::FeedRate => ("stats feed, messages (per s)".to_owned(), "-"),
            Self::Capture => (format!("output to a file, {} MiB (MiB/s)", scale.flood >> 20), "1024"),
            Self::CaptureCpu => ("output to a file, the daemon's CPU (s)".to_owned(), "0.5"),
        }
    }
}

/// All figures so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    figures: BTreeMap<Row, BTreeMap<Peer, Vec<f64>>>,
    missing: BTreeSet<Peer>,
    failures: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, row: Row, peer: Peer, figure: f64) {
        self.figures.entry(row).or_default().entry(peer).or_default().push(figure);
    }

    pub(crate) fn missing(&mut self, peer: Peer) {
        self.missing.insert(peer);
    }

    pub(crate) fn failed(&mut self, scenario: &str, peer: Peer, error: &io::Error) {
        self.failures.push(format!("{scenario} of {}: {error}", peer.name()));
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    /// As a table in Markdown, so that it can be pasted.
    pub(crate) fn print(&self, scale: &Scale) {
        println!(
            "| figure | target | {} |",
            Peer::ALL.map(|peer| format!("{} | ratio", peer.name())).join(" | ")
        );
        println!("|---|---|{}", "---:|---:|".repeat(Peer::ALL.len()));
        for (row, figures) in &self.figures {
            let (what, target) = row.words(scale);
            let ours = figures.get(&Peer::Ours).map(|values| median(values));
            let cells = Peer::ALL.map(|peer| cells(figures.get(&peer), ours));
            println!("| {what} | {target} | {} |", cells.join(" | "));
        }
        println!("\nMedians of {} rounds in alternation; ratio: that column over circusd-rs.", scale.rounds);
        for peer in &self.missing {
            println!("Missing here, not measured: {}.", peer.name());
        }
        for failure in &self.failures {
            println!("FAILED: {failure}");
        }
    }
}

fn cells(values: Option<&Vec<f64>>, ours: Option<f64>) -> String {
    let Some(values) = values else { return "- | ".to_owned() };
    let value = median(values);
    let ratio = ours.map_or(f64::NAN, |ours| value / ours);
    let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { String::new() };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} | {ratio}")
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

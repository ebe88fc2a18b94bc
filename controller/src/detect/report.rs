//! What was found, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::compare::{Change, Gone};
use super::{Detected, Found, Kind};
use crate::inventory::fold::{counted, fold};
use crate::render::table::{Table, plain};
use crate::render::{json as documents, units};

/// A detection and what it is compared with.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was found.
    pub detected: &'a Detected,
    /// What is different at each found address.
    pub changes: &'a [Change],
    /// Where there was a daemon last time.
    pub gone: &'a [Gone],
    /// How many addresses were asked.
    pub asked: usize,
    /// How long it took.
    pub elapsed: Duration,
}

impl Detected {
    /// The daemons, each once, as a SPEC that names each of them singly: one that is down tomorrow is
    /// then missed, and not taken for an address that was never used.
    #[must_use]
    pub fn spec(&self) -> String {
        let once = self.found.iter().filter(|found| found.same_as.is_none());
        once.map(|found| found.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// The daemons as a table, then everything that is not one.
#[must_use]
pub fn text(report: &Report<'_>) -> String {
    let Report { detected, changes, gone, .. } = report;
    let mut out = String::new();
    if !detected.found.is_empty() {
        let mut table = Table::default();
        let header = ["ADDRESS", "DAEMON", "HOST", "PID", "STARTED", "WATCHERS", ""];
        table.row(header.map(str::to_owned).to_vec());
        table.right(3);
        table.right(5);
        for (found, change) in detected.found.iter().zip(*changes) {
            table.row(row(found, change));
        }
        out.push_str(&table.print());
    }
    for gone in *gone {
        out.push_str(&plain(&format!("gone: {}, which was {}", gone.name, gone.was)));
        out.push('\n');
    }
    for (reason, names) in reasons(&detected.others) {
        out.push_str(&plain(&format!("no circusd: {}: {reason}", counted(&names))));
        out.push('\n');
    }
    for aside in &detected.aside {
        let line = format!(
            "not asked: {} answered the group with {}: {}",
            aside.sender.ip(),
            aside.endpoint,
            aside.reason
        );
        out.push_str(&plain(&line));
        out.push('\n');
    }
    if let Some(error) = &detected.group_error {
        out.push_str(&format!("the multicast group could not be asked: {error}\n"));
    }
    out.push_str(&summary(report));
    out
}

fn row(found: &Found, change: &Change) -> Vec<String> {
    let dash = || "-".to_owned();
    let host = match &found.daemon.kind {
        Kind::Native { node, .. } if !node.is_empty() => node.clone(),
        // No command of stock's tells it.
        Kind::Native { .. } | Kind::Stock => dash(),
    };
    let mut notes = Vec::new();
    notes.extend(found.same_as.as_ref().map(|first| format!("same daemon as {first}")));
    notes.extend(match change {
        Change::New => Some("new".to_owned()),
        Change::Same => None,
        Change::Restarted => Some("restarted".to_owned()),
        Change::Became { was } => Some(format!("was {was}")),
    });
    notes.extend((!found.in_range).then(|| "only in the group".to_owned()));
    vec![
        found.name.clone(),
        found.daemon.kind.describe(),
        host,
        found.daemon.pid.map_or_else(dash, |pid| pid.to_string()),
        found.daemon.started.map_or_else(dash, units::date),
        found.daemon.watchers.map_or_else(dash, |count| count.to_string()),
        notes.join(", "),
    ]
}

/// Equal reasons together, in the order of their first names.
fn reasons(others: &[(String, String)]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, reason) in others {
        match groups.iter_mut().find(|(known, _)| known == reason) {
            Some((_, names)) => names.push(name),
            None => groups.push((reason, vec![name])),
        }
    }
    groups
}

fn summary(report: &Report<'_>) -> String {
    let found = &report.detected.found;
    let once = || found.iter().filter(|found| found.same_as.is_none());
    let native = once().filter(|found| found.daemon.kind != Kind::Stock).count();
    let stock = once().count() - native;
    let doubles = match found.len() - once().count() {
        0 => String::new(),
        count => format!(", {count} found twice"),
    };
    let addresses = if report.asked == 1 { "address" } else { "addresses" };
    let elapsed = units::seconds(report.elapsed);
    format!(
        "{native} circusd-rs and {stock} circusd at {} {addresses}{doubles}, in {elapsed}\n",
        report.asked
    )
}

/// One document.
#[must_use]
pub fn document(report: &Report<'_>, exit: u8) -> Value {
    let Report { detected, changes, gone, asked, elapsed } = report;
    let found: Vec<Value> =
        detected.found.iter().zip(*changes).map(|(found, change)| one(found, change)).collect();
    let gone: Vec<Value> = gone.iter().map(|gone| json!({"node": gone.name, "was": gone.was})).collect();
    let others = detected.others.iter().map(|(name, reason)| json!({"node": name, "reason": reason}));
    let aside = detected.aside.iter().map(|aside| {
        json!({"sender": aside.sender.ip().to_string(), "endpoint": aside.endpoint, "reason": aside.reason})
    });
    json!({
        "schema": documents::SCHEMA, "operation": "detect", "exit": exit,
        "elapsed": (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
        "asked": asked, "spec": detected.spec(), "found": found, "gone": gone,
        "others": others.collect::<Vec<_>>(), "nobody": fold(&detected.nobody),
        "aside": aside.collect::<Vec<_>>(), "group_error": detected.group_error,
    })
}

fn one(found: &Found, change: &Change) -> Value {
    let (version, host) = match &found.daemon.kind {
        Kind::Stock => (None, None),
        Kind::Native { version, node } => (Some(version), Some(node)),
    };
    let (change, was) = match change {
        Change::New => ("new", None),
        Change::Same => ("same", None),
        Change::Restarted => ("restarted", None),
        Change::Became { was } => ("became", Some(was)),
    };
    let by: Vec<&str> = [(found.in_range, "range"), (found.in_group, "group")]
        .iter()
        .filter(|(by, _)| *by)
        .map(|(_, word)| *word)
        .collect();
    json!({
        "node": found.name, "endpoint": found.endpoint.to_string(),
        "kind": if version.is_some() { "native" } else { "stock" }, "version": version, "host": host,
        "pid": found.daemon.pid, "started": found.daemon.started, "watchers": found.daemon.watchers,
        "pubsub_endpoint": found.daemon.pubsub, "by": by, "same_as": found.same_as,
        "change": change, "was": was,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Aside, Daemon};
    use super::*;

    fn found(name: &str, kind: Kind, same_as: Option<&str>) -> Found {
        let daemon = Daemon {
            kind,
            pid: Some(12),
            started: Some(1_795_344_258.8),
            pubsub: Some("tcp://x:1".to_owned()),
            watchers: Some(3),
        };
        let endpoint = format!("tcp://{name}:5555").parse().expect("an endpoint");
        let same_as = same_as.map(str::to_owned);
        Found { name: name.to_owned(), endpoint, daemon, in_range: true, in_group: true, same_as }
    }

    fn detected() -> Detected {
        let native = Kind::Native { version: "0.1.0".to_owned(), node: "alpha\u{7}".to_owned() };
        let mut only_group = found("10.0.0.9", Kind::Stock, None);
        only_group.in_range = false;
        let bare = Daemon { kind: Kind::Stock, pid: None, started: None, pubsub: None, watchers: None };
        let told_little = Found { daemon: bare, in_group: false, ..found("10.0.0.4", Kind::Stock, None) };
        Detected {
            found: vec![
                found("10.0.0.1", native.clone(), None),
                found("10.0.0.2", native, Some("10.0.0.1")),
                found("10.0.0.3", Kind::Stock, None),
                told_little,
                only_group,
            ],
            others: vec![
                ("10.0.0.7".to_owned(), "x".to_owned()),
                ("10.0.0.5".to_owned(), "y".to_owned()),
                ("10.0.0.8".to_owned(), "x".to_owned()),
            ],
            nobody: (20..=30).map(|n| format!("10.0.0.{n}")).collect(),
            aside: vec![Aside {
                sender: "10.0.0.6:1".parse().expect("ok"),
                endpoint: "tcp://127.0.0.1:5555".to_owned(),
                reason: "its endpoint is a name; name it in the range",
            }],
            group_error: Some("network is unreachable".to_owned()),
        }
    }

    fn report<'a>(detected: &'a Detected, changes: &'a [Change], gone: &'a [Gone]) -> Report<'a> {
        Report { detected, changes, gone, asked: 30, elapsed: Duration::from_millis(2_040) }
    }

    fn changes() -> [Change; 5] {
        [
            Change::New,
            Change::Same,
            Change::Restarted,
            Change::Became { was: "circusd-rs 0.0.9".to_owned() },
            Change::Same,
        ]
    }

    #[test]
    fn is_a_table_and_a_document() {
        let detected = detected();
        let gone = [Gone { name: "10.0.0.30".to_owned(), was: "circusd".to_owned() }];
        let changes = changes();
        let report = report(&detected, &changes, &gone);
        insta::assert_snapshot!("text", text(&report));
        insta::assert_snapshot!("document", format!("{:#}", document(&report, 0)));
        assert_eq!(detected.spec(), "10.0.0.1,10.0.0.3,10.0.0.4,10.0.0.9");
    }

    #[test]
    fn nothing_is_told_too() {
        let detected = Detected::default();
        assert_eq!(
            text(&report(&detected, &[], &[])),
            "0 circusd-rs and 0 circusd at 30 addresses, in 2.0 s\n"
        );
        assert_eq!(document(&report(&detected, &[], &[]), 3)["spec"], "");
    }
}

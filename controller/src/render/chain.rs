//! Chains of conditions as text: a tick for each link that holds, and the first broken one with its
//! remedy. Nodes with the same trouble share it.

use serde_json::Value;

use super::{grouped, set, table};
use crate::outcome::{NodeOutcome, Outcome};

const WHOLE: char = '\u{2713}';
const BROKEN: char = '\u{2717}';
/// The longest name of a link.
const WIDTH: usize = 8;

/// Whole chains first; each distinct trouble once.
pub(super) fn chains(outcome: &Outcome) -> String {
    let mut groups = grouped(outcome.nodes.iter(), key);
    groups.sort_by_key(|(key, nodes)| (!key.is_empty(), nodes.first().map(|node| node.state)));
    let mut text = String::new();
    for (_, nodes) in groups {
        let Some(first) = nodes.first() else { continue };
        text.push_str(&format!("{}\n", set(&nodes)));
        text.push_str(&if nodes.len() == 1 { alone(first) } else { together(first) });
        let story = first.data.get("story").and_then(Value::as_str).unwrap_or_default();
        for line in table::plain_lines(story).lines() {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

/// What makes two nodes' troubles the same; empty without any.
fn key(node: &NodeOutcome) -> String {
    let same = |text: &str| text.replace(node.node.as_str(), "NODE");
    match links(node).find(|link| word(link, "state") == "broken") {
        Some(link) => {
            format!("{} {} {}", word(link, "link"), same(word(link, "text")), same(word(link, "remedy")))
        }
        None if links(node).next().is_none() => same(&format!("{:?} {}", node.state, node.reason)),
        None => String::new(),
    }
}

fn links(node: &NodeOutcome) -> impl Iterator<Item = &Value> {
    node.data.get("links").and_then(Value::as_array).into_iter().flatten()
}

fn word<'a>(link: &'a Value, key: &str) -> &'a str {
    link.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Every link of the one node.
fn alone(node: &NodeOutcome) -> String {
    let mut text = String::new();
    if links(node).next().is_none() {
        return format!("  {}: {}\n", super::word(node.state), table::plain(&node.reason));
    }
    for link in links(node) {
        let mark = match word(link, "state") {
            "whole" => WHOLE,
            "odd" => '!',
            _ => BROKEN,
        };
        text.push_str(&line(mark, link));
    }
    text
}

/// What several nodes have in common: the names of the links that hold, and the broken one.
fn together(node: &NodeOutcome) -> String {
    let broken = links(node).position(|link| word(link, "state") == "broken");
    let mut held: Vec<&str> =
        links(node).take(broken.unwrap_or(usize::MAX)).map(|link| word(link, "link")).collect();
    held.dedup();
    let mut text = String::new();
    if !held.is_empty() {
        text.push_str(&format!("  {WHOLE} {}\n", held.join(", ")));
    }
    text.extend(broken.and_then(|at| links(node).nth(at)).map(|link| line(BROKEN, link)));
    // The name of one of them would say too little.
    if text.is_empty() { alone(node) } else { text.replace(node.node.as_str(), "NODE") }
}

fn line(mark: char, link: &Value) -> String {
    let (name, said, remedy) = (word(link, "link"), word(link, "text"), word(link, "remedy"));
    let mut text = format!("  {mark} {name:WIDTH$}  {}\n", table::plain(said));
    if !remedy.is_empty() {
        text.push_str(&format!("    {:WIDTH$}  -> {}\n", "", table::plain(remedy)));
    }
    text
}

//! `why NODE` and `why NAME`: the chain from a node's name to a watcher's readiness, and its first
//! broken link.
//!
//! ```text
//!  which nodes ─► reach (name, route, port, protocol) ─► those reached are asked ─► one row each
//! ```
//!
//! The word is a node if the cluster has one of that name, else a watcher; with `--on` it is always a
//! watcher.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::exit::Exit;
use super::output::{data, talk};
use super::perform::print;
use super::progress::{self, Purpose};
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, WhyArgs};
use crate::cluster::chain::{Link, broken};
use crate::inventory::NodeSpec;
use crate::inventory::select::{SelectError, select};
use crate::outcome::{NodeOutcome, NodeState, Operation, Outcome};
use crate::reach::reach;
use crate::render;

/// Each step towards a node gets at most so much.
const STEP_TIME: Duration = Duration::from_secs(3);
/// So many nodes are walked to at the same time.
const WALKERS: usize = 64;

/// What the word names.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    Nodes(Vec<String>),
    Watcher(String, Vec<String>),
}

pub(super) async fn why(session: &mut Session, global: &Global, args: &WhyArgs) -> Result<Exit, Stop> {
    let begun = Instant::now();
    let (name, targets) = match meant(session, global, &args.name)? {
        Meant::Nodes(nodes) => (None, nodes),
        Meant::Watcher(name, targets) => (Some(name), targets),
    };
    let operation = Operation::Why { name: name.clone() };
    let mut options = Session::run_options(global, READ_TIMEOUT, &targets);
    let wanted = |node: &&NodeSpec| targets.contains(&node.name);
    let nodes: Vec<NodeSpec> = session.cluster.inventory.nodes.iter().filter(wanted).cloned().collect();
    let step = options.timeout.min(STEP_TIME);
    let walked = tokio::select! {
        walked = walk(&nodes, step, options.parallel.min(WALKERS)) => walked,
        _ = tokio::signal::ctrl_c() => return Err(Stop::new(Exit::Interrupted, "interrupted")),
    };
    let whole = |node: &&NodeSpec| walked.get(&node.name).is_some_and(|links| broken(links).is_none());
    let reached: Vec<String> = nodes.iter().filter(whole).map(|node| node.name.clone()).collect();
    let mut asked = Outcome::default();
    if !reached.is_empty() {
        options.targets = Some(reached);
        asked = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Look).await;
    }
    let mut asked: HashMap<String, NodeOutcome> =
        asked.nodes.into_iter().map(|row| (row.node.clone(), row)).collect();
    let rows = nodes.iter().map(|node| {
        let links = walked.get(&node.name).cloned().unwrap_or_default();
        match asked.remove(&node.name) {
            Some(row) => answered(row, &links),
            None => unreached(node, &links, name.is_none(), begun.elapsed()),
        }
    });
    let outcome = Outcome { nodes: rows.collect(), elapsed: begun.elapsed() };
    if !global.quiet && name.is_none() {
        note_watchers(&args.name, &outcome);
    }
    if global.ndjson {
        for row in &outcome.nodes {
            data(&format!("{}\n", render::json::line(&operation, row)));
        }
    }
    let exit = Exit::of(&outcome);
    print(session, global, &operation, &outcome, exit);
    Ok(exit)
}

fn meant(session: &Session, global: &Global, word: &str) -> Result<Meant, Stop> {
    if global.on.is_some() || global.choice.chosen.is_some() {
        return Ok(Meant::Watcher(word.to_owned(), session.targets(global)?));
    }
    match select(&session.cluster.inventory, session.cluster.port, word, &mut session.store.system()) {
        Ok(nodes) => Ok(Meant::Nodes(nodes)),
        Err(SelectError::Unknown { .. }) if is_address(word) => {
            let remedy = format!("`circusman --cluster {word} why {word}` asks it all the same");
            Err(Stop::new(Exit::NoTarget, format!("why: {word} is no node of the cluster; {remedy}")))
        }
        Err(SelectError::Spec(_) | SelectError::Unknown { .. } | SelectError::Empty { .. }) => {
            Ok(Meant::Watcher(word.to_owned(), session.targets(global)?))
        }
    }
}

/// No watcher is called so.
fn is_address(word: &str) -> bool {
    word.contains("://")
        || word.parse::<std::net::IpAddr>().is_ok()
        || word.parse::<std::net::SocketAddr>().is_ok()
}

/// The first links of every node's chain, so many nodes at a time.
async fn walk(nodes: &[NodeSpec], step: Duration, walkers: usize) -> HashMap<String, Vec<Link>> {
    let mut waiting = nodes.iter();
    let mut walking = JoinSet::new();
    let mut done = HashMap::new();
    loop {
        while walking.len() < walkers.max(1)
            && let Some(node) = waiting.next()
        {
            let (name, endpoint) = (node.name.clone(), node.endpoint.clone());
            walking.spawn(async move { (name, reach(&endpoint, step).await) });
        }
        match walking.join_next().await {
            Some(Ok((name, links))) => drop(done.insert(name, links)),
            // A walk that panicked leaves no links, and its node is told as not walked to.
            Some(Err(_)) => {}
            None => return done,
        }
    }
}

fn unreached(node: &NodeSpec, links: &[Link], asked_for: bool, elapsed: Duration) -> NodeOutcome {
    let (state, reason) = match broken(links) {
        None => (NodeState::Failed, "the walk to it ended early".to_owned()),
        Some(link) => {
            let state = match link.name {
                "name" | "route" | "port" if node.from_range && !asked_for => NodeState::Absent,
                "name" | "route" | "port" => NodeState::Unreachable,
                "daemon" => NodeState::TimedOut,
                _ => NodeState::Failed,
            };
            (state, format!("{}: {}", link.name, link.text))
        }
    };
    let data = json!({ "links": in_json(links) });
    NodeOutcome { node: node.name.clone(), state, reason, daemon: None, data, elapsed }
}

/// Puts the way to the node in front of what it told, or of why it told nothing.
fn answered(mut row: NodeOutcome, way: &[Link]) -> NodeOutcome {
    let mut links = in_json(way);
    match row.data.get_mut("links").map(Value::take) {
        Some(Value::Array(told)) => links.extend(told),
        Some(_) | None => links.extend(mute(&row).map(|link| link.to_json())),
    }
    match &mut row.data {
        Value::Object(map) => drop(map.insert("links".to_owned(), links.into())),
        other => *other = json!({ "links": links }),
    }
    row
}

/// What is broken on a node that gave no chain.
fn mute(row: &NodeOutcome) -> Option<Link> {
    let reason = row.reason.as_str();
    let hangs = "it hangs: see its log, and what it does (`py-spy dump`, `gdb -p`); restart it if need be";
    Some(match row.state {
        NodeState::Done | NodeState::Unchanged | NodeState::Skipped | NodeState::Cancelled => return None,
        NodeState::TimedOut if reason.starts_with("busy") => Link::broken(
            "lock",
            reason,
            "a command there does not end (a hook, a process that does not stop); see circusd's log",
        ),
        NodeState::TimedOut => Link::broken("daemon", reason, hangs),
        NodeState::Failed if reason.starts_with("not a circusd") => {
            Link::broken("protocol", reason, "another ZeroMQ program listens there; correct the port")
        }
        NodeState::Failed | NodeState::Refused => Link::broken("daemon", reason, "see the daemon's log"),
        NodeState::Absent | NodeState::Unreachable => {
            Link::broken("daemon", reason, "it went away meanwhile; ask again")
        }
    })
}

fn in_json(links: &[Link]) -> Vec<Value> {
    links.iter().map(Link::to_json).collect()
}

/// A word that names both means the node.
fn note_watchers(word: &str, outcome: &Outcome) {
    let called = format!("{word}: ");
    let texts = |row: &NodeOutcome| {
        let links = row.data.get("links").and_then(Value::as_array);
        links
            .into_iter()
            .flatten()
            .filter_map(|link| link.get("text")?.as_str())
            .any(|text| text.starts_with(&called))
    };
    if outcome.nodes.iter().any(texts) {
        talk(&format!(
            "note: {word} is a node here, and a watcher too; `why {word} --on NODES` asks about that"
        ));
    }
}

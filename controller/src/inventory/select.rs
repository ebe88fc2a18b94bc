//! `--on NODES`: some of the cluster's nodes, in the grammar of the SPEC plus `*` and `?`.
//!
//! A range, network, group or what a command prints means those of it that the cluster has; anything
//! named singly must be in the cluster, so that a typing error never makes the set silently smaller. An
//! empty set is an error, never "all".

use std::collections::{HashMap, HashSet};

use circus_protocol::endpoint::{Endpoint, HostPort};

use super::spec::{self, Member, Op, Place, Sources, SpecError};
use super::{Inventory, NodeSpec};

/// Why a text selects nothing usable.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The text is no SPEC: a usage error.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Names nodes that the cluster has not.
    #[error("not in the cluster {spec}: {nodes}; `circusman cluster` lists its nodes")]
    Unknown {
        /// Folded.
        nodes: String,
        /// The cluster.
        spec: String,
    },
    /// Nothing is left.
    #[error("{text:?} selects no node of the cluster {spec}; `circusman cluster` lists its nodes")]
    Empty {
        /// What was given.
        text: String,
        /// The cluster.
        spec: String,
    },
}

/// The names of the selected nodes, in the inventory's order.
///
/// # Errors
/// [`SelectError`].
pub fn select(
    inventory: &Inventory,
    default_port: u16,
    text: &str,
    sources: &mut dyn Sources,
) -> Result<Vec<String>, SelectError> {
    let index = Index::of(inventory);
    let everything = || inventory.nodes.iter().map(|node| node.name.as_str()).collect();
    let pieces = spec::pieces(text)?;
    let begins_with_all = pieces.iter().find(|piece| piece.op != Op::Drop).is_none_or(|p| p.op != Op::Add);
    let mut chosen: HashSet<&str> = if begins_with_all { everything() } else { HashSet::new() };
    let mut dropped: HashSet<&str> = HashSet::new();
    let mut unknown: Vec<String> = Vec::new();
    for piece in &pieces {
        let found: HashSet<&str> = if is_glob(piece.body) {
            inventory
                .nodes
                .iter()
                .filter(|node| glob(piece.body, &node.name))
                .map(|n| n.name.as_str())
                .collect()
        } else {
            let terms = spec::terms(piece.body, default_port, sources);
            let terms = terms.map_err(|error| error.within(text, piece.body))?;
            let members = terms.iter().flat_map(|term| &term.members);
            members.flat_map(|member| index.find(member, default_port, &mut unknown)).collect()
        };
        match piece.op {
            Op::Add => chosen.extend(found),
            Op::Drop => dropped.extend(found),
            Op::Without => chosen.retain(|name| !found.contains(name)),
            Op::Only => chosen.retain(|name| found.contains(name)),
        }
    }
    let spec = || inventory.spec.clone();
    if !unknown.is_empty() {
        return Err(SelectError::Unknown { nodes: super::fold::fold(&unknown), spec: spec() });
    }
    let names = inventory.nodes.iter().map(|node| node.name.as_str());
    let names: Vec<String> =
        names.filter(|name| chosen.contains(name) && !dropped.contains(name)).map(str::to_owned).collect();
    if names.is_empty() || pieces.is_empty() {
        return Err(SelectError::Empty { text: text.to_owned(), spec: spec() });
    }
    Ok(names)
}

/// The cluster's nodes by what a SPEC calls them.
struct Index<'a>(HashMap<String, Vec<&'a NodeSpec>>);

impl<'a> Index<'a> {
    fn of(inventory: &'a Inventory) -> Self {
        let mut index: HashMap<String, Vec<&NodeSpec>> = HashMap::new();
        for node in &inventory.nodes {
            index.entry(key(node)).or_default().push(node);
        }
        Self(index)
    }

    /// The nodes of that place; who was named singly and is nowhere is told.
    fn find(&self, member: &Member, default_port: u16, unknown: &mut Vec<String>) -> Vec<&'a str> {
        let (key, port) = match &member.place {
            Place::Tcp { host, port } => (host.to_ascii_lowercase(), *port),
            Place::Ipc(path) => (path.clone(), None),
        };
        let there = self.0.get(&key).into_iter().flatten();
        let found: Vec<&str> = there
            .filter(|node| port.is_none_or(|port| port_of(node) == Some(port)))
            .map(|node| node.name.as_str())
            .collect();
        if found.is_empty() && !member.loose {
            let name = member.place.name(default_port);
            unknown.push(match (&member.place, port) {
                // As it was written, although it is the default one.
                (Place::Tcp { host, .. }, Some(port)) if name == *host => format!("{host}:{port}"),
                _ => name,
            });
        }
        found
    }
}

fn key(node: &NodeSpec) -> String {
    match &node.endpoint {
        Endpoint::Ipc(path) => path.clone(),
        Endpoint::Tcp(_) | Endpoint::Udp(_) => node.address.to_ascii_lowercase(),
    }
}

fn port_of(node: &NodeSpec) -> Option<u16> {
    match &node.endpoint {
        Endpoint::Tcp(HostPort { port, .. }) | Endpoint::Udp(HostPort { port, .. }) => Some(*port),
        Endpoint::Ipc(_) => None,
    }
}

/// Whether a text is a pattern over names rather than a name.
#[must_use]
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Shell pattern with `*` and `?` only, over the whole name, in time proportional to both lengths.
#[must_use]
pub fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(letter), _) if *letter == '?' || Some(letter) == name.get(n) => {
                p += 1;
                n += 1;
            }
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern.iter().skip(p).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::spec::parse;

    fn on(text: &str) -> String {
        let cluster = "node[01-04].lab,10.0.0.1-3,db:6000";
        let mut sources = spec::fake::Fake::default();
        let inventory = parse(cluster, 5555, &mut sources).expect("parses").inventory;
        match select(&inventory, 5555, text, &mut sources) {
            Ok(names) => super::super::fold::fold(&names),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn selects() {
        assert_eq!(on("node02.lab"), "node02.lab");
        assert_eq!(on("node[02-03].lab,db"), "node[02-03].lab,db:6000");
        assert_eq!(on("db:6000"), "db:6000");
        assert!(on("nope*").contains("selects no node"));
        assert_eq!(on("node*,-node03.lab"), "node[01-02,04].lab");
        assert_eq!(on("*0?.lab"), "node[01-04].lab");
        assert_eq!(on("10.0.0.0/24"), "10.0.0.[1-3]");
        assert_eq!(on("10.0.0.2-99"), "10.0.0.[2-3]");
        assert_eq!(on("-node*,-db"), "10.0.0.[1-3]");
        assert_eq!(on("!node*,!db"), "10.0.0.[1-3]");
        assert_eq!(on("node* & *3.lab"), "node03.lab");
        assert_eq!(on("node[01-03].lab!node02.lab,db"), "node[01,03].lab,db:6000");
        assert_eq!(on("&node*,-node01.lab"), "node[02-04].lab");
        assert_eq!(on("@some"), "node[01-02].lab");
    }

    #[test]
    fn an_empty_set_is_never_all() {
        let cluster = "node[01-04].lab,10.0.0.1-3,db:6000";
        assert!(on("").starts_with("\"\" selects no node"));
        assert!(on("-*").starts_with("\"-*\" selects no node"));
        assert!(on("10.9.0.0/24").contains("selects no node"));
        assert_eq!(
            on("node[04-06].lab,x"),
            format!("not in the cluster {cluster}: node[05-06].lab,x; `circusman cluster` lists its nodes")
        );
        assert!(on("db:7000").contains(": db:7000;"));
        assert_eq!(
            on("db,node[1"),
            "the bracket is not closed; write for example node[01-16] or exec:\"list-nodes --up\"\n  | db,node[1\n  |        ^^"
        );
        assert!(on("db,a..b").ends_with("  | db,a..b\n  |    ^^^^"));
    }
}

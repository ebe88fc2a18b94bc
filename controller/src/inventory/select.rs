//! `--on NODES`: some of the cluster's nodes, in the grammar of the SPEC plus `*` and `?`.
//!
//! A range or network means those of it that the cluster has; anything named singly must be in the
//! cluster, so that a typing error never makes the set silently smaller. An empty set is an error,
//! never "all".

use std::collections::HashSet;

use super::spec::{ReadFile, SpecError, Term, terms};
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
pub fn select(inventory: &Inventory, text: &str, read: ReadFile<'_>) -> Result<Vec<String>, SelectError> {
    let mut chosen: HashSet<&str> = HashSet::new();
    let mut dropped: HashSet<&str> = HashSet::new();
    let mut unknown: Vec<String> = Vec::new();
    let mut only_drops = true;
    for part in pieces(text) {
        let (exclude, body) = part.strip_prefix('-').map_or((false, part), |body| (true, body));
        only_drops &= exclude;
        let found: Vec<&NodeSpec> = if body.contains(['*', '?']) {
            inventory.nodes.iter().filter(|node| glob(body, &node.name)).collect()
        } else {
            let mut found = Vec::new();
            for term in terms(body, read)? {
                collect(inventory, &term, &mut found, &mut unknown);
            }
            found
        };
        let set = if exclude { &mut dropped } else { &mut chosen };
        set.extend(found.into_iter().map(|node| node.name.as_str()));
    }
    let spec = || inventory.spec.clone();
    if !unknown.is_empty() {
        return Err(SelectError::Unknown { nodes: super::fold::fold(&unknown), spec: spec() });
    }
    let wanted = |node: &&NodeSpec| {
        let name = node.name.as_str();
        !dropped.contains(name) && (only_drops || chosen.contains(name))
    };
    let names: Vec<String> = inventory.nodes.iter().filter(wanted).map(|node| node.name.clone()).collect();
    if names.is_empty() || text.trim().is_empty() {
        return Err(SelectError::Empty { text: text.to_owned(), spec: spec() });
    }
    Ok(names)
}

/// Commas and blanks separate outside of brackets; unbalanced brackets are left for the SPEC to refuse.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    let cut = move |letter: char| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth <= 0 && (letter == ',' || letter.is_whitespace())
    };
    text.split(cut).filter(|part| !part.is_empty())
}

fn collect<'a>(
    inventory: &'a Inventory,
    term: &Term,
    found: &mut Vec<&'a NodeSpec>,
    unknown: &mut Vec<String>,
) {
    let dash_or_network = term.range && !term.text.contains('[');
    for place in &term.places {
        let before = found.len();
        found.extend(inventory.nodes.iter().filter(|node| {
            let named = format!("{}:{}", place.host, place.port.unwrap_or_default());
            let same_host = node.address.eq_ignore_ascii_case(&place.host);
            let endpoint = format!("tcp://{named}").parse().ok();
            same_host && (place.port.is_none() || endpoint.as_ref() == Some(&node.endpoint))
        }));
        if found.len() == before && !dash_or_network {
            unknown
                .push(place.port.map_or_else(|| place.host.clone(), |port| format!("{}:{port}", place.host)));
        }
    }
}

/// Shell pattern with `*` and `?` only, over the whole name, in time proportional to both lengths.
fn glob(pattern: &str, name: &str) -> bool {
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
        let mut read = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let inventory = parse(cluster, 5555, &mut read).expect("parses").inventory;
        match select(&inventory, text, &mut read) {
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
        assert!(on("node[1").contains("bracket"));
    }
}

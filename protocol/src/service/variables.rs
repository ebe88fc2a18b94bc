//! The names that templates and paths can use, and their values on one node: built-in ones, and lists
//! that `[list:*]` sections derive from the member addresses.

use std::collections::BTreeMap;

use super::Membership;
use super::template::{self, TemplateProblem};
use crate::ini::Place;

/// The built-in names. `initial_hosts` and `seeds` can be redefined by a `[list:*]` section, and so
/// can `cluster` and `peers`; the others say who the node is.
pub const BUILT_IN: [&str; 15] = [
    "address",
    "cluster",
    "cluster_size",
    "fresh",
    "hostname",
    "identifier",
    "index",
    "initial_hosts",
    "is_master",
    "joining",
    "majority",
    "master_address",
    "peers",
    "seeds",
    "slave_only",
];

/// Those built-in names that a list or a peer may give another value.
const LISTS: [&str; 4] = ["cluster", "initial_hosts", "peers", "seeds"];

/// Neo4j's cluster port in the 2015 set-up.
const INITIAL_HOSTS_PORT: &str = ":5001";

/// Every how many members one is a seed in the 2015 set-up.
pub(super) const SEEDS_EVERY: usize = 5;

/// A `[list:NAME]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListVariable {
    /// Its name in templates.
    pub name: String,
    /// One member: `{address}`, `{identifier}` (from 1), `{index}` (from 0).
    pub item: String,
    /// What stands between two.
    pub separator: String,
    /// Which members.
    pub select: Select,
    /// Leave this node out while it joins a cluster that holds data.
    pub exclude_self_when_joining: bool,
    /// Where its section stands.
    pub place: Place,
}

/// Which members a list is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// The first.
    First,
    /// All but this node.
    Peers,
    /// The first, and every so many after it.
    Every(usize),
}

/// Names and values, for one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    values: BTreeMap<String, String>,
}

/// Whether a name says who the node is, so that nobody may redefine it.
pub(super) fn is_identity(name: &str) -> bool {
    BUILT_IN.contains(&name) && !LISTS.contains(&name)
}

impl Variables {
    /// For templates: everything, the peer's own variables included.
    #[must_use]
    pub fn for_templates(membership: &Membership, lists: &[ListVariable]) -> Self {
        Self::for_paths(membership, lists).overlaid(membership)
    }

    /// With the peer's own variables, for templates.
    #[must_use]
    pub(super) fn overlaid(mut self, membership: &Membership) -> Self {
        for (name, value) in &membership.variables {
            self.values.insert(name.clone(), value.clone());
        }
        self
    }

    /// For paths and commands: built-in ones and the node's own lists. What a remote peer made up is
    /// not among them, so it cannot choose a path.
    #[must_use]
    pub fn for_paths(membership: &Membership, lists: &[ListVariable]) -> Self {
        let mut values = built_in(membership);
        for list in lists {
            values.insert(list.name.clone(), list.value(membership));
        }
        Self { values }
    }

    /// Adds or replaces one.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Renders a text.
    ///
    /// # Errors
    /// Invalid placeholders and unknown names, all of them.
    pub fn substitute(&self, text: &str) -> Result<String, Vec<TemplateProblem>> {
        template::substitute(text, |name| self.get(name))
    }
}

impl ListVariable {
    /// The list's text on one node.
    #[must_use]
    pub fn value(&self, membership: &Membership) -> String {
        let items: Vec<String> = membership
            .cluster
            .iter()
            .enumerate()
            .filter(|(index, address)| self.selects(*index, address, membership))
            .map(|(index, address)| expand_item(&self.item, index, address))
            .collect();
        items.join(&self.separator)
    }

    fn selects(&self, index: usize, address: &str, membership: &Membership) -> bool {
        let own = address == membership.address;
        if own && membership.joining && self.exclude_self_when_joining {
            return false;
        }
        match self.select {
            Select::All => true,
            Select::First => index == 0,
            Select::Peers => !own,
            Select::Every(step) => index.is_multiple_of(step.max(1)),
        }
    }
}

/// The names an item may use.
const ITEM_NAMES: [&str; 3] = ["address", "identifier", "index"];

/// Checks an item's text; `{` and `}` stand for nothing else than a name.
pub(super) fn check_item(item: &str) -> Result<(), String> {
    let mut rest = item;
    while let Some(at) = rest.find(['{', '}']) {
        let inside =
            rest.get(at..).and_then(|tail| tail.strip_prefix('{')).and_then(|tail| tail.split_once('}'));
        match inside {
            Some((name, after)) if ITEM_NAMES.contains(&name) => rest = after,
            Some((name, _)) => {
                return Err(format!(
                    "{{{name}}} is not known; an item has {{address}}, {{identifier}}, {{index}}"
                ));
            }
            None => {
                return Err(
                    "a brace without its partner; an item has {address}, {identifier}, {index}".into()
                );
            }
        }
    }
    Ok(())
}

fn expand_item(item: &str, index: usize, address: &str) -> String {
    // One pass, so that an address is never expanded again.
    let mut out = String::with_capacity(item.len() + address.len());
    let mut rest = item;
    while let Some((before, name, after)) = next_name(rest) {
        out.push_str(before);
        match name {
            "address" => out.push_str(address),
            "identifier" => out.push_str(&(index + 1).to_string()),
            _ => out.push_str(&index.to_string()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let (before, tail) = text.split_once('{')?;
    let (name, after) = tail.split_once('}')?;
    Some((before, name, after))
}

/// The rules of the 2015 set-up; truth is spelled as Python spells it.
fn built_in(membership: &Membership) -> BTreeMap<String, String> {
    let cluster = &membership.cluster;
    let truth = |value: bool| if value { "True" } else { "False" }.to_owned();
    let join = |items: Vec<String>| items.join(",");
    let first = cluster.first().unwrap_or(&membership.address);
    let master = if membership.is_master { &membership.address } else { first };
    let peers = cluster.iter().filter(|address| **address != membership.address);
    let values = [
        ("address", membership.address.clone()),
        ("cluster", cluster.join(",")),
        ("cluster_size", cluster.len().to_string()),
        ("fresh", truth(membership.fresh)),
        ("hostname", membership.hostname.clone()),
        ("identifier", membership.identifier.to_string()),
        ("index", membership.identifier.saturating_sub(1).to_string()),
        (
            "initial_hosts",
            join(cluster.iter().map(|address| format!("{address}{INITIAL_HOSTS_PORT}")).collect()),
        ),
        ("is_master", truth(membership.is_master)),
        ("joining", truth(membership.joining)),
        ("majority", (cluster.len() / 2 + 1).to_string()),
        ("master_address", master.clone()),
        ("peers", join(peers.cloned().collect())),
        ("seeds", join(cluster.iter().step_by(SEEDS_EVERY).cloned().collect())),
        ("slave_only", truth(!membership.is_master)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

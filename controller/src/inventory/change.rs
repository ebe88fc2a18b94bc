//! What has become of a cluster's nodes when its SPEC, or what the SPEC names, has changed.

use core::fmt;
use std::collections::HashMap;

use super::fold::counted;
use super::{Inventory, NodeSpec};

/// The difference between two inventories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// New nodes, by name.
    pub added: Vec<String>,
    /// Nodes that are no longer part of it.
    pub removed: Vec<String>,
    /// Nodes that are in both, but have another identifier now.
    pub renumbered: Vec<String>,
    /// How many nodes are in both.
    pub kept: usize,
}

impl Change {
    /// From one to the other.
    #[must_use]
    pub fn between(before: &Inventory, after: &Inventory) -> Self {
        let index = |inventory: &'_ Inventory| -> HashMap<(String, String), usize> {
            inventory.nodes.iter().enumerate().map(|(at, node)| (key(node), at)).collect()
        };
        let (old, new) = (index(before), index(after));
        let mut change = Self::default();
        for (at, node) in after.nodes.iter().enumerate() {
            match old.get(&key(node)) {
                None => change.added.push(node.name.clone()),
                Some(was) => {
                    change.kept += 1;
                    if *was != at {
                        change.renumbered.push(node.name.clone());
                    }
                }
            }
        }
        let gone = before.nodes.iter().filter(|node| !new.contains_key(&key(node)));
        change.removed = gone.map(|node| node.name.clone()).collect();
        change
    }
}

fn key(node: &NodeSpec) -> (String, String) {
    (node.name.clone(), node.endpoint.to_string())
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part =
            |what: &str, names: &[String]| (!names.is_empty()).then(|| format!("{what} {}", counted(names)));
        let renumbered = part("other identifiers, so `configure` before the next start:", &self.renumbered);
        let parts = [part("added", &self.added), part("removed", &self.removed), renumbered];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { out.write_str("nothing has changed") } else { out.write_str(&parts.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::spec::{fake::Fake, parse};

    fn change(before: &str, after: &str) -> String {
        let of = |text| parse(text, 5555, &mut Fake::default()).expect("parses").inventory;
        Change::between(&of(before), &of(after)).to_string()
    }

    #[test]
    fn is_told() {
        assert_eq!(change("a,b", "a b"), "nothing has changed");
        assert_eq!(change("a,b", "a,b,n[1-3]"), "added n[1-3] (3)");
        assert_eq!(change("a,b:1,c", "a,b:2,c"), "added b:2 (1); removed b:1 (1)");
        assert_eq!(
            change("a,b,c", "b,c"),
            "removed a (1); other identifiers, so `configure` before the next start: b,c (2)"
        );
    }
}

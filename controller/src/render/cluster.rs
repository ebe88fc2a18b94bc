//! A cluster's nodes, as text and for programs.

use serde_json::{Value, json};

use super::json::SCHEMA;
use super::table::Table;
use crate::inventory::Inventory;
use crate::inventory::fold::counted;

/// What it is called, where that says more than its SPEC, and how many nodes it has.
pub(crate) fn text(name: &str, inventory: &Inventory, port: u16) -> String {
    let names: Vec<&str> = inventory.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut table = Table::default();
    table.row(vec!["cluster".to_owned(), name.to_owned()]);
    if name != inventory.spec {
        table.row(vec!["spec".to_owned(), inventory.spec.clone()]);
    }
    table.row(vec!["nodes".to_owned(), counted(&names)]);
    table.row(vec!["port".to_owned(), port.to_string()]);
    table.print()
}

/// The same with each node's place.
pub(crate) fn json(name: &str, inventory: &Inventory, port: u16) -> Value {
    let nodes = inventory.nodes.iter().zip(1_u32..).map(|(node, identifier)| {
        json!({
            "node": node.name, "identifier": identifier, "address": node.address,
            "endpoint": node.endpoint.to_string(),
        })
    });
    json!({
        "schema": SCHEMA, "operation": "cluster", "cluster": name, "spec": inventory.spec, "port": port,
        "nodes": nodes.collect::<Value>(),
    })
}

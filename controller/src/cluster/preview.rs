//! What a start, stop, restart or reload would do to a node, from the states it told.

use serde_json::{Map, Value};

use crate::cluster::names::is_helper;
use crate::cluster::rolling::Deed;
use crate::outcome::{NodeOutcome, NodeState};

/// The row of a `status` as the row of a dry run; one without states stays as it is. `named`: the
/// watchers were named, so that circus' own helpers count, too.
#[must_use]
pub fn preview(deed: Deed, row: NodeOutcome, named: bool) -> NodeOutcome {
    let Some(states) = row.data.get("watchers").and_then(Value::as_object) else { return row };
    let meant: Map<String, Value> = states
        .iter()
        .filter(|(name, _)| named || !is_helper(name))
        .map(|(n, s)| (n.clone(), s.clone()))
        .collect();
    let those = |wanted: fn(&str) -> bool| -> String {
        let names = meant.iter().filter(|(_, state)| wanted(state.as_str().unwrap_or_default()));
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",")
    };
    let (stopped, running) = (those(|state| state == "stopped"), those(|state| state != "stopped"));
    let (would, idle) = match deed {
        Deed::Start => (vec![("start", stopped)], "already active"),
        Deed::Stop => (vec![("stop", running)], "already stopped"),
        Deed::Reload => (vec![("reload", running)], "not running"),
        Deed::Restart | Deed::Configure | Deed::Reconfigure => {
            (vec![("stop", running), ("start", those(|_| true))], "nothing to do")
        }
    };
    let would: Vec<String> = would
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(verb, names)| format!("{verb} {names}"))
        .collect();
    let (state, reason) = if would.is_empty() {
        let idle = if meant.is_empty() { "no watchers" } else { idle };
        (NodeState::Unchanged, idle.to_owned())
    } else {
        (NodeState::Done, format!("would {}", would.join(", then ")))
    };
    let data = Value::from_iter([("watchers", meant)]);
    NodeOutcome { state, reason, data, ..row }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_would_be_done() {
        let row = |data: Value| NodeOutcome {
            node: "a".to_owned(),
            state: NodeState::Done,
            reason: String::new(),
            daemon: None,
            data,
            elapsed: Duration::ZERO,
        };
        let states = json!({"watchers": {"db": "stopped", "web": "active", "circusd-stats": "active"}});
        let told = |deed, states: &Value| {
            let row = preview(deed, row(states.clone()), false);
            (row.state, row.reason)
        };
        assert_eq!(told(Deed::Start, &states), (NodeState::Done, "would start db".to_owned()));
        assert_eq!(told(Deed::Stop, &states), (NodeState::Done, "would stop web".to_owned()));
        assert_eq!(told(Deed::Reload, &states), (NodeState::Done, "would reload web".to_owned()));
        assert_eq!(
            told(Deed::Restart, &states),
            (NodeState::Done, "would stop web, then start db,web".to_owned())
        );
        let idle = json!({"watchers": {"db": "active"}});
        assert_eq!(told(Deed::Start, &idle), (NodeState::Unchanged, "already active".to_owned()));
        assert_eq!(
            told(Deed::Stop, &json!({"watchers": {}})),
            (NodeState::Unchanged, "no watchers".to_owned())
        );
        let unreachable = NodeOutcome { state: NodeState::Unreachable, ..row(Value::Null) };
        assert_eq!(preview(Deed::Stop, unreachable.clone(), false), unreachable);
    }
}

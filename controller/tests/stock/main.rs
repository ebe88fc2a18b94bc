//! The fleet against the stock daemon: what it does must be what it says.

#[expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "starts the daemon under test; whatever goes wrong is a failed test"
)]
mod support;

use std::time::Duration;

use controller::fleet::Fleet;
use controller::outcome::{NodeState, Operation};
use serde_json::json;
use support::{Stock, options, run};

const TWO: &str = "
[watcher:Web]
cmd = sleep 1000
numprocesses = 2

[watcher:Off]
cmd = sleep 1001
autostart = False
";

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

#[tokio::test]
async fn status_start_and_stop_of_every_watcher() {
    let stock = Stock::start(TWO).await;
    let mut fleet = Fleet::new(stock.inventory(), None);
    let row = run(&mut fleet, Operation::Status { names: vec![] }).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "stopped", "Web": "active"}}));
    assert_eq!((row.state, row.daemon.as_deref()), (NodeState::Done, Some("circusd")));

    let row = run(&mut fleet, Operation::Start { names: vec![] }).await;
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Done, ""));
    assert_eq!(row.data, json!({"watchers": {"Off": "active", "Web": "active"}}));

    let row = run(&mut fleet, Operation::Stop { names: vec![] }).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "stopped", "Web": "stopped"}}));

    let row = run(&mut fleet, Operation::Stop { names: names(&["web"]) }).await;
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Unchanged, "already stopped"));

    let row = run(&mut fleet, Operation::Restart { names: names(&["off"]) }).await;
    assert_eq!(row.data, json!({"watchers": {"Off": "active"}}));
}

#[tokio::test]
async fn nodes_that_are_not_there_have_their_reasons() {
    let stock = Stock::start(TWO).await;
    let mut inventory = stock.inventory();
    let nobody = support::free_port();
    inventory.nodes.push(support::node("nobody", "127.0.0.1", nobody));
    inventory.nodes.push(support::node("noname", "no-such-host.invalid", nobody));
    // A listener that never says anything is no ZeroMQ endpoint.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    inventory.nodes.push(support::node("mute", "127.0.0.1", mute.local_addr().unwrap().port()));
    let mut fleet = Fleet::new(inventory, None);
    let outcome =
        fleet.run(Operation::Status { names: vec![] }, &options(Duration::from_secs(2)), &mut |_| {}).await;
    let states: Vec<NodeState> = outcome.nodes.iter().map(|n| n.state).collect();
    use NodeState::{Done, Unreachable};
    assert_eq!(states, [Done, Unreachable, Unreachable, Unreachable]);
    assert!(outcome.nodes[0].elapsed < Duration::from_secs(1), "{:?}", outcome.nodes[0]);
    let reasons: Vec<&str> = outcome.nodes.iter().map(|n| n.reason.as_str()).collect();
    assert!(reasons[1].starts_with("connection refused"), "{reasons:?}");
    assert!(reasons[2].contains("no-such-host.invalid"), "{reasons:?}");
    assert_eq!(reasons[3], "no connection within 2 s");
}

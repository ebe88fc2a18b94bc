//! Links and the fleet over loopback, against a ROUTER that is told what to do.

use std::time::Duration;

use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use circus_protocol::transport::{Limits, Router};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::inventory::{Inventory, NodeSpec};
use crate::outcome::{NodeState, Operation, Outcome, RunOptions};

/// What the scripted node does with a request; `None` is silence.
type Script = fn(&str, usize) -> Option<Value>;

fn loopback(port: u16) -> Endpoint {
    Endpoint::Tcp(HostPort { host: Host::Ip([127, 0, 0, 1].into()), port })
}

/// A node on a port of its own, answering until the test ends.
async fn node(name: &str, script: Script) -> NodeSpec {
    let mut router = Router::bind(&[loopback(0)], Limits::default()).await.unwrap();
    let endpoint = router.endpoints()[0].clone();
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let incoming = router.recv().await;
            assert_eq!(incoming.frames.len(), 1, "circusd takes exactly one frame");
            let request: Value = serde_json::from_slice(&incoming.frames[0]).unwrap();
            count += 1;
            let Some(mut answer) = script(request["command"].as_str().unwrap(), count) else { continue };
            if answer == json!("kick") {
                router.kick(incoming.peer);
                continue;
            }
            answer["id"] = request["id"].clone();
            let payload =
                if answer.get("garbage").is_some() { b"hello?".to_vec() } else { answer.to_string().into() };
            router.send(incoming.peer, vec![payload.into()]).unwrap();
        }
    });
    NodeSpec { name: name.to_owned(), address: "127.0.0.1".to_owned(), endpoint, from_range: false }
}

fn good(command: &str) -> Value {
    match command {
        "hello" => json!({"status": "ok", "version": "9.9", "extensions": []}),
        _ => json!({"status": "ok", "time": 1.5, "statuses": {"web": "active"}}),
    }
}

async fn status(fleet: &mut Fleet) -> Outcome {
    let options = RunOptions { timeout: Duration::from_secs(3), parallel: 8, targets: None };
    fleet.run(Operation::Status { names: vec![] }, &options, &mut |_| {}).await
}

#[tokio::test]
async fn each_node_has_its_own_fate() {
    let nodes = vec![
        node("good", |command, _| Some(good(command))).await,
        node("silent", |_, _| None).await,
        node("garbage", |_, _| Some(json!({"garbage": true}))).await,
        node("kicks", |_, _| Some(json!("kick"))).await,
    ];
    let mut fleet = Fleet::new(Inventory { nodes, spec: String::new() }, None);
    let outcome = status(&mut fleet).await;
    let told: Vec<(NodeState, &str)> = outcome.nodes.iter().map(|n| (n.state, n.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (NodeState::Done, ""),
            (NodeState::TimedOut, "no answer within 3 s"),
            (NodeState::Failed, "not a circusd: its answer is none of circus'"),
            (NodeState::Unreachable, "connection lost: the peer closed the connection"),
        ]
    );
    assert!(outcome.nodes[0].elapsed < outcome.nodes[1].elapsed, "{outcome:?}");
    assert_eq!(outcome.nodes[0].daemon.as_deref(), Some("circusd-rs 9.9"));
}

#[tokio::test]
async fn a_connection_that_broke_between_two_operations_costs_nothing() {
    // The third request, which is the second operation's first, finds the connection cut.
    let script: Script = |command, count| if count == 3 { Some(json!("kick")) } else { Some(good(command)) };
    let mut fleet =
        Fleet::new(Inventory { nodes: vec![node("one", script).await], spec: String::new() }, None);
    for _ in 0..3 {
        let outcome = status(&mut fleet).await;
        assert_eq!((outcome.nodes[0].state, outcome.nodes[0].reason.as_str()), (NodeState::Done, ""));
    }
}

#[tokio::test]
async fn a_new_inventory_keeps_the_nodes_it_shares_with_the_old() {
    let first = node("first", |command, count| {
        // Asked again who it is, it would say something else.
        (command != "hello" || count == 1).then(|| good(command))
    })
    .await;
    let second = node("second", |command, _| Some(good(command))).await;
    let mut fleet = Fleet::new(Inventory { nodes: vec![first.clone()], spec: String::new() }, None);
    status(&mut fleet).await;
    fleet.replace_inventory(Inventory { nodes: vec![second, first], spec: String::new() });
    let outcome = status(&mut fleet).await;
    let states: Vec<NodeState> = outcome.nodes.iter().map(|n| n.state).collect();
    assert_eq!(states, [NodeState::Done, NodeState::Done], "{outcome:?}");
    assert_eq!(outcome.nodes[0].node, "second");
    fleet.close().await;
}

//! What simulated nodes answer, and how they are found.

use serde_json::{Value, json};

use super::Chaos;
use super::base;
use super::chaos::{Accident, Fate};
use super::node::Node;

fn ask(node: &mut Node, command: &str, properties: Value) -> Value {
    let request = json!({"id": "7", "command": command, "properties": properties}).to_string();
    serde_json::from_slice(&node.answer(request.as_bytes(), 1_100.0).unwrap()).unwrap()
}

fn node(stock: bool) -> Node {
    Node::new("sim0".to_owned(), "tcp://127.77.0.1:5556".to_owned(), 3, stock, 1_000.0)
}

#[test]
fn a_node_obeys_and_publishes() {
    let mut node = node(false);
    let status = ask(&mut node, "status", json!({}));
    assert_eq!(status["statuses"], json!({"web": "active", "db": "active", "cache": "active"}));
    assert_eq!((&status["id"], &status["status"]), (&json!("7"), &json!("ok")));
    ask(&mut node, "stop", json!({"name": "(?:web|db)$", "match": "regex"}));
    let topics: Vec<String> = node.take_events().iter().map(|event| event.topic()).collect();
    let of = |name: &str| ["kill", "reap", "stop"].map(|action| format!("watcher.{name}.{action}"));
    assert_eq!(topics, [of("web"), of("db")].concat());
    assert_eq!(ask(&mut node, "status", json!({"name": "WEB"}))["status"], "stopped");
    assert_eq!(ask(&mut node, "numprocesses", json!({}))["numprocesses"], 1);
    assert_eq!(ask(&mut node, "start", json!({"name": "x"}))["errno"], 3);
    assert_eq!(
        ask(&mut node, "stats", json!({}))["infos"]["cache"].as_object().map(|pids| pids.len()),
        Some(1)
    );
    assert_eq!(
        ask(&mut node, "logs", json!({"name": "web", "lines": 2}))["text"]
            .as_str()
            .map(|t| t.lines().count()),
        Some(2)
    );
    assert_eq!(ask(&mut node, "ready", json!({"name": "web"}))["watchers"]["web"]["state"], "down");
}

#[test]
fn a_stock_node_knows_no_extension() {
    assert_eq!(ask(&mut node(true), "hello", json!({}))["errno"], 2);
    assert_eq!(ask(&mut node(false), "hello", json!({}))["name"], "circusd-rs");
    assert_eq!(node(true).answer(b"garbage", 0.0), None);
    let cast = json!({"id": "7", "command": "status", "msg_type": "cast"}).to_string();
    assert_eq!(node(true).answer(cast.as_bytes(), 0.0), None);
}

#[test]
fn the_base_is_a_loopback_network() {
    assert_eq!(base("127.77").unwrap().to_string(), "127.77.0.0");
    assert_eq!(base("127.3.4.5").unwrap().to_string(), "127.3.4.5");
    for wrong in ["127", "10.0", "127.255.255.0", "127.x", "127.1.2.3.4", ""] {
        assert!(base(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_same_seed_brings_the_same_accidents() {
    let draw = |seed| {
        let mut fate = Fate::new(seed, Chaos::Mild);
        (0..50).flat_map(|_| fate.second(1_000, 10)).collect::<Vec<_>>()
    };
    let accidents = draw(3);
    assert_eq!(accidents, draw(3));
    assert_ne!(accidents, draw(4));
    assert_eq!(accidents.len(), 500);
    assert!(accidents.iter().all(|(at, _)| *at < 1_000));
    let crashes = accidents.iter().filter(|(_, what)| matches!(what, Accident::Crash { .. })).count();
    assert!((230..370).contains(&crashes), "{crashes}");
    assert!(Fate::new(1, Chaos::None).second(10_000, 10).is_empty());
}

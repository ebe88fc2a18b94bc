//! Answers as nodes give them, and what is read in them.

use serde_json::json;

use super::*;

pub(crate) fn row(node: &str, state: NodeState, data: Value) -> NodeOutcome {
    let answered = matches!(state, NodeState::Done | NodeState::Unchanged);
    NodeOutcome {
        node: node.to_owned(),
        state,
        reason: if answered { String::new() } else { "connection refused".to_owned() },
        daemon: answered.then(|| "circusd-rs 0.1.0".to_owned()),
        data,
        elapsed: Duration::from_millis(20),
    }
}

/// A process of so many percent and MiB, started at `created`, with a child of 10 % and 1 GiB.
pub(crate) fn process(cpu: f64, mib: u32, created: f64, child: bool) -> Value {
    let child = child.then(|| {
        json!({"mem_info1": "1.00G", "mem_info2": "2.00G", "cpu": 10.0, "ctime": "1:00.0", "pid": 7,
            "create_time": created, "age": 50.0, "cmdline": "java", "children": []})
    });
    json!({"mem_info1": format!("{mib}.00M"), "mem_info2": "2.53G", "cpu": cpu, "mem": 0.007, "ctime": "0:07.20",
        "pid": 5, "username": "root", "nice": 0, "create_time": created, "age": 100.5, "cmdline": "sh",
        "children": child.into_iter().collect::<Vec<_>>(), "started": created, "wid": 1})
}

pub(crate) fn sample() -> Vec<Node> {
    let rs = json!({"watchers": {
        "db": {"state": "active", "numprocesses": 1, "starts": 4, "restarts": 3, "ends": 3,
               "processes": {"5": process(2.5, 512, 900.0, true)}},
        "web": {"state": "active", "numprocesses": 2, "starts": 2, "restarts": 0, "ends": 0,
               "processes": {"11": process(80.0, 20, 800.0, false), "12": "No such process (stopped?)"}}}});
    let stock = json!({"watchers": {"web": {"state": "active", "processes": {"21": process(1.0, 30, 950.0, false)}},
        "idle": {"state": "stopped", "processes": {}}}});
    let mut rows = vec![
        row("node01", NodeState::Done, rs),
        row("node02", NodeState::Done, stock),
        row("node03", NodeState::Unreachable, Value::Null),
    ];
    rows[1].daemon = Some("circusd".to_owned());
    nodes(&Outcome { nodes: rows, elapsed: Duration::ZERO })
}

#[test]
fn circus_texts_become_numbers() {
    assert_eq!(
        (size("1.50M"), size("512B"), size("2.00G")),
        (Some(1_572_864.0), Some(512.0), Some(2_147_483_648.0))
    );
    assert_eq!(
        (size("N/A"), size(""), size("é"), size("-1.0K"), size("infM")),
        (None, None, None, None, None)
    );
    assert_eq!((clock("0:07.20"), clock("59:59.1"), clock("3:05")), (Some(7.0), Some(3599.0), Some(185.0)));
    assert_eq!(
        (clock("N/A"), clock("60:00.0"), clock("0:61.0"), clock(":"), clock("-1:00.0")),
        (None, None, None, None, None)
    );
}

#[test]
fn sums_include_children_and_know_what_was_not_told() {
    let nodes = sample();
    let mib = 1024.0 * 1024.0;
    let db = nodes[0].watchers[0].sum();
    assert_eq!((db.cpu, db.memory), (Some(12.5), Some((512.0 + 1024.0) * mib)));
    assert_eq!((db.age, db.processes, db.children, db.restarts), (Some(100.5), 1, 1, Some(3)));
    let stock = nodes[1].sum();
    assert_eq!((stock.processes, stock.restarts), (1, None));
    let idle = nodes[1].watchers[1].sum();
    assert_eq!(idle, Sum::default(), "nothing is not zero percent");
    let all = total(&nodes);
    assert_eq!((all.processes, all.children, all.restarts, all.cpu), (4, 1, Some(3), Some(93.5)));
}

proptest::proptest! {
    #[test]
    fn never_panics(text in ".*", number in proptest::num::f64::ANY) {
        let _read = (size(&text), clock(&text));
        let odd = json!({"watchers": {&text: {"state": number, "starts": number, "processes": {&text: {"cpu": number,
            "mem_info1": &text, "ctime": &text, "children": [text, {"pid": number}]}}}}});
        let node = Node::read(&row("n", NodeState::Done, odd));
        assert_eq!(node.watchers.len(), 1);
        let _sum = node.sum();
    }
}

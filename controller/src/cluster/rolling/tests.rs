//! Which batches there are, and what becomes of them.

use circus_protocol::service::{Dependency, Select, Sequence, StartOrder};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::outcome::{NodeOutcome, NodeState, Outcome};

const SEEDS: StartOrder = StartOrder { first: First::Seeds, sequential: false, stagger: 0.0 };

fn place(index: usize, services: &[Sequence]) -> Place {
    Place {
        node: format!("n{}", index + 1),
        index,
        watchers: services.iter().map(|service| service.service.clone()).collect(),
        services: services.to_vec(),
    }
}

/// Cassandra, whose seeds are every third node, and Titan, which wants it everywhere.
fn places(count: usize) -> Vec<Place> {
    let after =
        Dependency { service: "cassandra".to_owned(), level: circus_protocol::service::Level::Joined };
    let service = |name: &str, order, cluster_after| Sequence {
        service: name.to_owned(),
        order,
        seeds: Select::Every(3),
        after: Vec::new(),
        cluster_after,
        cluster_resets: Vec::new(),
    };
    let services = [
        service("titan", StartOrder { first: First::Nobody, ..SEEDS }, vec![after]),
        service("cassandra", SEEDS, Vec::new()),
    ];
    (0..count).map(|index| place(index, &services)).collect()
}

fn sizes(sizes: &[Share]) -> Manner {
    Manner { sizes: sizes.to_vec(), ..Manner::default() }
}

fn told(batches: &[Batch]) -> Vec<String> {
    let told = |part: &Move| match part {
        Move::Do(act, group) => {
            format!("{} {} {}", act.word(), group.names.join("+"), group.nodes.join("+"))
        }
        Move::Pause(time) => format!("pause {time:?}"),
    };
    batches.iter().map(|batch| batch.moves.iter().map(told).collect::<Vec<_>>().join("; ")).collect()
}

fn planned(count: usize, wanted: &[&str], deed: Deed, manner: &Manner) -> Vec<String> {
    let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    told(&plan(&places(count), &wanted, deed, manner).expect("a plan"))
}

#[test]
fn a_restart_takes_all_services_of_a_node_and_seeds_first() {
    assert_eq!(
        planned(4, &[], Deed::Restart, &sizes(&[Share::Nodes(1), Share::Nodes(2)])),
        [
            "stop titan n1; stop cassandra n1; start cassandra n1; wait for cassandra n1; start titan n1; wait for titan n1",
            "stop titan n4+n2; stop cassandra n4+n2; start cassandra n4; wait for cassandra n4; \
             start cassandra n2; wait for cassandra n2; start titan n4+n2; wait for titan n4+n2",
            "stop titan n3; stop cassandra n3; start cassandra n3; wait for cassandra n3; start titan n3; wait for titan n3",
        ]
    );
}

#[test]
fn starts_and_stops_go_service_by_service() {
    assert_eq!(
        planned(3, &[], Deed::Start, &sizes(&[Share::Nodes(2)])),
        [
            "start cassandra n1+n2; wait for cassandra n1+n2",
            "start cassandra n3; wait for cassandra n3",
            "start titan n1+n2; wait for titan n1+n2",
            "start titan n3; wait for titan n3",
        ]
    );
    assert_eq!(
        planned(3, &[], Deed::Stop, &sizes(&[Share::Nodes(2)])),
        ["stop titan n3+n2", "stop titan n1", "stop cassandra n3+n2", "stop cassandra n1"]
    );
}

#[test]
fn files_are_written_between_stop_and_start() {
    let manner = Manner::default();
    assert_eq!(planned(1, &["titan"], Deed::Configure, &manner), ["configure titan n1"]);
    assert_eq!(
        planned(1, &["titan"], Deed::Reconfigure, &manner),
        ["stop titan n1; configure titan n1; start titan n1; wait for titan n1"]
    );
    assert_eq!(
        planned(1, &[], Deed::Reload, &manner),
        ["reload cassandra n1; wait for cassandra n1; reload titan n1; wait for titan n1"]
    );
}

#[test]
fn batches_grow_as_they_are_told_to() {
    let counts = |total: usize, sizes: &[Share]| -> Vec<usize> {
        split(&vec![(); total], sizes).iter().map(Vec::len).collect()
    };
    assert_eq!(counts(10, &[Share::Nodes(1), Share::Nodes(3)]), [1, 3, 3, 3]);
    assert_eq!(counts(40, &[Share::Nodes(1), Share::Nodes(5), Share::Percent(25)]), [1, 5, 10, 10, 10, 4]);
    assert_eq!(counts(5, &[Share::Percent(10)]), [1, 1, 1, 1, 1]);
    assert_eq!(counts(3, &[Share::Nodes(usize::MAX)]), [3]);
    assert_eq!((counts(0, &[]), counts(2, &[])), (vec![], vec![1, 1]));
}

fn row(node: &str, state: NodeState, reason: &str) -> NodeOutcome {
    let data = json!({"watchers": {"cassandra": "active"}});
    let (node, reason) = (node.to_owned(), reason.to_owned());
    NodeOutcome { node, state, reason, daemon: None, data, elapsed: Duration::from_secs(1) }
}

fn roll(count: usize, deed: Deed, manner: Manner, early: Vec<NodeOutcome>) -> Roll {
    let targets = (1..=count).map(|n| format!("n{n}")).collect();
    let mut places = places(count);
    places.retain(|place| !early.iter().any(|row| row.node == place.node));
    Roll::new(plan(&places, &[], deed, &manner).expect("a plan"), manner, targets, early)
}

/// Carries it out; `state` says what becomes of a node in a move, `at` may interrupt.
fn play(
    roll: &mut Roll,
    mut state: impl FnMut(Act, &str) -> NodeState,
    mut at: impl FnMut(&mut Roll, usize),
) -> Vec<String> {
    let mut log = Vec::new();
    for step in 0.. {
        assert!(step < 10_000, "does not end");
        match roll.advance() {
            Next::Perform { act, group, .. } => {
                log.push(format!("{} {} {}", act.word(), group.names.join("+"), group.nodes.join("+")));
                let nodes = group.nodes.iter().map(|node| row(node, state(act, node), "so"));
                let outcome = Outcome { nodes: nodes.collect(), elapsed: Duration::ZERO };
                roll.took(act, &group.names, outcome);
            }
            Next::Pause(time) => log.push(format!("{time:?}")),
            Next::Finished => break,
        }
        at(roll, step);
    }
    log
}

fn states(mut roll: Roll) -> Vec<(NodeState, String)> {
    roll.rows().0.into_iter().map(|row| (row.state, row.reason)).collect()
}

#[test]
fn the_first_batch_that_fails_is_the_last() {
    let mut one = roll(4, Deed::Restart, sizes(&[Share::Nodes(2)]), Vec::new());
    let fails = |act, node: &str| {
        if act == Act::Wait && node == "n1" { NodeState::TimedOut } else { NodeState::Done }
    };
    let log = play(&mut one, fails, |_, _| {});
    // n1 takes no further part; n4, of the same batch, is finished.
    assert_eq!(log.last().expect("a move"), "wait for titan n4");
    let why = "stopped at batch 1: n1 timed out".to_owned();
    assert_eq!(
        states(one),
        [
            (
                NodeState::TimedOut,
                "not ready: so; before that: stop titan, stop cassandra, start cassandra".to_owned()
            ),
            (NodeState::Skipped, why.clone()),
            (NodeState::Skipped, why),
            (NodeState::Done, String::new()),
        ]
    );
}

#[test]
fn some_failures_may_be_borne() {
    let manner = |max_fail| Manner { max_fail, ..Manner::default() };
    let fails =
        |_, node: &str| if node == "n1" || node == "n4" { NodeState::Failed } else { NodeState::Done };
    for (limit, done) in [(Some(Share::Nodes(1)), 0), (Some(Share::Percent(50)), 2), (None, 2)] {
        let mut roll = roll(4, Deed::Stop, manner(limit), Vec::new());
        // n4 is a seed as n1 is: they stop last, so turn it round for this.
        play(&mut roll, |act, node| if done == 0 { NodeState::Failed } else { fails(act, node) }, |_, _| {});
        let states = states(roll);
        assert_eq!(states.iter().filter(|(state, _)| *state == NodeState::Done).count(), done, "{limit:?}");
    }
}

#[test]
fn a_node_that_is_missing_at_the_beginning_counts() {
    let early = vec![row("n2", NodeState::Unreachable, "no route")];
    let mut strict = roll(3, Deed::Reload, Manner::default(), early.clone());
    assert_eq!(strict.advance(), Next::Finished);
    let rows = states(strict);
    assert_eq!(rows[0], (NodeState::Skipped, "not begun: n2 is unreachable".to_owned()));
    assert_eq!(rows[1], (NodeState::Unreachable, "no route".to_owned()));
    let absent = vec![row("n2", NodeState::Absent, "no route")];
    for (early, max_fail) in [(early, None), (absent, Some(Share::Nodes(0)))] {
        let mut roll = roll(3, Deed::Reload, Manner { max_fail, ..Manner::default() }, early);
        play(&mut roll, |_, _| NodeState::Done, |_, _| {});
        assert_eq!(states(roll)[2].0, NodeState::Done);
    }
}

#[test]
fn an_interrupt_finishes_the_batch_and_a_second_one_does_not() {
    let manner = Manner { pause: Duration::from_secs(3), ..Manner::default() };
    let mut gentle = roll(2, Deed::Restart, manner.clone(), Vec::new());
    let log = play(
        &mut gentle,
        |_, _| NodeState::Done,
        |roll, step| {
            if step == 0 {
                roll.interrupt()
            }
        },
    );
    assert_eq!(log.len(), 6, "{log:?}");
    assert_eq!(states(gentle)[1], (NodeState::Cancelled, "interrupted".to_owned()));
    let mut hard = roll(2, Deed::Restart, manner.clone(), Vec::new());
    let log = play(
        &mut hard,
        |_, _| NodeState::Done,
        |roll, step| {
            if step == 1 {
                roll.leave()
            }
        },
    );
    assert_eq!(log.len(), 2, "{log:?}");
    let left = "interrupted; done so far: stop titan, stop cassandra".to_owned();
    assert_eq!(states(hard)[0], (NodeState::Cancelled, left));
    let mut whole = roll(2, Deed::Restart, manner, Vec::new());
    let log = play(&mut whole, |_, _| NodeState::Done, |_, _| {});
    assert_eq!((log.len(), log[6].as_str()), (13, "3s"));
    let rows = whole.rows().0;
    assert_eq!(rows[0].data, json!({"watchers": {"cassandra": "active"}, "ready": {"cassandra": "active"}}));
    assert_eq!(rows[0].elapsed, Duration::from_secs(6));
}

fn deed() -> impl Strategy<Value = Deed> {
    let all = [Deed::Start, Deed::Stop, Deed::Restart, Deed::Reload, Deed::Configure, Deed::Reconfigure];
    (0..all.len()).prop_map(move |at| all[at])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_target_has_one_row_and_no_more_than_a_batch_is_down(
        count in 1..12_usize,
        deed in deed(),
        size in 1..5_usize,
        max_fail in prop::option::of(0..4_usize),
        early in prop::collection::vec((0..12_usize, 0..9_usize), 0..3),
        luck in prop::collection::vec(0..40_usize, 1..60),
        pulls in prop::collection::vec(0..40_usize, 0..3),
    ) {
        let limit = max_fail.map(Share::Nodes);
        let manner = Manner { max_fail: limit, ..sizes(&[Share::Nodes(size)]) };
        let mut early: Vec<NodeOutcome> = early.into_iter().filter(|(at, _)| *at < count)
            .map(|(at, state)| row(&format!("n{}", at + 1), NodeState::ALL[state], "early")).collect();
        early.dedup_by(|a, b| a.node == b.node);
        early.sort_by(|a, b| a.node.cmp(&b.node));
        early.dedup_by(|a, b| a.node == b.node);
        let mut roll = roll(count, deed, manner, early);
        let mut luck = luck.into_iter().cycle();
        // Nodes that were stopped and are not ready again, or failed on the way.
        let mut down: Vec<String> = Vec::new();
        let mut most = 0;
        let mut failed: Vec<String> = Vec::new();
        let draw = |act: Act, node: &str| {
            let number = luck.next().unwrap_or(0);
            let state = if number < NodeState::ALL.len() { NodeState::ALL[number] } else { NodeState::Done };
            if state > NodeState::Absent && !failed.contains(&node.to_owned()) {
                failed.push(node.to_owned());
            }
            match act {
                Act::Stop if !down.contains(&node.to_owned()) => down.push(node.to_owned()),
                Act::Wait if state <= NodeState::Unchanged => down.retain(|one| one != node),
                Act::Stop | Act::Start | Act::Reload | Act::Configure | Act::Wait => {}
            }
            most = most.max(down.iter().filter(|node| !failed.contains(node)).count());
            state
        };
        let mut pulled = 0;
        play(&mut roll, draw, |roll, step| {
            for _ in pulls.iter().filter(|at| **at == step) {
                pulled += 1;
                if pulled == 1 { roll.interrupt() } else { roll.leave() }
            }
        });
        let (rows, late) = roll.rows();
        let names: Vec<String> = (1..=count).map(|n| format!("n{n}")).collect();
        prop_assert_eq!(rows.iter().map(|row| row.node.clone()).collect::<Vec<_>>(), names);
        prop_assert!(late.iter().all(|row| rows.contains(row)));
        for row in &rows {
            prop_assert!(row.state <= NodeState::Unchanged || !row.reason.is_empty(), "{:?}", row);
        }
        if let Deed::Restart | Deed::Reconfigure = deed {
            // Cancelled and absent rows may leave a node down as well, without counting as failures.
            let left = rows.iter().filter(|row| row.state >= NodeState::Skipped).count();
            prop_assert!(most <= size + left, "{} down of {}", most, size);
        }
    }
}

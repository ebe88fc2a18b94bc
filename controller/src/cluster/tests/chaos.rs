//! Nodes that do everything a node must not, and users who press Ctrl-C meanwhile: each target has
//! exactly one row all the same.

use super::*;
use crate::cluster::node::Connection;

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is lost.
    Dropped,
    /// It comes after so many further milliseconds.
    Late(u64),
    /// It comes twice.
    Twice,
    /// An answer to something else comes first.
    Foreign,
    /// Something comes that is no answer.
    Garbage,
    /// The answer comes cut short.
    Short,
    /// Nothing comes any more, now or on another connection, and nobody says so.
    Partition,
    /// The same, but connections are accepted.
    Frozen,
    /// The daemon ends, and another one is there afterwards.
    OtherVersion,
}

impl World {
    pub(super) fn misbehave(&mut self, node: NodeId, fault: Fault, payload: Vec<u8>) {
        let at = self.at(node);
        let latency = self.scripts[at].latency;
        let garbage = |bytes: &[u8]| Input::Received { node, payload: bytes.to_vec() };
        let answer = Input::Received { node, payload: payload.clone() };
        match fault {
            Fault::Dropped => {}
            Fault::Late(more) => self.later(latency + ms(more), answer),
            Fault::Twice => {
                self.later(latency, answer.clone());
                self.later(latency * 2, answer);
            }
            Fault::Foreign => {
                self.later(latency, garbage(br#"{"id": "of somebody else", "status": "ok", "time": 1}"#));
                self.later(latency, answer);
            }
            Fault::Garbage => self.later(latency, garbage(b"\xff\x00 HTTP/1.1 400 Bad Request")),
            Fault::Short => self.later(latency, garbage(&payload[..payload.len() / 2])),
            Fault::Partition => self.scripts[at].dark = true,
            Fault::Frozen => self.scripts[at].hangs = true,
            Fault::OtherVersion => {
                self.open[at] = false;
                self.scripts[at].rs = !self.scripts[at].rs;
                self.later(latency, Input::Lost { node, reason: "connection reset by peer".to_owned() });
            }
        }
        if self.scripts[at].dark || self.scripts[at].hangs {
            self.scripts[at].mute = MUTE.to_vec();
        }
    }

    /// Nodes that were sent something that changes them.
    fn changed(&self) -> Vec<usize> {
        let acts = |script: &Script| script.received.iter().any(|request| !request.is_read_only());
        self.scripts.iter().enumerate().filter(|(_, script)| acts(script)).map(|(at, _)| at).collect()
    }

    /// One operation, interrupted at these moments after its beginning.
    fn run_pulled(&mut self, operation: Operation, parallel: usize, pulls: &[u64]) -> Vec<NodeOutcome> {
        self.ended.clear();
        self.scripts.iter_mut().for_each(|script| script.received.clear());
        let members = self.cluster.nodes.iter().map(|n| n.spec.address.clone()).collect();
        let plan =
            Plan { operation, timeout: TIMEOUT, members, services: Some(Arc::new(services())), epoch: 0.0 };
        let begun = self.now;
        let operation = self.begin(plan, parallel);
        let mut pulls = pulls.iter().map(|after| begun + ms(*after)).collect::<Vec<_>>();
        pulls.sort_unstable();
        let (mut pulls, mut pulled) = (pulls.into_iter().peekable(), 0);
        let mut before = None;
        while self.cluster.is_under_way(operation) {
            let coming = self.coming.first_key_value().map(|((at, _), _)| *at);
            let next = [coming, self.cluster.next_deadline()].into_iter().flatten().min();
            let next = next.expect("something will happen").max(self.now);
            if pulls.next_if(|at| *at <= next).is_some() {
                pulled += 1;
                let effects = if pulled == 1 {
                    before.get_or_insert_with(|| self.changed());
                    self.cluster.interrupt(self.now, operation)
                } else {
                    self.cluster.leave(self.now, operation)
                };
                self.perform(effects);
                assert!(pulled < 2 || !self.cluster.is_under_way(operation), "the second leaves at once");
                continue;
            }
            let input = match coming {
                Some(at) if at <= next => self.coming.pop_first().expect("it is there").1,
                _ => Input::Tick,
            };
            self.now = next;
            let effects = self.cluster.step(next, input);
            self.perform(effects);
        }
        if let Some(before) = before {
            assert_eq!(self.changed(), before, "nothing is begun after an interrupt");
        }
        let rows = self.finished.remove(&operation).expect("it has finished");
        assert_eq!(rows.len(), self.ended.len(), "one row for each end");
        rows
    }
}

/// Everything that a node can be asked.
const MUTE: [&str; 10] =
    ["hello", "status", "start", "stop", "restart", "reload", "configure", "add", "rm", "stats"];

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Dropped),
        (0..8000_u64).prop_map(Fault::Late),
        Just(Fault::Twice),
        Just(Fault::Foreign),
        Just(Fault::Garbage),
        Just(Fault::Short),
        Just(Fault::Partition),
        Just(Fault::Frozen),
        Just(Fault::OtherVersion),
    ]
}

fn wild() -> impl Strategy<Value = Script> {
    let faults = prop::collection::vec((1..14_usize, fault()), 0..5);
    (script(), faults).prop_map(|(script, faults)| Script { faults, ..script })
}

fn operation(number: u8) -> Operation {
    match number {
        0 => status(),
        1 => start(),
        2 => Operation::Stop { names: vec![] },
        3 => configure(false),
        4 => Operation::Reload { names: vec![] },
        5 => Operation::Ready { names: vec![], wait: true, crashes: 5 },
        _ => Operation::Restart { names: vec!["db".to_owned()] },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_target_has_one_row_whatever_happens(
        scripts in prop::collection::vec(wild(), 1..12),
        parallel in 1..6_usize,
        operations in prop::collection::vec((0..7_u8, prop::collection::vec(0..9000_u64, 0..4)), 1..5),
    ) {
        let n = scripts.len();
        let mut world = World::new(scripts, false);
        for (number, pulls) in operations {
            let begun = world.now;
            let rows = world.run_pulled(operation(number), parallel, &pulls);
            let names: Vec<String> = (1..=n).map(|i| format!("n{i}")).collect();
            prop_assert_eq!(rows.iter().map(|row| row.node.clone()).collect::<Vec<_>>(), names);
            let mut ended: Vec<&str> = world.ended.iter().map(|row| row.node.as_str()).collect();
            ended.sort_unstable();
            ended.dedup();
            prop_assert_eq!(ended.len(), n);
            for row in &rows {
                prop_assert!(row.state <= NodeState::Unchanged || !row.reason.is_empty(), "{:?}", row);
            }
            let rounds = u32::try_from(n.div_ceil(parallel) + 1).expect("few");
            prop_assert!(world.now - begun <= (TIMEOUT + CLEANUP_TIME) * rounds);
        }
    }
}

/// Twelve nodes, four at a time, each busy for half a second.
fn interrupted(pulls: &[u64]) -> (Vec<NodeOutcome>, World) {
    let slow = Script { latency: ms(100), ..Script::default() };
    let mut world = World::new(vec![slow; 12], false);
    let rows = world.run_pulled(start(), 4, pulls);
    (rows, world)
}

#[test]
fn an_interrupt_lets_what_is_under_way_end() {
    // hello and status with the connection, then start: all four of the first round have been sent their start.
    let (rows, world) = interrupted(&[150]);
    let states: Vec<NodeState> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [[NodeState::Done; 4], [NodeState::Cancelled; 4], [NodeState::Cancelled; 4]].concat());
    assert_eq!(rows[4].reason, "interrupted; nothing was done there");
    assert!(world.scripts[4].watchers.contains(&("db".to_owned(), "stopped".to_owned())));
}

#[test]
fn a_second_interrupt_leaves_at_once_and_says_what_is_not_known() {
    let (rows, world) = interrupted(&[150, 160]);
    assert!(rows.iter().all(|row| row.state == NodeState::Cancelled), "{rows:?}");
    assert_eq!(rows[0].reason, "interrupted during start db, which may have been done or not");
    assert_eq!(rows[5].reason, "interrupted; nothing was done there");
    assert!(world.now <= ms(300));
    assert!(matches!(world.cluster.nodes[0].connection, Connection::Open { .. }), "it is kept");
}

#[test]
fn an_interrupted_look_ends_at_once() {
    let mut world = World::new(vec![Script { mute: vec!["status"], ..Script::default() }], false);
    let rows = world.run_pulled(status(), 4, &[100]);
    assert_eq!((rows[0].state, world.now < ms(200)), (NodeState::Cancelled, true));
}

#[test]
fn a_one_shot_under_way_is_removed_when_somebody_leaves() {
    let shot = Shot { looks: 1_000_000, result: None, plugin: false };
    let mut world = World::new(vec![Script { shot, ..Script::default() }], false);
    let rows = world.run_pulled(configure(false), 1, &[500, 510]);
    assert_eq!(rows[0].state, NodeState::Cancelled, "{rows:?}");
    assert_eq!((world.scripts[0].oneshots(), world.cluster.indebted()), (0, vec!["n1".to_owned()]));
    assert_eq!(world.run(status(), 1)[0].state, NodeState::Done);
    assert!(world.cluster.indebted().is_empty());
}

#[test]
fn a_connection_in_the_making_since_an_interrupted_operation_has_a_deadline() {
    let mut world = World::new(vec![Script { dark: true, ..Script::default() }], false);
    assert_eq!(world.run_pulled(status(), 1, &[100])[0].state, NodeState::Cancelled);
    assert_eq!(world.run(status(), 1)[0].state, NodeState::Unreachable);
    assert!(world.now <= TIMEOUT + ms(100), "{:?}", world.now);
}

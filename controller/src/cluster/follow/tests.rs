//! Nodes that come, go, freeze and change, followed in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use circus_protocol::event::{Event, EventKind};
use circus_protocol::number::Pid;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CONNECT_TIME, Manner};
use crate::cluster::node::NodeId;
use crate::cluster::operations::OperationId;
use crate::cluster::plan::Plan;
use crate::cluster::view::{Change, NodeView, State, Status, Watching};
use crate::cluster::{Cluster, Effect, Input};
use crate::inventory::{Inventory, NodeSpec};
use crate::outcome::{NodeOutcome, NodeState, Operation};

const WALL: Duration = Duration::from_secs(1_800_000_000);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// Its process is stopped: the kernel accepts for it, and nothing is said.
    Frozen,
    /// Nobody listens.
    Dead,
    /// Its link is cut: no word in either direction.
    Cut,
    /// It says what no circus says.
    Babbles,
    /// It says everything twice, and late.
    Stutters,
}

#[derive(Debug)]
struct Host {
    mood: Mood,
    version: Option<&'static str>,
    publishes: bool,
    watchers: BTreeMap<String, &'static str>,
    clock: f64,
    connected: bool,
    heard: bool,
    asked: Vec<(Duration, String)>,
    /// On the wire, both ways, since the beginning.
    bytes: usize,
    /// When it was last not well.
    unwell: Duration,
}

struct World {
    cluster: Cluster,
    hosts: Vec<Host>,
    now: Duration,
    coming: BTreeMap<(Duration, u64), Input>,
    serial: u64,
    news: Vec<(usize, Duration, Change)>,
    finished: BTreeMap<OperationId, Vec<NodeOutcome>>,
    ears: usize,
    max_ears: usize,
}

fn host(version: Option<&'static str>, publishes: bool) -> Host {
    Host {
        mood: Mood::Well,
        version,
        publishes,
        watchers: BTreeMap::from([("web".to_owned(), "active"), ("db".to_owned(), "stopped")]),
        clock: 0.0,
        connected: false,
        heard: false,
        asked: Vec::new(),
        bytes: 0,
        unwell: Duration::ZERO,
    }
}

impl World {
    fn new(hosts: Vec<Host>, from_range: bool, ears: usize) -> Self {
        let node = |at: usize| NodeSpec {
            name: format!("n{at}"),
            address: "127.0.0.1".to_owned(),
            endpoint: "tcp://127.0.0.1:5555".parse().unwrap(),
            from_range,
        };
        let inventory = Inventory { nodes: (0..hosts.len()).map(node).collect(), spec: String::new() };
        // The endpoints are the same, and nodes are told apart by their names.
        let cluster = Cluster::new(&inventory, "5e55".to_owned());
        let mut world = Self {
            cluster,
            hosts,
            now: Duration::ZERO,
            coming: BTreeMap::new(),
            serial: 0,
            news: Vec::new(),
            finished: BTreeMap::new(),
            ears: 0,
            max_ears: ears,
        };
        let manner = Manner { wall: WALL, ears, seed: 7, ..Manner::default() };
        let effects = world.cluster.follow(Duration::ZERO, manner);
        world.perform(effects);
        world
    }

    fn at(id: NodeId) -> usize {
        usize::try_from(id.0).unwrap() - 1
    }

    fn id(at: usize) -> NodeId {
        NodeId(u64::try_from(at).unwrap() + 1)
    }

    fn later(&mut self, after: Duration, input: Input) {
        self.serial += 1;
        self.coming.insert((self.now + after, self.serial), input);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open { node, .. } => self.open(node),
                Effect::Send { node, payload } => self.deliver(node, &payload),
                Effect::Close { node } => {
                    self.hosts[Self::at(node)].connected = false;
                    self.forget(node, false);
                }
                // What is followed has no operations that ask from here.
                Effect::Probe { .. } => unreachable!(),
                Effect::Listen { node, .. } => {
                    assert!(self.hosts[Self::at(node)].publishes);
                    self.ears += 1;
                    assert!(self.ears <= self.max_ears, "more ears than there is room for");
                    if self.hosts[Self::at(node)].mood == Mood::Well {
                        self.hosts[Self::at(node)].heard = true;
                        self.later(ms(3), Input::Listening { node });
                    }
                }
                Effect::Unlisten { node } => {
                    self.ears -= 1;
                    self.hosts[Self::at(node)].heard = false;
                    self.forget(node, true);
                }
                Effect::Report(..) => {}
                Effect::News(news) => {
                    let at =
                        self.hosts.iter().enumerate().position(|(at, _)| *news.node == *format!("n{at}"));
                    self.news.push((at.unwrap(), self.now, news.change));
                }
                Effect::Finished { operation, rows } => {
                    self.finished.insert(operation, rows);
                }
            }
        }
    }

    /// Nothing more comes from there.
    fn forget(&mut self, id: NodeId, ear: bool) {
        let of_ear = |input: &Input| {
            matches!(input, Input::Listening { .. } | Input::Deaf { .. } | Input::Heard { .. })
        };
        self.coming.retain(|_, input| input.node() != Some(id) || of_ear(input) != ear);
    }

    fn open(&mut self, node: NodeId) {
        let host = &mut self.hosts[Self::at(node)];
        assert!(!host.connected, "one connection is enough");
        match host.mood {
            Mood::Well | Mood::Babbles | Mood::Stutters => {
                host.connected = true;
                self.later(ms(2), Input::Opened { node });
            }
            Mood::Frozen => self.later(ms(1), Input::Reached { node }),
            Mood::Dead => self.later(ms(1), Input::Lost { node, reason: "connection refused".to_owned() }),
            Mood::Cut => {}
        }
    }

    fn deliver(&mut self, node: NodeId, payload: &[u8]) {
        let (now, host) = (self.now, &mut self.hosts[Self::at(node)]);
        let message: Value = serde_json::from_slice(payload).unwrap();
        let command = message["command"].as_str().unwrap().to_owned();
        host.asked.push((now, command.clone()));
        if !host.connected {
            return;
        }
        let time = (WALL + now).as_secs_f64() + host.clock;
        let mut reply = match (command.as_str(), host.version) {
            ("hello", None) => json!({"status": "error", "errno": 2, "reason": "unknown command: 'hello'"}),
            ("hello", Some(version)) => {
                let pubsub = if host.publishes { "tcp://127.0.0.1:5556" } else { "tcp://10.0.0.1:0x" };
                json!({"status": "ok", "version": version, "extensions": [], "pubsub_endpoint": pubsub})
            }
            ("globaloptions", _) if host.publishes => {
                json!({"status": "ok", "options": {"pubsub_endpoint": "tcp://127.0.0.1:5556"}})
            }
            ("status", _) => json!({"status": "ok", "statuses": host.watchers}),
            ("numwatchers", _) => json!({"status": "ok", "numwatchers": 2}),
            _ => json!({"status": "ok"}),
        };
        reply["id"] = message["id"].clone();
        reply["time"] = json!(time);
        // Two bytes of ZMTP for a short frame, and stock writes a blank behind each comma and colon.
        let blanks = 2 * reply.as_object().map_or(0, serde_json::Map::len);
        let answer = reply.to_string().into_bytes();
        host.bytes += payload.len() + answer.len() + blanks + 4;
        let payload = answer;
        match host.mood {
            Mood::Well => self.later(ms(2), Input::Received { node, payload }),
            Mood::Stutters => {
                self.later(ms(900), Input::Received { node, payload: payload.clone() });
                self.later(ms(950), Input::Received { node, payload });
            }
            Mood::Babbles => self.later(ms(2), Input::Received { node, payload: b"HTTP/1.1 400".to_vec() }),
            Mood::Frozen | Mood::Dead | Mood::Cut => {}
        }
    }

    fn become_(&mut self, at: usize, mood: Mood) {
        let node = Self::id(at);
        let was = std::mem::replace(&mut self.hosts[at].mood, mood);
        if was != Mood::Well || mood != Mood::Well {
            self.hosts[at].unwell = self.now;
        }
        match mood {
            Mood::Dead => {
                if std::mem::take(&mut self.hosts[at].connected) {
                    self.forget(node, false);
                    self.later(
                        ms(1),
                        Input::Lost { node, reason: "the peer closed the connection".to_owned() },
                    );
                }
                if std::mem::take(&mut self.hosts[at].heard) {
                    self.later(ms(1), Input::Deaf { node });
                }
            }
            // What is on its way is lost.
            Mood::Frozen | Mood::Cut => {
                self.forget(node, false);
                self.forget(node, true);
            }
            Mood::Well | Mood::Babbles | Mood::Stutters => {}
        }
    }

    fn flip(&mut self, at: usize, name: &str) {
        let host = &mut self.hosts[at];
        let state = host.watchers.get_mut(name).unwrap();
        let kind = if *state == "active" { EventKind::Stop } else { EventKind::Start };
        *state = if *state == "active" { "stopped" } else { "active" };
        if host.heard && host.mood == Mood::Well {
            let event = Event { watcher: name.to_owned(), time: 1.0, kind };
            let (topic, payload) = (event.topic().into_bytes(), event.payload());
            self.later(ms(2), Input::Heard { node: Self::id(at), topic, payload });
        }
    }

    /// Lives on until then.
    fn live(&mut self, until: Duration) {
        loop {
            let next = self.coming.first_key_value().map(|(key, _)| *key);
            let due = self.cluster.next_deadline();
            let (at, input) = match (next, due) {
                (Some(key), due) if due.is_none_or(|due| key.0 <= due) && key.0 <= until => {
                    (key.0, self.coming.remove(&key).unwrap())
                }
                (_, Some(due)) if due <= until => (due, Input::Tick),
                (_, _) => break,
            };
            self.now = self.now.max(at);
            let effects = self.cluster.step(self.now, input);
            self.perform(effects);
        }
        self.now = until;
    }

    fn go_on(&mut self, by: Duration) {
        let until = self.now + by;
        self.live(until);
    }

    fn view(&mut self, at: usize) -> NodeView {
        (*self.cluster.view(self.now).nodes[at]).clone()
    }

    fn lines(&self) -> Vec<String> {
        self.news.iter().map(|(at, _, change)| format!("n{at} {change}")).collect()
    }

    fn truth(&mut self, at: usize) -> Result<(), String> {
        let view = self.view(at);
        if view.state != State::Up {
            return Err(format!("n{at} is {:?}", view.state));
        }
        let seen: BTreeMap<&str, &str> = view.watchers.iter().map(|(n, w)| (&**n, w.status.word())).collect();
        let truth: BTreeMap<&str, &str> =
            self.hosts[at].watchers.iter().map(|(n, s)| (n.as_str(), *s)).collect();
        if seen == truth { Ok(()) } else { Err(format!("n{at}: {seen:?}, in truth {truth:?}")) }
    }
}

#[test]
fn a_node_is_greeted_listened_to_and_asked_once_a_second() {
    let mut world = World::new(vec![host(Some("1.0"), true), host(None, false)], false, 9);
    world.go_on(ms(400));
    let view = world.view(0);
    assert_eq!((view.state.word(), view.watching), ("up", Watching::Events));
    assert_eq!(view.daemon.unwrap().to_string(), "circusd-rs 1.0");
    assert_eq!(view.watchers["web"].status, Status::Active);
    let view = world.view(1);
    assert_eq!(view.watching, Watching::Polls { every: Duration::from_secs(4) });
    assert_eq!(view.daemon.unwrap().to_string(), "circusd");
    world.go_on(ms(2_000));
    world.hosts.iter_mut().for_each(|host| (host.asked.clear(), host.bytes = 0).0);
    world.go_on(ms(20_000));
    for host in &world.hosts {
        assert!(host.bytes / 20 < 200, "{} bytes a second", host.bytes / 20);
    }
    for (at, looks) in [(0, 0..=1), (1, 5..=5)] {
        let asked = &world.hosts[at].asked;
        let of = |command: &str| asked.iter().filter(|(_, asked)| asked == command).count();
        assert!((19..=25).contains(&asked.len()), "n{at}: {asked:?}");
        assert!(looks.contains(&of("status")) && of("status") + of("numwatchers") == asked.len());
    }
    assert!(world.news.is_empty(), "how things are is no news: {:?}", world.lines());
}

#[test]
fn a_change_shows_when_its_event_comes() {
    let mut world = World::new(vec![host(Some("1.0"), true), host(None, false)], false, 9);
    world.go_on(ms(3_000));
    world.flip(0, "db");
    world.flip(1, "db");
    world.go_on(ms(20));
    assert_eq!(world.lines(), ["n0 db: active (was stopped)"]);
    world.go_on(ms(4_100));
    assert_eq!(world.lines()[1..], ["n1 db: active (was stopped)"]);
}

#[test]
fn every_way_to_be_gone_has_its_reason_in_time() {
    let moods = [Mood::Dead, Mood::Frozen, Mood::Cut, Mood::Babbles];
    let mut world = World::new(moods.iter().map(|_| host(None, false)).collect(), false, 9);
    world.go_on(ms(5_000));
    for (at, mood) in moods.iter().enumerate() {
        world.become_(at, *mood);
    }
    world.go_on(ms(3_000));
    let mut told = world.lines();
    told.sort();
    assert_eq!(
        told,
        [
            "n0 down: the peer closed the connection",
            "n1 down: silent: nothing heard for 2.75s",
            "n2 down: silent: nothing heard for 2.75s",
            "n3 down: not a circusd: its answer is none of circus'",
        ]
    );
    let died = world.now - ms(3_000);
    let since = world.view(0).since;
    assert!(since >= WALL + died && since < WALL + died + ms(50));
    world.go_on(ms(10_000));
    // The reason is the latest, the time that of the loss.
    assert_eq!(world.view(0).state, State::Down { why: "connection refused".into() });
    assert_eq!(world.view(0).since, since);
    assert!(world.view(1).state.why().unwrap().starts_with("accepts connections, but says nothing"));
    assert_eq!(world.view(2).state.why(), Some("no connection within 3.5 s"));
    world.news.clear();
    (0..4).for_each(|at| world.become_(at, Mood::Well));
    world.go_on(ms(12_000));
    assert_eq!(world.lines().len(), 4, "{:?}", world.lines());
    (0..4).for_each(|at| world.truth(at).unwrap());
}

#[test]
fn another_version_is_noticed_and_a_wrong_clock_is_measured() {
    let mut world = World::new(vec![host(None, true)], false, 9);
    world.go_on(ms(3_000));
    world.become_(0, Mood::Dead);
    world.go_on(ms(500));
    world.hosts[0].version = Some("2.0");
    world.hosts[0].clock = -90.0;
    world.become_(0, Mood::Well);
    world.go_on(ms(4_000));
    assert_eq!(world.lines().last().unwrap(), "n0 up (circusd-rs 2.0)");
    let pulse = world.view(0).pulse;
    assert!((pulse.clock_offset.unwrap() + 90.0).abs() < 0.01, "{pulse:?}");
    assert_eq!(pulse.round_trip, Some(ms(2)));
}

#[test]
fn a_node_of_a_range_that_was_never_seen_is_absent_and_seldom_asked() {
    let mut world = World::new(vec![host(None, false)], true, 9);
    world.hosts[0].mood = Mood::Dead;
    world.go_on(ms(60_000));
    assert_eq!(world.view(0).state, State::Absent { why: "connection refused".into() });
    assert!(world.news.is_empty());
}

#[test]
fn what_changed_while_nobody_listened_is_found_out() {
    let mut world = World::new(vec![host(Some("1"), true)], false, 9);
    world.go_on(ms(3_000));
    world.become_(0, Mood::Dead);
    world.flip(0, "web");
    world.go_on(ms(1_000));
    world.become_(0, Mood::Well);
    world.go_on(ms(3_000));
    let told = world.lines();
    assert_eq!(told[1..], ["n0 up (circusd-rs 1)", "n0 web: stopped (was active)"]);
}

#[test]
fn a_console_that_was_stopped_itself_takes_nobody_for_dead() {
    let mut world = World::new(vec![host(None, false), host(Some("1"), true)], false, 9);
    world.go_on(ms(3_000));
    // Stopped for a minute, in which the answers waited.
    world.now += ms(60_000);
    let now = world.now;
    let effects = world.cluster.step(now, Input::Tick);
    world.perform(effects);
    world.go_on(ms(5_000));
    assert!(world.news.is_empty(), "{:?}", world.lines());
}

#[test]
fn an_operation_that_waits_keeps_a_slow_node_connected() {
    let mut world = World::new(vec![host(None, false)], false, 9);
    world.go_on(ms(3_000));
    let operation = Operation::Status { names: vec![] };
    let plan = Plan { operation, timeout: ms(9_000), members: vec![], services: None, epoch: 0.0 };
    let (id, effects) = {
        world.become_(0, Mood::Frozen);
        world.cluster.begin(world.now, plan, 8, None)
    };
    world.perform(effects);
    world.go_on(ms(4_000));
    assert_eq!(world.view(0).state.word(), "down");
    assert!(world.cluster.is_under_way(id), "it may still be answered");
    world.become_(0, Mood::Well);
    world.go_on(ms(1_000));
    assert_eq!(world.view(0).state, State::Up, "the same connection lives again");
    world.go_on(ms(9_000));
    assert_eq!(world.finished[&id][0].state, NodeState::TimedOut);
    world.truth(0).unwrap();
}

#[test]
fn there_are_no_more_ears_than_room() {
    let mut world = World::new((0..5).map(|_| host(Some("1"), true)).collect(), false, 2);
    world.go_on(ms(3_000));
    let heard = (0..5).filter(|at| world.view(*at).watching == Watching::Events).count();
    assert_eq!((heard, world.ears), (2, 2));
    let first = (0..5).find(|at| world.view(*at).watching == Watching::Events).unwrap();
    world.become_(first, Mood::Dead);
    world.go_on(ms(3_000));
    assert_eq!(world.ears, 1, "its place is free again");
}

#[derive(Debug, Clone)]
enum Act {
    Mood(usize, Mood),
    Flip(usize, bool),
    Live(u64),
    Ask(u64),
    Spawn(usize, i32),
}

fn act() -> impl Strategy<Value = Act> {
    let mood = prop_oneof![
        3 => Just(Mood::Well), 1 => Just(Mood::Frozen), 1 => Just(Mood::Dead),
        1 => Just(Mood::Cut), 1 => Just(Mood::Babbles), 1 => Just(Mood::Stutters),
    ];
    prop_oneof![
        2 => (0..4_usize, mood).prop_map(|(at, mood)| Act::Mood(at, mood)),
        2 => (0..4_usize, any::<bool>()).prop_map(|(at, which)| Act::Flip(at, which)),
        3 => (1..6_000_u64).prop_map(Act::Live),
        1 => (1..4_000_u64).prop_map(Act::Ask),
        1 => (0..4_usize, 1..9_i32).prop_map(|(at, pid)| Act::Spawn(at, pid)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn when_the_world_calms_down_the_view_is_the_truth(acts in prop::collection::vec(act(), 1..30)) {
        let kinds = [(Some("1.0"), true), (Some("1.0"), false), (None, true), (None, false)];
        let hosts = kinds.iter().map(|(version, publishes)| host(*version, *publishes)).collect();
        let mut world = World::new(hosts, false, 9);
        let mut operations = BTreeSet::new();
        for act in acts {
            match act {
                Act::Mood(at, mood) => world.become_(at, mood),
                Act::Flip(at, which) => world.flip(at, if which { "web" } else { "db" }),
                Act::Live(time) => world.go_on(ms(time)),
                Act::Ask(timeout) => {
                    let operation = Operation::Status { names: vec![] };
                    let plan = Plan { operation, timeout: ms(timeout), members: vec![], services: None, epoch: 0.0 };
                    let (id, effects) = world.cluster.begin(world.now, plan, 2, None);
                    world.perform(effects);
                    operations.insert(id);
                }
                Act::Spawn(at, pid) => if world.hosts[at].heard && world.hosts[at].mood == Mood::Well {
                    let kind = EventKind::Spawn { pid: Pid::new(pid).unwrap() };
                    let event = Event { watcher: "web".to_owned(), time: 1.0, kind };
                    let (topic, payload) = (event.topic().into_bytes(), event.payload());
                    world.later(ms(2), Input::Heard { node: World::id(at), topic, payload });
                },
            }
        }
        let calm = world.now;
        (0..4).for_each(|at| world.become_(at, Mood::Well));
        world.go_on(CONNECT_TIME + ms(40_000));
        for at in 0..4 {
            world.truth(at).map_err(TestCaseError::fail)?;
        }
        for (at, when, change) in &world.news {
            if matches!(change, Change::Down { .. }) {
                prop_assert!(*when <= calm.max(world.hosts[*at].unwell) + ms(3_500), "n{at}: a false alarm at {when:?}");
            }
        }
        for id in operations {
            let rows = world.finished.get(&id).map(Vec::len);
            prop_assert_eq!(rows, Some(4), "one row for each node");
        }
        world.hosts.iter_mut().for_each(|host| host.asked.clear());
        world.go_on(ms(10_000));
        for host in &world.hosts {
            prop_assert!(host.asked.len() <= 14, "asked too often: {:?}", host.asked);
        }
        prop_assert_eq!(world.ears, 2);
    }
}

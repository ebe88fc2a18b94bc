//! A scripted world: nodes that answer, refuse, hang and vanish, in simulated time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::ini::Ini;
use circus_protocol::service::Services;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::answer::Request;
use super::node::NodeId;
use super::operations::{Class, OperationId};
use super::plan::{Plan, ServicesFile};
use super::run::CLEANUP_TIME;
use super::{Cluster, Effect, Input};
use crate::inventory::{Inventory, NodeSpec};
use crate::outcome::{ConfigureRequest, NodeOutcome, NodeState, Operation, Progress};

mod chaos;

const TIMEOUT: Duration = Duration::from_secs(5);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How a node behaves.
#[derive(Debug, Clone)]
struct Script {
    /// Connections are refused so, if at all.
    refuses: Option<&'static str>,
    /// Nobody answers a connection.
    dark: bool,
    /// Accepts a connection and says nothing on it.
    hangs: bool,
    latency: Duration,
    rs: bool,
    /// Own commands are refused until then.
    busy_until: Duration,
    /// These are never answered.
    mute: Vec<&'static str>,
    /// The connection breaks instead of the answer to message number n.
    breaks_at: Vec<usize>,
    /// What else becomes of the answer to message number n.
    faults: Vec<(usize, chaos::Fault)>,
    watchers: Vec<(String, String)>,
    /// These never come up.
    broken: Vec<&'static str>,
    received: Vec<Request>,
    count: usize,
    /// How often a one-shot is looked at before it has its result; the result; what `rm` does.
    shot: Shot,
}

/// How a stock node treats one-shots.
#[derive(Debug, Clone)]
struct Shot {
    looks: usize,
    /// `None`: its process ends without one.
    result: Option<Value>,
    /// The old plugin command is there.
    plugin: bool,
}

impl Default for Script {
    fn default() -> Self {
        let watchers = [("Web", "active"), ("db", "stopped"), ("circusd-stats", "active")];
        Self {
            refuses: None,
            dark: false,
            hangs: false,
            latency: ms(2),
            rs: false,
            busy_until: Duration::ZERO,
            mute: Vec::new(),
            breaks_at: Vec::new(),
            faults: Vec::new(),
            watchers: watchers.iter().map(|(n, s)| ((*n).to_owned(), (*s).to_owned())).collect(),
            broken: Vec::new(),
            received: Vec::new(),
            count: 0,
            shot: Shot { looks: 3, result: Some(json!({"success": true, "files": []})), plugin: false },
        }
    }
}

fn error(errno: i64, reason: &str) -> Value {
    json!({"status": "error", "errno": errno, "reason": reason, "tb": null, "time": 1.5})
}

impl Script {
    fn answer(&mut self, now: Duration, request: &Request) -> Value {
        let name = request.properties.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        match request.command.as_str() {
            "hello" if self.rs => {
                json!({"status": "ok", "version": "0.1.0", "extensions": ["configure", "reset"]})
            }
            "status" if name.is_empty() => {
                let statuses: Map<String, Value> =
                    self.watchers.iter().map(|(n, s)| (n.clone(), json!(s))).collect();
                json!({"status": "ok", "statuses": statuses})
            }
            "start" | "stop" if now < self.busy_until => {
                error(5, "arbiter is already running watcher_stop command")
            }
            "start" => self.set(|n| n == name, "active"),
            "stop" if request.properties["match"] == "regex" => {
                let pattern = regex_of(&name);
                self.set(|n| pattern.contains(&n.to_lowercase()), "stopped")
            }
            "stop" => self.set(|n| n == name, "stopped"),
            "reload" => json!({"status": "ok"}),
            "configure" if self.shot.plugin => json!({"status": "ok", "success": true}),
            "configure" if self.rs => self.shot.result.clone().map_or_else(
                || error(5, "web is running"),
                |mut r| {
                    r["status"] = json!("ok");
                    r
                },
            ),
            "add" | "rm" if now < self.busy_until => {
                error(5, "arbiter is already running manage_watchers command")
            }
            "add" => {
                self.watchers.push((name, "active".to_owned()));
                json!({"status": "ok", "started": [99], "kept": []})
            }
            "rm" | "stats" | "status"
                if !name.is_empty() && !self.watchers.iter().any(|(n, _)| *n == name) =>
            {
                error(3, &format!("program {name} not found"))
            }
            "status" => json!({"status": "active"}),
            "rm" => {
                self.watchers.retain(|(n, _)| *n != name);
                json!({"status": "ok"})
            }
            "stats" if !name.is_empty() => self.look(&name),
            "stats" if name.is_empty() => json!({"status": "ok", "infos": {"Web": {"17": {"cpu": 0.5}}}}),
            other => error(2, &format!("unknown command: '{other}'")),
        }
    }

    fn look(&mut self, name: &str) -> Value {
        self.shot.looks = self.shot.looks.saturating_sub(1);
        let figures = |cmdline: &str, age: f64| json!({"99": {"cmdline": cmdline, "age": age, "nice": 0}});
        let info = match (&self.shot.result, self.shot.looks) {
            (_, looks) if looks > 0 => figures("python3", 0.5),
            (None, _) => json!({}),
            (Some(result), _) => {
                let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(result.to_string());
                figures(&format!("circusman:{text}"), 0.7)
            }
        };
        json!({"status": "ok", "name": name, "info": info})
    }

    fn oneshots(&self) -> usize {
        self.watchers.iter().filter(|(n, _)| n.starts_with("circusman-")).count()
    }

    fn set(&mut self, which: impl Fn(&str) -> bool, state: &str) -> Value {
        for (name, now) in &mut self.watchers {
            if which(name) && !self.broken.contains(&name.as_str()) {
                state.clone_into(now);
            }
        }
        json!({"status": "ok"})
    }
}

/// The names of an alternation.
fn regex_of(pattern: &str) -> Vec<String> {
    let inner = pattern.strip_prefix("(?:").and_then(|p| p.strip_suffix(")$")).unwrap();
    inner.split('|').map(|n| n.replace('\\', "")).collect()
}

/// The cluster and the scripts, joined by a queue of things to come.
struct World {
    cluster: Cluster,
    scripts: Vec<Script>,
    now: Duration,
    coming: BTreeMap<(Duration, u64), Input>,
    open: Vec<bool>,
    ended: Vec<NodeOutcome>,
    finished: BTreeMap<OperationId, Vec<NodeOutcome>>,
    notes: Vec<String>,
    most_active: usize,
    serial: u64,
}

fn inventory(n: usize, from_range: bool) -> Inventory {
    let node = |i: usize| NodeSpec {
        name: format!("n{i}"),
        address: format!("127.0.0.{i}"),
        endpoint: Endpoint::Ipc(format!("/n{i}")),
        from_range,
    };
    Inventory { nodes: (1..=n).map(node).collect(), spec: String::new() }
}

impl World {
    fn new(scripts: Vec<Script>, from_range: bool) -> Self {
        let n = scripts.len();
        Self {
            cluster: Cluster::new(&inventory(n, from_range), "5e55".to_owned()),
            scripts,
            now: Duration::ZERO,
            coming: BTreeMap::new(),
            open: vec![false; n],
            ended: Vec::new(),
            finished: BTreeMap::new(),
            notes: Vec::new(),
            most_active: 0,
            serial: 0,
        }
    }

    fn at(&self, id: NodeId) -> usize {
        let name = &self.cluster.node(id).unwrap().name;
        name[1..].parse::<usize>().unwrap() - 1
    }

    fn later(&mut self, after: Duration, input: Input) {
        self.serial += 1;
        self.coming.insert((self.now + after, self.serial), input);
    }

    fn drop_coming(&mut self, id: NodeId) {
        self.coming.retain(|_, input| input.node() != Some(id));
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open { node, first } => self.open(node, &first),
                Effect::Send { node, payload } => self.deliver(node, &payload),
                // What is asked from here is always well in this world.
                Effect::Probe { node, id, questions } => {
                    let answers = json!({ "answers": vec![Value::Null; questions.len()] });
                    let answers = answers.as_object().unwrap().clone();
                    self.later(Duration::from_millis(1), Input::Probed { node, id, answers });
                }
                Effect::Close { node } => {
                    let at = self.at(node);
                    self.open[at] = false;
                    self.drop_coming(node);
                }
                Effect::Report(_, Progress::Note { text, .. }) => self.notes.push(text),
                Effect::Report(_, Progress::Started { .. }) => {}
                Effect::Report(_, Progress::Finished(row)) => self.ended.push(row),
                Effect::Finished { operation, rows } => {
                    assert!(self.finished.insert(operation, rows).is_none(), "finished twice");
                }
                // Nobody is followed here; see `follow::tests`.
                Effect::Listen { .. } | Effect::Unlisten { .. } | Effect::News(_) => unreachable!(),
            }
        }
        let runs = self.cluster.nodes.iter().flat_map(|node| &node.runs);
        let active = runs.filter(|run| run.class() == Class::Active).count();
        self.most_active = self.most_active.max(active);
    }

    fn open(&mut self, node: NodeId, first: &[Vec<u8>]) {
        let at = self.at(node);
        let script = &self.scripts[at];
        if script.dark {
            return;
        }
        let latency = script.latency;
        if script.hangs {
            return self.later(latency, Input::Reached { node });
        }
        match script.refuses {
            Some(reason) => self.later(latency, Input::Lost { node, reason: reason.to_owned() }),
            None => {
                self.open[at] = true;
                self.later(latency, Input::Opened { node });
                first.iter().for_each(|payload| self.deliver(node, payload));
            }
        }
    }

    fn deliver(&mut self, node: NodeId, payload: &[u8]) {
        let at = self.at(node);
        if !self.open[at] {
            // Legal only as long as the news of the loss is still on its way.
            let lost = self.coming.values().any(|i| matches!(i, Input::Lost { node: n, .. } if *n == node));
            assert!(lost, "sent to a node without a connection");
            return;
        }
        let message: Value = serde_json::from_slice(payload).unwrap();
        let request = Request::new(message["command"].as_str().unwrap(), message["properties"].clone());
        let (now, script) = (self.now, &mut self.scripts[at]);
        script.received.push(request.clone());
        script.count += 1;
        let latency = script.latency;
        if script.breaks_at.contains(&script.count) {
            self.open[at] = false;
            return self.later(latency, Input::Lost { node, reason: "connection reset by peer".to_owned() });
        }
        if script.mute.contains(&request.command.as_str()) {
            return;
        }
        let mut answer = script.answer(now, &request);
        answer["id"] = message["id"].clone();
        let fault = script.faults.iter().find(|(at, _)| *at == script.count).map(|(_, fault)| *fault);
        let payload = answer.to_string().into_bytes();
        match fault {
            None => self.later(latency, Input::Received { node, payload }),
            Some(fault) => self.misbehave(node, fault, payload),
        }
    }

    fn run(&mut self, operation: Operation, parallel: usize) -> Vec<NodeOutcome> {
        let members = self.cluster.nodes.iter().map(|n| n.spec.address.clone()).collect();
        self.run_plan(
            Plan { operation, timeout: TIMEOUT, members, services: Some(Arc::new(services())), epoch: 0.0 },
            parallel,
        )
    }

    fn run_plan(&mut self, plan: Plan, parallel: usize) -> Vec<NodeOutcome> {
        self.ended.clear();
        let operation = self.begin(plan, parallel);
        let mut steps = 0;
        while self.cluster.is_under_way(operation) {
            steps += 1;
            assert!(steps < 100_000, "does not settle");
            self.step();
        }
        let rows = self.finished.remove(&operation).expect("it has finished");
        assert_eq!(rows.len(), self.ended.len(), "one row for each end");
        rows
    }

    fn begin(&mut self, plan: Plan, parallel: usize) -> OperationId {
        let (operation, effects) = self.cluster.begin(self.now, plan, parallel, None);
        self.perform(effects);
        operation
    }

    /// Whatever comes next, comes.
    fn step(&mut self) {
        let next = self.coming.first_key_value().map(|(key, _)| *key);
        let deadline = self.cluster.next_deadline();
        let input = match (next, deadline) {
            (Some(key), deadline) if deadline.is_none_or(|d| key.0 <= d) => {
                self.now = self.now.max(key.0);
                self.coming.remove(&key).unwrap()
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                Input::Tick
            }
            (_, None) => panic!("nothing will ever happen"),
        };
        let effects = self.cluster.step(self.now, input);
        self.perform(effects);
    }

    fn commands(&self, at: usize) -> Vec<String> {
        self.scripts[at].received.iter().map(Request::describe).collect()
    }
}

/// One node, one operation: its row.
fn alone(script: Script, operation: Operation) -> (NodeOutcome, World) {
    let mut world = World::new(vec![script], false);
    let row = world.run(operation, 8).remove(0);
    (row, world)
}

fn status() -> Operation {
    Operation::Status { names: vec![] }
}

fn start() -> Operation {
    Operation::Start { names: vec![] }
}

#[test]
fn the_first_contact_takes_one_round() {
    for rs in [false, true] {
        let mut world = World::new(vec![Script { rs, latency: ms(10), ..Script::default() }], false);
        let rows = world.run(Operation::Status { names: Vec::new() }, 1);
        assert_eq!(rows[0].state, NodeState::Done, "{rows:?}");
        let asked: Vec<&str> = world.scripts[0].received.iter().map(|r| r.command.as_str()).collect();
        assert_eq!(asked, ["hello", "status"]);
        assert_eq!(world.now, ms(10), "connecting, with which the answers come");
    }
}

#[test]
fn the_time_of_all_that_are_frozen_ends_together_if_there_is_room() {
    let ended = |room: Option<usize>| {
        let frozen = || Script { hangs: true, ..Script::default() };
        let mut world = World::new(std::iter::repeat_with(frozen).take(900).collect(), false);
        if let Some(room) = room {
            world.cluster.make_room(room);
        }
        let rows = world.run(status(), 8);
        assert!(rows.iter().all(|row| row.state != NodeState::Done), "{rows:?}");
        world.now
    };
    let once = ended(Some(1_000));
    assert!(once >= TIMEOUT && once < TIMEOUT * 3 / 2, "{once:?}");
    assert_eq!(ended(Some(100_000)), once);
    // Never fewer than 400: three rounds.
    for room in [None, Some(0), Some(400)] {
        let thrice = ended(room);
        assert!(thrice >= TIMEOUT * 3 && thrice < TIMEOUT * 7 / 2, "{room:?}: {thrice:?}");
    }
}

#[test]
fn whoever_waits_for_a_slot_has_all_its_time_afterwards() {
    let slow = || Script { latency: TIMEOUT / 4, ..Script::default() };
    let mut world = World::new(std::iter::repeat_with(slow).take(12).collect(), false);
    let rows = world.run(start(), 1);
    assert!(rows.iter().all(|row| row.state == NodeState::Done), "{rows:?}");
    assert!(world.now > TIMEOUT * 6, "{:?}", world.now);
}

#[test]
fn a_stock_node_starts_what_is_stopped_and_nothing_else() {
    let (row, world) = alone(Script::default(), start());
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Done, ""));
    assert_eq!(row.data, json!({"watchers": {"Web": "active", "db": "active"}}));
    assert_eq!(row.daemon.as_deref(), Some("circusd"));
    // hello, the look for leftovers, then the operation.
    assert_eq!(world.commands(0), ["hello", "status", "start db", "status"]);
    let sent = &world.scripts[0].received[2];
    assert_eq!(sent.properties, json!({"name": "db", "match": "simple", "waiting": true}));
}

#[test]
fn what_was_learnt_on_a_connection_is_not_asked_again() {
    let mut world = World::new(vec![Script::default()], false);
    world.run(status(), 8);
    let row = world.run(status(), 8).remove(0);
    assert_eq!(row.state, NodeState::Done);
    assert_eq!(world.commands(0), ["hello", "status", "status"]);
}

#[test]
fn a_connection_lost_between_two_operations_is_made_anew_and_greeted_again() {
    let mut world = World::new(vec![Script { breaks_at: vec![3], ..Script::default() }], false);
    world.run(status(), 8);
    let row = world.run(start(), 8).remove(0);
    assert_eq!(row.state, NodeState::Done, "{row:?}");
    assert_eq!(world.commands(0), ["hello", "status", "status", "hello", "status", "start db", "status"]);
}

#[test]
fn several_watchers_are_stopped_by_one_command() {
    let mut script = Script::default();
    script.watchers[1].1 = "active".to_owned();
    let (row, world) = alone(script, Operation::Stop { names: vec![] });
    assert_eq!(
        (row.state, &row.data),
        (NodeState::Done, &json!({"watchers": {"Web": "stopped", "db": "stopped"}}))
    );
    assert_eq!(world.commands(0)[2], "stop (?:web|db)$");
    assert_eq!(world.scripts[0].watchers[2].1, "active", "circus' own helper goes on");
}

#[test]
fn nothing_to_do_is_unchanged() {
    let (row, _) = alone(Script::default(), Operation::Start { names: vec!["web".to_owned()] });
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Unchanged, "already active"));
}

#[test]
fn a_watcher_that_does_not_come_up_is_a_failure() {
    let (row, _) = alone(Script { broken: vec!["db"], ..Script::default() }, start());
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Failed, "db: stopped again; its log says why"));
}

#[test]
fn an_unknown_name_is_refused_before_anything_is_sent() {
    let (row, world) = alone(Script::default(), Operation::Stop { names: vec!["wob".to_owned()] });
    assert_eq!(row.state, NodeState::Refused);
    assert_eq!(row.reason, "no watcher named wob; it has Web, db, circusd-stats");
    assert_eq!(world.commands(0).last().unwrap(), "status");
}

#[test]
fn a_busy_node_is_asked_again() {
    let (row, world) = alone(Script { busy_until: ms(700), ..Script::default() }, start());
    assert_eq!(row.state, NodeState::Done);
    assert!(row.elapsed >= ms(700) && row.elapsed < ms(1500), "{:?}", row.elapsed);
    assert_eq!(world.notes.len(), 1, "said once: {:?}", world.notes);
}

#[test]
fn a_node_that_stays_busy_times_out_with_its_own_words() {
    let (row, _) = alone(Script { busy_until: ms(60_000), ..Script::default() }, start());
    assert_eq!(row.state, NodeState::TimedOut);
    assert_eq!(row.reason, "busy for 5 s: arbiter is already running watcher_stop command");
}

#[test]
fn reasons_are_precise() {
    let refused = Script { refuses: Some("connection refused"), ..Script::default() };
    let dark = Script { dark: true, ..Script::default() };
    let mute = Script { mute: vec!["hello"], ..Script::default() };
    let hung = Script { mute: vec!["start"], ..Script::default() };
    let broken = Script { breaks_at: vec![3], ..Script::default() };
    let frozen = Script { hangs: true, ..Script::default() };
    let mut world = World::new(vec![refused, dark, mute, hung, broken, frozen], false);
    let rows = world.run(start(), 8);
    let told: Vec<(NodeState, &str)> = rows.iter().map(|r| (r.state, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (NodeState::Unreachable, "connection refused"),
            (NodeState::Unreachable, "no connection within 5 s"),
            (NodeState::TimedOut, "no answer within 5 s"),
            (NodeState::TimedOut, "no answer to start db within 5 s"),
            (
                NodeState::Failed,
                "connection lost during start db, which may have been done or not: connection reset by peer"
            ),
            (
                NodeState::TimedOut,
                "accepts connections, but says nothing within 5 s: a circusd that hangs, or none"
            ),
        ]
    );
}

#[test]
fn a_node_of_a_range_is_absent_until_it_was_seen() {
    let mut world = World::new(vec![Script { refuses: Some("no route to host"), ..Script::default() }], true);
    assert_eq!(world.run(status(), 8)[0].state, NodeState::Absent);
    world.scripts[0].refuses = None;
    assert_eq!(world.run(status(), 8)[0].state, NodeState::Done);
    world.scripts[0].refuses = Some("no route to host");
    world.scripts[0].breaks_at = vec![world.scripts[0].count + 1];
    assert_eq!(world.run(status(), 8)[0].state, NodeState::Unreachable);
}

#[test]
fn nodes_that_are_off_delay_nobody() {
    let off = Script { dark: true, ..Script::default() };
    let mut scripts = vec![off; 50];
    scripts.extend(vec![Script::default(); 50]);
    let mut world = World::new(scripts, false);
    let rows = world.run(status(), 4);
    assert!(rows[50..].iter().all(|r| r.state == NodeState::Done && r.elapsed < ms(500)), "{:?}", rows[99]);
    assert!(world.most_active <= 4);
    assert!(world.now <= TIMEOUT);
}

#[test]
fn an_abandoned_operation_is_forgotten() {
    let mut world = World::new(vec![Script { mute: vec!["status"], ..Script::default() }], false);
    let plan = Plan { operation: start(), timeout: TIMEOUT, members: vec![], services: None, epoch: 0.0 };
    let operation = world.begin(plan, 1);
    assert!(world.cluster.abandon(world.now, operation).is_empty());
    assert!(!world.cluster.is_under_way(operation) && world.finished.is_empty());
    world.scripts[0].mute.clear();
    assert_eq!(world.run(status(), 1)[0].state, NodeState::Done);
}

#[test]
fn operations_run_beside_each_other_on_the_same_connections() {
    let slow = Script { mute: vec!["start"], ..Script::default() };
    let mut world = World::new(vec![slow, Script::default()], false);
    let plan = |operation| Plan { operation, timeout: TIMEOUT, members: vec![], services: None, epoch: 0.0 };
    let long = world.begin(plan(start()), 8);
    let short = world.begin(plan(status()), 8);
    while world.cluster.is_under_way(short) {
        world.step();
    }
    assert!(world.now < ms(100), "nobody waited for the other: {:?}", world.now);
    assert!(world.cluster.is_under_way(long));
    while world.cluster.is_under_way(long) {
        world.step();
    }
    let states = |operation| world.finished[&operation].iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(states(short), [NodeState::Done, NodeState::Done]);
    assert_eq!(states(long), [NodeState::TimedOut, NodeState::Done]);
}

#[test]
fn a_node_that_leaves_the_cluster_has_its_row_too() {
    let mut world = World::new(vec![Script::default(), Script::default()], false);
    let plan = Plan { operation: start(), timeout: TIMEOUT, members: vec![], services: None, epoch: 0.0 };
    let operation = world.begin(plan, 8);
    let effects = world.cluster.replace(world.now, &inventory(1, false));
    world.open[1] = false;
    world.coming.retain(|_, input| input.node() != Some(NodeId(2)));
    world
        .perform(effects.into_iter().filter(|effect| *effect != Effect::Close { node: NodeId(2) }).collect());
    while world.cluster.is_under_way(operation) {
        world.step();
    }
    let rows = &world.finished[&operation];
    assert_eq!(rows.iter().map(|row| row.state).collect::<Vec<_>>(), [NodeState::Done, NodeState::Cancelled]);
}

fn services() -> ServicesFile {
    let text = "[service:web]\n[config:web:a]\ntemplate = /t/a\ntarget = /etc/web/a\n";
    let ini = Ini::parse(text, "services.ini").unwrap();
    let services = Services::from_ini(&ini, std::path::Path::new("/")).unwrap();
    let templates = [("/t/a".to_owned(), Ok("id=$identifier of $cluster_size\n".to_owned()))].into();
    ServicesFile { path: "services.ini".to_owned(), services, templates }
}

fn configure(dry_run: bool) -> Operation {
    Operation::Configure(ConfigureRequest { dry_run, ..ConfigureRequest::default() })
}

#[test]
fn a_stock_node_is_configured_by_a_one_shot_that_is_removed() {
    let result = json!({"success": true, "files": [{"service": "web", "label": "a", "path": "/etc/web/a", "changed": true, "running": false}]});
    let script = Script { shot: Shot { looks: 3, result: Some(result), plugin: false }, ..Script::default() };
    let (row, world) = alone(script, configure(false));
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Done, ""));
    assert_eq!(
        row.data,
        json!({"files": [{"service": "web", "label": "a", "path": "/etc/web/a", "changed": true}]})
    );
    let shot = "circusman-configure-5e55-3";
    let told: Vec<String> = world.commands(0).iter().map(|c| c.replace(shot, "SHOT")).collect();
    assert_eq!(
        told,
        [
            "hello",
            "status",
            "configure",
            "status",
            "add SHOT",
            "stats SHOT",
            "stats SHOT",
            "stats SHOT",
            "rm SHOT",
            "status SHOT"
        ]
    );
    assert_eq!(world.scripts[0].oneshots(), 0);
}

#[test]
fn a_stock_node_is_configured_by_a_profile() {
    let text = "[service:cassandra]\nuse = cassandra-4.1\nhome = /opt/c\nvalue.cluster_name = lab\n";
    let ini = Ini::parse(text, "services.ini").unwrap();
    let services = Services::from_ini(&ini, std::path::Path::new("/")).unwrap();
    let file = ServicesFile { path: "services.ini".to_owned(), services, templates: [].into() };
    let row = |label: &str, changed: bool| json!({"service": "cassandra", "label": label, "path": "/p", "changed": changed, "running": changed});
    let result = json!({"success": true, "files": [row("rackdc", false), row("yaml", true)]});
    let script = Script { shot: Shot { looks: 1, result: Some(result), plugin: false }, ..Script::default() };
    let mut world = World::new(vec![script], false);
    let plan = Plan {
        operation: configure(false),
        timeout: TIMEOUT,
        members: vec!["127.0.0.1".to_owned()],
        services: Some(Arc::new(file)),
        epoch: 0.0,
    };
    let rows = world.run_plan(plan, 1);
    assert_eq!((rows[0].state, rows[0].reason.as_str()), (NodeState::Done, ""));
    assert_eq!(rows[0].data["restart_needed"], json!(["cassandra"]));
}

#[test]
fn the_old_plugin_gets_its_old_message_and_a_dry_run_does_not_reach_it() {
    let script = Script {
        shot: Shot { plugin: true, looks: 1, result: Some(json!({"files": []})) },
        ..Script::default()
    };
    let (row, world) = alone(script.clone(), configure(false));
    assert_eq!((row.state, row.reason.as_str()), (NodeState::Done, "by the node's own configure command"));
    let sent = &world.scripts[0].received[2];
    assert_eq!(
        sent.properties,
        json!({"identifier": 1, "address": "127.0.0.1", "cluster": ["127.0.0.1"], "isMaster": true})
    );
    let (_, world) = alone(script, configure(true));
    assert!(!world.commands(0).contains(&"configure".to_owned()));
}

#[test]
fn a_one_shot_that_ends_hangs_or_loses_its_connection_is_removed() {
    let gone = Script { shot: Shot { looks: 2, result: None, plugin: false }, ..Script::default() };
    let hangs = Script { shot: Shot { looks: 1_000_000, result: None, plugin: false }, ..Script::default() };
    let breaks = Script { breaks_at: vec![7], ..Script::default() };
    let mut world = World::new(vec![gone, hangs, breaks], false);
    let rows = world.run(configure(false), 8);
    let told: Vec<(NodeState, &str)> = rows.iter().map(|r| (r.state, r.reason.as_str())).collect();
    assert_eq!(
        told,
        [
            (NodeState::Failed, "the one-shot ended without a result; is there a Python on the node?"),
            (NodeState::TimedOut, "not finished within 5 s"),
            (
                NodeState::Failed,
                "connection lost during configure, which may have been done or not: connection reset by peer"
            ),
        ]
    );
    for script in &world.scripts {
        assert_eq!(script.oneshots(), 0, "{:?}", script.watchers);
    }
}

#[test]
fn what_an_abandoned_operation_left_goes_before_anything_else() {
    let shot = Shot { looks: 1_000_000, result: None, plugin: false };
    let mut world = World::new(vec![Script { shot, ..Script::default() }], false);
    let members = vec!["127.0.0.1".to_owned()];
    let plan = Plan {
        operation: configure(true),
        timeout: TIMEOUT,
        members,
        services: Some(Arc::new(services())),
        epoch: 0.0,
    };
    let operation = world.begin(plan, 1);
    while world.scripts[0].oneshots() == 0 {
        let ((at, _), input) = world.coming.pop_first().unwrap();
        world.now = at;
        let effects = world.cluster.step(at, input);
        world.perform(effects);
    }
    // The node is busy just then, and refuses the removal that is sent at once.
    world.scripts[0].busy_until = world.now + ms(300);
    let effects = world.cluster.abandon(world.now, operation);
    world.perform(effects);
    assert_eq!((world.scripts[0].oneshots(), world.cluster.indebted()), (1, vec!["n1".to_owned()]));
    assert_eq!(world.run(status(), 1)[0].state, NodeState::Done);
    assert_eq!((world.scripts[0].oneshots(), world.cluster.indebted().len()), (0, 0));
}

#[test]
fn a_leftover_is_removed_and_a_living_one_shot_of_another_console_is_not() {
    let mut script = Script { shot: Shot { looks: 0, result: None, plugin: false }, ..Script::default() };
    script.watchers.push(("circusman-reset-0ther-4".to_owned(), "stopped".to_owned()));
    let (row, world) = alone(script.clone(), status());
    assert_eq!(row.state, NodeState::Done);
    assert_eq!(world.notes, ["removed what an interrupted console left behind: circusman-reset-0ther-4"]);
    script.shot.looks = 1_000_000;
    let (row, world) = alone(script, status());
    assert!(row.data["watchers"].get("circusman-reset-0ther-4").is_none(), "not a watcher of the user");
    assert_eq!((world.notes.len(), world.scripts[0].oneshots()), (0, 1));
}

fn script() -> impl Strategy<Value = Script> {
    let reach = prop_oneof![
        6 => Just((None, false)),
        1 => Just((Some("connection refused"), false)),
        1 => Just((None, true)),
    ];
    let mute =
        prop::collection::vec(prop_oneof![Just("hello"), Just("status"), Just("start"), Just("stop")], 0..2);
    let breaks = prop::collection::vec(1..9_usize, 0..4);
    (reach, 0..3000_u64, any::<bool>(), 0..9000_u64, mute, breaks).prop_map(
        |((refuses, dark), latency, rs, busy, mute, breaks_at)| Script {
            refuses,
            dark,
            hangs: false,
            latency: ms(latency / 2),
            rs,
            busy_until: ms(busy),
            mute,
            breaks_at,
            ..Script::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_node_has_exactly_one_outcome_in_time(
        scripts in prop::collection::vec(script(), 1..12),
        parallel in 1..6_usize,
        operations in prop::collection::vec(0..5_u8, 1..4),
    ) {
        let n = scripts.len();
        let mut world = World::new(scripts, false);
        for operation in operations {
            let operation = match operation {
                0 => status(),
                1 => start(),
                2 => Operation::Stop { names: vec![] },
                3 => configure(false),
                _ => Operation::Restart { names: vec!["db".to_owned()] },
            };
            let begun = world.now;
            let rows = world.run(operation, parallel);
            prop_assert_eq!(rows.len(), n);
            for (i, row) in rows.iter().enumerate() {
                prop_assert_eq!(&row.node, &format!("n{}", i + 1));
            }
            for (row, script) in rows.iter().zip(&world.scripts) {
                if matches!(row.state, NodeState::Done | NodeState::Unchanged) {
                    prop_assert_eq!(script.oneshots(), 0, "{:?}", row);
                }
            }
            prop_assert!(world.most_active <= parallel);
            let rounds = u32::try_from(n.div_ceil(parallel) + 1).unwrap();
            prop_assert!(world.now - begun <= (TIMEOUT + CLEANUP_TIME) * rounds);
        }
    }
}

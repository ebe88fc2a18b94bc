//! `ready`: how far watchers have come, and waiting until they are there.
//!
//! ```text
//!  native  ready {wait} ─► all ready, or one that will not be ─► verdict
//!             └───────────── the rest of the time ──┘
//!  stock   one round ([`Stock`]) ─► all ready, or one that will not be ─► verdict
//!             └─────── pause ────────┘
//! ```
//!
//! A stock node has no probes: the console asks what the services file says. Of a watcher about which
//! that says nothing, active is all that can be told.
//!
//! Of a watcher that will not be ready, a native node is asked how it crashed last ([`Lost`]).

mod lost;
mod stock;
mod vain;

use std::time::Duration;

use serde_json::{Map, Value, json};

use lost::Lost;
use stock::Round;
pub use stock::Stock;
pub use vain::MANY;
use vain::Vain;

use crate::cluster::answer::{Answer, Request};
use crate::cluster::names::{Listed, alternation, any_glob, is_helper, is_oneshot, select};
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict, refused_by_rs};
use crate::outcome::NodeState;

/// How long a native node may take for one answer: short enough that it says now and then what is
/// missing, for the row of a node whose time is over.
const ASK_AGAIN: f64 = 2.0;
/// The pause before a native node is asked again; it has waited already.
const AGAIN: Duration = Duration::from_millis(50);
/// How long between two looks at a stock node.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The same when probes are asked: each round is several questions.
const PROBE_AGAIN: Duration = Duration::from_secs(1);

/// How far watchers have come.
#[derive(Debug)]
pub struct Ready {
    wanted: Vec<String>,
    wait: bool,
    /// Up is enough.
    up: bool,
    /// What is missing, as it was told last.
    missing: Vec<String>,
    /// When it was looked at first.
    begun: Option<Duration>,
    vain: Vain,
    /// Who will not be ready, when that is known.
    lost: Option<Lost>,
    stock: Stock,
}

impl Ready {
    /// Of these watchers; of all when none is named. `wait`: until all are ready, or one has ended too
    /// often meanwhile. On a stock node, `stock` finds out.
    #[must_use]
    pub fn new(wanted: Vec<String>, wait: bool, stock: Stock) -> Self {
        let (missing, vain) = (Vec::new(), Vain::new(MANY));
        Self { wanted, wait, up: false, missing, begun: None, vain, lost: None, stock }
    }

    /// Until these are up, joined or not.
    #[must_use]
    pub fn up(wanted: Vec<String>, stock: Stock) -> Self {
        Self { up: true, ..Self::new(wanted, true, stock) }
    }

    /// So many ends of a process are too many; 0: never.
    #[must_use]
    pub fn giving_up_after(self, crashes: u32) -> Self {
        Self { vain: Vain::new(crashes), ..self }
    }

    fn ask(&self) -> Next {
        let mut properties = match self.wanted.as_slice() {
            // What a pattern means is told by the answer about all of them.
            _ if any_glob(&self.wanted) => return Next::Send(Request::new("ready", json!({}))),
            [] => Map::new(),
            [name] => Map::from_iter([("name".to_owned(), json!(name))]),
            several => Map::from_iter([
                ("name".to_owned(), json!(alternation(several))),
                ("match".to_owned(), json!("regex")),
            ]),
        };
        // A node that waits does so until all is ready, which is more than up.
        if self.wait && !self.up {
            properties.insert("wait".to_owned(), json!(ASK_AGAIN));
        }
        Next::Send(Request::new("ready", Value::Object(properties)))
    }

    fn judge(&mut self, context: &Context<'_>, mut watchers: Map<String, Value>, pause: Duration) -> Next {
        watchers.retain(|name, _| !(is_oneshot(name) || self.wanted.is_empty() && is_helper(name)));
        if any_glob(&self.wanted) {
            let all: Vec<Listed> = watchers.keys().map(|name| Listed::named(name)).collect();
            match select(&all, &self.wanted) {
                Ok(chosen) => self.wanted = chosen.into_iter().map(|watcher| watcher.name).collect(),
                Err(unselected) => return unselected.verdict().into(),
            }
            watchers.retain(|name, _| self.wanted.contains(name));
        }
        if let Some(missing) = self.wanted.iter().find(|wanted| !has(&watchers, wanted)) {
            let there: Vec<&str> = watchers.keys().map(String::as_str).collect();
            let reason = format!("no watcher named {missing}; it has {}", there.join(", "));
            return Verdict::bare(NodeState::Refused, reason).into();
        }
        // Who was not named and does not run is not waited for.
        let counts = |said: &Value| !self.wanted.is_empty() || word(said) != "down";
        let open: Vec<(&String, &Value)> =
            watchers.iter().filter(|(_, said)| counts(said) && !self.is_ready(said)).collect();
        self.missing = open.iter().map(|(name, said)| told(name, said)).collect();
        if !self.wait || open.is_empty() {
            return Verdict::with(NodeState::Done, "", json!({ "watchers": watchers })).into();
        }
        let begun = *self.begun.get_or_insert(context.now);
        let mut lost = Vec::new();
        for (name, said) in open {
            let ends = self.vain.look(name, said, context.now);
            match (word(said), ends) {
                ("failed" | "down", _) => lost.push((name.clone(), told(name, said))),
                (_, Some(ends)) => {
                    lost.push((name.clone(), format!("{name} crashed {ends} times while it was waited for")));
                }
                (_, None) => {}
            }
        }
        if lost.is_empty() {
            return Next::Pause(pause);
        }
        let data = json!({ "watchers": watchers });
        self.lost.insert(Lost::new(lost, data, context.now.saturating_sub(begun))).ask(context)
    }

    fn is_ready(&self, said: &Value) -> bool {
        let ready = said.get("ready").and_then(Value::as_bool).unwrap_or(false);
        ready || self.up && matches!(word(said), "up" | "joined")
    }
}

fn word(said: &Value) -> &str {
    said.get("state").and_then(Value::as_str).unwrap_or("?")
}

fn has(watchers: &Map<String, Value>, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    watchers.keys().any(|name| name.to_lowercase() == wanted)
}

/// `cassandra is starting: tcp 127.0.0.1:9042: connection refused`.
fn told(name: &str, said: &Value) -> String {
    let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default();
    match text("detail") {
        "" => format!("{name} is {}", text("state")),
        detail => format!("{name} is {}: {detail}", text("state")),
    }
}

impl Ready {
    fn stock(&mut self, context: &Context<'_>, event: Event) -> Next {
        if event == Event::Begin || event == Event::Woken && self.stock.rests() {
            return self.stock.begin(&self.wanted, self.wait && !self.up);
        }
        match self.stock.step(event) {
            Round::Go(next) => next,
            Round::Told { watchers, probed } => {
                self.judge(context, watchers, if probed { PROBE_AGAIN } else { LOOK_AGAIN })
            }
        }
    }
}

impl Procedure for Ready {
    fn next(&mut self, context: &Context<'_>, event: Event) -> Next {
        if !context.daemon.can("ready") {
            return self.stock(context, event);
        }
        let answer = match event {
            Event::Begin | Event::Woken => return self.ask(),
            Event::Answer(answer) => answer,
        };
        if let Some(lost) = &mut self.lost {
            lost.hear(&answer);
            return lost.ask(context);
        }
        match answer {
            Answer::Ok(mut reply) => match reply.remove("watchers") {
                Some(Value::Object(watchers)) => {
                    self.judge(context, watchers, if self.up { LOOK_AGAIN } else { AGAIN })
                }
                _ => Verdict::bare(NodeState::Failed, "ready: the answer has no `watchers`").into(),
            },
            Answer::Error { errno, reason } => refused_by_rs("ready", errno, &reason).into(),
        }
    }

    fn leftover(&self) -> Option<&str> {
        self.stock.leftover()
    }

    fn waits_for(&self) -> Option<String> {
        (!self.missing.is_empty()).then(|| self.missing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::Daemon;

    fn native() -> Daemon {
        let hello = json!({"version": "1", "extensions": ["hello", "ready"]});
        Daemon::from_hello(hello.as_object().expect("an object"))
    }

    fn answer(value: Value) -> Event {
        Event::Answer(Answer::Ok(value.as_object().expect("an object").clone()))
    }

    fn bare() -> Stock {
        Stock::new(circus_protocol::service::Membership::default(), None, "circusman-ready-1".into())
    }

    /// A services file, and a node that runs one service of it.
    fn described(probes: &str, address: &str) -> Stock {
        let text = format!("[service:db]\n{probes}");
        let ini = circus_protocol::ini::Ini::parse(&text, "s.ini").unwrap();
        let services = circus_protocol::service::Services::from_ini(&ini, std::path::Path::new("/")).unwrap();
        let file = crate::cluster::plan::ServicesFile { services, ..Default::default() };
        let node = circus_protocol::service::Membership {
            identifier: 1,
            address: address.into(),
            cluster: vec![address.into()],
            ..Default::default()
        };
        Stock::new(node, Some(std::sync::Arc::new(file)), "circusman-ready-1".into())
    }

    fn play(ready: &mut Ready, daemon: &Daemon, answers: &[Value]) -> Next {
        let context = Context { daemon, now: Duration::ZERO };
        let mut next = ready.next(&context, Event::Begin);
        for said in answers {
            assert!(matches!(next, Next::Send(_)), "{next:?}");
            next = ready.next(&context, answer(said.clone()));
            if let Next::Pause(_) = next {
                next = ready.next(&context, Event::Woken);
            }
        }
        next
    }

    #[test]
    fn waits_until_all_is_ready() {
        let mut ready = Ready::new(vec!["db".into()], true, bare());
        let starting = json!({"watchers": {"db": {"state": "starting", "ready": false, "detail": "port 1"}}});
        let joined = json!({"watchers": {"db": {"state": "joined", "ready": true, "detail": ""}}});
        let next = play(&mut ready, &native(), &[starting.clone(), starting]);
        let Next::Send(request) = next else { panic!("{next:?}") };
        assert_eq!((request.command.as_str(), &request.properties["wait"]), ("ready", &json!(2.0)));
        assert_eq!(ready.waits_for().as_deref(), Some("db is starting: port 1"));
        let next = play(&mut ready, &native(), &[joined]);
        assert!(matches!(next, Next::Finish(Verdict { state: NodeState::Done, .. })), "{next:?}");
    }

    #[test]
    fn what_will_not_be_ready_is_not_waited_for() {
        let failed = json!({"watchers": {"db": {"state": "failed", "ready": false, "detail": "exit 3"}}});
        let next = play(&mut Ready::new(Vec::new(), true, bare()), &native(), &[failed]);
        let Next::Finish(verdict) = next else { panic!("{next:?}") };
        assert_eq!(
            (verdict.state, verdict.reason.as_str()),
            (NodeState::Failed, "db is failed: exit 3; see `circusman why db` and `circusman logs db`")
        );
    }

    /// One answer at each of these seconds, until it is over or they are.
    fn at_seconds(
        ready: &mut Ready,
        daemon: &Daemon,
        said: impl Fn(&str, u64) -> Value,
        seconds: std::ops::Range<u64>,
    ) -> Option<(u64, Verdict)> {
        for second in seconds {
            let context = Context { daemon, now: Duration::from_secs(second) };
            let mut next = ready.next(&context, if second == 0 { Event::Begin } else { Event::Woken });
            loop {
                next = match next {
                    Next::Send(request) => {
                        ready.next(&context, answer(said(request.command.as_str(), second)))
                    }
                    Next::Probe(questions) => {
                        let answers = vec!["tcp: connection refused"; questions.len()];
                        ready.next(&context, answer(json!({ "answers": answers })))
                    }
                    Next::Pause(_) => break,
                    Next::Finish(verdict) => return Some((second, verdict)),
                }
            }
        }
        None
    }

    /// A native watcher that crashed seven times before and crashes each two seconds until it is ready, and
    /// tells of its last crash.
    fn crashing(until: u64) -> impl Fn(&str, u64) -> Value {
        move |command, second| match command {
            "ready" if second >= until => json!({"watchers": {
                "db": {"state": "joined", "ready": true, "detail": "", "ends": 7 + until / 2, "numprocesses": 1},
            }}),
            "ready" => json!({"watchers": {
                "db": {"state": "starting", "ready": false, "detail": "", "ends": 7 + second / 2, "numprocesses": 1},
            }}),
            "why" => json!({"time": 1000.0 + second as f64, "crash": {
                "died": 999.0 + second as f64, "meaning": "it ended with status 3", "evidence": "no lock",
            }}),
            other => panic!("{other} was not to be asked"),
        }
    }

    #[test]
    fn what_crashes_again_and_again_is_not_waited_for() {
        let hello = json!({"version": "1", "extensions": ["ready", "why"]});
        let daemon = Daemon::from_hello(hello.as_object().expect("an object"));
        let db = || Ready::new(vec!["db".into()], true, bare());
        let (second, verdict) = at_seconds(&mut db(), &daemon, crashing(99), 0..60).expect("an end");
        assert_eq!((second, verdict.state), (10, NodeState::Failed));
        assert_eq!(
            verdict.reason,
            "db crashed 5 times while it was waited for; its last crash: it ended with status 3 (its output says: \
             no lock); see `circusman why db` and `circusman logs db`"
        );
        assert_eq!(verdict.data["watchers"]["db"]["ends"], 12);
        // Once or twice is none of our business, and neither is more for who says so.
        let (second, verdict) = at_seconds(&mut db(), &daemon, crashing(5), 0..60).expect("an end");
        assert_eq!((second, verdict.state), (5, NodeState::Done));
        let mut patient = db().giving_up_after(0);
        let (second, verdict) = at_seconds(&mut patient, &daemon, crashing(50), 0..60).expect("an end");
        assert_eq!((second, verdict.state), (50, NodeState::Done));
        // Nor do processes count that end while nobody waits.
        let mut looking = Ready::new(vec!["db".into()], false, bare());
        let (second, _) = at_seconds(&mut looking, &daemon, crashing(99), 0..60).expect("an end");
        assert_eq!(second, 0);
    }

    #[test]
    fn on_a_stock_node_other_processes_than_before_tell_of_crashes() {
        // Another process each three seconds, which lives for one of them and is then noticed to be dead.
        let stock = |command: &str, second: u64| {
            let pid = (100 + second / 3).to_string();
            match (command, second % 3) {
                ("status", _) => json!({"statuses": {"db": "active"}}),
                ("stats", 0) => json!({"info": {pid: {"age": 0.5}}}),
                ("stats", 1) => json!({"info": {pid: "No such process (stopped?)"}}),
                ("stats", _) => json!({"info": {}}),
                other => panic!("{other:?} was not to be asked"),
            }
        };
        let probed = described("probe.up.tcp = ${address}:1\n", "10.0.0.1");
        let mut ready = Ready::new(vec!["db".into()], true, probed);
        let (second, verdict) = at_seconds(&mut ready, &Daemon::Stock, stock, 0..60).expect("an end");
        assert_eq!((second, verdict.state), (15, NodeState::Failed));
        assert_eq!(
            verdict.reason,
            "db crashed 5 times while it was waited for; see `circusman why db` and `circusman logs db`"
        );
    }

    #[test]
    fn a_stock_node_tells_what_it_can() {
        let states = json!({"statuses": {"db": "active", "web": "stopped", "circusd-stats": "active"}});
        let next =
            play(&mut Ready::new(Vec::new(), true, bare()), &Daemon::Stock, std::slice::from_ref(&states));
        let Next::Finish(verdict) = next else { panic!("{next:?}") };
        assert_eq!(verdict.state, NodeState::Done);
        assert_eq!(verdict.data["watchers"]["db"]["state"], "up");
        let named = play(&mut Ready::new(vec!["web".into()], true, bare()), &Daemon::Stock, &[states]);
        let Next::Finish(verdict) = named else { panic!("{named:?}") };
        assert_eq!(
            (verdict.state, verdict.reason.as_str()),
            (NodeState::Failed, "web is down; see `circusman why web` and `circusman logs web`")
        );
    }

    const PROBES: &str = "probe.up.pid_alive = 5\nprobe.joined.http = http://${address}:7474/ha\n";

    #[test]
    fn probes_of_a_stock_node_are_asked_from_here() {
        let context = Context { daemon: &Daemon::Stock, now: Duration::ZERO };
        let mut ready = Ready::new(Vec::new(), true, described(PROBES, "10.0.0.1"));
        let mut next = ready.next(&context, Event::Begin);
        // Too young, then not there yet, then joined.
        for (age, said, expected) in [
            (3.0, json!("http: status 404"), Some("db is starting: not up yet: alive for 3 s of 5 s")),
            (9.0, json!("http: status 404"), Some("db is up: not joined yet: http: status 404")),
            (12.0, json!(null), None),
        ] {
            assert!(matches!(&next, Next::Send(request) if request.command == "status"), "{next:?}");
            next = ready.next(&context, answer(json!({"statuses": {"db": "active"}})));
            assert!(matches!(&next, Next::Send(request) if request.command == "stats"), "{next:?}");
            next = ready.next(&context, answer(json!({"info": {"7": {"age": age}}})));
            let Next::Probe(questions) = next else { panic!("{next:?}") };
            assert_eq!(questions.len(), 1);
            next = ready.next(&context, answer(json!({"answers": [said]})));
            if let Some(expected) = expected {
                assert_eq!(
                    (&next, ready.waits_for().as_deref()),
                    (&Next::Pause(PROBE_AGAIN), Some(expected))
                );
                next = ready.next(&context, Event::Woken);
            }
        }
        let Next::Finish(verdict) = next else { panic!("{next:?}") };
        let joined = json!({"state": "joined", "ready": true, "detail": "", "ends": 0, "numprocesses": 1});
        assert_eq!(verdict.data["watchers"]["db"], joined);
        assert_eq!(ready.leftover(), None, "nothing was added to the node");
    }

    #[test]
    fn what_only_the_node_can_ask_is_asked_there() {
        let context = Context { daemon: &Daemon::Stock, now: Duration::ZERO };
        let probes = "probe.up.tcp = ${address}:7000\nprobe.joined.exec = /bin/nodetool info\nprobe.joined.output = UN\n\
                      probe.joined.tcp = 127.0.0.1:7199\n";
        let mut ready = Ready::new(Vec::new(), true, described(probes, "10.0.0.1"));
        let mut next = ready.next(&context, Event::Begin);
        assert!(matches!(next, Next::Send(_)), "{next:?}");
        next = ready.next(&context, answer(json!({"statuses": {"db": "active"}})));
        assert!(matches!(next, Next::Send(_)), "{next:?}");
        next = ready.next(&context, answer(json!({"info": {"7": {"age": 1.0}}})));
        let Next::Probe(questions) = &next else { panic!("{next:?}") };
        assert_eq!(questions.len(), 1, "the loopback of another machine is not ours: {questions:?}");
        next = ready.next(&context, answer(json!({"answers": [null]})));
        assert!(matches!(&next, Next::Send(request) if request.command == "options"), "{next:?}");
        next = ready
            .next(&context, answer(json!({"options": {"uid": 7, "env": {"A": "b"}, "working_dir": "/srv"}})));
        let Next::Send(request) = &next else { panic!("{next:?}") };
        assert_eq!(
            (request.command.as_str(), &request.properties["name"]),
            ("add", &json!("circusman-ready-1"))
        );
        assert_eq!(ready.leftover(), Some("circusman-ready-1"));
    }
}

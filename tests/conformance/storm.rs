//! Random commands of four clients at once against a daemon whose children misbehave; afterwards the
//! world is what was wished last, and nothing has leaked. circusd-rs alone: stock's lock refuses most
//! of this, and the rest hangs it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor, descendants};
use circus_tests::wait::{PATIENCE, until};
use circus_tests::wire::Wire;
use serde_json::{Value, json};

const LASTS: Duration = Duration::from_secs(10);
const CLIENTS: u64 = 4;

/// Short times for all: one that is stopped by a signal hears no TERM.
const INI: &str = "\
[circus]
check_delay = 0.3
[watcher:a]
cmd = sleep 1000
numprocesses = 3
graceful_timeout = 0.5
[watcher:b]
cmd = {mischief} stubborn
graceful_timeout = 0.2
[watcher:c]
cmd = {mischief} slow 1
graceful_timeout = 0.4
[watcher:d]
cmd = {mischief} with-child
graceful_timeout = 1
stop_children = True
[watcher:e]
cmd = {mischief} exit 3
graceful_timeout = 0.3
[watcher:f]
cmd = {mischief} group
graceful_timeout = 0.3
[watcher:g]
cmd = /no/such/program
max_retry = 2
graceful_timeout = 0.3
[watcher:h]
cmd = sleep 1000
singleton = True
graceful_timeout = 0.3
";

/// splitmix64: enough to be different, and repeatable.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let last = u64::try_from(from.len()).expect("a short list");
        from[usize::try_from(self.roll(last)).expect("an index")]
    }

    fn request(&mut self) -> (&'static str, Value) {
        let name = self.pick(&["a", "b", "c", "d", "e", "f", "g", "h", "x0", "x1", "nope"]);
        let waiting = self.roll(2) == 0;
        match self.roll(22) {
            0 | 1 => ("start", json!({"name": name, "waiting": waiting})),
            2 | 3 => ("stop", json!({"name": name, "waiting": waiting})),
            4 | 5 => ("restart", json!({"name": name, "waiting": waiting})),
            6 => ("reload", json!({"name": name, "waiting": waiting, "sequential": self.roll(2) == 0})),
            7 => ("reload", json!({"name": name, "waiting": waiting, "graceful": false})),
            8 => ("incr", json!({"name": name, "waiting": waiting})),
            9 => ("decr", json!({"name": name, "waiting": waiting})),
            10 => {
                ("set", json!({"name": name, "options": {"numprocesses": self.roll(4)}, "waiting": waiting}))
            }
            11 => (
                "set",
                json!({"name": name, "options": {"max_age": self.roll(2), "env": {"A": "b"}}, "waiting": waiting}),
            ),
            12 => ("kill", json!({"name": name, "waiting": waiting, "graceful_timeout": 0.1})),
            13 => (
                "signal",
                json!({"name": name, "signum": self.pick(&["kill", "term", "cont", "stop", "nosuch"])}),
            ),
            14 => (
                "add",
                json!({"name": self.pick(&["x0", "x1"]), "cmd": "sleep 1000",
                "options": {"graceful_timeout": 0.3}, "start": waiting, "waiting": waiting}),
            ),
            15 => ("rm", json!({"name": self.pick(&["x0", "x1"]), "waiting": waiting})),
            16 => ("stop", json!({"name": "[a-d]", "waiting": waiting})),
            17 => ("start", json!({"waiting": waiting})),
            18 => ("restart", json!({"name": "[e-h]", "waiting": waiting})),
            19 => ("stats", json!({})),
            20 => ("options", json!({"name": name})),
            _ => ("status", json!({})),
        }
    }
}

/// Sends bursts and wants every answer of each exactly once; gives the number of requests.
fn client(endpoint: &str, pubsub: &str, seed: u64) -> usize {
    let mut wire = Wire::connect(endpoint, pubsub);
    let mut dice = Dice(seed);
    let end = Instant::now() + LASTS;
    let mut sent = 0;
    while Instant::now() < end {
        let mut open = BTreeSet::new();
        let mut asked = Vec::new();
        for _ in 0..=dice.roll(4) {
            let (command, properties) = dice.request();
            let id = format!("{seed}-{sent}");
            let request = json!({"id": id, "command": command, "properties": properties}).to_string();
            wire.send(request.as_bytes());
            asked.push(request);
            open.insert(id);
            sent += 1;
        }
        while !open.is_empty() {
            let Some(reply) = wire.reply_within(PATIENCE) else {
                panic!("seed {seed}: no answer to {open:?} of {asked:#?}");
            };
            let id = reply["id"].as_str().expect("our id").to_owned();
            assert!(open.remove(&id), "seed {seed}: answered twice: {reply}");
        }
    }
    sent
}

/// The same last wishes before and after, so that what is held then compares.
fn settle(wire: &mut Wire) -> BTreeSet<i32> {
    for name in ["x0", "x1"] {
        wire.ask("rm", &json!({"name": name, "waiting": true}));
    }
    for name in ["b", "d", "e", "f", "g"] {
        let reply = wire.ask("stop", &json!({"name": name, "waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
    }
    let mut all = BTreeSet::new();
    for (name, count) in [("a", 3), ("c", 2), ("h", 1)] {
        let options = json!({"numprocesses": count, "max_age": 0});
        wire.ask("set", &json!({"name": name, "options": options, "waiting": true}));
        let reply = wire.ask("restart", &json!({"name": name, "waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
    }
    for (name, count) in [("a", 3), ("c", 2), ("h", 1)] {
        let pids = until(&format!("{count} processes of {name}"), || {
            let reply = wire.ask("list", &json!({"name": name}));
            let pids: Vec<i64> = reply["pids"].as_array()?.iter().filter_map(Value::as_i64).collect();
            (pids.len() == count).then_some(pids)
        });
        all.extend(pids.into_iter().map(|pid| i32::try_from(pid).expect("a pid fits")));
    }
    let statuses = wire.ask("status", &json!({}))["statuses"].clone();
    let wished = json!({"a": "active", "b": "stopped", "c": "active", "d": "stopped", "e": "stopped",
        "f": "stopped", "g": "stopped", "h": "active"});
    assert_eq!(statuses, wished);
    all
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it lives").count()
}

#[test]
fn afterwards_everything_is_as_wished() {
    let daemon = Daemon::start(Flavor::Ours, INI);
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    settle(&mut wire);
    let before = descriptors(&daemon);

    let clients: Vec<_> = (1..=CLIENTS)
        .map(|seed| {
            let (endpoint, pubsub) = (daemon.endpoint(), daemon.pubsub());
            std::thread::spawn(move || client(&endpoint, &pubsub, seed))
        })
        .collect();
    let sent: usize = clients.into_iter().map(|client| client.join().expect("every answer came once")).sum();
    assert!(sent > 100, "a storm of {sent} requests is none");

    let known = settle(&mut wire);
    // Nobody else below the daemon, not even as a zombie.
    until("no orphan and no zombie", || {
        let below: BTreeSet<i32> = descendants(daemon.pid()).into_iter().collect();
        (below == known).then_some(())
    });
    until("the descriptors to be given back", || (descriptors(&daemon) <= before).then_some(()));
    assert!(!daemon.log().contains("bug:"), "{}", daemon.log());
}

//! One simulated node: its watchers, what it answers, and what it publishes. Pure: no socket, and the
//! time is an argument.

use circus_protocol::event::{Event, EventKind};
use circus_protocol::name::WatcherName;
use circus_protocol::number::Pid;
use circus_protocol::stat::figures::{Nice, ProcessFigures, memory_text};
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::log::Log;

/// What the first watchers are called.
const NAMES: [&str; 10] =
    ["web", "db", "cache", "queue", "search", "metrics", "auth", "mail", "proxy", "cron"];
/// The longest piece of a log in one answer.
const MAX_PIECE: u64 = 256 * 1024;

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// Its host name.
    name: String,
    /// It answers as the Python circusd does.
    stock: bool,
    pubsub: String,
    watchers: Vec<Watcher>,
    next_pid: i32,
    started: f64,
    events: Vec<Event>,
    /// It was told to quit.
    pub(super) quits: bool,
}

#[derive(Debug)]
struct Watcher {
    name: WatcherName,
    active: bool,
    pid: i32,
    born: f64,
    restarts: u64,
    since: f64,
}

impl Node {
    /// All its watchers are active.
    pub(super) fn new(name: String, pubsub: String, watchers: u16, stock: bool, now: f64) -> Self {
        let mut node = Self {
            name,
            stock,
            pubsub,
            watchers: Vec::with_capacity(usize::from(watchers)),
            next_pid: 1_000,
            started: now,
            events: Vec::new(),
            quits: false,
        };
        for at in 0..usize::from(watchers) {
            let name = NAMES.get(at).map_or_else(|| format!("worker-{}", at + 1), |name| (*name).to_owned());
            let pid = node.pid();
            let name = WatcherName::new(&name);
            node.watchers.push(Watcher { name, active: true, pid, born: now, restarts: 0, since: now });
        }
        node
    }

    fn pid(&mut self) -> i32 {
        self.next_pid = if self.next_pid >= 4_000_000 { 1_000 } else { self.next_pid + 1 };
        self.next_pid
    }

    /// How many watchers it has.
    pub(super) fn watchers(&self) -> usize {
        self.watchers.len()
    }

    /// What it published since this was asked last.
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The answer to a request, or nothing for what is no request or wants none.
    pub(super) fn answer(&mut self, request: &[u8], now: f64) -> Option<Vec<u8>> {
        let request: Value = serde_json::from_slice(request).ok()?;
        let command = request.get("command")?.as_str()?.to_ascii_lowercase();
        let nothing = Map::new();
        let properties = request.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let (mut reply, wrong) = match self.obey(&command, properties, now) {
            Ok(Value::Object(reply)) => (reply, None),
            Ok(_) => (Map::new(), None),
            Err(wrong) => (Map::new(), Some(wrong)),
        };
        if request.get("msg_type").and_then(Value::as_str) == Some("cast") {
            return None;
        }
        let mut answer = Map::new();
        answer.insert("status".to_owned(), json!(if wrong.is_some() { "error" } else { "ok" }));
        if let Some((errno, reason)) = wrong {
            answer.extend([("reason", json!(reason)), ("tb", Value::Null), ("errno", json!(errno))].map(own));
        }
        answer.insert("time".to_owned(), json!(now));
        answer.append(&mut reply);
        answer.insert("id".to_owned(), request.get("id").cloned().unwrap_or_default());
        Some(Value::Object(answer).to_string().into_bytes())
    }

    fn obey(&mut self, command: &str, given: &Map<String, Value>, now: f64) -> Result<Value, (u8, String)> {
        let text = |key: &str| given.get(key).and_then(Value::as_str);
        match command {
            "status" if text("name").is_some() => {
                let at = self.named(text("name"))?;
                Ok(json!({"status": state(self.watchers.get(at))}))
            }
            "status" => {
                let states =
                    self.watchers.iter().map(|w| (w.name.original().to_owned(), json!(state(Some(w)))));
                Ok(json!({"statuses": states.collect::<Map<_, _>>()}))
            }
            "numwatchers" => Ok(json!({"numwatchers": self.watchers.len()})),
            "numprocesses" if text("name").is_some() => {
                let at = self.named(text("name"))?;
                let count = u8::from(self.watchers.get(at).is_some_and(|w| w.active));
                Ok(json!({"numprocesses": count, "watcher_name": text("name")}))
            }
            "numprocesses" => Ok(json!({"numprocesses": self.watchers.iter().filter(|w| w.active).count()})),
            "list" if text("name").is_some() => {
                let at = self.named(text("name"))?;
                let pids: Vec<i32> =
                    self.watchers.get(at).filter(|w| w.active).map(|w| w.pid).into_iter().collect();
                Ok(json!({"pids": pids}))
            }
            "list" => Ok(json!({"watchers": self.watchers.iter().map(|w| w.name.key()).collect::<Vec<_>>()})),
            "globaloptions" => Ok(json!({"options": {"pubsub_endpoint": self.pubsub, "check_delay": 1.0}})),
            "options" => {
                let at = self.named(text("name"))?;
                let cmd = self.watchers.get(at).map(|w| w.name.key().to_owned());
                Ok(json!({"options": {"cmd": cmd, "numprocesses": 1}}))
            }
            "stats" => self.stats(text("name"), now),
            "start" | "stop" | "restart" | "reload" => {
                for at in self.meant(given)? {
                    self.act(command, at, now);
                }
                Ok(json!({}))
            }
            "quit" => {
                self.quits = true;
                Ok(json!({}))
            }
            "hello" | "ready" | "why" | "logs" if !self.stock => self.extension(command, given, now),
            _ => Err((2, format!("unknown command: '{command}'"))),
        }
    }

    fn extension(&self, command: &str, given: &Map<String, Value>, now: f64) -> Result<Value, (u8, String)> {
        let text = |key: &str| given.get(key).and_then(Value::as_str);
        match command {
            "hello" => Ok(json!({
                "name": "circusd-rs", "version": env!("CARGO_PKG_VERSION"), "node": self.name,
                "extensions": ["hello", "ready", "why", "logs"], "pubsub_endpoint": self.pubsub,
            })),
            "ready" => {
                let ready = |w: &Watcher| {
                    let word = if w.active { "up" } else { "down" };
                    json!({"state": word, "ready": w.active, "since": w.since, "detail": ""})
                };
                let chosen = self.meant(given)?.into_iter().filter_map(|at| self.watchers.get(at));
                Ok(
                    json!({"watchers": chosen.map(|w| (w.name.original().to_owned(), ready(w))).collect::<Map<_, _>>()}),
                )
            }
            "why" => {
                let at = self.named(text("name"))?;
                let Some(watcher) = self.watchers.get(at) else { return Ok(json!({})) };
                let story = format!("{} is {}", watcher.name.original(), state(Some(watcher)));
                Ok(
                    json!({"name": watcher.name.original(), "state": state(Some(watcher)), "story": story, "crash": null}),
                )
            }
            _ => {
                let at = self.named(text("name"))?;
                let watcher = self.watchers.get(at).map_or("", |w| w.name.key());
                let log = Log { watcher, since: self.started - 3_600.0 };
                let number = |key: &str| given.get(key).and_then(Value::as_u64);
                let lines = number("lines").unwrap_or(100);
                let offset = number("offset").unwrap_or_else(|| log.last(now, lines));
                let text = log.read(now, offset, number("limit").unwrap_or(MAX_PIECE).min(MAX_PIECE));
                let next = offset + text.len() as u64;
                let eof = next >= log.size(now);
                Ok(
                    json!({"text": text, "offset": offset, "next_offset": next, "eof": eof, "generation": "1"}),
                )
            }
        }
    }

    fn stats(&self, name: Option<&str>, now: f64) -> Result<Value, (u8, String)> {
        if let Some(name) = name {
            let at = self.named(Some(name))?;
            let info = self.watchers.get(at).map(|watcher| self.figures(watcher, now));
            return Ok(json!({"name": name, "info": info}));
        }
        let all = self.watchers.iter().map(|w| (w.name.original().to_owned(), self.figures(w, now)));
        Ok(json!({"infos": all.collect::<Map<_, _>>()}))
    }

    fn figures(&self, watcher: &Watcher, now: f64) -> Value {
        if !watcher.active {
            return json!({});
        }
        let phase = f64::from(watcher.pid % 61) + now / 20.0;
        let memory = 16_000_000 + u64::try_from(watcher.pid % 97).unwrap_or(0) * 1_000_000;
        let figures = ProcessFigures {
            mem_info1: memory_text(memory),
            mem_info2: memory_text(memory * 4),
            cpu: Some((20.0 + 20.0 * phase.sin()).round()),
            mem: Some(0.1),
            ctime: "0:01.00".to_owned(),
            pid: i64::from(watcher.pid),
            username: "nobody".to_owned(),
            nice: Nice::Value(0),
            create_time: Some(watcher.born),
            age: Some(now - watcher.born),
            cmdline: watcher.name.key().to_owned(),
            children: Vec::new(),
            started: Some(watcher.born),
            wid: Some(1),
        };
        json!({ watcher.pid.to_string(): Value::Object(figures.to_map()) })
    }

    fn named(&self, name: Option<&str>) -> Result<usize, (u8, String)> {
        let name = name.ok_or_else(|| (3, "invalid message name".to_owned()))?;
        let key = name.to_lowercase();
        let place = self.watchers.iter().position(|watcher| watcher.name.key() == key);
        place.ok_or_else(|| (3, format!("program {name} not found")))
    }

    /// The watchers that `name` and `match` mean; all without a name.
    fn meant(&self, given: &Map<String, Value>) -> Result<Vec<usize>, (u8, String)> {
        let Some(name) = given.get("name").and_then(Value::as_str) else {
            return Ok((0..self.watchers.len()).collect());
        };
        let how = given.get("match").and_then(Value::as_str).unwrap_or("glob");
        if how == "simple" {
            return self.named(Some(name)).map(|at| vec![at]);
        }
        let glob = || format!("{}$", regex_lite::escape(name).replace("\\*", ".*").replace("\\?", "."));
        let pattern = if how == "regex" { name.to_owned() } else { glob() };
        let pattern = Regex::new(&format!("(?i)^(?:{pattern})")).map_err(|error| (3, error.to_string()))?;
        let matches = |(at, watcher): (usize, &Watcher)| pattern.is_match(watcher.name.key()).then_some(at);
        let found: Vec<usize> = self.watchers.iter().enumerate().filter_map(matches).collect();
        if found.is_empty() { Err((3, format!("program {name} not found"))) } else { Ok(found) }
    }

    fn act(&mut self, command: &str, at: usize, now: f64) {
        let active = self.watchers.get(at).is_some_and(|watcher| watcher.active);
        if active && command != "start" {
            self.end(at, now, None, true);
            if command != "reload" {
                self.publish(at, now, EventKind::Stop);
            }
        }
        if command == "stop" {
            return;
        }
        if !active || command != "start" {
            self.begin(at, now);
            let kind = if command == "reload" { EventKind::Reload } else { EventKind::Start };
            self.publish(at, now, kind);
        }
    }

    /// A process of an active watcher dies and is replaced.
    pub(super) fn crash(&mut self, at: usize, now: f64, code: i32) {
        if self.watchers.get(at).is_some_and(|watcher| watcher.active) {
            self.end(at, now, Some(code), false);
            self.begin(at, now);
            if let Some(watcher) = self.watchers.get_mut(at) {
                watcher.restarts += 1;
            }
        }
    }

    /// A watcher stops, or starts if it had stopped.
    pub(super) fn flip(&mut self, at: usize, now: f64) {
        let active = self.watchers.get(at).is_some_and(|watcher| watcher.active);
        self.act(if active { "stop" } else { "start" }, at, now);
    }

    /// It was down and begins anew: everything runs, under new pids.
    pub(super) fn reboot(&mut self, now: f64) {
        self.quits = false;
        self.started = now;
        for at in 0..self.watchers.len() {
            self.begin(at, now);
        }
        self.events.clear();
    }

    fn end(&mut self, at: usize, now: f64, code: Option<i32>, told: bool) {
        let Some(watcher) = self.watchers.get_mut(at) else { return };
        watcher.active = false;
        watcher.since = now;
        let Some(pid) = Pid::new(watcher.pid) else { return };
        if told {
            self.publish(at, now, EventKind::Kill { pid });
        }
        self.publish(at, now, EventKind::Reap { pid, exit_code: code.or(Some(-15)) });
    }

    fn begin(&mut self, at: usize, now: f64) {
        let pid = self.pid();
        let Some(watcher) = self.watchers.get_mut(at) else { return };
        (watcher.active, watcher.pid, watcher.born, watcher.since) = (true, pid, now, now);
        if let Some(pid) = Pid::new(pid) {
            self.publish(at, now, EventKind::Spawn { pid });
        }
    }

    fn publish(&mut self, at: usize, time: f64, kind: EventKind) {
        if let Some(watcher) = self.watchers.get(at) {
            self.events.push(Event { watcher: watcher.name.topic(), time, kind });
        }
    }
}

fn state(watcher: Option<&Watcher>) -> &'static str {
    if watcher.is_some_and(|watcher| watcher.active) { "active" } else { "stopped" }
}

fn own((key, value): (&str, Value)) -> (String, Value) {
    (key.to_owned(), value)
}

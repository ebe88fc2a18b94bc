//! A conformance script: written once, run against both daemons, transcripts compared.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::{Daemon, Flavor};
use crate::normal::Normal;
use crate::wait::PATIENCE;
use crate::wire::Wire;

/// How long a question that is answered at once is left alone before another one follows it.
const SILENCE: Duration = Duration::from_millis(200);

/// One line of a transcript; lines with a tag may differ, if the tag is a listed difference.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    text: String,
    tag: Option<String>,
}

/// One run of a script against one daemon.
pub struct Session {
    /// The daemon, for scripts that look behind the wire.
    pub daemon: Daemon,
    /// The connection, for scripts that need it raw.
    pub wire: Wire,
    normal: Normal,
    lines: Vec<Line>,
}

impl Session {
    fn start(flavor: Flavor, files: &[(&str, &str)], ini: &str) -> Self {
        let daemon = Daemon::start_beside(flavor, files, ini);
        let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
        wire.wait_for_events();
        if flavor == Flavor::Ours {
            wait_for_start_up(&mut wire);
        }
        // Those of the start-up; stock's lock kept us from seeing more of them than ours.
        wire.events_so_far();
        let mut normal = Normal::default();
        normal.replace(daemon.dir().to_str().expect("a plain path"), "<dir>");
        normal.replace(daemon.address(), "<address>");
        Self { daemon, wire, normal, lines: Vec::new() }
    }

    /// Which daemon this run is about.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.daemon.flavor()
    }

    fn record(&mut self, text: String, tag: Option<&str>) {
        self.lines.push(Line { text, tag: tag.map(str::to_owned) });
    }

    /// Sends a command and records the normalised reply.
    pub fn call(&mut self, command: &str, properties: Value) -> Value {
        self.call_tagged(command, properties, None)
    }

    /// The same, where the reply may differ as the row `tag` of `differences.md` says.
    pub fn call_differs(&mut self, tag: &str, command: &str, properties: Value) -> Value {
        self.call_tagged(command, properties, Some(tag))
    }

    fn call_tagged(&mut self, command: &str, properties: Value, tag: Option<&str>) -> Value {
        let reply = self.wire.call(command, &properties);
        let asked = self.normal.value("", &properties);
        let shown = self.normal.value("", &reply);
        self.record(format!("{command} {asked}\n    -> {shown}"), tag);
        reply
    }

    /// Sends bytes as they are and records the answer, or that none came.
    pub fn raw(&mut self, payload: &[u8]) -> Option<Value> {
        self.raw_tagged(payload, None)
    }

    /// The same, where the answer may differ.
    pub fn raw_differs(&mut self, tag: &str, payload: &[u8]) -> Option<Value> {
        self.raw_tagged(payload, Some(tag))
    }

    fn raw_tagged(&mut self, payload: &[u8], tag: Option<&str>) -> Option<Value> {
        let reply = match (self.flavor(), tag) {
            (Flavor::Stock, Some(_)) => self.provoke(payload),
            (Flavor::Stock | Flavor::Ours, _) => self.exchange(payload),
        };
        let shown =
            reply.as_ref().map_or("<silence>".to_owned(), |reply| self.normal.value("", reply).to_string());
        self.record(format!("{:?}\n    -> {shown}", String::from_utf8_lossy(payload)), tag);
        reply
    }

    /// What stock raises on, alone: it then loses what comes close behind. Answered, or logged.
    fn provoke(&mut self, payload: &[u8]) -> Option<Value> {
        self.wire.send(payload);
        let mut said = None;
        // Until its log has been quiet for a while.
        for _ in 0..100 {
            if let Some(reply) = self.wire.reply_within(Duration::from_millis(300)) {
                return Some(reply);
            }
            let now = self.daemon.log().len();
            if said.replace(now) == Some(now) {
                break;
            }
        }
        None
    }

    /// The immediate answer, or `None` if a question asked later is answered first: never, then.
    fn exchange(&mut self, payload: &[u8]) -> Option<Value> {
        const LATER: &str = "asked later";
        self.wire.send(payload);
        let mut answer = None;
        // Stock, after it raised, may leave a message lying until the next one comes.
        for turn in 0..100 {
            let later = serde_json::json!({"id": format!("{LATER} {turn}"), "command": "numwatchers"});
            self.wire.send(later.to_string().as_bytes());
            while let Some(reply) = self.wire.reply_within(SILENCE) {
                match reply.get("id").and_then(Value::as_str) {
                    Some(id) if id == format!("{LATER} {turn}") => return answer,
                    Some(id) if id.starts_with(LATER) => {}
                    Some(_) | None => answer = Some(reply),
                }
            }
        }
        panic!("{:?} answers nothing any more", self.flavor());
    }

    /// Records the answer to the letter, with only the time replaced.
    pub fn letters(&mut self, payload: &[u8]) {
        self.wire.send(payload);
        let text = self.wire.text_within(PATIENCE).expect("an answer");
        let shown = match text.split_once("\"time\": ") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                format!("{before}\"time\": T{rest}")
            }
            None => text,
        };
        self.record(format!("{:?}\n    -> {shown}", String::from_utf8_lossy(payload)), None);
    }

    /// Records all events up to now. After a waiting reply those of its command are among them.
    pub fn events(&mut self) {
        self.events_tagged(None);
    }

    /// The same, where they may differ.
    pub fn events_differ(&mut self, tag: &str) {
        self.events_tagged(Some(tag));
    }

    /// The same, each watcher's on their own: those of different watchers come as it happens.
    pub fn events_by_watcher(&mut self) {
        let mut events = self.wire.events_so_far();
        events.sort_by(|(left, _), (right, _)| {
            let watcher = |topic: &str| topic.rsplit_once('.').map(|(watcher, _)| watcher.to_owned());
            watcher(left).cmp(&watcher(right))
        });
        self.record_events(events, None);
    }

    fn events_tagged(&mut self, tag: Option<&str>) {
        let events = self.wire.events_so_far();
        self.record_events(events, tag);
    }

    fn record_events(&mut self, events: Vec<(String, Value)>, tag: Option<&str>) {
        let mut text = "  events:".to_owned();
        for shown in self.shown(&events) {
            text += &format!("\n    {shown}");
        }
        self.record(text, tag);
    }

    /// Events as text. Signals go out in order, but who of those that got one dies first is nobody's
    /// choice, nor whether a death is noticed before the next signal: what stands side by side of
    /// `kill` and `reap` is given kills first, then deaths by process.
    fn shown(&mut self, events: &[(String, Value)]) -> Vec<String> {
        let is_death = |topic: &str| topic.ends_with(".reap");
        let is_end = |topic: &str| is_death(topic) || topic.ends_with(".kill");
        let mut lines = Vec::new();
        for together in events.chunk_by(|(left, _), (right, _)| is_end(left) && is_end(right)) {
            let (deaths, others): (Vec<_>, Vec<_>) = together.iter().partition(|(topic, _)| is_death(topic));
            let mut line =
                |(topic, payload): &(String, Value)| format!("{topic} {}", self.normal.value("", payload));
            lines.extend(others.into_iter().map(&mut line));
            let mut deaths: Vec<String> = deaths.into_iter().map(&mut line).collect();
            deaths.sort_unstable();
            lines.extend(deaths);
        }
        lines
    }

    /// Records the events up to and with the one whose topic is `last`.
    pub fn events_until(&mut self, last: &str) {
        let events = self.take_until(last);
        for shown in self.shown(&events) {
            self.record(format!("  event {shown}"), None);
        }
    }

    /// Records that no event came.
    pub fn no_event(&mut self) {
        self.events();
    }

    /// Forgets the events that came so far, where their number depends on timing.
    pub fn skip_events(&mut self) {
        self.wire.events_so_far();
    }

    /// Waits for an event and forgets it and all before it.
    pub fn wait_event(&mut self, last: &str) {
        self.take_until(last);
    }

    fn take_until(&mut self, last: &str) -> Vec<(String, Value)> {
        let deadline = Instant::now() + PATIENCE;
        let mut events: Vec<(String, Value)> = Vec::new();
        while events.last().is_none_or(|(topic, _)| topic != last) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(event) = self.wire.event_within(left) else {
                let so_far = self.transcript();
                panic!("{:?}: no event {last} among {events:?}; transcript:\n{so_far}", self.flavor());
            };
            events.push(event);
        }
        events
    }

    /// Repeats an unrecorded command until the reply pleases.
    pub fn wait_for(
        &mut self,
        what: &str,
        command: &str,
        properties: &Value,
        pleases: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.wire.ask(command, properties);
            if pleases(&reply) {
                return reply;
            }
            assert!(Instant::now() < deadline, "{:?}: waited in vain for {what}: {reply}", self.flavor());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Records something the script found out by itself.
    pub fn note(&mut self, what: &str, value: impl std::fmt::Display) {
        self.note_tagged(what, value, None);
    }

    /// The same, where it may differ.
    pub fn note_differs(&mut self, tag: &str, what: &str, value: impl std::fmt::Display) {
        self.note_tagged(what, value, Some(tag));
    }

    fn note_tagged(&mut self, what: &str, value: impl std::fmt::Display, tag: Option<&str>) {
        let shown = self.normal.value("", &Value::String(value.to_string()));
        self.record(format!("  {what}: {shown}"), tag);
    }

    fn transcript(&self) -> String {
        self.lines.iter().map(|line| format!("{}\n", line.text)).collect()
    }
}

/// Until nobody is on the way up. Stock refuses our probing until then; circusd-rs answers at once,
/// and so in the middle of its start-up. A watcher that tries in vain for ever is not waited for.
fn wait_for_start_up(wire: &mut Wire) {
    let deadline = Instant::now() + Duration::from_secs(3);
    while Instant::now() < deadline {
        let reply = wire.ask("status", &Value::Object(serde_json::Map::new()));
        let starting = |map: &serde_json::Map<String, Value>| map.values().any(|status| status == "starting");
        if !reply.get("statuses").and_then(Value::as_object).is_some_and(starting) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `script` against circusd-rs alone: where stock hangs or dies there is nothing to compare.
pub fn alone(ini: &str, script: impl FnOnce(&mut Session)) {
    script(&mut Session::start(Flavor::Ours, &[], ini));
}

/// Runs `script` against both daemons and demands the same transcript, except for tagged lines
/// whose tag is a row of `conformance/differences.md`.
pub fn agree(ini: &str, script: impl Fn(&mut Session)) {
    agree_beside(&[], ini, script);
}

/// The same with further files in the daemon's directory.
pub fn agree_beside(files: &[(&str, &str)], ini: &str, script: impl Fn(&mut Session)) {
    let listed = listed_differences();
    let run = |flavor| {
        let mut session = Session::start(flavor, files, ini);
        script(&mut session);
        session.lines
    };
    let stock = run(Flavor::Stock);
    let ours = run(Flavor::Ours);
    let report = compare(&stock, &ours, &listed);
    let differs = report.lines().any(|line| line.starts_with(['-', '+']));
    assert!(!differs, "circusd-rs (+) differs from stock circusd (-):\n{report}");
}

/// Both transcripts in one, what only one of them has marked: the longest common subsequence, so that
/// one line too many does not hide what else differs.
fn compare(stock: &[Line], ours: &[Line], listed: &BTreeSet<String>) -> String {
    let alike = |left: &Line, right: &Line| match (&left.tag, &right.tag) {
        (Some(tag), Some(other)) => {
            assert!(listed.contains(tag), "{tag} is no row of differences.md");
            tag == other
        }
        (None, None) => left.text == right.text,
        (Some(_), None) | (None, Some(_)) => false,
    };
    // The length of the best match of what is left of both, from the ends.
    let mut best = vec![vec![0_usize; ours.len() + 1]; stock.len() + 1];
    for (i, left) in stock.iter().enumerate().rev() {
        for (j, right) in ours.iter().enumerate().rev() {
            best[i][j] =
                if alike(left, right) { best[i + 1][j + 1] + 1 } else { best[i + 1][j].max(best[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut report) = (0, 0, String::new());
    loop {
        match (stock.get(i), ours.get(j)) {
            (None, None) => return report,
            (Some(left), Some(right)) if alike(left, right) => {
                report += &format!("  {}\n", left.text);
                (i, j) = (i + 1, j + 1);
            }
            (Some(left), right) if right.is_none() || best[i + 1][j] >= best[i][j + 1] => {
                report += &format!("- {}\n", left.text);
                i += 1;
            }
            (_, right) => {
                report += &format!("+ {}\n", right.map(|line| line.text.as_str()).unwrap_or_default());
                j += 1;
            }
        }
    }
}

/// The ids in the first column of `differences.md`.
#[must_use]
pub fn listed_differences() -> BTreeSet<String> {
    include_str!("../conformance/differences.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| D"))
        .filter_map(|rest| rest.split('|').next())
        .map(|id| format!("D{}", id.trim()))
        .collect()
}

//! `logs --follow`: many nodes' output as one stream.
//!
//! ```text
//!  rounds of questions ─► last lines, then on from each place ─┐
//!                                                              ├─► streams ─► merger ─► stdout
//!  listeners (native nodes whose pubsub is reachable) ─────────┘      200 ms window
//!
//!  a node:  Asked ──Up──► Tuning ──a round later, where both accounts meet──► Live
//!             ▲ ◄──────────── Down, or too much ──────────────┴──────────────────┘
//! ```
//!
//! A node that says no is not asked again; one that does not answer is, with growing pauses, and goes
//! on where it was left.

mod overlap;
mod streams;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::filter::Filter;
use super::live::{Heard, Listener, Said, listen, reachable};
use super::{LogsArgs, columns, request, sources};
use crate::cli::Global;
use crate::cli::exit::Exit;
use crate::cli::output::{stream, talk};
use crate::cli::progress::{self, Purpose, interrupts};
use crate::cli::session::{READ_TIMEOUT, Session, Stop};
use crate::cluster::clock::Offset;
use crate::cluster::log::merge::WINDOW;
use crate::fleet::wall;
use crate::outcome::{LogsPart, LogsRequest, NodeOutcome, NodeState, Operation, Outcome};
use crate::render::{self, table, told};
use streams::Streams;

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(500);
/// The same for a stock node, in seconds: each round starts a Python there.
const STOCK_PAUSE: f64 = 2.0;
/// What it calls itself.
const STOCK: &str = "circusd";
/// Between two looks at what may be printed.
const TICK: Duration = Duration::from_millis(20);
/// What listeners have told and nobody has taken; when it is full they wait, and their nodes count.
const HEARD: usize = 4096;
/// So many seconds after a subscription was sent it counts everywhere.
const SETTLED: f64 = 0.3;
/// The most bytes that are kept of one node between its first word and the round that closes it.
const MAX_BUFFER: usize = 4 * 1024 * 1024;
/// A silent node is asked again after this, and then after twice as long, in seconds.
const FIRST_REST: f64 = 1.0;
/// But at least so often.
const LONGEST_REST: f64 = 15.0;

/// How a node's output comes.
#[derive(Debug)]
enum Way {
    Asked,
    Tuning { listener: Listener, since: Option<f64>, heard: Vec<Said>, bytes: usize },
    Live { _listener: Listener },
}

#[derive(Debug)]
struct Node {
    name: String,
    control: Endpoint,
    way: Way,
    clock: Option<Offset>,
    /// It has told its last lines, so that it is read on.
    begun: bool,
    refused: bool,
    /// Listening was tried and is not possible.
    deaf: bool,
    rest: f64,
    not_before: f64,
    /// What was wrong the last time, which is said once.
    wrong: Option<String>,
}

struct Follower<'a> {
    args: &'a LogsArgs,
    filter: &'a Filter,
    quiet: bool,
    nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    streams: Streams,
    teller: mpsc::Sender<Heard>,
    heard: mpsc::Receiver<Heard>,
    /// There is more already.
    more: bool,
    interrupted: bool,
    /// The reader of our output is gone.
    unread: bool,
}

pub(super) async fn follow(
    session: &mut Session,
    global: &Global,
    args: &LogsArgs,
    filter: &Filter,
) -> Result<Exit, Stop> {
    if global.json {
        return Err(Stop::usage("logs --follow never ends, so it is no document; use --ndjson"));
    }
    let mut interrupt = interrupts()?;
    let targets = session.targets(global)?;
    let mut follower = Follower::new(session, global, args, filter, &targets);
    let silent = Global { ndjson: false, quiet: true, ..global.clone() };
    loop {
        if let Some((names, part)) = follower.next_round() {
            let operation = Operation::Logs(LogsRequest { part, ..request(args, filter) });
            let options = Session::run_options(global, READ_TIMEOUT, &names);
            let asked = wall();
            let round = progress::run(&mut session.fleet, &operation, &options, &silent, Purpose::Look);
            let outcome = follower.hearing(round).await;
            session.learn(&outcome);
            follower.take(&outcome, asked);
        }
        // Who has more is asked at once.
        let pause = if std::mem::take(&mut follower.more) { Duration::ZERO } else { PAUSE };
        tokio::select! {
            () = follower.hearing(tokio::time::sleep(pause)) => {}
            _ = interrupt.recv() => follower.interrupted = true,
        }
        if let Some(exit) = follower.over() {
            return Ok(exit);
        }
    }
}

impl<'a> Follower<'a> {
    fn new(
        session: &Session,
        global: &Global,
        args: &'a LogsArgs,
        filter: &'a Filter,
        targets: &[String],
    ) -> Self {
        let (teller, heard) = mpsc::channel(HEARD);
        let wanted = |name: &String| targets.contains(name);
        let nodes: Vec<Node> = session
            .cluster
            .inventory
            .nodes
            .iter()
            .filter(|node| wanted(&node.name))
            .map(|node| Node {
                name: node.name.clone(),
                control: node.endpoint.clone(),
                way: Way::Asked,
                clock: None,
                begun: false,
                refused: false,
                deaf: false,
                rest: 0.0,
                not_before: 0.0,
                wrong: None,
            })
            .collect();
        let by_name = nodes.iter().enumerate().map(|(at, node)| (node.name.clone(), at)).collect();
        let streams = Streams::new(columns(targets, args), global.ndjson);
        let (quiet, more, interrupted, unread) = (global.quiet, false, false, false);
        Self { args, filter, quiet, nodes, by_name, streams, teller, heard, more, interrupted, unread }
    }

    /// Who is asked now, and for what: first the last lines of those who have not told any.
    fn next_round(&self) -> Option<(Vec<String>, LogsPart)> {
        let now = wall();
        let due = |node: &&Node| !node.refused && node.not_before <= now;
        let fresh: Vec<String> =
            self.nodes.iter().filter(|node| due(node) && !node.begun).map(|node| node.name.clone()).collect();
        if !fresh.is_empty() {
            return Some((fresh, request(self.args, self.filter).part));
        }
        let mut places = HashMap::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| due(node)) {
            let own = self.streams.places(at);
            let listens = matches!(node.way, Way::Tuning { .. });
            if !own.is_empty() || listens {
                places.insert(node.name.clone(), own);
            }
        }
        let names: Vec<String> =
            self.nodes.iter().filter(|n| places.contains_key(&n.name)).map(|n| n.name.clone()).collect();
        (!names.is_empty()).then_some((names, LogsPart::On { places }))
    }

    /// Prints what comes until something else has happened.
    async fn hearing<T>(&mut self, until: impl Future<Output = T>) -> T {
        let mut until = pin!(until);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                done = &mut until => return done,
                _ = tick.tick() => self.print(),
                Some(heard) = self.heard.recv() => self.hear(heard),
            }
        }
    }

    fn print(&mut self) {
        let text = self.streams.ready(wall(), self.filter);
        if !text.is_empty() && !stream(&text) {
            self.unread = true;
        }
    }

    fn hear(&mut self, heard: Heard) {
        let now = wall();
        match heard {
            Heard::Up { node } => {
                if let Some(Way::Tuning { since, .. }) = self.nodes.get_mut(node).map(|node| &mut node.way) {
                    *since = Some(now);
                }
            }
            Heard::Down { node, reason } => self.down(node, &reason),
            Heard::Said { node: at, said } => {
                let Some(node) = self.nodes.get_mut(at) else { return };
                let (name, lost) = (node.name.clone(), said.lost);
                let mut full = false;
                match &mut node.way {
                    Way::Asked => {}
                    Way::Tuning { heard, bytes, .. } => {
                        *bytes += said.text.len();
                        full = *bytes > MAX_BUFFER;
                        heard.push(said);
                    }
                    Way::Live { .. } => {
                        let ahead = node.clock.map_or(0.0, |clock| clock.seconds);
                        self.streams.hear(at, &name, said, ahead, now);
                    }
                }
                if full {
                    self.down(at, "it prints more than can be sorted");
                }
                if lost > 0 {
                    self.say(&format!("{name}: {lost} bytes came too fast to be followed and are left out"));
                }
            }
        }
    }

    /// A node is not heard any more: it is asked again.
    fn down(&mut self, at: usize, reason: &str) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let name = node.name.clone();
        match std::mem::replace(&mut node.way, Way::Asked) {
            Way::Asked => {}
            Way::Tuning { .. } => node.deaf = true,
            Way::Live { .. } => {
                node.begun = false;
                self.streams.deafen(at);
                self.say(&format!("{name}: its live output ended ({reason}); asking again"));
            }
        }
    }

    fn take(&mut self, outcome: &Outcome, asked: f64) {
        for row in &outcome.nodes {
            let Some(at) = self.by_name.get(&row.node).copied() else { continue };
            match row.state {
                NodeState::Done | NodeState::Unchanged => self.answered(at, row, asked),
                NodeState::Cancelled => self.interrupted = true,
                NodeState::Refused | NodeState::Skipped | NodeState::Absent => {
                    self.complain(at, row);
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.refused = !node.begun;
                    }
                }
                NodeState::Failed | NodeState::TimedOut | NodeState::Unreachable => {
                    self.complain(at, row);
                    if let Some(node) = self.nodes.get_mut(at) {
                        node.rest = (node.rest * 2.0).clamp(FIRST_REST, LONGEST_REST);
                        node.not_before = wall() + node.rest;
                    }
                }
            }
        }
    }

    fn answered(&mut self, at: usize, row: &NodeOutcome, asked: f64) {
        let now = wall();
        let Some(node) = self.nodes.get_mut(at) else { return };
        let told = row.data.get("clock").and_then(Offset::from_json);
        node.clock = told.map(|clock| clock.better(node.clock)).or(node.clock);
        (node.begun, node.rest) = (true, 0.0);
        let (name, clock) = (node.name.clone(), node.clock);
        if node.wrong.take().is_some() {
            self.say(&format!("{name}: answers again"));
        }
        let mut more = false;
        for entry in told::entries(&row.data) {
            more |= self.streams.read(at, &name, entry, clock, now);
            let refused = entry.get("refused").and_then(Value::as_bool) == Some(true);
            if let Some(error) = entry.get("error").and_then(Value::as_str).filter(|_| refused) {
                self.say(&table::plain(&format!("{name}: {error}")));
            }
        }
        if let Some(node) = self.nodes.get_mut(at).filter(|_| !more && row.daemon.as_deref() == Some(STOCK)) {
            node.not_before = now + STOCK_PAUSE;
        }
        self.more |= more;
        self.tune(at, row);
        if !more {
            self.switch(at, asked, now);
        }
    }

    /// Begins to listen to a node that can be heard.
    fn tune(&mut self, at: usize, row: &NodeOutcome) {
        let captured =
            sources(self.args).iter().any(|source| matches!(source.as_str(), "stdout" | "stderr" | "all"));
        let Some(node) = self.nodes.get_mut(at) else { return };
        let pubsub = row.data.get("pubsub").and_then(Value::as_str);
        let (Way::Asked, false, true, Some(pubsub)) = (&node.way, node.deaf, captured, pubsub) else {
            return;
        };
        let Some(endpoint) = reachable(&node.control, pubsub) else {
            node.deaf = true;
            return;
        };
        match listen(at, endpoint, &self.args.names, self.teller.clone()) {
            Ok(listener) => node.way = Way::Tuning { listener, since: None, heard: Vec::new(), bytes: 0 },
            Err(_) => node.deaf = true,
        }
    }

    /// Goes over to what is heard, if what was just read was asked for after it was heard for sure.
    fn switch(&mut self, at: usize, asked: f64, now: f64) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        let ready = matches!(&node.way, Way::Tuning { since: Some(since), .. } if since + SETTLED <= asked);
        let Some(clock) = node.clock.filter(|_| ready) else { return };
        let name = node.name.clone();
        if let Way::Tuning { listener, heard, .. } = std::mem::replace(&mut node.way, Way::Asked) {
            node.way = Way::Live { _listener: listener };
            self.streams.go_live(at, &name, clock, (asked, now), heard, now);
        }
    }

    fn complain(&mut self, at: usize, row: &NodeOutcome) {
        let complaint = table::plain(&format!("{}: {}: {}", row.node, render::word(row.state), row.reason));
        let Some(node) = self.nodes.get_mut(at) else { return };
        if node.wrong.as_ref() != Some(&complaint) {
            node.wrong = Some(complaint.clone());
            self.say(&complaint);
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            talk(line);
        }
    }

    /// Whether and how it ends.
    fn over(&mut self) -> Option<Exit> {
        let late = self.filter.until.is_some_and(|until| wall() > until + WINDOW);
        let refused = self.nodes.iter().all(|node| node.refused);
        let exit = match (self.unread, self.interrupted, late, refused) {
            (true, ..) => return Some(Exit::Done),
            (_, true, ..) => Exit::Interrupted,
            (_, _, true, _) => Exit::Done,
            (.., true) => Exit::Failed,
            _ => return None,
        };
        let _read = stream(&self.streams.rest(self.filter));
        Some(exit)
    }
}

#[cfg(test)]
mod tests;

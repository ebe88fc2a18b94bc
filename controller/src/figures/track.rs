//! What only shows between two readings: restarts on nodes that do not count them, CPU time without
//! circus' wrap at the hour, and what changed.
//!
//! ```text
//!  reading ─► Tracker ─► the same reading, with restarts filled in; CPU seconds; changes
//!                └ remembers of each watcher its processes; nothing of nodes that were taken away
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Node, Process, Watcher};

/// circus' CPU times begin anew at this many seconds.
const WRAP: f64 = 3600.0;

/// Watchers of one node that are remembered; more are not followed. A daemon that names new ones in each
/// answer must not fill our memory.
pub const MAX_WATCHERS: usize = 1_000;

/// A process for as long as it lives: pids are used again, creation times are not.
type Identity = (i64, u64);

/// Something that happened between two readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// On which node.
    pub node: String,
    /// Of which watcher; of the node itself when `None`.
    pub watcher: Option<String>,
    /// What, as a short clause: `active -> stopped`.
    pub text: String,
    /// Whether somebody should look.
    pub bad: bool,
    /// The process that it says is gone.
    pub gone: Option<i64>,
}

/// Takes what happened to a watcher: the text, whether it is bad, and the process that is gone.
type Tell<'a> = &'a mut dyn FnMut(String, bool, Option<i64>);

/// What is remembered of a process and its children.
#[derive(Debug, Default, Clone)]
struct Clock {
    /// Whole hours that went by, by our own reckoning, and the last reading.
    parts: HashMap<Identity, (f64, f64)>,
    /// The last sum.
    sum: f64,
}

#[derive(Debug, Default)]
struct Seen {
    state: Option<String>,
    clocks: HashMap<Identity, Clock>,
    restarts: u64,
    starts: u64,
    /// Places of processes that went and that nobody took yet.
    vacant: u64,
    /// CPU seconds of all processes since the first reading, and of those there were then, all.
    cpu: f64,
}

#[derive(Debug, Default)]
struct Place {
    up: Option<bool>,
    watchers: BTreeMap<String, Seen>,
}

/// Follows a cluster from reading to reading.
#[derive(Debug, Default)]
pub struct Tracker {
    places: HashMap<String, Place>,
}

impl Tracker {
    /// Takes a reading and fills in what its nodes did not count themselves: `starts` and `restarts`, as
    /// far as they were seen happening. A restart that somebody commanded is not told apart there.
    pub fn take(&mut self, nodes: &mut [Node]) -> Vec<Change> {
        let mut changes = Vec::new();
        for node in nodes.iter_mut() {
            let place = self.places.entry(node.name.clone()).or_default();
            place.take(node, &mut changes);
        }
        changes
    }

    /// Forgets nodes that are no longer part of the cluster.
    pub fn keep(&mut self, is_part: impl Fn(&str) -> bool) {
        self.places.retain(|name, _| is_part(name));
    }

    /// CPU seconds that a watcher's processes have used, those included that are gone since the first
    /// reading. Never less than it was.
    #[must_use]
    pub fn cpu_seconds(&self, node: &str, watcher: &str) -> Option<f64> {
        self.places.get(node)?.watchers.get(watcher).map(|seen| seen.cpu)
    }
}

impl Place {
    fn take(&mut self, node: &mut Node, changes: &mut Vec<Change>) {
        let name = node.name.clone();
        let is_up = node.is_up();
        if let Some(was) = self.up.replace(is_up)
            && was != is_up
        {
            let text = if is_up { "up again".to_owned() } else { format!("down: {}", node.reason) };
            changes.push(Change { node: name.clone(), watcher: None, text, bad: !is_up, gone: None });
        }
        if !is_up {
            // What it runs now nobody knows; what it ran stays for when it is back.
            return;
        }
        let there: HashSet<&str> = node.watchers.iter().map(|watcher| watcher.name.as_str()).collect();
        self.watchers.retain(|name, _| there.contains(name.as_str()));
        for watcher in &mut node.watchers {
            let known = self.watchers.contains_key(&watcher.name);
            if !known && self.watchers.len() >= MAX_WATCHERS {
                continue;
            }
            let seen = self.watchers.entry(watcher.name.clone()).or_default();
            let mut tell = |text: String, bad: bool, gone: Option<i64>| {
                let (node, watcher) = (name.clone(), Some(watcher.name.clone()));
                changes.push(Change { node, watcher, text, bad, gone });
            };
            seen.take(watcher, known, &mut tell);
            watcher.starts = watcher.starts.or(Some(seen.starts));
            watcher.restarts = watcher.restarts.or(Some(seen.restarts));
        }
    }
}

impl Seen {
    fn take(&mut self, watcher: &Watcher, known: bool, tell: Tell<'_>) {
        let state = watcher.state.clone();
        if known && self.state != state {
            let words = |state: &Option<String>| state.clone().unwrap_or_else(|| "?".to_owned());
            let text = format!("{} -> {}", words(&self.state), words(&state));
            tell(text, state.as_deref() == Some("stopped"), None);
        }
        self.state = state;
        let mut before = std::mem::take(&mut self.clocks);
        let mut born = Vec::new();
        for process in watcher.processes.iter().filter(|process| process.created.is_some()) {
            let identity = identity(process);
            let old = before.remove(&identity);
            if old.is_none() {
                born.push(process.pid);
            }
            let mut clock = old.unwrap_or_default();
            self.cpu += clock.read(process);
            self.clocks.insert(identity, clock);
        }
        if known {
            let gone: Vec<i64> = before.keys().map(|(pid, _)| *pid).collect();
            self.count(&gone, &born, tell);
        }
        if self.state.as_deref() == Some("stopped") {
            self.vacant = 0;
        }
    }

    /// Who comes takes the place of who went, maybe a while ago: stock looks only every few seconds.
    fn count(&mut self, gone: &[i64], born: &[i64], tell: Tell<'_>) {
        self.starts = self.starts.saturating_add(born.len() as u64);
        self.vacant = self.vacant.saturating_add(gone.len() as u64);
        // A watcher that comes or goes as a whole has told so already.
        let stands = self.state.as_deref() != Some("active");
        let mut gone = gone.iter();
        for new in born.iter().filter(|_| !stands) {
            if self.vacant == 0 {
                break;
            }
            self.vacant -= 1;
            self.restarts = self.restarts.saturating_add(1);
            match gone.next() {
                Some(gone) => tell(format!("process {gone} gone, {new} in its place"), true, Some(*gone)),
                None => tell(format!("process {new} in the place of one that had gone"), false, None),
            }
        }
        for gone in gone.filter(|_| !stands) {
            tell(format!("process {gone} gone"), true, Some(*gone));
        }
    }
}

impl Clock {
    /// Seconds used since the last reading.
    fn read(&mut self, process: &Process) -> f64 {
        let mut parts = HashMap::new();
        let mut sum = 0.0;
        for part in std::iter::once(process).chain(&process.children) {
            let Some(told) = part.cpu_clock else { continue };
            let identity = identity(part);
            let (mut hours, last) = self.parts.get(&identity).copied().unwrap_or((0.0, 0.0));
            if told < last {
                hours += WRAP;
            }
            sum += hours + told;
            parts.insert(identity, (hours, told));
        }
        self.parts = parts;
        // A child that ended goes on in its parent's time, or is lost to it; then nothing was used.
        let more = (sum - self.sum).max(0.0);
        self.sum = sum;
        more
    }
}

fn identity(process: &Process) -> Identity {
    (process.pid, process.created.unwrap_or(0.0).to_bits())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::NodeState;

    fn process(pid: i64, created: f64, clock: f64, children: Vec<Process>) -> Process {
        Process { pid, created: Some(created), cpu_clock: Some(clock), children, ..Process::default() }
    }

    fn node(state: NodeState, watcher: &str, processes: Vec<Process>) -> Vec<Node> {
        let state_word = if processes.is_empty() { "stopped" } else { "active" };
        let watcher = Watcher {
            name: "w".to_owned(),
            state: Some(if watcher.is_empty() { state_word } else { watcher }.to_owned()),
            processes,
            ..Watcher::default()
        };
        vec![Node {
            name: "n".to_owned(),
            state,
            reason: "refused".to_owned(),
            daemon: None,
            elapsed: Duration::ZERO,
            watchers: vec![watcher],
        }]
    }

    fn take(tracker: &mut Tracker, mut nodes: Vec<Node>) -> (Vec<String>, Option<u64>, f64) {
        let changes = tracker.take(&mut nodes).into_iter().map(|change| change.text).collect();
        (changes, nodes[0].watchers[0].restarts, tracker.cpu_seconds("n", "w").unwrap_or(-1.0))
    }

    #[test]
    fn restarts_are_seen_where_they_are_not_told() {
        let mut tracker = Tracker::default();
        let done = NodeState::Done;
        assert_eq!(
            take(&mut tracker, node(done, "", vec![process(1, 1.0, 5.0, vec![])])),
            (vec![], Some(0), 5.0)
        );
        let (changes, restarts, cpu) = take(&mut tracker, node(done, "", vec![process(1, 2.0, 3.0, vec![])]));
        assert_eq!(changes, ["process 1 gone, 1 in its place"], "the same number, another process");
        assert_eq!((restarts, cpu), (Some(1), 8.0));
        let (changes, restarts, _) = take(&mut tracker, node(done, "", vec![]));
        assert_eq!((changes, restarts), (vec!["active -> stopped".to_owned()], Some(1)));
        let (changes, restarts, cpu) = take(&mut tracker, node(done, "", vec![process(3, 9.0, 1.0, vec![])]));
        assert_eq!((changes, restarts, cpu), (vec!["stopped -> active".to_owned()], Some(1), 9.0));
        let mut native = node(done, "", vec![process(4, 10.0, 1.0, vec![])]);
        native[0].watchers[0].restarts = Some(77);
        assert_eq!(take(&mut tracker, native).1, Some(77), "who counts knows better");
    }

    #[test]
    fn a_place_may_be_empty_for_a_while() {
        let mut tracker = Tracker::default();
        let mut told = |processes| {
            let (changes, restarts, _) = take(&mut tracker, node(NodeState::Done, "active", processes));
            (changes.join("; "), restarts)
        };
        told(vec![process(1, 1.0, 0.0, vec![])]);
        assert_eq!(told(vec![]), ("process 1 gone".to_owned(), Some(0)));
        assert_eq!(told(vec![]), (String::new(), Some(0)));
        let back = "process 2 in the place of one that had gone".to_owned();
        assert_eq!(told(vec![process(2, 2.0, 0.0, vec![])]), (back, Some(1)));
        let two = vec![process(2, 2.0, 0.0, vec![]), process(3, 3.0, 0.0, vec![])];
        assert_eq!(told(two), (String::new(), Some(1)), "one more is no restart");
    }

    #[test]
    fn cpu_time_never_falls() {
        let mut tracker = Tracker::default();
        let mut cpu = |clock: f64, children: Vec<Process>| {
            take(&mut tracker, node(NodeState::Done, "", vec![process(1, 1.0, clock, children)])).2
        };
        assert_eq!(cpu(3590.0, vec![]), 3590.0);
        assert_eq!(cpu(10.0, vec![]), 3610.0, "an hour is over");
        assert_eq!(cpu(10.0, vec![process(2, 2.0, 100.0, vec![])]), 3710.0);
        assert_eq!(cpu(112.0, vec![]), 3712.0, "the child's time is its parent's now");
        assert_eq!(cpu(113.0, vec![process(3, 2.0, 50.0, vec![])]), 3763.0);
        assert_eq!(cpu(113.0, vec![]), 3763.0, "nobody waited for it");
        assert_eq!(cpu(115.0, vec![]), 3765.0);
    }

    #[test]
    fn a_node_that_comes_back_is_told_once() {
        let mut tracker = Tracker::default();
        let one = || vec![process(1, 1.0, 5.0, vec![])];
        take(&mut tracker, node(NodeState::Done, "", one()));
        let (changes, ..) = take(&mut tracker, node(NodeState::Unreachable, "", vec![]));
        assert_eq!(changes, ["down: refused"]);
        assert!(take(&mut tracker, node(NodeState::Unreachable, "", vec![])).0.is_empty());
        let (changes, restarts, cpu) = take(&mut tracker, node(NodeState::Done, "", one()));
        assert_eq!((changes, restarts, cpu), (vec!["up again".to_owned()], Some(0), 5.0));
        tracker.keep(|name| name != "n");
        assert_eq!(tracker.cpu_seconds("n", "w"), None);
    }

    #[test]
    fn a_node_that_invents_watchers_is_not_believed() {
        let mut tracker = Tracker::default();
        let mut nodes = node(NodeState::Done, "", vec![]);
        let watcher = |number: usize| Watcher { name: format!("w{number}"), ..Watcher::default() };
        nodes[0].watchers = (0..3 * MAX_WATCHERS).map(watcher).collect();
        tracker.take(&mut nodes);
        assert_eq!(tracker.places["n"].watchers.len(), MAX_WATCHERS);
    }
}

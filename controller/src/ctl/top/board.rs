//! What is known of a daemon's figures at the moment: the last of each process, watcher and socket, and
//! when it was heard of. Time comes in as an argument; how it looks is `picture`'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use circus_protocol::stat::Stat;

/// Processes and sockets that are remembered; a feed that names more is not believed.
const MAX_ENTRIES: usize = 100_000;

/// Figures of a process, or of all processes of a watcher. What could not be read is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) cpu: Option<f64>,
    pub(super) mem: Option<f64>,
    pub(super) age: Option<f64>,
}

/// A process.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Process {
    pub(super) pid: i64,
    pub(super) name: Option<String>,
    pub(super) figures: Figures,
    seen: Duration,
}

/// A watcher, or circus itself.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    processes: BTreeMap<i64, Process>,
    /// Mean, sum and oldest.
    pub(super) total: Option<Figures>,
    seen: Duration,
}

/// A socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: String,
    pub(super) hits: u64,
    seen: Duration,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Board {
    patience: Duration,
    groups: BTreeMap<String, Group>,
    sockets: BTreeMap<i64, Socket>,
    /// Of all sockets, as the feed says.
    pub(super) hits: u64,
    /// Why nothing comes.
    pub(super) trouble: Option<String>,
}

impl Board {
    pub(super) fn new(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Takes a figure in.
    pub(super) fn note(&mut self, stat: Stat, now: Duration) {
        let full = self.entries() >= MAX_ENTRIES;
        match stat {
            Stat::Process { watcher, name, figures } => {
                let pid = figures.pid;
                let figures = Figures { cpu: figures.cpu, mem: figures.mem, age: figures.age };
                if full && !self.groups.get(&watcher).is_some_and(|group| group.processes.contains_key(&pid))
                {
                    return;
                }
                let group = self.groups.entry(watcher).or_default();
                group.seen = now;
                group.processes.insert(pid, Process { pid, name, figures, seen: now });
            }
            Stat::Watcher { watcher, cpu, mem, age, .. } => {
                if full && !self.groups.contains_key(&watcher) {
                    return;
                }
                let group = self.groups.entry(watcher).or_default();
                group.seen = now;
                group.total = Some(Figures { cpu: Some(cpu), mem: Some(mem), age });
            }
            Stat::Socket { fd, reads, address } => {
                if !full || self.sockets.contains_key(&fd) {
                    self.sockets.insert(fd, Socket { address, hits: reads, seen: now });
                }
            }
            Stat::Sockets { reads, .. } => self.hits = reads,
        }
    }

    fn entries(&self) -> usize {
        let processes: usize = self.groups.values().map(|group| 1 + group.processes.len()).sum();
        processes + self.sockets.len()
    }

    /// Takes off what was not heard of for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        let patience = self.patience;
        let fresh = |seen: Duration| now.saturating_sub(seen) <= patience;
        for group in self.groups.values_mut() {
            group.processes.retain(|_, process| fresh(process.seen));
        }
        self.groups.retain(|_, group| fresh(group.seen));
        self.sockets.retain(|_, socket| fresh(socket.seen));
    }

    /// Nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.sockets.is_empty()
    }

    /// The groups by name.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.groups.iter().map(|(name, group)| (name.as_str(), group))
    }

    /// The sockets, the busiest first.
    pub(super) fn sockets(&self) -> Vec<&Socket> {
        let mut sockets: Vec<&Socket> = self.sockets.values().collect();
        sockets.sort_by_key(|socket| std::cmp::Reverse(socket.hits));
        sockets
    }
}

impl Group {
    /// The processes that need most of the processor; those that cannot be read come last.
    pub(super) fn busiest(&self, most: usize) -> Vec<&Process> {
        let mut processes: Vec<&Process> = self.processes.values().collect();
        let cpu = |process: &Process| process.figures.cpu.unwrap_or(-1.0);
        processes.sort_by(|left, right| cpu(right).total_cmp(&cpu(left)));
        processes.truncate(most);
        processes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A stat as it comes from stock's feed.
    pub(in super::super) fn stat(topic: &str, payload: &str) -> Stat {
        Stat::decode(topic.as_bytes(), payload.as_bytes()).unwrap()
    }

    /// A process' payload.
    pub(in super::super) fn process(pid: i64, cpu: &str, name: &str) -> String {
        format!(
            r#"{{"mem_info1": "1.62M", "mem_info2": "2.53M", "cpu": {cpu}, "mem": 0.007, "ctime": "0:01.95", "pid": {pid}, "username": "root", "nice": 0, "create_time": 1795332862.41, "age": 2.851, "cmdline": "sh", "children": [], "subtopic": {pid}, "name": {name}}}"#
        )
    }

    #[test]
    fn shows_the_busiest_and_forgets_the_gone() {
        let second = Duration::from_secs(1);
        let mut board = Board::new(3 * second);
        assert!(board.is_empty());
        for (pid, cpu) in [(1, "9.5"), (2, "10.25"), (3, "\"N/A\""), (4, "0.0")] {
            board.note(stat(&format!("stat.web.{pid}"), &process(pid, cpu, "null")), second);
        }
        board.note(stat("stat.web", r#"{"pid": [1], "cpu": 1.0, "mem": 0.1, "age": 2.0}"#), second);
        let busiest = |board: &Board, most| -> Vec<i64> {
            board.groups().flat_map(|(_, group)| group.busiest(most)).map(|process| process.pid).collect()
        };
        assert_eq!(busiest(&board, 9), [2, 1, 4, 3]);
        assert_eq!(busiest(&board, 1), [2]);
        board.note(stat("stat.web.4", &process(4, "0.0", "null")), 4 * second);
        board.expire(4 * second);
        assert_eq!(busiest(&board, 9), [2, 1, 4, 3]);
        board.expire(5 * second);
        assert_eq!(busiest(&board, 9), [4]);
        board.expire(8 * second);
        assert!(board.is_empty());
    }
}

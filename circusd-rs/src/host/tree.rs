//! Who descends from whom, from one pass over `/proc`.
//!
//! Process numbers are reused, so an [`Entry`] carries the start time, and [`is_still`] says whether
//! the number means the same process as in the picture. It signals nobody.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};

/// Longest `stat` line read; the kernel's have some 50 numbers and a name of at most 64 bytes.
const STAT_LENGTH: usize = 2048;

/// How many fields after the name are looked at: all up to the last that is used.
const FIELDS: usize = 40;

/// One process as `/proc/PID/stat` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// User, system, and both of waited-for children, in clock ticks.
    pub(crate) times: [u64; 4],
    pub(crate) nice: i64,
    /// Ticks after boot.
    pub(crate) start: u64,
    /// Where its stack begins: changes when it executes another program. 0 where we may not know.
    pub(crate) image: u64,
    /// Virtual size in bytes.
    pub(crate) virtual_size: u64,
    /// Resident pages.
    pub(crate) resident: u64,
    /// Ticks spent waiting for disks.
    pub(crate) io_wait: u64,
}

impl Entry {
    /// Understand one `stat` line. The name in brackets may contain anything, brackets included.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(line.get(..open)?).ok()?.trim().parse().ok()?;
        let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
        // Field numbers as in proc(5): the state is number 3.
        let mut fields = [""; FIELDS];
        for (slot, field) in fields.iter_mut().zip(rest.split_ascii_whitespace()) {
            *slot = field;
        }
        let field = |number: usize| fields.get(number - 3).copied();
        let unsigned = |number| field(number).and_then(|text| text.parse::<u64>().ok());
        // Times of children can be negative in old kernels.
        let signed = |number| field(number).and_then(|text| text.parse::<i64>().ok());
        let ticks = |number| signed(number).map(|value| u64::try_from(value).unwrap_or(0));
        let number = |number| field(number).and_then(|text| text.parse::<i32>().ok());
        Some(Self {
            pid,
            state: *field(3)?.as_bytes().first()?,
            parent: number(4)?,
            group: number(5)?,
            session: number(6)?,
            times: [ticks(14)?, ticks(15)?, ticks(16)?, ticks(17)?],
            nice: signed(19)?,
            start: unsigned(22)?,
            image: unsigned(28).unwrap_or(0),
            virtual_size: unsigned(23)?,
            resident: ticks(24)?,
            io_wait: unsigned(42).unwrap_or(0),
        })
    }

    /// `None` when there is no such process.
    pub(crate) fn read(pid: i32) -> Option<Self> {
        let mut buffer = [0; STAT_LENGTH];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        let length = file.read(&mut buffer).ok()?;
        Self::parse(buffer.get(..length)?)
    }
}

/// Whether the number still means the process of the picture.
pub(crate) fn is_still(entry: &Entry) -> bool {
    Entry::read(entry.pid).is_some_and(|now| now.start == entry.start)
}

/// All processes at (nearly) one moment.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    entries: Vec<Entry>,
    by_parent: HashMap<i32, Vec<usize>>,
    by_pid: HashMap<i32, usize>,
    by_session: HashMap<i32, Vec<usize>>,
}

impl Snapshot {
    /// Look at every process once.
    pub(crate) fn take() -> io::Result<Self> {
        let entries = fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(Entry::read)
            .collect();
        Ok(Self::of(entries))
    }

    fn of(entries: Vec<Entry>) -> Self {
        let mut by_parent: HashMap<i32, Vec<usize>> = HashMap::new();
        let mut by_pid = HashMap::new();
        let mut by_session: HashMap<i32, Vec<usize>> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            by_parent.entry(entry.parent).or_default().push(index);
            by_pid.insert(entry.pid, index);
            by_session.entry(entry.session).or_default().push(index);
        }
        Self { entries, by_parent, by_pid, by_session }
    }

    /// Whether a process group has members that have not ended.
    pub(crate) fn group_lives(&self, group: i32) -> bool {
        self.entries.iter().any(|entry| entry.group == group && !matches!(entry.state, b'Z' | b'X'))
    }

    pub(crate) fn get(&self, pid: i32) -> Option<&Entry> {
        self.entries.get(*self.by_pid.get(&pid)?)
    }

    /// Direct children, in the order of their numbers as `/proc` lists them.
    pub(crate) fn children(&self, pid: i32) -> impl Iterator<Item = &Entry> {
        self.by_parent.get(&pid).into_iter().flatten().filter_map(|index| self.entries.get(*index))
    }

    /// Everybody who descends from the leader, everybody of its session (those whose parent already
    /// died too), the others that are known to belong to it, and their descendants; without the leader, whose
    /// number may be another's by now: then there is none.
    pub(crate) fn descendants(&self, leader: Option<i32>, others: &[i32]) -> Vec<Entry> {
        let mut seen: HashSet<i32> = leader.into_iter().collect();
        let session = leader.and_then(|leader| self.by_session.get(&leader)).into_iter().flatten();
        let others = others.iter().filter_map(|pid| self.by_pid.get(pid));
        let mut found: Vec<Entry> = session
            .chain(others)
            .filter_map(|index| self.entries.get(*index))
            .filter(|entry| seen.insert(entry.pid))
            .copied()
            .collect();
        let mut queue: Vec<i32> = found.iter().map(|entry| entry.pid).chain(leader).collect();
        while let Some(pid) = queue.pop() {
            for child in self.children(pid) {
                if seen.insert(child.pid) {
                    found.push(*child);
                    queue.push(child.pid);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"77 (a (b) c) S 5 70 60 0 -1 4194560 1 2 3 4 11 12 13 14 20 -5 1 0 999 8192 7 18446744073709551615 \
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 21 18";

    #[test]
    fn a_name_may_contain_brackets_and_blanks() {
        let entry = Entry::parse(LINE).unwrap();
        assert_eq!((entry.pid, entry.state, entry.parent, entry.group, entry.session), (77, b'S', 5, 70, 60));
        assert_eq!((entry.times, entry.nice, entry.start), ([11, 12, 13, 14], -5, 999));
        assert_eq!((entry.virtual_size, entry.resident, entry.io_wait), (8192, 7, 21));
        assert_eq!(Entry::parse(b"77 (a"), None);
        assert_eq!(Entry::parse(b""), None);
    }

    fn entry(pid: i32, parent: i32, session: i32) -> Entry {
        Entry { pid, parent, session, ..Entry::parse(LINE).unwrap() }
    }

    #[test]
    fn descendants_are_found_by_parent_and_by_session() {
        let all = vec![
            entry(1, 0, 1),
            entry(10, 1, 10),
            entry(11, 10, 10),
            entry(12, 11, 12), // setsid, parent alive
            entry(13, 1, 10),  // parent gone, same session
            entry(14, 13, 14), // child of that, setsid
            entry(20, 1, 20),
            entry(30, 1, 30), // known to belong
            entry(31, 30, 31),
        ];
        let mut found: Vec<i32> =
            Snapshot::of(all).descendants(Some(10), &[30]).iter().map(|entry| entry.pid).collect();
        found.sort_unstable();
        assert_eq!(found, [11, 12, 13, 14, 30, 31]);
    }

    #[test]
    fn we_find_ourselves() {
        let me = i32::try_from(std::process::id()).unwrap();
        let snapshot = Snapshot::take().unwrap();
        let entry = *snapshot.get(me).unwrap();
        assert!(is_still(&entry));
        assert!(!is_still(&Entry { start: entry.start + 1, ..entry }));
        assert!(snapshot.children(entry.parent).any(|child| child.pid == me));
    }
}

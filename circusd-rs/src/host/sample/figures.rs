//! The figures of one process in circus' words: texts, roundings and key order as stock prints them.

use std::collections::HashMap;
use std::fs;
use std::io;

use circus_protocol::stat::{Nice, ProcessFigures, UNAVAILABLE, memory_text};
use nix::unistd::{SysconfVar, Uid, User, sysconf};

use crate::host::tree::Entry;

/// Names remembered; a machine has fewer users who run processes.
const NAMES: usize = 1024;

/// What does not change while the daemon runs.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Clock ticks in a second.
    pub(crate) ticks: f64,
    pub(crate) page: u64,
    memory: u64,
    /// Unix time of the start of the machine.
    boot: f64,
    users: HashMap<u32, String>,
}

impl Machine {
    pub(crate) fn new(memory: u64) -> io::Result<Self> {
        let system = |variable| sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok());
        let stat = fs::read_to_string("/proc/stat")?;
        let boot =
            stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0.0);
        Ok(Self {
            ticks: system(SysconfVar::CLK_TCK).unwrap_or(100) as f64,
            page: system(SysconfVar::PAGE_SIZE).unwrap_or(4096),
            memory,
            boot,
            users: HashMap::new(),
        })
    }

    /// Unix time of the process' start.
    pub(crate) fn created(&self, entry: &Entry) -> f64 {
        rounded(self.boot + entry.start as f64 / self.ticks, 2)
    }

    fn user(&mut self, uid: u32) -> String {
        if self.users.len() >= NAMES {
            self.users.clear();
        }
        let name = || match User::from_uid(Uid::from_raw(uid)) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => uid.to_string(),
        };
        self.users.entry(uid).or_insert_with(name).clone()
    }
}

/// What is not in the `stat` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    user: Option<String>,
    program: Option<String>,
}

impl Sight {
    #[cfg(test)]
    pub(crate) fn named(program: &str) -> Self {
        Self { user: None, program: Some(program.to_owned()) }
    }

    pub(crate) fn read(entry: &Entry, machine: &mut Machine) -> Self {
        let uid = fs::read(format!("/proc/{}/status", entry.pid)).ok().and_then(|status| real_uid(&status));
        let words = fs::read(format!("/proc/{}/cmdline", entry.pid)).unwrap_or_default();
        Self { user: uid.map(|uid| machine.user(uid)), program: program(&words) }
    }

    /// The figures, with `age` since the process' creation.
    pub(crate) fn figures(
        self,
        entry: &Entry,
        machine: &Machine,
        cpu: f64,
        wall: f64,
        children: Vec<ProcessFigures>,
    ) -> ProcessFigures {
        let resident = entry.resident * machine.page;
        let created = machine.created(entry);
        let share = if machine.memory == 0 { 0.0 } else { resident as f64 / machine.memory as f64 * 100.0 };
        let ticks = entry.times.iter().sum::<u64>() + entry.io_wait;
        let unknown = || UNAVAILABLE.to_owned();
        ProcessFigures {
            mem_info1: memory_text(resident),
            mem_info2: memory_text(entry.virtual_size),
            cpu: Some(cpu),
            mem: Some(rounded(share, 3)),
            ctime: clock_text(ticks as f64 / machine.ticks),
            pid: entry.pid.into(),
            username: self.user.unwrap_or_else(unknown),
            nice: Nice::Value(entry.nice),
            create_time: Some(created),
            age: Some(wall - created),
            cmdline: self.program.unwrap_or_else(unknown),
            children,
            started: None,
            wid: None,
        }
    }
}

pub(crate) fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// Seconds as circus prints them: minutes modulo 60, and the first two digits of the microseconds
/// without leading zeroes, which clients are used to (stock quirk Q13).
fn clock_text(seconds: f64) -> String {
    let micros = (seconds * 1e6).round() as u64;
    let (whole, fraction) = (micros / 1_000_000, (micros % 1_000_000).to_string());
    let fraction = fraction.get(..2).unwrap_or(&fraction);
    format!("{}:{:02}.{fraction}", whole % 86_400 / 60 % 60, whole % 60)
}

fn real_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// The base name of the first word of the first argument.
fn program(words: &[u8]) -> Option<String> {
    if words.is_empty() {
        return None;
    }
    let first = words.split(|byte| *byte == 0).next()?;
    let text = String::from_utf8_lossy(first);
    let word = first_word(&text)?;
    Some(word.rsplit('/').next().unwrap_or(&word).to_owned())
}

/// The first word as a POSIX shell splits; a quote that never ends takes all.
pub(crate) fn first_word(text: &str) -> Option<String> {
    let mut word = String::new();
    let mut begun = false;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_ascii_whitespace() => {
                if begun {
                    break;
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => match chars.next() {
                Some(next) if quote.is_none() || next == '"' || next == '\\' => word.push(next),
                Some(next) => word.extend(['\\', next]),
                None => word.push('\\'),
            },
            (Some(open), c) if c == open => quote = None,
            (None | Some(_), c) => word.push(c),
        }
        begun = true;
    }
    begun.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_with_stocks_quirk() {
        let shown = [0.0, 0.2, 1.05, 61.0, 3661.5, 86_400.0].map(clock_text);
        assert_eq!(shown, ["0:00.0", "0:00.20", "0:01.50", "1:01.0", "1:01.50", "0:00.0"]);
    }

    #[test]
    fn a_program_is_the_first_word_of_the_first_argument() {
        let shown = |words: &str| program(words.as_bytes());
        assert_eq!(shown("/usr/bin/sleep\x00100\0"), Some("sleep".to_owned()));
        assert_eq!(shown("nginx: worker process"), Some("nginx:".to_owned()));
        assert_eq!(shown("'/a b/c d' e\0x"), Some("c d".to_owned()));
        assert_eq!(shown("it's\0"), Some("its".to_owned()));
        assert_eq!(shown(""), None);
        assert_eq!(shown("\0x"), None);
    }

    #[test]
    fn the_owner_is_the_real_user() {
        assert_eq!(real_uid(b"Name:\tx\nUid:\t5\t0\t0\t0\nGid:\t1\n"), Some(5));
        assert_eq!(real_uid(b"Name:\tx\n"), None);
    }
}

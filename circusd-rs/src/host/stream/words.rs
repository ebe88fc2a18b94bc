//! The last words of processes that died: what each wrote at the end, until somebody wants to know why.
//!
//! Bounded for each process, for each watcher and for all together; the oldest go first. It refuses to
//! know what they mean.

use std::collections::{HashMap, VecDeque};

use crate::arbiter::id::{Key, WatcherId};

/// The most lines that are kept of each stream of one process.
const LINES: usize = 200;

/// The most bytes that are kept of each stream of one process.
const BYTES: usize = 16 * 1024;

/// How many processes of one watcher are remembered.
const EACH: usize = 3;

/// The bytes of all of them.
const TOTAL: usize = 4 * 1024 * 1024;

/// What one process wrote last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Words {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Words {
    fn len(&self) -> usize {
        self.stdout.len() + self.stderr.len()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    of: HashMap<WatcherId, VecDeque<(Key, Words)>>,
    /// In the order of the deaths; some may be forgotten already.
    order: VecDeque<(WatcherId, Key)>,
    held: usize,
}

impl LastWords {
    /// A process has died and this is what it wrote; silence is not remembered.
    pub(crate) fn keep(&mut self, watcher: WatcherId, key: Key, stdout: &[u8], stderr: &[u8]) {
        let words = Words { stdout: last_lines(stdout).to_vec(), stderr: last_lines(stderr).to_vec() };
        if words.len() == 0 {
            return;
        }
        self.held += words.len();
        let mine = self.of.entry(watcher).or_default();
        mine.push_back((key, words));
        self.order.push_back((watcher, key));
        if mine.len() > EACH
            && let Some((_, old)) = mine.pop_front()
        {
            self.held = self.held.saturating_sub(old.len());
        }
        while self.held > TOTAL {
            let Some((watcher, key)) = self.order.pop_front() else { break };
            self.drop_one(watcher, key);
        }
        if self.order.len() > 2 * self.of.len() * EACH + EACH {
            let of = &self.of;
            let known = |(watcher, key): &(WatcherId, Key)| {
                of.get(watcher).is_some_and(|mine| mine.iter().any(|(held, _)| held == key))
            };
            self.order.retain(known);
        }
    }

    fn drop_one(&mut self, watcher: WatcherId, key: Key) {
        let Some(mine) = self.of.get_mut(&watcher) else { return };
        if let Some(at) = mine.iter().position(|(held, _)| *held == key)
            && let Some((_, old)) = mine.remove(at)
        {
            self.held = self.held.saturating_sub(old.len());
        }
    }

    pub(crate) fn of(&self, watcher: WatcherId, key: Key) -> Words {
        let found = self.of.get(&watcher).and_then(|mine| mine.iter().find(|(held, _)| *held == key));
        found.map(|(_, words)| words.clone()).unwrap_or_default()
    }

    pub(crate) fn forget(&mut self, watcher: WatcherId) {
        let gone: usize = self.of.remove(&watcher).iter().flatten().map(|(_, words)| words.len()).sum();
        self.held = self.held.saturating_sub(gone);
    }
}

/// The end of a text: at most [`LINES`] lines and [`BYTES`] bytes, from the beginning of a line if one
/// begins there.
fn last_lines(bytes: &[u8]) -> &[u8] {
    let mut text = bytes.get(bytes.len().saturating_sub(BYTES)..).unwrap_or_default();
    if text.len() < bytes.len()
        && let Some(end) = text.iter().position(|byte| *byte == b'\n').filter(|end| end + 1 < text.len())
    {
        text = text.get(end + 1..).unwrap_or_default();
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match ends.map(|(at, _)| at).nth(LINES - 1) {
        Some(at) => text.get(at + 1..).unwrap_or_default(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        assert_eq!(last_lines(b"a\nb"), b"a\nb");
        let many: String = (0..1000).map(|n| format!("{n}\n")).collect();
        let kept = String::from_utf8(last_lines(many.as_bytes()).to_vec()).unwrap();
        assert_eq!((kept.lines().count(), kept.lines().next()), (LINES, Some("800")));
        let long = format!("{}\n{}\n", "x".repeat(BYTES), "y".repeat(BYTES / 2));
        assert_eq!(last_lines(long.as_bytes()), format!("{}\n", "y".repeat(BYTES / 2)).as_bytes());
        assert_eq!(last_lines(&vec![b'z'; 3 * BYTES]).len(), BYTES);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_go() {
        let mut words = LastWords::default();
        let text = vec![b'w'; BYTES];
        for key in 0..5000 {
            words.keep(WatcherId(key % 1000), Key(key), &text, &text);
        }
        assert!(words.held <= TOTAL && words.order.len() <= 10_000, "{} {}", words.held, words.order.len());
        assert_eq!(words.of(WatcherId(999), Key(4999)).stdout, text);
        assert_eq!(words.of(WatcherId(0), Key(0)), Words::default());
        words.keep(WatcherId(1), Key(7000), b"", b"");
        assert_eq!(words.of(WatcherId(1), Key(7000)), Words::default());
        for watcher in 0..1000 {
            words.forget(WatcherId(watcher));
        }
        assert_eq!(words.held, 0);
    }
}

//! The last output of one stream, as it came from the children, for whoever asks later.
//!
//! A tail holds at most [`TAIL`] bytes, takes memory only for what was written, and all tails together
//! hold about [`TOTAL`]: beyond that each keeps [`FLOOR`]. Positions are bytes since the stream first
//! spoke. It remembers which pipe wrote what, because several processes share a stream.
//!
//! It knows no lines and no files.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

/// The most that one tail holds.
pub(crate) const TAIL: usize = 64 * 1024;

/// What all tails hold together before each is cut to [`FLOOR`].
const TOTAL: usize = 8 * 1024 * 1024;

/// What a tail holds when there are too many.
const FLOOR: usize = 4 * 1024;

/// How often the writer may change within one tail; what is older goes.
const RUNS: usize = 1024;

/// What all tails hold.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    held: Cell<usize>,
}

impl Budget {
    fn room(&self) -> usize {
        if self.held.get() < TOTAL { TAIL } else { FLOOR }
    }

    fn change(&self, before: usize, after: usize) {
        self.held.set((self.held.get() + after).saturating_sub(before));
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    /// The position behind the last byte.
    end: u64,
    /// From which position on which pipe wrote; sorted.
    runs: VecDeque<(u64, u64)>,
    budget: Rc<Budget>,
}

impl Tail {
    pub(crate) fn new(budget: Rc<Budget>) -> Self {
        Self { bytes: VecDeque::new(), end: 0, runs: VecDeque::new(), budget }
    }

    /// A pipe wrote this.
    pub(crate) fn push(&mut self, pump: u64, bytes: &[u8]) {
        let before = self.bytes.len();
        let room = self.budget.room();
        let kept = bytes.get(bytes.len().saturating_sub(room)..).unwrap_or_default();
        if self.runs.back().is_none_or(|(_, last)| *last != pump) {
            self.runs.push_back((self.end, pump));
        }
        self.end += bytes.len() as u64;
        self.forget((before + kept.len()).saturating_sub(room));
        self.bytes.extend(kept);
        while self.runs.len() > RUNS {
            let second = self.runs.get(1).map_or(self.end, |(from, _)| *from);
            self.forget(usize::try_from(second.saturating_sub(self.start())).unwrap_or(usize::MAX));
            self.runs.pop_front();
        }
        let start = self.start();
        while self.runs.get(1).is_some_and(|(from, _)| *from <= start) {
            self.runs.pop_front();
        }
        if self.bytes.capacity() > 4 * FLOOR && self.bytes.capacity() > 2 * room {
            self.bytes.shrink_to(room);
        }
        self.budget.change(before, self.bytes.len());
    }

    fn forget(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
    }

    /// The position of the first byte that is still there.
    pub(crate) fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// All that is there.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }

    /// What one pipe wrote of it.
    pub(crate) fn of(&self, pump: u64) -> Vec<u8> {
        let start = self.start();
        let ends = self.runs.iter().skip(1).map(|(from, _)| *from).chain([self.end]);
        let place = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        for ((from, writer), end) in self.runs.iter().zip(ends) {
            if *writer == pump {
                let (from, end) = (place(*from), place(end).min(self.bytes.len()));
                found.extend(self.bytes.range(from.min(end)..end));
            }
        }
        found
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.change(self.bytes.len(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_kept_and_positions_count_all() {
        let budget = Rc::new(Budget::default());
        let mut tail = Tail::new(Rc::clone(&budget));
        tail.push(1, b"one ");
        tail.push(2, b"two ");
        tail.push(1, b"three");
        assert_eq!((tail.start(), tail.bytes()), (0, b"one two three".to_vec()));
        assert_eq!((tail.of(1), tail.of(2)), (b"one three".to_vec(), b"two ".to_vec()));
        tail.push(3, &vec![b'x'; TAIL - 2]);
        assert_eq!(tail.start(), 13 - 2);
        assert_eq!(tail.of(1), b"ee");
        tail.push(1, &vec![b'y'; 3 * TAIL]);
        assert_eq!((tail.bytes().len(), tail.of(3).len(), tail.of(1).len()), (TAIL, 0, TAIL));
        assert_eq!(budget.held.get(), TAIL);
        drop(tail);
        assert_eq!(budget.held.get(), 0);
    }

    #[test]
    fn many_tails_share_the_memory() {
        let budget = Rc::new(Budget::default());
        let mut tails: Vec<Tail> = (0..1000).map(|_| Tail::new(Rc::clone(&budget))).collect();
        for tail in &mut tails {
            tail.push(1, &vec![0; TAIL]);
        }
        assert!(budget.held.get() <= TOTAL + 1000 * FLOOR, "{}", budget.held.get());
        tails.first_mut().unwrap().push(1, b"x");
        assert_eq!(tails.first().unwrap().bytes().len(), FLOOR);
    }

    #[test]
    fn writers_that_take_turns_cost_little() {
        let mut tail = Tail::new(Rc::default());
        for turn in 0..10_000 {
            tail.push(turn % 2, b"z");
        }
        assert!(tail.runs.len() <= RUNS && tail.bytes().len() <= RUNS);
        assert_eq!(tail.of(0).len() + tail.of(1).len(), tail.bytes().len());
    }
}

//! Records of many streams in the order of time, as far as a bounded wait can know it.
//!
//! A record is let go when it is as old as the window; whatever comes later and is older goes at once.
//! So nothing waits longer than the window, and what is late by less is in order. When too much is
//! held, the oldest goes early: memory is worth more than order.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::record::Record;

/// How long a record waits for older ones, in seconds.
pub const WINDOW: f64 = 0.2;
/// The most bytes that wait.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What a record costs besides its text.
const COST: usize = 96;

#[derive(Debug)]
struct Waiting {
    record: Record,
    number: u64,
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.record.time.total_cmp(&other.record.time).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

/// Everything that waits.
#[derive(Debug, Default)]
pub struct Merger {
    waiting: BinaryHeap<Reverse<Waiting>>,
    next: u64,
    bytes: usize,
}

impl Merger {
    /// Takes a record.
    pub fn push(&mut self, record: Record) {
        self.bytes += record.text.len() + COST;
        self.next += 1;
        self.waiting.push(Reverse(Waiting { record, number: self.next }));
    }

    /// The next record that need not wait any longer at `now`.
    pub fn pop(&mut self, now: f64) -> Option<Record> {
        let first = self.waiting.peek()?;
        if first.0.record.time > now - WINDOW && self.bytes <= MAX_BYTES {
            return None;
        }
        self.take()
    }

    /// The next record, however young.
    pub fn take(&mut self) -> Option<Record> {
        let record = self.waiting.pop()?.0.record;
        self.bytes -= record.text.len() + COST;
        Some(record)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: usize, time: f64) -> Record {
        Record { stream, time, text: "x".to_owned() }
    }

    #[test]
    fn order_is_that_of_time_within_the_window() {
        let mut merger = Merger::default();
        merger.push(record(0, 10.0));
        merger.push(record(1, 9.95));
        assert_eq!(merger.pop(10.1), None);
        merger.push(record(2, 9.9));
        let times = |merger: &mut Merger, now| {
            std::iter::from_fn(|| merger.pop(now)).map(|record| record.time).collect::<Vec<_>>()
        };
        assert_eq!(times(&mut merger, 10.16), [9.9, 9.95]);
        merger.push(record(1, 5.0));
        assert_eq!(times(&mut merger, 10.16), [5.0], "what is late goes at once");
        assert_eq!(times(&mut merger, 10.21), [10.0]);
        assert!(merger.is_empty() && merger.bytes == 0);
    }

    #[test]
    fn too_much_goes_early() {
        let mut merger = Merger::default();
        for number in 0..3 {
            let text = "x".repeat(MAX_BYTES / 2);
            merger.push(Record { stream: 0, time: f64::from(number), text });
        }
        assert_eq!(merger.pop(-100.0).map(|record| record.time), Some(0.0));
        assert_eq!(merger.pop(-100.0).map(|record| record.time), Some(1.0));
        assert_eq!(merger.pop(-100.0), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_in_time_is_in_order(mut lines in proptest::collection::vec((0.0..10.0_f64, 0.0..0.19_f64), 1..200)) {
            // (written, delay): they come in the order of arrival, each within the window.
            lines.sort_by(|one, two| (one.0 + one.1).total_cmp(&(two.0 + two.1)));
            let (mut merger, mut told) = (Merger::default(), Vec::new());
            for (stream, (time, delay)) in lines.iter().enumerate() {
                let now = time + delay;
                told.extend(std::iter::from_fn(|| merger.pop(now)));
                merger.push(record(stream, *time));
            }
            told.extend(std::iter::from_fn(|| merger.take()));
            assert_eq!(told.len(), lines.len());
            assert!(told.windows(2).all(|pair| pair[0].time <= pair[1].time));
        }
    }
}

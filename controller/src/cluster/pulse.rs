//! When to ask a node for a sign of life, when to give it up, and when to try again. Sees no bytes, no
//! clock and no chance: time and the seed are arguments.
//!
//! ```text
//!  answered ──interval──► asked ──half an interval──► asked again ... ──SILENCE──► silent
//!     ▲────────────── any frame ──────────────────────────┘
//! ```
//!
//! A beat is a real request (`numwatchers`, which no busy node refuses), not a ZMTP PING: libzmq answers
//! a PING from a thread of its own while the daemon behind it is stuck, and only an answer tells the
//! node's clock. Asking again before the answer is not impatience: each further segment makes TCP send
//! a lost one again at once, so a lossy link is not taken for a dead one.

use std::time::Duration;

/// How long a node may be silent, in intervals. A death right after an answer is thus known within
/// three; and on a link that loses 30 % for two seconds the kernel's retransmission after 0.2, 0.6 and
/// 1.4 s of the second that follows the last answer still comes in time.
const SILENCE: f64 = 2.75;
/// Beats fall on multiples of this, so that a console with many nodes wakes up for several at once.
const SLOT: Duration = Duration::from_millis(20);
/// The first pause before connecting again; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Watches one open connection.
#[derive(Debug)]
pub struct Heart {
    interval: Duration,
    heard: Duration,
    asked: Option<Duration>,
    next: Duration,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Ask for a sign of life.
    Beat,
    /// Nothing was heard for too long.
    Silent,
}

impl Heart {
    /// Watches a node just heard; its first beat comes after `phase` (0 to 1) of an interval, so that
    /// not all nodes beat at once.
    #[must_use]
    pub fn new(now: Duration, interval: Duration, phase: f64) -> Self {
        Self { interval, heard: now, asked: None, next: slot(now + interval.mul_f64(phase.clamp(0.0, 1.0))) }
    }

    /// Something came.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
        if let Some(asked) = self.asked.take() {
            self.next = slot(asked + self.interval).max(now);
        }
    }

    /// Something was sent that will be answered.
    pub fn asked(&mut self, now: Duration) {
        self.asked = Some(now);
        self.next = now + self.interval / 2;
    }

    /// How long it may be silent.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval.mul_f64(SILENCE)
    }

    /// When [`Heart::tick`] must be called next.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        match self.asked {
            Some(_) => self.next.min(self.heard + self.patience()),
            None => self.next,
        }
    }

    /// What is due now.
    #[must_use]
    pub fn tick(&self, now: Duration) -> Due {
        if self.asked.is_some() && now >= self.heard + self.patience() {
            Due::Silent
        } else if now >= self.next {
            Due::Beat
        } else {
            Due::Nothing
        }
    }

    /// We were late ourselves by so much, and could hear nobody meanwhile.
    pub fn forgive(&mut self, late: Duration) {
        self.heard += late;
    }
}

fn slot(at: Duration) -> Duration {
    let width = SLOT.as_nanos();
    let slots = at.as_nanos().div_ceil(width);
    Duration::from_nanos(u64::try_from(slots.saturating_mul(width)).unwrap_or(u64::MAX))
}

/// The pause before the next attempt after so many failures: between half and all of one that doubles.
#[must_use]
pub fn pause(seed: u64, failures: u32) -> Duration {
    let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
    full / 2 + (full / 2).mul_f64(chance(seed, failures))
}

/// A number from 0 to 1 that depends on its arguments alone (splitmix64).
#[must_use]
pub fn chance(seed: u64, turn: u32) -> f64 {
    let mut mixed = seed.wrapping_add(u64::from(turn).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// Lives through `answers` (when each frame comes); when it falls silent, and how many beats it took.
    fn live(answers: &[u64], until: u64) -> (Option<u64>, usize) {
        let mut heart = Heart::new(Duration::ZERO, SECOND, 1.0);
        let mut answers = answers.iter().copied().peekable();
        let mut beats = 0;
        loop {
            let at = heart.deadline();
            if let Some(answer) = answers.next_if(|answer| ms(*answer) <= at) {
                heart.heard(ms(answer));
                continue;
            }
            if at > ms(until) {
                return (None, beats);
            }
            match heart.tick(at) {
                Due::Silent => return (Some(u64::try_from(at.as_millis()).unwrap()), beats),
                Due::Beat => {
                    beats += 1;
                    heart.asked(at);
                }
                Due::Nothing => panic!("early"),
            }
        }
    }

    #[test]
    fn a_node_that_dies_is_silent_within_three_seconds() {
        assert_eq!(live(&[], 10_000).0, Some(2_750));
        // It dies right after an answer.
        assert_eq!(live(&[1_001, 2_001], 10_000).0, Some(4_751));
    }

    #[test]
    fn a_healthy_node_is_asked_once_a_second() {
        let answers: Vec<u64> = (1..=60).map(|second| second * 1_000 + 3).collect();
        let (silent, beats) = live(&answers, 60_000);
        assert_eq!(silent, None);
        assert!((59..=60).contains(&beats), "{beats}");
    }

    #[test]
    fn two_seconds_without_a_word_are_forgiven() {
        assert_eq!(live(&[1_001, 3_650], 4_000).0, None);
    }

    #[test]
    fn pauses_double_vary_and_end() {
        let half = |failures| pause(7, failures);
        assert!(half(0) >= ms(125) && half(0) <= ms(250));
        assert!(half(3) >= ms(1_000) && half(3) <= ms(2_000));
        assert!(half(40) >= ms(4_000) && half(40) <= ms(8_000));
        assert!((0..50_u64).map(|seed| pause(seed, 5)).collect::<std::collections::BTreeSet<_>>().len() > 45);
        assert_eq!(half(5), half(5), "the same seed gives the same pause");
    }

    proptest! {
        #[test]
        fn it_never_gives_up_whoever_answers_and_always_whoever_does_not(
            gaps in prop::collection::vec(1_u64..2_700, 0..30),
        ) {
            let mut at = 0;
            let answers: Vec<u64> = gaps.iter().map(|gap| { at += gap; at }).collect();
            let (silent, _) = live(&answers, 1_000_000);
            let silent = silent.unwrap();
            prop_assert!(silent > at && silent <= at + 3_000, "last heard {at}, silent {silent}");
        }
    }
}

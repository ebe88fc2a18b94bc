//! What happens to simulated nodes by itself. Pure: chance is a number that goes on from a seed.

use super::Chaos;
use crate::cluster::pulse::chance;

/// Something that happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accident {
    /// A process of this watcher dies so.
    Crash { watcher: usize, code: i32 },
    /// This watcher stops, or starts.
    Flip { watcher: usize },
    /// The node says nothing for so many seconds.
    Hang { seconds: u64 },
    /// It is gone for so many seconds.
    Vanish { seconds: u64 },
}

/// A source of accidents.
#[derive(Debug)]
pub(super) struct Fate {
    seed: u64,
    turn: u32,
    chaos: Chaos,
}

impl Fate {
    pub(super) fn new(seed: u64, chaos: Chaos) -> Self {
        Self { seed, turn: 0, chaos }
    }

    fn draw(&mut self, below: usize) -> usize {
        self.turn = self.turn.wrapping_add(1);
        let drawn = chance(self.seed, self.turn) * below as f64;
        (drawn as usize).min(below.saturating_sub(1))
    }

    /// What happens in one second among so many nodes with so many watchers: to whom, and what.
    pub(super) fn second(&mut self, nodes: usize, watchers: usize) -> Vec<(usize, Accident)> {
        let count = match self.chaos {
            Chaos::None => 0,
            Chaos::Mild => (nodes / 100).clamp(1, 20),
            Chaos::Wild => (nodes / 10).clamp(1, 500),
        };
        (0..count).map(|_| (self.draw(nodes), self.accident(watchers.max(1)))).collect()
    }

    fn accident(&mut self, watchers: usize) -> Accident {
        let watcher = self.draw(watchers);
        match self.draw(100) {
            0..60 => {
                let code = [1, 137, -9, -11, -6].get(self.draw(5)).copied().unwrap_or(1);
                Accident::Crash { watcher, code }
            }
            60..95 => Accident::Flip { watcher },
            95..98 => Accident::Hang { seconds: 2 + self.draw(6) as u64 },
            _ => Accident::Vanish { seconds: 4 + self.draw(12) as u64 },
        }
    }
}

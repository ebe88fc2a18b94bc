//! When waiting is in vain: a watcher whose processes end again and again will not become ready.
//!
//! One or two deaths are no reason: the port may still be held by a predecessor, and what it needs may
//! come a moment later. Whoever knows how many ends there were tells it with each look.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

/// So many ends in each of its places since the first look are too many, where nobody says otherwise.
pub const MANY: u32 = 5;
/// However many there are, it is given so much time: some die five times in half a second.
const LEAST: Duration = Duration::from_secs(10);

/// What was seen of each watcher.
#[derive(Debug)]
pub(super) struct Vain {
    /// Ends in one place; 0: never too many.
    limit: u32,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    since: Duration,
    /// As it was told last.
    told: u64,
    /// Since the first look.
    ends: u64,
}

impl Vain {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, seen: HashMap::new() }
    }

    /// Looks at what a node says of a watcher (`ends`, `numprocesses`) and how often it ended since the
    /// first look, if that was too often.
    pub(super) fn look(&mut self, name: &str, said: &Value, now: Duration) -> Option<u64> {
        let number = |key: &str| said.get(key).and_then(Value::as_u64);
        let told = number("ends")?;
        let seen = self.seen.entry(name.to_owned()).or_insert(Seen { since: now, told, ends: 0 });
        // Less than before: another daemon counts now, from zero.
        seen.ends += told.checked_sub(seen.told).unwrap_or(told);
        seen.told = told;
        let most = u64::from(self.limit).saturating_mul(number("numprocesses").unwrap_or(1).max(1));
        (self.limit > 0 && seen.ends >= most && now.saturating_sub(seen.since) >= LEAST).then_some(seen.ends)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn looks(vain: &mut Vain, looks: &[(u64, u64, u64)]) -> Vec<Option<u64>> {
        let look = |(second, ends, processes): &(u64, u64, u64)| {
            let said = json!({"ends": ends, "numprocesses": processes});
            vain.look("db", &said, Duration::from_secs(*second))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn what_ended_before_the_first_look_does_not_count() {
        let told = looks(&mut Vain::new(3), &[(0, 90, 1), (11, 92, 1), (12, 93, 1)]);
        assert_eq!(told, [None, None, Some(3)]);
    }

    #[test]
    fn some_time_is_given_however_fast_it_dies() {
        let told = looks(&mut Vain::new(3), &[(5, 0, 1), (6, 30, 1), (14, 50, 1), (15, 51, 1)]);
        assert_eq!(told, [None, None, None, Some(51)]);
    }

    #[test]
    fn each_of_its_places_may_fail_as_often() {
        let told = looks(&mut Vain::new(3), &[(0, 0, 10), (60, 29, 10), (61, 30, 10)]);
        assert_eq!(told, [None, None, Some(30)]);
    }

    #[test]
    fn another_daemon_counts_anew() {
        let told = looks(&mut Vain::new(3), &[(0, 40, 1), (20, 42, 1), (21, 0, 1), (22, 1, 1)]);
        assert_eq!(told, [None, None, None, Some(3)]);
    }

    #[test]
    fn zero_is_however_often_and_who_does_not_count_is_waited_for() {
        assert_eq!(looks(&mut Vain::new(0), &[(0, 0, 1), (600, 900, 1)]), [None, None]);
        let mut vain = Vain::new(1);
        assert_eq!(vain.look("db", &json!({"state": "starting"}), Duration::from_secs(900)), None);
    }
}

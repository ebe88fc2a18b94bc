//! What a node's clock shows, compared with ours: from the `time` that every circusd puts into its
//! replies, which was somewhere between our question and its answer.
//!
//! Knows no clock: all times are arguments.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// A node's clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Offset {
    /// So many seconds ahead of ours.
    pub seconds: f64,
    /// And it may be so many seconds more or less.
    pub error: f64,
}

impl Offset {
    /// From one question and its answer; `epoch` is the Unix time at which `asked` and `answered` are
    /// zero. `None`: the reply has no time.
    #[must_use]
    pub fn of(reply: &Map<String, Value>, epoch: f64, asked: Duration, answered: Duration) -> Option<Self> {
        let time = reply.get("time").and_then(Value::as_f64).filter(|time| time.is_finite())?;
        let (asked, answered) = (asked.as_secs_f64(), answered.as_secs_f64());
        let middle = epoch + (asked + answered) / 2.0;
        Some(Self { seconds: time - middle, error: ((answered - asked) / 2.0).max(0.0) })
    }

    /// The better of two: the one whose question took less time.
    #[must_use]
    pub fn better(self, other: Option<Self>) -> Self {
        other.filter(|other| other.error < self.error).unwrap_or(self)
    }

    /// As a member of a result.
    #[must_use]
    pub fn to_json(self) -> Value {
        let rounded = |seconds: f64| (seconds * 1e6).round() / 1e6;
        json!({"offset": rounded(self.seconds), "error": rounded(self.error)})
    }

    /// The same, read again.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let number = |key: &str| value.get(key).and_then(Value::as_f64);
        Some(Self { seconds: number("offset")?, error: number("error")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_was_made_half_way() {
        let reply = json!({"time": 1005.25});
        let reply = reply.as_object().expect("an object");
        let (asked, answered) = (Duration::from_millis(100), Duration::from_millis(300));
        let offset = Offset::of(reply, 1000.0, asked, answered).expect("a time");
        assert!((offset.seconds - 5.05).abs() < 1e-9 && (offset.error - 0.1).abs() < 1e-9, "{offset:?}");
        let closer = Offset { seconds: 5.0, error: 0.01 };
        assert_eq!(offset.better(Some(closer)), closer);
        assert_eq!(closer.better(Some(offset)), closer);
        assert_eq!(Offset::from_json(&closer.to_json()), Some(closer));
        assert_eq!(Offset::of(&Map::new(), 0.0, asked, answered), None);
    }
}

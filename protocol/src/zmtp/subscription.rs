//! The prefixes one peer subscribed to, counted as 29/PUBSUB wants: what was subscribed twice must
//! be cancelled twice. (libzmq announces a prefix as often as it is wanted and cancels it once. With
//! counts it then gets too much, which it filters; without, peers that do count would miss messages.)
//! Knows no peers and no queues.

use core::ops::Bound;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault::Fault;
use super::limits::{MAX_SUBSCRIPTION_BYTES, MAX_SUBSCRIPTIONS};

/// A set of prefixes with counts. Matching costs the logarithm of their number, not their number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    counts: BTreeMap<Bytes, u32>,
    bytes: usize,
}

impl Subscriptions {
    /// Adds one subscription; `Ok(true)` when the prefix is new.
    ///
    /// # Errors
    /// One more prefix would exceed [`MAX_SUBSCRIPTIONS`] or [`MAX_SUBSCRIPTION_BYTES`].
    pub fn subscribe(&mut self, prefix: &Bytes) -> Result<bool, Fault> {
        if let Some(count) = self.counts.get_mut(prefix) {
            *count = count.saturating_add(1);
            return Ok(false);
        }
        if self.counts.len() >= MAX_SUBSCRIPTIONS {
            return Err(Fault::Subscriptions { limit: MAX_SUBSCRIPTIONS, what: "subscriptions" });
        }
        if self.bytes + prefix.len() > MAX_SUBSCRIPTION_BYTES {
            return Err(Fault::Subscriptions {
                limit: MAX_SUBSCRIPTION_BYTES,
                what: "bytes of subscriptions",
            });
        }
        self.bytes += prefix.len();
        // A copy: the prefix may be a slice of a larger buffer.
        self.counts.insert(Bytes::copy_from_slice(prefix), 1);
        Ok(true)
    }

    /// Takes one subscription back; true when the prefix is gone. Unknown ones are ignored.
    pub fn cancel(&mut self, prefix: &Bytes) -> bool {
        let Some(count) = self.counts.get_mut(prefix) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.counts.remove(prefix);
        self.bytes -= prefix.len();
        true
    }

    /// Whether any prefix matches.
    #[must_use]
    pub fn matches(&self, topic: &[u8]) -> bool {
        self.longest(topic).is_some()
    }

    /// The length of the longest prefix that matches.
    #[must_use]
    pub fn longest(&self, topic: &[u8]) -> Option<usize> {
        // The largest prefix not above the topic is either a prefix of it, or shares fewer bytes
        // with it; then only a prefix of those shared bytes can match.
        let mut rest = topic;
        loop {
            let below = (Bound::Unbounded, Bound::Included(rest));
            let (prefix, _) = self.counts.range::<[u8], _>(below).next_back()?;
            let shared = prefix.iter().zip(rest).take_while(|(one, two)| one == two).count();
            if shared == prefix.len() {
                return Some(shared);
            }
            rest = rest.get(..shared).unwrap_or_default();
        }
    }

    /// How many different prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing is subscribed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The different prefixes, sorted.
    pub fn prefixes(&self) -> impl Iterator<Item = &Bytes> {
        self.counts.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subscriptions_are_counted() {
        let mut set = Subscriptions::default();
        let topic = Bytes::from("a");
        assert_eq!(set.subscribe(&topic), Ok(true));
        assert_eq!(set.subscribe(&topic), Ok(false));
        assert!(!set.cancel(&topic) && set.matches(b"abc"));
        assert!(set.cancel(&topic) && !set.matches(b"abc"));
        assert!(!set.cancel(&topic) && set.is_empty());
    }

    #[test]
    fn one_peer_cannot_subscribe_without_end() {
        let mut set = Subscriptions::default();
        let refused = (0..=MAX_SUBSCRIPTIONS).find(|at| set.subscribe(&at.to_string().into()).is_err());
        assert_eq!(refused, Some(MAX_SUBSCRIPTIONS));
        let mut set = Subscriptions::default();
        let fitting = (0u8..=255).take_while(|at| set.subscribe(&vec![*at; 16 * 1024].into()).is_ok());
        assert_eq!(fitting.count(), MAX_SUBSCRIPTION_BYTES / 16 / 1024);
    }

    proptest! {
        #[test]
        fn matching_agrees_with_looking_at_each(
            prefixes in proptest::collection::vec("[ab]{0,5}", 0..12), topic in "[ab]{0,7}",
        ) {
            let mut set = Subscriptions::default();
            for prefix in &prefixes {
                set.subscribe(&Bytes::from(prefix.clone())).expect("within limits");
            }
            let plain = prefixes.iter().any(|prefix| topic.starts_with(prefix.as_str()));
            prop_assert_eq!(set.matches(topic.as_bytes()), plain);
        }
    }
}

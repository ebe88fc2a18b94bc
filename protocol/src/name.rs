//! Watcher names: one string, three spellings.

use std::fmt;

/// The longest name that `add` takes, in bytes: it stands in every event and log line of its watcher.
pub const MAX_NAME: usize = 1024;

/// A watcher's name as its configuration spells it.
///
/// circus looks watchers up by the lower-cased name, lists them so, prints the original in `status`
/// and publishes events under a third spelling; this type keeps the three apart.
#[derive(Debug, Clone)]
pub struct WatcherName {
    original: Box<str>,
    key: Box<str>,
}

impl WatcherName {
    /// Any text is a name; only `add` refuses the empty one and one longer than [`MAX_NAME`].
    #[must_use]
    pub fn new(original: &str) -> Self {
        Self { original: original.into(), key: original.to_lowercase().into() }
    }

    /// As configured; what `status`, `stats` and the logs print.
    #[must_use]
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Lower-cased; what `list` prints and what lookups compare.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part of an event topic: lower-cased, blanks as underscores.
    #[must_use]
    pub fn topic(&self) -> String {
        self.key.replace(' ', "_")
    }
}

/// Names are equal when a lookup could not tell them apart.
impl PartialEq for WatcherName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for WatcherName {}

impl std::hash::Hash for WatcherName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for WatcherName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.original)
    }
}

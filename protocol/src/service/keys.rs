//! The one table of our section kinds and their keys, and the nearest known word for a misspelt one.

/// A kind of section of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Service,
    Config,
    List,
    Value,
    Probe,
    Reset,
    Profile,
}

/// Section kinds that circus itself knows.
const CIRCUS: [&str; 5] = ["circus", "watcher", "env", "socket", "plugin"];

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Service, Self::Config, Self::List, Self::Value, Self::Probe, Self::Reset, Self::Profile];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Config => "config",
            Self::List => "list",
            Self::Value => "value",
            Self::Probe => "probe",
            Self::Reset => "reset",
            Self::Profile => "profile",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// How the whole title is written.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Service => "[service:NAME]",
            Self::Config => "[config:SERVICE:LABEL]",
            Self::List => "[list:NAME]",
            Self::Value => "[value:NAME]",
            Self::Probe => "[probe:SERVICE:up] or [probe:SERVICE:joined]",
            Self::Reset => "[reset:SERVICE:data] or [reset:SERVICE:log], with :LABEL for further roots",
            Self::Profile => "[profile:NAME]",
        }
    }

    /// Whether keys of this kind may be written `kind.label.key` in a service or a profile.
    pub(super) fn is_nested(self) -> bool {
        match self {
            Self::Config | Self::List | Self::Value | Self::Probe | Self::Reset => true,
            Self::Service | Self::Profile => false,
        }
    }

    /// The keys of a section of this kind; those of services and profiles may be dotted, too.
    pub(super) fn keys(self) -> impl Iterator<Item = &'static str> {
        let more: &[&str] = if self == Self::Profile { &["product", "versions", "service"] } else { &[] };
        self.own_keys().iter().chain(more).copied()
    }

    fn own_keys(self) -> &'static [&'static str] {
        match self {
            // A profile holds what a service may hold, and says what it is for.
            Self::Service | Self::Profile => &[
                "use",
                "home",
                "start_order",
                "after",
                "cluster_after",
                "conflicts",
                "ports",
                "java",
                "configure_while_running",
                "remove_before_start",
            ],
            Self::Config => &["template", "target", "mode", "owner", "strip"],
            Self::List => &["item", "separator", "select", "exclude_self_when"],
            Self::Value => &["text", "number", "when", "otherwise"],
            Self::Probe => &[
                "tcp",
                "http",
                "status",
                "body",
                "user",
                "password_file",
                "exec",
                "exit_codes",
                "output",
                "log",
                "pattern",
                "pid_alive",
                "interval",
                "attempt_timeout",
                "timeout",
                "on_timeout",
                "recheck",
            ],
            Self::Reset => &["root", "delete", "truncate", "keep", "require_dirs", "scope", "keep_seconds"],
        }
    }
}

/// Keys of services and profiles that are `family.NAME`: what the watcher of the same name gets unless
/// it says otherwise, what an exit code means, where the service writes its own log, which resources it
/// should have.
pub(super) const FAMILIES: [&str; 5] = ["watcher", "env", "exit", "log", "limit"];

/// The family of such a key, and what comes after its dot.
pub(super) fn family(key: &str) -> Option<(&'static str, &str)> {
    let (word, rest) = key.split_once('.')?;
    let family = FAMILIES.into_iter().find(|family| *family == word)?;
    (!rest.is_empty()).then_some((family, rest))
}

/// Nobody misspells a longer word, and comparing two takes the product of their lengths.
const LONGEST: usize = 64;

/// The known word that a person may have meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&lower, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Which kind of ours a title's first word was probably meant to be. Circus ignores unknown kinds, so
/// nothing is said unless it is close.
pub(super) fn probably_meant(word: &str) -> Option<&'static str> {
    const CLOSE: usize = 2;
    if CIRCUS.contains(&word) || Kind::from_word(word).is_some() {
        return None;
    }
    let best = nearest(word, Kind::ALL.into_iter().map(Kind::word))?;
    (distance(&word.to_lowercase(), best) <= CLOSE).then_some(best)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, c) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, d) in to.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(c != *d);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let left = column.checked_sub(1).and_then(|left| to.get(left).map(|letter| (left, *letter)));
            if let Some((left, letter)) = left
                && previous == Some(*d)
                && letter == c
            {
                best = best.min(at(&before_last, left) + 1);
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(c);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("tmeplate", Kind::Config.keys()), Some("template"));
        assert_eq!(nearest("Target", Kind::Config.keys()), Some("target"));
        assert_eq!(nearest("colour", Kind::Config.keys()), None);
        assert_eq!(probably_meant("confg"), Some("config"));
        assert_eq!(probably_meant("Service"), Some("service"));
        assert_eq!(probably_meant("services"), Some("service"));
        assert_eq!(probably_meant("watcher"), None);
        assert_eq!(probably_meant("unrelated"), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}

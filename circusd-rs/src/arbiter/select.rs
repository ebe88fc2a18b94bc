//! Which watchers a `start`, `stop` or `restart` is for: names against a pattern.
//!
//! Name and pattern are lower-cased first, also inside a regular expression, because circus does.

use circus_protocol::command::Match;
use circus_protocol::reply::Refusal;
use regex_lite::RegexBuilder;

use crate::config::pattern;

/// How large a client's regular expression may become when compiled.
const PATTERN_LIMIT: usize = 64 * 1024;

/// A pattern, understood.
#[derive(Debug)]
pub(super) enum Pattern {
    Exact(String),
    Glob(String),
    Regex(regex_lite::Regex),
}

impl Pattern {
    /// Refuses only a regular expression that is none.
    pub(super) fn new(text: &str, matching: Match) -> Result<Self, Refusal> {
        let text = text.to_lowercase();
        Ok(match matching {
            Match::Simple => Self::Exact(text),
            Match::Glob if !text.contains(['*', '?', '[']) => Self::Exact(text),
            Match::Glob => Self::Glob(text),
            Match::Regex => Self::Regex(
                RegexBuilder::new(&format!(r"\A(?:{text})"))
                    .size_limit(PATTERN_LIMIT)
                    .build()
                    .map_err(|error| Refusal::Raised(format!("invalid pattern '{text}': {error}")))?,
            ),
        })
    }

    /// `key` is a lower-cased name.
    pub(super) fn matches(&self, key: &str) -> bool {
        match self {
            Self::Exact(name) => name == key,
            Self::Glob(glob) => pattern::matches(glob, key),
            Self::Regex(regex) => regex.is_match(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: Match, name: &str) -> bool {
        Pattern::new(pattern, matching).unwrap().matches(&name.to_lowercase())
    }

    #[test]
    fn globs_match_the_whole_name() {
        for (pattern, name, expected) in [
            ("web*", "web1", true),
            ("web", "web1", false),
            ("WEB?", "Web1", true),
            ("*", "", true),
            ("*b*d", "abcbd", true),
            ("*b*d", "abcb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("br[1]", "br[1]", false),
            ("br[[]1]", "br[1]", true),
            ("br[1", "br[1", true),
            ("a[-]", "a-", true),
        ] {
            assert_eq!(check(pattern, Match::Glob, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_are_quick() {
        assert!(!check(&"a*".repeat(60), Match::Glob, &format!("{}b", "a".repeat(59))));
    }

    #[test]
    fn regexes_are_anchored_at_the_start_only() {
        assert!(check("web", Match::Regex, "web1"));
        assert!(!check("eb", Match::Regex, "web"));
        assert!(check("a|w.b", Match::Regex, "web"));
        assert!(!check(r"\S+", Match::Regex, "web"), "lower-casing also hits escapes");
        assert!(matches!(Pattern::new("(", Match::Regex), Err(Refusal::Raised(_))));
    }

    #[test]
    fn simple_takes_nothing_for_a_pattern() {
        assert!(check("We*", Match::Simple, "we*"));
        assert!(!check("we*", Match::Simple, "web"));
    }
}

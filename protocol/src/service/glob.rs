//! Shell patterns over paths relative to a reset's root, on bytes, because file names need not be
//! text. A pattern never crosses a `/`, and a leading dot must be written out, as in a shell.

use std::fmt;

/// A checked pattern such as `data/*` or `*.log.[0-9]*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    text: String,
    parts: Vec<String>,
}

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing but slashes.
    #[error("an empty pattern would be the root itself")]
    Empty,
    /// It starts with `/`.
    #[error("{0:?} is absolute; patterns are relative to the root")]
    Absolute(String),
    /// It has a component `.` or `..`.
    #[error("{0:?} has a `.` or `..` in it, which could leave the root")]
    Dots(String),
    /// It has `**` in it.
    #[error("{0:?}: `**` is not understood; write one pattern per level")]
    Deep(String),
    /// It has a NUL in it.
    #[error("{0:?} holds a NUL, which no file name can")]
    Nul(String),
}

impl Glob {
    /// Checks a pattern.
    ///
    /// # Errors
    /// A pattern that is absolute, leaves the root, or is not understood.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.starts_with('/') {
            return Err(GlobError::Absolute(text.into()));
        }
        if text.contains("**") {
            return Err(GlobError::Deep(text.into()));
        }
        if text.contains('\0') {
            return Err(GlobError::Nul(text.into()));
        }
        let parts: Vec<String> = text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if parts.is_empty() {
            return Err(GlobError::Empty);
        }
        if parts.iter().any(|part| part == "." || part == "..") {
            return Err(GlobError::Dots(text.into()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether the pattern is for exactly this path, given by its components.
    #[must_use]
    pub fn matches(&self, path: &[&[u8]]) -> bool {
        self.parts.len() == path.len() && self.agrees(path)
    }

    /// Whether something below this path could match.
    #[must_use]
    pub fn may_match_below(&self, path: &[&[u8]]) -> bool {
        self.parts.len() > path.len() && self.agrees(path)
    }

    fn agrees(&self, path: &[&[u8]]) -> bool {
        self.parts.iter().zip(path).all(|(part, name)| part_matches(part.as_bytes(), name))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One component: `*`, `?`, `[a-z]`, `[!a-z]`. Linear in the name times the pattern: on a mismatch
/// only the last `*` is tried again.
fn part_matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut pattern, mut name) = (pattern, name);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            retry = Some((rest, name));
            pattern = rest;
            continue;
        }
        if let Some((rest_pattern, rest_name)) = one(pattern, name) {
            (pattern, name) = (rest_pattern, rest_name);
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return true;
        }
        match retry {
            Some((after, [_, shorter @ ..])) => {
                retry = Some((after, shorter));
                (pattern, name) = (after, shorter);
            }
            Some((_, [])) | None => return false,
        }
    }
}

/// Matches one byte, if the pattern's next element is for one byte and agrees.
fn one<'p, 'n>(pattern: &'p [u8], name: &'n [u8]) -> Option<(&'p [u8], &'n [u8])> {
    let (byte, rest_name) = name.split_first()?;
    let (first, rest) = pattern.split_first()?;
    let agrees = match first {
        b'*' => return None,
        b'?' => true,
        b'[' => match class(rest, *byte) {
            Some((agrees, after)) => return agrees.then_some((after, rest_name)),
            None => byte == first,
        },
        literal => byte == literal,
    };
    agrees.then_some((rest, rest_name))
}

/// Reads a class up to its `]`; `None` when it is not closed, then `[` is an ordinary character.
fn class(text: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, body) = match text.first() {
        Some(b'!' | b'^') => (true, text.get(1..)?),
        _ => (false, text),
    };
    // A `]` in the first place stands for itself.
    let end = 1 + body.get(1..)?.iter().position(|b| *b == b']')?;
    let (set, after) = (body.get(..end)?, body.get(end + 1..)?);
    let mut found = false;
    let mut rest = set;
    while let [low, tail @ ..] = rest {
        rest = match tail {
            [b'-', high, tail @ ..] => {
                found |= (*low..=*high).contains(&byte);
                tail
            }
            _ => {
                found |= *low == byte;
                tail
            }
        };
    }
    Some((found != negated, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let parts: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        Glob::parse(pattern).expect(pattern).matches(&parts)
    }

    #[test]
    fn matches_as_a_shell_does() {
        for (pattern, path) in [
            ("graph.db", "graph.db"),
            ("graph.db.*", "graph.db.old"),
            ("*", "x"),
            ("data/*", "data/x"),
            ("*.log.[0-9]*", "a.log.1"),
            ("[!a]?", "bc"),
            ("a[b", "a[b"),
            ("[]]x", "]x"),
            (".*", ".hidden"),
            ("a*b*c", "a-b-b-c"),
            ("data/", "data"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*", ".hidden"),
            ("[.]x", ".x"),
            ("*", "a/b"),
            ("data/*", "data"),
            ("*.log.[0-9]*", "a.log.x"),
            ("graph.db", "graph.db.1"),
            ("a*b", "ac"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        assert!(Glob::parse("a/b/c").expect("glob").may_match_below(&[b"a", b"b"]));
        assert!(!Glob::parse("a/b").expect("glob").may_match_below(&[b"a", b"b"]));
        assert!(Glob::parse("*").expect("glob").matches(&[b"\xff\n"]));
    }

    #[test]
    fn refuses_what_could_leave_the_root() {
        for bad in ["", "/", "/etc", "..", "a/../b", "./a", "**", "a\0"] {
            assert!(Glob::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_star_matches_every_visible_name(name in "[^./\0][^/\0]{0,20}") {
            prop_assert!(matches("*", &name));
        }

        #[test]
        fn stars_match_what_they_replace(parts in proptest::collection::vec("[ab]{1,5}", 2..6)) {
            let starred = parts.join("*");
            let mut more = starred.clone();
            more.push_str("*c");
            prop_assert!(matches(&starred, &parts.concat()));
            prop_assert!(!matches(&more, &parts.concat()));
        }

        #[test]
        fn any_pattern_ends(pattern in "[ab*?\\[\\]!-]{1,30}", name in "[ab]{1,40}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                prop_assert!(glob.matches(&[name.as_bytes()]) || !pattern.trim_matches('*').is_empty());
            }
        }
    }
}

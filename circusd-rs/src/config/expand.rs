//! Variables in configuration text: `$(circus.KEY)`, `((circus.KEY))` and, in environments, `$NAME`.
//!
//! Text and lookups in, text out; this file does not know where values come from. The loader
//! expands every value with `env.NAME` only; the arbiter expands `cmd`, `args` and `shell_args`
//! again at each spawn, when the worker id is known. What no lookup knows stays in the text
//! untouched, so that the second pass can still find it.

use std::collections::BTreeMap;

/// Every key of circus' variables starts with this.
const PREFIX: &str = "circus.";

/// How long one value may become. A command line that the kernel takes is shorter.
pub const MAX_EXPANDED: usize = 1024 * 1024;

/// Replaces `$(circus.KEY)` and `((circus.KEY))`, in any case, by what `lookup` says about the
/// lower-cased KEY (without `circus.`).
#[must_use]
pub fn variables<T: AsRef<str>>(text: &str, lookup: impl Fn(&str) -> Option<T>) -> String {
    let mut expanded = String::with_capacity(text.len());
    pieces(text, |piece| match piece {
        Piece::Text(text) => expanded.push_str(text),
        Piece::Reference { key, whole } => match lookup(key) {
            Some(value) => expanded.push_str(value.as_ref()),
            None => expanded.push_str(whole),
        },
    });
    expanded
}

/// As [`variables`]; `None` when that is longer than `limit`.
#[must_use]
pub fn variables_within(text: &str, lookup: impl Fn(&str) -> Option<String>, limit: usize) -> Option<String> {
    let mut expanded = Some(String::with_capacity(text.len().min(limit)));
    pieces(text, |piece| {
        let Some(so_far) = &mut expanded else { return };
        match piece {
            Piece::Text(text) => so_far.push_str(text),
            Piece::Reference { key, whole } => match lookup(key) {
                Some(value) => so_far.push_str(&value),
                None => so_far.push_str(whole),
            },
        }
        if so_far.len() > limit {
            expanded = None;
        }
    });
    expanded
}

/// How long [`variables`] makes a text, without making it.
#[must_use]
pub fn variables_len(text: &str, lookup: impl Fn(&str) -> Option<usize>) -> usize {
    let mut length = 0_usize;
    pieces(text, |piece| {
        length = length.saturating_add(match piece {
            Piece::Text(text) => text.len(),
            Piece::Reference { key, whole } => lookup(key).unwrap_or(whole.len()),
        });
    });
    length
}

enum Piece<'a> {
    Text(&'a str),
    /// `key` without `circus.`, lower-cased; `whole` as it stands.
    Reference {
        key: &'a str,
        whole: &'a str,
    },
}

fn pieces(text: &str, mut take: impl FnMut(Piece<'_>)) {
    let mut rest = text;
    while let Some((before, candidate)) = next_candidate(rest) {
        take(Piece::Text(before));
        let opening = candidate.get(..2).unwrap_or_default();
        let len = match reference(candidate, opening) {
            Some((key, len)) => {
                let whole = candidate.get(..len).unwrap_or_default();
                take(Piece::Reference { key: &key, whole });
                len
            }
            None => {
                take(Piece::Text(candidate.get(..1).unwrap_or_default()));
                1
            }
        };
        rest = candidate.get(len..).unwrap_or_default();
    }
    take(Piece::Text(rest));
}

/// The text before the next `$(` or `((`, and the text from there on.
fn next_candidate(text: &str) -> Option<(&str, &str)> {
    // One search for both, so that a text with only one of them is not read to its end each time.
    let at = text.as_bytes().windows(2).position(|pair| matches!(pair, b"$(" | b"(("))?;
    text.split_at_checked(at)
}

/// The key a reference names and the length of the whole reference; `None` when it is not one.
fn reference(candidate: &str, opening: &str) -> Option<(String, usize)> {
    let closing = if opening == "$(" { ")" } else { "))" };
    let inside = candidate.get(opening.len()..)?;
    let name_len = inside.find(|c: char| !is_key(c)).unwrap_or(inside.len());
    let (name, after) = inside.split_at(name_len);
    if !after.starts_with(closing) {
        return None;
    }
    let name = name.to_lowercase();
    let key = name.strip_prefix(PREFIX).filter(|key| !key.is_empty())?;
    Some((key.to_owned(), opening.len() + name_len + closing.len()))
}

fn is_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// A lookup for `env.NAME`, names compared lower-cased. Of two variables that differ only in case
/// the last one (in byte order) is meant.
#[must_use]
pub fn environment(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    env.iter().map(|(name, value)| (format!("env.{}", name.to_lowercase()), value.clone())).collect()
}

/// Replaces `$NAME` (capitals, digits and underscores, beginning with a capital) from `env`; what is
/// unset becomes empty. No braces, no lower case.
#[must_use]
pub fn dollars(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    parts(text, |part| match part {
        Part::Text(text) => expanded.push_str(text),
        Part::Name(name) => expanded.push_str(env.get(name).map_or("", String::as_str)),
    });
    expanded
}

/// How long [`dollars`] makes a text, without making it.
#[must_use]
pub fn dollars_len(text: &str, lookup: impl Fn(&str) -> Option<usize>) -> usize {
    let mut length = 0_usize;
    parts(text, |part| {
        length = length.saturating_add(match part {
            Part::Text(text) => text.len(),
            Part::Name(name) => lookup(name).unwrap_or_default(),
        });
    });
    length
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

fn parts<'a>(text: &'a str, mut take: impl FnMut(Part<'a>)) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        take(Part::Text(before));
        let (name, tail) = after.split_at(variable_len(after));
        take(if name.is_empty() { Part::Text("$") } else { Part::Name(name) });
        rest = tail;
    }
    take(Part::Text(rest));
}

fn variable_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_uppercase()) {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn both_spellings_in_any_case_and_unknown_keys_stay() {
        let known = environment(&env(&[("Home", "/h"), ("A-B", "x")]));
        let check = |text: &str, expected: &str| {
            assert_eq!(variables(text, |key| known.get(key).cloned()), expected, "{text}");
        };
        check("$(circus.env.HOME)/bin", "/h/bin");
        check("((CIRCUS.Env.home))", "/h");
        check("a $(circus.env.a-b) b", "a x b");
        check(
            "$(circus.wid) $(circus.env.nope) ((circus.x))",
            "$(circus.wid) $(circus.env.nope) ((circus.x))",
        );
        check("$(other.env.home) $(circus.) $(", "$(other.env.home) $(circus.) $(");
        check("$((circus.env.home))", "$/h");
        check("(((circus.env.home)))", "(/h)");
        check("$(circus.env.home", "$(circus.env.home");
        check("ä$(circus.env.home)ö", "ä/hö");
    }

    proptest::proptest! {
        #[test]
        fn the_length_is_known_before(text in "([$(){}A]|circus[.]env[.]a|circus[.]|[)]{2}|[(]{2}|é|[$]A){0,20}") {
            let known = env(&[("A", "value")]);
            let short = environment(&known);
            let made = variables(&text, |key| short.get(key));
            proptest::prop_assert_eq!(made.len(), variables_len(&text, |key| short.get(key).map(String::len)));
            let made = dollars(&text, &known);
            proptest::prop_assert_eq!(made.len(), dollars_len(&text, |name| known.get(name).map(String::len)));
        }
    }

    #[test]
    fn values_are_not_expanded_again() {
        let known = environment(&env(&[("A", "$(circus.env.b)"), ("B", "2")]));
        assert_eq!(variables("$(circus.env.a)", |key| known.get(key).cloned()), "$(circus.env.b)");
    }

    #[test]
    fn dollars_follow_circus_narrow_idea_of_a_name() {
        let known = env(&[("PATH", "/bin"), ("A_1", "x"), ("lower", "no")]);
        let check = |text: &str, expected: &str| assert_eq!(dollars(text, &known), expected, "{text}");
        check("$PATH:/sbin", "/bin:/sbin");
        check("$A_1$A_1-", "xx-");
        check("[$UNSET]", "[]");
        check("$lower ${PATH} $1 $$PATH $", "$lower ${PATH} $1 $/bin $");
        check("$PATHx", "/binx");
    }
}

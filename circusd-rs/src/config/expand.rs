//! Variables in configuration text: `$(circus.KEY)`, `((circus.KEY))` and, in environments, `$NAME`.
//!
//! Text and lookups in, text out; this file does not know where values come from. The loader
//! expands every value with `env.NAME` only; the arbiter expands `cmd`, `args` and `shell_args`
//! again at each spawn, when the worker id is known. What no lookup knows stays in the text
//! untouched, so that the second pass can still find it.

use std::collections::BTreeMap;

/// Every key of circus' variables starts with this.
const PREFIX: &str = "circus.";

/// Replaces `$(circus.KEY)` and `((circus.KEY))`, in any case, by what `lookup` says about the
/// lower-cased KEY (without `circus.`).
#[must_use]
pub fn variables(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, candidate)) = next_candidate(rest) {
        expanded.push_str(before);
        let opening = candidate.get(..2).unwrap_or_default();
        match reference(candidate, opening) {
            Some((key, len)) => {
                let whole = candidate.get(..len).unwrap_or_default();
                expanded.push_str(&lookup(&key).unwrap_or_else(|| whole.to_owned()));
                rest = candidate.get(len..).unwrap_or_default();
            }
            None => {
                expanded.push_str(candidate.get(..1).unwrap_or_default());
                rest = candidate.get(1..).unwrap_or_default();
            }
        }
    }
    expanded.push_str(rest);
    expanded
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
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let len = variable_len(after);
        if len == 0 {
            expanded.push('$');
        }
        let (name, tail) = after.split_at(len);
        expanded.push_str(env.get(name).map_or("", String::as_str));
        rest = tail;
    }
    expanded.push_str(rest);
    expanded
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

//! Shell patterns over whole names, as Python's `fnmatch` has them; knows nothing of watchers.

/// Whether `pattern` (`*`, `?`, `[set]`, `[!set]`) is for exactly this name; case matters.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    if is_literal(pattern) {
        return pattern == name;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let mut reachable = vec![true];
    reachable.resize(name.chars().count() + 1, false);
    let mut rest = pattern.as_slice();
    // Which prefixes of the name the pattern so far can have matched: no backtracking, so no
    // pattern is slow.
    while let Some((element, after)) = element(rest) {
        let mut next = vec![false; reachable.len()];
        match element {
            Element::Any => {
                let mut seen = false;
                for (from, to) in reachable.iter().zip(&mut next) {
                    seen |= *from;
                    *to = seen;
                }
            }
            Element::One(accepts) => {
                for ((from, to), c) in reachable.iter().zip(next.iter_mut().skip(1)).zip(name.chars()) {
                    *to = *from && accepts.contains(c);
                }
            }
        }
        reachable = next;
        rest = after;
    }
    reachable.last() == Some(&true)
}

/// Whether it can match one name only, itself.
#[must_use]
pub fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '['])
}

enum Element<'a> {
    Any,
    One(Accepts<'a>),
}

enum Accepts<'a> {
    All,
    Exactly(char),
    Set { members: &'a [char], negated: bool },
}

impl Accepts<'_> {
    fn contains(&self, c: char) -> bool {
        match self {
            Self::All => true,
            Self::Exactly(own) => *own == c,
            Self::Set { members, negated } => in_set(members, c) != *negated,
        }
    }
}

/// Splits the first element off; an unclosed `[` stands for itself.
fn element(pattern: &[char]) -> Option<(Element<'_>, &[char])> {
    let (first, after) = pattern.split_first()?;
    Some(match first {
        '*' => (Element::Any, after),
        '?' => (Element::One(Accepts::All), after),
        '[' => match set(after) {
            Some((accepts, after)) => (Element::One(accepts), after),
            None => (Element::One(Accepts::Exactly('[')), after),
        },
        other => (Element::One(Accepts::Exactly(*other)), after),
    })
}

fn set(after: &[char]) -> Option<(Accepts<'_>, &[char])> {
    let negated = after.first() == Some(&'!');
    let inside = after.get(usize::from(negated)..)?;
    // A bracket in first place is a member.
    let close = 1 + inside.iter().skip(1).position(|c| *c == ']')?;
    let (members, tail) = inside.split_at(close);
    Some((Accepts::Set { members, negated }, tail.get(1..)?))
}

fn in_set(mut members: &[char], c: char) -> bool {
    loop {
        match members {
            [low, '-', high, rest @ ..] => {
                if (*low..=*high).contains(&c) {
                    return true;
                }
                members = rest;
            }
            [member, rest @ ..] => {
                if *member == c {
                    return true;
                }
                members = rest;
            }
            [] => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_fnmatch() {
        let cases = [
            ("web*", "web1", true),
            ("web*", "aweb1", false),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("br[[]1]", "br[1]", true),
            ("br[1]", "br[1]", false),
            ("a[", "a[", true),
            ("[]]", "]", true),
            ("Web", "web", false),
            ("*a*b*", "xxaxxbxx", true),
            ("ä*", "äö", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

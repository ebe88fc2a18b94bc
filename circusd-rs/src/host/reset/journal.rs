//! What a reset is about to move, written down beside what it moves, so that whoever comes after a
//! crash knows where everything belongs.
//!
//! ```text
//! circus-reset 1
//! service neo4j
//! rule data
//! made 1795331250.21
//! until 1795334850.21
//! move 0 graph.db
//! move 1 odd%0Aname
//! ```

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The first line; another number would be another format.
const HEAD: &str = "circus-reset 1";

/// The largest journal that is read, in bytes; a line has some hundred.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// A reset of one rule.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Journal {
    pub(super) service: String,
    /// `data`, `log`, or with a label `data:commitlog`.
    pub(super) rule: String,
    /// Unix times.
    pub(super) made: f64,
    pub(super) until: f64,
    /// Where each piece belongs, by components below the root. Its name here is its number.
    pub(super) moves: Vec<Vec<OsString>>,
}

impl Journal {
    pub(super) fn write(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{HEAD}\nservice {}\nrule {}",
            escape(self.service.as_bytes()),
            escape(self.rule.as_bytes())
        );
        let _ = writeln!(text, "made {}\nuntil {}", self.made, self.until);
        for (slot, parts) in self.moves.iter().enumerate() {
            let parts: Vec<String> = parts.iter().map(|part| escape(part.as_bytes())).collect();
            let _ = writeln!(text, "move {slot} {}", parts.join("/"));
        }
        text
    }

    /// `None` for anything that was not written whole by [`Journal::write`].
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != HEAD {
            return None;
        }
        let service = String::from_utf8(unescape(lines.next()?.strip_prefix("service ")?)?).ok()?;
        let rule = String::from_utf8(unescape(lines.next()?.strip_prefix("rule ")?)?).ok()?;
        let made = time(lines.next()?.strip_prefix("made ")?)?;
        let until = time(lines.next()?.strip_prefix("until ")?)?;
        let mut moves = Vec::new();
        for (slot, line) in lines.enumerate() {
            let (number, path) = line.strip_prefix("move ")?.split_once(' ')?;
            if number.parse() != Ok(slot) {
                return None;
            }
            moves.push(path.split('/').map(component).collect::<Option<Vec<_>>>()?);
        }
        Some(Self { service, rule, made, until, moves })
    }
}

fn time(text: &str) -> Option<f64> {
    text.parse().ok().filter(|time: &f64| time.is_finite())
}

/// A name that can be one component, and nothing else.
fn component(text: &str) -> Option<OsString> {
    let name = unescape(text)?;
    let odd = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    (!odd).then(|| OsString::from_vec(name))
}

/// Everything but plain characters as `%XX`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"._-:".contains(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_it_did_not_write() {
        let journal = Journal { service: "a".into(), rule: "data".into(), ..Journal::default() };
        let text = journal.write();
        assert_eq!(Journal::read(&text), Some(journal));
        for bad in ["", "circus-reset 2\n", &text[..text.len() - 1], &format!("{text}move 0 ..\n")] {
            assert_eq!(Journal::read(bad), None, "{bad:?}");
        }
        for bad in ["move 1 a", "move 0 a//b", "move 0 a%2Fb", "move 0 %0", "move 0 ", "junk"] {
            assert_eq!(Journal::read(&format!("{text}{bad}\n")), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(
            paths in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(1_u8.., 1..12), 1..4), 0..6),
            service in "\\PC{1,20}", made in 0.0..4e9_f64,
        ) {
            let odd = |name: &Vec<u8>| name.contains(&b'/') || name == b"." || name == b"..";
            prop_assume!(!paths.iter().flatten().any(odd));
            let path = |parts: Vec<Vec<u8>>| parts.into_iter().map(OsString::from_vec).collect();
            let moves = paths.into_iter().map(path).collect();
            let journal = Journal { service, rule: "data:x".into(), made, until: made + 1.0, moves };
            prop_assert_eq!(Journal::read(&journal.write()), Some(journal));
        }
    }
}

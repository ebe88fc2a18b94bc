//! Templates with the syntax and the semantics of Python's `string.Template.substitute`: `$name`,
//! `${name}`, `$$` for a dollar sign. A value is inserted as it is and never expanded again.
//!
//! It refuses to know which names exist; the caller looks them up.

use std::fmt::Write as _;

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
    /// A dollar sign that begins nothing.
    Invalid,
}

/// A problem at a place in a template's text; both numbers count from 1, the column in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    /// The line of the dollar sign.
    pub line: usize,
    /// Its column.
    pub column: usize,
    /// What is wrong.
    pub kind: TemplateProblemKind,
}

/// What can be wrong with a placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblemKind {
    /// A `$` that is followed by neither a name, nor `{name}`, nor another `$`.
    #[error("`$` starts no placeholder; a dollar sign itself is written `$$`")]
    Invalid,
    /// A name that nobody has a value for.
    #[error("unknown name {0:?}")]
    Unknown(String),
}

/// Replaces every placeholder by what `lookup` has for its name. All problems are reported, in the
/// order of the text; Python would raise at the first.
///
/// # Errors
/// Invalid placeholders and unknown names.
pub fn substitute<'v>(
    text: &str,
    lookup: impl Fn(&str) -> Option<&'v str>,
) -> Result<String, Vec<TemplateProblem>> {
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut place = Walk { text, at: 0, line: 1, column: 1 };
    for (at, piece) in (Pieces { text, at: 0 }) {
        match piece {
            Piece::Text(plain) => out.push_str(plain),
            Piece::Name(name) => match lookup(name) {
                Some(value) => out.push_str(value),
                None => problems.push(place.problem(at, TemplateProblemKind::Unknown(name.to_owned()))),
            },
            Piece::Invalid => problems.push(place.problem(at, TemplateProblemKind::Invalid)),
        }
    }
    if problems.is_empty() { Ok(out) } else { Err(problems) }
}

/// The names a template asks for, each once, in the order of the text.
#[must_use]
pub fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for (_, piece) in (Pieces { text, at: 0 }) {
        if let Piece::Name(name) = piece
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

/// Problems as one line, for templates that are a single value of an ini file.
#[must_use]
pub fn describe(problems: &[TemplateProblem]) -> String {
    let mut line = String::new();
    for (index, problem) in problems.iter().enumerate() {
        let comma = if index == 0 { "" } else { "; " };
        // Writing to a String cannot fail.
        let _ = write!(line, "{comma}column {}: {}", problem.column, problem.kind);
    }
    line
}

/// Counts lines and columns on the way forward, so that many problems cost one reading of the text.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    column: usize,
}

impl Walk<'_> {
    fn problem(&mut self, at: usize, kind: TemplateProblemKind) -> TemplateProblem {
        for char in self.text.get(self.at..at).unwrap_or_default().chars() {
            (self.line, self.column) =
                if char == '\n' { (self.line + 1, 1) } else { (self.line, self.column + 1) };
        }
        self.at = at;
        TemplateProblem { line: self.line, column: self.column, kind }
    }
}

/// Cuts a text into pieces, each with the byte offset it starts at.
struct Pieces<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = (usize, Piece<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (length, piece) = match rest.strip_prefix('$') {
            None => {
                let length = rest.find('$').unwrap_or(rest.len());
                (length, Piece::Text(rest.get(..length).unwrap_or(rest)))
            }
            Some(after) => placeholder(after),
        };
        let start = self.at;
        self.at += length;
        Some((start, piece))
    }
}

/// Reads what follows a dollar sign; the length counts the sign.
fn placeholder(after: &str) -> (usize, Piece<'_>) {
    if after.starts_with('$') {
        return (2, Piece::Text("$"));
    }
    if let Some(name) = identifier(after) {
        return (1 + name.len(), Piece::Name(name));
    }
    let braced = after.strip_prefix('{').and_then(identifier);
    match braced {
        Some(name) if after.as_bytes().get(1 + name.len()) == Some(&b'}') => {
            (name.len() + 3, Piece::Name(name))
        }
        Some(_) | None => (1, Piece::Invalid),
    }
}

/// The identifier at the start of `text`: ASCII letters, digits and underscores, no digit first.
fn identifier(text: &str) -> Option<&str> {
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let name = text.get(..length)?;
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(text: &str) -> Result<String, Vec<(usize, usize, String)>> {
        let lookup = |name: &str| match name {
            "a" => Some("$b ${b} $$"),
            "b" => Some("B"),
            "_x1" => Some("under"),
            _ => None,
        };
        substitute(text, lookup)
            .map_err(|all| all.into_iter().map(|p| (p.line, p.column, p.kind.to_string())).collect())
    }

    #[test]
    fn inserts_values_once() {
        assert_eq!(render("$a|${a}").as_deref(), Ok("$b ${b} $$|$b ${b} $$"));
        assert_eq!(render("Query$$Compare $$b $$$b").as_deref(), Ok("Query$Compare $b $B"));
        assert_eq!(render("$b-$b.${b}c$_x1").as_deref(), Ok("B-B.Bcunder"));
        assert_eq!(render("$bé").as_deref(), Ok("Bé"));
        assert_eq!(render("").as_deref(), Ok(""));
        assert_eq!(names("$a ${b} $a $$c"), ["a", "b"]);
    }

    #[test]
    fn names_every_problem_and_its_place() {
        let problems = render("é $\nx ${B} $b ${ b}\n${b\n$1").expect_err("four");
        let places: Vec<_> = problems.iter().map(|(line, column, _)| (*line, *column)).collect();
        assert_eq!(places, [(1, 3), (2, 3), (2, 11), (3, 1), (4, 1)]);
        assert_eq!(problems[1].2, r#"unknown name "B""#);
        assert!(problems[0].2.contains("$$"));
    }

    proptest! {
        #[test]
        fn text_without_dollars_is_itself(text in "[^$]{0,80}") {
            prop_assert_eq!(render(&text), Ok(text));
        }

        #[test]
        fn any_text_is_rendered_or_refused(text in "(\\PC|[${}ab_\n]){0,80}") {
            if let Err(problems) = render(&text) {
                prop_assert!(problems.iter().all(|(line, _, _)| *line <= text.split('\n').count()));
            }
        }

        #[test]
        fn doubled_dollars_are_undone(text in "\\PC{0,60}") {
            prop_assert_eq!(render(&text.replace('$', "$$")), Ok(text));
        }
    }
}

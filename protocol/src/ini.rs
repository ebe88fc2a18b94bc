//! circus' ini dialect as data: sections, keys, values, each with its file and line.
//!
//! It refuses to know what any section means, where files come from, and what `$(circus.env.X)`
//! expands to; [`Ini::rewrite`] is where an expander hooks in.
//!
//! The `ini` crate is not used for parsing: it keeps no line numbers, so an error could not name its
//! place, and it reads another dialect. There the last value of a key wins, a value is cut at any
//! comment sign and lines are never continued, while here the first value wins, only ` ;` starts a
//! comment and an indented line continues the value above. It serves as an independent second
//! opinion on simple files in the workspace's tests.
//!
//! ```text
//! [watcher:web]          section; the same section again adds to it
//! cmd = sleep 5 ; why    `=` or `:`; the first ` ;` starts a comment, a later one does not count
//!   --more               an indented line continues the value, whatever it looks like
//! cmd = ignored          the first value of a key wins
//! # ; rem                comments, in column 1 only
//! ```

mod parse;
mod value;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

pub use value::{ValueError, parse_bool, parse_float, parse_int};

/// The largest ini file that is read, in bytes. Real ones have a few thousand.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How many keys all sections together may inherit from `[DEFAULT]`.
pub const MAX_INHERITED: usize = 250_000;

/// How many bytes these keys and their values may have.
pub const MAX_INHERITED_BYTES: usize = 64 * 1024 * 1024;

/// The section whose keys all other sections inherit.
const DEFAULT: &str = "DEFAULT";

/// One or several ini files, merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ini {
    /// In the order of their first appearance; without `[DEFAULT]`.
    pub sections: Vec<Section>,
    /// The keys of `[DEFAULT]`, until [`Ini::settle`] hands them down.
    pub defaults: Vec<Entry>,
}

/// A section: its name and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What stands between the brackets, blanks included.
    pub name: String,
    /// The file in which it first appeared.
    pub file: Arc<str>,
    /// The line of its title there, from 1.
    pub line: usize,
    /// Its keys, each once, in the order of their first appearance.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As written; case matters.
    pub key: String,
    /// Continuation lines are joined with newlines.
    pub value: String,
    /// The file it stands in.
    pub file: Arc<str>,
    /// The line of the key, from 1.
    pub line: usize,
    /// It came from `[DEFAULT]`, so the section's author may not know of it.
    pub inherited: bool,
}

/// Why a file is no ini file. Shown as `file:line: reason: text`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniError {
    /// Something stands before the first section title.
    #[error("{place}: a [section] title must come first: {text:?}")]
    NoSection {
        /// Where.
        place: Place,
        /// The offending line.
        text: String,
    },
    /// A line that is neither title, comment nor `key = value`.
    #[error("{place}: not a `key = value` line: {text:?}")]
    Junk {
        /// Where.
        place: Place,
        /// The offending line.
        text: String,
    },
    /// The file begins with a byte order mark, which circus takes for text.
    #[error("{place}: the file begins with a byte order mark; save it as UTF-8 without one")]
    ByteOrderMark {
        /// Where.
        place: Place,
    },
    /// The file is not UTF-8.
    #[error("{place}: not UTF-8: {text:?}")]
    NotUtf8 {
        /// Where.
        place: Place,
        /// The readable part of the line.
        text: String,
    },
    /// The file is larger than [`MAX_BYTES`].
    #[error("{file}: {bytes} bytes, more than the {MAX_BYTES} that an ini file may have")]
    TooLarge {
        /// Which file.
        file: Arc<str>,
        /// Its size.
        bytes: usize,
    },
}

/// `[DEFAULT]` and the sections that inherit from it would be more than a machine has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{place}: [DEFAULT] has {keys} keys, and {sections} sections inherit them: \
     more than {MAX_INHERITED} keys or {MAX_INHERITED_BYTES} bytes in all"
)]
pub struct TooMuchInherited {
    /// The first of its keys.
    pub place: Place,
    /// How many keys it has.
    pub keys: usize,
    /// How many sections there are.
    pub sections: usize,
}

/// A file and a line, shown as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named to the parser.
    pub file: Arc<str>,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Ini {
    /// Reads one file's text. Every faulty line is reported, not only the first.
    ///
    /// # Errors
    /// All lines that are no ini.
    pub fn parse(text: &str, file: &str) -> Result<Self, Vec<IniError>> {
        parse::parse(text, &Arc::from(file))
    }

    /// Reads one file's bytes, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Ini::parse`], and for bytes that are no text.
    pub fn parse_bytes(bytes: &[u8], file: &str) -> Result<Self, Vec<IniError>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(text, file),
            Err(error) => Err(vec![parse::not_utf8(bytes, error.valid_up_to(), file)]),
        }
    }

    /// Adds a file that is read after this one: its new sections and keys come last, and a key that
    /// is already there keeps its value.
    pub fn merge(&mut self, later: Self) {
        let mut places: HashMap<String, usize> =
            self.sections.iter().enumerate().map(|(at, section)| (section.name.clone(), at)).collect();
        for section in later.sections {
            match places.get(&section.name).and_then(|at| self.sections.get_mut(*at)) {
                Some(mine) => add_missing(&mut mine.entries, section.entries),
                None => {
                    places.insert(section.name.clone(), self.sections.len());
                    self.sections.push(section);
                }
            }
        }
        add_missing(&mut self.defaults, later.defaults);
    }

    /// Hands the keys of `[DEFAULT]` down to every section that has not its own, ahead of the
    /// section's own keys, where circus lists them. Call it once everything is merged.
    ///
    /// # Errors
    /// When that would be more than [`MAX_INHERITED`] or [`MAX_INHERITED_BYTES`]; nothing is handed
    /// down then.
    pub fn settle(&mut self) -> Result<(), TooMuchInherited> {
        let defaults = std::mem::take(&mut self.defaults);
        let bytes = defaults.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>();
        let (keys, sections) = (defaults.len(), self.sections.len());
        let too_much = keys.saturating_mul(sections) > MAX_INHERITED
            || bytes.saturating_mul(sections) > MAX_INHERITED_BYTES;
        if let Some(first) = defaults.first().filter(|_| too_much) {
            return Err(TooMuchInherited { place: first.place(), keys, sections });
        }
        for section in &mut self.sections {
            let own = std::mem::take(&mut section.entries);
            let keys: HashMap<String, usize> =
                own.iter().enumerate().map(|(at, entry)| (entry.key.clone(), at)).collect();
            let mut handed_down = HashSet::new();
            section.entries = defaults
                .iter()
                .map(|default| {
                    match keys.get(&default.key).and_then(|at| own.get(*at).map(|own| (at, own))) {
                        Some((at, own)) => {
                            handed_down.insert(*at);
                            own.clone()
                        }
                        None => Entry { inherited: true, ..default.clone() },
                    }
                })
                .collect();
            let rest = own.into_iter().enumerate().filter(|(at, _)| !handed_down.contains(at));
            section.entries.extend(rest.map(|(_, entry)| entry));
        }
        Ok(())
    }

    /// Replaces every value by what `change` makes of it; `None` leaves it as it is.
    pub fn rewrite(&mut self, mut change: impl FnMut(&str, &Entry) -> Option<String>) {
        for section in &mut self.sections {
            for entry in &mut section.entries {
                if let Some(value) = change(&section.name, entry) {
                    entry.value = value;
                }
            }
        }
    }

    /// The section of exactly this name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section {
    /// The entry of exactly this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The value of exactly this key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(|entry| entry.value.as_str())
    }

    /// Where the title stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line }
    }
}

impl Entry {
    /// Where the key stands.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { file: self.file.clone(), line: self.line }
    }
}

/// Appends those of `more` whose key is not yet there.
fn add_missing(entries: &mut Vec<Entry>, more: Vec<Entry>) {
    let mut there: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    entries.extend(more.into_iter().filter(|entry| there.insert(entry.key.clone())));
}

/// White space as Python's `str.isspace` sees it: Unicode's, and the four separators that Rust leaves out.
pub(crate) fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// As Python's `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_blank)
}

#[cfg(test)]
mod tests;

//! Values that are more than text: integers, floats and booleans, in Python's and circus' spelling.

use super::{Entry, Place, Section, strip};

/// A value that does not mean what its key wants. Shown as `file:line: [section] key: reason`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: [{section}] {key}: {reason}")]
pub struct ValueError {
    /// Where the key stands.
    pub place: Place,
    /// In which section.
    pub section: String,
    /// Which key.
    pub key: String,
    /// What is wrong with the value; quotes it.
    pub reason: String,
}

impl Section {
    /// The value as an integer, if the key is there.
    ///
    /// # Errors
    /// When the value is no integer.
    pub fn int(&self, key: &str) -> Result<Option<i64>, ValueError> {
        self.typed(key, parse_int, "is not a whole number")
    }

    /// The value as a number, if the key is there.
    ///
    /// # Errors
    /// When the value is no number.
    pub fn float(&self, key: &str) -> Result<Option<f64>, ValueError> {
        self.typed(key, parse_float, "is not a number")
    }

    /// The value as a boolean, if the key is there: `yes true on 1`, `no false off 0`, in any case.
    ///
    /// # Errors
    /// When the value is none of these words.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, ValueError> {
        self.typed(key, parse_bool, "is not a boolean (yes, true, on, 1, no, false, off, 0)")
    }

    /// An error about one of this section's entries.
    #[must_use]
    pub fn error(&self, entry: &Entry, reason: impl Into<String>) -> ValueError {
        ValueError {
            place: entry.place(),
            section: self.name.clone(),
            key: entry.key.clone(),
            reason: reason.into(),
        }
    }

    fn typed<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Option<T>,
        reason: &str,
    ) -> Result<Option<T>, ValueError> {
        let Some(entry) = self.get(key) else { return Ok(None) };
        match read(&entry.value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(entry, format!("{:?} {reason}", entry.value))),
        }
    }
}

/// As Python's `int(text)`, within 64 bits: blanks around, a sign, single underscores between digits.
#[must_use]
pub fn parse_int(text: &str) -> Option<i64> {
    plain_number(strip(text))?.parse().ok()
}

/// As Python's `float(text)`: also `inf`, `nan`, `1_000.5` and `1e3`.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    plain_number(strip(text))?.parse().ok()
}

/// circus' words for yes and no, in any case, blanks around.
#[must_use]
pub fn parse_bool(text: &str) -> Option<bool> {
    let word = strip(text).to_lowercase();
    match word.as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Drops underscores, which Python allows between two digits only.
fn plain_number(text: &str) -> Option<String> {
    let mut previous = None;
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '_' {
            let between = previous.is_some_and(|p: char| p.is_ascii_digit())
                && characters.peek().is_some_and(char::is_ascii_digit);
            if !between {
                return None;
            }
        } else {
            plain.push(c);
        }
        previous = Some(c);
    }
    Some(plain)
}

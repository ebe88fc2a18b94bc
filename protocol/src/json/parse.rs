//! The reading half: bytes to a value, or the place where it stopped making sense.
//!
//! Written by hand because no Rust parser takes what Python's takes. It never panics, and its
//! recursion is bounded by [`MAX_DEPTH`].

use serde_json::{Map, Number, Value};

use super::{MAX_DEPTH, MAX_DIGITS, MAX_VALUES, float};

/// Why bytes are not JSON to Python (or, for the depth, not to us).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// JSON on the wire is UTF-8.
    #[error("invalid utf-8 at byte {0}")]
    Utf8(usize),
    /// A byte order mark, which Python refuses.
    #[error("unexpected byte order mark")]
    Bom,
    /// Something else was due.
    #[error("expected {expected} at byte {at}")]
    Expected {
        /// What would have been right.
        expected: &'static str,
        /// Where.
        at: usize,
    },
    /// More after the value.
    #[error("unexpected data after the value at byte {0}")]
    Trailing(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} at byte {0}")]
    TooDeep(usize),
    /// More values than whoever reads has room for: each costs a hundred bytes, and takes two in the text.
    #[error("more than {limit} values at byte {at}")]
    TooMany {
        /// How many are read.
        limit: usize,
        /// Where the next began.
        at: usize,
    },
    /// An integer longer than [`MAX_DIGITS`].
    #[error("integer of more than {MAX_DIGITS} digits at byte {0}")]
    TooLong(usize),
}

/// Reads one JSON value, surrounded by white space at most.
///
/// # Errors
///
/// See [`JsonError`]; circus answers all of them with `json invalid`.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    parse_within(bytes, MAX_VALUES)
}

/// The same for a text of at most so many values, nested ones included.
///
/// # Errors
///
/// See [`JsonError`].
pub fn parse_within(bytes: &[u8], values: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| JsonError::Utf8(error.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::Bom);
    }
    let mut parser = Parser { text, at: 0, limit: values, left: values };
    parser.blanks();
    let value = parser.value(0)?;
    parser.blanks();
    if parser.at < text.len() { Err(JsonError::Trailing(parser.at)) } else { Ok(value) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    limit: usize,
    /// How many values may still come.
    left: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Expected { expected, at: self.at })
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep(self.at));
        }
        let Some(left) = self.left.checked_sub(1) else {
            return Err(JsonError::TooMany { limit: self.limit, at: self.at });
        };
        self.left = left;
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value, JsonError> {
        for (word, value) in
            [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))]
        {
            if self.take_word(word) {
                return Ok(value);
            }
        }
        for (word, value) in [("NaN", f64::NAN), ("Infinity", f64::INFINITY)] {
            if self.take_word(word) {
                return Ok(float(value));
            }
        }
        self.expected("a value")
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut map = Map::new();
        self.at += 1;
        self.blanks();
        if self.take(b'}') {
            return Ok(Value::Object(map));
        }
        loop {
            if self.peek() != Some(b'"') {
                return self.expected("a key in double quotes");
            }
            let key = self.string()?;
            self.blanks();
            if !self.take(b':') {
                return self.expected("':'");
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.blanks();
            if self.take(b'}') {
                return Ok(Value::Object(map));
            }
            if !self.take(b',') {
                return self.expected("',' or '}'");
            }
            self.blanks();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return self.expected("',' or ']'");
            }
            self.blanks();
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.take(b'-');
        if self.take_word("Infinity") {
            return Ok(float(f64::NEG_INFINITY));
        }
        if !self.take(b'0') && self.digits() == 0 {
            return self.expected("a digit");
        }
        let integer = self.at;
        self.optional(|parser| parser.take(b'.') && parser.digits() > 0);
        self.optional(|parser| {
            let begun = parser.take(b'e') || parser.take(b'E');
            let _sign = parser.take(b'+') || parser.take(b'-');
            begun && parser.digits() > 0
        });
        if self.at == integer && integer - start > MAX_DIGITS {
            return Err(JsonError::TooLong(start));
        }
        let text = self.since(start);
        // A zero that could come out as what stands for `NaN`.
        Ok(if text.starts_with("0e") || text.starts_with("0E") { float(0.0) } else { verbatim(text) })
    }

    /// Goes back when the part is not complete: Python then takes the number without it.
    fn optional(&mut self, part: impl FnOnce(&mut Self) -> bool) {
        let start = self.at;
        if !part(self) {
            self.at = start;
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            out.push_str(self.since(start));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                Some(_) => return self.expected("no control character"),
                None => return self.expected("the closing quote"),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), JsonError> {
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let char = self.unicode()?;
                out.push(char);
                return Ok(());
            }
            _ => return self.expected("an escape"),
        };
        self.at += 1;
        out.push(char);
        Ok(())
    }

    /// The character after `\u`, which may take a second escape.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let start = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let scalar = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = start;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        let valid = digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u32::from_str_radix(digits, 16) {
            Ok(number) if valid => {
                self.at += 4;
                Ok(number)
            }
            Ok(_) | Err(_) => self.expected("four hexadecimal digits"),
        }
    }
}

/// A number as its text, which is JSON.
fn verbatim(text: &str) -> Value {
    Value::Number(Number::from_string_unchecked(text.to_owned()))
}

//! JSON as Python reads and writes it.
//!
//! The other end of the wire is a Python program, so what Python's parser takes must be taken here
//! (`NaN`, `Infinity`, integers of any size, the last of several equal keys) and what it prints must
//! be printed here (`", "` and `": "`, ASCII only, floats in their shortest form: `30.0`, `1e-05`).
//! Numbers are kept as the text that came, so that an id of thirty digits is echoed whole.
//!
//! This module knows nothing about messages. Two differences from Python remain: half a surrogate
//! pair becomes U+FFFD, because a Rust string cannot hold it, and nesting ends at [`MAX_DEPTH`],
//! where Python's own limit is somewhere near a thousand and kills the request.

pub mod parse;
pub mod repr;

use serde_json::{Map, Number, Value};

pub use parse::{JsonError, parse, parse_within};
pub use repr::{float_repr, python_repr, python_repr_bytes, python_repr_str, python_str};

/// How deep arrays and objects may be nested in a message.
pub const MAX_DEPTH: usize = 200;

/// How many values a message may have: the `stats` of fifty thousand processes have fewer.
pub const MAX_VALUES: usize = 1_000_000;

/// How many digits an integer may have; Python refuses longer ones too.
pub const MAX_DIGITS: usize = 4300;

/// How a value holds `NaN`. serde_json makes no number of that word, and `json!` would panic on it, so
/// a text stands for it that is a number to everybody; [`parse`](parse()) never gives it to a zero.
const NAN: &str = "0e+999";
/// How a value holds `Infinity`; to Python this text is infinity as well.
const INFINITY: &str = "1e+999";
/// How a value holds `-Infinity`.
const NEGATIVE_INFINITY: &str = "-1e+999";

/// A float as a JSON value, in the text that Python would print. `NaN` and the infinities are values too,
/// which [`as_float`] reads back and [`to_vec`] spells as Python does.
#[must_use]
pub fn float(value: f64) -> Value {
    let text = if value.is_nan() {
        NAN.to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { INFINITY.to_owned() } else { NEGATIVE_INFINITY.to_owned() }
    } else {
        float_repr(value)
    };
    Value::Number(Number::from_string_unchecked(text))
}

/// A float as Python's `json.dumps` prints it.
fn float_json(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() }
    } else {
        float_repr(value)
    }
}

/// The number as a float, with `NaN` and the infinities, which `Value::as_f64` hides.
#[must_use]
pub fn as_float(number: &Number) -> Option<f64> {
    match number.as_str() {
        NAN => Some(f64::NAN),
        text => text.parse().ok(),
    }
}

/// Whether Python's parser would make an `int` of it: no fraction, no exponent, no `NaN`.
#[must_use]
pub fn is_integer(number: &Number) -> bool {
    number.as_str().bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}

/// What `if value:` decides in Python.
#[must_use]
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => as_float(number) != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The bytes Python's `json.dumps` would give, in the order of the keys.
#[must_use]
pub fn to_vec(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_value(&mut out, value);
    out
}

/// Appends what [`to_vec`] gives.
pub fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b", ");
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(map) => write_object(out, map),
    }
}

fn write_object(out: &mut Vec<u8>, map: &Map<String, Value>) {
    out.push(b'{');
    for (index, (key, item)) in map.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        write_str(out, key);
        out.extend_from_slice(b": ");
        write_value(out, item);
    }
    out.push(b'}');
}

/// Integers as they came; anything else through the float that Python would have made of it.
fn write_number(out: &mut Vec<u8>, number: &Number) {
    let text = number.as_str();
    if text == "-0" {
        out.push(b'0');
    } else if is_integer(number) || is_short_decimal(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        match as_float(number) {
            Some(value) => write_float(out, value),
            None => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// Up to this many digits a decimal text and the nearest float have nothing shorter between them.
const EXACT_DIGITS: usize = 15;

/// Whether Python would print the float of this text as this text: most figures are of this kind, and
/// reading and printing them again is what costs most in a long reply. Says no when in doubt.
fn is_short_decimal(text: &str) -> bool {
    let Some((whole, fraction)) = text.strip_prefix('-').unwrap_or(text).split_once('.') else {
        return false;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = fraction == "0" || !fraction.ends_with('0');
    // Below 0.0001 Python would write an exponent.
    let plain = whole != "0" || fraction == "0" || !fraction.starts_with("0000");
    digits(whole) && digits(fraction) && canonical && plain && whole.len() + fraction.len() <= EXACT_DIGITS
}

/// Appends a float as Python prints it.
pub fn write_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(float_json(value).as_bytes());
}

/// Appends a JSON string in ASCII.
pub fn write_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.find(|char| !matches!(char, ' ' | '!' | '#'..='[' | ']'..='~')) {
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = tail.chars();
        if let Some(char) = chars.next() {
            write_escape(out, char);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, char: char) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        _ => {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
}

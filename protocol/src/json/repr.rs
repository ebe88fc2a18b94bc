//! Python's `repr`, because circus' reasons quote values in it: `unknown key 'zorg'`,
//! `Unknown hook {'foo': None}`, `command b'{"id": 1}': ...`.

use serde_json::Value;

use super::{as_float, is_integer};

/// From this exponent on Python writes floats as `1e+16`.
const LARGE: i32 = 16;
/// Below this exponent Python writes floats as `1e-05`.
const SMALL: i32 = -4;

/// With fewer digits no float lies between two texts of that length.
const TIE_PLACES: usize = 15;
/// More decimal places than any float has.
const EXACT_PLACES: usize = 770;
/// The bits of a float behind its first one.
const FRACTION: u64 = (1 << 52) - 1;

/// `repr(value)` of a float: the shortest text that reads back as the same float.
#[must_use]
pub fn float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    let exponential = even_on_tie(value, format!("{value:e}"));
    let Some((digits, exponent)) = exponential.split_once('e') else { return exponential };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    if !(SMALL..LARGE).contains(&exponent) {
        let direction = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{digits}e{direction}{:02}", exponent.unsigned_abs());
    }
    let digits = digits.replace('.', "");
    if exponent < 0 {
        let zeros = usize::try_from(-exponent - 1).unwrap_or_default();
        return format!("{sign}0.{}{digits}", "0".repeat(zeros));
    }
    let point = usize::try_from(exponent).unwrap_or_default() + 1;
    match digits.split_at_checked(point) {
        Some((whole, "")) => format!("{sign}{whole}.0"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{digits}{}.0", "0".repeat(point - digits.len())),
    }
}

/// A float may lie exactly between two equally short texts; Python then takes the even digit, Rust the
/// larger one. It needs as many digits as a float has, so that most floats are not looked at twice.
fn even_on_tie(value: f64, exponential: String) -> String {
    let Some((digits, exponent)) = exponential.split_once('e') else { return exponential };
    let places = digits.bytes().filter(u8::is_ascii_digit).count();
    let Some(last) = digits.chars().last().and_then(|last| last.to_digit(10)) else { return exponential };
    let decimals = places as i64 - 1 - exponent.parse::<i64>().unwrap_or_default();
    if places < TIE_PLACES || last.is_multiple_of(2) || !may_tie(value, decimals) {
        return exponential;
    }
    let exact = format!("{value:.EXACT_PLACES$e}");
    let Some((exact, _)) = exact.split_once('e') else { return exponential };
    let Some((head, tail)) = exact.split_at_checked(digits.len()) else { return exponential };
    if !tail.starts_with('5') || tail.bytes().skip(1).any(|byte| byte != b'0') {
        return exponential;
    }
    let even = if head == digits { last + 1 } else { last - 1 };
    format!("{}{even}e{exponent}", digits.get(..digits.len() - 1).unwrap_or_default())
}

/// Whether it can lie exactly between two texts with so many decimals. Then it has one decimal more than
/// they; and a float has as many decimals as its lowest bit stands behind the point. Printing all of its digits
/// to see whether they end in a 5 costs twenty times as much as the text.
fn may_tie(value: f64, decimals: i64) -> bool {
    let (bits, fraction) = (value.to_bits(), value.to_bits() & FRACTION);
    let scale = (bits >> FRACTION.count_ones() & 0x7ff) as i64;
    let number = if scale == 0 { fraction } else { fraction | (FRACTION + 1) };
    let lowest = scale.max(1) - 1075 + i64::from(number.trailing_zeros());
    decimals < 0 || -lowest == decimals + 1
}

/// `repr(text)`.
#[must_use]
pub fn python_repr_str(text: &str) -> String {
    let quote = quote_for(text.contains('\''), text.contains('"'));
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if char == quote => {
                out.push('\\');
                out.push(char);
            }
            ' '..='~' => out.push(char),
            _ if printable(char) => out.push(char),
            _ => push_code(&mut out, u32::from(char)),
        }
    }
    out.push(quote);
    out
}

/// `repr(bytes)`, with the leading `b`.
#[must_use]
pub fn python_repr_bytes(bytes: &[u8]) -> String {
    let quote = quote_for(bytes.contains(&b'\''), bytes.contains(&b'"'));
    let mut out = String::with_capacity(bytes.len() + 3);
    out.push('b');
    out.push(quote);
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => {
                let char = char::from(*byte);
                if char == quote {
                    out.push('\\');
                }
                out.push(char);
            }
            _ => push_code(&mut out, u32::from(*byte)),
        }
    }
    out.push(quote);
    out
}

/// `repr(value)` of what Python's JSON parser would have made of it.
#[must_use]
pub fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) if number.as_str() == "-0" => "0".to_owned(),
        Value::Number(number) if is_integer(number) => number.as_str().to_owned(),
        Value::Number(number) => as_float(number).map_or_else(|| number.as_str().to_owned(), float_repr),
        Value::String(text) => python_repr_str(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(python_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map
                .iter()
                .map(|(key, item)| format!("{}: {}", python_repr_str(key), python_repr(item)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

/// `str(value)`: a string without quotes, anything else as its repr.
#[must_use]
pub fn python_str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            python_repr(value)
        }
    }
}

fn quote_for(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

/// Rust's debug form escapes what Python calls unprintable; only at the start of a text does it also
/// escape combining marks, hence the letter before.
fn printable(char: char) -> bool {
    let mut text = String::from("a");
    text.push(char);
    text.escape_debug().eq(text.chars())
}

fn push_code(out: &mut String, code: u32) {
    let escape = match code {
        0..=0xff => format!("\\x{code:02x}"),
        0x100..=0xffff => format!("\\u{code:04x}"),
        _ => format!("\\U{code:08x}"),
    };
    out.push_str(&escape);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the digits behind the shortest text are a 5 and zeroes: by looking at all of them.
    fn ties(value: f64) -> (bool, i64) {
        let (shortest, exact) = (format!("{value:e}"), format!("{value:.EXACT_PLACES$e}"));
        let (digits, exponent) = shortest.split_once('e').unwrap();
        let places = digits.bytes().filter(u8::is_ascii_digit).count() as i64;
        let exact: String = exact.split_once('e').unwrap().0.chars().filter(char::is_ascii_digit).collect();
        let tail = exact.get(usize::try_from(places).unwrap()..).unwrap();
        let tie = tail.starts_with('5') && tail.bytes().skip(1).all(|byte| byte == b'0');
        (tie, places - 1 - exponent.parse::<i64>().unwrap())
    }

    #[test]
    fn no_tie_is_overlooked_and_few_floats_are_looked_at_twice() {
        let (mut state, mut found, mut looked) = (7_u64, 0, 0);
        for round in 0..60_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (shift, number) = (round % 60, state >> 11 | 1);
            let value = match round % 4 {
                0 => f64::from_bits(state >> 1),
                // Few bits behind the point, and many before it.
                1 => (number >> (shift % 40)) as f64 / (1_u64 << (shift % 20)) as f64,
                2 => number as f64 * 2_f64.powi(-(shift as i32)),
                _ => 1.7e9 + (number >> 20) as f64 / 2_f64.powi(10),
            };
            if !value.is_finite() || value == 0.0 {
                continue;
            }
            let (tie, decimals) = ties(value);
            let may = may_tie(value, decimals);
            assert!(may || !tie, "{value:?}");
            found += u32::from(tie);
            looked += u32::from(may && round % 4 != 0);
        }
        assert!(found > 100 && looked < 20_000, "{found} ties, {looked} looked at");
    }
}

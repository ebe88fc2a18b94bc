//! Numbers that cannot be wrong: no process id 0 or -1, no length of time that is not one; and how
//! the wire spells them. What a number does to a process is for others to know.

use std::fmt;
use std::num::NonZeroI32;
use std::time::Duration;

use serde_json::Value;

use crate::json;
use crate::reply::Refusal;

/// The longest time that is understood; a longer one means for ever and is cut to this.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Seconds as they are on the wire: negative and `NaN` are no time at all, too much is [`LONGEST`].
#[must_use]
pub fn duration(seconds: f64) -> Duration {
    if seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).map_or(LONGEST, |duration| duration.min(LONGEST))
    } else {
        Duration::ZERO
    }
}

/// A process id as the kernel gives it: positive, reused after the process was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// `None` for zero and negative numbers, which `kill(2)` would take for groups or for everybody.
    #[must_use]
    pub fn new(raw: i32) -> Option<Self> {
        if raw > 0 { NonZeroI32::new(raw).map(Self) } else { None }
    }

    /// The kernel's number.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The small number of a process within its watcher, from 1, reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wid(pub u32);

impl fmt::Display for Wid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal number as a client sent it. Numbers that the kernel refuses are kept, because circus
/// answers those with the operating system's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub i32);

impl Signal {
    /// Hang up; reload by convention.
    pub const HUP: Self = Self(1);
    /// Interrupt.
    pub const INT: Self = Self(2);
    /// Quit.
    pub const QUIT: Self = Self(3);
    /// The one that cannot be ignored.
    pub const KILL: Self = Self(9);
    /// The polite end; circus' default stop signal.
    pub const TERM: Self = Self(15);
    /// Continue a stopped process.
    pub const CONT: Self = Self(18);

    /// The largest number that Linux has.
    pub const LAST: Self = Self(64);

    /// Whether the kernel would take it; 0 is taken, and sends nothing.
    #[must_use]
    pub fn exists(self) -> bool {
        (0..=Self::LAST.0).contains(&self.0)
    }

    /// The forms that clients send: a number, numeric text, a name with or without `SIG` in any case,
    /// a name with an offset (`RTMIN+1`). As in circus only the beginning of a text has to be a name.
    ///
    /// # Errors
    ///
    /// `signal invalid` for text that is no signal; for other types what circus says about them.
    pub fn parse(value: &Value) -> Result<Self, Refusal> {
        if let Value::String(text) = value {
            return Self::parse_text(text);
        }
        match value {
            Value::Number(number) if json::as_float(number).is_some_and(f64::is_nan) => {
                Err(Refusal::Raised("expected string or bytes-like object, got 'float'".to_owned()))
            }
            _ => int(value).map(Self::clamped),
        }
    }

    /// [`Signal::parse`] for text, as on a command line or in a configuration file.
    ///
    /// # Errors
    ///
    /// `signal invalid`.
    pub fn parse_text(text: &str) -> Result<Self, Refusal> {
        if let Some(number) = int_text(text) {
            return Ok(Self::clamped(number));
        }
        let word =
            |text: &str| text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
        let (name, rest) = text.split_at(word(text));
        let offset = rest.strip_prefix('+').map_or("", |rest| {
            rest.split_at(rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len())).0
        });
        let number = Self::from_name(name).ok_or_else(|| Refusal::Message("signal invalid".to_owned()))?;
        let offset = if offset.is_empty() { 0 } else { offset.parse().unwrap_or(i64::MAX) };
        Ok(Self::clamped(i64::from(number.0).saturating_add(offset)))
    }

    /// The signal of a name, with or without `SIG`, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.to_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        SIGNALS.iter().find(|(known, _)| *known == name).map(|(_, number)| Self(*number))
    }

    /// The name without `SIG`, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        SIGNALS.iter().find(|(_, number)| *number == self.0).map(|(name, _)| *name)
    }

    /// Too large for the kernel stays too large: it will refuse the largest number as well.
    fn clamped(number: i64) -> Self {
        Self(i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX }))
    }
}

/// Linux' signals; a second name for the same number comes after the first.
const SIGNALS: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

/// What Python's `int(value)` makes of a value of JSON; numbers beyond 64 bits become the largest.
///
/// # Errors
///
/// Python's words, as circus sends them.
pub fn int(value: &Value) -> Result<i64, Refusal> {
    match value {
        Value::Bool(flag) => Ok(i64::from(*flag)),
        Value::Number(number) if json::is_integer(number) => {
            Ok(int_text(number.as_str()).unwrap_or_default())
        }
        Value::Number(number) => truncate(json::as_float(number).unwrap_or_default()),
        Value::String(text) => int_text(text).ok_or_else(|| {
            let repr = json::python_repr_str(text);
            Refusal::Raised(format!("invalid literal for int() with base 10: {repr}"))
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let kind = python_type(value);
            let text = "int() argument must be a string, a bytes-like object or a real number, not";
            Err(Refusal::Raised(format!("{text} '{kind}'")))
        }
    }
}

fn truncate(value: f64) -> Result<i64, Refusal> {
    if value.is_nan() {
        Err(Refusal::Raised("cannot convert float NaN to integer".to_owned()))
    } else if value.is_infinite() {
        Err(Refusal::Raised("cannot convert float infinity to integer".to_owned()))
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "cutting the fraction is the point; the cast saturates"
        )]
        Ok(value as i64)
    }
}

/// Python's `int(text)`: blanks around it, a sign, single underscores between digits.
#[must_use]
pub fn int_text(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.split('_').any(str::is_empty) {
        return None;
    }
    let mut number: i64 = 0;
    for digit in digits.chars().filter(|char| *char != '_') {
        let digit = i64::from(digit.to_digit(10)?);
        number = number.saturating_mul(10);
        number = if negative { number.saturating_sub(digit) } else { number.saturating_add(digit) };
    }
    Some(number)
}

/// The name of the type that Python's JSON parser gives a value.
#[must_use]
pub fn python_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if json::is_integer(number) => "int",
        Value::Number(_) => "float",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// circus' number in an error reply (not the kernel's errno).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Errno {
    /// 1: the payload is not JSON.
    InvalidJson,
    /// 2: no such command.
    UnknownCommand,
    /// 3: wrong arguments, unknown watcher, unknown option.
    Message,
    /// 4: the operating system said no.
    Os,
    /// 5: anything else that went wrong while the command was carried out.
    Command,
    /// 6: the asynchronous part failed.
    Server,
}

impl Errno {
    /// The number on the wire.
    #[must_use]
    pub fn get(self) -> i64 {
        match self {
            Self::InvalidJson => 1,
            Self::UnknownCommand => 2,
            Self::Message => 3,
            Self::Os => 4,
            Self::Command => 5,
            Self::Server => 6,
        }
    }

    /// The kind of a number on the wire; circus' unused 0 and unknown numbers are `None`.
    #[must_use]
    pub fn from_wire(number: i64) -> Option<Self> {
        let all =
            [Self::InvalidJson, Self::UnknownCommand, Self::Message, Self::Os, Self::Command, Self::Server];
        all.into_iter().find(|errno| errno.get() == number)
    }
}

//! What a stream's options mean. Opens nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::facility;
use crate::config::{StreamClass, StreamConfig};
use crate::host::stream::file::Rotation;
use crate::host::stream::line::{Lines, Style, TimeFormat};
use crate::host::stream::timed::Schedule;

/// What `FancyStdoutStream` prints when no `time_format` is given.
const FANCY_TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Where a `SyslogStream` without `address` speaks to.
const SYSLOG: &str = "/dev/log";

/// The colours in the order of their terminal codes, from 1.
const COLOURS: [&str; 7] = ["red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/// What is wrong with a stream's options, or with opening it.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A number was expected.
    #[error("{option} = {value}: expected a whole number, like 10485760")]
    Number {
        /// Which option.
        option: &'static str,
        /// What it says.
        value: String,
    },
    /// `rotate_when` is missing or unknown.
    #[error("rotate_when = {0}: expected S, M, H, D, MIDNIGHT or W0 to W6")]
    When(String),
    /// `on_full` is unknown.
    #[error("on_full = {0}: expected drop or block")]
    OnFull(String),
    /// A file that cannot be opened or written.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// A facility that syslog has not.
    #[error("facility = {0}: expected user, daemon, local0 to local7 or another of syslog's")]
    Facility(String),
    /// A syslog that cannot be reached.
    #[error("syslog {place}: {error}")]
    Syslog {
        /// Where.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// Our own stdout is closed or full.
    #[error("circusd's own output: {0}")]
    Own(#[from] io::Error),
}

/// Whether the options of a stream can be understood; opens nothing.
///
/// # Errors
///
/// Names the first option that cannot.
pub fn check(config: &StreamConfig) -> Result<(), StreamError> {
    Format::new(config, 0).map(drop)
}

/// A stream's options, understood.
pub(crate) struct Format {
    pub(crate) lines: Option<Lines>,
    pub(crate) to: Destination,
    pub(crate) on_full: OnFull,
}

/// What becomes of output that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OnFull {
    /// It is counted and lost; the child goes on.
    #[default]
    Drop,
    /// It waits, and so does the child once its pipe is full.
    Block,
}

/// Where a stream leads, nothing of it open.
pub(crate) enum Destination {
    Own,
    /// The tail in memory is all there is.
    Memory,
    File(Option<PathBuf>, Rotation),
    Syslog {
        place: String,
        facility: u8,
        ident: String,
    },
}

impl Format {
    pub(crate) fn new(config: &StreamConfig, seed: u64) -> Result<Self, StreamError> {
        let options = Options(&config.conf);
        let on_full = options.on_full()?;
        let prefix = options.text("prefix");
        let plain = || {
            let time = options.text("time_format").map(|format| TimeFormat::new(&format));
            let any = time.is_some() || prefix.is_some();
            any.then(|| Lines::new(prefix.clone(), time, Style::Plain))
        };
        let path = options.text("filename").map(PathBuf::from);
        let (lines, to) = match config.class {
            StreamClass::File => {
                let rotation = match (options.number("max_bytes")?, options.number("backup_count")?) {
                    (0, _) | (_, 0) => Rotation::Never,
                    (max_bytes, backups) => Rotation::Size { max_bytes, backups },
                };
                (plain(), Destination::File(path, rotation))
            }
            StreamClass::WatchedFile => (plain(), Destination::File(path, Rotation::Watched)),
            StreamClass::TimedRotatingFile => {
                let schedule = Schedule::new(
                    &options.text("rotate_when").unwrap_or_default(),
                    options.number("rotate_interval").map(|value| value.max(1))?,
                    options.flag("utc"),
                )
                .ok_or_else(|| StreamError::When(options.text("rotate_when").unwrap_or_default()))?;
                let backups = options.number("backup_count")?;
                (plain(), Destination::File(path, Rotation::Timed { schedule, backups, at: None }))
            }
            StreamClass::Syslog => (None, options.syslog()?),
            StreamClass::Stdout => {
                (prefix.map(|prefix| Lines::new(Some(prefix), None, Style::Plain)), Destination::Own)
            }
            StreamClass::Queue => (None, Destination::Memory),
            StreamClass::FancyStdout => {
                let format = options.text("time_format").unwrap_or_else(|| FANCY_TIME.to_owned());
                let named =
                    options.text("color").and_then(|name| COLOURS.iter().position(|known| *known == name));
                // Stock draws a colour; ours stays the same for as long as the daemon runs.
                let colour = named.unwrap_or(usize::try_from(seed).unwrap_or(0) % COLOURS.len());
                let style = Style::Colour(colour + 1);
                (Some(Lines::new(prefix, Some(TimeFormat::new(&format)), style)), Destination::Own)
            }
        };
        Ok(Self { lines, to, on_full })
    }
}

/// Option texts; numbers and flags may be given as text (from a file) or as such (from a client).
struct Options<'a>(&'a BTreeMap<String, Value>);

impl Options<'_> {
    fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Some(other.to_string())
            }
        }
    }

    fn number(&self, option: &'static str) -> Result<u64, StreamError> {
        let Some(value) = self.text(option) else { return Ok(0) };
        value.trim().parse().map_err(|_| StreamError::Number { option, value })
    }

    fn on_full(&self) -> Result<OnFull, StreamError> {
        match self.text("on_full").as_deref() {
            None | Some("drop") => Ok(OnFull::Drop),
            Some("block") => Ok(OnFull::Block),
            Some(other) => Err(StreamError::OnFull(other.to_owned())),
        }
    }

    fn syslog(&self) -> Result<Destination, StreamError> {
        let name = self.text("facility").unwrap_or_else(|| "user".to_owned());
        let facility = facility::facility(&name).ok_or(StreamError::Facility(name))?;
        let place = self.text("address").unwrap_or_else(|| SYSLOG.to_owned());
        let ident = self.text("ident").unwrap_or_else(|| "circus".to_owned());
        Ok(Destination::Syslog { place, facility, ident })
    }

    fn flag(&self, name: &str) -> bool {
        let text = self.text(name).unwrap_or_default().to_ascii_lowercase();
        matches!(text.as_str(), "true" | "yes" | "on" | "1")
    }
}

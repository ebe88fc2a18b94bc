//! What a stream's options mean, and what happens when writing fails.
//!
//! ```text
//!  Nowhere ──open──► Working ──write or open failed──► Broken (said once, tried again each second)
//!     ▲──────close──────┴───────────────────────────────┘│▲
//!                       ◄──────────works again───────────┘┘
//! ```
//!
//! While a stream is broken the children's output is read and counted but lost: a full disk must not
//! stop a service. It knows no pipes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use circus_protocol::number::Pid;
use serde_json::Value;

use crate::arbiter::id::WatcherId;
use crate::config::facility;
use crate::config::{StreamClass, StreamConfig};
use crate::host::clock;
use crate::host::stream::Feed;
use crate::host::stream::file::{LogFile, Rotation};
use crate::host::stream::line::{Lines, Style, TimeFormat};
use crate::host::stream::record::Records;
use crate::host::stream::timed::Schedule;
use crate::host::syslog::{Patience, Severity, Syslog};

/// Seconds between two tries to open or write a stream that failed.
const RETRY: f64 = 1.0;

/// What `FancyStdoutStream` prints when no `time_format` is given.
const FANCY_TIME: &str = "%Y-%m-%d %H:%M:%S";

/// Where a `SyslogStream` without `address` speaks to.
const SYSLOG: &str = "/dev/log";

/// How long a syslog may keep everybody's output waiting.
const SYSLOG_PATIENCE: Duration = Duration::from_millis(200);

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

/// Where the bytes end up.
enum Target {
    Nowhere,
    Own(File),
    Log(Box<LogFile>),
    Syslog { place: String, records: Box<Records> },
}

impl Target {
    fn write(&mut self, pump: u64, pid: Pid, bytes: &[u8]) -> Result<(), StreamError> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Own(file) => Ok(file.write_all(bytes)?),
            Self::Log(file) => file.write(bytes, clock::wall()).map_err(|error| file.error(error)),
            Self::Syslog { place, records } => records
                .write(pump, pid, bytes, clock::wall())
                .map_err(|error| StreamError::Syslog { place: place.clone(), error }),
        }
    }
}

impl Target {
    /// The end of a pipe, with the end of its line.
    fn end_of(&mut self, pump: u64, bytes: &[u8]) -> Result<(), StreamError> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Own(file) => Ok(file.write_all(bytes)?),
            Self::Log(_) if bytes.is_empty() => Ok(()),
            Self::Log(file) => file.write(bytes, clock::wall()).map_err(|error| file.error(error)),
            Self::Syslog { place, records } => records
                .end_of(pump, clock::wall())
                .map_err(|error| StreamError::Syslog { place: place.clone(), error }),
        }
    }
}

/// A stream's options, understood.
struct Format {
    lines: Option<Lines>,
    to: Destination,
}

/// Where a stream leads, nothing of it open.
enum Destination {
    Own,
    File(Option<PathBuf>, Rotation),
    Syslog { place: String, facility: u8, ident: String },
}

impl Format {
    fn new(config: &StreamConfig, seed: u64) -> Result<Self, StreamError> {
        let options = Options(&config.conf);
        let plain =
            || options.text("time_format").map(|format| Lines::new(TimeFormat::new(&format), Style::Plain));
        let path = options.text("filename").map(PathBuf::from);
        Ok(match config.class {
            StreamClass::File => {
                let rotation = match (options.number("max_bytes")?, options.number("backup_count")?) {
                    (0, _) | (_, 0) => Rotation::Never,
                    (max_bytes, backups) => Rotation::Size { max_bytes, backups },
                };
                Self { lines: plain(), to: Destination::File(path, rotation) }
            }
            StreamClass::WatchedFile => {
                Self { lines: plain(), to: Destination::File(path, Rotation::Watched) }
            }
            StreamClass::TimedRotatingFile => {
                let schedule = Schedule::new(
                    &options.text("rotate_when").unwrap_or_default(),
                    options.number("rotate_interval").map(|value| value.max(1))?,
                    options.flag("utc"),
                )
                .ok_or_else(|| StreamError::When(options.text("rotate_when").unwrap_or_default()))?;
                let backups = options.number("backup_count")?;
                Self {
                    lines: plain(),
                    to: Destination::File(path, Rotation::Timed { schedule, backups, at: None }),
                }
            }
            StreamClass::Syslog => Self { lines: None, to: options.syslog()? },
            StreamClass::Stdout => Self { lines: None, to: Destination::Own },
            StreamClass::FancyStdout => {
                let format = options.text("time_format").unwrap_or_else(|| FANCY_TIME.to_owned());
                let named =
                    options.text("color").and_then(|name| COLOURS.iter().position(|known| *known == name));
                // Stock draws a colour; ours stays the same for as long as the daemon runs.
                let colour = named.unwrap_or(usize::try_from(seed).unwrap_or(0) % COLOURS.len());
                Self {
                    lines: Some(Lines::new(TimeFormat::new(&format), Style::Colour(colour + 1))),
                    to: Destination::Own,
                }
            }
        })
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

/// Whether a stream works.
enum Health {
    Works,
    /// Since when the next try may be made, and what was lost.
    Broken {
        retry: f64,
        lost: u64,
    },
}

/// One watcher's stdout or stderr.
pub(crate) struct Slot {
    watcher: u64,
    feed: Feed,
    config: Option<StreamConfig>,
    target: Target,
    lines: Option<Lines>,
    framed: Vec<u8>,
    health: Health,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            watcher: 0,
            feed: Feed::Stdout,
            config: None,
            target: Target::Nowhere,
            lines: None,
            framed: Vec::new(),
            health: Health::Works,
        }
    }
}

impl Slot {
    /// (Re)open; without options, output goes where circusd's own goes, as if it had been inherited.
    pub(crate) fn open(&mut self, watcher: WatcherId, feed: Feed, config: Option<&StreamConfig>) {
        self.watcher = watcher.0;
        self.feed = feed;
        self.config = config.cloned();
        self.health = Health::Works;
        self.reopen();
    }

    pub(crate) fn close(&mut self) {
        self.config = None;
        self.target = Target::Nowhere;
        self.lines = None;
        self.health = Health::Works;
    }

    fn reopen(&mut self) {
        self.target = Target::Nowhere;
        match self.try_open() {
            Ok((target, lines)) => (self.target, self.lines) = (target, lines),
            Err(error) => self.broke(&error, 0),
        }
    }

    fn try_open(&self) -> Result<(Target, Option<Lines>), StreamError> {
        let Some(config) = &self.config else { return Ok((Target::Own(own(self.feed)?), None)) };
        let format = Format::new(config, self.watcher)?;
        let target = match format.to {
            Destination::Own => Target::Own(own(Feed::Stdout)?),
            Destination::Syslog { place, facility, ident } => self.syslog(place, facility, ident)?,
            Destination::File(path, rotation) => {
                let path = path.map_or_else(temporary, Ok)?;
                let file = LogFile::open(&path, rotation, clock::wall());
                Target::Log(Box::new(file.map_err(|error| at(&path, error))?))
            }
        };
        Ok((target, format.lines))
    }

    fn syslog(&self, place: String, facility: u8, ident: String) -> Result<Target, StreamError> {
        let severity = match self.feed {
            Feed::Stdout => Severity::Info,
            Feed::Stderr => Severity::Error,
        };
        match Syslog::open(&place, facility, Patience::Some(SYSLOG_PATIENCE)) {
            Ok(syslog) => {
                let records = Box::new(Records::new(syslog, ident, severity));
                Ok(Target::Syslog { place, records })
            }
            Err(error) => Err(StreamError::Syslog { place, error }),
        }
    }

    pub(crate) fn write(&mut self, pump: u64, pid: Pid, bytes: &[u8]) {
        if let Health::Broken { retry, lost } = self.health {
            if clock::wall() < retry {
                self.health = Health::Broken { retry, lost: lost + bytes.len() as u64 };
                return;
            }
            if matches!(self.target, Target::Nowhere) {
                self.reopen();
            }
        }
        let result = match &mut self.lines {
            None => self.target.write(pump, pid, bytes),
            Some(lines) => {
                self.framed.clear();
                lines.frame(pump, pid, bytes, clock::wall(), &mut self.framed);
                self.target.write(pump, pid, &self.framed)
            }
        };
        match result {
            Ok(()) if matches!(self.target, Target::Nowhere) && self.config.is_some() => {
                self.count(bytes.len())
            }
            Ok(()) => self.mended(),
            Err(error) => self.broke(&error, bytes.len()),
        }
    }

    /// A pipe has ended; its unfinished line is finished.
    pub(crate) fn end_of(&mut self, pump: u64) {
        self.framed.clear();
        if let Some(lines) = &mut self.lines {
            lines.end_of(pump, &mut self.framed);
        }
        if let Err(error) = self.target.end_of(pump, &self.framed) {
            self.broke(&error, self.framed.len());
        }
    }

    fn count(&mut self, bytes: usize) {
        if let Health::Broken { lost, .. } = &mut self.health {
            *lost += bytes as u64;
        }
    }

    fn broke(&mut self, error: &StreamError, bytes: usize) {
        let lost = match self.health {
            Health::Works => {
                tracing::error!(
                    watcher = self.watcher,
                    feed = self.feed.name(),
                    %error,
                    "cannot write the output; it is lost until this works again"
                );
                0
            }
            Health::Broken { lost, .. } => lost,
        };
        if let Target::Syslog { .. } = self.target {
            // Whoever listened is gone; whoever listens next has another socket.
            self.target = Target::Nowhere;
        }
        self.health = Health::Broken { retry: clock::wall() + RETRY, lost: lost + bytes as u64 };
    }

    fn mended(&mut self) {
        if let Health::Broken { lost, .. } = self.health {
            tracing::warn!(
                watcher = self.watcher,
                feed = self.feed.name(),
                lost,
                "the output can be written again"
            );
            self.health = Health::Works;
        }
    }
}

fn at(path: &Path, error: io::Error) -> StreamError {
    StreamError::File { path: path.display().to_string(), error }
}

fn own(feed: Feed) -> io::Result<File> {
    let fd = match feed {
        Feed::Stdout => nix::unistd::dup(io::stdout())?,
        Feed::Stderr => nix::unistd::dup(io::stderr())?,
    };
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(File::from(fd))
}

/// A `FileStream` without a file name writes to a fresh file that only we can read.
fn temporary() -> Result<PathBuf, StreamError> {
    let pattern = std::env::temp_dir().join("circusd-XXXXXX");
    let (_fd, path) = nix::unistd::mkstemp(&pattern).map_err(|error| at(&pattern, error.into()))?;
    tracing::info!(path = %path.display(), "a stream without filename writes here");
    Ok(path)
}

//! The log: circus' line format, to stderr, a file or syslog.
//!
//! ```text
//! 2026-11-22 07:07:29 circus[10536] [INFO] One started
//! ```
//!
//! Everything in this program speaks through `tracing`; this is the one listener. It is small on
//! purpose: a subscriber with filters, spans and formats of its own would be larger than the rest of
//! the daemon. Spans are not used and not recorded. The file is opened for appending and each line is
//! one write, so that several daemons can share it; when it was moved away, it is made anew.
//!
//! The file stands behind the one lock of this crate: lines come from several threads, must not be
//! lost when the loop is what fails, and nobody waits for longer than one write.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::cli::Level;
use crate::config::facility;
use crate::host::clock;
use crate::host::stream::line::TimeFormat;
use crate::host::syslog::{Patience, Severity, Syslog};

mod python;

pub(crate) use python::{LoggerError, Settings};

/// The name that circus' log lines carry.
const NAME: &str = "circus";

/// Where log lines go.
#[derive(Debug)]
pub(crate) enum Target {
    Stderr,
    File(LogFile),
    Syslog(Syslog),
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log to {output}: {source}")]
pub(crate) struct LogError {
    output: String,
    source: io::Error,
}

/// How a line looks when a logger configuration says so.
#[derive(Debug)]
struct Look {
    format: String,
    /// Python's own dates end with three digits of a second, ours with six.
    cut: bool,
}

/// What `--logger-config` or `loggerconfig` asks for.
pub(crate) fn read_settings(path: &Path) -> Result<Settings, LoggerError> {
    python::read(path)
}

impl Target {
    /// The place that a logger configuration names.
    pub(crate) fn of(settings: &Settings) -> Result<Self, LogError> {
        let Some(path) = &settings.file else { return Ok(Self::Stderr) };
        let failed = |source| LogError { output: path.display().to_string(), source };
        LogFile::open(path).map(Self::File).map_err(failed)
    }

    /// `-` and `stdout` mean stderr, as in stock.
    pub(crate) fn open(output: &str) -> Result<Self, LogError> {
        let failed = |source| LogError { output: output.to_owned(), source };
        match output {
            "-" | "stdout" | "" => Ok(Self::Stderr),
            _ => match output.strip_prefix("syslog://") {
                Some(address) => {
                    // Stock, too, takes an unknown facility for `user`.
                    let (place, name) = address.split_once('?').unwrap_or((address, "user"));
                    let facility = facility::facility(name).unwrap_or(facility::USER);
                    Syslog::open(place, facility, Patience::None).map(Self::Syslog).map_err(failed)
                }
                None => LogFile::open(Path::new(output)).map(Self::File).map_err(failed),
            },
        }
    }
}

/// A log file that follows its name.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    open: Mutex<File>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let open = Mutex::new(append(&path)?);
        Ok(Self { path, open })
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut file = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let same = std::fs::metadata(&self.path).and_then(|named| {
            Ok((named.dev(), named.ino()) == file.metadata().map(|open| (open.dev(), open.ino()))?)
        });
        if !same.unwrap_or(false) {
            // Where a new one cannot be made, the moved one is still better than nothing.
            if let Ok(new) = append(&self.path) {
                *file = new;
            }
        }
        file.write_all(line)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The listener.
#[derive(Debug)]
struct Log {
    level: Level,
    target: Target,
    time: TimeFormat,
    look: Option<Look>,
}

/// From now on everything is logged as a logger configuration says.
pub(crate) fn start_with(settings: Settings, target: Target) {
    let mut log = Log::new(settings.level.unwrap_or(Level::Warning), target);
    log.time = TimeFormat::new(settings.dates.as_deref().unwrap_or("%Y-%m-%d %H:%M:%S,%f"));
    let format = settings.format.unwrap_or_else(|| "%(message)s".to_owned());
    log.look = Some(Look { format, cut: settings.dates.is_none() });
    install(log);
}

/// From now on everything is logged. A second call is ignored: there is one log.
pub(crate) fn start(level: Level, target: Target) {
    install(Log::new(level, target));
}

fn install(log: Log) {
    let _already = tracing::subscriber::set_global_default(log);
    std::panic::set_hook(Box::new(|panic| tracing::error!("bug: {panic}")));
}

impl Log {
    fn new(level: Level, target: Target) -> Self {
        let time = match target {
            Target::Stderr | Target::File(_) => TimeFormat::new("%Y-%m-%d %H:%M:%S"),
            Target::Syslog(_) => TimeFormat::new("%b %d %H:%M:%S"),
        };
        Self { level, target, time, look: None }
    }

    fn line(&self, level: tracing::Level, text: &str) {
        let pid = std::process::id();
        let (word, severity) = match level {
            tracing::Level::ERROR => ("ERROR", Severity::Error),
            tracing::Level::WARN => ("WARNING", Severity::Warning),
            tracing::Level::INFO => ("INFO", Severity::Info),
            tracing::Level::DEBUG | tracing::Level::TRACE => ("DEBUG", Severity::Debug),
        };
        let time = self.time.print(clock::wall());
        let line = match &self.look {
            None => format!("{time} {NAME}[{pid}] [{word}] {text}\n"),
            Some(look) => look.line(&time, pid, word, text),
        };
        // Where the log itself fails there is nobody to tell.
        let _lost = match &self.target {
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
            Target::File(file) => file.write(line.as_bytes()),
            Target::Syslog(syslog) => syslog.send(severity, line.trim_end().as_bytes()),
        };
    }
}

impl Look {
    fn line(&self, time: &str, pid: u32, word: &str, text: &str) -> String {
        let value = |name: &str| match name {
            "asctime" if self.cut => time.get(..time.len().saturating_sub(3)).map(str::to_owned),
            "asctime" => Some(time.to_owned()),
            "name" => Some(NAME.to_owned()),
            "process" => Some(pid.to_string()),
            "processName" => Some("MainProcess".to_owned()),
            "levelname" => Some(word.to_owned()),
            "message" => Some(text.to_owned()),
            _ => None,
        };
        // Checked when it was read.
        python::line(&self.format, &value).unwrap_or_else(|_| text.to_owned()) + "\n"
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let needed = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Debug,
        };
        needed <= self.level && *metadata.level() != tracing::Level::TRACE
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.line(*event.metadata().level(), &text.finish());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// An event as text: what it says, then its fields.
#[derive(Debug, Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    /// One line, whatever was in it.
    fn finish(self) -> String {
        let text = self.message + &self.fields;
        if text.contains(['\n', '\r']) { text.replace('\n', "\\n").replace('\r', "\\r") } else { text }
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ok = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            _ => self.record_debug(field, &value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = LogFile::open(&path).unwrap();
        file.write(b"one\n").unwrap();
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        file.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(directory.path().join("log.1")).unwrap(), "one\n");
        assert!(LogFile::open(Path::new("/nonexistent/log")).is_err());
    }

    #[test]
    fn events_become_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let target = Target::open(path.to_str().unwrap()).unwrap();
        tracing::subscriber::with_default(Log::new(Level::Info, target), || {
            tracing::info!("One started");
            tracing::warn!(pid = 5, watcher = "One", "two\nlines");
            tracing::debug!("not seen");
        });
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let pid = std::process::id();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(&format!(" circus[{pid}] [INFO] One started")), "{text}");
        assert!(lines[1].ends_with(r#"[WARNING] two\nlines pid=5 watcher="One""#), "{text}");
        let stamp: Vec<&str> = lines[0].splitn(3, ' ').collect();
        assert_eq!((stamp[0].len(), stamp[1].len()), (10, 8), "{text}");
    }
}

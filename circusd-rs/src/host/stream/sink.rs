//! Where a stream's bytes end up, and what happens when writing fails.
//!
//! ```text
//!  Nowhere ──open──► Works ──write or open failed──► Broken (said once, tried again each second)
//!                      ▲                               │
//!                      └────────works again────────────┘ (said, with what was lost)
//! ```
//!
//! While a stream is broken, what the children write is read, counted and lost: a full disk must not
//! stop a service. With `on_full = block` it is not read instead, so that nothing is lost and the
//! children wait. It knows no pipes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::arbiter::id::WatcherId;
use crate::arbiter::input::{StreamState, StreamTrouble};
use crate::config::StreamConfig;
use crate::host::clock;
use crate::host::stream::Feed;
use crate::host::stream::bell::Bell;
use crate::host::stream::file::{LogFile, Short, write_counted};
use crate::host::stream::line::{Lines, Speaker};
use crate::host::stream::options::{Destination, Format, OnFull, StreamError};
use crate::host::stream::record::Records;
use crate::host::syslog::{Patience, Severity, Syslog};

/// Between two tries to open or write a stream that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How long a syslog may keep everybody's output waiting.
const SYSLOG_PATIENCE: Duration = Duration::from_millis(200);

/// Where the bytes end up.
enum Target {
    Nowhere,
    Memory,
    Own(File),
    Log(Box<LogFile>),
    Syslog { place: String, records: Box<Records> },
}

/// A write that failed, how far it came, and whether trying the rest again is sensible.
struct Failed {
    written: usize,
    error: StreamError,
}

impl Target {
    fn write(&mut self, speaker: Speaker<'_>, bytes: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Nowhere | Self::Memory => Ok(()),
            Self::Own(file) => write_counted(file, bytes).map_err(own_failed),
            Self::Log(file) => file.write(bytes, clock::wall()).map_err(|short| log_failed(file, short)),
            Self::Syslog { place, records } => {
                records.write(speaker.pump, speaker.pid, bytes, clock::wall()).map_err(|error| {
                    // Some lines have left; which ones nobody knows, so none is sent twice.
                    Failed {
                        written: bytes.len(),
                        error: StreamError::Syslog { place: place.clone(), error },
                    }
                })
            }
        }
    }

    /// The end of a pipe, with the end of its line.
    fn end_of(&mut self, pump: u64, bytes: &[u8]) -> Result<(), Failed> {
        match self {
            Self::Nowhere | Self::Memory => Ok(()),
            Self::Own(file) => write_counted(file, bytes).map_err(own_failed),
            Self::Log(_) if bytes.is_empty() => Ok(()),
            Self::Log(file) => file.write(bytes, clock::wall()).map_err(|short| log_failed(file, short)),
            Self::Syslog { place, records } => records.end_of(pump, clock::wall()).map_err(|error| Failed {
                written: 0,
                error: StreamError::Syslog { place: place.clone(), error },
            }),
        }
    }
}

fn own_failed(Short { written, error }: Short) -> Failed {
    Failed { written, error: error.into() }
}

fn log_failed(file: &LogFile, Short { written, error }: Short) -> Failed {
    Failed { written, error: file.error(error) }
}

/// What nobody will ever read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Lost {
    bytes: u64,
    lines: u64,
}

impl Lost {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
}

/// Whether a stream works.
enum Health {
    Works,
    /// When the next try may be made, what was lost, what the system said at first, and when.
    Broken {
        retry: Instant,
        lost: Lost,
        said: Box<str>,
        since: f64,
    },
}

/// One watcher's stdout or stderr.
pub(crate) struct Slot {
    watcher: u64,
    /// The watcher's, for the log.
    name: Box<str>,
    feed: Feed,
    config: Option<StreamConfig>,
    target: Target,
    lines: Option<Lines>,
    on_full: OnFull,
    health: Health,
    /// What a stream that blocks could not write yet: at most a read, and what was in the pipes when
    /// the daemon ended.
    pending: Vec<u8>,
    bell: Rc<Bell>,
}

impl Slot {
    /// Open; without options, output goes where circusd's own goes, as if it had been inherited.
    pub(crate) fn new(
        (watcher, feed): (WatcherId, Feed),
        name: &str,
        config: Option<&StreamConfig>,
        bell: Rc<Bell>,
    ) -> Self {
        let mut slot = Self {
            watcher: watcher.0,
            name: name.into(),
            feed,
            config: None,
            target: Target::Nowhere,
            lines: None,
            on_full: OnFull::Drop,
            health: Health::Works,
            pending: Vec::new(),
            bell,
        };
        slot.open(config);
        slot
    }

    /// From now on somewhere else.
    pub(crate) fn open(&mut self, config: Option<&StreamConfig>) {
        self.config = config.cloned();
        let before = std::mem::replace(&mut self.health, Health::Works);
        self.reopen();
        let Health::Broken { lost, said, since, .. } = before else { return };
        match self.health {
            // There is something to write before anything new.
            Health::Works if !self.pending.is_empty() => {
                self.health =
                    Health::Broken { retry: clock::monotonic(), lost: Lost::default(), said, since };
            }
            Health::Works => self.ring_works(lost),
            Health::Broken { .. } => {}
        }
    }

    /// What is wrong with it.
    pub(crate) fn trouble(&self) -> Option<StreamTrouble> {
        let Health::Broken { lost, said, since, .. } = &self.health else { return None };
        Some(StreamTrouble {
            feed: self.feed,
            error: said.to_string(),
            since: *since,
            waits: self.on_full == OnFull::Block,
            lost_bytes: lost.bytes,
            lost_lines: lost.lines,
        })
    }

    fn ring_works(&self, Lost { bytes: lost_bytes, lines: lost_lines }: Lost) {
        self.bell.ring(self.watcher, StreamState::Works { feed: self.feed, lost_bytes, lost_lines });
    }

    /// Where the file is, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match &self.target {
            Target::Log(file) => Some(file.path()),
            Target::Nowhere | Target::Memory | Target::Own(_) | Target::Syslog { .. } => None,
        }
    }

    fn reopen(&mut self) {
        self.target = Target::Nowhere;
        if let Err(error) = self.try_open() {
            self.broke(&error, &[]);
        }
    }

    fn try_open(&mut self) -> Result<(), StreamError> {
        let Some(config) = &self.config else {
            self.target = Target::Own(own(self.feed)?);
            (self.lines, self.on_full) = (None, OnFull::Drop);
            return Ok(());
        };
        let format = Format::new(config, self.watcher)?;
        self.on_full = format.on_full;
        self.lines = format.lines;
        self.target = match format.to {
            Destination::Own => Target::Own(own(Feed::Stdout)?),
            Destination::Memory => Target::Memory,
            Destination::Syslog { place, facility, ident } => self.syslog(place, facility, ident)?,
            Destination::File(path, rotation) => {
                let path = path.map_or_else(temporary, Ok)?;
                let file = LogFile::open(&path, rotation, clock::wall());
                Target::Log(Box::new(file.map_err(|error| at(&path, error))?))
            }
        };
        Ok(())
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

    /// Until when nothing more should be read for it.
    pub(crate) fn stuck(&self) -> Option<Instant> {
        match (&self.health, self.on_full) {
            (Health::Broken { retry, .. }, OnFull::Block) => Some(*retry),
            (Health::Broken { .. }, OnFull::Drop) | (Health::Works, _) => None,
        }
    }

    /// Try again what could not be written, if it is time.
    pub(crate) fn retry(&mut self) {
        if self.stuck().is_some_and(|retry| clock::monotonic() >= retry) && self.mend() {
            self.mended();
        }
    }

    /// `scratch` is where lines get their beginnings.
    pub(crate) fn write(&mut self, speaker: Speaker<'_>, bytes: &[u8], scratch: &mut Vec<u8>) {
        if let Health::Broken { retry, .. } = self.health
            && (clock::monotonic() < retry || !self.mend())
        {
            return self.hold(speaker, bytes, scratch);
        }
        let text = frame(&mut self.lines, speaker, bytes, scratch);
        match self.target.write(speaker, text) {
            Ok(()) => self.written(),
            Err(failed) => self.broke(&failed.error, text.get(failed.written..).unwrap_or_default()),
        }
    }

    /// A pipe has ended; its unfinished line is finished.
    pub(crate) fn end_of(&mut self, pump: u64) {
        let mut end = Vec::new();
        if let Some(lines) = &mut self.lines {
            lines.end_of(pump, &mut end);
        }
        if self.stuck().is_some() {
            self.pending.extend(end);
        } else if let Err(failed) = self.target.end_of(pump, &end) {
            self.broke(&failed.error, end.get(failed.written..).unwrap_or_default());
        }
    }

    /// Nothing can be written now.
    fn hold(&mut self, speaker: Speaker<'_>, bytes: &[u8], scratch: &mut Vec<u8>) {
        match (self.on_full, &mut self.health) {
            (OnFull::Block, _) => {
                let text = frame(&mut self.lines, speaker, bytes, scratch);
                self.pending.extend_from_slice(text);
            }
            (OnFull::Drop, Health::Broken { lost, .. }) => lost.add(bytes),
            (OnFull::Drop, Health::Works) => {}
        }
    }

    /// Open again what is closed and write what waits; true when there is somewhere to write to.
    fn mend(&mut self) -> bool {
        if matches!(self.target, Target::Nowhere) {
            self.reopen();
            if matches!(self.target, Target::Nowhere) {
                return false;
            }
        }
        let waiting = std::mem::take(&mut self.pending);
        let written = match &mut self.target {
            Target::Own(file) => write_counted(file, &waiting).map_err(own_failed),
            Target::Log(file) => file.write(&waiting, clock::wall()).map_err(|short| log_failed(file, short)),
            Target::Nowhere | Target::Memory | Target::Syslog { .. } => Ok(()),
        };
        match written {
            Ok(()) => true,
            Err(failed) => {
                self.broke(&failed.error, waiting.get(failed.written..).unwrap_or_default());
                false
            }
        }
    }

    fn broke(&mut self, error: &StreamError, rest: &[u8]) {
        let first = matches!(self.health, Health::Works);
        let (mut lost, said, since) = match std::mem::replace(&mut self.health, Health::Works) {
            Health::Works => {
                let (watcher, feed) = (&*self.name, self.feed.name());
                match self.on_full {
                    OnFull::Drop => tracing::error!(
                        watcher, feed, %error, "cannot write the output; it is lost until this works again"
                    ),
                    OnFull::Block => tracing::error!(
                        watcher, feed, %error, "cannot write the output; it waits until this works again"
                    ),
                }
                (Lost::default(), error.to_string().into(), clock::wall())
            }
            Health::Broken { lost, said, since, .. } => (lost, said, since),
        };
        match self.on_full {
            OnFull::Drop => lost.add(rest),
            OnFull::Block => self.pending.extend_from_slice(rest),
        }
        if let Target::Syslog { .. } = self.target {
            // Whoever listened is gone; whoever listens next has another socket.
            self.target = Target::Nowhere;
        }
        self.health = Health::Broken { retry: clock::monotonic() + RETRY, lost, said, since };
        if let Some(trouble) = self.trouble().filter(|_| first) {
            self.bell.ring(self.watcher, StreamState::Fails(trouble));
        }
    }

    fn written(&mut self) {
        if let Target::Log(file) = &mut self.target
            && let Some(error) = file.trouble()
        {
            let (path, watcher) = (file.path().display(), &*self.name);
            tracing::error!(watcher, %path, %error, "the file cannot be rotated and grows on");
        }
        self.mended();
    }

    fn mended(&mut self) {
        if let Health::Broken { lost, .. } = self.health {
            self.tell(lost, "the output can be written again");
            self.health = Health::Works;
            self.ring_works(lost);
        }
    }

    fn tell(&self, lost: Lost, what: &str) {
        let (lost_bytes, lost_lines) = (lost.bytes, lost.lines);
        tracing::warn!(watcher = &*self.name, feed = self.feed.name(), lost_bytes, lost_lines, "{what}");
    }
}

impl Drop for Slot {
    /// The last that can be said about what is lost.
    fn drop(&mut self) {
        if let Health::Broken { mut lost, .. } = self.health {
            if self.mend() {
                return self.mended();
            }
            lost.add(&self.pending);
            self.tell(lost, "the stream is closed, and its last output could not be written");
            self.ring_works(lost);
        }
    }
}

fn frame<'a>(
    lines: &mut Option<Lines>,
    speaker: Speaker<'_>,
    bytes: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    match lines {
        None => bytes,
        Some(lines) => {
            scratch.clear();
            lines.frame(speaker, bytes, clock::wall(), scratch);
            scratch
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

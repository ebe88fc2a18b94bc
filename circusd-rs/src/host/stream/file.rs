//! A file that grows by appending and that may rotate: by size, by time, or because somebody moved it.
//!
//! Rotation happens at the beginning of a line, never within one (unless a single line is longer than
//! the limit), and nothing is overwritten before its successor exists. Two streams may share a file:
//! before rotating, each looks whether the other already did. A rotation that fails loses nothing: the
//! file grows on until one succeeds. A file that was deleted is begun anew.
//!
//! It knows nothing of processes, and gets the time passed in.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::descriptors;
use crate::host::stream::options::StreamError;
use crate::host::stream::timed::Schedule;

/// How far beyond its size a file may grow to keep a line in one piece.
const LONGEST_LINE: u64 = 64 * 1024;

/// Seconds between two looks whether the file was deleted, and between two tries to rotate.
const PAUSE: f64 = 1.0;

/// A write that failed, and how many bytes of it were written.
#[derive(Debug)]
pub struct Short {
    /// What is in the file.
    pub written: usize,
    /// Why not more.
    pub error: io::Error,
}

/// `write_all`, which says how far it came.
///
/// # Errors
///
/// What the system says.
pub fn write_counted(file: &mut impl Write, bytes: &[u8]) -> Result<(), Short> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err(Short { written, error: io::ErrorKind::WriteZero.into() }),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Short { written, error }),
        }
    }
    Ok(())
}

/// When a file is put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// It grows.
    Never,
    /// Before it would reach a size; `f` becomes `f.1`, `f.1` becomes `f.2`, ...
    Size {
        /// The size it stays below.
        max_bytes: u64,
        /// How many are kept.
        backups: u64,
    },
    /// Never by us; when somebody else moved it, a new one is begun.
    Watched,
    /// When an interval is over.
    Timed {
        /// Which.
        schedule: Schedule,
        /// How many are kept; 0 for all.
        backups: u64,
        /// The next one, once known.
        at: Option<i64>,
    },
}

/// An open file of a stream.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    rotation: Rotation,
    /// The last byte written was not the end of a line.
    within_line: bool,
    /// When to look next whether it was deleted.
    look: f64,
    /// A rotation that failed, and when to try again.
    stuck: Option<f64>,
    /// What the last rotation failed with, until somebody asks.
    trouble: Option<io::Error>,
}

impl LogFile {
    /// Open for appending, creating it if need be.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn open(path: &Path, mut rotation: Rotation, wall: f64) -> io::Result<Self> {
        let file = append(path)?;
        if let Rotation::Timed { schedule, at, .. } = &mut rotation {
            let found = file.metadata()?;
            // An interval that began before we did ends when it should.
            let begun = if found.size() > 0 { found.mtime() } else { wall as i64 };
            *at = Some(schedule.after(begun));
        }
        let (path, look) = (path.to_owned(), wall + PAUSE);
        Ok(Self { path, file, rotation, within_line: false, look, stuck: None, trouble: None })
    }

    /// An error with the file's name.
    #[must_use]
    pub fn error(&self, error: io::Error) -> StreamError {
        StreamError::File { path: self.path.display().to_string(), error }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Why the file could not be rotated, once for each time that it began to fail.
    pub fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }

    /// Append, rotating before or within.
    ///
    /// # Errors
    ///
    /// What the system says, and what was written all the same.
    pub fn write(&mut self, bytes: &[u8], wall: f64) -> Result<(), Short> {
        self.find_again(wall).map_err(|error| Short { written: 0, error })?;
        match self.rotation {
            Rotation::Size { max_bytes, backups } => self.write_sized(bytes, max_bytes, backups, wall),
            Rotation::Timed { at, .. } => {
                if !self.within_line && at.is_some_and(|at| wall as i64 >= at) && self.may_rotate(wall) {
                    let result = self.rotate_timed(wall as i64);
                    self.note(result, wall);
                }
                self.append(bytes)
            }
            Rotation::Never | Rotation::Watched => self.append(bytes),
        }
    }

    /// What is written to a deleted file nobody will ever read.
    fn find_again(&mut self, wall: f64) -> io::Result<()> {
        let lost = match self.rotation {
            Rotation::Watched => !self.is_in_place(),
            Rotation::Never | Rotation::Size { .. } | Rotation::Timed { .. } => {
                // Also when the clock was set back.
                let due = wall >= self.look || wall < self.look - 2.0 * PAUSE;
                if due {
                    self.look = wall + PAUSE;
                }
                due && self.file.metadata()?.nlink() == 0
            }
        };
        if lost {
            // Should it fail, the next write tries at once.
            self.look = wall;
            self.file = append(&self.path)?;
            self.within_line = false;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Short> {
        let result = write_counted(&mut self.file, bytes);
        let written = result.as_ref().map_or_else(|short| short.written, |()| bytes.len());
        if let Some(last) = written.checked_sub(1).and_then(|last| bytes.get(last)) {
            self.within_line = *last != b'\n';
        }
        result
    }

    fn write_sized(&mut self, all: &[u8], max_bytes: u64, backups: u64, wall: f64) -> Result<(), Short> {
        let mut bytes = all;
        while !bytes.is_empty() {
            let written = all.len() - bytes.len();
            let short = |error| Short { written, error };
            let size = self.file.metadata().map_err(short)?.size();
            // Stock rotates when a file would reach the limit, so it stays below.
            let room = usize::try_from(max_bytes.saturating_sub(size + 1)).unwrap_or(usize::MAX);
            if bytes.len() <= room || !self.may_rotate(wall) {
                return self.append(bytes).map_err(|more| Short { written: written + more.written, ..more });
            }
            let fits = bytes.get(..room).unwrap_or(bytes);
            let line_end = fits.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
            let first_end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            let count = match line_end {
                Some(end) => end,
                // The rest of a line that is already in this file, or a line that fits in none.
                None if size == 0 || (self.within_line && size < max_bytes + LONGEST_LINE) => first_end,
                None => 0,
            };
            let (now, later) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
            self.append(now).map_err(|more| Short { written: written + more.written, ..more })?;
            bytes = later;
            if !bytes.is_empty() {
                let result = self.rotate_sized(backups);
                self.note(result, wall);
            }
        }
        Ok(())
    }

    fn may_rotate(&self, wall: f64) -> bool {
        self.stuck.is_none_or(|until| wall >= until || wall < until - 2.0 * PAUSE)
    }

    /// A failure is told once, however often it is tried again.
    fn note(&mut self, rotated: io::Result<()>, wall: f64) {
        match rotated {
            Ok(()) => self.stuck = None,
            Err(error) => {
                if self.stuck.replace(wall + PAUSE).is_none() {
                    self.trouble = Some(error);
                }
            }
        }
    }

    fn rotate_sized(&mut self, backups: u64) -> io::Result<()> {
        if self.is_in_place() {
            // Up to the first gap: whoever could not move the file itself last time left one, and trying
            // again must not push the oldest off the end.
            let gap = (1..backups).find(|number| fs::symlink_metadata(self.named(*number)).is_err());
            for number in (1..gap.unwrap_or(backups)).rev() {
                rename(&self.named(number), &self.named(number + 1))?;
            }
            rename(&self.path, &self.named(1))?;
        }
        self.file = append(&self.path)?;
        Ok(())
    }

    fn rotate_timed(&mut self, now: i64) -> io::Result<()> {
        let Rotation::Timed { schedule, backups, at: Some(at) } = self.rotation.clone() else {
            return Ok(());
        };
        let aside = with_ending(&self.path, &schedule.suffix(at));
        // What is already called so is not lost for it; the file goes on until the next rotation.
        if self.is_in_place() && !aside.exists() {
            rename(&self.path, &aside)?;
        }
        self.file = append(&self.path)?;
        self.rotation =
            Rotation::Timed { at: Some(schedule.after(now)), schedule: schedule.clone(), backups };
        if backups > 0 { prune(&self.path, &schedule, backups) } else { Ok(()) }
    }

    fn named(&self, number: u64) -> PathBuf {
        with_ending(&self.path, &number.to_string())
    }

    /// Whether the path still leads to the file we hold open.
    fn is_in_place(&self) -> bool {
        let identity = |data: Metadata| (data.dev(), data.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(path), Ok(file)) => identity(path) == identity(file),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    descriptors::within(File::options().append(true).create(true).open(path)?)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Remove all but the newest.
fn prune(path: &Path, schedule: &Schedule, backups: u64) -> io::Result<()> {
    let Some(prefix) = path.file_name().and_then(|name| name.to_str()).map(|name| format!("{name}.")) else {
        return Ok(());
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found: Vec<PathBuf> = fs::read_dir(directory)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            schedule.is_suffix(name.to_str()?.strip_prefix(&prefix)?).then(|| entry.path())
        })
        .collect();
    found.sort();
    let surplus = found.len().saturating_sub(usize::try_from(backups).unwrap_or(usize::MAX));
    found.iter().take(surplus).try_for_each(fs::remove_file)
}

#[cfg(test)]
mod tests;

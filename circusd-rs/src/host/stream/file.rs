//! A file that grows by appending and that may rotate: by size, by time, or because somebody moved it.
//!
//! Rotation happens at the beginning of a line, never within one (unless a single line is longer than
//! the limit), and nothing is overwritten before its successor exists. Two streams may share a file:
//! before rotating, each looks whether the other already did.
//!
//! It knows nothing of processes, and gets the time passed in.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::stream::sink::StreamError;
use crate::host::stream::timed::Schedule;

/// How far beyond its size a file may grow to keep a line in one piece.
const LONGEST_LINE: u64 = 64 * 1024;

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
        Ok(Self { path: path.to_owned(), file, rotation, within_line: false })
    }

    /// An error with the file's name.
    #[must_use]
    pub fn error(&self, error: io::Error) -> StreamError {
        StreamError::File { path: self.path.display().to_string(), error }
    }

    /// Append, rotating before or within.
    ///
    /// # Errors
    ///
    /// What the system says; what was not written is lost.
    pub fn write(&mut self, bytes: &[u8], wall: f64) -> io::Result<()> {
        match self.rotation {
            Rotation::Never => self.append(bytes),
            Rotation::Size { max_bytes, backups } => self.write_sized(bytes, max_bytes, backups),
            Rotation::Watched => {
                if !self.is_in_place() {
                    self.file = append(&self.path)?;
                }
                self.append(bytes)
            }
            Rotation::Timed { at, .. } => {
                if !self.within_line && at.is_some_and(|at| wall as i64 >= at) {
                    self.rotate_timed(wall as i64)?;
                }
                self.append(bytes)
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(last) = bytes.last() {
            self.within_line = *last != b'\n';
        }
        self.file.write_all(bytes)
    }

    fn write_sized(&mut self, mut bytes: &[u8], max_bytes: u64, backups: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let size = self.file.metadata()?.size();
            // Stock rotates when a file would reach the limit, so it stays below.
            let room = usize::try_from(max_bytes.saturating_sub(size + 1)).unwrap_or(usize::MAX);
            if bytes.len() <= room {
                return self.append(bytes);
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
            self.append(now)?;
            bytes = later;
            if !bytes.is_empty() {
                self.rotate_sized(backups)?;
            }
        }
        Ok(())
    }

    fn rotate_sized(&mut self, backups: u64) -> io::Result<()> {
        if self.is_in_place() {
            for number in (1..backups).rev() {
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
    File::options().append(true).create(true).open(path)
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

//! Looks below a root what a rule is about, without touching anything: what would go, what would be
//! emptied, what stays and why, and what makes the whole reset impossible. What vanishes while it
//! looks was never there.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use circus_protocol::service::{KeptItem, ResetItem, ResetRule, Verdict};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag};

use super::super::walk::is;
use super::tree::{self, MAX_DEPTH};

/// A path below the root that something happens to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) parts: Vec<OsString>,
    pub(super) item: ResetItem,
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What goes.
    pub(super) moves: Vec<Piece>,
    /// What is emptied.
    pub(super) truncates: Vec<Piece>,
    pub(super) kept: Vec<KeptItem>,
    /// Any of these, and nothing is done.
    pub(super) problems: Vec<String>,
}

struct Scanner<'a> {
    rule: &'a ResetRule,
    root: &'a Path,
    found: Scan,
}

/// Looks at everything that the rule's patterns can be about.
pub(super) fn scan(rule: &ResetRule, root: &Path, dir: &OwnedFd) -> Scan {
    let mut scanner = Scanner { rule, root, found: Scan::default() };
    scanner.directory(dir, &mut Vec::new());
    scanner.found
}

/// Opens a file to be emptied: a regular one, under no other name, on this mount.
pub(super) fn open_truncate(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let fd = tree::open_here(dir, name, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?;
    let stat = nix::sys::stat::fstat(&fd)?;
    match stat.st_nlink {
        1 if is(&stat, SFlag::S_IFREG) => Ok(fd),
        // Removed while it was opened.
        0 => Err(Errno::ENOENT),
        // Under another name it may be anybody's file, outside of the root.
        _ => Err(Errno::EMLINK),
    }
}

impl Scanner<'_> {
    fn path(&self, parts: &[OsString]) -> PathBuf {
        self.root.iter().chain(parts.iter().map(OsString::as_os_str)).collect()
    }

    fn directory(&mut self, dir: &OwnedFd, parts: &mut Vec<OsString>) {
        if parts.len() > MAX_DEPTH {
            return self.problem(parts, "is too deep");
        }
        let names = match tree::names(dir) {
            Ok(names) => names,
            Err(Errno::ENOENT) => return,
            Err(errno) => return self.problem(parts, &words(errno)),
        };
        for name in names {
            parts.push(name);
            self.entry(dir, parts);
            parts.pop();
        }
    }

    fn entry(&mut self, dir: &OwnedFd, parts: &mut Vec<OsString>) {
        let Some(name) = parts.last().cloned() else { return };
        let bytes: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        match self.rule.verdict(&bytes) {
            Verdict::Leave => {}
            Verdict::Keep => self.keep(parts, "a keep pattern names it"),
            Verdict::Delete => self.delete(dir, &name, parts),
            Verdict::DeleteAround => self.delete_around(dir, &name, parts),
            Verdict::Truncate => self.truncate(dir, &name, parts),
            Verdict::Descend => self.descend(dir, &name, parts),
        }
    }

    fn delete(&mut self, dir: &OwnedFd, name: &OsStr, parts: &mut Vec<OsString>) {
        let last = parts.pop();
        let mut faults = Vec::new();
        let measure =
            tree::measure(dir, name, parts, &mut |trail, errno| faults.push((trail.to_vec(), errno)));
        parts.extend(last);
        for (trail, errno) in faults {
            self.problem(&trail, &words(errno));
        }
        let tree::Measure { bytes, entries, modified } = measure;
        if entries == 0 {
            return;
        }
        let item = ResetItem { path: self.path(parts), bytes, entries, modified };
        self.found.moves.push(Piece { parts: parts.clone(), item });
    }

    /// Something below is kept, if it is there; otherwise the directory goes as a whole.
    fn delete_around(&mut self, dir: &OwnedFd, name: &OsStr, parts: &mut Vec<OsString>) {
        let before = (self.found.moves.len(), self.found.kept.len(), self.found.problems.len());
        match tree::peek(dir, name) {
            Ok(stat) if is(&stat, SFlag::S_IFDIR) => self.descend(dir, name, parts),
            // No directory, or not ours: nothing below can be kept, or there is a problem to name.
            Ok(_) | Err(_) => return self.delete(dir, name, parts),
        }
        if (self.found.kept.len(), self.found.problems.len()) == (before.1, before.2) {
            self.found.moves.truncate(before.0);
            self.delete(dir, name, parts);
        }
    }

    fn truncate(&mut self, dir: &OwnedFd, name: &OsStr, parts: &[OsString]) {
        let stat = match tree::peek(dir, name) {
            Ok(stat) => stat,
            Err(Errno::EXDEV) => return self.keep(parts, "something else is mounted there"),
            Err(Errno::ENOENT) => return,
            Err(errno) => return self.problem(parts, &words(errno)),
        };
        if is(&stat, SFlag::S_IFLNK) {
            return self.keep(parts, "a link is not followed");
        }
        if !is(&stat, SFlag::S_IFREG) {
            return self.keep(parts, "only files can be emptied");
        }
        if stat.st_nlink > 1 {
            return self.keep(parts, "it has another name, perhaps outside of the root");
        }
        match open_truncate(dir, name) {
            Ok(_) => {
                let item = self.item(parts, &stat);
                self.found.truncates.push(Piece { parts: parts.to_vec(), item });
            }
            Err(Errno::ENOENT) => {}
            Err(errno) => self.problem(parts, &words(errno)),
        }
    }

    fn descend(&mut self, dir: &OwnedFd, name: &OsStr, parts: &mut Vec<OsString>) {
        if let Some(inner) = self.open(dir, name, parts) {
            self.directory(&inner, parts);
        }
    }

    /// Opens a directory; says so if it is one that must not be entered.
    fn open(&mut self, dir: &OwnedFd, name: &OsStr, parts: &[OsString]) -> Option<OwnedFd> {
        match tree::peek(dir, name) {
            Ok(stat) if is(&stat, SFlag::S_IFDIR) => match tree::open_dir(dir, name) {
                Ok(inner) => return Some(inner),
                Err(Errno::ENOENT) => {}
                Err(errno) => self.problem(parts, &words(errno)),
            },
            Ok(stat) if is(&stat, SFlag::S_IFLNK) => self.keep(parts, "a link is not followed"),
            Ok(_) => {}
            Err(Errno::EXDEV) => self.keep(parts, "something else is mounted there"),
            Err(Errno::ENOENT) => {}
            Err(errno) => self.problem(parts, &words(errno)),
        }
        None
    }

    fn item(&self, parts: &[OsString], stat: &FileStat) -> ResetItem {
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        ResetItem { path: self.path(parts), bytes, entries: 1, modified: tree::modified(stat) }
    }

    fn keep(&mut self, parts: &[OsString], reason: &'static str) {
        let path = self.path(parts);
        self.found.kept.push(KeptItem { path, reason });
    }

    fn problem(&mut self, parts: &[OsString], reason: &str) {
        let path = self.path(parts);
        self.found.problems.push(format!("{path:?}: {reason}"));
    }
}

/// What an error number means here.
pub(super) fn words(errno: Errno) -> String {
    match errno {
        Errno::EXDEV => "something else is mounted there; unmount it, or name it under `keep`".into(),
        Errno::ENAMETOOLONG => format!("is more than {MAX_DEPTH} levels deep"),
        Errno::EMLINK => "is no plain file any more".into(),
        other => other.desc().to_lowercase(),
    }
}

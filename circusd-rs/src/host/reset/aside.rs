//! The directory inside a root where a reset puts things: same file system, so a rename is enough,
//! and not readable for anybody else.
//!
//! ```text
//! ROOT/.circus-reset/17953312500000-0/   one reset: journal, 0, 1, 2, …; `done` once all are here
//! ROOT/.circus-reset/free-…/             nobody wants it any more
//!
//!   journal ─► moved one by one ─► done ─► (undo: moved back) ─► gone
//!        crash: the next sweep moves back      └─ time over ─► free-… ─► gone
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use circus_protocol::service::PLACE_ASIDE;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, geteuid, unlinkat};

use super::journal::{self, Journal};
use super::tree::{self, Measure, Pace};

const JOURNAL: &str = "journal";
const DONE: &str = "done";
const UNDOING: &str = "undoing";
const FREE: &str = "free-";

/// How many resets one root may hold within a tenth of a millisecond.
const MAX_TRIES: u32 = 1000;

/// The open place aside of one root, locked against others.
pub(super) struct Aside {
    pub(super) root: OwnedFd,
    pub(super) path: PathBuf,
    fd: OwnedFd,
    /// Shared by all who hold this place open.
    lock: Arc<File>,
}

/// One reset in a place aside.
pub(super) struct Record {
    pub(super) name: OsString,
    pub(super) journal: Journal,
    /// Everything was moved; otherwise a crash came between.
    pub(super) done: bool,
    /// An undo was interrupted, so it comes first.
    pub(super) undoing: bool,
    dir: OwnedFd,
}

/// What is in a place aside.
#[derive(Default)]
pub(super) struct Contents {
    /// Newest last.
    pub(super) records: Vec<Record>,
    pub(super) free: Vec<OsString>,
    /// Neither; somebody should look.
    pub(super) strange: Vec<PathBuf>,
}

impl Aside {
    /// Opens the place aside of a root, if there is one.
    pub(super) fn open(root: OwnedFd, path: &Path) -> Result<Option<Self>, String> {
        match tree::open_dir(&root, OsStr::new(PLACE_ASIDE)) {
            Ok(fd) => Self::lock(root, path, fd).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(fault(path, PLACE_ASIDE, errno.desc())),
        }
    }

    /// Opens it, making it if need be.
    pub(super) fn make(root: OwnedFd, path: &Path) -> Result<Self, String> {
        match mkdirat(&root, PLACE_ASIDE, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fault(path, PLACE_ASIDE, errno.desc())),
        }
        match Self::open(root, path)? {
            Some(aside) => Ok(aside),
            None => Err(fault(path, PLACE_ASIDE, "vanished")),
        }
    }

    fn lock(root: OwnedFd, path: &Path, fd: OwnedFd) -> Result<Self, String> {
        let stat = fstat(&fd).map_err(|errno| fault(path, PLACE_ASIDE, errno.desc()))?;
        // One that a service's user made could hold anything, a journal that lies for one.
        if stat.st_uid != geteuid().as_raw() {
            return Err(fault(
                path,
                PLACE_ASIDE,
                &format!("belongs to user {}, not to the daemon", stat.st_uid),
            ));
        }
        fchmod(&fd, Mode::S_IRWXU).map_err(|errno| fault(path, PLACE_ASIDE, errno.desc()))?;
        let lock = File::from(fd.try_clone().map_err(|error| fault(path, PLACE_ASIDE, &error.to_string()))?);
        match lock.try_lock() {
            Ok(()) | Err(TryLockError::Error(_)) => {
                Ok(Self { root, path: path.to_path_buf(), fd, lock: Arc::new(lock) })
            }
            Err(TryLockError::WouldBlock) => Err(fault(path, PLACE_ASIDE, "another reset is at work")),
        }
    }

    /// The same place for another rule with the same root.
    pub(super) fn share(&self, root: OwnedFd) -> io::Result<Self> {
        Ok(Self { root, path: self.path.clone(), fd: self.fd.try_clone()?, lock: self.lock.clone() })
    }

    /// Removes a record whose pieces all went back.
    pub(super) fn forget(&self, record: &Record) {
        // What is left of it is found by the next sweep, which forgets it again.
        for name in [DONE, UNDOING, JOURNAL] {
            let _ = unlinkat(&record.dir, name, UnlinkatFlags::NoRemoveDir);
        }
        let _ = unlinkat(&self.fd, record.name.as_os_str(), UnlinkatFlags::RemoveDir);
        let _ = unlinkat(&self.root, PLACE_ASIDE, UnlinkatFlags::RemoveDir);
    }

    /// Begins a reset: its own directory, and the journal in it, both on disk.
    pub(super) fn begin(&self, journal: Journal) -> io::Result<Record> {
        let stamp = format!("{:.4}", journal.made).replace('.', "");
        for number in 0..MAX_TRIES {
            let name = OsString::from(format!("{stamp:0>16}-{number:03}"));
            match mkdirat(&self.fd, name.as_os_str(), Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let dir = tree::open_dir(&self.fd, &name)?;
            write_file(&dir, JOURNAL, journal.write().as_bytes())?;
            fsync(&self.fd)?;
            fsync(&self.root)?;
            return Ok(Record { name, journal, done: false, undoing: false, dir });
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "too many resets at once"))
    }

    /// Everything that is there.
    pub(super) fn contents(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for name in tree::names(&self.fd)? {
            if name.as_encoded_bytes().starts_with(FREE.as_bytes()) {
                contents.free.push(name);
                continue;
            }
            match self.record(&name) {
                Some(record) => contents.records.push(record),
                // A crash between making the directory and writing the journal: nothing was moved.
                None if self.drop_empty(&name) => {}
                None => contents.strange.push(self.path.join(PLACE_ASIDE).join(name)),
            }
        }
        Ok(contents)
    }

    fn record(&self, name: &OsStr) -> Option<Record> {
        let dir = tree::open_dir(&self.fd, name).ok()?;
        let fd = tree::open_here(&dir, OsStr::new(JOURNAL), OFlag::O_RDONLY | OFlag::O_NONBLOCK).ok()?;
        let mut text = String::new();
        File::from(fd).take(journal::MAX_BYTES).read_to_string(&mut text).ok()?;
        let journal = Journal::read(&text)?;
        let done = tree::exists(&dir, OsStr::new(DONE)).ok()?;
        let undoing = tree::exists(&dir, OsStr::new(UNDOING)).ok()?;
        Some(Record { name: name.to_os_string(), journal, done, undoing, dir })
    }

    /// Removes a record's directory that holds nothing but perhaps an unfinished journal.
    fn drop_empty(&self, name: &OsStr) -> bool {
        let Ok(dir) = tree::open_dir(&self.fd, name) else { return false };
        if tree::names(&dir).is_ok_and(|names| names.iter().all(|name| name == JOURNAL)) {
            let _ = unlinkat(&dir, JOURNAL, UnlinkatFlags::NoRemoveDir);
        }
        unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir).is_ok()
    }

    /// Gives a record up: from this instant on it cannot be undone.
    pub(super) fn give_up(&self, record: Record) -> io::Result<OsString> {
        let mut free = OsString::from(FREE);
        free.push(&record.name);
        renameat(&self.fd, record.name.as_os_str(), &self.fd, free.as_os_str())?;
        Ok(free)
    }

    /// Frees what was given up. The lock is not needed for that, and freeing may take long, so it is
    /// let go first.
    pub(super) fn free(self, names: &[OsString], pace: Pace) -> io::Result<()> {
        let Self { root, fd, lock, .. } = self;
        // The lock belongs to the open directory, which `fd` shares: closing one is not enough. While
        // another rule of the same reset holds the place, it stays.
        if let Some(lock) = Arc::into_inner(lock) {
            let _ = lock.unlock();
        }
        for name in names {
            tree::remove(&fd, name, pace)?;
        }
        // Somebody else's reset may be there; then it stays.
        let _ = unlinkat(&root, PLACE_ASIDE, UnlinkatFlags::RemoveDir);
        Ok(())
    }
}

impl Record {
    fn slot(slot: usize) -> OsString {
        OsString::from(slot.to_string())
    }

    /// Moves the piece of this number here.
    pub(super) fn take(&self, root: &OwnedFd, slot: usize) -> io::Result<()> {
        let (parent, name) = self.home(root, slot, false)?;
        Ok(renameat(&parent, name.as_os_str(), &self.dir, Self::slot(slot).as_os_str())?)
    }

    /// Whether the piece of this number is here.
    pub(super) fn holds(&self, slot: usize) -> bool {
        tree::exists(&self.dir, &Self::slot(slot)).unwrap_or(true)
    }

    /// Whether something else is now where the piece belongs. An empty directory is not in the way.
    pub(super) fn blocked(&self, root: &OwnedFd, slot: usize) -> io::Result<bool> {
        let (parent, name) = match self.home(root, slot, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if !tree::exists(&parent, &name)? {
            return Ok(false);
        }
        Ok(tree::open_dir(&parent, &name)
            .and_then(|dir| tree::names(&dir))
            .map_or(true, |names| !names.is_empty()))
    }

    /// Moves the piece of this number back. What is in the way must have been moved before.
    pub(super) fn give_back(&self, root: &OwnedFd, slot: usize) -> io::Result<()> {
        let (parent, name) = self.home(root, slot, true)?;
        match unlinkat(&parent, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        renameat(&self.dir, Self::slot(slot).as_os_str(), &parent, name.as_os_str())?;
        Ok(())
    }

    /// The directory a piece belongs into, and its name there.
    fn home(&self, root: &OwnedFd, slot: usize, make: bool) -> io::Result<(OwnedFd, OsString)> {
        let parts = self.journal.moves.get(slot).and_then(|parts| parts.split_last());
        let Some((name, parents)) = parts else { return Err(Errno::ENOENT.into()) };
        let mut dir = root.try_clone()?;
        if make {
            dir = tree::ensure(root, parents, |_| None)?;
        } else {
            for parent in parents {
                dir = tree::open_dir(&dir, parent)?;
            }
        }
        Ok((dir, name.clone()))
    }

    /// What the piece of this number amounts to.
    pub(super) fn measure(&self, slot: usize) -> Measure {
        tree::measure(&self.dir, &Self::slot(slot), &mut Vec::new(), &mut |_, _| {})
    }

    /// Where the piece of this number is.
    pub(super) fn path(&self, aside: &Aside, slot: usize) -> PathBuf {
        aside.path.join(PLACE_ASIDE).join(&self.name).join(Self::slot(slot))
    }

    /// Everything is here: from now on a crash does not bring it back.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        write_file(&self.dir, DONE, b"")?;
        self.done = true;
        Ok(())
    }

    /// From now on a crash does not make anybody forget that this one is being brought back.
    pub(super) fn begin_undo(&mut self) -> io::Result<()> {
        if !self.undoing {
            write_file(&self.dir, UNDOING, b"")?;
            self.undoing = true;
        }
        Ok(())
    }
}

fn fault(path: &Path, name: &str, reason: &str) -> String {
    format!("{:?}: {}", path.join(name), reason.to_lowercase())
}

/// A small file, and the directory that names it, on disk.
fn write_file(dir: &OwnedFd, name: &str, content: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    file.write_all(content)?;
    file.sync_all()?;
    Ok(fsync(dir)?)
}

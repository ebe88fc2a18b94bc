//! Replaces files, all or none: a copy beside each, on disk, and then one rename after the other.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fsync, unlinkat};

use super::target::Target;
use super::{Problem, reason};

/// What a copy's name ends with; it begins with a dot, so that services which read a whole directory
/// of configuration files pass it by.
const COPY: &str = ".circus-new";

/// A copy that is removed again unless it took the target's place.
struct Copy<'t> {
    dir: &'t OwnedFd,
    name: OsString,
    pending: bool,
}

/// Replaces every target's content by its rendered text.
pub(super) fn replace(targets: &[Target]) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    let mut locks = HashMap::new();
    let mut copies = Vec::new();
    for target in targets {
        let copy = lock(target, &mut locks).and_then(|()| {
            Copy::write(target, target.file.content.as_bytes()).map_err(|error| reason(&error))
        });
        match copy {
            Ok(copy) => copies.push(copy),
            Err(text) => problems.push(target.problem(text)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for (index, (target, copy)) in targets.iter().zip(&mut copies).enumerate() {
        if let Err(error) = copy.take_place(&target.name) {
            let mut problems = vec![target.problem(reason(&error))];
            let replaced = index + usize::from(!copy.pending);
            problems.extend(targets.iter().take(replaced).filter_map(put_back));
            return Err(problems);
        }
    }
    Ok(())
}

/// Two daemons must not write copies of the same name at once. A file system without locks has to do
/// without.
fn lock(target: &Target, locks: &mut HashMap<(u64, u64), File>) -> Result<(), String> {
    let file = File::from(target.dir.try_clone().map_err(|error| reason(&error))?);
    let meta = file.metadata().map_err(|error| reason(&error))?;
    let key = (meta.dev(), meta.ino());
    if locks.contains_key(&key) {
        return Ok(());
    }
    match file.try_lock() {
        Ok(()) | Err(TryLockError::Error(_)) => {
            locks.insert(key, file);
            Ok(())
        }
        Err(TryLockError::WouldBlock) => Err("another configure is at work in its directory".into()),
    }
}

/// After a later file failed: the old content again, or no file where there was none.
fn put_back(target: &Target) -> Option<Problem> {
    let done = match &target.old {
        Some(old) => Copy::write(target, &old.content).and_then(|mut copy| copy.take_place(&target.name)),
        None => unlinkat(&target.dir, target.name.as_os_str(), UnlinkatFlags::NoRemoveDir)
            .map_err(io::Error::from),
    };
    let path = target.file.path.clone();
    done.err().map(|error| Problem::NotPutBack { path, reason: reason(&error) })
}

impl<'t> Copy<'t> {
    fn write(target: &'t Target, content: &[u8]) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(&target.name);
        name.push(COPY);
        // One that a crash left behind. The lock says that nobody works on it.
        remove(&target.dir, &name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&target.dir, name.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let copy = Self { dir: &target.dir, name, pending: true };
        let mut file = File::from(fd);
        file.write_all(content)?;
        own(&file, target.uid, target.gid)?;
        fchmod(&file, target.mode)?;
        file.sync_all()?;
        Ok(copy)
    }

    /// From here on the target's name means the new content.
    fn take_place(&mut self, name: &OsStr) -> io::Result<()> {
        renameat(self.dir, self.name.as_os_str(), self.dir, name)?;
        self.pending = false;
        match fsync(self.dir) {
            // A directory that may not be listed cannot be synced; the rename is done nevertheless.
            Ok(()) | Err(Errno::EBADF | Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Copy<'_> {
    fn drop(&mut self) {
        if self.pending {
            // Nobody could be told more than the error that led here; the next run removes it.
            let _ = remove(self.dir, &self.name);
        }
    }
}

/// Gives a file its owner, unless it has it already: only root may give files away.
fn own(file: &File, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
    let meta = file.metadata()?;
    let uid = uid.filter(|uid| uid.as_raw() != meta.uid());
    let gid = gid.filter(|gid| gid.as_raw() != meta.gid());
    if uid.is_some() || gid.is_some() {
        fchown(file, uid, gid)?;
    }
    Ok(())
}

fn remove(dir: impl AsFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

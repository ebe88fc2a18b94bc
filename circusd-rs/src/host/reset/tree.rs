//! Directory trees by open directories: nothing here takes a path, so nothing here can be led astray
//! by a component that is swapped for a link. No link is followed and no mount is entered.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::super::walk::is;

/// How deep a tree may be. Each level costs one descriptor; real data has some ten levels.
pub(super) const MAX_DEPTH: usize = 200;

/// After how many removals a gentle removal pauses, and for how long, so that a service which starts
/// meanwhile has the disk to itself most of the time.
const PACE_ENTRIES: u32 = 64;
const PACE_PAUSE: Duration = Duration::from_millis(5);

/// How a tree is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once: somebody waits.
    Fast,
    /// With pauses: nobody waits.
    Gentle,
}

/// What a tree amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Measure {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) modified: f64,
}

/// Owner and permission bits, to make a directory again as it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Likeness {
    uid: Uid,
    gid: Gid,
    mode: Mode,
}

impl Likeness {
    pub(super) fn of(stat: &FileStat) -> Self {
        let mode = Mode::from_bits_truncate(stat.st_mode);
        Self { uid: Uid::from_raw(stat.st_uid), gid: Gid::from_raw(stat.st_gid), mode }
    }
}

/// Opens what `name` itself is, which must be on the same mount. `EXDEV` when it is not, `ELOOP` for
/// a link unless `O_PATH` is asked for.
pub(super) fn open_here(dir: impl AsFd, name: &OsStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    match openat2(&dir, name, OpenHow::new().flags(flags).resolve(resolve)) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EINVAL) => {
            let fd = openat(&dir, name, flags, Mode::empty())?;
            if fstat(&fd)?.st_dev == fstat(&dir)?.st_dev { Ok(fd) } else { Err(Errno::EXDEV) }
        }
        other => other,
    }
}

/// Opens a directory for reading.
pub(super) fn open_dir(dir: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    open_here(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK)
}

/// What `name` itself is; `EXDEV` when something else is mounted there.
pub(super) fn peek(dir: impl AsFd, name: &OsStr) -> Result<FileStat, Errno> {
    fstat(open_here(dir, name, OFlag::O_PATH)?)
}

/// Whether there is anything of this name.
pub(super) fn exists(dir: impl AsFd, name: &OsStr) -> Result<bool, Errno> {
    match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The names in a directory, sorted by their bytes.
pub(super) fn names(dir: impl AsFd) -> Result<Vec<OsString>, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::openat(dir, ".", flags, Mode::empty())?.iter() {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_os_string();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Measures what `name` is, with everything below. What vanishes meanwhile counts for nothing: a
/// database that is only looked at goes on working. `fault` gets what cannot be looked into or must
/// not be touched, with the names that lead there.
pub(super) fn measure(
    dir: &OwnedFd,
    name: &OsStr,
    trail: &mut Vec<OsString>,
    fault: &mut impl FnMut(&[OsString], Errno),
) -> Measure {
    trail.push(name.to_os_string());
    let mut sum = Measure::default();
    match peek(dir, name) {
        Ok(stat) => {
            sum.entries = 1;
            sum.modified = modified(&stat);
            if is(&stat, SFlag::S_IFREG) {
                sum.bytes = u64::try_from(stat.st_size).unwrap_or(0);
            }
            if is(&stat, SFlag::S_IFDIR) {
                measure_below(dir, name, trail, fault, &mut sum);
            }
        }
        Err(Errno::ENOENT) => {}
        Err(errno) => fault(trail, errno),
    }
    trail.pop();
    sum
}

fn measure_below(
    dir: &OwnedFd,
    name: &OsStr,
    trail: &mut Vec<OsString>,
    fault: &mut impl FnMut(&[OsString], Errno),
    sum: &mut Measure,
) {
    if trail.len() > MAX_DEPTH {
        return fault(trail, Errno::ENAMETOOLONG);
    }
    let below = match open_dir(dir, name).and_then(|inner| names(&inner).map(|names| (inner, names))) {
        Ok(below) => below,
        Err(Errno::ENOENT) => return,
        Err(errno) => return fault(trail, errno),
    };
    for child in below.1 {
        let part = measure(&below.0, &child, trail, fault);
        sum.bytes = sum.bytes.saturating_add(part.bytes);
        sum.entries = sum.entries.saturating_add(part.entries);
        sum.modified = sum.modified.max(part.modified);
    }
}

pub(super) fn modified(stat: &FileStat) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "seconds and nanoseconds are far below 2^52")]
    let seconds = stat.st_mtime as f64 + stat.st_mtime_nsec as f64 / 1e9;
    seconds
}

/// Removes what `name` is, with everything below. What has vanished meanwhile is no fault.
pub(super) fn remove(dir: &OwnedFd, name: &OsStr, pace: Pace) -> io::Result<()> {
    let mut removed = 0;
    remove_below(dir, name, pace, &mut removed, 0)
}

fn remove_below(dir: &OwnedFd, name: &OsStr, pace: Pace, removed: &mut u32, depth: usize) -> io::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => {
            pause(pace, removed);
            return Ok(());
        }
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    if depth > MAX_DEPTH {
        return Err(Errno::ENAMETOOLONG.into());
    }
    let inner = open_dir(dir, name)?;
    for child in names(&inner)? {
        remove_below(&inner, &child, pace, removed, depth + 1)?;
    }
    match unlinkat(dir, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pause is what makes the removal gentle; it runs on a blocking thread"
)]
fn pause(pace: Pace, removed: &mut u32) {
    *removed += 1;
    if pace == Pace::Gentle && removed.is_multiple_of(PACE_ENTRIES) {
        std::thread::sleep(PACE_PAUSE);
    }
}

/// Opens the directory that these names lead to, making those that are missing: like they were before,
/// or like the directory they are in.
pub(super) fn ensure(
    root: &OwnedFd,
    parts: &[OsString],
    before: impl Fn(&[OsString]) -> Option<Likeness>,
) -> Result<OwnedFd, Errno> {
    let mut dir = root.try_clone().map_err(|_| Errno::EMFILE)?;
    for (index, name) in parts.iter().enumerate() {
        let next = match open_dir(&dir, name) {
            Err(Errno::ENOENT) => {
                let outer = Likeness::of(&fstat(&dir)?);
                let like = parts.get(..=index).and_then(&before).unwrap_or(outer);
                make(&dir, name, like)?
            }
            other => other?,
        };
        dir = next;
    }
    Ok(dir)
}

fn make(dir: &OwnedFd, name: &OsStr, like: Likeness) -> Result<OwnedFd, Errno> {
    mkdirat(dir, name, Mode::S_IRWXU)?;
    let made = open_dir(dir, name)?;
    let stat = fstat(&made)?;
    let uid = (stat.st_uid != like.uid.as_raw()).then_some(like.uid);
    let gid = (stat.st_gid != like.gid.as_raw()).then_some(like.gid);
    if uid.is_some() || gid.is_some() {
        fchown(&made, uid, gid)?;
    }
    fchmod(&made, like.mode)?;
    Ok(made)
}

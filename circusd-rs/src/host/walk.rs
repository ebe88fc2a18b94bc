//! Walks a path one component at a time, on open directories, so that nobody can swap one for a link
//! between looking and acting.
//!
//! A link on the way is followed only if whoever made it gains nothing by it: it belongs to root, to
//! the daemon's own user, or to the owner of what it leads to. Otherwise a service's user could put a
//! link into a directory of its own and have a daemon that runs as root write wherever it leads.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::geteuid;

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// Where a path leads.
pub(super) struct Found {
    /// The directory that holds the last component.
    pub(super) dir: OwnedFd,
    /// The last component; no link, unless it vanished meanwhile.
    pub(super) name: OsString,
    /// The whole path without links.
    pub(super) real: PathBuf,
    /// What is there.
    pub(super) stat: Option<FileStat>,
}

/// Why a path leads nowhere, or nowhere good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WalkError {
    #[error("{0:?} does not exist")]
    Missing(PathBuf),
    #[error("{0:?} is not a directory")]
    NotDirectory(PathBuf),
    #[error("{0:?} leads through more than {MAX_LINKS} links")]
    TooManyLinks(PathBuf),
    #[error("the link {link:?} belongs to user {owner}, who does not own what it leads to")]
    Link { link: PathBuf, owner: u32 },
    #[error("{path:?}: {errno}")]
    Os { path: PathBuf, errno: Errno },
}

struct Walker {
    /// Every directory from `/` on, with its name.
    trail: Vec<(OsString, OwnedFd)>,
    ahead: VecDeque<OsString>,
    /// Links that only the owner of the end may have made.
    doubtful: Vec<(PathBuf, u32)>,
    links: usize,
}

/// Finds a file that need not exist, in a directory that must.
pub(super) fn find(path: &Path) -> Result<Found, WalkError> {
    let mut walker = Walker { trail: vec![slash()?], ahead: parts(path), doubtful: Vec::new(), links: 0 };
    let mut end = None;
    while let Some(name) = walker.ahead.pop_front() {
        end = walker.step(name, path)?;
    }
    let found = match end {
        Some(found) => found,
        None => walker.directory(path)?,
    };
    // What does not exist yet will belong to whom the directory belongs to.
    let owner = match &found.stat {
        Some(stat) => stat.st_uid,
        None => fstat(&found.dir).map_err(|errno| os(&found.real, errno))?.st_uid,
    };
    match walker.doubtful.into_iter().find(|(_, link)| *link != owner) {
        Some((link, owner)) => Err(WalkError::Link { link, owner }),
        None => Ok(found),
    }
}

/// Finds a directory and opens it for reading, by the same rules.
pub(super) fn find_directory(path: &Path) -> Result<(OwnedFd, PathBuf), WalkError> {
    let found = find(path)?;
    match &found.stat {
        None => Err(WalkError::Missing(path.to_path_buf())),
        Some(stat) if !is(stat, SFlag::S_IFDIR) => Err(WalkError::NotDirectory(path.to_path_buf())),
        Some(_) => {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let dir = openat(&found.dir, found.name.as_os_str(), flags, Mode::empty());
            Ok((dir.map_err(|errno| os(path, errno))?, found.real))
        }
    }
}

/// Whether something is of this type.
pub(super) fn is(stat: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == kind
}

fn slash() -> Result<(OsString, OwnedFd), WalkError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = open("/", flags, Mode::empty()).map_err(|errno| os(Path::new("/"), errno))?;
    Ok((OsString::from("/"), fd))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

fn os(path: &Path, errno: Errno) -> WalkError {
    WalkError::Os { path: path.to_path_buf(), errno }
}

impl Walker {
    fn here(&self) -> PathBuf {
        self.trail.iter().map(|(name, _)| name).collect()
    }

    /// Takes one component. Something that is no directory, or nothing, is the end.
    fn step(&mut self, name: OsString, whole: &Path) -> Result<Option<Found>, WalkError> {
        if name == ".." {
            if self.trail.len() > 1 {
                self.trail.pop();
            }
            return Ok(None);
        }
        let real = self.here().join(&name);
        let Some((_, dir)) = self.trail.last() else { return Err(WalkError::Missing(whole.to_path_buf())) };
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = match openat(dir, name.as_os_str(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) if self.ahead.is_empty() => return self.end(name, None).map(Some),
            Err(Errno::ENOENT) => return Err(WalkError::Missing(real)),
            Err(errno) => return Err(os(&real, errno)),
        };
        let stat = fstat(&fd).map_err(|errno| os(&real, errno))?;
        if is(&stat, SFlag::S_IFLNK) {
            self.follow(&fd, &stat, real, whole)?;
            return Ok(None);
        }
        if is(&stat, SFlag::S_IFDIR) {
            self.trail.push((name, fd));
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.end(name, Some(stat)).map(Some)
        } else {
            Err(WalkError::NotDirectory(real))
        }
    }

    fn follow(
        &mut self,
        fd: &OwnedFd,
        stat: &FileStat,
        link: PathBuf,
        whole: &Path,
    ) -> Result<(), WalkError> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(WalkError::TooManyLinks(whole.to_path_buf()));
        }
        let target = readlinkat(fd, "").map_err(|errno| os(&link, errno))?;
        let target = Path::new(&target);
        if target.as_os_str().is_empty() {
            return Err(WalkError::Missing(link));
        }
        if stat.st_uid != 0 && stat.st_uid != geteuid().as_raw() {
            self.doubtful.push((link, stat.st_uid));
        }
        if target.is_absolute() {
            self.trail.truncate(1);
        }
        for part in parts(target).into_iter().rev() {
            self.ahead.push_front(part);
        }
        Ok(())
    }

    fn end(&mut self, name: OsString, stat: Option<FileStat>) -> Result<Found, WalkError> {
        let directory = self.here();
        let real = directory.join(&name);
        match self.trail.pop() {
            Some((_, dir)) => Ok(Found { dir: readable(&dir, &directory)?, name, real, stat }),
            None => Err(WalkError::Missing(real)),
        }
    }

    /// The path ended at a directory: the last of the trail, found in the one before.
    fn directory(&mut self, whole: &Path) -> Result<Found, WalkError> {
        let Some((name, fd)) = self.trail.pop() else { return Err(WalkError::Missing(whole.to_path_buf())) };
        let stat = fstat(&fd).map_err(|errno| os(whole, errno))?;
        if self.trail.is_empty() {
            let dir = readable(&fd, Path::new("/"))?;
            return Ok(Found { dir, name: OsString::from("."), real: PathBuf::from("/"), stat: Some(stat) });
        }
        self.end(name, Some(stat))
    }
}

/// The same directory, opened such that it can be locked and synced.
fn readable(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, WalkError> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match openat(dir, ".", flags, Mode::empty()) {
        // A directory that may be passed but not listed still serves for opening what is in it.
        Err(Errno::EACCES) => openat(dir, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()),
        other => other,
    }
    .map_err(|errno| os(path, errno))
}

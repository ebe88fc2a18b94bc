//! One file that shall have a certain content: where it really is, and what is there now.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use circus_protocol::service::{Owner, RenderedFile};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, faccessat};
use similar::TextDiff;

use super::super::walk::{self, Found};
use super::{Problem, read_regular, reason};

/// How long a diff is looked for before a coarser one has to do.
const DIFF_PATIENCE: Duration = Duration::from_secs(2);

/// The longest diff that is shown, in bytes; it travels in a reply.
const MAX_DIFF: usize = 256 * 1024;

pub(super) struct Target {
    pub(super) file: RenderedFile,
    /// The directory it is in, links followed.
    pub(super) dir: OwnedFd,
    pub(super) name: OsString,
    real: PathBuf,
    /// What is there now.
    pub(super) old: Option<Old>,
    /// What the file will have: its own, or the section's if it is new.
    pub(super) mode: Mode,
    pub(super) uid: Option<Uid>,
    pub(super) gid: Option<Gid>,
}

pub(super) struct Old {
    pub(super) content: Vec<u8>,
    /// Unix time of its last change.
    modified: f64,
}

impl Target {
    /// Looks at what is there. `others` are those already looked at, because two names may lead to
    /// one file.
    pub(super) fn look(file: RenderedFile, others: &[Self]) -> Result<Self, Problem> {
        let found = walk::find(&file.path).map_err(|error| problem(&file, error.to_string()))?;
        if let Some(other) = others.iter().find(|other| other.real == found.real) {
            let (service, label) = (&other.file.service, &other.file.label);
            return Err(problem(&file, format!("it is the same file as the target of {service}:{label}")));
        }
        match &found.stat {
            None => Self::new(file, found),
            Some(stat) if walk::is(stat, SFlag::S_IFREG) => {
                let (mode, uid, gid) = (stat.st_mode, stat.st_uid, stat.st_gid);
                let modified = unix_time(stat);
                let content = read(&found).map_err(|text| problem(&file, text))?;
                Ok(Self {
                    old: Some(Old { content, modified }),
                    mode: Mode::from_bits_truncate(mode),
                    uid: Some(Uid::from_raw(uid)),
                    gid: Some(Gid::from_raw(gid)),
                    dir: found.dir,
                    name: found.name,
                    real: found.real,
                    file,
                })
            }
            Some(_) => Err(problem(&file, "it is not a regular file".into())),
        }
    }

    fn new(file: RenderedFile, found: Found) -> Result<Self, Problem> {
        let (uid, gid) = match &file.owner {
            None => (None, None),
            Some(owner) => resolve(owner).map_err(|text| problem(&file, text))?,
        };
        let mode = Mode::from_bits_truncate(file.mode);
        Ok(Self { old: None, mode, uid, gid, dir: found.dir, name: found.name, real: found.real, file })
    }

    pub(super) fn changed(&self) -> bool {
        self.old.as_ref().is_none_or(|old| old.content != self.file.content.as_bytes())
    }

    /// Whether what is there was put there after this moment.
    pub(super) fn is_newer(&self, than: f64) -> bool {
        self.old.as_ref().is_some_and(|old| old.modified > than)
    }

    /// For a dry run, which writes no copy to find out.
    pub(super) fn check_writable(&self) -> Option<Problem> {
        let access = AccessFlags::W_OK | AccessFlags::X_OK;
        match faccessat(&self.dir, ".", access, AtFlags::AT_EACCESS) {
            Err(errno) if self.changed() => {
                Some(self.problem(format!("its directory: {}", errno.desc().to_lowercase())))
            }
            Ok(()) | Err(_) => None,
        }
    }

    pub(super) fn diff(&self) -> String {
        let old = self.old.as_ref().map(|old| String::from_utf8_lossy(&old.content)).unwrap_or_default();
        let before =
            if self.old.is_some() { self.file.path.display().to_string() } else { "/dev/null".into() };
        let after = self.file.path.display().to_string();
        let diff = TextDiff::configure().timeout(DIFF_PATIENCE).diff_lines(old.as_ref(), &self.file.content);
        let mut text = diff.unified_diff().context_radius(3).header(&before, &after).to_string();
        if text.len() > MAX_DIFF {
            let cut = (0..=MAX_DIFF).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let left = text.len() - cut;
            text.truncate(cut);
            text.push_str(&format!("\n({left} more bytes of difference)\n"));
        }
        text
    }

    pub(super) fn problem(&self, reason: String) -> Problem {
        problem(&self.file, reason)
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of this and the next centuries fit")]
fn unix_time(stat: &FileStat) -> f64 {
    stat.st_mtime as f64 + stat.st_mtime_nsec as f64 / 1e9
}

fn problem(file: &RenderedFile, reason: String) -> Problem {
    let (service, label, path) = (file.service.clone(), file.label.clone(), file.path.clone());
    Problem::Target { service, label, path, reason }
}

fn read(found: &Found) -> Result<Vec<u8>, String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = openat(&found.dir, found.name.as_os_str(), flags, Mode::empty());
    let fd =
        fd.map_err(|errno: Errno| format!("what is there cannot be read: {}", errno.desc().to_lowercase()))?;
    read_regular(File::from(fd)).map_err(|error| format!("what is there cannot be read: {}", reason(&error)))
}

/// Names or numbers → numbers. A user without a group brings its own.
fn resolve(owner: &Owner) -> Result<(Option<Uid>, Option<Gid>), String> {
    let user = match owner.user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)).ok().flatten(),
        Err(_) => User::from_name(&owner.user).ok().flatten(),
    };
    let number = owner.user.parse().ok().map(Uid::from_raw);
    let uid = user.as_ref().map(|user| user.uid).or(number);
    let uid = uid.ok_or_else(|| format!("there is no user {:?}", owner.user))?;
    let gid = match &owner.group {
        None => user.map(|user| user.gid),
        Some(name) => {
            let by_name = || Group::from_name(name).ok().flatten().map(|group| group.gid);
            let gid = name.parse().ok().map(Gid::from_raw).or_else(by_name);
            Some(gid.ok_or_else(|| format!("there is no group {name:?}"))?)
        }
    };
    Ok((Some(uid), gid))
}

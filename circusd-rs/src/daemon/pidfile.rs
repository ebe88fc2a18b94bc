//! The pid file: one daemon for one file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A longer file holds no process number.
const MAX_BYTES: u64 = 64;

/// Why there is no pid file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidfileError {
    /// Another daemon lives.
    #[error("pid file '{path}' is held by process {pid}, which lives; own pid {own}")]
    Held { path: PathBuf, pid: i32, own: u32 },
    /// There is no such directory.
    #[error("{0} doesn't exist. Can't create pidfile")]
    NoDirectory(PathBuf),
    /// The system refused.
    #[error("cannot write pid file '{path}': {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// A pid file that is ours; removed when dropped, unless somebody else wrote it meanwhile.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
}

/// Whether a file could be ours: no process that lives has it. Dead numbers and junk are overwritten.
pub(super) fn check(path: &Path) -> Result<(), PidfileError> {
    let own = std::process::id();
    if let Some(pid) = read(path).filter(|pid| u32::try_from(*pid) != Ok(own) && alive(*pid)) {
        return Err(PidfileError::Held { path: path.to_owned(), pid, own });
    }
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir()) {
        Some(parent) => Err(PidfileError::NoDirectory(parent.to_owned())),
        None => Ok(()),
    }
}

impl Pidfile {
    /// Writes our number.
    pub(super) fn write(path: &Path) -> Result<Self, PidfileError> {
        check(path)?;
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(path)?;
            file.write_all(format!("{}\n", std::process::id()).as_bytes())
        })();
        written.map_err(|source| PidfileError::Io { path: path.to_owned(), source })?;
        // The process may be somewhere else when the file is to be removed.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { path })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if read(&self.path).and_then(|pid| u32::try_from(pid).ok()) == Some(std::process::id())
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the pid file could not be removed");
        }
    }
}

fn read(path: &Path) -> Option<i32> {
    if fs::metadata(path).ok()?.len() > MAX_BYTES {
        return None;
    }
    fs::read_to_string(path).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
}

/// A process of somebody else counts, too.
fn alive(pid: i32) -> bool {
    !matches!(kill(Pid::from_raw(pid), None), Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_keeps_its_file_and_junk_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let parent = std::os::unix::process::parent_id();
        fs::write(&path, format!("{parent}\n")).unwrap();
        assert!(matches!(Pidfile::write(&path), Err(PidfileError::Held { pid, .. }) if pid as u32 == parent));
        for junk in ["", "junk", "-5", "0", "99999999999"] {
            fs::write(&path, junk).unwrap();
            let file = Pidfile::write(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()), "{junk:?}");
            drop(file);
            assert!(!path.exists());
        }
    }

    #[test]
    fn somebody_elses_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = Pidfile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists());
        let gone = Pidfile::write(&directory.path().join("no/pid")).unwrap_err();
        assert!(gone.to_string().ends_with("no doesn't exist. Can't create pidfile"), "{gone}");
    }
}

//! What comes before the first process of a watcher: files that a dead predecessor left behind go, and
//! log files are marked.
//!
//! A file is removed by its name in its directory, never what a link leads to, never a directory, and
//! never below the system's own trees, wherever the path leads.

use std::path::Path;
use std::sync::Arc;

use circus_protocol::service::check_root;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::log::Book;
use crate::arbiter::question::Preparation;
use crate::host::walk::{WalkError, find_directory, is};

/// Does it all; what cannot be done is said and forgiven, because the start will tell.
pub(super) async fn prepare(watcher: &str, preparation: Arc<Preparation>, book: &Book) {
    if !preparation.logs.is_empty() {
        book.mark(preparation.logs.clone()).await;
    }
    if preparation.remove.is_empty() {
        return;
    }
    let watcher = watcher.to_owned();
    let removal = tokio::task::spawn_blocking(move || {
        for path in &preparation.remove {
            match remove(path) {
                Ok(true) => tracing::info!("{watcher}: removed {} before its start", path.display()),
                Ok(false) => {}
                Err(reason) => {
                    tracing::warn!("{watcher}: cannot remove {} before its start: {reason}", path.display());
                }
            }
        }
    });
    if let Err(error) = removal.await {
        tracing::error!(%error, "bug: removing files before a start failed");
    }
}

/// True when there was something.
fn remove(path: &Path) -> Result<bool, String> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("it names no file".to_owned());
    };
    let (dir, real) = match find_directory(parent) {
        Ok(found) => found,
        Err(WalkError::Missing(_)) => return Ok(false),
        Err(error) => return Err(error.to_string()),
    };
    check_root(&real.join(name)).map_err(|refusal| refusal.to_string())?;
    let stat = match fstatat(&dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(false),
        Err(errno) => return Err(errno.to_string()),
    };
    if is(&stat, SFlag::S_IFDIR) {
        return Err("it is a directory".to_owned());
    }
    match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_one_name_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("a.pid"), "1").unwrap();
        assert_eq!(remove(&at("a.pid")), Ok(true));
        assert_eq!(remove(&at("a.pid")), Ok(false));
        assert_eq!(remove(&at("none/a.pid")), Ok(false));
        std::fs::write(at("real"), "1").unwrap();
        std::os::unix::fs::symlink(at("real"), at("link.pid")).unwrap();
        assert_eq!(remove(&at("link.pid")), Ok(true));
        assert!(at("real").exists(), "what a link leads to stays");
        std::fs::create_dir(at("dir")).unwrap();
        assert_eq!(remove(&at("dir")), Err("it is a directory".to_owned()));
        std::os::unix::fs::symlink("/etc", at("etc")).unwrap();
        assert!(remove(&at("etc/passwd")).unwrap_err().contains("system"), "a link out");
    }
}

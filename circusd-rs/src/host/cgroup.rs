//! A cgroup (v2) for each process of ours, where the daemon may make one.
//!
//! ```text
//!  the daemon's own cgroup ── circusd-rs.PID ─┬─ KEY   cgroup.procs, cgroup.events, cgroup.kill
//!                                             └─ KEY   memory.events, if the parent hands memory down
//! ```
//!
//! Only below the cgroup that the daemon is in, so that limits of an outer manager keep counting and
//! nobody else's groups are touched. Nothing is moved: processes are born inside. Where any of this is
//! refused (no v2, no right, an old kernel), a process simply has none, and its tree is found by
//! [`mark`](super::mark) and parentage.
//!
//! It refuses to know what a process is for.

mod memory;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::arbiter::id::Key;
use crate::arbiter::input::MemoryGroup;
pub(crate) use memory::Counted;

/// What our folders are called, with the daemon's number behind.
const PREFIX: &str = "circusd-rs.";

/// How deep we follow what a process has made in its own cgroup.
const DEEPEST: usize = 8;

/// Why there are no cgroups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The configuration says `cgroups = False`.
    #[error("the configuration wants none")]
    Unwanted,
    /// Nothing of the kind is mounted, or the daemon is in none that can be seen.
    #[error("cgroup v2 is not mounted here")]
    None,
    /// The kernel is older than 5.14.
    #[error("{0:?} has no cgroup.kill")]
    NoKill(PathBuf),
    /// The daemon may not.
    #[error("{path:?} cannot be made: {source}")]
    Refused {
        /// Which folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The folder with a cgroup for each process.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
    /// `base` as `/proc/PID/cgroup` shows it.
    shown: String,
}

impl Cgroups {
    /// Make the folder, and clear away those of daemons that are no more.
    ///
    /// # Errors
    ///
    /// When there is no cgroup v2, or the daemon may not make any.
    pub fn open() -> Result<Self, CgroupError> {
        let me = std::process::id();
        let (mount, root) = fs::read_to_string("/proc/self/mountinfo")
            .ok()
            .and_then(|text| text.lines().find_map(mounted))
            .ok_or(CgroupError::None)?;
        let shown = own_path("self").ok_or(CgroupError::None)?;
        let inside = shown.strip_prefix(root.trim_end_matches('/')).ok_or(CgroupError::None)?;
        let own = mount.join(inside.trim_start_matches('/'));
        clear(&own);
        let base = own.join(format!("{PREFIX}{me}"));
        let shown = format!("{}/{PREFIX}{me}", shown.trim_end_matches('/'));
        // A daemon of our number has been here before.
        Cgroup { path: base.clone() }.remove();
        let cgroups = Self { base, shown };
        cgroups.make_base().map_err(|source| CgroupError::Refused { path: cgroups.base.clone(), source })?;
        if !cgroups.base.join("cgroup.kill").exists() {
            cgroups.folder().leave();
            return Err(CgroupError::NoKill(cgroups.base));
        }
        Ok(cgroups)
    }

    fn make_base(&self) -> io::Result<()> {
        match fs::create_dir(&self.base) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Figures of memory for each process: only where our parent hands the controller down.
        let _not_ours_to_give = write(&self.base.join("cgroup.subtree_control"), "+memory");
        Ok(())
    }

    /// A cgroup for a process to be born into, and its descriptor.
    pub(crate) fn make(&self, key: Key) -> io::Result<(Cgroup, OwnedFd)> {
        let path = self.base.join(key.0.to_string());
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody has tidied up.
                self.make_base()?;
                fs::create_dir(&path)?;
            }
            made => made?,
        }
        let cgroup = Cgroup { path };
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(&cgroup.path);
        match folder {
            Ok(folder) => Ok((cgroup, folder.into())),
            Err(error) => {
                cgroup.remove();
                Err(error)
            }
        }
    }

    /// Whose cgroup a process is in.
    pub(crate) fn owner(&self, pid: i32) -> Option<Key> {
        let shown = own_path(&pid.to_string())?;
        let below = shown.strip_prefix(self.shown.as_str())?.strip_prefix('/')?;
        below.split('/').next()?.parse().ok().map(Key)
    }

    /// For whoever outlives the warden.
    pub(crate) fn folder(&self) -> Folder {
        Folder(self.base.clone())
    }
}

/// What is left of the cgroups when the daemon ends.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// It goes; the kernel keeps whatever has somebody in it.
    pub(crate) fn leave(&self) {
        Cgroup { path: self.0.clone() }.remove();
    }
}

/// The cgroup of one process and its descendants.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// End everybody in it; whoever is being forked meanwhile, too.
    pub(crate) fn kill(&self) -> io::Result<()> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// Whether anybody in it has not ended.
    pub(crate) fn is_populated(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| figure(&events, "populated") == Some(1))
    }

    /// Everybody in it.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mut found = Vec::new();
        each(&self.path, DEEPEST, &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        });
        found
    }

    /// What was counted in it; `None` when nobody counts.
    pub(crate) fn memory(&self) -> Option<MemoryGroup> {
        let mount = mount()?;
        Counted::of(&self.path, &mount)?.since(0)
    }

    /// It goes, with what its processes have made in it.
    pub(crate) fn remove(&self) {
        let mut folders = Vec::new();
        each(&self.path, DEEPEST, &mut |folder| folders.push(folder.to_owned()));
        for folder in folders.iter().rev() {
            if let Err(error) = fs::remove_dir(folder) {
                tracing::debug!(?folder, %error, "a cgroup stays");
            }
        }
    }
}

/// Parents before children.
fn each(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path)) {
    visit(folder);
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each(&entry.path(), depth - 1, visit);
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}

/// How many processes of the whole machine were ended for want of memory since it was started.
pub(crate) fn machine_oom_kills() -> Option<u64> {
    figure(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill")
}

/// From lines of a name and a number.
fn figure(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Where cgroup v2 is mounted and which of its folders is the top there, from a line of `mountinfo`.
fn mounted(line: &str) -> Option<(PathBuf, String)> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    (after.split(' ').next()? == "cgroup2").then(|| (PathBuf::from(unescape(mount)), unescape(root)))
}

/// Blanks are octal there.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

/// Where version 2 is mounted.
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(mounted).map(|(mount, _)| mount)
}

/// The v2 line of `/proc/PID/cgroup`.
fn own_path(pid: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// Folders of daemons that are no more go; the kernel keeps those with somebody in them.
fn clear(own: &Path) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            Cgroup { path: entry.path() }.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_among_others() {
        let line = |kind: &str| {
            format!("36 25 0:31 / /sys/fs/cgroup/my\\040unified rw,relatime shared:9 - {kind} {kind} rw")
        };
        assert_eq!(mounted(&line("cgroup")), None);
        assert_eq!(mounted(&line("cgroup2")), Some(("/sys/fs/cgroup/my unified".into(), "/".to_owned())));
        assert_eq!(mounted("nonsense"), None);
    }

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(figure(events, "oom_kill"), Some(2));
        assert_eq!(figure(events, "oom"), Some(3));
        assert_eq!(figure(events, "max"), None);
    }
}

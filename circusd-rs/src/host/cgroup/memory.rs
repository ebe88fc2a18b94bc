//! Whose memory is counted, how much it may be, and how many were killed for it: control groups of either
//! version.
//!
//! The daemon and what it starts count for the group that the daemon is in, unless a process has one of its
//! own that counts. It refuses to judge and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::{figure, mounted, own_path, unescape};
use crate::arbiter::input::MemoryGroup;

/// What one version of control groups calls things.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    /// Has `oom_kill` among its lines.
    kills: &'static str,
    limit: &'static str,
    peak: &'static str,
}

const VERSION_2: Files = Files { kills: "memory.events", limit: "memory.max", peak: "memory.peak" };

const VERSION_1: Files =
    Files { kills: "memory.oom_control", limit: "memory.limit_in_bytes", peak: "memory.max_usage_in_bytes" };

/// What version 1 says where there is no limit is this or more.
const NO_LIMIT: u64 = 1 << 60;

/// A folder that counts.
#[derive(Debug)]
pub(crate) struct Counted {
    folder: PathBuf,
    /// The limits around it end here.
    mount: PathBuf,
    files: &'static Files,
}

impl Counted {
    /// The daemon's; `None` where nobody counts.
    pub(crate) fn own() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let second = || {
            let (mount, root) = mounts.lines().find_map(mounted)?;
            Self::nearest(&mount, &root, &own_path("self")?, &VERSION_2)
        };
        let first = || {
            let (mount, root) = mounts.lines().find_map(mounted_for_memory)?;
            let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
            let shown = groups.lines().find_map(group_for_memory)?.to_owned();
            Self::nearest(&mount, &root, &shown, &VERSION_1)
        };
        second().or_else(first)
    }

    /// A folder of version 2 itself, if it counts.
    pub(super) fn of(folder: &Path, mount: &Path) -> Option<Self> {
        let found = Self { folder: folder.to_owned(), mount: mount.to_owned(), files: &VERSION_2 };
        found.kills().is_some().then_some(found)
    }

    /// The folder that `/proc/PID/cgroup` shows, or the first around it that counts.
    fn nearest(mount: &Path, root: &str, shown: &str, files: &'static Files) -> Option<Self> {
        let inside = shown.strip_prefix(root.trim_end_matches('/'))?;
        let mut folder = mount.join(inside.trim_start_matches('/'));
        loop {
            let found = Self { folder: folder.clone(), mount: mount.to_owned(), files };
            if found.kills().is_some() {
                return Some(found);
            }
            if folder == mount || !folder.pop() {
                return None;
            }
        }
    }

    /// How many were killed in it so far.
    pub(crate) fn kills(&self) -> Option<u64> {
        figure(&fs::read_to_string(self.folder.join(self.files.kills)).ok()?, "oom_kill")
    }

    /// What there is to know, where so many were killed before.
    pub(crate) fn since(&self, before: u64) -> Option<MemoryGroup> {
        let kills = self.kills()?.saturating_sub(before);
        let around = self.folder.ancestors().take_while(|folder| folder.starts_with(&self.mount));
        let limits = around.filter_map(|folder| Some((number(&folder.join(self.files.limit))?, folder)));
        let limit = limits.filter(|(bytes, _)| *bytes < NO_LIMIT).min_by_key(|(bytes, _)| *bytes);
        let limit = limit.map(|(bytes, folder)| (bytes, folder.display().to_string()));
        Some(MemoryGroup { kills, limit, peak: number(&self.folder.join(self.files.peak)) })
    }
}

/// `max` is none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// As `mounted`, of version 1 with the memory controller.
fn mounted_for_memory(line: &str) -> Option<(PathBuf, String)> {
    let (before, after) = line.split_once(" - ")?;
    let mut kind = after.split(' ');
    let is_first = kind.next()? == "cgroup";
    let counts = kind.nth(1)?.split(',').any(|option| option == "memory");
    let mut fields = before.split(' ').skip(3);
    let (root, mount) = (fields.next()?, fields.next()?);
    (is_first && counts).then(|| (PathBuf::from(unescape(mount)), unescape(root)))
}

fn group_for_memory(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    controllers.split(',').any(|controller| controller == "memory").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controller_is_found_among_others() {
        let line = |options: &str| {
            format!("34 25 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup {options}")
        };
        assert_eq!(
            mounted_for_memory(&line("rw,memory")),
            Some(("/sys/fs/cgroup/memory".into(), "/".to_owned()))
        );
        assert_eq!(mounted_for_memory(&line("rw,cpu,cpuacct")), None);
        assert_eq!(group_for_memory("4:cpuset,memory:/a:b"), Some("/a:b"));
        assert_eq!(group_for_memory("5:devices:/"), None);
        assert_eq!(group_for_memory("0::/a"), None);
    }

    #[test]
    fn the_lowest_limit_around_counts() {
        let mount = tempfile::tempdir().unwrap();
        let (outer, inner) = (mount.path().join("outer"), mount.path().join("outer/inner/deep"));
        fs::create_dir_all(&inner).unwrap();
        let put = |folder: &Path, name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        put(&outer, "memory.max", "1000\n");
        put(&outer, "memory.events", "oom 9\noom_kill 9\n");
        let inside = outer.join("inner");
        put(&inside, "memory.events", "low 0\noom 3\noom_kill 3\n");
        put(&inside, "memory.max", "max\n");
        put(&inside, "memory.peak", "900\n");
        // The daemon's own folder has no figures.
        let found = Counted::nearest(mount.path(), "/", "/outer/inner/deep", &VERSION_2).unwrap();
        assert_eq!(found.folder, inside);
        let limit = Some((1000, outer.display().to_string()));
        assert_eq!(found.since(1), Some(MemoryGroup { kills: 2, limit, peak: Some(900) }));
        assert!(Counted::nearest(mount.path(), "/", "/elsewhere", &VERSION_2).is_none());
        assert!(Counted::nearest(mount.path(), "/other", "/outer", &VERSION_2).is_none());
    }

    #[test]
    fn no_limit_is_a_large_number_in_version_1() {
        let mount = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(mount.path().join(name), text).unwrap();
        put("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        put("memory.limit_in_bytes", "9223372036854771712\n");
        put("memory.max_usage_in_bytes", "77\n");
        let found = Counted::nearest(mount.path(), "/", "/", &VERSION_1).unwrap();
        assert_eq!(found.since(4), Some(MemoryGroup { kills: 0, limit: None, peak: Some(77) }));
    }
}

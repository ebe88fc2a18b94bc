//! What tells whose descendant a process is, however far it has run: a mark that fork and exec pass on.
//!
//! A process that forks twice and calls `setsid` shares no parent, group, or session with the one it
//! came from. What it does share are resource limits, and Linux has one that limits nothing:
//! `RLIMIT_LOCKS`, without effect since 2.4.25. Its soft value in a process of ours is the mark: a
//! number that holds the daemon's and the process'. Anybody may read it in `/proc`, nobody needs a
//! right to set it, no environment and no descriptor betrays it. Lost is whoever has its limits set
//! anew on the way (a login by PAM); a cgroup, where there is one, still knows those.
//!
//! It refuses to know what is done with the answer.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::arbiter::id::Key;

/// Never a limit that somebody would set, and not "unlimited" either.
const FLAG: u64 = 1 << 62;

/// Linux gives no process number above 2^22.
const PID_BITS: u32 = 22;

/// For the key; a daemon would take centuries to use them up.
const KEY_BITS: u32 = 40;

/// The line in `/proc/PID/limits`.
const LINE: &str = "Max file locks";

/// Makes and reads the marks of one daemon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marker {
    daemon: u64,
}

impl Marker {
    /// `None` where somebody has limited what limits nothing, so that there is no room for a mark.
    pub(crate) fn new(daemon: u32) -> Option<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_LOCKS).ok()?;
        (hard == libc::RLIM_INFINITY).then_some(Self { daemon: u64::from(daemon) & ((1 << PID_BITS) - 1) })
    }

    /// The limit to give to a process.
    pub(crate) fn limit(self, key: Key) -> u64 {
        FLAG | self.daemon << KEY_BITS | key.0 & ((1 << KEY_BITS) - 1)
    }

    /// Whose mark a process bears, if it is one of ours.
    pub(crate) fn read(self, pid: i32) -> Option<Key> {
        self.understand(&fs::read_to_string(format!("/proc/{pid}/limits")).ok()?)
    }

    fn understand(self, limits: &str) -> Option<Key> {
        let line = limits.lines().find_map(|line| line.strip_prefix(LINE))?;
        let value: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        let ours = value >> KEY_BITS == (FLAG >> KEY_BITS | self.daemon);
        ours.then_some(Key(value & ((1 << KEY_BITS) - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_understood_by_its_daemon_alone() {
        let (ours, other) = (Marker { daemon: 4_194_303 }, Marker { daemon: 77 });
        let line = |value: &str| {
            format!(
                "Max pending signals       96365    96365    signals\n{LINE}            {value}    unlimited    locks\n"
            )
        };
        let marked = line(&ours.limit(Key(12345)).to_string());
        assert_eq!(ours.understand(&marked), Some(Key(12345)));
        assert_eq!(other.understand(&marked), None);
        assert_eq!(ours.understand(&line("unlimited")), None);
        assert_eq!(ours.understand(&line("12345")), None);
        assert_eq!(ours.understand(""), None);
        assert!(ours.limit(Key(u64::MAX)) < libc::RLIM_INFINITY);
    }

    #[test]
    fn we_bear_no_mark_of_ours() {
        let marker = Marker::new(std::process::id()).unwrap();
        assert_eq!(marker.read(std::process::id().cast_signed()), None);
    }
}

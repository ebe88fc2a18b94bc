//! Who has not run since the last look looks the same now: told by its CPU clock, which costs a twentieth
//! of what the kernel needs to print a `stat` line.
//!
//! What others may do to a process that does not run (take its memory away, make it nicer) is seen when its
//! line has been believed for [`BELIEVE`]. It refuses to know what the figures are for.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::time::ClockId;
use nix::unistd::Pid;

use crate::host::tree::Entry;

/// How long a line is believed, at most.
const BELIEVE: Duration = Duration::from_secs(10);

/// One process at the last time its line was read.
#[derive(Debug)]
struct Seen {
    clock: ClockId,
    /// What its clock showed just before.
    time: TimeSpec,
    read: Instant,
    looked: Instant,
    entry: Entry,
}

/// The lines that are believed.
#[derive(Debug, Default)]
pub(super) struct Resting {
    seen: HashMap<i32, Seen>,
}

impl Resting {
    /// Its line, read anew if it has run; `None` when there is no such process.
    pub(super) fn entry(&mut self, pid: i32, now: Instant) -> Option<Entry> {
        if let Some(seen) = self.seen.get_mut(&pid)
            && now.duration_since(seen.read) < BELIEVE
            && seen.clock.now() == Ok(seen.time)
        {
            seen.looked = now;
            return Some(seen.entry);
        }
        // Before the line is read: who runs meanwhile is read again.
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid)).ok();
        let time = clock.and_then(|clock| clock.now().ok());
        let entry = Entry::read(pid);
        match (clock, time, entry) {
            (Some(clock), Some(time), Some(entry)) => {
                self.seen.insert(pid, Seen { clock, time, read: now, looked: now, entry });
            }
            (_, _, _) => {
                self.seen.remove(&pid);
            }
        }
        entry
    }

    /// Those that nobody asked for at this look.
    pub(super) fn forget(&mut self, now: Instant) {
        if self.seen.values().any(|seen| seen.looked < now) {
            self.seen.retain(|_, seen| seen.looked >= now);
            self.seen.shrink_to(2 * self.seen.len());
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "who runs and who rests must be real")]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::host::clock;

    /// Ended however the test ends.
    struct Ended(Child);

    impl Ended {
        fn start(words: &[&str]) -> (Self, i32) {
            let child = Command::new(words[0]).args(&words[1..]).spawn().unwrap();
            let pid = child.id().cast_signed();
            (Self(child), pid)
        }
    }

    impl Drop for Ended {
        fn drop(&mut self) {
            let _gone = self.0.kill();
            let _reaped = self.0.wait();
        }
    }

    #[test]
    fn who_rests_is_believed_and_who_runs_is_read_again() {
        let (busy, busy_pid) = Ended::start(&["sh", "-c", "while :; do :; done"]);
        let (idle, idle_pid) = Ended::start(&["sleep", "1000"]);
        let (mut resting, now) = (Resting::default(), clock::monotonic());
        let later = |seconds| now + Duration::from_secs(seconds);
        let deadline = clock::monotonic() + Duration::from_secs(60);
        loop {
            for pid in [busy_pid, idle_pid] {
                resting.entry(pid, now).unwrap();
                // What nobody would read from the kernel.
                resting.seen.get_mut(&pid).unwrap().entry.nice = 99;
            }
            while resting.entry(busy_pid, later(1)).unwrap().nice == 99 {
                assert!(clock::monotonic() < deadline, "it never runs");
            }
            // Until it has done what comes before its sleep, it is read again.
            if resting.entry(idle_pid, later(1)).unwrap().nice == 99 {
                break;
            }
            assert!(clock::monotonic() < deadline, "it never sleeps");
        }
        assert_ne!(resting.entry(idle_pid, later(11)).unwrap().nice, 99);
        resting.forget(later(11));
        assert_eq!(resting.seen.keys().collect::<Vec<_>>(), [&idle_pid]);
        drop((busy, idle));
        assert_eq!(resting.entry(idle_pid, later(12)), None);
        assert!(resting.seen.is_empty());
    }
}

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
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::host::clock;

    #[test]
    fn who_rests_is_believed_and_who_runs_is_read_again() {
        let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        // It has done all that it will ever do once it has answered, so that it sleeps for good and not
        // for a page of its program.
        let mut idle = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut words, mut answer) = (idle.stdin.take().unwrap(), idle.stdout.take().unwrap());
        words.write_all(b"x").unwrap();
        answer.read_exact(&mut [0]).unwrap();
        let [busy_pid, idle_pid] = [busy.id().cast_signed(), idle.id().cast_signed()];
        let (mut resting, now) = (Resting::default(), clock::monotonic());
        let later = |seconds| now + Duration::from_secs(seconds);
        let deadline = clock::monotonic() + Duration::from_secs(60);
        resting.entry(busy_pid, now).unwrap();
        // What nobody would read from the kernel.
        resting.seen.get_mut(&busy_pid).unwrap().entry.nice = 99;
        loop {
            resting.entry(idle_pid, now).unwrap();
            resting.seen.get_mut(&idle_pid).unwrap().entry.nice = 99;
            // Until it sleeps: before that it is read again.
            if resting.entry(idle_pid, later(1)).unwrap().nice == 99 {
                break;
            }
            assert!(clock::monotonic() < deadline, "it never sleeps");
        }
        while resting.entry(busy_pid, later(1)).unwrap().nice == 99 {
            assert!(clock::monotonic() < deadline, "it never runs");
        }
        assert_eq!(resting.entry(idle_pid, later(1)).unwrap().nice, 99);
        assert_ne!(resting.entry(idle_pid, later(11)).unwrap().nice, 99);
        resting.forget(later(11));
        assert_eq!(resting.seen.keys().collect::<Vec<_>>(), [&idle_pid]);
        for child in [&mut busy, &mut idle] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(resting.entry(idle_pid, later(12)), None);
        assert!(resting.seen.is_empty());
    }
}

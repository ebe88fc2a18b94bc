//! How processes end: asked to, or killed with all below them, and always by pid.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::Flavor;
use crate::wait::until;

/// How often stock is told again.
const AGAIN: Duration = Duration::from_millis(500);

/// Sends SIGTERM and waits until `ended` gives something, or gives up after `patience`.
///
/// Stock refuses a signal that comes while it is busy, after it has said "Got signal": it is told
/// again. Told while it ends, it may die of it, so that how it ends tells nothing. circusd-rs is told
/// once, for it must not forget.
pub(crate) fn ask_to_end<T>(
    pid: i32,
    flavor: Flavor,
    patience: Duration,
    mut ended: impl FnMut() -> Option<T>,
) -> Option<T> {
    let start = Instant::now();
    let mut told = None;
    loop {
        // Looked at first: a pid whose process has ended is nobody's, and may become somebody else's.
        if let Some(value) = ended() {
            return Some(value);
        }
        let due = match told {
            None => true,
            Some(last) => flavor == Flavor::Stock && start.elapsed() > last + AGAIN,
        };
        if due {
            told = Some(start.elapsed());
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if start.elapsed() > patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Kills a process and all below it at once.
pub fn kill_family(pid: i32) {
    let family = descendants(pid);
    for pid in [pid].iter().chain(&family) {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

/// A child of ours; whoever drops it kills it and all below it, unless it has ended.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts it, with nothing to read.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::null()).spawn();
        Self(started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid fits")
    }

    /// Sends it one SIGTERM, and tells how it ended.
    pub fn end(&mut self) -> ExitStatus {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).expect("it lives");
        until("the end", || self.ended())
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("our child")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            kill_family(self.pid());
            let _ = self.0.wait();
        }
    }
}

/// A daemon that is not our child, because it went to the background. Whoever drops it kills it and
/// what it supervises, so that a test that fails leaves nothing behind.
#[derive(Debug)]
pub struct Background {
    pid: i32,
    // Tells the process from a later one with the same pid.
    born: Option<String>,
}

impl Background {
    /// Takes charge of a running daemon.
    #[must_use]
    pub fn new(pid: i32) -> Self {
        Self { pid, born: birth(pid) }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        alive(self.pid) && birth(self.pid) == self.born
    }

    /// Sends it one SIGTERM and waits until it has ended.
    pub fn end(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGTERM).expect("it lives");
        until("the end", || (!self.is_running()).then_some(()));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.is_running() {
            kill_family(self.pid);
        }
    }
}

/// All processes below `pid` now, from /proc.
#[must_use]
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(child) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        if let Some(parent) = stat(child, PARENT).and_then(|field| field.parse().ok()) {
            parents.push((child, parent));
        }
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// Whether a process exists and is no zombie.
#[must_use]
pub fn alive(pid: i32) -> bool {
    stat(pid, STATE).is_some_and(|state| state != "Z")
}

/// When it started, in ticks since boot.
fn birth(pid: i32) -> Option<String> {
    stat(pid, BIRTH)
}

// Fields of /proc/PID/stat, counted from the one behind the name.
const STATE: usize = 0;
const PARENT: usize = 1;
const BIRTH: usize = 19;

fn stat(pid: i32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(field).map(str::to_owned)
}

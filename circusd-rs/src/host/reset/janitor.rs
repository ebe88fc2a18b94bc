//! The thread that sweeps: when it is told that there may be something, and again when the next time
//! is over. A thread of its own and not a task, because freeing a large store takes long, and the end
//! of the daemon must not wait for it; what was not freed is found at the next start.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use circus_protocol::service::SweepJob;

use super::{Sweep, sweep};
use crate::host::clock::Clock;

/// How many hints may wait. When there are more, another one says nothing new: every sweep looks at
/// all that is there.
const MAX_HINTS: usize = 16;

/// How long it sleeps at most; a corrected clock is noticed after that.
const LONGEST_SLEEP: f64 = 600.0;

/// Where hints are left. The thread ends when the last of these is gone.
#[derive(Debug, Clone)]
pub struct Janitor {
    hints: SyncSender<SweepJob>,
}

/// Starts the thread.
///
/// # Errors
/// When the system refuses it.
pub fn start() -> io::Result<Janitor> {
    let (hints, waiting) = sync_channel(MAX_HINTS);
    Builder::new().name("janitor".to_owned()).spawn(move || run(&waiting))?;
    Ok(Janitor { hints })
}

impl Janitor {
    /// There may be something aside below the roots of these services.
    pub fn look(&self, job: SweepJob) {
        // Full means that it will look anyway; gone, that the daemon ends.
        let _ = self.hints.try_send(job);
    }
}

fn run(hints: &Receiver<SweepJob>) {
    let clock = Clock::start();
    let mut job: Option<SweepJob> = None;
    let mut next: Option<f64> = None;
    loop {
        let pause = next.map_or(LONGEST_SLEEP, |next| (next - clock.now().wall).clamp(0.0, LONGEST_SLEEP));
        match hints.recv_timeout(Duration::from_secs_f64(pause)) {
            Ok(hint) => job = Some(newer(job, hint)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(job) = &mut job {
            job.now = clock.now().wall;
            let done = sweep(job);
            done.log();
            next = done.next;
        }
    }
}

/// What a configuration file says does not make the node forget its place in the cluster.
fn newer(old: Option<SweepJob>, new: SweepJob) -> SweepJob {
    let membership = new.membership.clone().or_else(|| old.and_then(|old| old.membership));
    SweepJob { membership, ..new }
}

impl Sweep {
    /// Says what was done. A problem that stays is said again at each sweep.
    pub fn log(&self) {
        for root in &self.restored {
            tracing::warn!(root = %root.display(), "an interrupted reset was taken back");
        }
        for root in &self.freed {
            tracing::info!(root = %root.display(), "what a reset had moved aside is freed");
        }
        for problem in &self.problems {
            tracing::error!("{problem}");
        }
    }
}

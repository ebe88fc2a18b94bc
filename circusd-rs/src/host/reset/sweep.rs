//! Looks at what earlier resets left aside: brings back what a crash interrupted ([`recover`], which is
//! quick and comes before any service starts), and also frees what has had its time ([`sweep`], which
//! may take long).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use circus_protocol::command::ResetKind;
use circus_protocol::service::{SweepJob, plan_reset};

use super::aside::{Aside, Record};
use super::tree::Pace;
use super::{Moved, open_root, undo};

/// After how many seconds a place aside that somebody works on is looked at again.
const BUSY_SECONDS: f64 = 60.0;

/// What a sweep did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sweep {
    /// Roots in which an interrupted reset was taken back.
    pub restored: Vec<PathBuf>,
    /// Roots in which something was freed.
    pub freed: Vec<PathBuf>,
    /// Unix time at which the next sweep has something to do.
    pub next: Option<f64>,
    /// What a person should look at.
    pub problems: Vec<String>,
}

/// Whether what nobody wants any more is freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Free {
    Later,
    Now,
}

/// Takes back what a crash interrupted. Blocks, but not for long: it only renames.
#[must_use]
pub fn recover(job: &SweepJob) -> Sweep {
    each_root(job, Free::Later)
}

/// Sweeps all roots. Blocks, perhaps for long, because it frees with pauses.
#[must_use]
pub fn sweep(job: &SweepJob) -> Sweep {
    each_root(job, Free::Now)
}

fn each_root(job: &SweepJob, free: Free) -> Sweep {
    let mut done = Sweep::default();
    for root in roots(job) {
        if let Err(reason) = sweep_root(job, &root, free, &mut done) {
            done.problems.push(reason);
            done.wait_until(job.now + BUSY_SECONDS);
        }
    }
    done
}

/// Each root once. One whose place is not known yet has nothing aside that this daemon put there.
fn roots(job: &SweepJob) -> BTreeSet<PathBuf> {
    let plan = |name: &str| {
        plan_reset(&job.services, job.membership.as_ref(), Some(&[name.to_owned()]), ResetKind::All)
    };
    let tasks = job.services.services.iter().filter_map(|service| plan(&service.name).ok()).flatten();
    tasks.map(|task| task.root).collect()
}

fn sweep_root(job: &SweepJob, root: &Path, when: Free, done: &mut Sweep) -> Result<(), String> {
    let Some((dir, path)) = open_root(root)? else { return Ok(()) };
    let Some(mut aside) = Aside::open(dir, &path)? else { return Ok(()) };
    let contents = aside.contents().map_err(|error| format!("{path:?}: {error}"))?;
    let strange = contents.strange.iter().map(|path| format!("{path:?}: is no reset's; left alone"));
    done.problems.extend(strange);
    let mut free = contents.free;
    for record in contents.records {
        aside = sweep_record(job, aside, record, &mut free, done);
    }
    if when == Free::Later {
        return Ok(());
    }
    if !free.is_empty() {
        done.freed.push(path.clone());
    }
    aside.free(&free, Pace::Gentle).map_err(|error| format!("{path:?}: not freed: {error}"))
}

fn sweep_record(
    job: &SweepJob,
    aside: Aside,
    record: Record,
    free: &mut Vec<OsString>,
    done: &mut Sweep,
) -> Aside {
    if record.done && !record.undoing {
        if record.journal.until > job.now {
            done.wait_until(record.journal.until);
            return aside;
        }
        let path = aside.path.clone();
        match aside.give_up(record) {
            Ok(name) => free.push(name),
            Err(error) => done.problems.push(format!("{path:?}: {error}")),
        }
        return aside;
    }
    // Interrupted: a reset that nobody was ever told of, or an undo that somebody wanted. Either way
    // the pieces belong where they came from.
    let mut moved = Moved { aside, record };
    let problems = undo::put_back(&moved);
    if problems.is_empty() {
        done.restored.push(moved.aside.path.clone());
    } else {
        // What could not go back can still be undone by hand until its time is over.
        done.problems.extend(problems);
        if !moved.record.done
            && let Err(error) = moved.record.finish()
        {
            done.problems.push(format!("{:?}: {error}", moved.aside.path));
        }
        done.wait_until(moved.record.journal.until.max(job.now + BUSY_SECONDS));
    }
    moved.aside
}

impl Sweep {
    fn wait_until(&mut self, time: f64) {
        self.next = Some(self.next.map_or(time, |next| next.min(time)));
    }
}

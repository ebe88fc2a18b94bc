//! Performs a [`ResetJob`]: moves a service's data aside in one instant per piece, brings it back, or
//! frees it later. It refuses to decide what is data; the ini's rules do that.
//!
//! ```text
//! look (all rules, all services) ─► journal ─► rename aside ─► empty logs ─► make required directories
//!   any problem: nothing is done       └─ a fault: everything back where it was
//! ```
//!
//! It acts only below declared roots, by open directories, so that no link and no mount leads it out
//! however fast somebody swaps one in.

mod aside;
pub mod janitor;
mod journal;
mod scan;
mod sweep;
mod tree;
mod undo;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use circus_protocol::service::{
    KeptItem, ResetItem, ResetJob, ResetOutcome, ResetTask, ServiceReset, check_root, plan_reset,
};
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{ftruncate, geteuid};

use super::walk::{self, WalkError};
use aside::{Aside, Record};
use journal::Journal;
use scan::{Piece, Scan, words};
use tree::{Likeness, Pace};

pub use sweep::{Sweep, recover, sweep};

/// Everything that is wrong; nothing was changed then, unless a problem says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ResetError(pub Vec<String>);

impl ResetError {
    /// The problems as text, for a reply.
    #[must_use]
    pub fn problems(self) -> Vec<String> {
        self.0
    }
}

/// A rule, its directory, and what is there.
struct Work<'t> {
    task: &'t ResetTask,
    /// The root without links; absent when there is no such directory.
    dir: Option<(OwnedFd, PathBuf)>,
    scan: Scan,
}

/// What was moved for one rule, so that it can be moved back.
struct Moved {
    aside: Aside,
    record: Record,
}

/// Resets services, undoes their last reset, or says what a reset would do. Blocks; not for a task of
/// the loop.
///
/// # Errors
/// Every problem there is.
pub fn reset(job: &ResetJob) -> Result<ResetOutcome, ResetError> {
    let membership = job.membership.as_ref();
    let tasks = plan_reset(&job.services, membership, job.wanted.as_deref(), job.kind)
        .map_err(|errors| ResetError(errors.iter().map(ToString::to_string).collect()))?;
    if job.undo {
        return undo::undo(job, &tasks);
    }
    let mut problems = Vec::new();
    let mut works: Vec<Work<'_>> = tasks.iter().map(|task| look(task, &mut problems)).collect();
    overlaps(&mut works);
    if !problems.is_empty() {
        return Err(ResetError(problems));
    }
    let mut outcome = outcome(&works);
    if !job.dry_run {
        perform(job, &works, &mut outcome)?;
    }
    Ok(outcome)
}

/// Opens a root and looks below it. A root that is not there has nothing to reset.
fn look<'t>(task: &'t ResetTask, problems: &mut Vec<String>) -> Work<'t> {
    let place = &task.rule.root.place;
    let mut work = Work { task, dir: None, scan: Scan::default() };
    match open_root(&task.root) {
        Ok(Some((dir, real))) => {
            work.scan = scan::scan(&task.rule, &real, &dir);
            problems.append(&mut work.scan.problems);
            work.dir = Some((dir, real));
        }
        Ok(None) => {
            let path = task.root.clone();
            work.scan.kept.push(KeptItem { path, reason: "there is no such directory" });
        }
        Err(reason) => problems.push(format!("{place}: {reason}")),
    }
    work
}

/// Opens a root where it really is, which must be as harmless as its name was.
fn open_root(path: &Path) -> Result<Option<(OwnedFd, PathBuf)>, String> {
    let (dir, real) = match walk::find_directory(path) {
        Ok(found) => found,
        Err(WalkError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    check_root(&real).map_err(|refusal| format!("{path:?} leads to a place that is no root: {refusal}"))?;
    if let Some(user) = home_of(&real) {
        return Err(format!("{path:?} is the home directory of {user}"));
    }
    Ok(Some((dir, real)))
}

/// The person whose home this is. A service's user may well live in the directory of its data.
fn home_of(path: &Path) -> Option<String> {
    const FIRST_PERSON: u32 = 1000;
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, uid, home) = (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?, fields.nth(2)?);
        let person = uid >= FIRST_PERSON || uid == 0 || uid == geteuid().as_raw();
        (person && Path::new(home) == path).then(|| name.to_owned())
    })
}

/// Two rules may speak of one path, as data and as log: the first one has it.
fn overlaps(works: &mut [Work<'_>]) {
    let mut gone: Vec<PathBuf> = Vec::new();
    for work in works {
        let is_gone = |piece: &Piece| gone.iter().any(|path| piece.item.path.starts_with(path));
        work.scan.moves.retain(|piece| !is_gone(piece));
        work.scan.truncates.retain(|piece| !is_gone(piece));
        gone.extend(work.scan.moves.iter().map(|piece| piece.item.path.clone()));
    }
}

fn outcome(works: &[Work<'_>]) -> ResetOutcome {
    let mut outcome = ResetOutcome::default();
    for work in works {
        let items =
            |pieces: &[Piece]| -> Vec<ResetItem> { pieces.iter().map(|piece| piece.item.clone()).collect() };
        let service = entry(&mut outcome, &work.task.service);
        service.deleted.extend(items(&work.scan.moves));
        service.truncated.extend(items(&work.scan.truncates));
        service.kept.extend(work.scan.kept.iter().cloned());
        let all = work.scan.moves.iter().chain(&work.scan.truncates);
        service.bytes += all.map(|piece| piece.item.bytes).sum::<u64>();
    }
    outcome
}

/// The part of an outcome that is about a service.
fn entry<'o>(outcome: &'o mut ResetOutcome, name: &str) -> &'o mut ServiceReset {
    let index = outcome.services.iter().position(|service| service.service == name);
    let index = index.unwrap_or_else(|| {
        outcome.services.push(ServiceReset { service: name.to_owned(), ..ServiceReset::default() });
        outcome.services.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "the index was found or made in the line above")]
    &mut outcome.services[index]
}

/// Does what the scans found.
fn perform(job: &ResetJob, works: &[Work<'_>], outcome: &mut ResetOutcome) -> Result<(), ResetError> {
    let likenesses: Vec<_> = works.iter().map(likenesses).collect();
    let mut moved: Vec<Moved> = Vec::new();
    for work in works {
        match move_aside(job, work, &mut moved) {
            Ok(()) => {}
            Err(reason) => {
                let mut problems = vec![reason];
                moved.iter().rev().for_each(|moved| problems.extend(undo::put_back(moved)));
                return Err(ResetError(problems));
            }
        }
    }
    let mut problems = Vec::new();
    for (work, likenesses) in works.iter().zip(&likenesses) {
        empty_files(work, &mut problems);
        require(work, likenesses, &mut problems);
    }
    for moved in moved {
        settle(job, moved, outcome, &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(ResetError(problems)) }
}

/// Ten years: for ever, as far as anybody can tell, and still a time.
const LONGEST_KEEP: f64 = 315_360_000.0;

fn keep_seconds(job: &ResetJob, task: &ResetTask) -> f64 {
    let asked = job.keep.filter(|seconds| !seconds.is_nan());
    asked.unwrap_or(task.rule.keep_seconds).clamp(0.0, LONGEST_KEEP)
}

/// How a rule is called in a journal.
fn rule_name(task: &ResetTask) -> String {
    let (kind, label) = (task.rule.kind.word(), &task.rule.label);
    if label.is_empty() { kind.to_owned() } else { format!("{kind}:{label}") }
}

fn move_aside(job: &ResetJob, work: &Work<'_>, moved: &mut Vec<Moved>) -> Result<(), String> {
    let (Some((dir, path)), false) = (&work.dir, work.scan.moves.is_empty()) else { return Ok(()) };
    let journal = Journal {
        service: work.task.service.clone(),
        rule: rule_name(work.task),
        made: job.now,
        until: job.now + keep_seconds(job, work.task),
        moves: work.scan.moves.iter().map(|piece| piece.parts.clone()).collect(),
    };
    let root = dir.try_clone().map_err(|error| error.to_string())?;
    // Two rules with one root share its place aside; its lock is held by the first.
    let shared = moved.iter().position(|other| other.aside.path == *path);
    let aside = match shared.and_then(|index| moved.get(index)) {
        Some(other) => other.aside.share(root).map_err(|error| error.to_string())?,
        None => Aside::make(root, path)?,
    };
    let record = aside.begin(journal).map_err(|error| format!("{path:?}: {error}"))?;
    moved.push(Moved { aside, record });
    let Some(Moved { aside, record }) = moved.last_mut() else { return Ok(()) };
    for (slot, piece) in work.scan.moves.iter().enumerate() {
        match record.take(&aside.root, slot) {
            Ok(()) => {}
            // It vanished by itself since it was seen, which is what was wanted.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{:?}: {error}", piece.item.path)),
        }
    }
    record.finish().map_err(|error| format!("{path:?}: {error}"))
}

/// Lets what was moved wait for its time, or frees it at once.
fn settle(job: &ResetJob, moved: Moved, outcome: &mut ResetOutcome, problems: &mut Vec<String>) {
    let Moved { aside, record } = moved;
    let until = record.journal.until;
    if until > job.now {
        let service = entry(outcome, &record.journal.service);
        // All of it can be undone as long as the first part can.
        service.undo_until = Some(service.undo_until.map_or(until, |other| other.min(until)));
        return;
    }
    let path = aside.path.clone();
    let freed = aside.give_up(record).and_then(|name| aside.free(&[name], Pace::Fast));
    if let Err(error) = freed {
        problems.push(format!("{path:?}: moved aside, but not freed: {error}"));
    }
}

fn empty_files(work: &Work<'_>, problems: &mut Vec<String>) {
    let Some((root, _)) = &work.dir else { return };
    for piece in &work.scan.truncates {
        match empty_file(root, &piece.parts) {
            // Rotated away since it was seen.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => problems.push(format!("{:?}: {}", piece.item.path, words(errno))),
        }
    }
}

fn empty_file(root: &OwnedFd, parts: &[OsString]) -> Result<(), Errno> {
    let Some((name, parents)) = parts.split_last() else { return Ok(()) };
    let mut dir = root.try_clone().map_err(|_| Errno::EMFILE)?;
    for parent in parents {
        dir = tree::open_dir(&dir, parent)?;
    }
    ftruncate(scan::open_truncate(&dir, name)?, 0)
}

/// Owner and mode of the required directories and of those they are in, as they are now.
fn likenesses(work: &Work<'_>) -> HashMap<Vec<OsString>, Likeness> {
    let mut found = HashMap::new();
    let Some((root, _)) = &work.dir else { return found };
    for parts in required(work) {
        let Ok(mut dir) = root.try_clone() else { continue };
        for (index, name) in parts.iter().enumerate() {
            let Ok(next) = tree::open_dir(&dir, name) else { break };
            if let Ok(stat) = fstat(&next) {
                found.insert(parts.iter().take(index + 1).cloned().collect(), Likeness::of(&stat));
            }
            dir = next;
        }
    }
    found
}

fn required(work: &Work<'_>) -> Vec<Vec<OsString>> {
    work.task.rule.require_dirs.iter().map(|parts| parts.iter().map(OsString::from).collect()).collect()
}

fn require(work: &Work<'_>, likenesses: &HashMap<Vec<OsString>, Likeness>, problems: &mut Vec<String>) {
    let Some((root, path)) = &work.dir else { return };
    for parts in required(work) {
        let made = tree::ensure(root, &parts, |parts| likenesses.get(parts).copied());
        // A link in its place is the operator's way to have the directory elsewhere.
        match made {
            Ok(_) | Err(Errno::ELOOP | Errno::ENOTDIR) => {}
            Err(errno) => {
                let path: PathBuf = path.iter().chain(parts.iter().map(OsString::as_os_str)).collect();
                problems.push(format!("{path:?}: is required, but {}", words(errno)));
            }
        }
    }
}

#[cfg(test)]
mod tests;

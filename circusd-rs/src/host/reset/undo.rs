//! Brings back what the last reset moved aside. What has taken its place meanwhile goes aside the same
//! way, so that an undo can be undone.

use std::path::PathBuf;

use circus_protocol::service::{ResetItem, ResetJob, ResetOutcome, ResetTask};

use super::aside::{Aside, Record};
use super::journal::Journal;
use super::tree::{self, Pace};
use super::{Moved, ResetError, entry, keep_seconds, open_root, rule_name};

/// Undoes the last reset of each rule.
pub(super) fn undo(job: &ResetJob, tasks: &[ResetTask]) -> Result<ResetOutcome, ResetError> {
    let mut outcome = ResetOutcome::default();
    let mut problems = Vec::new();
    let mut found = false;
    for task in tasks {
        entry(&mut outcome, &task.service);
        match undo_one(job, task, &mut outcome) {
            Ok(any) => found |= any,
            Err(reason) => problems.push(reason),
        }
    }
    if problems.is_empty() && !found {
        problems.push("no reset can be undone: nothing is kept aside for these services".into());
    }
    if problems.is_empty() { Ok(outcome) } else { Err(ResetError(problems)) }
}

fn undo_one(job: &ResetJob, task: &ResetTask, outcome: &mut ResetOutcome) -> Result<bool, String> {
    let Some((root, path)) = open_root(&task.root)? else { return Ok(false) };
    let Some(aside) = Aside::open(root, &path)? else { return Ok(false) };
    let fault = |error: std::io::Error| format!("{path:?}: {error}");
    let rule = rule_name(task);
    let ours = |record: &Record| record.journal.service == task.service && record.journal.rule == rule;
    let mut records: Vec<Record> =
        aside.contents().map_err(fault)?.records.into_iter().filter(ours).collect();
    // One whose undo was interrupted goes on; otherwise the newest.
    let index = records.iter().rposition(|record| record.undoing).or(records.len().checked_sub(1));
    let Some(index) = index else { return Ok(false) };
    let mut record = records.swap_remove(index);
    report(&aside, &record, task, outcome);
    if job.dry_run {
        return Ok(true);
    }
    record.begin_undo().map_err(fault)?;
    let newer = make_room(job, task, &aside, &record)?;
    for slot in 0..record.journal.moves.len() {
        if record.holds(slot) {
            record.give_back(&aside.root, slot).map_err(fault)?;
        }
    }
    if let Some(newer) = newer
        && newer.journal.until > job.now
    {
        entry(outcome, &task.service).undo_until = Some(newer.journal.until);
    }
    let name = aside.give_up(record).map_err(fault)?;
    aside.free(&[name], Pace::Fast).map_err(fault)?;
    Ok(true)
}

/// Lists what comes back.
fn report(aside: &Aside, record: &Record, task: &ResetTask, outcome: &mut ResetOutcome) {
    for (slot, parts) in record.journal.moves.iter().enumerate() {
        if !record.holds(slot) {
            continue;
        }
        let path: PathBuf = aside.path.iter().chain(parts.iter().map(|part| part.as_os_str())).collect();
        let tree::Measure { bytes, entries, modified } = record.measure(slot);
        let service = entry(outcome, &task.service);
        service.bytes += bytes;
        service.deleted.push(ResetItem { path, bytes, entries, modified });
    }
}

/// Moves aside what is now where something comes back to.
fn make_room(
    job: &ResetJob,
    task: &ResetTask,
    aside: &Aside,
    record: &Record,
) -> Result<Option<Record>, String> {
    let mut moves = Vec::new();
    for (slot, parts) in record.journal.moves.iter().enumerate() {
        let blocked =
            record.holds(slot) && record.blocked(&aside.root, slot).map_err(|error| error.to_string())?;
        if blocked {
            moves.push(parts.clone());
        }
    }
    if moves.is_empty() {
        return Ok(None);
    }
    let (service, rule) = (task.service.clone(), rule_name(task));
    let journal = Journal { service, rule, made: job.now, until: job.now + keep_seconds(job, task), moves };
    let fault = |error: std::io::Error| format!("{:?}: {error}", aside.path);
    let mut newer = aside.begin(journal).map_err(fault)?;
    for slot in 0..newer.journal.moves.len() {
        newer.take(&aside.root, slot).map_err(fault)?;
    }
    newer.finish().map_err(fault)?;
    Ok(Some(newer))
}

/// After a fault: everything that was moved goes back where it was. What does not stays aside, and is
/// named.
pub(super) fn put_back(moved: &Moved) -> Vec<String> {
    let Moved { aside, record } = moved;
    let mut problems = Vec::new();
    for slot in 0..record.journal.moves.len() {
        if !record.holds(slot) {
            continue;
        }
        let returned = match record.blocked(&aside.root, slot) {
            Ok(true) => Err("something else took its place".to_owned()),
            Ok(false) => record.give_back(&aside.root, slot).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(reason) = returned {
            problems.push(format!("{:?}: stays aside: {reason}", record.path(aside, slot)));
        }
    }
    if problems.is_empty() {
        aside.forget(record);
    }
    problems
}

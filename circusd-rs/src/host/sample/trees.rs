//! What whole trees of processes use, leader and descendants together, from one pass over `/proc`.
//!
//! It refuses to know whose they are and what becomes of the figures.

use circus_protocol::number::Pid;

use crate::host::sample::figures::Machine;
use crate::host::tree::{Entry, Snapshot};

/// What one tree uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TreeFigures {
    /// When its leader started, in ticks after boot: who has another is another.
    pub(crate) start: u64,
    /// Seconds of CPU time so far, those of children that have ended included.
    pub(crate) cpu: f64,
    /// Resident bytes; pages that several share count for each.
    pub(crate) memory: u64,
    pub(crate) processes: u32,
}

/// One for each leader, `None` for those that have ended.
pub(crate) fn look(leaders: &[Pid], machine: &Machine) -> Vec<Option<TreeFigures>> {
    let all = Snapshot::take().unwrap_or_default();
    leaders.iter().map(|leader| of(*leader, &all, machine)).collect()
}

fn of(leader: Pid, all: &Snapshot, machine: &Machine) -> Option<TreeFigures> {
    let first = all.get(leader.get()).filter(|entry| !matches!(entry.state, b'Z' | b'X'))?;
    let others = all.descendants(Some(first.pid), &[]);
    let tree = || others.iter().chain([first]);
    let ticks: u64 = tree().flat_map(|entry: &Entry| entry.times).sum();
    let pages: u64 = tree().map(|entry| entry.resident).sum();
    Some(TreeFigures {
        start: first.start,
        cpu: ticks as f64 / machine.ticks,
        memory: pages.saturating_mul(machine.page),
        processes: u32::try_from(others.len() + 1).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a tree must be real")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_tree_is_its_leader_and_all_below() {
        let machine = Machine::new(0).unwrap();
        // It leads a session of its own, as all that the warden starts.
        let mut leader = Command::new("setsid")
            .args(["sh", "-c", "sleep 100 & sleep 100 & echo; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(leader.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        let pid = Pid::new(leader.id().cast_signed()).unwrap();
        let nobody = Pid::new(i32::MAX).unwrap();
        let found = look(&[pid, nobody], &machine);
        nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid.get()), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        leader.wait().unwrap();
        let [Some(tree), None] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(tree.processes, 3);
        assert!(tree.memory > 3 * 4096 && tree.start > 0, "{tree:?}");
    }
}

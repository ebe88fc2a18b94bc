//! Fork and exec: the only unsafe code.
//!
//! A process is prepared ([`plan`]), forked, and reports over a pipe that closes on exec: nothing
//! means it runs, a few bytes say at which stage the kernel refused and with which number. Between
//! fork and exec there are only async-signal-safe calls and no allocation, because the parent has
//! other threads.
//!
//! ```text
//!  prepare ─► fork ─► session ─► descriptors ─► directory ─► limits ─► group, groups, user
//!                     ─► signals ─► close the rest ─► exec (closes the pipe) │ report and leave
//! ```
//!
//! Why not `std::process::Command`: it reports an errno without its stage, looks programs up in the
//! parent's PATH, and would reap behind our back. Most processes are made without copying the daemon
//! ([`lend`]); one that becomes another user is forked, because it must not share the daemon's memory
//! then. Both happen on the warden's thread, so they do not stall the loop.
//!
//! It refuses to know who waits for the process: it returns numbers and descriptors.
#![expect(unsafe_code, reason = "fork, and what must happen in the child before exec, has no safe form")]

pub(crate) mod heap;
mod lend;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod text;

use std::ffi::{CString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use plan::{Limit, Plan, repr, words};

/// Highest descriptor closed one by one where the kernel has no `close_range`.
const LAST_DESCRIPTOR: RawFd = 4096;

/// How many signals Linux has.
const KERNEL_SIGNALS: usize = 64;

/// As in `linux/sched.h`.
#[cfg(target_pointer_width = "64")]
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Length of a report: stage, index, errno.
pub(crate) const REPORT: usize = 8;

/// What descriptor 0, 1 or 2 of the child becomes; `None` stays the daemon's own.
#[derive(Debug, Default)]
pub(crate) struct Descriptors<'a> {
    pub(crate) of: [Option<&'a OwnedFd>; 3],
    /// These stay open at their numbers; they lie above 2.
    pub(crate) keep: &'a [RawFd],
    /// The folder of the cgroup to be born into.
    pub(crate) cgroup: Option<&'a OwnedFd>,
}

/// A fork that happened; whether the exec did, `report` tells.
#[derive(Debug)]
pub(crate) struct Forked {
    pub(crate) pid: i32,
    /// Ends empty when the program runs; does not block.
    pub(crate) report: OwnedFd,
    /// Whether it was born into the cgroup that was wanted.
    pub(crate) confined: bool,
}

/// Start what was planned.
pub(crate) fn fork(plan: &Plan, descriptors: &Descriptors<'_>) -> io::Result<Forked> {
    let (report, to_parent) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let argv = pointers(&plan.argv);
    let env = pointers(&plan.env);
    let child = Child {
        plan,
        argv: &argv,
        env: &env,
        fds: descriptors.of.map(|fd| fd.map(AsRawFd::as_raw_fd)),
        keep: descriptors.keep,
        report: to_parent.as_raw_fd(),
    };
    let all = all_signals();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // All signals wait until the child has dropped our handlers, which would speak to our own runtime.
    // SAFETY: both sets are valid; the old mask is written before it is read below.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, before.as_mut_ptr()) };
    let lent = if plan.changes_user() { None } else { lend::divide(&child, descriptors.cgroup) };
    let (pid, confined) =
        lent.map_or_else(|| divide(descriptors.cgroup, &child), |pid| (pid, descriptors.cgroup.is_some()));
    let error = io::Error::last_os_error();
    // SAFETY: the mask was written by the first call; null asks for no old mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    if pid < 0 {
        return Err(error);
    }
    Ok(Forked { pid, report, confined })
}

/// Fork, into a cgroup if one is given and the kernel can. Moving a process there afterwards would
/// make it wait for the kernel's slowest lock.
fn divide(cgroup: Option<&OwnedFd>, child: &Child<'_>) -> (i32, bool) {
    // The C library is not told of this child, so what the child calls must not ask it: see `as_user`.
    #[cfg(target_pointer_width = "64")]
    if let Some(cgroup) = cgroup {
        // SAFETY: all zeroes means "as fork does".
        let mut how: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
        how.flags = CLONE_INTO_CGROUP;
        how.exit_signal = libc::SIGCHLD.unsigned_abs().into();
        how.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
        // SAFETY: without shared memory the child goes on with a copy of everything, as after fork, and
        // calls only async-signal-safe functions until it leaves.
        match i32::try_from(unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of_val(&how)) }) {
            Ok(0) => child.run(),
            Ok(pid @ 1..) => return (pid, true),
            Ok(_) | Err(_) => {}
        }
    }
    // SAFETY: the child calls only async-signal-safe functions and never returns from `run`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child.run();
    }
    (pid, false)
}

fn pointers(words: &[CString]) -> Vec<*const c_char> {
    words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
}

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset writes the whole set.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// Where it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Session,
    Descriptor,
    Directory,
    Limit,
    Group,
    Groups,
    User,
    Exec,
}

const STAGES: [Stage; 8] = [
    Stage::Session,
    Stage::Descriptor,
    Stage::Directory,
    Stage::Limit,
    Stage::Group,
    Stage::Groups,
    Stage::User,
    Stage::Exec,
];

/// What a report says, in circus' words, and the kernel's number; `None` for the empty one: the program
/// runs.
pub(crate) fn failure(plan: &Plan, report: &[u8]) -> Option<(String, i32)> {
    let (stage, rest) = report.split_first()?;
    let stage = STAGES.iter().find(|known| **known as u8 == *stage).copied().unwrap_or(Stage::Exec);
    let index = rest.first().copied().unwrap_or_default();
    let number = rest.get(3..7).and_then(|bytes| bytes.try_into().ok()).map_or(0, i32::from_ne_bytes);
    let about = match stage {
        Stage::Session => "setsid".to_owned(),
        Stage::Descriptor => format!("descriptor {index}"),
        Stage::Directory => repr(&plan.directory.to_string_lossy()),
        Stage::Limit => match plan.limits.get(usize::from(index)) {
            Some(limit) => format!("resource limit {} = {}", limit.name(), limit.value),
            None => "resource limit".to_owned(),
        },
        Stage::Group => format!("group {}", plan.gid.unwrap_or_default()),
        Stage::Groups => format!("groups {:?}", plan.groups.as_deref().unwrap_or_default()),
        Stage::User => format!("user {}", plan.uid.unwrap_or_default()),
        Stage::Exec => repr(&plan.program),
    };
    Some((format!("{}: {about}", words(number)), number))
}

/// The child between fork and exec.
struct Child<'a> {
    plan: &'a Plan,
    argv: &'a [*const c_char],
    env: &'a [*const c_char],
    fds: [Option<RawFd>; 3],
    keep: &'a [RawFd],
    report: RawFd,
}

/// A failed call: stage, which of several, errno.
type Step = Result<(), (Stage, u8, i32)>;

impl Child<'_> {
    fn run(&self) -> ! {
        let Err((stage, index, number)) = self.prepare().and_then(|()| self.execute()) else {
            // SAFETY: leaves the process at once; nothing of the parent's is run or flushed.
            unsafe { libc::_exit(127) }
        };
        let [a, b, c, d] = number.to_ne_bytes();
        let report: [u8; REPORT] = [stage as u8, index, 0, 0, a, b, c, d];
        // SAFETY: writes from a buffer on the stack, then leaves without running anything of the parent's.
        unsafe {
            libc::write(self.report, report.as_ptr().cast(), report.len());
            libc::_exit(127)
        }
    }

    fn prepare(&self) -> Step {
        // SAFETY: changes only this process.
        step(unsafe { libc::setsid() }, Stage::Session, 0)?;
        for (target, source) in (0..).zip(self.fds) {
            if let Some(source) = source {
                // SAFETY: both are open descriptors of this process; sources lie above 2.
                step(unsafe { libc::dup2(source, target) }, Stage::Descriptor, target as u8)?;
            }
        }
        // Before the user changes, as stock does: a user need not reach its working directory itself.
        // SAFETY: a terminated string that lives as long as the plan.
        step(unsafe { libc::chdir(self.plan.directory.as_ptr()) }, Stage::Directory, 0)?;
        for (resource, soft, hard) in &self.plan.bounds {
            let both = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
            // SAFETY: reads one rlimit from the stack. Whoever asked can do without.
            unsafe { libc::setrlimit(*resource as _, &raw const both) };
        }
        for (index, limit) in (0..).zip(&self.plan.limits) {
            set_limit(limit, index)?;
        }
        self.become_user()?;
        reset_signals();
        close_others(self.report);
        for (index, fd) in (3..).zip(self.keep) {
            // SAFETY: changes a flag of this process' own descriptor.
            step(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) }, Stage::Descriptor, index)?;
        }
        Ok(())
    }

    fn become_user(&self) -> Step {
        if let Some(gid) = self.plan.gid {
            step(as_user::set_group(gid), Stage::Group, 0)?;
        }
        if let Some(groups) = &self.plan.groups {
            step(as_user::set_groups(groups), Stage::Groups, 0)?;
        }
        if let Some(uid) = self.plan.uid {
            step(as_user::set_user(uid), Stage::User, 0)?;
        }
        Ok(())
    }

    /// Returns only if no candidate could be executed. The first error that is not "not there" is
    /// the one to report, as Python does.
    fn execute(&self) -> Step {
        let mut number = libc::ENOENT;
        let mut found = false;
        for program in &self.plan.candidates {
            // SAFETY: terminated strings and null-terminated lists of such, all alive.
            unsafe { libc::execve(program.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
            let error = errno();
            if !found {
                number = error;
                found = error != libc::ENOENT && error != libc::ENOTDIR;
            }
        }
        Err((Stage::Exec, 0, number))
    }
}

/// The kernel's own calls, which change the one thread there is. The C library's would look for the
/// threads that the daemon had when it was copied.
#[cfg(target_pointer_width = "64")]
mod as_user {
    pub(super) fn set_group(gid: u32) -> i32 {
        // SAFETY: takes a number, and changes only this process.
        short(unsafe { libc::syscall(libc::SYS_setgid, gid) })
    }

    pub(super) fn set_groups(groups: &[u32]) -> i32 {
        // SAFETY: the list is alive and has that length.
        short(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
    }

    pub(super) fn set_user(uid: u32) -> i32 {
        // SAFETY: takes a number, and changes only this process.
        short(unsafe { libc::syscall(libc::SYS_setuid, uid) })
    }

    fn short(result: i64) -> i32 {
        if result < 0 { -1 } else { 0 }
    }
}

/// Where those calls have narrow numbers, the C library knows better ones, and it made the fork.
#[cfg(not(target_pointer_width = "64"))]
mod as_user {
    pub(super) fn set_group(gid: u32) -> i32 {
        // SAFETY: changes only this process, which has a single thread.
        unsafe { libc::setgid(gid) }
    }

    pub(super) fn set_groups(groups: &[u32]) -> i32 {
        // SAFETY: the list is alive and has that length.
        unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }
    }

    pub(super) fn set_user(uid: u32) -> i32 {
        // SAFETY: changes only this process, which has a single thread.
        unsafe { libc::setuid(uid) }
    }
}

fn set_limit(limit: &Limit, index: u8) -> Step {
    let mut result = -1;
    for value in [Some(limit.value), limit.fallback].into_iter().flatten() {
        let both = libc::rlimit { rlim_cur: value, rlim_max: value };
        // SAFETY: reads one rlimit from the stack.
        result = unsafe { libc::setrlimit(limit.resource as _, &raw const both) };
        if result == 0 {
            break;
        }
    }
    step(result, Stage::Limit, index)
}

/// All dispositions back to default (the daemon ignores SIGPIPE and handles others), nothing blocked.
///
/// Through the kernel's own call, because the C library refuses the two signals it keeps for itself, and
/// leaves one of them ignored in whatever it starts itself.
fn reset_signals() {
    let default = [0_u64; 8];
    for signal in 1..=KERNEL_SIGNALS {
        // SAFETY: all zeroes is the default action, and the buffer is larger than the kernel's structure.
        // KILL and STOP are refused, which is fine.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                KERNEL_SIGNALS / 8,
            );
        }
    }
    let mut none = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the set is written before it is read; null asks for no old mask.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
    }
}

/// Everything above 2 closes on exec; the report must live until then.
fn close_others(report: RawFd) {
    // SAFETY: three numbers; only flags of this process' own descriptors change.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    for fd in (3..LAST_DESCRIPTOR).filter(|fd| *fd != report) {
        // SAFETY: sets a flag; a number that is not open is refused.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn step(result: i32, stage: Stage, index: u8) -> Step {
    if result < 0 { Err((stage, index, errno())) } else { Ok(()) }
}

fn errno() -> i32 {
    // SAFETY: the C library's own errno of this thread.
    unsafe { *libc::__errno_location() }
}

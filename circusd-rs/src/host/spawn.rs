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
pub(crate) mod raw;

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

/// Length of a report: stage, index, errno.
pub(crate) const REPORT: usize = 8;

/// What descriptor 0, 1 or 2 of the child becomes; `None` stays the daemon's own.
#[derive(Debug, Default)]
pub(crate) struct Descriptors<'a> {
    pub(crate) of: [Option<&'a OwnedFd>; 3],
    /// These stay open at their numbers; they lie above 2.
    pub(crate) keep: &'a [RawFd],
}

/// A fork that happened; whether the exec did, `report` tells.
#[derive(Debug)]
pub(crate) struct Forked {
    pub(crate) pid: i32,
    /// Readable when the process ends; `None` where the kernel has no such thing.
    pub(crate) pidfd: Option<OwnedFd>,
    /// Ends empty when the program runs; does not block.
    pub(crate) report: OwnedFd,
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
    let lent = if plan.changes_user() { None } else { lend::divide(&child) };
    let pid = lent.unwrap_or_else(|| {
        // SAFETY: the child calls only async-signal-safe functions and never returns from `run`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child.run();
        }
        pid
    });
    let error = io::Error::last_os_error();
    // SAFETY: the mask was written by the first call; null asks for no old mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    if pid < 0 {
        return Err(error);
    }
    Ok(Forked { pid, pidfd: raw::pidfd_open(pid).ok(), report })
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

/// What a report says, in circus' words; `None` for the empty one: the program runs.
pub(crate) fn failure(plan: &Plan, report: &[u8]) -> Option<String> {
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
    Some(format!("{}: {about}", words(number)))
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
            // SAFETY: changes only this process, which has a single thread.
            step(unsafe { libc::setgid(gid) }, Stage::Group, 0)?;
        }
        if let Some(groups) = &self.plan.groups {
            // SAFETY: the list lives as long as the plan and has that length.
            step(unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) }, Stage::Groups, 0)?;
        }
        if let Some(uid) = self.plan.uid {
            // SAFETY: changes only this process, which has a single thread.
            step(unsafe { libc::setuid(uid) }, Stage::User, 0)?;
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

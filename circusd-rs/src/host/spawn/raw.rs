//! The few other system calls that no safe library gives us in the form we need: signals by number
//! (real-time signals included) and exits without losing those that a real-time signal caused.
//!
//! It knows nothing of watchers or rules; every function is one call and its error.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use crate::arbiter::input::Usage;

/// The kernel counts pages for each thread and adds them up now and then; it may be wrong by so many bytes.
const COUNT_ERROR: u64 = 512 * 1024;

/// `kill(2)`: a positive number is a process, a negative one a group.
pub(crate) fn kill(target: i32, signal: i32) -> io::Result<()> {
    // SAFETY: kill takes two numbers and touches no memory of ours.
    check(unsafe { libc::kill(target, signal) }).map(drop)
}

/// A descriptor that becomes readable when the process ends. It must not have been reaped yet.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers; the new descriptor (close-on-exec by definition) is owned by nobody else.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, libc::PIDFD_NONBLOCK) };
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
    check(fd)?;
    // SAFETY: the call succeeded, so this is a fresh descriptor and we are its only owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal to the process that a descriptor stands for, whatever its number means by now.
pub(crate) fn pidfd_send_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: an open descriptor, two numbers, and null for "as kill does".
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, null, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Have the runtime tell when a descriptor becomes readable.
pub(crate) fn watched(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor always names the same open file and is closed only when dropped.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// The most memory this process held at once so far, in bytes.
pub(crate) fn own_peak() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    usage.map_or(0, |usage| kibibytes(usage.max_rss()))
}

fn kibibytes(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0).saturating_mul(1024)
}

/// How a process ended, as circus counts: exit status, or minus the signal number; and what it used, where
/// `floor` is what the kernel counted as its memory before it executed its program.
pub(crate) fn reap(pid: i32, floor: u64) -> io::Result<Option<(i32, Usage)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut used = MaybeUninit::<libc::rusage>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG;
    // SAFETY: the kernel writes at most one siginfo_t and one rusage, for which there is room. The
    // library's waitid has no place for the latter.
    let result = unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PID, pid, info.as_mut_ptr(), options, used.as_mut_ptr())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes is valid for both, and so is what the kernel wrote.
    let (info, used) = unsafe { (info.assume_init(), used.assume_init()) };
    let time = |time: libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
        Duration::from_secs(seconds.unwrap_or(0)) + Duration::from_micros(micros.unwrap_or(0))
    };
    let max_rss = kibibytes(used.ru_maxrss);
    let usage = Usage {
        core: info.si_code == libc::CLD_DUMPED,
        max_rss,
        max_rss_exact: max_rss > floor.saturating_add(COUNT_ERROR),
        cpu: time(used.ru_utime) + time(used.ru_stime),
    };
    Ok(ended(&info).map(|(_, code)| (code, usage)))
}

/// The number of any child that has ended and was not reaped yet; it stays that way.
pub(crate) fn peek() -> io::Result<Option<i32>> {
    let info = wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)?;
    Ok(info.map(|(pid, _)| pid))
}

/// Wait until a child that is about to leave has left; how it did is of no interest.
pub(crate) fn await_exit(pid: i32) {
    while let Err(error) = wait(libc::P_PID, pid.unsigned_abs(), libc::WEXITED) {
        if error.kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
}

fn wait(kind: libc::idtype_t, id: libc::id_t, options: i32) -> io::Result<Option<(i32, i32)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the kernel writes at most one siginfo_t, for which there is room.
    check(unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) })?;
    // SAFETY: all zeroes is a valid siginfo_t, and so is what the kernel wrote.
    Ok(ended(&unsafe { info.assume_init() }))
}

/// Who ended and how, if anybody did.
fn ended(info: &libc::siginfo_t) -> Option<(i32, i32)> {
    // SAFETY: after waitid the fields for child events are the ones that are set (zero if nothing waited).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    let code = if info.si_code == libc::CLD_EXITED { status } else { -status };
    Some((pid, code))
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

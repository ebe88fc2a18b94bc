//! A fork that copies nothing: the child runs in the daemon's memory, on a stack of its own, until it
//! executes its program or leaves, and the thread that made it waits for that.
//!
//! ```text
//!  parent ─clone3─┐ waits                                  ┌─► goes on: the report is complete
//!                 └─► child: session, descriptors, … ─exec─┘
//! ```
//!
//! A real fork copies the page tables, and afterwards both sides fault once for each page they write:
//! that is most of what starting a process costs a daemon. What makes lending memory safe here: all
//! signals are blocked, so that no handler of ours runs in the child; the child makes system calls only,
//! allocates nothing and never returns; and whoever becomes another user does not come this way, because
//! in between a foreign user's process would hold the daemon's memory.
//!
//! It refuses to know what the child does.

use std::os::fd::OwnedFd;

use super::Child;

/// Room for the few frames between here and exec.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const STACK: usize = 64 * 1024;

/// Have the child run, in a cgroup if one is given. `None` if the kernel does not do this, or not now;
/// then a fork may say why.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) fn divide(child: &Child<'_>, cgroup: Option<&OwnedFd>) -> Option<i32> {
    use std::arch::asm;
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;

    use super::CLONE_INTO_CGROUP;

    let mut stack: Box<[MaybeUninit<u128>]> = Box::new_uninit_slice(STACK / size_of::<u128>());
    // SAFETY: all zeroes means that nothing is asked for.
    let mut how: libc::clone_args = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (libc::CLONE_VM | libc::CLONE_VFORK).unsigned_abs().into();
    if let Some(cgroup) = cgroup {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = cgroup.as_raw_fd().unsigned_abs().into();
    }
    how.exit_signal = libc::SIGCHLD.unsigned_abs().into();
    how.stack = stack.as_mut_ptr() as u64;
    how.stack_size = STACK as u64;
    let result: i64;
    // SAFETY: `how` is complete and its stack belongs to nobody else; the parent sleeps until the child
    // no longer uses either. The child enters `run` on an aligned, empty stack and never comes back from
    // there; the parent sees a system call that changes the registers that such calls change.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {child}",
            "call {run}",
            "ud2",
            "2:",
            child = in(reg) std::ptr::from_ref(child),
            run = in(reg) run as extern "C" fn(*const Child<'_>) -> !,
            inout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const how,
            in("rsi") size_of_val(&how),
            out("rcx") _,
            out("r11") _,
        );
    }
    i32::try_from(result).ok().filter(|pid| *pid > 0)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
extern "C" fn run(child: *const Child<'_>) -> ! {
    // SAFETY: the parent's reference, alive while the parent sleeps.
    unsafe { &*child }.run()
}

/// Elsewhere there is the fork.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(super) fn divide(_: &Child<'_>, _: Option<&OwnedFd>) -> Option<i32> {
    None
}

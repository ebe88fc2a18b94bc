//! How many descriptors the daemon may have, and what it keeps in reserve.
//!
//! Every captured process costs the daemon descriptors, so it takes as many as it is allowed to; its
//! children get the limit that it was started with. When even those run out, pipes and log files of
//! processes are refused first, so that clients still get an answer and streams that work go on: whoever
//! is refused is tried again later.
//!
//! The limit is the process', so it is kept once for all of it. It refuses to know what descriptors are
//! for.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For connections, sockets and timers of the daemon itself, when there is room.
const RESERVE: u64 = 64;

/// Of a small limit, this part is kept instead.
const SHARE: u64 = 4;

/// What the daemon was started with.
static LIMIT: OnceLock<Limit> = OnceLock::new();

#[derive(Debug, Clone, Copy)]
struct Limit {
    soft: u64,
    hard: u64,
    /// The first number that only the daemon itself may use.
    ceiling: u64,
}

/// Take as many as allowed. Once, before there are threads; a refusal leaves the limit as it is.
pub fn raise() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let raised = match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    let ceiling = raised - RESERVE.min(raised / SHARE);
    let _raised_before = LIMIT.set(Limit { soft, hard, ceiling });
}

/// The soft and the hard limit that children get.
pub(crate) fn inherited() -> Option<(u64, u64)> {
    LIMIT.get().map(|limit| (limit.soft, limit.hard))
}

/// Keeps what was opened for a process, unless it would use up the reserve: numbers are given from
/// below, so a high one says that there are few left.
pub(crate) fn within<F: AsRawFd>(opened: F) -> io::Result<F> {
    let number = u64::try_from(opened.as_raw_fd()).unwrap_or(0);
    match LIMIT.get() {
        Some(limit) if number >= limit.ceiling => Err(io::Error::from_raw_os_error(libc::EMFILE)),
        Some(_) | None => Ok(opened),
    }
}

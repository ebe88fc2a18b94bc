//! Numbers that cannot be wrong: no process id 0 or -1, no signal the kernel has not.

use std::fmt;
use std::num::NonZeroI32;

/// A process id as the kernel gives it: positive, reused after the process was reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pid(NonZeroI32);

impl Pid {
    /// `None` for zero and negative numbers, which `kill(2)` would take for groups or for everybody.
    #[must_use]
    pub fn new(raw: i32) -> Option<Self> {
        if raw > 0 { NonZeroI32::new(raw).map(Self) } else { None }
    }

    /// The kernel's number.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0.get()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The small number of a process within its watcher, from 1, reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wid(pub u32);

impl fmt::Display for Wid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A signal number as a client sent it. Numbers that the kernel refuses are kept, because circus
/// answers those with the operating system's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub i32);

impl Signal {
    /// Hang up; reload by convention.
    pub const HUP: Self = Self(1);
    /// Interrupt.
    pub const INT: Self = Self(2);
    /// Quit.
    pub const QUIT: Self = Self(3);
    /// The one that cannot be ignored.
    pub const KILL: Self = Self(9);
    /// The polite end; circus' default stop signal.
    pub const TERM: Self = Self(15);
    /// Continue a stopped process.
    pub const CONT: Self = Self(18);
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// circus' number in an error reply (not the kernel's errno).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Errno {
    /// 1: the payload is not JSON.
    InvalidJson,
    /// 2: no such command.
    UnknownCommand,
    /// 3: wrong arguments, unknown watcher, unknown option.
    Message,
    /// 4: the operating system said no.
    Os,
    /// 5: anything else that went wrong while the command was carried out.
    Command,
    /// 6: the asynchronous part failed.
    Server,
}

impl Errno {
    /// The number on the wire.
    #[must_use]
    pub fn get(self) -> i64 {
        match self {
            Self::InvalidJson => 1,
            Self::UnknownCommand => 2,
            Self::Message => 3,
            Self::Os => 4,
            Self::Command => 5,
            Self::Server => 6,
        }
    }
}

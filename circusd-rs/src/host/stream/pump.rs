//! One pipe of one process, read until its end.
//!
//! The end of the process is not the end of its output: what it wrote last is still in the pipe, and
//! somebody it left behind may hold the pipe open for ever. So after the end of the process and its
//! group the pump goes on for [`GRACE`], empties the pipe once more and closes it.
//!
//! It knows nothing of files.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use circus_protocol::number::Pid;
use nix::fcntl::{FcntlArg, fcntl};
use tokio::net::unix::pipe;
use tokio::select;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::host::clock;
use crate::host::stream::sink::Slot;

/// One read: as much as a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// What pipes are asked to hold; the kernel may refuse.
const PIPE: i32 = 256 * 1024;

/// How long after the end of a process its pipe is read, if somebody holds it open.
const GRACE: Duration = Duration::from_secs(2);

/// What is read from one pipe without looking at others or at the deadline.
const BURST: usize = 16;

/// What is emptied from a pipe at its end, at most: no pipe holds more.
const REST: usize = 16;

/// What all pumps use in turn.
pub(crate) struct Shared {
    buffer: RefCell<Box<[u8]>>,
    pumps: Cell<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { buffer: RefCell::new(vec![0; CHUNK].into_boxed_slice()), pumps: Cell::new(0) }
    }
}

/// One pipe.
pub(crate) struct Pump {
    pid: Pid,
    pipe: pipe::Receiver,
    slot: Rc<RefCell<Slot>>,
    shared: Rc<Shared>,
    number: u64,
    ended: Cell<Option<Instant>>,
    changed: Notify,
}

/// What one read gave.
enum Read {
    Some,
    Nothing,
    End,
}

impl Pump {
    pub(crate) fn new(
        pid: Pid,
        pipe: OwnedFd,
        slot: Rc<RefCell<Slot>>,
        shared: Rc<Shared>,
    ) -> io::Result<Self> {
        // A bigger pipe saves switches; users without privileges have a limited number of those.
        let _refused = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE));
        let number = shared.pumps.get();
        shared.pumps.set(number + 1);
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        Ok(Self { pid, pipe, slot, shared, number, ended: Cell::new(None), changed: Notify::new() })
    }

    pub(crate) fn feeds(&self, slot: &Rc<RefCell<Slot>>) -> bool {
        Rc::ptr_eq(&self.slot, slot)
    }

    pub(crate) fn process_ended(&self) {
        self.ended.set(Some(clock::monotonic()));
        self.changed.notify_one();
    }

    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            let deadline = self.ended.get().map(|ended| ended + GRACE);
            if deadline.is_some_and(|deadline| clock::monotonic() >= deadline) {
                self.drain();
                break;
            }
            select! {
                ready = self.pipe.readable() => {
                    if ready.is_err() {
                        break;
                    }
                    if let Read::End = self.burst(Self::read_ready) {
                        break;
                    }
                }
                () = self.changed.notified() => {}
                () = sleep_until(deadline.unwrap_or_else(clock::monotonic).into()), if deadline.is_some() => {}
            }
            tokio::task::yield_now().await;
        }
        self.slot.borrow_mut().end_of(self.number);
    }

    /// Write what is in the pipe now, as its last.
    pub(crate) fn finish(&self) {
        self.drain();
        self.slot.borrow_mut().end_of(self.number);
    }

    /// Write what is in the pipe now.
    fn drain(&self) {
        for _ in 0..REST {
            match self.burst(Self::read_now) {
                Read::Some => {}
                Read::Nothing | Read::End => break,
            }
        }
    }

    fn burst(&self, read: fn(&Self, &mut [u8]) -> io::Result<usize>) -> Read {
        let mut buffer = self.shared.buffer.borrow_mut();
        for _ in 0..BURST {
            match read(self, &mut buffer) {
                Ok(0) => return Read::End,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.slot.borrow_mut().write(self.number, self.pid, bytes);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Read::Nothing,
                    _ => {
                        tracing::warn!(pid = self.pid.get(), %error, "cannot read the output");
                        return Read::End;
                    }
                },
            }
        }
        Read::Some
    }

    /// Read, and note when the pipe is empty, so that the runtime watches it again.
    fn read_ready(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pipe.try_read(buffer)
    }

    /// Read whether or not the runtime has seen that there is something.
    fn read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.pipe, buffer)?)
    }
}

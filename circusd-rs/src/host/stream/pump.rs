//! One pipe of one process, read until its end.
//!
//! The end of the process is not the end of its output: what it wrote last is still in the pipe, and
//! somebody it left behind may hold the pipe open for as long as it likes. So a pump goes on until the
//! pipe ends; nobody waits for it, and what comes late is written like the rest.
//!
//! It knows nothing of files.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use circus_protocol::number::{Pid, Wid};
use nix::fcntl::{FcntlArg, fcntl};
use tokio::net::unix::pipe;
use tokio::select;
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::host::stream::Attach;
use crate::host::stream::Feed;
use crate::host::stream::line::Speaker;
use crate::host::stream::live::{Air, Topic};
use crate::host::stream::sink::Slot;
use crate::host::stream::tail::Tail;

/// One read, at most.
const CHUNK: usize = 256 * 1024;

/// A read of so much says that the child is faster than we are: a full pipe as the kernel makes them.
const FULL: usize = 64 * 1024;

/// What the pipe of such a child is asked to hold. Not before, because users without privileges have a
/// limited number of such pages, and the pipes of 1,000 quiet children need none.
const WIDE: [i32; 2] = [1024 * 1024, 256 * 1024];

/// What is read from one pipe without looking at others: 4 MiB.
const BURST: usize = 16;

/// What is emptied from a pipe at its end, at most, in bursts: no pipe holds more.
const REST: usize = 16;

/// What all pumps use in turn.
pub(crate) struct Shared {
    buffer: RefCell<Box<[u8]>>,
    /// Where lines get their beginnings.
    scratch: RefCell<Vec<u8>>,
    pumps: Cell<u64>,
    pub(crate) air: RefCell<Air>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            buffer: RefCell::new(vec![0; CHUNK].into_boxed_slice()),
            scratch: RefCell::default(),
            pumps: Cell::new(0),
            air: RefCell::default(),
        }
    }
}

/// One pipe.
pub(crate) struct Pump {
    pid: Pid,
    wid: Wid,
    name: Box<str>,
    feed: Feed,
    pipe: pipe::Receiver,
    slot: Rc<RefCell<Slot>>,
    tail: Rc<RefCell<Tail>>,
    shared: Rc<Shared>,
    number: u64,
    wide: Cell<bool>,
    closed: Cell<bool>,
    changed: Notify,
    topic: RefCell<Topic>,
}

/// What one read gave.
enum Read {
    Some,
    Nothing,
    End,
}

impl Pump {
    pub(crate) fn new(
        attach: Attach,
        slot: Rc<RefCell<Slot>>,
        tail: Rc<RefCell<Tail>>,
        shared: Rc<Shared>,
    ) -> io::Result<Self> {
        let Attach { feed, pid, wid, name, pipe, .. } = attach;
        let number = shared.pumps.get();
        shared.pumps.set(number + 1);
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        let (wide, closed) = (Cell::new(false), Cell::new(false));
        let (changed, topic) = (Notify::new(), RefCell::default());
        Ok(Self { pid, wid, name, feed, pipe, slot, tail, shared, number, wide, closed, changed, topic })
    }

    /// By which its bytes are known in a tail.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) async fn run(self: Rc<Self>) {
        while !self.closed.get() {
            let stuck = self.slot.borrow().stuck();
            select! {
                ready = self.pipe.readable(), if stuck.is_none() => {
                    if ready.is_err() {
                        break;
                    }
                    if let Read::End = self.burst(Self::read_ready) {
                        break;
                    }
                }
                () = self.changed.notified() => {}
                () = retry_at(stuck), if stuck.is_some() => self.slot.borrow_mut().retry(),
            }
            tokio::task::yield_now().await;
        }
        if !self.closed.get() {
            self.end();
        }
    }

    /// Write what is in the pipe now, as its last.
    pub(crate) fn finish(&self) {
        if !self.closed.replace(true) {
            // Also what must wait: this is the last chance to write it.
            self.empty(|_| false);
            self.end();
            self.changed.notify_one();
        }
    }

    fn end(&self) {
        self.topic.borrow_mut().end(self.speaker(), &self.shared.air.borrow());
        self.slot.borrow_mut().end_of(self.number);
    }

    /// Write what is in the pipe now, unless that must wait.
    pub(crate) fn drain(&self) {
        self.empty(|slot| slot.stuck().is_some());
    }

    fn empty(&self, enough: fn(&Slot) -> bool) {
        for _ in 0..REST {
            if enough(&self.slot.borrow()) {
                break;
            }
            match self.burst(Self::read_now) {
                Read::Some => {}
                Read::Nothing | Read::End => break,
            }
        }
    }

    fn speaker(&self) -> Speaker<'_> {
        let Self { number, pid, wid, name, feed, .. } = self;
        Speaker { pump: *number, pid: *pid, wid: *wid, name, feed: feed.name() }
    }

    fn burst(&self, read: fn(&Self, &mut [u8]) -> io::Result<usize>) -> Read {
        let mut buffer = self.shared.buffer.borrow_mut();
        for _ in 0..BURST {
            match read(self, &mut buffer) {
                Ok(0) => return Read::End,
                Ok(length) => {
                    self.pass_on(buffer.get(..length).unwrap_or_default());
                    if self.slot.borrow().stuck().is_some() {
                        return Read::Some;
                    }
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

    fn pass_on(&self, bytes: &[u8]) {
        if bytes.len() >= FULL && !self.wide.replace(true) {
            let asked =
                WIDE.into_iter().find(|size| fcntl(&self.pipe, FcntlArg::F_SETPIPE_SZ(*size)).is_ok());
            if asked.is_none() {
                tracing::debug!(pid = self.pid.get(), "the kernel gives no wider pipe");
            }
        }
        let mut scratch = self.shared.scratch.borrow_mut();
        self.slot.borrow_mut().write(self.speaker(), bytes, &mut scratch);
        self.tail.borrow_mut().push(self.number, bytes);
        self.topic.borrow_mut().speak(self.speaker(), bytes, &self.shared.air.borrow());
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

async fn retry_at(stuck: Option<std::time::Instant>) {
    match stuck {
        Some(retry) => sleep_until(retry.into()).await,
        None => std::future::pending().await,
    }
}

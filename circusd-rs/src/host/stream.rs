//! Where stdout and stderr go: one thread that moves bytes from the children's pipes to their streams.
//!
//! ```text
//!  pipe ─► pump ─┐
//!  pipe ─► pump ─┴► slot (one for each watcher's stdout, one for its stderr) ─► sink: file, terminal, nothing
//! ```
//!
//! A pump belongs to one pipe and lives until its end, or until a while after the process ended. A slot
//! belongs to a watcher; reopening its sink makes all its pumps switch over. All pumps share one
//! buffer, and a sink writes at once, so memory does not grow: when a disk is slow, the pipes push
//! back on the children, and only on them, because the daemon's loop is on another thread.
//!
//! It refuses to know what a line means, and never drops bytes of a sink that works. A sink that does
//! not work is reported once and tried again; the child goes on.

pub mod file;
pub mod line;
pub(crate) mod pump;
pub(crate) mod record;
pub mod sink;
pub mod timed;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};
use std::thread;

use circus_protocol::number::Pid;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::arbiter::id::{Key, WatcherId};
use crate::config::StreamConfig;
use crate::host::stream::pump::{Pump, Shared};
use crate::host::stream::sink::Slot;

/// Messages that may wait for the thread: a few for each process start. It is full only while a disk
/// hangs; then a new process' output is not taken, which is said in the log.
const MESSAGES: usize = 65_536;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Feed {
    Stdout,
    Stderr,
}

impl Feed {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// A new process' pipe.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) key: Key,
    pub(crate) watcher: WatcherId,
    pub(crate) feed: Feed,
    pub(crate) pid: Pid,
    pub(crate) pipe: OwnedFd,
}

#[derive(Debug)]
enum Message {
    Open { watcher: WatcherId, stdout: Option<StreamConfig>, stderr: Option<StreamConfig> },
    Close { watcher: WatcherId },
    Attach(Attach),
    Ended { key: Key },
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    messages: mpsc::Sender<Message>,
}

impl Outputs {
    /// Start the thread. The receiver ends when all of it was dropped and the pipes were emptied.
    pub(crate) fn start() -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (messages, received) = mpsc::channel(MESSAGES);
        let (done, finished) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, Streams::default().run(received));
            // Nobody waiting is fine.
            let _unheard = done.send(());
        })?;
        Ok((Self { messages }, finished))
    }

    pub(crate) fn open(
        &self,
        watcher: WatcherId,
        stdout: Option<StreamConfig>,
        stderr: Option<StreamConfig>,
    ) {
        self.send(Message::Open { watcher, stdout, stderr });
    }

    pub(crate) fn close(&self, watcher: WatcherId) {
        self.send(Message::Close { watcher });
    }

    pub(crate) fn attach(&self, attach: Attach) {
        self.send(Message::Attach(attach));
    }

    /// The process and its group are gone; what is left in its pipes is still written.
    pub(crate) fn ended(&self, key: Key) {
        self.send(Message::Ended { key });
    }

    fn send(&self, message: Message) {
        if let Err(error) = self.messages.try_send(message) {
            tracing::error!(%error, "the output thread does not answer; its message is lost");
        }
    }
}

/// All streams of the daemon.
#[derive(Default)]
struct Streams {
    slots: HashMap<(WatcherId, Feed), Rc<RefCell<Slot>>>,
    pumps: HashMap<Key, Vec<Weak<Pump>>>,
    /// Of processes that ended, until their pipes have.
    ended: Vec<Weak<Pump>>,
    shared: Rc<Shared>,
}

impl Streams {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Open { watcher, stdout, stderr } => {
                    self.slot(watcher, Feed::Stdout).borrow_mut().open(
                        watcher,
                        Feed::Stdout,
                        stdout.as_ref(),
                    );
                    self.slot(watcher, Feed::Stderr).borrow_mut().open(
                        watcher,
                        Feed::Stderr,
                        stderr.as_ref(),
                    );
                }
                Message::Close { watcher } => self.close(watcher),
                Message::Attach(attach) => self.attach(attach),
                Message::Ended { key } => self.ended(key),
            }
        }
        for pump in self.reading() {
            pump.finish();
        }
    }

    fn ended(&mut self, key: Key) {
        self.ended.retain(|pump| pump.strong_count() > 0);
        for weak in self.pumps.remove(&key).into_iter().flatten() {
            if let Some(pump) = weak.upgrade() {
                pump.process_ended();
                self.ended.push(weak);
            }
        }
    }

    /// All pumps whose pipes may still hold something.
    fn reading(&self) -> impl Iterator<Item = Rc<Pump>> {
        self.pumps.values().flatten().chain(&self.ended).filter_map(Weak::upgrade)
    }

    fn slot(&mut self, watcher: WatcherId, feed: Feed) -> Rc<RefCell<Slot>> {
        Rc::clone(self.slots.entry((watcher, feed)).or_default())
    }

    fn attach(&mut self, attach: Attach) {
        let fresh = !self.slots.contains_key(&(attach.watcher, attach.feed));
        let slot = self.slot(attach.watcher, attach.feed);
        if fresh {
            // Nobody opened it: as if it had been inherited.
            slot.borrow_mut().open(attach.watcher, attach.feed, None);
        }
        match Pump::new(attach.pid, attach.pipe, slot, Rc::clone(&self.shared)) {
            Ok(pump) => {
                let pump = Rc::new(pump);
                self.pumps.entry(attach.key).or_default().push(Rc::downgrade(&pump));
                tokio::task::spawn_local(pump.run());
            }
            Err(error) => {
                tracing::error!(pid = attach.pid.get(), feed = attach.feed.name(), %error, "cannot read the output");
            }
        }
    }

    /// Pumps of processes that live on keep reading, to nowhere.
    fn close(&mut self, watcher: WatcherId) {
        for feed in [Feed::Stdout, Feed::Stderr] {
            let Some(slot) = self.slots.remove(&(watcher, feed)) else { continue };
            for pump in self.reading().filter(|pump| pump.feeds(&slot)) {
                pump.finish();
            }
            slot.borrow_mut().close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::StreamClass;

    /// The order of messages when a process ends as the last of its watcher, and the thread is busy:
    /// nothing of the pipe was read when the close comes.
    fn check(time_format: Option<&str>, expected: &str, close: bool) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        let mut conf = std::collections::BTreeMap::from([("filename".to_owned(), path.to_str().into())]);
        conf.extend(time_format.map(|format| ("time_format".to_owned(), format.into())));
        let stdout = Some(StreamConfig { class: StreamClass::File, conf });
        let (pipe, theirs) = nix::unistd::pipe().unwrap();
        std::fs::File::from(theirs).write_all(b"last words").unwrap();

        let (messages, received) = mpsc::channel(MESSAGES);
        let outputs = Outputs { messages };
        let (watcher, key, pid) = (WatcherId(1), Key(1), Pid::new(7).unwrap());
        outputs.open(watcher, stdout, None);
        outputs.attach(Attach { key, watcher, feed: Feed::Stdout, pid, pipe });
        outputs.ended(key);
        if close {
            outputs.close(watcher);
        }
        drop(outputs);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, Streams::default().run(received));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
    }

    #[test]
    fn last_words_are_written_before_the_stream_closes() {
        check(None, "last words", true);
        check(Some("T"), "T [7] | last words\n", true);
    }

    #[test]
    fn last_words_are_written_before_the_daemon_ends() {
        check(None, "last words", false);
        check(Some("T"), "T [7] | last words\n", false);
    }
}

//! Where stdout and stderr go: one thread that moves bytes from the children's pipes to their streams.
//!
//! ```text
//!  pipe ─► pump ─┐                                                       ┌► sink: file, terminal, nothing
//!  pipe ─► pump ─┴► slot (one for each watcher's stdout, one for stderr) ┼► tail: the last bytes, in memory
//!                                                                        └► whoever listens
//! ```
//!
//! A pump belongs to one pipe and lives until its end, however long after the process that is. A slot
//! belongs to a watcher; reopening its sink makes all its pumps switch over, and one that the watcher
//! has left is closed when its last pipe ends. All pumps share one buffer, and a sink writes at once, so
//! memory does not grow: when a disk is slow, the pipes push back on the children, and only on them,
//! because the daemon's loop is on another thread.
//!
//! It refuses to know what a line means, and never drops bytes of a sink that works. A sink that does
//! not work is reported once and tried again; the child goes on.

pub(crate) mod bell;
pub mod file;
pub mod line;
pub(crate) mod live;
pub mod options;
pub(crate) mod pump;
pub(crate) mod record;
pub(crate) mod sink;
pub(crate) mod tail;
pub mod timed;
pub(crate) mod words;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::thread;

use circus_protocol::number::{Pid, Wid};
use circus_protocol::transport::Aside;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

pub(crate) use crate::arbiter::effect::Feed;
use crate::arbiter::id::{Key, WatcherId};
use crate::arbiter::input::{Input, StreamTrouble};
use crate::config::StreamConfig;
use crate::host::stream::bell::Bell;
use crate::host::stream::live::Air;
use crate::host::stream::pump::{Pump, Shared};
use crate::host::stream::sink::Slot;
use crate::host::stream::tail::{Budget, Tail};
use crate::host::stream::words::{LastWords, Words};

/// Messages that may wait for the thread: a few for each process start. It is full only while a disk
/// hangs; then a new process' output is not taken, which is said in the log.
const MESSAGES: usize = 65_536;

/// How the topics of live output begin.
pub const LIVE: &[u8] = b"log.";

/// How many pipes of dead processes may be held open by those they left behind; of more, the oldest
/// is closed.
const ABANDONED: usize = 1024;

/// A new process' pipe.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) key: Key,
    pub(crate) watcher: WatcherId,
    pub(crate) name: Box<str>,
    pub(crate) wid: Wid,
    pub(crate) feed: Feed,
    pub(crate) pid: Pid,
    pub(crate) pipe: OwnedFd,
}

/// What is known of a stream besides its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// Where its file is, if it is open.
    pub(crate) path: Option<PathBuf>,
    /// The position of the first byte that is in memory, and the bytes.
    pub(crate) start: u64,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
enum Message {
    Open { watcher: WatcherId, name: Box<str>, stdout: Option<StreamConfig>, stderr: Option<StreamConfig> },
    Close { watcher: WatcherId },
    Forget { watcher: WatcherId },
    Attach(Attach),
    Died { key: Key },
    Listeners(Aside),
    Find { watcher: WatcherId, feed: Feed, answer: oneshot::Sender<Found> },
    LastWords { watcher: WatcherId, key: Key, answer: oneshot::Sender<Words> },
    Troubles { watcher: WatcherId, answer: oneshot::Sender<Vec<StreamTrouble>> },
}

/// The way to the thread.
#[derive(Debug, Clone)]
pub(crate) struct Outputs {
    messages: mpsc::Sender<Message>,
}

impl Outputs {
    /// Start the thread. The receiver ends when all of it was dropped and the pipes were emptied.
    pub(crate) fn start(inputs: mpsc::Sender<Input>) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (messages, received) = mpsc::channel(MESSAGES);
        let (done, finished) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            let (streams, tasks) = (Streams::default(), LocalSet::new());
            tasks.spawn_local(Rc::clone(&streams.bell).tell(inputs));
            tasks.block_on(&runtime, streams.run(received));
            // Nobody waiting is fine.
            let _unheard = done.send(());
        })?;
        Ok((Self { messages }, finished))
    }

    pub(crate) fn open(
        &self,
        watcher: WatcherId,
        name: Box<str>,
        stdout: Option<StreamConfig>,
        stderr: Option<StreamConfig>,
    ) {
        self.send(Message::Open { watcher, name, stdout, stderr });
    }

    pub(crate) fn close(&self, watcher: WatcherId) {
        self.send(Message::Close { watcher });
    }

    /// The watcher is no more; nobody will ask what its processes said.
    pub(crate) fn forget(&self, watcher: WatcherId) {
        self.send(Message::Forget { watcher });
    }

    pub(crate) fn attach(&self, attach: Attach) {
        self.send(Message::Attach(attach));
    }

    /// The process has died; what is left in its pipes is still written, and is its last words.
    pub(crate) fn died(&self, key: Key) {
        self.send(Message::Died { key });
    }

    /// Where those listen who want to see output at once.
    pub(crate) fn listeners(&self, aside: Aside) {
        self.send(Message::Listeners(aside));
    }

    /// What is known of a stream; an error when the thread is gone.
    pub(crate) fn find(&self, watcher: WatcherId, feed: Feed) -> oneshot::Receiver<Found> {
        let (answer, found) = oneshot::channel();
        self.send(Message::Find { watcher, feed, answer });
        found
    }

    /// What a process that died wrote last.
    pub(crate) fn last_words(&self, watcher: WatcherId, key: Key) -> oneshot::Receiver<Words> {
        let (answer, found) = oneshot::channel();
        self.send(Message::LastWords { watcher, key, answer });
        found
    }

    /// What is wrong with a watcher's streams.
    pub(crate) fn troubles(&self, watcher: WatcherId) -> oneshot::Receiver<Vec<StreamTrouble>> {
        let (answer, found) = oneshot::channel();
        self.send(Message::Troubles { watcher, answer });
        found
    }

    fn send(&self, message: Message) {
        if let Err(error) = self.messages.try_send(message) {
            tracing::error!(%error, "the output thread does not answer; its message is lost");
        }
    }
}

/// One of a watcher's two streams.
type Stream = (WatcherId, Feed);

/// A pump that was started.
struct Started {
    feed: Feed,
    number: u64,
    pump: Weak<Pump>,
}

/// All streams of the daemon.
#[derive(Default)]
struct Streams {
    slots: HashMap<Stream, Rc<RefCell<Slot>>>,
    /// As long as the watcher is known, open or not.
    tails: HashMap<Stream, Rc<RefCell<Tail>>>,
    budget: Rc<Budget>,
    words: LastWords,
    /// A pump may have come to its pipe's end before its process is known to be dead.
    pumps: HashMap<Key, (WatcherId, Vec<Started>)>,
    /// Of processes that died, until their pipes end.
    abandoned: Vec<Weak<Pump>>,
    shared: Rc<Shared>,
    bell: Rc<Bell>,
}

impl Streams {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            match message {
                Message::Open { watcher, name, stdout, stderr } => {
                    self.open((watcher, Feed::Stdout), &name, stdout.as_ref());
                    self.open((watcher, Feed::Stderr), &name, stderr.as_ref());
                }
                Message::Close { watcher } => self.close(watcher),
                Message::Forget { watcher } => self.forget(watcher),
                Message::Attach(attach) => self.attach(attach),
                Message::Died { key } => self.died(key),
                Message::Listeners(aside) => *self.shared.air.borrow_mut() = Air(Some(aside)),
                Message::Find { watcher, feed, answer } => {
                    let _asker_left = answer.send(self.find((watcher, feed)));
                }
                Message::LastWords { watcher, key, answer } => {
                    let _asker_left = answer.send(self.words.of(watcher, key));
                }
                Message::Troubles { watcher, answer } => {
                    let slots = [Feed::Stdout, Feed::Stderr].map(|feed| self.slots.get(&(watcher, feed)));
                    let troubles = slots.into_iter().flatten().filter_map(|slot| slot.borrow().trouble());
                    let _asker_left = answer.send(troubles.collect());
                }
            }
        }
        let living = self.pumps.values().flat_map(|(_, pumps)| pumps).map(|started| &started.pump);
        for pump in living.chain(&self.abandoned).filter_map(Weak::upgrade) {
            pump.finish();
        }
    }

    fn open(&mut self, stream: Stream, name: &str, config: Option<&StreamConfig>) {
        match self.slots.get(&stream) {
            Some(slot) => slot.borrow_mut().open(config),
            None => {
                let slot = Slot::new(stream, name, config, Rc::clone(&self.bell));
                self.slots.insert(stream, Rc::new(RefCell::new(slot)));
            }
        }
    }

    /// Pumps of pipes that are still open go on with the slot that they have.
    fn close(&mut self, watcher: WatcherId) {
        for feed in [Feed::Stdout, Feed::Stderr] {
            self.slots.remove(&(watcher, feed));
        }
    }

    fn forget(&mut self, watcher: WatcherId) {
        self.close(watcher);
        for feed in [Feed::Stdout, Feed::Stderr] {
            self.tails.remove(&(watcher, feed));
        }
        self.words.forget(watcher);
    }

    fn attach(&mut self, attach: Attach) {
        let (stream, key, pid) = ((attach.watcher, attach.feed), attach.key, attach.pid);
        // Nobody opened it: as if it had been inherited.
        let slot = self.slots.entry(stream);
        let inherited =
            || Rc::new(RefCell::new(Slot::new(stream, &attach.name, None, Rc::clone(&self.bell))));
        let slot = Rc::clone(slot.or_insert_with(inherited));
        let tail = self.tails.entry(stream);
        let tail = tail.or_insert_with(|| Rc::new(RefCell::new(Tail::new(Rc::clone(&self.budget)))));
        match Pump::new(attach, slot, Rc::clone(tail), Rc::clone(&self.shared)) {
            Ok(pump) => {
                let pump = Rc::new(pump);
                let (_, pumps) = self.pumps.entry(key).or_insert_with(|| (stream.0, Vec::new()));
                let started = Started { feed: stream.1, number: pump.number(), pump: Rc::downgrade(&pump) };
                pumps.push(started);
                tokio::task::spawn_local(pump.run());
            }
            Err(error) => {
                tracing::error!(pid = pid.get(), feed = stream.1.name(), %error, "cannot read the output");
            }
        }
    }

    fn died(&mut self, key: Key) {
        let Some((watcher, pumps)) = self.pumps.remove(&key) else { return };
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for Started { feed, number, pump } in pumps {
            if let Some(living) = pump.upgrade() {
                living.drain();
                self.abandoned.push(pump);
            }
            let tail = self.tails.get(&(watcher, feed));
            let words = tail.map(|tail| tail.borrow().of(number)).unwrap_or_default();
            match feed {
                Feed::Stdout => stdout = words,
                Feed::Stderr => stderr = words,
            }
        }
        self.words.keep(watcher, key, &stdout, &stderr);
        if self.abandoned.len() > ABANDONED {
            self.abandoned.retain(|pump| pump.strong_count() > 0);
        }
        while self.abandoned.len() > ABANDONED {
            if let Some(pump) = self.abandoned.remove(0).upgrade() {
                tracing::warn!("too many pipes of dead processes are held open; the oldest is closed");
                pump.finish();
            }
        }
    }

    fn find(&self, stream: Stream) -> Found {
        let path = self.slots.get(&stream).and_then(|slot| slot.borrow().path().map(PathBuf::from));
        let Some(tail) = self.tails.get(&stream).map(|tail| tail.borrow()) else {
            return Found { path, ..Found::default() };
        };
        let bytes = if path.is_none() { tail.bytes() } else { Vec::new() };
        Found { path, start: tail.start(), bytes }
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
        outputs.open(watcher, "web".into(), stdout, None);
        let (name, wid) = ("web".into(), Wid(1));
        outputs.attach(Attach { key, watcher, name, wid, feed: Feed::Stdout, pid, pipe });
        outputs.died(key);
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

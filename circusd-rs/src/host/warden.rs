//! The thread that owns every process of ours: it forks, signals, watches and reaps.
//!
//! ```text
//!  Runner ──Order──► warden ──fork──► child ─┬─ report pipe, pidfd ──Notice──► warden ──Input──► loop
//!                      ▲                     └─ stdout, stderr ──► output thread
//!                      └── SIGCHLD: orphans, and processes whose kernel has no pidfd
//! ```
//!
//! One thread, because whoever reaps makes a process number free for reuse: here nothing can be
//! reaped between a look and a signal, and no sweep for orphans can meet a process that was forked
//! but not yet entered. It never waits for the loop: answers queue up in its outbox (at most two for
//! each process and one for each delivery) until there is room.
//!
//! It refuses to know why a process is wanted or what its end means.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::thread;

use circus_protocol::number::{Pid, Signal};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::unix::pipe;
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::arbiter::effect::{Reach, SpawnSpec, Stdio};
use crate::arbiter::id::{JobId, Key};
use crate::arbiter::input::Input;
use crate::config::diff::SocketChange;
use crate::host::child::{Child, Picture, State};
use crate::host::clock;
use crate::host::socket::{self, Ready, Sockets};
use crate::host::spawn::plan::{Plan, words};
use crate::host::spawn::{self, Descriptors, Forked, REPORT, raw};
use crate::host::stream::{Attach, Feed, Outputs};

/// Orders that may wait; a step of the arbiter gives at most a few for each process. When it is full
/// the thread is stuck in the kernel, and the runner refuses instead of waiting.
pub(crate) const ORDERS: usize = 65_536;

/// Notices that may wait; the watching tasks wait for room.
const NOTICES: usize = 1024;

/// Orders carried out before looking at exits again; they share one picture of the process table.
const BATCH: usize = 256;

/// What the runner wants done.
#[derive(Debug)]
pub(crate) enum Order {
    Spawn {
        key: Key,
        spec: Arc<SpawnSpec>,
    },
    Signal {
        key: Key,
        signal: Signal,
        reach: Reach,
    },
    Deliver {
        job: JobId,
        keys: Vec<Key>,
        signal: Signal,
        reach: Reach,
    },
    Aid {
        key: Key,
        spec: Box<SpawnSpec>,
        pipes: [Option<OwnedFd>; 3],
        news: mpsc::Sender<Input>,
    },
    /// The sockets that the daemon opened before there was a warden.
    Keep(Sockets),
    Sockets {
        job: JobId,
        changes: Vec<SocketChange>,
    },
    Watch {
        sockets: BTreeSet<String>,
    },
}

/// The most that is told about one process: it runs, it has ended, its group is gone.
pub(crate) const NEWS: usize = 3;

/// What a task that watches one process has seen.
#[derive(Debug)]
enum Notice {
    /// The program runs, or the report says why not.
    Started(Key, Vec<u8>),
    /// It has ended and can be reaped.
    Ended(Key),
    /// The addresses that a change of sockets needs are known.
    Resolved(JobId, Vec<Ready>, Vec<String>),
    /// A watched socket is readable.
    Knock(String),
}

/// Start the thread. `adopt` says that orphans come to us and must be reaped.
pub(crate) fn start(
    inputs: mpsc::Sender<Input>,
    outputs: Outputs,
    adopt: bool,
) -> io::Result<mpsc::Sender<Order>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, orders) = mpsc::channel(ORDERS);
    let (notices, noticed) = mpsc::channel(NOTICES);
    let (null, exits) = {
        let _inside = runtime.enter();
        (File::options().read(true).write(true).open("/dev/null")?, signal(SignalKind::child())?)
    };
    let warden = Warden {
        children: BTreeMap::new(),
        keys: BTreeMap::new(),
        looks: BTreeMap::new(),
        outbox: VecDeque::new(),
        aides: BTreeMap::new(),
        sockets: Sockets::default(),
        notices,
        outputs,
        null: null.into(),
        adopt,
    };
    thread::Builder::new()
        .name("warden".to_owned())
        .spawn(move || runtime.block_on(warden.run(inputs, orders, noticed, exits)))?;
    Ok(sender)
}

struct Warden {
    children: BTreeMap<Key, Child>,
    /// Of those that were not reaped yet.
    keys: BTreeMap<i32, Key>,
    /// When to look at which lingering group.
    looks: BTreeMap<Key, Instant>,
    outbox: VecDeque<Input>,
    /// Processes that the host itself asked for; the loop hears nothing of them.
    aides: BTreeMap<Key, mpsc::Sender<Input>>,
    /// Before `outputs`: whoever waits for the last output finds their files removed.
    sockets: Sockets,
    notices: mpsc::Sender<Notice>,
    outputs: Outputs,
    null: OwnedFd,
    adopt: bool,
}

impl Warden {
    async fn run(
        mut self,
        inputs: mpsc::Sender<Input>,
        mut orders: mpsc::Receiver<Order>,
        mut noticed: mpsc::Receiver<Notice>,
        mut exits: SignalStream,
    ) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let look = self.looks.values().min().copied();
            select! {
                count = orders.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return self.end_aides();
                    }
                    self.carry_out(&mut batch);
                }
                Some(notice) = noticed.recv() => self.notice(notice),
                _ = exits.recv() => self.sweep(),
                () = sleep_until(look.unwrap_or_else(|| clock::monotonic().into())), if look.is_some() => {
                    self.look_at_groups(false);
                }
                permit = inputs.reserve(), if !self.outbox.is_empty() => {
                    // The loop is gone: nobody is left to tell, and the processes stay, as with stock.
                    let Ok(permit) = permit else { return };
                    if let Some(input) = self.outbox.pop_front() {
                        permit.send(input);
                    }
                }
            }
        }
    }

    /// Helpers are of no use without the daemon.
    fn end_aides(&mut self) {
        let mut picture = Picture::default();
        for key in self.aides.keys() {
            let Some(child) = self.children.get_mut(key) else { continue };
            if let Err(refusal) = child.signal(Signal::KILL, Reach::Tree, &mut picture) {
                tracing::warn!(pid = child.pid.get(), %refusal, "a helper cannot be killed");
            }
        }
        picture.settle();
    }

    fn carry_out(&mut self, batch: &mut Vec<Order>) {
        let mut picture = Picture::default();
        for order in batch.drain(..) {
            match order {
                Order::Spawn { key, spec } => {
                    picture.outdate();
                    if let Err(error) = self.spawn(key, &spec) {
                        self.tell(key, Input::SpawnFailed { key, error });
                    }
                }
                Order::Aid { key, spec, pipes, news } => {
                    picture.outdate();
                    self.aides.insert(key, news);
                    if let Err(error) = self.aid(key, &spec, &pipes) {
                        self.tell(key, Input::SpawnFailed { key, error });
                    }
                }
                Order::Signal { key, signal, reach } => {
                    let Some(child) = self.children.get_mut(&key) else { continue };
                    if let Err(refusal) = child.signal(signal, reach, &mut picture) {
                        tracing::warn!(pid = child.pid.get(), signal = signal.0, %refusal, "signal refused");
                    }
                }
                Order::Deliver { job, keys, signal, reach } => {
                    let mut result = Ok(());
                    for key in keys {
                        let Some(child) = self.children.get_mut(&key) else { continue };
                        result = result.and(child.signal(signal, reach, &mut picture));
                    }
                    self.outbox.push_back(Input::Delivered { job, result });
                }
                Order::Keep(sockets) => self.sockets = sockets,
                Order::Sockets { job, changes } => self.change_sockets(job, changes),
                Order::Watch { sockets } => self.sockets.watch_all(&sockets, &self.notices, Notice::Knock),
            }
        }
        picture.settle();
    }

    fn spawn(&mut self, key: Key, spec: &SpawnSpec) -> Result<(), String> {
        let given = self.sockets.give(&spec.sockets)?;
        let plan = match given.words(&spec.argv) {
            Some(argv) => Plan::new(&SpawnSpec { argv, ..spec.clone() }),
            None => Plan::new(spec),
        };
        let plan = plan.map_err(|error| error.to_string())?;
        let (stdout, out_feed) = self.sink(spec.stdout).map_err(system)?;
        let (stderr, err_feed) = self.sink(spec.stderr).map_err(system)?;
        let stdin = match (given.stdin(), spec.stdin) {
            (Some(socket), _) => Some(socket),
            (None, Stdio::Inherit) => None,
            (None, Stdio::Null | Stdio::Stream) => Some(&self.null),
        };
        let of = [stdin, self.given(spec.stdout, &stdout), self.given(spec.stderr, &stderr)];
        let (pid, forked) = fork(&plan, of, &given.keep)?;
        for (feed, pipe) in [(Feed::Stdout, out_feed), (Feed::Stderr, err_feed)] {
            if let Some(pipe) = pipe {
                self.outputs.attach(Attach { key, watcher: spec.watcher_id, feed, pid, pipe });
            }
        }
        self.enter(key, pid, plan, forked);
        Ok(())
    }

    /// As `spawn`, for the host itself.
    fn aid(&mut self, key: Key, spec: &SpawnSpec, pipes: &[Option<OwnedFd>; 3]) -> Result<(), String> {
        let plan = Plan::new(spec).map_err(|error| error.to_string())?;
        let [stdin, stdout, stderr] = pipes;
        let (pid, forked) = fork(&plan, [stdin.as_ref(), stdout.as_ref(), stderr.as_ref()], &[])?;
        self.enter(key, pid, plan, forked);
        Ok(())
    }

    fn enter(&mut self, key: Key, pid: Pid, plan: Plan, forked: Forked) {
        self.children.insert(key, Child::starting(pid, plan));
        self.keys.insert(forked.pid, key);
        tokio::spawn(watch(key, forked.report, forked.pidfd, self.notices.clone()));
    }

    /// Tells the loop, or whoever of the host asked for this process.
    fn tell(&mut self, key: Key, news: Input) {
        let Some(aide) = self.aides.get(&key) else { return self.outbox.push_back(news) };
        // There is room for all that can be told; who left has no ear.
        let _who_asked_left = aide.try_send(news);
        if !self.children.contains_key(&key) {
            self.aides.remove(&key);
        }
    }

    /// The two ends of a pipe, if one is wanted: the child's and ours.
    #[expect(clippy::unused_self, reason = "reads better beside `given`")]
    fn sink(&self, stdio: Stdio) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        match stdio {
            Stdio::Null | Stdio::Inherit => Ok((None, None)),
            Stdio::Stream => {
                let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
                Ok((Some(theirs), Some(ours)))
            }
        }
    }

    fn given<'a>(&'a self, stdio: Stdio, pipe: &'a Option<OwnedFd>) -> Option<&'a OwnedFd> {
        match stdio {
            Stdio::Null => Some(&self.null),
            Stdio::Inherit => None,
            Stdio::Stream => pipe.as_ref(),
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Started(key, report) => self.started(key, &report),
            Notice::Ended(key) => self.reap(key),
            Notice::Resolved(job, changes, errors) => self.sockets_resolved(job, changes, errors),
            Notice::Knock(socket) => {
                if self.sockets.knocked(&socket) {
                    self.outbox.push_back(Input::SocketReady { socket });
                }
            }
        }
        if self.adopt {
            self.sweep();
        }
    }

    /// Names of hosts are looked up elsewhere: a resolver may take its time.
    fn change_sockets(&mut self, job: JobId, changes: Vec<SocketChange>) {
        let notices = self.notices.clone();
        tokio::spawn(async move {
            let prepared = tokio::task::spawn_blocking(move || socket::prepare(changes)).await;
            let (ready, errors) =
                prepared.unwrap_or_else(|error| (Vec::new(), vec![format!("bug: {error}")]));
            let _the_warden_left = notices.send(Notice::Resolved(job, ready, errors)).await;
        });
    }

    fn sockets_resolved(&mut self, job: JobId, changes: Vec<Ready>, mut errors: Vec<String>) {
        errors.extend(self.sockets.apply(changes));
        let sockets = Some(self.sockets.told());
        self.outbox.push_back(Input::SocketsChanged { job, sockets, errors });
    }

    fn started(&mut self, key: Key, report: &[u8]) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let State::Starting { plan, waiting } = std::mem::replace(&mut child.state, State::Running) else {
            return;
        };
        let pid = child.pid;
        if let Some(error) = spawn::failure(&plan, report) {
            raw::await_exit(pid.get());
            self.forget(key, pid.get());
            self.tell(key, Input::SpawnFailed { key, error });
            return;
        }
        let mut picture = Picture::default();
        for (signal, reach) in waiting {
            if let Err(refusal) = child.signal(signal, reach, &mut picture) {
                tracing::warn!(pid = pid.get(), signal = signal.0, %refusal, "signal refused");
            }
        }
        picture.settle();
        self.tell(key, Input::Spawned { key, pid });
        // Its end may have been seen before its start was.
        self.reap(key);
    }

    fn forget(&mut self, key: Key, pid: i32) {
        self.children.remove(&key);
        self.looks.remove(&key);
        if self.keys.get(&pid) == Some(&key) {
            self.keys.remove(&pid);
        }
        self.outputs.ended(key);
    }

    /// Collect the exit of a process of ours, if it has ended.
    fn reap(&mut self, key: Key) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let State::Running = child.state else { return };
        let exit_code = match raw::reap(child.pid.get()) {
            Ok(None) => return,
            Ok(Some(code)) => Some(code),
            // Somebody else reaped it; the number is free, so never signal it again.
            Err(error) => {
                tracing::error!(pid = child.pid.get(), %error, "an exit was collected by somebody else");
                None
            }
        };
        let pid = child.pid.get();
        self.keys.remove(&pid);
        let lingering = child.group_exists();
        if lingering {
            child.linger();
            self.look_later(key);
        } else {
            self.forget(key, pid);
        }
        self.tell(key, Input::Exited { key, exit_code, lingering });
    }

    fn look_later(&mut self, key: Key) {
        if let Some(pause) = self.children.get_mut(&key).and_then(Child::next_pause) {
            self.looks.insert(key, Instant::from(clock::monotonic()) + pause);
        }
    }

    /// Look at the lingering groups whose time has come, or at all.
    fn look_at_groups(&mut self, all: bool) {
        let now = Instant::from(clock::monotonic());
        let due: Vec<Key> =
            self.looks.iter().filter(|(_, when)| all || **when <= now).map(|(key, _)| *key).collect();
        let mut picture = Picture::default();
        for key in due {
            let Some(child) = self.children.get_mut(&key) else { continue };
            let lives = if all { child.group_exists() } else { child.group_lives(&mut picture) };
            if lives {
                if !all {
                    self.look_later(key);
                }
            } else {
                let pid = child.pid.get();
                self.forget(key, pid);
                self.tell(key, Input::Gone { key });
            }
        }
    }

    /// A child has ended, ours or an orphan that came to us. Peek first: taking any exit would take
    /// those of processes that were forked elsewhere in the daemon, too.
    fn sweep(&mut self) {
        while let Ok(Some(pid)) = raw::peek() {
            match self.keys.get(&pid).copied() {
                Some(key) => {
                    let starting = self
                        .children
                        .get(&key)
                        .is_some_and(|child| matches!(child.state, State::Starting { .. }));
                    if starting {
                        // Swept again when its start has been noticed.
                        break;
                    }
                    self.reap(key);
                }
                None if self.adopt => drop(raw::reap(pid)),
                None => {
                    self.reap_each();
                    break;
                }
            }
        }
        self.look_at_groups(true);
    }

    /// Something that is not ours is in the way of peeking; ask for each of ours.
    fn reap_each(&mut self) {
        let keys: Vec<Key> = self.keys.values().copied().collect();
        for key in keys {
            self.reap(key);
        }
    }
}

fn fork(plan: &Plan, of: [Option<&OwnedFd>; 3], keep: &[RawFd]) -> Result<(Pid, Forked), String> {
    let forked = spawn::fork(plan, &Descriptors { of, keep }).map_err(system)?;
    let pid = Pid::new(forked.pid).ok_or("the kernel gave a process number below 1")?;
    Ok((pid, forked))
}

fn system(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{}: fork", words(errno)),
        None => error.to_string(),
    }
}

/// Tell when the program runs, and when it has ended. Where the kernel has no pidfd, SIGCHLD tells.
async fn watch(key: Key, report: OwnedFd, pidfd: Option<OwnedFd>, notices: mpsc::Sender<Notice>) {
    let report = read_report(report).await;
    if notices.send(Notice::Started(key, report)).await.is_err() {
        return;
    }
    let Some(pidfd) = pidfd.and_then(|fd| raw::watched(fd).ok()) else { return };
    if pidfd.readable().await.is_ok() {
        let _the_warden_left = notices.send(Notice::Ended(key)).await;
    }
}

async fn read_report(pipe: OwnedFd) -> Vec<u8> {
    let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) else { return Vec::new() };
    let mut buffer = [0; REPORT];
    while pipe.readable().await.is_ok() {
        match pipe.try_read(&mut buffer) {
            Ok(length) => return buffer.get(..length).unwrap_or_default().to_vec(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    Vec::new()
}

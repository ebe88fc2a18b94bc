//! The thread that owns every process of ours: it forks, signals, watches and reaps.
//!
//! ```text
//!  Runner ──Order──► warden ──fork──► child ─┬─ report pipe, pidfd ──Notice──► warden ──Input──► loop
//!                      ▲                     └─ stdout, stderr ──► output thread
//!                      └── SIGCHLD: all ends where orphans come to us, else of those without a pidfd
//! ```
//!
//! One thread, because whoever reaps makes a process number free for reuse: here nothing can be
//! reaped between a look and a signal, and no sweep for orphans can meet a process that was forked
//! but not yet entered. It never waits for the loop: answers queue up in its outbox (at most two for
//! each process and one for each delivery) until there is room.
//!
//! It refuses to know why a process is wanted or what its end means.

mod birth;

mod death;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use circus_protocol::number::Signal;
use circus_protocol::reply::Refusal;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal::SIGCHLD;
use tokio::runtime;
use tokio::select;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::arbiter::effect::{Reach, SpawnSpec};
use crate::arbiter::id::{JobId, Key};
use crate::arbiter::input::{Input, Usage};
use crate::config::diff::SocketChange;
use crate::host::cgroup::Cgroups;
use crate::host::child::{Child, Kin, Picture};
use crate::host::clock;
use crate::host::history::History;
use crate::host::mark::Marker;
use crate::host::oom::Ooms;
use crate::host::orphan::Orphans;
use crate::host::socket::{self, Ready, Sockets};
use crate::host::stream::Outputs;

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
    /// A cgroup for each process that is started from now on.
    Confine(Cgroups),
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
    (outputs, history): (Outputs, History),
    adopt: bool,
) -> io::Result<mpsc::Sender<Order>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, orders) = mpsc::channel(ORDERS);
    let (notices, noticed) = mpsc::channel(NOTICES);
    let (null, exits) = {
        let _inside = runtime.enter();
        (File::options().read(true).write(true).open("/dev/null")?, signal(SignalKind::child())?)
    };
    let marker = Marker::new(std::process::id());
    let warden = Warden {
        children: BTreeMap::new(),
        keys: BTreeMap::new(),
        looks: BTreeMap::new(),
        outbox: VecDeque::new(),
        aides: BTreeMap::new(),
        sockets: Sockets::default(),
        notices,
        outputs,
        history,
        null: null.into(),
        adopt,
        marker,
        orphans: Orphans::new(std::process::id(), marker),
        cgroups: None,
        ooms: Ooms::new(),
        halted: false,
        dead: Vec::new(),
    };
    thread::Builder::new().name("warden".to_owned()).spawn(move || {
        // Whoever started us may have left it blocked.
        let _stays_as_it_is = SigSet::from(SIGCHLD).thread_unblock();
        runtime.block_on(warden.run(inputs, orders, noticed, exits));
    })?;
    Ok(sender)
}

struct Warden {
    children: BTreeMap<Key, Child>,
    /// Of those that were not reaped yet.
    keys: BTreeMap<i32, Key>,
    /// When to look at which lingering tree.
    looks: BTreeMap<Key, Instant>,
    outbox: VecDeque<Input>,
    /// Processes that the host itself asked for; the loop hears nothing of them.
    aides: BTreeMap<Key, mpsc::Sender<Input>>,
    /// Before `outputs`: whoever waits for the last output finds their files removed.
    sockets: Sockets,
    notices: mpsc::Sender<Notice>,
    outputs: Outputs,
    history: History,
    null: OwnedFd,
    adopt: bool,
    marker: Option<Marker>,
    orphans: Orphans,
    cgroups: Option<Cgroups>,
    ooms: Ooms,
    /// The last sweep met somebody whose start was not noticed yet, and went no further.
    halted: bool,
    /// Reaped; whether they have left anybody behind is still to be seen.
    dead: Vec<(Key, Option<i32>, Option<Usage>)>,
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
                        return self.leave();
                    }
                    self.carry_out(&mut batch);
                }
                Some(notice) = noticed.recv() => self.notice(notice),
                _ = exits.recv() => self.sweep(),
                () = sleep_until(look.unwrap_or_else(|| clock::monotonic().into())), if look.is_some() => {
                    self.look_at_left();
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

    /// Helpers are of no use without the daemon; everybody else stays.
    fn leave(&mut self) {
        let mut picture = Picture::default();
        let aides: Vec<Key> = self.aides.keys().copied().collect();
        for key in aides {
            self.signal(key, Signal::KILL, Reach::Tree, &mut picture);
        }
        picture.settle();
    }

    fn carry_out(&mut self, batch: &mut Vec<Order>) {
        let mut picture = Picture::default();
        for order in batch.drain(..) {
            match order {
                Order::Spawn { key, spec } => {
                    picture.outdate();
                    if let Err(failure) = self.spawn(key, &spec) {
                        self.tell(key, failure.told(key));
                    }
                }
                Order::Aid { key, spec, pipes, news } => {
                    picture.outdate();
                    self.aides.insert(key, news);
                    if let Err(failure) = self.aid(key, &spec, &pipes) {
                        self.tell(key, failure.told(key));
                    }
                }
                Order::Signal { key, signal, reach } => self.signal(key, signal, reach, &mut picture),
                Order::Deliver { job, keys, signal, reach } => {
                    let mut result = Ok(());
                    for key in keys {
                        result = result.and(self.try_signal(key, signal, reach, &mut picture));
                    }
                    self.outbox.push_back(Input::Delivered { job, result });
                }
                Order::Keep(sockets) => self.sockets = sockets,
                Order::Confine(cgroups) => self.cgroups = Some(cgroups),
                Order::Sockets { job, changes } => self.change_sockets(job, changes),
                Order::Watch { sockets } => self.sockets.watch_all(&sockets, &self.notices, Notice::Knock),
            }
        }
        picture.settle();
        self.bury();
    }

    /// As [`Self::try_signal`], when nobody wants to know what the kernel said.
    fn signal(&mut self, key: Key, signal: Signal, reach: Reach, picture: &mut Picture) {
        if let Err(refusal) = self.try_signal(key, signal, reach, picture) {
            let pid = self.children.get(&key).map(|child| child.pid.get());
            tracing::warn!(pid, signal = signal.0, %refusal, "signal refused");
        }
    }

    /// Who is not there any more is no error.
    fn try_signal(
        &mut self,
        key: Key,
        signal: Signal,
        reach: Reach,
        picture: &mut Picture,
    ) -> Result<(), Refusal> {
        let kin = if reach == Reach::Tree { self.kin(key) } else { Kin::Adopted(Vec::new()) };
        let Some(child) = self.children.get_mut(&key) else { return Ok(()) };
        child.signal(signal, reach, &kin, picture)
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
        // Every other end has its SIGCHLD, and a sweep costs the kernel a look at all our children.
        if self.adopt && self.halted {
            self.sweep();
        } else {
            self.bury();
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
}

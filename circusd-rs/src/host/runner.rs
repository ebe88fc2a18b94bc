//! Performs effects, and never decides nor waits.
//!
//! ```text
//!             ┌► warden: processes ──► output: streams
//!  perform ───┼► sampler: figures, and history: their last minutes
//!             ├► hooks: programs, Python
//!             ├► probes: a task for each question under way
//!             └► a thread for each job: configure, reset
//! ```
//!
//! Whatever takes time happens on another thread and comes back as an [`Input`]. What is not the
//! host's business ([`LoopEffect`]) is handed back to the daemon's loop, in order.

use std::io;
use std::time::Duration;

use circus_protocol::event::Event;
use circus_protocol::number::Signal;
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::{ResetJob, SweepJob};
use circus_protocol::transport::Aside;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::arbiter::effect::{Effect, LogLevel, Reach, SampleTarget};
use crate::arbiter::id::{JobId, Key, ReplyTo, SampleTag};
use crate::arbiter::input::Input;
use crate::host::cgroup::{Cgroups, Folder};
use crate::host::configure::configure;
use crate::host::history::History;
use crate::host::hook::{Hooks, Vetting};
use crate::host::log;
use crate::host::probe::Probes;
use crate::host::reset::janitor::{self, Janitor};
use crate::host::reset::{ResetError, reset};
use crate::host::sample::{self, Question};
use crate::host::socket::Sockets;
use crate::host::stream::Outputs;
use crate::host::warden::{self, Order};

/// How long [`Runner::finish`] waits for output to be written.
const FINISH: Duration = Duration::from_secs(2);

/// What the daemon's loop does itself.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum LoopEffect {
    /// Read the configuration files again.
    ReadConfig,
    /// Publish an event.
    Publish(Event),
    /// Answer a client.
    Reply {
        /// Whom.
        to: ReplyTo,
        /// What.
        reply: Reply,
    },
    /// Say something in the log.
    Log {
        /// How loud.
        level: LogLevel,
        /// The watcher it is about, as configured.
        watcher: Option<String>,
        /// What.
        text: String,
    },
    /// End the daemon.
    Exit {
        /// The process' exit status.
        code: u8,
    },
}

/// Whose orphans we reap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// Those of all our descendants come to us: the daemon, which calls [`adopt_orphans`] first.
    Adopted,
    /// They go to somebody else: tests that share a process.
    Left,
}

/// Make all orphans among our descendants our children, so that they are found and reaped. Pid 1 needs
/// no such call but is not harmed by it.
///
/// # Errors
///
/// When the kernel refuses; then orphans go to pid 1, and `Orphans::Left` is right.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The host's end of the daemon's loop.
#[derive(Debug)]
pub struct Runner {
    inputs: mpsc::Sender<Input>,
    orders: mpsc::Sender<Order>,
    outputs: Outputs,
    questions: mpsc::Sender<Question>,
    history: History,
    written: oneshot::Receiver<()>,
    janitor: Janitor,
    hooks: Hooks,
    probes: Probes,
    handle: Handle,
    /// Where the processes' cgroups are, if they have any.
    cgroups: Option<Folder>,
}

impl Runner {
    /// Start the host's threads. Must be called within the loop's runtime; `inputs` is the loop's
    /// mailbox, whose bound may be small: answers wait for room without holding anything up.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread or a descriptor.
    pub fn new(inputs: mpsc::Sender<Input>, orphans: Orphans) -> io::Result<Self> {
        let (outputs, written) = Outputs::start(inputs.clone())?;
        let handle = Handle::current();
        let questions = sample::start(inputs.clone())?;
        let history = History::start(&handle, questions.clone());
        let memory = (outputs.clone(), history.clone());
        let orders = warden::start(inputs.clone(), memory, orphans == Orphans::Adopted)?;
        let janitor = janitor::start()?;
        let hooks = Hooks::new(inputs.clone(), orders.clone(), handle.clone());
        let probes = Probes::new(inputs.clone(), &orders, handle.clone());
        Ok(Self {
            inputs,
            orders,
            outputs,
            questions,
            history,
            written,
            janitor,
            hooks,
            probes,
            handle,
            cgroups: None,
        })
    }

    /// Take over the sockets that were opened at start-up, before the first effect.
    pub fn keep(&mut self, sockets: Sockets) {
        self.order(Order::Keep(sockets));
    }

    /// Start every process in a cgroup of its own from now on.
    pub fn confine(&mut self, cgroups: Cgroups) {
        self.cgroups = Some(cgroups.folder());
        self.order(Order::Confine(cgroups));
    }

    /// Begin an effect; its answer, if it has one, arrives as an input. What the loop does itself is
    /// returned. Never waits.
    pub fn perform(&mut self, effect: Effect) -> Option<LoopEffect> {
        match effect {
            Effect::Spawn { key, spec } if spec.preparation.is_some() => self.probes.prepare(key, spec),
            Effect::Spawn { key, spec } => self.order(Order::Spawn { key, spec }),
            Effect::Signal { key, signal, reach } => self.order(Order::Signal { key, signal, reach }),
            Effect::Deliver { job, keys, signal, reach } => self.deliver(job, keys, signal, reach),
            Effect::OpenStreams { watcher, name, stdout, stderr } => {
                self.outputs.open(watcher, name, stdout, stderr);
            }
            Effect::CloseStreams { watcher } => self.outputs.close(watcher),
            Effect::ForgetStreams { watcher } => {
                self.outputs.forget(watcher);
                self.history.forget(watcher);
            }
            Effect::ReadLog { job, question } => {
                let (inputs, reading) = (self.inputs.clone(), log::read(self.outputs.clone(), *question));
                self.handle.spawn(async move {
                    let result = reading.await.map(Box::new);
                    let _the_loop_left = inputs.send(Input::LogRead { job, result }).await;
                });
            }
            Effect::Recall { job, question } => {
                let memory = (self.outputs.clone(), self.history.clone());
                let (inputs, words) = (self.inputs.clone(), log::recall(memory, *question));
                self.handle.spawn(async move {
                    let (words, troubles) = words.await;
                    let words = Box::new(words);
                    let _the_loop_left = inputs.send(Input::Recalled { job, words, troubles }).await;
                });
            }
            Effect::Sample { tag, targets } => self.sample(tag, targets),
            Effect::Configure { job, work } => {
                let answer = move |result| Input::Configured { job, result };
                self.job(move || configure(&work).map(Box::new).map_err(|error| error.problems()), answer);
            }
            Effect::Reset { job, work } => self.reset(job, work),
            Effect::Preflight { job, looks } => self.probes.examine(job, looks),
            Effect::Probe { watcher, attempt, call } => self.probes.ask(watcher, attempt, *call),
            Effect::CancelProbe { watcher, attempt } => self.probes.cancel(watcher, attempt),
            Effect::RunHook { job, call } => self.hooks.run(job, *call),
            Effect::LoadHooks { job, load } => self.hooks.load(job, *load),
            Effect::Sockets { job, changes } => self.order(Order::Sockets { job, changes }),
            Effect::Watch { sockets } => self.order(Order::Watch { sockets }),
            Effect::ReadConfig => return Some(LoopEffect::ReadConfig),
            Effect::Publish(event) => return Some(LoopEffect::Publish(event)),
            Effect::Reply { to, reply } => return Some(LoopEffect::Reply { to, reply }),
            Effect::Log { level, watcher, text } => return Some(LoopEffect::Log { level, watcher, text }),
            Effect::Exit { code } => return Some(LoopEffect::Exit { code }),
        }
        None
    }

    fn reset(&self, job: JobId, work: Box<ResetJob>) {
        let answer = move |result| Input::ResetDone { job, result };
        let janitor = self.janitor.clone();
        let work = move || {
            let result = reset(&work).map(Box::new).map_err(ResetError::problems);
            let ResetJob { services, membership, now, .. } = *work;
            janitor.look(SweepJob { services, membership, now });
            result
        };
        self.job(work, answer);
    }

    fn sample(&self, tag: SampleTag, targets: Vec<SampleTarget>) {
        let count = targets.len();
        if self.questions.try_send(Question::Figures { tag, targets }).is_err() {
            tracing::error!("the sampler does not answer");
            self.answer(Input::Sampled { tag, figures: vec![None; count] });
        }
    }

    /// For whoever reads a configuration: are its hooks there?
    #[must_use]
    pub fn vetting(&self) -> Vetting {
        self.hooks.vetting()
    }

    /// Where those listen who want to see output at once.
    pub fn listeners(&self, aside: Aside) {
        self.outputs.listeners(aside);
    }

    /// There may be something aside below the roots of these services that has had its time.
    pub fn tidy(&self, job: SweepJob) {
        self.janitor.look(job);
    }

    /// Let go of everything: output that is still in the pipes is written, processes that run stay.
    pub async fn finish(self) {
        let Self { inputs, orders, outputs, questions, history, written, hooks, probes, cgroups, .. } = self;
        drop((inputs, orders, outputs, questions, history, hooks, probes));
        if timeout(FINISH, written).await.is_err() {
            tracing::error!("some output could not be written in time");
        }
        cgroups.iter().for_each(Folder::leave);
    }

    fn deliver(&mut self, job: JobId, keys: Vec<Key>, signal: Signal, reach: Reach) {
        self.order(Order::Deliver { job, keys, signal, reach });
    }

    /// The warden's queue holds more than a sane daemon can want; if it is full or gone, the thread is
    /// stuck or has panicked. Then the answer is no.
    fn order(&mut self, order: Order) {
        let Err(error) = self.orders.try_send(order) else { return };
        tracing::error!(%error, "the processes' thread does not answer");
        let errno = libc::EAGAIN;
        match error.into_inner() {
            Order::Spawn { key, spec: _ } => {
                let error = format!("[Errno {errno}] Resource temporarily unavailable: fork");
                self.answer(Input::SpawnFailed { key, error, transient: true });
            }
            Order::Signal { .. }
            | Order::Aid { .. }
            | Order::Keep(_)
            | Order::Confine(_)
            | Order::Watch { .. } => {}
            Order::Sockets { job, changes: _ } => {
                let errors = vec!["the processes' thread does not answer".to_owned()];
                self.answer(Input::SocketsChanged { job, sockets: None, errors });
            }
            Order::Deliver { job, .. } => {
                let refusal = Refusal::Os { errno, text: "Resource temporarily unavailable".to_owned() };
                self.answer(Input::Delivered { job, result: Err(refusal) });
            }
        }
    }

    /// An answer that waits for room in the mailbox, outside of the loop that empties it.
    fn answer(&self, input: Input) {
        let inputs = self.inputs.clone();
        self.handle.spawn(async move { inputs.send(input).await });
    }

    /// Work that blocks, on a thread of its own. A panic there is an answer, too.
    fn job<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Vec<String>> + Send + 'static,
        answer: impl FnOnce(Result<T, Vec<String>>) -> Input + Send + 'static,
    ) {
        let inputs = self.inputs.clone();
        let done = self.handle.spawn_blocking(work);
        self.handle.spawn(async move {
            let result = done.await.unwrap_or_else(|panic| Err(vec![format!("a bug: {panic}")]));
            let _the_loop_left = inputs.send(answer(result)).await;
        });
    }
}

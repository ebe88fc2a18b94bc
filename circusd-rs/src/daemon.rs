//! The daemon: one loop that owns the arbiter.
//!
//! ```text
//!  set up: log, pid file, umask ─► bind endpoints ─► start the host ─► first configuration
//!  loop:   wait for ONE thing ─► make an Input of it ─► step ─► perform the effects, in order
//!  end:    last replies and output leave, pid file goes
//! ```
//!
//! The loop decides nothing and awaits nothing between reading the clock and performing the effects;
//! what takes time is somebody else's task and comes back as an input. Its mailbox is small: the host
//! waits for room without holding a process up, and requests wait in the transport.

mod feed;
mod pidfile;
mod preflight;
mod rebind;
mod setup;
mod trim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use circus_protocol::command::Command;
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::SweepJob;
use circus_protocol::transport::Incoming;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::ReplyTo;
use crate::arbiter::input::{BoundSocket, Input};
use crate::arbiter::{Arbiter, DaemonFacts};
use crate::cli::Arguments;
use crate::config::Config;
use crate::endpoint::control::Control;
use crate::endpoint::events::Events;
use crate::host::account;
use crate::host::cgroup::{CgroupError, Cgroups};
use crate::host::clock::Clock;
use crate::host::descriptors;
use crate::host::files::Source;
use crate::host::interrupt::Interrupts;
use crate::host::reset::recover;
use crate::host::runner::{LoopEffect, Orphans, Runner, adopt_orphans};
use crate::host::sample::feed::Feed;
use crate::host::socket::Reads;
use crate::host::spawn::heap;
use crate::host::stream::LIVE;
use feed::{Desk, Figures};
use setup::{Bound, Prepared, SetupError};
use trim::Trim;

/// What the host may have ready for the loop; more waits on the host's side.
const MAILBOX: usize = 256;

/// How long the last replies, events and output may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Runs until told to end; the exit status.
#[must_use]
pub fn run(arguments: &Arguments) -> ExitCode {
    heap::be_frugal();
    descriptors::raise();
    if arguments.preflight {
        return preflight::run(arguments);
    }
    match setup::prepare(arguments) {
        Ok(Some(prepared)) => supervise(prepared),
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            setup::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn supervise(prepared: Prepared) -> ExitCode {
    let ended = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(prepared)),
        Err(error) => Err(SetupError::Runtime(error)),
    };
    ended.unwrap_or_else(|error| {
        tracing::error!("{error}");
        ExitCode::FAILURE
    })
}

async fn serve(prepared: Prepared) -> Result<ExitCode, SetupError> {
    let Prepared { source, config, pidfile } = prepared;
    tracing::info!("Registering signals...");
    let interrupts = Interrupts::install().map_err(SetupError::Runtime)?;
    tracing::info!("Starting master on pid {}", std::process::id());
    let Bound { control, events, figures, discovery, addresses, sockets } = setup::bind(&config).await?;
    tracing::info!("sockets started");

    let (inputs, mailbox) = mpsc::channel(MAILBOX);
    let orphans = adopt_orphans().map_or(Orphans::Left, |()| Orphans::Adopted);
    let mut runner = Runner::new(inputs.clone(), orphans).map_err(SetupError::Runtime)?;
    let (told, reads) = (sockets.told(), sockets.reads());
    runner.keep(sockets);
    runner.listeners(events.aside(LIVE));
    confine(&mut runner, config.circus.cgroups);
    let mut tasks = JoinSet::new();
    tasks.spawn(interrupts.pass_on(inputs.clone()));
    let discovery = discovery.map(|discovery| tasks.spawn(discovery.answer()));
    let (desk, feed) = figures.map(|figures| open_feed(figures, &reads, &mut tasks)).transpose()?.unzip();
    let clock = Clock::start();
    let arbiter = Arbiter::new(seed(&clock), facts(told));
    let mut daemon = Daemon {
        arbiter,
        clock,
        control,
        events,
        runner,
        inputs,
        mailbox,
        tasks,
        lookups: JoinSet::new(),
        desk,
        feed,
        reads,
        discovery,
        group: config.circus.multicast_endpoint.clone(),
        source,
        addresses,
        trim: Trim::default(),
        exit: None,
    };
    // Before anything starts: what a crash left half reset must be whole.
    recover(&SweepJob { services: config.services.clone(), membership: None, now: daemon.clock.now().wall })
        .log();
    let (config, warnings) = daemon.runner.vetting().vet(config).await;
    setup::warn(&warnings);
    daemon.configured(Ok(config));
    tracing::info!("Arbiter now waiting for commands");
    let code = daemon.run().await;
    daemon.finish().await;
    tracing::info!("Arbiter exiting");
    drop(pidfile);
    Ok(ExitCode::from(code))
}

fn confine(runner: &mut Runner, wanted: bool) {
    let cgroups = if wanted { Cgroups::open() } else { Err(CgroupError::Unwanted) };
    match cgroups {
        Ok(cgroups) => runner.confine(cgroups),
        Err(reason) => tracing::debug!(%reason, "processes have no cgroups"),
    }
}

fn open_feed(
    figures: Figures,
    reads: &Reads,
    tasks: &mut JoinSet<()>,
) -> Result<(Desk, AbortHandle), SetupError> {
    let sampler = Feed::start().map_err(SetupError::Runtime)?;
    let (desk, publishing) = feed::start(figures, sampler, reads.clone());
    Ok((desk, tasks.spawn(publishing)))
}

/// Not secret: it spreads ages and pauses, nothing else.
fn seed(clock: &Clock) -> u64 {
    clock.now().wall.to_bits() ^ u64::from(std::process::id()).rotate_left(32)
}

/// The machine's own name.
fn hostname() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|_| "localhost".to_owned())
}

fn facts(sockets: Vec<BoundSocket>) -> DaemonFacts {
    DaemonFacts {
        pid: std::process::id(),
        hostname: hostname(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        sockets,
    }
}

/// Everything the loop holds.
struct Daemon {
    arbiter: Arbiter,
    clock: Clock,
    control: Control,
    events: Events,
    runner: Runner,
    /// For those who answer later.
    inputs: mpsc::Sender<Input>,
    mailbox: mpsc::Receiver<Input>,
    /// Tasks that should never end.
    tasks: JoinSet<()>,
    /// Requests whose users and groups are being looked up.
    lookups: JoinSet<(Input, Result<(), Refusal>)>,
    /// Where rosters are left for the stats feed, if there is one.
    desk: Option<Desk>,
    /// The task that publishes figures.
    feed: Option<AbortHandle>,
    /// Counts for it how often managed sockets are readable.
    reads: Reads,
    /// The task that answers who looks for daemons.
    discovery: Option<AbortHandle>,
    /// Where it listens.
    group: Option<String>,
    source: Source,
    addresses: setup::Addresses,
    trim: Trim,
    /// Set by the effect that ends the loop.
    exit: Option<u8>,
}

/// What the loop waits for: exactly one of these at a time.
enum Wake {
    Request(Incoming),
    Input(Input),
    Deadline,
    /// The stats feed could use a fresh roster.
    Roster,
    LookedUp(Result<(Input, Result<(), Refusal>), tokio::task::JoinError>),
    TaskEnded(Result<(), tokio::task::JoinError>),
}

impl Daemon {
    async fn run(&mut self) -> u8 {
        loop {
            if let Some(code) = self.exit {
                return code;
            }
            match self.wait().await {
                Wake::Request(message) => {
                    self.trim.message(message.frames.iter().map(|frame| frame.len()).sum());
                    if let Some(input) = self.control.understand(message, self.clock.now().wall) {
                        self.requested(input);
                    }
                }
                Wake::LookedUp(Ok((input, refused))) => self.looked_up(input, refused),
                Wake::LookedUp(Err(error)) => tracing::error!("bug: a lookup failed: {error}"),
                Wake::Input(Input::Config(config)) => {
                    let mut config = config.map(|config| *config);
                    if let Ok(config) = &mut config
                        && self.arbiter.is_rebuilding()
                    {
                        self.rebind(&mut config.circus).await;
                    }
                    self.configured(config);
                }
                Wake::Input(input) => self.step(input),
                Wake::Deadline => self.step(Input::Tick),
                Wake::Roster => self.desk.iter().for_each(|desk| desk.leave(self.arbiter.roster())),
                Wake::TaskEnded(Ok(())) => tracing::error!("bug: a task of the daemon ended"),
                // Its endpoint has moved.
                Wake::TaskEnded(Err(error)) if error.is_cancelled() => {}
                Wake::TaskEnded(Err(error)) => tracing::error!("bug: a task of the daemon failed: {error}"),
            }
        }
    }

    /// Names of users are looked up first, elsewhere: who knows them may be on another machine.
    fn requested(&mut self, mut input: Input) {
        match &mut input {
            Input::Command { command: Command::Set(set), .. } if account::any(&set.options) => {
                let mut options = std::mem::take(&mut set.options);
                self.lookups.spawn_blocking(move || {
                    let found = account::resolve(&mut options);
                    if let Input::Command { command: Command::Set(set), .. } = &mut input {
                        set.options = options;
                    }
                    (input, found)
                });
            }
            _ => self.step(input),
        }
    }

    fn looked_up(&mut self, input: Input, found: Result<(), Refusal>) {
        match (found, reply_of(&input)) {
            (Ok(()), _) => self.step(input),
            (Err(refusal), Some(to)) => {
                self.control.reply(to, &Reply::Error(refusal), self.clock.now().wall);
            }
            (Err(refusal), None) => tracing::warn!(%refusal, "a cast was refused"),
        }
    }

    async fn wait(&mut self) -> Wake {
        let deadline = self.arbiter.next_deadline().map(|moment| self.clock.instant(moment));
        let timer = async {
            match deadline {
                Some(deadline) => sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let roster = async {
            match &mut self.desk {
                Some(desk) => desk.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.control.next() => Wake::Request(message),
            // Never closed: the loop itself holds a sender.
            Some(input) = self.mailbox.recv() => Wake::Input(input),
            Some(found) = self.lookups.join_next() => Wake::LookedUp(found),
            Some(ended) = self.tasks.join_next() => Wake::TaskEnded(ended),
            () = timer => Wake::Deadline,
            () = roster => Wake::Roster,
            never = self.trim.when_due() => match never {},
        }
    }

    /// A configuration names addresses as its author wrote them; a port 0 among them has become a
    /// number when it was bound.
    fn configured(&mut self, config: Result<Config, Vec<String>>) {
        let config = config.map(|mut config| {
            self.addresses.settle(&mut config);
            let (services, now) = (config.services.clone(), self.clock.now().wall);
            self.runner.tidy(SweepJob { services, membership: None, now });
            Box::new(config)
        });
        self.step(Input::Config(config));
    }

    fn step(&mut self, input: Input) {
        let now = self.clock.now();
        self.trim.input(&input);
        let asked = reply_of(&input);
        // A broken rule must not take the processes' supervision with it.
        let effects = catch_unwind(AssertUnwindSafe(|| self.arbiter.step(now, input)));
        match effects {
            Ok(effects) => {
                for effect in effects {
                    tracing::debug!("{}", described(&effect));
                    if let Some(ours) = self.runner.perform(effect) {
                        self.perform(ours, now.wall);
                    }
                }
            }
            Err(_panic) => {
                if let Some(to) = asked {
                    let refusal =
                        Refusal::Server("the daemon failed on this request; see its log".to_owned());
                    self.control.reply(to, &Reply::Error(refusal), now.wall);
                }
            }
        }
    }

    fn perform(&mut self, effect: LoopEffect, wall: f64) {
        match effect {
            LoopEffect::ReadConfig => self.read_config(),
            LoopEffect::Publish(event) => self.events.publish(&event),
            LoopEffect::Reply { to, reply } => self.control.reply(to, &reply, wall),
            LoopEffect::Log { level, watcher: _, text } => match level {
                LogLevel::Error => tracing::error!("{text}"),
                LogLevel::Warn => tracing::warn!("{text}"),
                LogLevel::Info => tracing::info!("{text}"),
            },
            LoopEffect::Exit { code } => self.exit = Some(code),
        }
    }

    /// On a thread of its own, because a file may lie on a disk that does not answer.
    fn read_config(&self) {
        let (source, inputs) = (self.source.clone(), self.inputs.clone());
        let read = tokio::task::spawn_blocking(move || source.read());
        let vetting = self.runner.vetting();
        tokio::spawn(async move {
            let config = match read.await {
                Ok(Ok(resolved)) => {
                    setup::warn(&resolved.warnings);
                    let (config, warnings) = vetting.vet(resolved.config).await;
                    setup::warn(&warnings);
                    Ok(Box::new(config))
                }
                Ok(Err(faults)) => Err(faults),
                Err(error) => Err(vec![format!("bug: reading the configuration failed: {error}")]),
            };
            let _the_loop_left = inputs.send(Input::Config(config)).await;
        });
    }

    /// Whoever still waits for an answer is told that there will be none.
    async fn finish(self) {
        let Self { mut control, events, runner, mut tasks, clock, inputs, mailbox, .. } = self;
        let refusal = Refusal::Server("the daemon has ended".to_owned());
        control.reply_all(&Reply::Error(refusal), clock.now().wall);
        tasks.abort_all();
        drop((inputs, mailbox));
        let closing = async {
            tokio::join!(control.close(), events.close(), runner.finish());
        };
        if timeout(LAST_WORDS, closing).await.is_err() {
            tracing::warn!("some replies, events or output did not leave in time");
        }
    }
}

/// An effect for the log. Environments and rendered files may hold secrets.
fn described(effect: &Effect) -> String {
    match effect {
        Effect::Spawn { key, spec } => format!("spawn {key:?} {} {} {:?}", spec.watcher, spec.wid, spec.argv),
        Effect::RunHook { job, call } => {
            format!("run hook {job:?} {} of {}: {:?}", call.hook, call.watcher, call.callee)
        }
        Effect::Probe { watcher, attempt, call } => {
            format!("probe {watcher:?} {attempt} of {}: {:?}", call.watcher, call.questions)
        }
        Effect::Configure { job, work: _ } => format!("configure {job:?}"),
        Effect::Reset { job, work: _ } => format!("reset {job:?}"),
        Effect::Preflight { job, looks } => format!("preflight {job:?} of {} services", looks.len()),
        Effect::Reply { to, reply: _ } => format!("reply {to:?}"),
        Effect::Log { level, watcher, text: _ } => format!("log {level:?} {watcher:?}"),
        Effect::Signal { .. }
        | Effect::Deliver { .. }
        | Effect::OpenStreams { .. }
        | Effect::CloseStreams { .. }
        | Effect::ForgetStreams { .. }
        | Effect::ReadLog { .. }
        | Effect::Recall { .. }
        | Effect::Sample { .. }
        | Effect::LoadHooks { .. }
        | Effect::Sockets { .. }
        | Effect::Watch { .. }
        | Effect::CancelProbe { .. }
        | Effect::ReadConfig
        | Effect::Publish(_)
        | Effect::Exit { .. } => format!("{effect:?}"),
    }
}

fn reply_of(input: &Input) -> Option<ReplyTo> {
    match input {
        Input::Command { reply, .. } => *reply,
        Input::Config(_)
        | Input::Spawned { .. }
        | Input::SpawnFailed { .. }
        | Input::Exited { .. }
        | Input::Gone { .. }
        | Input::Sampled { .. }
        | Input::Delivered { .. }
        | Input::LogRead { .. }
        | Input::Recalled { .. }
        | Input::Output { .. }
        | Input::Configured { .. }
        | Input::ResetDone { .. }
        | Input::Preflighted { .. }
        | Input::Probed { .. }
        | Input::HookDone { .. }
        | Input::HooksLoaded { .. }
        | Input::SocketsChanged { .. }
        | Input::SocketReady { .. }
        | Input::Interrupted(_)
        | Input::Tick => None,
    }
}

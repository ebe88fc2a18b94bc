//! What `top` does between two keys: it waits for whatever comes first, and performs the effects.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use crossterm::event::{Event, EventStream};
use futures_core::Stream;
use nix::sys::signal::{Signal, raise};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::deed::{Deed, quoted};
use super::model::{Effect, Input, Model};
use super::screen::Screen;
use super::view::Theme;
use crate::cli::exit::Exit;
use crate::cli::session::{ACT_TIMEOUT, DEFAULT_SPEC, READ_TIMEOUT, Session, Stop};
use crate::cli::{Beat, DEFAULT_PORT, Global, pause};
use crate::cluster::view::News;
use crate::fleet::{Handle, wall};
use crate::outcome::{Operation, Outcome, RunOptions};
use crate::render::{self, Detail};

/// Between two pictures at least.
const FRAME: Duration = Duration::from_millis(50);
/// Between two questions, unless told otherwise.
const EVERY: &str = "2s";
/// The first measurement of CPU time: short, so that something is there soon.
const FIRST: Duration = Duration::from_millis(300);
/// Questions and operations that wait for a task. A person cannot press keys that fast; what does not
/// fit is said to have failed.
const JOBS: usize = 64;
/// Results that wait for the screen; then the tasks wait.
const INPUTS: usize = 64;
/// Between what a node tells and the question for the rest, so that a burst causes one.
const SETTLE: Duration = Duration::from_millis(150);
/// Between two such questions.
const GLANCE_GAP: Duration = Duration::from_millis(500);
/// News that are put into the picture together.
const MOST_NEWS: usize = 256;

/// `top`.
#[derive(Debug, Clone, Args)]
pub struct TopArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// How often nodes are asked: 2s, 500ms
    #[arg(long, short, value_name = "TIME", default_value = EVERY, value_parser = pause)]
    pub interval: Duration,
    /// How often they are asked for a sign of life.
    #[command(flatten)]
    pub beat: Beat,
}

/// What one of the tasks is told to do.
enum Job {
    Look(Operation, RunOptions),
    Glance(Operation, RunOptions),
    Act(Deed, RunOptions),
    Tell(String, Operation, RunOptions),
}

/// Shows the cluster until somebody leaves.
///
/// # Errors
/// No terminal, or one that cannot be used.
pub async fn top(session: &mut Session, global: &Global, args: &TopArgs) -> Result<Exit, Stop> {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Stop::usage("top needs a terminal; `stats --watch` prints the same figures anywhere"));
    }
    if global.json || global.ndjson {
        return Err(Stop::usage("top is for people; `stats --watch --ndjson` is for programs"));
    }
    let targets = session.targets(global)?;
    session.follow_nodes(&args.beat)?;
    // The tasks stay in this thread.
    LocalSet::new().run_until(show(session, global, args, targets)).await
}

async fn show(
    session: &Session,
    global: &Global,
    args: &TopArgs,
    targets: Vec<String>,
) -> Result<Exit, Stop> {
    let (sender, inputs) = mpsc::channel(INPUTS);
    let handle = session.fleet.handle();
    let news = handle.news();
    let [looker, glancer, actor] = [(); 3].map(|()| Worker::start(handle.clone(), sender.clone()));
    drop(sender);
    let failed =
        |error: std::io::Error| Stop::new(Exit::Failed, format!("this terminal cannot be used: {error}"));
    let screen = Screen::open().map_err(failed)?;
    let shell = shell(session, global);
    let model = Model::new(session.cluster.name.clone(), shell, &targets, Screen::size())
        .narrow(!args.names.is_empty());
    let mut top = Top {
        model,
        theme: Theme::of(|name| std::env::var(name).ok()),
        screen,
        looker,
        glancer,
        actor,
        options: Session::run_options(global, READ_TIMEOUT, &targets),
        acting: Session::run_options(global, ACT_TIMEOUT, &targets),
        names: args.names.clone(),
        looking: false,
        asked: false,
        glances: BTreeSet::new(),
        glance_at: Instant::now(),
        glancing: false,
        dirty: true,
    };
    let result = top.run(inputs, news, args.interval).await;
    let Top { screen, looker, glancer, actor, .. } = top;
    drop(screen);
    for worker in [looker, glancer, actor] {
        worker.end().await;
    }
    result.map_err(failed)
}

/// The words with which one would drive the same cluster from a shell.
fn shell(session: &Session, global: &Global) -> String {
    let mut shell = "circusman".to_owned();
    let spec = &session.cluster.inventory.spec;
    if global.cluster.is_some() && spec != DEFAULT_SPEC {
        shell += &format!(" --cluster {}", quoted(spec));
    }
    if session.cluster.port != DEFAULT_PORT && global.cluster.is_some() {
        shell += &format!(" --port {}", session.cluster.port);
    }
    shell
}

struct Top {
    model: Model,
    theme: Theme,
    screen: Screen,
    looker: Worker,
    glancer: Worker,
    actor: Worker,
    options: RunOptions,
    acting: RunOptions,
    names: Vec<String>,
    /// A look is under way.
    looking: bool,
    /// CPU was measured once.
    asked: bool,
    /// Nodes that are to be asked soon, and when.
    glances: BTreeSet<String>,
    glance_at: Instant,
    /// That is being done.
    glancing: bool,
    dirty: bool,
}

impl Top {
    async fn run(
        &mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut news: broadcast::Receiver<Arc<News>>,
        every: Duration,
    ) -> std::io::Result<Exit> {
        let mut ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()].map(signal);
        let mut stop = signal(SignalKind::from_raw(Signal::SIGTSTP as i32))?;
        let mut keys = EventStream::new();
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_frame = Instant::now();
        loop {
            let [terminate, hang_up, interrupt] = &mut ends;
            let input = tokio::select! {
                event = next(&mut keys) => match event {
                    Some(Ok(event)) => match input(event) {
                        Some(input) => input,
                        None => continue,
                    },
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(Exit::Interrupted),
                },
                Some(input) = inputs.recv() => input,
                heard = heard(&mut news) => match heard {
                    Some(news) => Input::News(news, wall()),
                    // Some were missed: then only asking tells.
                    None => {
                        self.look();
                        continue;
                    }
                },
                () = sleep_until(self.glance_at), if !self.glancing && !self.glances.is_empty() => {
                    self.glance();
                    continue;
                }
                _ = beat.tick() => {
                    if !self.model.paused {
                        self.look();
                    }
                    continue;
                }
                () = sleep_until(next_frame), if self.dirty => {
                    self.dirty = false;
                    self.screen.draw(&self.model, &self.theme)?;
                    next_frame = Instant::now() + FRAME;
                    continue;
                }
                _ = stop.recv() => {
                    self.suspend(&mut keys)?;
                    continue;
                }
                exit = ended(terminate, hang_up, interrupt) => return Ok(exit),
            };
            if let Some(exit) = self.update(input, &mut keys)? {
                return Ok(exit);
            }
        }
    }

    /// Lets the model know and does what it wants.
    fn update(&mut self, input: Input, keys: &mut EventStream) -> std::io::Result<Option<Exit>> {
        self.looking &= !matches!(input, Input::Reading(..));
        self.glancing &= !matches!(input, Input::Glance(..));
        self.dirty = true;
        for effect in self.model.update(input) {
            match effect {
                Effect::Look => self.look(),
                Effect::Glance(nodes) => {
                    if self.glances.is_empty() {
                        self.glance_at = self.glance_at.max(Instant::now() + SETTLE);
                    }
                    self.glances.extend(nodes);
                }
                Effect::Act(deed) => self.act(deed),
                Effect::Tell { title, operation, targets } => {
                    let options = RunOptions { targets: Some(targets), ..self.options.clone() };
                    self.actor.give(Job::Tell(title, operation, options));
                }
                Effect::Suspend => self.suspend(keys)?,
                Effect::Leave => return Ok(Some(Exit::Done)),
            }
        }
        Ok(None)
    }

    /// Asks those on which something has happened.
    fn glance(&mut self) {
        let targets = std::mem::take(&mut self.glances).into_iter().collect();
        let options = RunOptions { targets: Some(targets), ..self.options.clone() };
        let operation = Operation::Stats { names: self.names.clone(), over: Duration::ZERO };
        self.glancing = self.glancer.give(Job::Glance(operation, options));
        self.glance_at = Instant::now() + GLANCE_GAP;
    }

    /// Asks for figures, unless that is being done.
    fn look(&mut self) {
        if !std::mem::replace(&mut self.looking, true) {
            let over = if std::mem::replace(&mut self.asked, true) { Duration::ZERO } else { FIRST };
            let operation = Operation::Stats { names: self.names.clone(), over };
            self.looking = self.looker.give(Job::Look(operation, self.options.clone()));
        }
    }

    fn act(&mut self, deed: Deed) {
        let options = RunOptions { targets: Some(deed.targets.clone()), ..self.acting.clone() };
        self.actor.give(Job::Act(deed, options));
    }

    /// To the shell and back.
    fn suspend(&mut self, keys: &mut EventStream) -> std::io::Result<()> {
        self.screen.give_back();
        // Nobody may read what is typed into the shell.
        *keys = EventStream::new();
        // Cannot be caught, so it stops us here and now, until SIGCONT.
        let _stopped_and_back = raise(Signal::SIGSTOP);
        self.screen.take()?;
        *keys = EventStream::new();
        let (width, height) = Screen::size();
        let _nothing: Vec<Effect> = self.model.update(Input::Resized(width, height));
        self.dirty = true;
        Ok(())
    }
}

/// Waits for the first signal that ends us, those that cannot be listened for left out.
async fn ended(
    terminate: &mut std::io::Result<tokio::signal::unix::Signal>,
    hang_up: &mut std::io::Result<tokio::signal::unix::Signal>,
    interrupt: &mut std::io::Result<tokio::signal::unix::Signal>,
) -> Exit {
    async fn one(signal: &mut std::io::Result<tokio::signal::unix::Signal>) {
        match signal {
            Ok(signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    }
    tokio::select! {
        () = one(terminate) => Exit::Interrupted,
        () = one(hang_up) => Exit::Interrupted,
        () = one(interrupt) => Exit::Done,
    }
}

async fn next(keys: &mut EventStream) -> Option<std::io::Result<Event>> {
    std::future::poll_fn(|context| Pin::new(&mut *keys).poll_next(context)).await
}

fn input(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) => Some(Input::Key(key)),
        Event::Mouse(mouse) => Some(Input::Mouse(mouse)),
        Event::Resize(width, height) => Some(Input::Resized(width, height)),
        Event::FocusGained | Event::FocusLost | Event::Paste(_) => None,
    }
}

/// Some news that came together; `None` when some were missed.
async fn heard(news: &mut broadcast::Receiver<Arc<News>>) -> Option<Vec<Arc<News>>> {
    let mut all = match news.recv().await {
        Ok(first) => vec![first],
        Err(RecvError::Lagged(_)) => return None,
        // The fleet lives as long as its session.
        Err(RecvError::Closed) => std::future::pending().await,
    };
    while all.len() < MOST_NEWS
        && let Ok(more) = news.try_recv()
    {
        all.push(more);
    }
    Some(all)
}

/// A task that runs one operation after the other.
struct Worker {
    jobs: mpsc::Sender<Job>,
    task: JoinHandle<()>,
}

impl Worker {
    fn start(handle: Handle, inputs: mpsc::Sender<Input>) -> Self {
        let (jobs, queue) = mpsc::channel(JOBS);
        Self { jobs, task: spawn_local(work(handle, queue, inputs)) }
    }

    /// Whether there was room.
    fn give(&self, job: Job) -> bool {
        // Full means that somebody leans on a key; the picture shows what is under way.
        self.jobs.try_send(job).is_ok()
    }

    /// What is under way is given up.
    async fn end(self) {
        drop(self.jobs);
        self.task.abort();
        // Aborted, as it should be.
        let _ended = self.task.await;
    }
}

async fn work(handle: Handle, mut queue: mpsc::Receiver<Job>, inputs: mpsc::Sender<Input>) {
    while let Some(job) = queue.recv().await {
        let input = match job {
            Job::Look(operation, options) => {
                let outcome = run(&handle, operation, &options).await;
                Input::Reading(outcome, wall())
            }
            Job::Glance(operation, options) => {
                let outcome = run(&handle, operation, &options).await;
                Input::Glance(outcome, wall())
            }
            Job::Act(deed, options) => {
                let outcome = run(&handle, deed.operation.clone(), &options).await;
                Input::Acted(deed, outcome)
            }
            Job::Tell(title, operation, options) => {
                let outcome = run(&handle, operation.clone(), &options).await;
                Input::Told(title, render::outcome(&operation, &outcome, Detail::Full))
            }
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}

async fn run(handle: &Handle, operation: Operation, options: &RunOptions) -> Outcome {
    handle.run(operation, options, &mut |_| {}).await
}

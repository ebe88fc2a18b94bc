//! The built-in plugins: each a program of its own, started by the daemon as the watcher
//! `plugin:NAME`, talking to it as any client does.
//!
//! ```text
//!  circusd ──events──► drive ──┬► event(..)   what happened
//!     ▲                        ├► round(..)   every `loop_rate`
//!     └──────calls────────────┤► due(..)     at a moment it named
//!                              └► listen(..)  what else it hears
//! ```
//!
//! A plugin knows the endpoints only. It cannot hurt the daemon: it is killed and respawned like any
//! process. What it cannot do (a watcher that is gone, a daemon that does not answer) it says in its
//! log, and goes on; when the daemon stays away it ends.

mod node;

mod metrics;

mod commands;
mod emitter;
mod flapping;
mod heartbeat;
mod resources;
mod web;

use std::process::ExitCode;
use std::time::Duration;

use circus_protocol::endpoint::EndpointError;
use circus_protocol::event::Event;
use circus_protocol::transport::CallError;
use tokio::runtime;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::cli::{Level, PluginArguments};
use crate::config::plugin::{Class, Fault, Settings, from_text, settings};
use crate::log::{self, LogError, Target};
use node::{Events, Node};

/// Why a plugin cannot run, or cannot do something.
#[derive(Debug, thiserror::Error)]
enum PluginError {
    #[error("{0:?} is no plugin that is built in")]
    Class(String),
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.key, fault.reason)).collect::<Vec<_>>().join("; "))]
    Settings(Vec<Fault>),
    #[error("{flag}: {source}")]
    Endpoint { flag: &'static str, source: EndpointError },
    #[error("{flag}: {reason}")]
    Connect { flag: &'static str, reason: String },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("active is false: nothing to do")]
    Inactive,
    /// The system refuses something.
    #[error("{what}: {source}")]
    System { what: String, source: std::io::Error },
    /// The daemon cannot be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The daemon says no.
    #[error("{command} was refused: {reason}")]
    Refused { command: String, reason: String },
    /// It answers something else than circus does.
    #[error("the reply to {command} has no {missing}")]
    Reply { command: String, missing: &'static str },
    #[error("circusd has been away for {} s", node::AWAY.as_secs())]
    Away,
}

/// What every plugin is made of. Whatever fails is logged, and tried again the next time.
trait Work {
    /// The pause between two rounds, for those that have rounds.
    fn period(&self) -> Option<f64> {
        None
    }

    /// Before anything else.
    async fn begin(&mut self, _node: &mut Node) -> Result<(), PluginError> {
        Ok(())
    }

    /// Something happened to a watcher.
    async fn event(&mut self, _event: Event, _node: &mut Node) -> Result<(), PluginError> {
        Ok(())
    }

    /// It is time to look again.
    async fn round(&mut self, _node: &mut Node) -> Result<(), PluginError> {
        Ok(())
    }

    /// When something is to be done that was put off.
    fn next(&self) -> Option<Instant> {
        None
    }

    /// That moment has come.
    async fn due(&mut self, _node: &mut Node) -> Result<(), PluginError> {
        Ok(())
    }

    /// Hears what does not come from the daemon. Cancelling it loses nothing.
    async fn listen(&mut self) {
        std::future::pending().await
    }
}

/// Runs until killed, or until the daemon has gone; the exit status.
#[must_use]
pub fn run(arguments: &PluginArguments) -> ExitCode {
    let ended = prepare(arguments).and_then(|settings| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|source| PluginError::System { what: "cannot start".to_owned(), source })?;
        runtime.block_on(serve(arguments, settings))
    });
    match ended {
        Ok(never) => match never {},
        Err(error) => {
            tracing::error!("{}: {error}", arguments.class);
            ExitCode::FAILURE
        }
    }
}

/// A plugin has no end but errors and signals.
enum Never {}

fn prepare(arguments: &PluginArguments) -> Result<Settings, PluginError> {
    let level = Level::from_word(&arguments.log_level).unwrap_or(Level::Info);
    match Target::open(&arguments.log_output) {
        Ok(target) => log::start(level, target),
        Err(error) => {
            log::start(level, Target::Stderr);
            return Err(error.into());
        }
    }
    tracing::info!("Loading the plugin...");
    tracing::info!("Endpoint: '{}'", arguments.endpoint);
    tracing::info!("Pub/sub: '{}'", arguments.pubsub);
    let class =
        Class::from_path(&arguments.class).ok_or_else(|| PluginError::Class(arguments.class.clone()))?;
    settings(class, &from_text(&arguments.config)).map_err(PluginError::Settings)
}

async fn serve(arguments: &PluginArguments, settings: Settings) -> Result<Never, PluginError> {
    let node = Node::connect(&arguments.endpoint)?;
    let events = Events::connect(&arguments.pubsub)?;
    tracing::info!("Starting");
    match settings {
        Settings::Flapping(flapping) if !flapping.active => Err(PluginError::Inactive),
        Settings::Flapping(flapping) => drive(flapping::Watch::new(flapping), node, events).await,
        Settings::CommandReloader(period) => drive(commands::Reloader::new(period), node, events).await,
        Settings::WatchDog(watchdog) => drive(heartbeat::Dog::new(watchdog).await?, node, events).await,
        Settings::HttpObserver(http) => drive(web::Observer::new(http).await?, node, events).await,
        Settings::StatsdEmitter(statsd) => drive(emitter::Emitter::new(&statsd).await?, node, events).await,
        Settings::FullStats(statsd, period) => {
            drive(emitter::Full::new(&statsd, period).await?, node, events).await
        }
        Settings::ResourceWatcher(limits) => {
            drive(resources::Observer::new(limits).await?, node, events).await
        }
    }
}

/// What woke the plugin.
enum Wake {
    Event(Event),
    Round,
    Due,
    Heard,
}

async fn drive(mut work: impl Work, mut node: Node, mut events: Events) -> Result<Never, PluginError> {
    let mut rounds = work.period().map(rounds);
    tell(work.begin(&mut node).await);
    loop {
        let due = work.next();
        let wake = tokio::select! {
            event = events.next() => Wake::Event(event?),
            () = tick(&mut rounds) => Wake::Round,
            () = at(due) => Wake::Due,
            () = work.listen() => Wake::Heard,
        };
        tell(match wake {
            Wake::Event(event) => work.event(event, &mut node).await,
            Wake::Round => work.round(&mut node).await,
            Wake::Due => work.due(&mut node).await,
            Wake::Heard => Ok(()),
        });
    }
}

fn tell(result: Result<(), PluginError>) {
    if let Err(error) = result {
        tracing::warn!("{error}");
    }
}

/// The first one after a pause: the daemon is just starting everything.
fn rounds(seconds: f64) -> Interval {
    let period = Duration::from_secs_f64(seconds);
    let mut rounds = interval_at(Instant::now() + period, period);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds
}

async fn tick(rounds: &mut Option<Interval>) {
    match rounds {
        Some(rounds) => drop(rounds.tick().await),
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

//! What happens once, before the loop: the configuration is read, the process becomes a daemon, the
//! endpoints are bound. Everything that can go wrong here ends the daemon, with a reason and status 1.

use std::io::{self, Write};
use std::path::PathBuf;

use circus_protocol::endpoint::{Endpoint, EndpointError};
use circus_protocol::transport::BindError;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{User, chown, daemon};

use super::feed::Figures;
use super::pidfile::{self, Pidfile, PidfileError};
use crate::cli::{Arguments, Level};
use crate::config::resolve::{Resolved, plugin};
use crate::config::{Config, Global};
use crate::endpoint::control::Control;
use crate::endpoint::discovery::Discovery;
use crate::endpoint::events::Events;
use crate::endpoint::stats::Stats;
use crate::host::files::Source;
use crate::host::socket::{SocketError, Sockets};
use crate::log::{self, LogError, LoggerError, Settings, Target};

/// What the loop begins with.
pub(super) struct Prepared {
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) pidfile: Option<Pidfile>,
}

/// Why there is no daemon.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// Everything that is wrong with the file.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The place to start from is gone.
    #[error("the configuration file {path:?} cannot be located: {source}")]
    Place { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Logger(#[from] LoggerError),
    #[error(transparent)]
    Pidfile(#[from] PidfileError),
    /// The process cannot go to the background.
    #[error("cannot start in the background: {0}")]
    Background(nix::errno::Errno),
    #[error("[circus] {key}: {source}")]
    Endpoint { key: &'static str, source: EndpointError },
    /// An endpoint is taken, or cannot be.
    #[error("Could not bind {key}: {source}")]
    Bind { key: &'static str, source: BindError },
    /// A managed socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("[circus] endpoint_owner: {owner:?}: {reason}")]
    Owner { owner: String, reason: String },
    /// The system refuses what every daemon needs.
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

/// The file that the command line names.
pub(super) fn read(arguments: &Arguments) -> Result<(Source, Resolved), SetupError> {
    let path = arguments.config();
    let place = |source| SetupError::Place { path: path.to_owned(), source };
    let source = Source::new(path).map_err(place)?;
    let resolved = source.read().map_err(SetupError::Config)?;
    Ok((source, resolved))
}

/// Everything before the runtime. `None` when `--check` found nothing wrong.
pub(super) fn prepare(arguments: &Arguments) -> Result<Option<Prepared>, SetupError> {
    let (source, resolved) = read(arguments)?;
    let circus = &resolved.config.circus;
    if arguments.check {
        logger_settings(arguments, circus)?;
        check_endpoints(circus)?;
        say(&mut io::stderr(), &resolved.warnings.join("\n"));
        say(&mut io::stdout(), &format!("{}: ok", arguments.config().display()));
        return Ok(None);
    }
    let settings = logger_settings(arguments, circus)?;
    let level = arguments.log_level.or_else(|| circus.loglevel.as_deref().and_then(Level::from_word));
    let output = arguments.log_output.as_deref().or(circus.logoutput.as_deref()).unwrap_or("-");
    let target = match &settings {
        Some(settings) => Target::of(settings)?,
        None => Target::open(output)?,
    };
    let pidfile = arguments.pidfile.clone().or_else(|| circus.pidfile.as_ref().map(PathBuf::from));
    if let Some(path) = &pidfile {
        pidfile::check(path)?;
    }
    if arguments.daemon {
        // Everything above is still told on the terminal. The directory stays, 0 to 2 lead nowhere.
        daemon(true, false).map_err(SetupError::Background)?;
    }
    match settings {
        // As in stock, nothing else about the log counts then.
        Some(settings) => log::start_with(settings, target),
        None => log::start(level.unwrap_or(Level::Info), target),
    }
    warn(&resolved.warnings);
    let pidfile = pidfile.map(|path| Pidfile::write(&path)).transpose()?;
    if let Some(bits) = circus.umask.and_then(Mode::from_bits) {
        umask(bits);
    }
    Ok(Some(Prepared { source, config: resolved.config, pidfile }))
}

/// What a Python logging configuration asks for; `default` is none.
fn logger_settings(arguments: &Arguments, circus: &Global) -> Result<Option<Settings>, LoggerError> {
    let named = arguments.logger_config.clone().or_else(|| circus.loggerconfig.as_ref().map(PathBuf::from));
    let is_default = |path: &PathBuf| path.to_string_lossy().trim().eq_ignore_ascii_case("default");
    named.filter(|path| !is_default(path)).map(|path| log::read_settings(&path)).transpose()
}

/// Tells what is wrong where it is looked for: on stderr.
pub(super) fn complain(error: &SetupError) {
    say(&mut io::stderr(), &error.to_string());
}

/// A closed terminal is no reason to fail.
pub(super) fn say(to: &mut dyn Write, text: &str) {
    if !text.is_empty() {
        let _closed = writeln!(to, "{text}");
    }
}

/// What the author of a configuration should know.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// The bound endpoints.
pub(super) struct Bound {
    pub(super) control: Control,
    pub(super) events: Events,
    /// `None` when no figures are to be published.
    pub(super) figures: Option<Figures>,
    pub(super) discovery: Option<Discovery>,
    pub(super) addresses: Addresses,
    pub(super) sockets: Sockets,
}

/// What the endpoints are called in the file, and what they are.
#[derive(Debug)]
pub(super) struct Addresses {
    pub(super) named: [String; 3],
    pub(super) bound: [String; 3],
}

impl Addresses {
    /// One of them has changed.
    pub(super) fn take(&mut self, which: usize, name: &str, bound: Option<&Endpoint>) {
        for (texts, text) in [(&mut self.named, name.to_owned()), (&mut self.bound, settled(name, bound))] {
            if let Some(place) = texts.get_mut(which) {
                *place = text;
            }
        }
    }

    /// Puts what is bound in place of what was named, on the plugins' command lines too.
    pub(super) fn settle(&self, config: &mut Config) {
        let circus = &mut config.circus;
        let [named_control, named_events, named_stats] = &self.named;
        let [control, events, stats] = &self.bound;
        for (endpoint, named, bound) in [
            (&mut circus.endpoint, named_control, control),
            (&mut circus.pubsub_endpoint, named_events, events),
            (&mut circus.stats_endpoint, named_stats, stats),
        ] {
            if endpoint == named {
                endpoint.clone_from(bound);
            }
        }
        for watcher in &mut config.watchers {
            plugin::connect(watcher, &config.circus);
        }
    }
}

/// Binds everything, in circus' order.
pub(super) async fn bind(config: &Config) -> Result<Bound, SetupError> {
    let circus = &config.circus;
    let [control, events, stats] = check_endpoints(circus)?;
    let events = Events::bind(&events).await;
    let events = events.map_err(|source| SetupError::Bind { key: "pubsub_endpoint", source })?;
    let sockets = Sockets::open(&config.sockets)?;
    let control =
        Control::bind(&control).await.map_err(|source| SetupError::Bind { key: "endpoint", source })?;
    own(circus, control.bound())?;
    let figures = if circus.statsd { Some(publish_figures(stats).await) } else { None };
    let named = [circus.endpoint.clone(), circus.pubsub_endpoint.clone(), circus.stats_endpoint.clone()];
    let [named_control, named_events, named_stats] = &named;
    let bound = [
        settled(named_control, control.bound()),
        settled(named_events, events.bound()),
        settled(named_stats, figures.as_ref().and_then(Figures::bound)),
    ];
    tracing::info!("endpoint {}, pubsub_endpoint {}", bound[0], bound[1]);
    let discovery = match &circus.multicast_endpoint {
        Some(group) => discover(group, &bound[0])?,
        None => None,
    };
    Ok(Bound { control, events, figures, discovery, addresses: Addresses { named, bound }, sockets })
}

/// A taken stats endpoint costs the figures, not the supervision: in stock it is a process of its own
/// that fails and is started again.
pub(super) async fn publish_figures(endpoint: Endpoint) -> Figures {
    match Stats::bind(&endpoint, std::process::id()).await {
        Ok(stats) => Figures::Bound(stats),
        Err(error) => {
            tracing::error!(
                "Could not bind stats_endpoint: {error}; no figures are published until it is free"
            );
            Figures::Taken(endpoint)
        }
    }
}

pub(super) fn endpoint(key: &'static str, text: &str) -> Result<Endpoint, SetupError> {
    text.parse().map_err(|source| SetupError::Endpoint { key, source })
}

pub(super) fn check_endpoints(circus: &Global) -> Result<[Endpoint; 3], SetupError> {
    if let Some(group) = &circus.multicast_endpoint {
        endpoint("multicast_endpoint", group)?;
    }
    Ok([
        endpoint("endpoint", &circus.endpoint)?,
        endpoint("pubsub_endpoint", &circus.pubsub_endpoint)?,
        endpoint("stats_endpoint", &circus.stats_endpoint)?,
    ])
}

/// The author's own words, unless a port was left to the system.
fn settled(named: &str, bound: Option<&Endpoint>) -> String {
    let left_open = named.ends_with(":0") || named.ends_with(":*");
    bound.filter(|_| left_open).map_or_else(|| named.to_owned(), ToString::to_string)
}

pub(super) fn discover(group: &str, control: &str) -> Result<Option<Discovery>, SetupError> {
    let group = endpoint("multicast_endpoint", group)?;
    Discovery::join(&group, control).map(Some).or_else(|error| {
        tracing::warn!(
            "Multicast discovery is disabled, there was an error during udp socket creation. {error}"
        );
        Ok(None)
    })
}

/// Gives an ipc endpoint to its owner.
pub(super) fn own(circus: &Global, bound: Option<&Endpoint>) -> Result<(), SetupError> {
    let (Some(owner), Some(Endpoint::Ipc(path))) = (&circus.endpoint_owner, bound) else { return Ok(()) };
    let failed = |reason: String| SetupError::Owner { owner: owner.clone(), reason };
    let by_name = User::from_name(owner).map_err(|error| failed(error.to_string()))?;
    let uid = by_name.map(|user| user.uid).or_else(|| owner.parse().ok().map(nix::unistd::Uid::from_raw));
    let uid = uid.ok_or_else(|| failed("isn't a valid user name".to_owned()))?;
    chown(path.as_str(), Some(uid), None).map_err(|error| failed(error.to_string()))
}

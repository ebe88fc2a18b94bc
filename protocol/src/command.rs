//! Every command of circus, understood: what a request means once its arguments are checked.
//!
//! [`Command::parse`] turns a [`Request`](crate::request::Request) into one of these or refuses it in
//! circus' own words. Names are kept as sent, because replies quote them.

mod arguments;
pub mod lifecycle;
pub mod options;
pub mod output;
pub mod processes;
pub mod services;
pub mod stats;
pub mod watchers;

use serde_json::Value;

use crate::json;
use crate::number::Signal;
use crate::reply::Refusal;
use crate::request::Request;
use arguments::Arguments;
pub use output::{LogPart, Logs, MAX_LINES};
pub use services::Preflight;

/// A request whose arguments are understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Create a watcher.
    Add(Box<Add>),
    /// Fewer processes.
    Decr(Adjust),
    /// Figures of the daemon itself.
    Dstats,
    /// Some options of a watcher.
    Get {
        /// The watcher.
        name: String,
        /// Which options, in the order of the reply.
        keys: Vec<String>,
    },
    /// Options of the daemon.
    GlobalOptions {
        /// Only this one.
        option: Option<String>,
    },
    /// More processes.
    Incr(Adjust),
    /// An interactive shell, which we have not.
    Ipython,
    /// Signal, wait, SIGKILL; the watcher goes on.
    Kill(Kill),
    /// Watchers, or the pids of one.
    List {
        /// The watcher.
        name: Option<String>,
    },
    /// Always refused: one listens on the pubsub endpoint.
    Listen,
    /// Managed sockets.
    ListSockets,
    /// How many processes are held.
    NumProcesses {
        /// Of one watcher only.
        name: Option<String>,
    },
    /// How many watchers there are.
    NumWatchers,
    /// All options of a watcher.
    Options {
        /// The watcher.
        name: String,
    },
    /// Stop everything and end.
    Quit {
        /// Reply when done.
        waiting: bool,
    },
    /// Replace processes gracefully.
    Reload(Reload),
    /// Read the configuration again and apply the difference.
    ReloadConfig {
        /// Reply when done.
        waiting: bool,
    },
    /// Stop, then start.
    Restart(Selection),
    /// Remove a watcher.
    Rm {
        /// The watcher.
        name: String,
        /// Leave its processes alive, unmanaged.
        nostop: bool,
        /// Reply when done.
        waiting: bool,
    },
    /// Change options.
    Set(Set),
    /// Send a signal once.
    Signal(SignalCommand),
    /// Start watchers.
    Start(Selection),
    /// Figures of processes.
    Stats(StatsQuery),
    /// State of watchers.
    Status {
        /// Of one watcher only.
        name: Option<String>,
    },
    /// Stop watchers.
    Stop(Selection),
    /// What this daemon is and can do (extension).
    Hello,
    /// Write the services' configuration files from the cluster's membership (extension).
    Configure(Box<Configure>),
    /// Move the services' data out of the way (extension).
    Reset(Reset),
    /// What would go wrong at a start (extension).
    Preflight(Preflight),
    /// What processes print, or services log (extension).
    Logs(Logs),
    /// How far watchers have come (extension).
    Ready(services::Ready),
    /// A watcher's story (extension).
    Why {
        /// The watcher.
        name: String,
    },
}

/// Every name on the wire, sorted; `clear` is another word for `reset`.
pub const NAMES: &[&str] = &[
    "add",
    "clear",
    "configure",
    "decr",
    "dstats",
    "get",
    "globaloptions",
    "hello",
    "incr",
    "ipython",
    "kill",
    "list",
    "listen",
    "listsockets",
    "logs",
    "numprocesses",
    "numwatchers",
    "options",
    "preflight",
    "quit",
    "ready",
    "reload",
    "reloadconfig",
    "reset",
    "restart",
    "rm",
    "set",
    "signal",
    "start",
    "stats",
    "status",
    "stop",
    "why",
];

impl Command {
    /// Understands a request, or refuses it in circus' words. Whether a watcher exists is not looked at:
    /// this knows the message only.
    ///
    /// # Errors
    ///
    /// Unknown commands, missing or wrong arguments.
    pub fn parse(request: &Request) -> Result<Self, Refusal> {
        let arguments = Arguments::new(&request.properties);
        let name = request.command.to_lowercase();
        Ok(match name.as_str() {
            "add" => Self::Add(Box::new(watchers::add(&arguments)?)),
            "clear" | "reset" => Self::Reset(services::reset(&arguments)?),
            "configure" => Self::Configure(Box::new(services::configure(&arguments)?)),
            "decr" => Self::Decr(watchers::adjust(&arguments)?),
            "dstats" => Self::Dstats,
            "get" => watchers::get(&arguments)?,
            "globaloptions" => Self::GlobalOptions { option: watchers::global_option(&arguments)? },
            "hello" => Self::Hello,
            "incr" => Self::Incr(watchers::adjust(&arguments)?),
            "ipython" => Self::Ipython,
            "kill" => Self::Kill(processes::kill(&arguments)?),
            "list" => Self::List { name: arguments.find_name()? },
            "listen" => Self::Listen,
            "listsockets" => Self::ListSockets,
            "logs" => Self::Logs(output::logs(&arguments)?),
            "numprocesses" => Self::NumProcesses { name: arguments.find_name()? },
            "numwatchers" => Self::NumWatchers,
            "options" => Self::Options { name: arguments.required_name(&[])? },
            "preflight" => Self::Preflight(services::preflight(&arguments)?),
            "quit" => Self::Quit { waiting: arguments.waiting()? },
            "ready" => Self::Ready(services::ready(&arguments)?),
            "reload" => Self::Reload(lifecycle::reload(&arguments)?),
            "reloadconfig" => Self::ReloadConfig { waiting: arguments.waiting()? },
            "restart" => Self::Restart(lifecycle::selection(&arguments)?),
            "rm" => watchers::rm(&arguments)?,
            "set" => Self::Set(watchers::set(&arguments)?),
            "signal" => Self::Signal(processes::signal(&arguments)?),
            "start" => Self::Start(lifecycle::selection(&arguments)?),
            "stats" => Self::Stats(stats::stats(&arguments)?),
            "status" => Self::Status { name: arguments.find_name()? },
            "stop" => Self::Stop(lifecycle::selection(&arguments)?),
            "why" => Self::Why { name: arguments.required_name(&[])? },
            _ => return Err(Refusal::UnknownCommand(json::python_repr_str(&request.command))),
        })
    }

    /// The name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "add",
            Self::Decr(_) => "decr",
            Self::Dstats => "dstats",
            Self::Get { .. } => "get",
            Self::GlobalOptions { .. } => "globaloptions",
            Self::Incr(_) => "incr",
            Self::Ipython => "ipython",
            Self::Kill(_) => "kill",
            Self::List { .. } => "list",
            Self::Listen => "listen",
            Self::ListSockets => "listsockets",
            Self::NumProcesses { .. } => "numprocesses",
            Self::NumWatchers => "numwatchers",
            Self::Options { .. } => "options",
            Self::Quit { .. } => "quit",
            Self::Reload(_) => "reload",
            Self::ReloadConfig { .. } => "reloadconfig",
            Self::Restart(_) => "restart",
            Self::Rm { .. } => "rm",
            Self::Set(_) => "set",
            Self::Signal(_) => "signal",
            Self::Start(_) => "start",
            Self::Stats(_) => "stats",
            Self::Status { .. } => "status",
            Self::Stop(_) => "stop",
            Self::Hello => "hello",
            Self::Configure(_) => "configure",
            Self::Reset(_) => "reset",
            Self::Preflight(_) => "preflight",
            Self::Logs(_) => "logs",
            Self::Ready(_) => "ready",
            Self::Why { .. } => "why",
        }
    }

    /// Whether the reply is wanted when the work is done; commands that answer at once say no.
    #[must_use]
    pub fn waiting(&self) -> bool {
        match self {
            Self::Add(add) => add.start && add.waiting,
            Self::Decr(adjust) | Self::Incr(adjust) => adjust.waiting,
            Self::Kill(kill) => kill.waiting,
            Self::Quit { waiting } | Self::ReloadConfig { waiting } | Self::Rm { waiting, .. } => *waiting,
            Self::Reload(reload) => reload.waiting,
            Self::Restart(selection) | Self::Start(selection) | Self::Stop(selection) => selection.waiting,
            Self::Set(set) => set.waiting,
            Self::Dstats
            | Self::Get { .. }
            | Self::GlobalOptions { .. }
            | Self::Ipython
            | Self::List { .. }
            | Self::Listen
            | Self::ListSockets
            | Self::NumProcesses { .. }
            | Self::NumWatchers
            | Self::Options { .. }
            | Self::Signal(_)
            | Self::Stats(_)
            | Self::Status { .. }
            | Self::Hello
            | Self::Configure(_)
            | Self::Reset(_)
            | Self::Preflight(_)
            | Self::Logs(_)
            | Self::Ready(_)
            | Self::Why { .. } => false,
        }
    }
}

/// How `name` selects watchers in `start`, `stop` and `restart`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Match {
    /// Shell patterns over the whole name.
    #[default]
    Glob,
    /// The exact name.
    Simple,
    /// A regular expression, anchored at the start only.
    Regex,
}

/// Which watchers `start`, `stop` or `restart` is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// All watchers when absent.
    pub name: Option<String>,
    /// How `name` is compared.
    pub matching: Match,
    /// Reply when done instead of when begun.
    pub waiting: bool,
}

/// `incr` and `decr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjust {
    /// The watcher.
    pub name: String,
    /// By how many; may be negative.
    pub nb: i64,
    /// Reply when done.
    pub waiting: bool,
}

/// `reload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// All watchers when absent; no patterns.
    pub name: Option<String>,
    /// New processes first; otherwise it is a restart.
    pub graceful: bool,
    /// One process after the other.
    pub sequential: bool,
    /// Reply when done.
    pub waiting: bool,
}

/// `kill`.
#[derive(Debug, Clone, PartialEq)]
pub struct Kill {
    /// The watcher.
    pub name: String,
    /// Only this process.
    pub pid: Option<i64>,
    /// Instead of the watcher's stop signal.
    pub signal: Option<Signal>,
    /// Seconds until SIGKILL, instead of the watcher's.
    pub graceful_timeout: Option<f64>,
    /// Reply when done.
    pub waiting: bool,
}

/// `signal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalCommand {
    /// The watcher.
    pub name: String,
    /// What to send.
    pub signal: Signal,
    /// Whom.
    pub target: SignalTarget,
}

/// Whom `signal` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalTarget {
    /// Every process of the watcher, or the one named.
    Processes {
        /// Only this one; an unknown pid is silently nobody.
        pid: Option<i64>,
    },
    /// The direct children of those.
    Children {
        /// Of this one only.
        pid: Option<i64>,
    },
    /// The processes and everything below them.
    Recursive {
        /// This one only.
        pid: Option<i64>,
    },
    /// One direct child of one process.
    Child {
        /// The process.
        pid: i64,
        /// Its child.
        child: i64,
    },
}

/// `set`: options in the order sent, their types already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// The watcher.
    pub name: String,
    /// Key and value as sent.
    pub options: Vec<(String, Value)>,
    /// Reply when done.
    pub waiting: bool,
}

/// `add`.
#[derive(Debug, Clone, PartialEq)]
pub struct Add {
    /// The new watcher.
    pub name: String,
    /// Its program.
    pub cmd: String,
    /// Its arguments: a list, a string or null.
    pub args: Value,
    /// Key and value as sent, types already checked.
    pub options: Vec<(String, Value)>,
    /// Start it at once.
    pub start: bool,
    /// Reply when done.
    pub waiting: bool,
}

/// `stats`.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsQuery {
    /// All watchers when absent.
    pub name: Option<String>,
    /// Only this process; the value as sent and the number it means.
    pub process: Option<(Value, i64)>,
    /// Run the `extended_stats` hook too.
    pub extended: bool,
    /// Also what was counted of each watcher (extension; counts only without a name).
    pub tally: bool,
}

/// `configure` (extension): render and write the services' configuration files.
#[derive(Debug, Clone, PartialEq)]
pub struct Configure {
    /// 1-based position of this node in the cluster.
    pub identifier: u32,
    /// This node's own address.
    pub address: String,
    /// All addresses, this one among them.
    pub cluster: Vec<String>,
    /// Default: `identifier == 1`.
    pub is_master: bool,
    /// Only these services; all when absent.
    pub services: Option<Vec<String>>,
    /// Further variables for the templates.
    pub variables: Vec<(String, String)>,
    /// `service:label` and the text that replaces that template's text.
    pub templates: Vec<(String, String)>,
    /// First start after a full reset.
    pub fresh: bool,
    /// This node joins a cluster that holds data.
    pub joining: bool,
    /// Only say what would change.
    pub dry_run: bool,
}

/// What `reset` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// Stored data.
    Data,
    /// Log files.
    Log,
    /// Both.
    All,
}

/// A node's place in its cluster, as a peer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// 1-based position of this node in the cluster.
    pub identifier: u32,
    /// This node's own address.
    pub address: String,
    /// All addresses, this one among them.
    pub cluster: Vec<String>,
}

/// `reset`, also `clear` (extension).
#[derive(Debug, Clone, PartialEq)]
pub struct Reset {
    /// Which services; all when absent.
    pub name: Option<String>,
    /// How `name` is compared.
    pub matching: Match,
    /// What to reset.
    pub kind: ResetKind,
    /// Only list what would go.
    pub dry_run: bool,
    /// Stop the service first instead of refusing.
    pub stop: bool,
    /// Put back what the last reset moved aside.
    pub undo: bool,
    /// Seconds until what was moved aside is freed; the section's when absent.
    pub keep: Option<f64>,
    /// For roots that name the node (`${address}`); what `configure` said last when absent.
    pub member: Option<Member>,
}

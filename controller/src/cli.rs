//! The command line: one definition for the one-shot command, the console's lines, their help and
//! their completion.
//!
//! ```text
//! arguments ─► Cli ─► session (which cluster) ─► perform (which operation, may it?) ─► exit status
//! ```
//!
//! Knows what can be written, not what it does; nodes and terminals are met further down.

pub mod confirm;
pub mod entry;
pub mod exit;
pub mod output;
pub mod perform;
pub mod progress;
pub mod session;
pub mod store;

mod change;

mod logs;
mod ordered;
mod whole;

use std::path::PathBuf;
use std::time::Duration;

use circus_protocol::command::{MAX_LINES, ResetKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Where nodes listen unless the SPEC says otherwise.
pub const DEFAULT_PORT: u16 = 5555;
/// Nodes that are asked at the same time unless told otherwise.
pub const DEFAULT_PARALLEL: usize = 256;
/// The longest time anybody may wait for a node.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Drives every node of a cluster at once, whether it runs circusd-rs or stock circusd.
#[derive(Debug, Parser)]
#[command(name = "circusman", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; the console when left out on a terminal.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

const AFTER_HELP: &str = "\
SPEC names nodes, separated by commas; \"-\" in front of one takes it away again:
  192.168.0.1-192.168.0.32  192.168.0.1-32  192.168.0.0/27  node[01-16].lab
  a,b:5556,tcp://c:5555     @FILE (one address a line, # comments)

Exit status: 0 done or answered; 1 a node failed or refused; 2 usage or configuration;
  3 no such target; 4 some nodes unreachable; 5 timed out; 6 confirmation missing;
  8 --check found a difference; 130 interrupted";

/// Options that may stand before or after the command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The cluster: which nodes there are (default: the one remembered by `cluster`)
    #[arg(
        long,
        value_name = "SPEC",
        global = true,
        allow_hyphen_values = true,
        help_heading = "Options of every command"
    )]
    pub cluster: Option<String>,
    /// Only these nodes of the cluster; `*` and `?` match parts of names
    #[arg(
        long,
        value_name = "NODES",
        global = true,
        allow_hyphen_values = true,
        help_heading = "Options of every command"
    )]
    pub on: Option<String>,
    /// Port of nodes that are named without one [default: 5555]
    #[arg(long, value_name = "PORT", global = true, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Options of every command")]
    pub port: Option<u16>,
    /// Time for each node: 10, 1.5s, 500ms, 2m [default: 5s to read, 60s to act]
    #[arg(long, value_name = "TIME", global = true, value_parser = duration, help_heading = "Options of every command")]
    pub timeout: Option<Duration>,
    /// At most so many nodes at once [default: 256]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one, help_heading = "Options of every command")]
    pub parallel: Option<usize>,
    /// Description of the services, for stock nodes
    #[arg(
        id = "services_file",
        long = "services",
        value_name = "FILE",
        global = true,
        help_heading = "Options of every command"
    )]
    pub services: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true, conflicts_with = "ndjson", help_heading = "Options of every command")]
    pub json: bool,
    /// Print a JSON object for each node as it finishes
    #[arg(long, global = true, help_heading = "Options of every command")]
    pub ndjson: bool,
    /// Do not ask
    #[arg(long, short, global = true, help_heading = "Options of every command")]
    pub yes: bool,
    /// No progress and no notes on stderr
    #[arg(long, short, global = true, help_heading = "Options of every command")]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// A prompt that takes all these commands and keeps its connections
    Console,
    /// Show or redefine the cluster: SPEC, NETWORK NUMNODES or FILE [PORT]
    Cluster(ClusterArgs),
    /// Who is alive, and the state of each watcher
    Status(StatusArgs),
    /// How far watchers have come: down, starting, up, joined, failed
    Ready(ReadyArgs),
    /// A watcher's story on every node: how it stands, and what its last crash means
    Why(WhyArgs),
    /// What a watcher printed on every node, or wrote into a log file of its own
    Logs(LogsArgs),
    /// Start watchers on all nodes; all of them without NAME
    Start(OrderArgs),
    /// Stop watchers on all nodes; all of them without NAME
    Stop(OrderArgs),
    /// Stop and start watchers on all nodes
    Restart(NamesArgs),
    /// Replace processes gracefully on all nodes
    Reload(NamesArgs),
    /// Write the services' configuration files from the cluster's membership
    Configure(ConfigureArgs),
    /// Move the services' data and logs out of the way
    #[command(visible_alias = "clear")]
    Reset(ResetArgs),
    /// Stop, configure, reset and start in order until all is ready: a clean experiment
    Fresh(FreshArgs),
    /// Figures of processes
    Stats(NamesArgs),
    /// One raw command, sent as it is
    Call(CallArgs),
    /// A native circusctl for one daemon: `ctl --help`; `ctl top` shows live figures
    #[command(disable_help_flag = true)]
    Ctl(CtlArgs),
    /// A real cluster on loopback to play with
    Demo(DemoArgs),
    /// Ends a demo whose circusman was killed; the demo runs it
    #[command(hide = true)]
    DemoGuard(crate::demo::guard::GuardArgs),
    /// Imitates a database server; the demo's watchers run it
    #[command(hide = true)]
    StandIn(crate::demo::stand_in::StandInArgs),
}

/// `cluster`.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// SPEC; or NETWORK, as 192.168.0; or FILE, one address a line
    #[arg(value_name = "SPEC|NETWORK|FILE", allow_hyphen_values = true)]
    pub first: Option<String>,
    /// With NETWORK the number of nodes, with FILE their port
    #[arg(value_name = "NUMNODES|PORT")]
    pub second: Option<String>,
    /// What the cluster is called; `reset` asks for it
    #[arg(long)]
    pub name: Option<String>,
}

/// `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// Exit with 8 unless every watcher shown is active on every node
    #[arg(long)]
    pub check: bool,
}

/// `start` and `stop`.
#[derive(Debug, Clone, Args)]
pub struct OrderArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// In the order that the services declare, each ready before the next; stops in reverse
    #[arg(long)]
    pub ordered: bool,
}

/// `ready`.
#[derive(Debug, Clone, Args)]
pub struct ReadyArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// Until all of them are ready [default time: 10m]
    #[arg(long)]
    pub wait: bool,
    /// Exit with 8 unless every watcher shown is ready on every node
    #[arg(long)]
    pub check: bool,
}

/// `why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// The watcher
    #[arg(id = "names", value_name = "NAME")]
    pub name: String,
}

/// `logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// The watcher
    #[arg(id = "names", value_name = "NAME")]
    pub name: String,
    /// stdout, stderr, or the label of a log file (`log.LABEL` of the service)
    #[arg(long, short, value_name = "SOURCE", default_value = "stdout")]
    pub source: String,
    /// How many of the last lines
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LINES)))]
    pub lines: u32,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
}

/// `fresh`.
#[derive(Debug, Clone, Args)]
pub struct FreshArgs {
    /// Only these services
    pub names: Vec<String>,
    /// A further template variable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub variables: Vec<(String, String)>,
    /// How long to keep what is moved aside: 0, 10m [default: as the node's ini says]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub keep: Option<Duration>,
    /// The cluster's name, typed here instead of at the question
    #[arg(long, value_name = "CLUSTER")]
    pub confirm: Option<String>,
}

/// Verbs that act on watchers, or read of them.
#[derive(Debug, Clone, Args)]
pub struct NamesArgs {
    /// Only these watchers
    pub names: Vec<String>,
}

/// `configure`.
#[derive(Debug, Clone, Args)]
pub struct ConfigureArgs {
    /// Only these services
    pub services: Vec<String>,
    /// A further template variable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub variables: Vec<(String, String)>,
    /// First start after a full reset
    #[arg(long)]
    pub fresh: bool,
    /// The targeted nodes join a cluster that holds data
    #[arg(long)]
    pub joining: bool,
    /// Only show what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Only look: exit with 8 if any file would change
    #[arg(long)]
    pub check: bool,
}

/// `reset`.
#[derive(Debug, Clone, Args)]
pub struct ResetArgs {
    /// What to wipe
    #[arg(value_enum, default_value = "all")]
    pub kind: Kind,
    /// Only this service; may be repeated
    #[arg(long = "service", short, value_name = "NAME")]
    pub services: Vec<String>,
    /// Only list what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Stop running services first instead of refusing
    #[arg(long)]
    pub stop: bool,
    /// Put back what the last reset moved aside
    #[arg(long, conflicts_with = "stop")]
    pub undo: bool,
    /// How long to keep what is moved aside: 0, 10m [default: as the node's ini says]
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "undo")]
    pub keep: Option<Duration>,
    /// The cluster's name, typed here instead of at the question
    #[arg(long, value_name = "CLUSTER")]
    pub confirm: Option<String>,
}

/// What `reset` wipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Databases
    Data,
    /// Log files
    Log,
    /// Both
    All,
}

impl From<Kind> for ResetKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Data => Self::Data,
            Kind::Log => Self::Log,
            Kind::All => Self::All,
        }
    }
}

/// `call`.
#[derive(Debug, Clone, Args)]
pub struct CallArgs {
    /// The command, as circus has it: options, signal, ...
    pub command: String,
    /// Its properties: KEY=VALUE (a JSON value or text), or one JSON object
    #[arg(value_name = "PROPERTY")]
    pub properties: Vec<String>,
}

/// `ctl`; the words are read by [`crate::ctl`].
#[derive(Debug, Clone, Args)]
pub struct CtlArgs {
    /// What circusctl would be given
    #[arg(value_name = "CIRCUSCTL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub nodes: u8,
    /// One node runs this stock circusd
    #[arg(long, value_name = "CIRCUSD")]
    pub stock: Option<PathBuf>,
    /// Work in this directory and leave it there
    #[arg(long, value_name = "DIR")]
    pub keep_dir: Option<PathBuf>,
    /// Run these console commands instead of asking for some; `;` separates
    #[arg(long, value_name = "COMMANDS")]
    pub run: Option<String>,
}

/// `10`, `1.5s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    const REMEDY: &str = "write seconds as 10 or 1.5, or use a unit: 500ms, 2m, 1h";
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at).ok_or(REMEDY)?;
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(REMEDY.to_owned()),
    };
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| plain).ok_or(REMEDY)? * scale;
    let time = Duration::try_from_secs_f64(seconds).map_err(|_| REMEDY)?;
    if time > MAX_TIMEOUT { Err("at most a week (168h)".to_owned()) } else { Ok(time) }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count >= 1)
        .ok_or_else(|| "write a number of nodes, 1 or more".to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;

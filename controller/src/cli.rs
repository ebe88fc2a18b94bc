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

mod args;
mod change;
mod choose;
mod cluster;
mod completions;
mod detect;
mod history;
mod journal;
mod lifecycle;
pub(crate) mod listen;
mod logs;
mod ordered;
mod planned;
mod preflight;
mod rolling;
mod stats;
mod survey;
mod whole;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub(crate) use args::duration as time;
pub use args::{
    Beat, CallArgs, ConfigureArgs, CtlArgs, DemoArgs, FreshArgs, Kind, OrderArgs, ReadyArgs, ResetArgs,
    StartArgs, StatusArgs, WhyArgs,
};
use args::{at_least_one, duration};
pub use choose::Choice;
pub use cluster::{ClusterArgs, Deed};
pub use completions::{CompletionsArgs, Target};
pub use detect::DetectArgs;
pub use history::{HistoryArgs, ResumeArgs};
pub use listen::ListenArgs;
pub use logs::LogsArgs;
pub use preflight::PreflightArgs;
pub use rolling::{ChangeArgs, RollingArgs, Sizes, WaitFor};
pub use stats::StatsArgs;
pub(crate) use stats::pause;

/// Where nodes listen unless the SPEC says otherwise.
pub const DEFAULT_PORT: u16 = 5555;
/// Nodes that are asked at the same time unless told otherwise.
pub const DEFAULT_PARALLEL: usize = 256;

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
  a,b:5556,tcp://c:5555     @FILE (one address a line, # comments)  @GROUP
  dns:NAME  srv:NAME  exec:COMMAND  and more: `cluster --help`

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
    /// Only the nodes that failed in the last operation, or in operation ID of the `history`
    #[arg(
        long,
        value_name = "ID",
        global = true,
        num_args = 0..=1,
        require_equals = true,
        help_heading = "Options of every command"
    )]
    pub failed: Option<Option<u64>>,
    /// Which of these nodes.
    #[command(flatten)]
    pub choice: Choice,
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
    Console(Beat),
    /// Show, redefine or detect the cluster: SPEC, NETWORK NUMNODES or FILE [PORT]
    Cluster(ClusterArgs),
    /// Who is alive, and the state of each watcher
    Status(StatusArgs),
    /// How far watchers have come: down, starting, up, joined, failed
    Ready(ReadyArgs),
    /// What a start would meet: ports, Java, limits, names, directories, each with its remedy
    Preflight(PreflightArgs),
    /// What stands between a node, or a watcher, and its being ready; and the remedy
    Why(WhyArgs),
    /// What watchers print on all nodes, or write into log files, in the order of time
    Logs(LogsArgs),
    /// Start watchers on all nodes; all of them without NAME
    Start(StartArgs),
    /// Stop watchers on all nodes; all of them without NAME
    Stop(OrderArgs),
    /// Stop and start watchers on all nodes
    Restart(ChangeArgs),
    /// Replace processes gracefully on all nodes
    Reload(ChangeArgs),
    /// Write the services' configuration files from the cluster's membership
    Configure(ConfigureArgs),
    /// Move the services' data and logs out of the way
    #[command(visible_alias = "clear")]
    Reset(ResetArgs),
    /// Stop, configure, reset and start in order until all is ready: a clean experiment
    Fresh(FreshArgs),
    /// The operations of the past: who did what, on which nodes, and what came of it
    History(HistoryArgs),
    /// Finish an interrupted or failed operation on the nodes where it is not done
    Resume(ResumeArgs),
    /// What processes use: CPU, memory, age, children, restarts
    Stats(StatsArgs),
    /// The cluster on one screen, live, with keys that start, stop, search and explain
    Top(crate::top::TopArgs),
    /// The figures of all nodes for Prometheus, over HTTP
    Export(crate::export::ExportArgs),
    /// One raw command, sent as it is
    Call(CallArgs),
    /// A native circusctl for one daemon: `ctl --help`; `ctl top` shows live figures
    #[command(disable_help_flag = true)]
    Ctl(CtlArgs),
    /// What changes anywhere in the cluster, a line each, until Ctrl-C
    Listen(ListenArgs),
    /// A real cluster on loopback to play with
    Demo(DemoArgs),
    /// A simulated cluster of up to 10,000 nodes that speak the real protocol on loopback
    Simulate(crate::simulate::SimulateArgs),
    /// What a shell needs to complete these commands, and man pages
    Completions(CompletionsArgs),
    /// Ends a demo whose circusman was killed; the demo runs it
    #[command(hide = true)]
    DemoGuard(crate::demo::guard::GuardArgs),
    /// Imitates a database server; the demo's watchers run it
    #[command(hide = true)]
    StandIn(crate::demo::stand_in::StandInArgs),
}

#[cfg(test)]
mod tests;

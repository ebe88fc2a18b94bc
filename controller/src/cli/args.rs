//! What each verb can be told: the arguments behind its name, and how their values are read.

use std::path::PathBuf;
use std::time::Duration;

use circus_protocol::command::ResetKind;
use clap::{Args, ValueEnum};

use super::lifecycle::Said;
use super::rolling::RollingArgs;
use crate::cluster::ready::MANY;
use crate::cluster::rolling::Deed;

/// The longest time anybody may wait for a node.
const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The least and the most time between two heartbeats.
const BEAT_SHORTEST: Duration = Duration::from_millis(200);
const BEAT_LONGEST: Duration = Duration::from_secs(60);

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
    #[arg(long, conflicts_with = "rolling")]
    pub ordered: bool,
    /// How it goes through the cluster.
    #[command(flatten)]
    pub rolling: RollingArgs,
    /// Only print what would be done, to which nodes and in which order
    #[arg(long)]
    pub dry_run: bool,
}

impl OrderArgs {
    pub(super) fn said(&self, deed: Deed) -> Said<'_> {
        let Self { names, ordered, rolling, dry_run } = self;
        Said { deed, names, ordered: *ordered, dry_run: *dry_run, rolling, skip_preflight: false }
    }
}

/// `start`.
#[derive(Debug, Clone, Args)]
pub struct StartArgs {
    /// What and how.
    #[command(flatten)]
    pub order: OrderArgs,
    /// With --ordered or --rolling: do not look first at what the start would meet
    #[arg(long)]
    pub skip_preflight: bool,
}

impl StartArgs {
    pub(super) fn said(&self) -> Said<'_> {
        Said { skip_preflight: self.skip_preflight, ..self.order.said(Deed::Start) }
    }
}

/// `ready`.
#[derive(Debug, Clone, Args)]
pub struct ReadyArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// Until all of them are ready [default time: 10m]
    #[arg(long)]
    pub wait: bool,
    /// Give up on a service of which a process crashed so many times meanwhile; 0: never
    #[arg(long, value_name = "N", default_value_t = MANY)]
    pub crashes: u32,
    /// Exit with 8 unless every watcher shown is ready on every node
    #[arg(long)]
    pub check: bool,
}

/// `why`.
#[derive(Debug, Clone, Args)]
pub struct WhyArgs {
    /// A node of the cluster, or a watcher; with --on always a watcher
    #[arg(id = "names", value_name = "NODE|NAME")]
    pub name: String,
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
    /// Only show the steps, what would be written and what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Do not look first at what the start would meet
    #[arg(long)]
    pub skip_preflight: bool,
    /// Give up on a service of which a process crashed so many times meanwhile; 0: never
    #[arg(long, value_name = "N", default_value_t = MANY)]
    pub crashes: u32,
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
    /// How it goes through the cluster.
    #[command(flatten)]
    pub rolling: RollingArgs,
    /// With --rolling: stop the services of each batch first, and start them again with their new files
    #[arg(long, requires = "rolling")]
    pub restart: bool,
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
    pub with_stock: Option<PathBuf>,
    /// Work in this directory and leave it there
    #[arg(long, value_name = "DIR")]
    pub keep_dir: Option<PathBuf>,
    /// Run these console commands instead of asking for some; `;` separates
    #[arg(long, value_name = "COMMANDS")]
    pub run: Option<String>,
}

/// The option of commands that follow nodes.
#[derive(Debug, Clone, Args, Default)]
pub struct Beat {
    /// How often nodes are asked for a sign of life; a node is down after 2.75 times that [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = heartbeat)]
    pub heartbeat: Option<Duration>,
}

/// The time between two heartbeats.
fn heartbeat(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if (BEAT_SHORTEST..=BEAT_LONGEST).contains(&time) {
        Ok(time)
    } else {
        Err("at least 200ms, so that a slow answer is no death, and at most 60s".to_owned())
    }
}

/// `10`, `1.5s`, `500ms`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| *count >= 1)
        .ok_or_else(|| "write a number of nodes, 1 or more".to_owned())
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

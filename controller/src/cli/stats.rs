//! `stats`, once or again and again.
//!
//! ```text
//!  look ─► (restarts that were seen filled in) ─► text, CSV, JSON ─► pause ─┐
//!    ▲                                                                     │ --watch
//!    └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! On a terminal each picture takes the place of the one before; elsewhere it follows it. Ctrl-C ends it
//! with 130, because it would never end by itself.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use terminal_size::{Height, terminal_size};
use tokio::time::{MissedTickBehavior, interval};

use super::args::duration;
use super::exit::Exit;
use super::output::{data, stream};
use super::progress::{self, Purpose, interrupts};
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, at_least_one};
use crate::figures::rows::{By, Sort};
use crate::figures::track::Tracker;
use crate::figures::{self, Node};
use crate::fleet::wall;
use crate::outcome::{Operation, Outcome};
use crate::render;
use crate::render::figures::View;

/// `stats`.
#[derive(Debug, Clone, Args)]
pub struct StatsArgs {
    /// Only these watchers
    pub names: Vec<String>,
    /// What a row stands for
    #[arg(long, value_enum, value_name = "WHAT", default_value = "process")]
    pub by: By,
    /// In which order [default: as the nodes tell it]
    #[arg(long, value_enum, value_name = "BY")]
    pub sort: Option<Sort>,
    /// Only the first N rows
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub top: Option<usize>,
    /// Again and again until Ctrl-C
    #[arg(long, short, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2", value_parser = pause_before_names)]
    pub watch: Option<Duration>,
    /// Measure CPU over so long; 0: since whoever asked last
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    pub over: Duration,
    /// Print CSV, in bytes, seconds and percent of one CPU
    #[arg(long)]
    pub csv: bool,
}

/// The shortest pause between two pictures.
const SHORTEST: Duration = Duration::from_millis(100);

fn pause_before_names(text: &str) -> Result<Duration, String> {
    pause(text).map_err(|error| format!("{error}; watchers' names go before --watch"))
}

/// The time between two looks.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time < SHORTEST { Err("at least 100ms".to_owned()) } else { Ok(time) }
}

/// A picture of the cluster.
struct Picture {
    outcome: Outcome,
    nodes: Vec<Node>,
    operation: Operation,
    time: String,
}

pub(super) async fn stats(session: &mut Session, global: &Global, args: &StatsArgs) -> Result<Exit, Stop> {
    if args.csv && (global.json || global.ndjson) {
        return Err(Stop::usage("stats prints one of --csv, --json and --ndjson"));
    }
    if args.watch.is_some() && global.json {
        return Err(Stop::usage("stats --watch never ends, so it is no document; use --ndjson or --csv"));
    }
    let targets = session.targets(global)?;
    let mut tracker = Tracker::default();
    if args.csv {
        data(&render::figures::csv_head());
    }
    let Some(pause) = args.watch else {
        let picture = look(session, global, args, &targets, args.over, &mut tracker).await;
        let exit = Exit::of(&picture.outcome);
        let _still_read = stream(&print(session, global, args, &picture, exit));
        return Ok(exit);
    };
    let mut interrupt = interrupts()?;
    let mut beat = interval(pause);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let redraw = std::io::stdout().is_terminal() && !args.csv && !global.ndjson;
    let (mut over, mut first) = (args.over, true);
    // A progress line below a picture that redraws itself would only flicker.
    let quiet = Global { quiet: true, ..global.clone() };
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            _ = interrupt.recv() => return Ok(Exit::Interrupted),
        }
        let picture = look(session, &quiet, args, &targets, over, &mut tracker).await;
        let exit = Exit::of(&picture.outcome);
        if exit == Exit::Interrupted {
            return Ok(exit);
        }
        let text = print(session, global, args, &picture, exit);
        let text = if redraw { over_the_last(&text, first) } else { separated(text, global, args, first) };
        if !stream(&text) {
            return Ok(Exit::Done);
        }
        // From now on whoever asked last was us.
        (over, first) = (Duration::ZERO, false);
    }
}

async fn look(
    session: &mut Session,
    global: &Global,
    args: &StatsArgs,
    targets: &[String],
    over: Duration,
    tracker: &mut Tracker,
) -> Picture {
    let operation = Operation::Stats { names: args.names.clone(), over };
    let options = Session::run_options(global, READ_TIMEOUT, targets);
    let outcome = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Result).await;
    session.learn(&outcome);
    let mut nodes = figures::nodes(&outcome);
    if args.watch.is_some() {
        let _only_the_counts_matter = tracker.take(&mut nodes);
    }
    Picture { outcome, nodes, operation, time: render::units::date(wall()) }
}

fn print(session: &Session, global: &Global, args: &StatsArgs, picture: &Picture, exit: Exit) -> String {
    let Picture { outcome, nodes, operation, time } = picture;
    let view = View { by: args.by, sort: args.sort, top: args.top };
    if args.csv {
        return render::figures::csv(nodes, &view, time);
    }
    if !(global.json || global.ndjson) {
        return render::stats(outcome, nodes, &view);
    }
    let name = &session.cluster.name;
    let rows = view.rows(nodes);
    let mut document = if global.json {
        render::json::document(operation, name, outcome, exit.number())
    } else {
        Value::Object(render::json::summary(operation, name, outcome, exit.number()))
    };
    if let Value::Object(map) = &mut document {
        map.insert("time".to_owned(), time.as_str().into());
        map.insert("rows".to_owned(), rows.shown.iter().map(render::figures::object).collect());
        map.insert("total".to_owned(), Value::Object(render::figures::figures(&rows.total)));
    }
    if global.json { format!("{document:#}\n") } else { format!("{document}\n") }
}

/// The picture in the place of the last one; what does not fit is left out, the end first.
fn over_the_last(text: &str, first: bool) -> String {
    const CLEAR: &str = "\x1b[2J";
    const HOME: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let height = terminal_size().map_or(24, |(_, Height(height))| usize::from(height));
    let lines: Vec<&str> = text.lines().take(height.saturating_sub(1).max(1)).collect();
    let lines: String = lines.into_iter().map(|line| format!("{line}{CLEAR_LINE}\r\n")).collect();
    format!("{}{HOME}{lines}{CLEAR_BELOW}", if first { CLEAR } else { "" })
}

/// Blocks of text have an empty line between them; lines for programs have not.
fn separated(text: String, global: &Global, args: &StatsArgs, first: bool) -> String {
    if first || args.csv || global.ndjson { text } else { format!("\n{text}") }
}

//! `logs`: the last lines of many nodes merged in the order of time; following them ([`follow`]); and
//! mirroring whole files ([`download`]).

mod download;
mod filter;
mod follow;
mod live;

use std::collections::HashSet;
use std::path::PathBuf;

use circus_protocol::command::MAX_LINES;
use clap::Args;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{can_paint, data, talk};
use super::perform::print;
use super::progress::{self, Purpose};
use super::session::{READ_TIMEOUT, Session, Stop};
use super::{Global, args};
use crate::cluster::log::record::Cutter;
use crate::outcome::{LogsPart, LogsRequest, Operation, Outcome};
use crate::render::told::{self, Columns};
use filter::Filter;

/// `logs`.
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Watchers; `*` and `?` match parts of names [default: all]
    #[arg(id = "names", value_name = "NAME")]
    pub names: Vec<String>,
    /// stdout, stderr, the label of a log file (`log.LABEL` of the service), or all; several with
    /// commas [default: stdout; of a download: all]
    #[arg(long, short, visible_alias = "stream", value_name = "SOURCE", value_delimiter = ',')]
    pub source: Vec<String>,
    /// How many of the last lines of each log
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LINES)))]
    pub lines: u32,
    /// Go on with what is written from now on, until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// Only what matches; lines that belong together stay together
    #[arg(long, short = 'e', value_name = "REGEX")]
    pub grep: Option<String>,
    /// Only from then on: 10m (ago), 2026-11-29T10:00:00Z, "2026-11-29 10:00", 10:00 (today)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only until then
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Copy whole log files, also rotated ones, into DIR/NODE/WATCHER/; later only what is new
    #[arg(long, value_name = "DIR", conflicts_with_all = ["follow", "grep", "since", "until", "lines"])]
    pub download: Option<PathBuf>,
}

pub(super) async fn logs(session: &mut Session, global: &Global, args: &LogsArgs) -> Result<Exit, Stop> {
    if let Some(dir) = &args.download {
        return download::download(session, global, args, dir).await;
    }
    let filter = Filter::new(args, crate::fleet::wall())?;
    if args.follow {
        return follow::follow(session, global, args, &filter).await;
    }
    let targets = session.targets(global)?;
    let options = Session::run_options(global, READ_TIMEOUT, &targets);
    let operation = Operation::Logs(request(args, &filter));
    let look = Purpose::Look;
    let mut outcome = progress::run(&mut session.fleet, &operation, &options, global, look).await;
    filter_outcome(&mut outcome, &filter);
    let exit = Exit::of(&outcome);
    if global.json || global.ndjson {
        if global.ndjson {
            for row in &outcome.nodes {
                data(&format!("{}\n", crate::render::json::line(&operation, row)));
            }
        }
        print(session, global, &operation, &outcome, exit);
        return Ok(exit);
    }
    session.learn(&outcome);
    let lines = told::merged(&outcome, can_paint());
    data(&lines);
    if !global.quiet {
        if lines.is_empty() && exit == Exit::Done {
            talk(&format!("no lines in {}; --source all reads every log there is", sources(args).join(", ")));
        }
        for complaint in partial(&outcome) {
            talk(&complaint);
        }
    }
    data(&told::unanswered(&outcome));
    Ok(exit)
}

fn request(args: &LogsArgs, filter: &Filter) -> LogsRequest {
    let part = match filter.since {
        Some(time) => LogsPart::Since { time },
        None => LogsPart::Last { lines: args.lines },
    };
    LogsRequest { names: args.names.clone(), sources: sources(args), part, binary: false }
}

fn sources(args: &LogsArgs) -> Vec<String> {
    if args.source.is_empty() { vec!["stdout".to_owned()] } else { args.source.clone() }
}

/// Leaves in each text only the records that are wanted.
fn filter_outcome(outcome: &mut Outcome, filter: &Filter) {
    if filter.is_empty() {
        return;
    }
    for row in &mut outcome.nodes {
        let ahead = told::ahead(&row.data);
        let entries = row.data.get_mut("logs").and_then(Value::as_array_mut).into_iter().flatten();
        for entry in entries {
            let Some(text) = entry.get("text").and_then(Value::as_str) else { continue };
            let written = told::written(entry, ahead);
            let (mut cutter, mut records) = (Cutter::new(0), Vec::new());
            cutter.push(text, written, written.by, &mut records);
            cutter.finish(written, &mut records);
            let kept: String = records
                .iter()
                .filter(|record| filter.lets(record))
                .map(|r| format!("{}\n", r.text))
                .collect();
            if let Some(map) = entry.as_object_mut() {
                map.insert("text".to_owned(), json!(kept));
            }
        }
    }
}

/// What some logs of nodes that answered could not be read for.
fn partial(outcome: &Outcome) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut lines = Vec::new();
    for row in outcome.nodes.iter().filter(|row| crate::render::answered(row)) {
        for error in told::entries(&row.data).filter_map(|entry| entry.get("error")?.as_str()) {
            if seen.insert((row.node.as_str(), error)) {
                lines.push(crate::render::table::plain(&format!("{}: {error}", row.node)));
            }
        }
    }
    lines
}

/// What stands in front of each line of these nodes.
fn columns(targets: &[String], args: &LogsArgs) -> Columns {
    let several = args.names.len() != 1
        || args.source.len() > 1
        || args.names.iter().chain(&args.source).any(|word| word.contains(['*', '?', '[']) || word == "all");
    let width = targets.iter().map(|node| node.chars().count()).max().unwrap_or(0);
    Columns { width, several, paint: can_paint() }
}

/// Seconds of a duration such as 10m.
fn seconds(text: &str) -> Option<f64> {
    args::duration(text).ok().map(|time| time.as_secs_f64())
}

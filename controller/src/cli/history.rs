//! `history` shows the journal of operations; `resume` finishes one on the nodes where it is not done.

use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::output::{data, talk};
use super::session::{Session, Stop};
use super::store::Store;
use super::{Choice, Cli, Global, Verb, journal, perform, session};
use crate::cluster::journal::{Begun, Record};
use crate::fleet::ServicesFile;
use crate::inventory::fold::counted;
use crate::render;
use clap::{Args, Parser};

/// `history`.
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Only this operation, with a row for each node
    pub id: Option<u64>,
    /// How many of the last operations
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub lines: usize,
}

/// `resume`.
#[derive(Debug, Clone, Args)]
pub struct ResumeArgs {
    /// The operation [default: the last one on this cluster]
    pub id: Option<u64>,
    /// The cluster's name, when the operation wants it typed
    #[arg(long, value_name = "CLUSTER")]
    pub confirm: Option<String>,
}

pub(super) fn history(store: &Store, global: &Global, args: &HistoryArgs) -> Result<Exit, Stop> {
    let records = match args.id {
        Some(id) => vec![journal::numbered(store, id)?],
        None => journal::newest(store, args.lines, |_| true)?,
    };
    let one = args.id.is_some();
    if global.ndjson {
        for record in records.iter().rev() {
            data(&format!("{}\n", render::history::json(record, one)));
        }
    } else if global.json {
        data(&format!("{:#}\n", render::history::document(&records, one)));
    } else if let ([record], true) = (records.as_slice(), one) {
        data(&render::history::one(record));
    } else {
        data(&render::history::list(&records));
    }
    Ok(Exit::Done)
}

pub(super) async fn resume(session: &mut Session, global: &Global, args: &ResumeArgs) -> Result<Exit, Stop> {
    let record = journal::meant(session, args.id)?;
    let id = record.begun.id;
    if record.running {
        return Err(Stop::new(Exit::Failed, format!("operation {id} is still under way")));
    }
    let words = record.begun.words.clone();
    let verb = verb_of(&words, args).ok_or_else(|| {
        Stop::new(Exit::Failed, format!("operation {id} is no command of this version: {}", words.join(" ")))
    })?;
    let left = if is_whole(&verb) && record.outcome() != "done" {
        record.begun.targets.clone()
    } else {
        record.left()
    };
    if left.is_empty() {
        let done = format!("operation {id} is done on all its nodes; there is nothing to resume");
        return Err(Stop::new(Exit::NoTarget, done));
    }
    if !global.quiet {
        talk(&render::table::plain(&format!(
            "resuming `{}` on {}",
            render::history::line(&words),
            counted(&left)
        )));
    }
    let described = services_of(session, global, &record)?;
    session.words = words;
    session.only = Some(left);
    let global = Global { on: None, failed: None, choice: Choice::default(), ..global.clone() };
    let own = described
        .map(|(path, file)| (session.services.replace(path), session.fleet.replace_services(Some(file))));
    // It is one command of the session, so it may be one of this one.
    let result = Box::pin(perform::perform(session, &global, &verb)).await;
    session.only = None;
    if let Some((path, file)) = own {
        session.services = path;
        session.fleet.replace_services(file);
    }
    result
}

/// The services file that the operation had, unless this command names one.
///
/// # Errors
/// It is gone, or wrong by now.
fn services_of(
    session: &Session,
    global: &Global,
    record: &Record,
) -> Result<Option<(PathBuf, ServicesFile)>, Stop> {
    let Begun { id, services: Some(path), .. } = &record.begun else { return Ok(None) };
    if global.services.is_some() || session.services.as_deref() == Some(Path::new(path)) {
        return Ok(None);
    }
    let path = PathBuf::from(path);
    let read = session::services(Some(&path)).map_err(|stop| {
        let remedy = "put the file back, or name another one with `--services FILE`";
        Stop::usage(format!("operation {id} was begun with --services: {stop}; {remedy}"))
    })?;
    if !global.quiet {
        talk(&render::table::plain(&format!("with --services {}, as then", path.display())));
    }
    Ok(read.map(|file| (path, file)))
}

/// The command, with this one's confirmation instead of the one it was given then.
fn verb_of(words: &[String], args: &ResumeArgs) -> Option<Verb> {
    let words = std::iter::once("circusman").chain(words.iter().map(String::as_str));
    let verb = Cli::try_parse_from(words).ok()?.verb?;
    match verb {
        Verb::Reset(reset) => Some(Verb::Reset(super::ResetArgs { confirm: args.confirm.clone(), ..reset })),
        Verb::Fresh(fresh) => Some(Verb::Fresh(super::FreshArgs { confirm: args.confirm.clone(), ..fresh })),
        // It cannot have been written down.
        Verb::Resume(_) => None,
        other => Some(other),
    }
}

/// Half of it is nothing: it is done again on all its nodes.
fn is_whole(verb: &Verb) -> bool {
    match verb {
        Verb::Fresh(_) => true,
        Verb::Start(args) => args.order.ordered,
        Verb::Stop(args) => args.ordered,
        _ => false,
    }
}

//! One command, from its arguments to its exit status: which operation it is, whether it must be
//! confirmed, and what is printed.
//!
//! The commands that change something beyond starting and stopping are in `change`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::change;
use super::confirm::require_yes;
use super::exit::Exit;
use super::history;
use super::journal::Writer;
use super::lifecycle;
use super::listen;
use super::logs;
use super::ordered;
use super::output::{can_ask, data};
use super::preflight;
use super::progress::{self, First, Interrupts, Purpose};
use super::session::{ACT_TIMEOUT, READ_TIMEOUT, Session, Stop};
use super::stats;
use super::why;
use super::{CallArgs, Global, StatusArgs, Verb, choose, cluster};
use crate::cluster::rolling::Deed;
use crate::inventory::fold::counted;
use crate::outcome::{NodeOutcome, Operation, Outcome};
use crate::render::{self, Detail};

/// Raw commands that change nothing and so never ask.
const READING: [&str; 16] = [
    "dstats",
    "get",
    "globaloptions",
    "hello",
    "list",
    "listen",
    "listsockets",
    "logs",
    "numprocesses",
    "numwatchers",
    "options",
    "preflight",
    "ready",
    "stats",
    "status",
    "why",
];

/// Carries out a command of an open session.
///
/// # Errors
/// What ends it before there is a result.
pub async fn perform(session: &mut Session, global: &Global, verb: &Verb) -> Result<Exit, Stop> {
    let chosen = choose::resolved(session, global, verb).await?;
    let global = chosen.as_ref();
    match verb {
        Verb::Console(_) => Err(Stop::usage("this is the console already")),
        Verb::Ctl(_) => Err(Stop::usage("circusctl is for one daemon; start it from a shell")),
        Verb::Demo(_) | Verb::DemoGuard(_) | Verb::StandIn(_) => {
            Err(Stop::usage("the demo has its own console; start it from a shell"))
        }
        Verb::Completions(_) => Err(Stop::usage("shells are told so from a shell")),
        Verb::Cluster(args) => cluster::within(session, global, args).await,
        Verb::Simulate(_) => Err(Stop::usage("a simulation runs until Ctrl-C; start it from a shell")),
        Verb::Listen(args) => listen::listen(session, global, args).await,
        Verb::Status(args) => status(session, global, args).await,
        Verb::Stats(args) => stats::stats(session, global, args).await,
        Verb::Top(args) => crate::top::top(session, global, args).await,
        Verb::Export(args) => crate::export::export(session, global, args).await,
        Verb::Call(args) => call(session, global, args).await,
        Verb::History(args) => history::history(&session.store, global, args),
        Verb::Resume(args) => history::resume(session, global, args).await,
        Verb::Ready(args) => ordered::ready(session, global, args).await,
        Verb::Preflight(args) => preflight::preflight(session, global, args).await,
        Verb::Why(args) => why::why(session, global, args).await,
        Verb::Logs(args) => logs::logs(session, global, args).await,
        Verb::Start(args) => lifecycle::run(session, global, args.said()).await,
        Verb::Stop(args) => lifecycle::run(session, global, args.said(Deed::Stop)).await,
        Verb::Restart(args) => lifecycle::run(session, global, args.said(Deed::Restart)).await,
        Verb::Reload(args) => lifecycle::run(session, global, args.said(Deed::Reload)).await,
        Verb::Fresh(args) => ordered::fresh(session, global, args).await,
        Verb::Configure(args) => change::configure(session, global, args).await,
        Verb::Reset(args) => change::reset(session, global, args).await,
    }
}

/// Prints a result in the form the user chose.
pub(super) fn print(
    session: &mut Session,
    global: &Global,
    operation: &Operation,
    outcome: &Outcome,
    exit: Exit,
) {
    session.learn(outcome);
    let name = &session.cluster.name;
    if global.json {
        let document = render::json::document(operation, name, outcome, exit.number());
        data(&format!("{document:#}\n"));
    } else if global.ndjson {
        let last = Value::Object(render::json::summary(operation, name, outcome, exit.number()));
        data(&format!("{last}\n"));
    } else {
        data(&render::outcome(operation, outcome, Detail::Full));
    }
}

async fn read(session: &mut Session, global: &Global, operation: Operation) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let options = Session::run_options(global, READ_TIMEOUT, &targets);
    let outcome = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Result).await;
    let exit = Exit::of(&outcome);
    print(session, global, &operation, &outcome, exit);
    Ok(exit)
}

/// Carries out an operation that is allowed to, and writes it down when it changes something.
pub(super) async fn act(
    session: &mut Session,
    global: &Global,
    operation: Operation,
    targets: &[String],
) -> Result<Exit, Stop> {
    let options = Session::run_options(global, ACT_TIMEOUT, targets);
    let mut journal =
        operation.changes().then(|| Writer::begin(session, render::json::name(&operation), targets));
    let (mut interrupts, lines) = (Interrupts::listen(), global.ndjson);
    let mut told = |row: &NodeOutcome| {
        if lines {
            data(&format!("{}\n", render::json::line(&operation, row)));
        }
        if let Some(journal) = &mut journal {
            journal.row(row);
        }
    };
    let fleet = &mut session.fleet;
    let outcome =
        progress::watch(fleet, &operation, &options, global, &mut interrupts, First::Cancels, &mut told)
            .await;
    let exit = Exit::of(&outcome);
    if let Some(journal) = journal {
        journal.end(exit, global);
    }
    print(session, global, &operation, &outcome, exit);
    Ok(exit)
}

async fn status(session: &mut Session, global: &Global, args: &StatusArgs) -> Result<Exit, Stop> {
    let targets = session.targets(global)?;
    let operation = Operation::Status { names: args.names.clone() };
    let options = Session::run_options(global, READ_TIMEOUT, &targets);
    let outcome = progress::run(&mut session.fleet, &operation, &options, global, Purpose::Result).await;
    let mut exit = Exit::of(&outcome);
    let states = outcome.nodes.iter().filter_map(render::watchers_of).flat_map(Map::values);
    if args.check && exit == Exit::Done && states.into_iter().any(|state| state != "active") {
        exit = Exit::Differs;
    }
    print(session, global, &operation, &outcome, exit);
    Ok(exit)
}

/// One node is nobody's surprise; many are asked about.
pub(super) async fn consent(
    global: &Global,
    operation: &Operation,
    names: &[String],
    targets: &[String],
) -> Result<(), Stop> {
    if global.yes || targets.len() <= 1 {
        return Ok(());
    }
    let what = if names.is_empty() { "all watchers".to_owned() } else { names.join(", ") };
    let deed = format!("{} {what} on {}", render::json::name(operation), counted(targets));
    require_yes(format!("{deed}?"), &deed).await
}

async fn call(session: &mut Session, global: &Global, args: &CallArgs) -> Result<Exit, Stop> {
    let properties = properties(&args.properties)?;
    let targets = session.targets(global)?;
    let reading = READING.contains(&args.command.to_ascii_lowercase().as_str());
    let operation = Operation::Call { command: args.command.clone(), properties };
    if reading {
        return read(session, global, operation).await;
    }
    if !global.yes && targets.len() > 1 {
        let deed = format!("call {} on {}", args.command, counted(&targets));
        require_yes(format!("{deed}?"), &deed).await?;
    }
    act(session, global, operation, &targets).await
}

/// `KEY=VALUE ...` or one JSON object.
fn properties(words: &[String]) -> Result<Value, Stop> {
    const REMEDY: &str = "write KEY=VALUE, or one JSON object such as '{\"name\": \"web\"}'";
    if let [only] = words
        && only.trim_start().starts_with('{')
    {
        return serde_json::from_str(only).map_err(|error| Stop::usage(format!("call: {error}; {REMEDY}")));
    }
    let mut map = Map::new();
    for word in words {
        let pair = word.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, text) =
            pair.ok_or_else(|| Stop::usage(format!("call: {word:?} is no property; {REMEDY}")))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        if map.insert(key.to_owned(), value).is_some() {
            return Err(Stop::usage(format!("call: {key:?} is given twice")));
        }
    }
    Ok(Value::Object(map))
}

/// Runs the look before a question; an interrupt or an unanswered look ends the command here.
pub(super) async fn look(
    session: &mut Session,
    global: &Global,
    operation: &Operation,
    targets: &[String],
) -> Result<Outcome, Stop> {
    debug_assert!(can_ask(), "a look is for somebody to answer to");
    asked(session, global, operation, ACT_TIMEOUT, targets).await
}

/// Asks for something that is not the result; an interrupt ends the command here.
pub(super) async fn asked(
    session: &mut Session,
    global: &Global,
    operation: &Operation,
    patience: Duration,
    targets: &[String],
) -> Result<Outcome, Stop> {
    let options = Session::run_options(global, patience, targets);
    let outcome = progress::run(&mut session.fleet, operation, &options, global, Purpose::Look).await;
    if Exit::of(&outcome) == Exit::Interrupted {
        return Err(Stop::new(Exit::Interrupted, "interrupted; nothing was changed"));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn understands_properties() {
        let words =
            |words: &[&str]| properties(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&[]).expect("none"), json!({}));
        assert_eq!(
            words(&["name=web", "nb=2", "x=a=b"]).expect("pairs"),
            json!({"name": "web", "nb": 2, "x": "a=b"})
        );
        assert_eq!(words(&["{\"a\": [1]}"]).expect("an object"), json!({"a": [1]}));
        for bad in [&["name"][..], &["=x"], &["{"], &["a=1", "a=2"]] {
            assert_eq!(words(bad).expect_err("is wrong").exit, Exit::Usage);
        }
    }
}

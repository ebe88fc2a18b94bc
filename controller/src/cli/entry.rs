//! From the process' arguments to its exit status: which face is meant.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Builder;

use super::completions;
use super::exit::Exit;
use super::history;
use super::output::{complain, data};
use super::perform::perform;
use super::session::{Session, Stop};
use super::store::Store;
use super::{Beat, Cli, DEFAULT_PORT, Verb, cluster};
use crate::fleet::Pace;
use crate::{console, ctl, demo, render, simulate};

/// Everything.
#[must_use]
pub fn main() -> ExitCode {
    match completions::answer() {
        Ok(false) => {}
        Ok(true) => return Exit::Done.into(),
        Err(stop) => return report(&stop, false).into(),
    }
    // circusctl has rules of its own for its words.
    if let Some(words) = ctl::meant(std::env::args_os()) {
        return ctl::main(&words);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _reader_left = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    // The stand-ins are plain processes, like the servers they imitate.
    if let Some(Verb::StandIn(args)) = &cli.verb {
        return demo::stand_in::run(args);
    }
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run(&cli)).unwrap_or_else(|stop| report(&stop, cli.global.json));
    // A thread that still waits for the keyboard must not hold up the end.
    runtime.shutdown_background();
    exit.into()
}

/// Tells why a command ended early, `json` wants it as a document; the status goes on to the shell.
pub fn report(stop: &Stop, json: bool) -> Exit {
    complain(&stop.message);
    if json {
        data(&format!(
            "{:#}\n",
            render::json::stopped(&stop.message, stop.place.as_deref(), stop.exit.number())
        ));
    }
    stop.exit
}

async fn run(cli: &Cli) -> Result<Exit, Stop> {
    let global = &cli.global;
    match &cli.verb {
        None if !std::io::stdin().is_terminal() => {
            Err(Stop::usage("no command; `circusman console` reads commands from stdin, --help lists them"))
        }
        None | Some(Verb::Console(_)) => {
            let mut session = Session::open(global, Store::from_env()).await?;
            if let Some(Verb::Console(Beat { heartbeat: Some(interval) })) = cli.verb {
                session.pace = Pace::of(interval);
            }
            tokio::select! {
                exit = console::run(session, global, console::Source::stdin()) => exit,
                stop = console::ended() => Err(stop),
            }
        }
        Some(Verb::Ctl(_)) => Err(Stop::usage(
            "`ctl` takes options of its own behind it; write `circusman ctl ...` with nothing in between",
        )),
        Some(Verb::Demo(args)) => demo::run(global, args).await,
        Some(Verb::Simulate(args)) => simulate::run(args, global.port.unwrap_or(DEFAULT_PORT)).await,
        Some(Verb::DemoGuard(args)) => Ok(demo::guard::watch(args).await),
        Some(Verb::Cluster(args)) => cluster::alone(global, args).await,
        Some(Verb::Completions(args)) => completions::completions(global, args),
        Some(Verb::History(args)) => history::history(&Store::from_env(), global, args),
        Some(verb) => {
            let mut session = Session::open(global, Store::from_env()).await?;
            session.words =
                std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            perform(&mut session, global, verb).await
        }
    }
}

//! Completion in a shell, and man pages: both come from the one definition of the command line.
//!
//! ```text
//!  circusman completions SHELL ─► a few lines for the shell's start-up
//!  Tab ─► the shell runs circusman with COMPLETE=SHELL ─► candidates; nodes, watchers and operations
//!         out of what is remembered: nobody is asked, no SPEC is resolved
//! ```

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::exit::Exit;
use super::output::{data, talk};
use super::session::Stop;
use super::store::{Seen, Store};
use super::{Cli, Global, journal};

/// The variable that makes the program answer a shell instead of doing anything.
const VARIABLE: &str = "COMPLETE";
/// Operations that are offered.
const MAX_OPERATIONS: usize = 20;

/// `completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// For whom
    #[arg(value_enum, value_name = "SHELL|man")]
    pub kind: Target,
    /// Write files into this directory instead of printing
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
}

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// `source <(circusman completions bash)` in ~/.bashrc
    Bash,
    /// `source <(circusman completions zsh)` in ~/.zshrc
    Zsh,
    /// `circusman completions fish | source` in config.fish
    Fish,
    /// The man pages; without --dir the first of them
    Man,
}

/// Answers a shell that asks for candidates; whether one did.
pub(super) fn answer() -> Result<bool, Stop> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), here.as_deref())
        .map_err(Stop::usage)
}

pub(super) fn completions(global: &Global, args: &CompletionsArgs) -> Result<Exit, Stop> {
    let (name, text) = match args.kind {
        Target::Bash => ("circusman.bash", script(&Bash)?),
        Target::Zsh => ("_circusman", script(&Zsh)?),
        Target::Fish => ("circusman.fish", script(&Fish)?),
        Target::Man => match &args.dir {
            Some(dir) => return pages(dir, global),
            None => ("circusman.1", page()?),
        },
    };
    let Some(dir) = &args.dir else {
        data(&text);
        return Ok(Exit::Done);
    };
    let path = dir.join(name);
    let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(&path, text));
    written.map_err(|error| cannot(&path, &error))?;
    told(global, &path);
    Ok(Exit::Done)
}

fn script(shell: &dyn EnvCompleter) -> Result<String, Stop> {
    let mut text = Vec::new();
    let name = "circusman";
    shell.write_registration(VARIABLE, name, name, name, &mut text).map_err(Stop::usage)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn page() -> Result<String, Stop> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text).map_err(Stop::usage)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// One page for the program and one for each command.
fn pages(dir: &Path, global: &Global) -> Result<Exit, Stop> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|error| cannot(dir, &error))?;
    told(global, dir);
    Ok(Exit::Done)
}

fn cannot(path: &Path, error: &std::io::Error) -> Stop {
    Stop::new(Exit::Failed, format!("{}: {error}", path.display()))
}

fn told(global: &Global, path: &Path) {
    if !global.quiet {
        talk(&format!("written: {}", path.display()));
    }
}

/// The command line, with what is remembered at the places where it fits.
fn command() -> Command {
    let watchers = |arg: clap::Arg| match arg.get_id().as_str() {
        "names" | "services" => arg.add(ArgValueCompleter::new(|word: &OsStr| offer(&seen().watchers, word))),
        "id" => arg.add(ArgValueCompleter::new(operations)),
        _ => arg,
    };
    let nodes = |arg: clap::Arg| match arg.get_id().as_str() {
        "on" => arg.add(ArgValueCompleter::new(|word: &OsStr| listed(&seen().nodes, word))),
        "failed" => arg.add(ArgValueCompleter::new(operations)),
        _ => arg,
    };
    Cli::command().mut_args(nodes).mut_subcommands(|verb| verb.mut_args(watchers))
}

fn seen() -> Seen {
    Store::from_env().seen()
}

fn offer(names: &[String], word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    names.iter().filter(|name| name.starts_with(word)).map(CompletionCandidate::new).collect()
}

/// The part after the last comma.
fn listed(names: &[String], word: &OsStr) -> Vec<CompletionCandidate> {
    let text = word.to_string_lossy();
    let (before, last) = text.split_at(text.rfind(',').map_or(0, |at| at + 1));
    offer(names, OsStr::new(last)).into_iter().map(|name| name.add_prefix(before)).collect()
}

fn operations(word: &OsStr) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let records = journal::newest(&Store::from_env(), MAX_OPERATIONS, |_| true).unwrap_or_default();
    let candidate = |record: crate::cluster::journal::Record| {
        let told = format!("{} ({})", record.begun.words.join(" "), record.outcome());
        CompletionCandidate::new(record.begun.id.to_string()).help(Some(told.into()))
    };
    records
        .into_iter()
        .map(candidate)
        .filter(|one| one.get_value().to_string_lossy().starts_with(word))
        .collect()
}

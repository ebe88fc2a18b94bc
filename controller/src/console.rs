//! The console: the commands of the command line, one a line, over connections that stay open.
//!
//! ```text
//! line ─► words ─► the same clap definition ─► perform ─► result; Ctrl-C ends the operation, not us
//! ```
//!
//! On a terminal it edits, completes and remembers, follows the cluster and shows what changes in it;
//! from a pipe or a script it only reads. It ends
//! with the status of the last command that failed, so that scripts can feed it.

mod complete;
mod events;
mod script;

use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::cli::entry::report;
use crate::cli::exit::Exit;
use crate::cli::listen::is_settled;
use crate::cli::output::{complain, data, talk};
use crate::cli::perform::perform;
use crate::cli::session::{Session, Stop};
use crate::cli::{Cli, Global, Verb};
use crate::words;
use complete::{Known, Prompter};
use events::{Events, Show};

/// Lines that are remembered.
const MAX_HISTORY: usize = 2_000;
/// The longest line that is taken from a pipe.
const MAX_LINE: usize = 1 << 20;
/// The longest name in the prompt.
const MAX_PROMPT: usize = 32;
/// How long the greeting waits for the first nodes.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// How long it waits for the first node of all.
const FIRST_NODE: Duration = Duration::from_secs(5);

type LineEditor = Editor<Prompter, FileHistory>;

/// Where lines come from.
pub enum Source {
    /// A person.
    Editor(Box<LineEditor>),
    /// A pipe.
    Pipe,
    /// `--run`: given beforehand.
    Script(VecDeque<String>),
}

/// What reading a line came to.
enum Read {
    Line(String),
    /// Ctrl-C at the prompt: the line is dropped.
    Dropped,
    End,
}

impl Source {
    /// A person if stdin is a terminal, else a pipe.
    #[must_use]
    pub fn stdin() -> Self {
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            return Self::Pipe;
        }
        let config = Config::builder()
            .completion_type(rustyline::CompletionType::List)
            .auto_add_history(false)
            .history_ignore_space(true)
            .max_history_size(MAX_HISTORY);
        let editor = config.and_then(|config| Editor::with_config(config.build()));
        editor.map_or(Self::Pipe, |editor| Self::Editor(Box::new(editor)))
    }

    /// Commands separated by `;` or line ends.
    #[must_use]
    pub fn script(text: &str) -> Self {
        Self::Script(script::commands(text).into())
    }

    /// The next line, with completion and history where there is somebody to type.
    async fn line(
        &mut self,
        session: &Session,
        history: Option<&Path>,
        events: Option<&Events>,
    ) -> Result<Read, Stop> {
        if let Self::Editor(editor) = self {
            editor.set_helper(Some(Prompter::new(command(), known(session))));
        }
        events.into_iter().for_each(|events| events.at_prompt(true));
        let read = self.read(prompt(session)).await;
        events.into_iter().for_each(|events| events.at_prompt(false));
        let read = read?;
        if let (Self::Editor(editor), Read::Line(line)) = (self, &read)
            && !line.trim().is_empty()
        {
            let _unchanged = editor.add_history_entry(line.trim());
            if let Some(path) = history
                && let Err(error) = editor.append_history(path)
            {
                complain(&format!("the history cannot be kept: {}: {error}", path.display()));
            }
        }
        Ok(read)
    }

    /// The next line; the runtime goes on meanwhile, so that connections stay alive.
    async fn read(&mut self, prompt: String) -> Result<Read, Stop> {
        let lost = |error: &dyn std::fmt::Display| Stop::usage(format!("cannot read commands: {error}"));
        match self {
            Self::Script(lines) => Ok(lines.pop_front().map_or(Read::End, Read::Line)),
            Self::Pipe => {
                let line = tokio::select! {
                    line = tokio::task::spawn_blocking(pipe_line) => line,
                    _ = tokio::signal::ctrl_c() => return Err(Stop::new(Exit::Interrupted, "interrupted")),
                };
                line.map_err(|error| lost(&error))?.map_err(|error| lost(&error))
            }
            Self::Editor(editor) => {
                // The editor moves to a thread that may wait for the keyboard, and comes back.
                let idle = Editor::with_config(Config::default()).map_err(|error| lost(&error))?;
                let mut busy = std::mem::replace(editor.as_mut(), idle);
                let read = tokio::task::spawn_blocking(move || {
                    let line = busy.readline(&prompt);
                    (busy, line)
                });
                let (back, line) = read.await.map_err(|error| lost(&error))?;
                **editor = back;
                match line {
                    Ok(line) => Ok(Read::Line(line)),
                    Err(ReadlineError::Interrupted) => Ok(Read::Dropped),
                    Err(ReadlineError::Eof) => Ok(Read::End),
                    Err(error) => Err(lost(&error)),
                }
            }
        }
    }
}

fn pipe_line() -> std::io::Result<Read> {
    let mut bytes = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let read = std::io::Read::take(&mut stdin, MAX_LINE as u64).read_until(b'\n', &mut bytes)?;
    Ok(if read == 0 { Read::End } else { Read::Line(String::from_utf8_lossy(&bytes).into_owned()) })
}

/// Reads and carries out commands until the end.
///
/// # Errors
/// Lines can no longer be read; a failing command only counts.
pub async fn run(mut session: Session, global: &Global, mut source: Source) -> Result<Exit, Stop> {
    let _restored = Terminal::remember();
    let history = session.store.history();
    let mut events = None;
    if let Source::Editor(editor) = &mut source {
        if let Some(path) = &history {
            let _first_time = editor.load_history(path);
        }
        greet(&session).await;
        events = Events::start(editor, &session.fleet.handle());
    }
    session.follow();
    let mut last = Exit::Done;
    // A line can be several commands: written with `;`, or pasted.
    let mut waiting = VecDeque::new();
    loop {
        let Some(command) = waiting.pop_front() else {
            match source.line(&session, history.as_deref(), events.as_ref()).await? {
                Read::End => break,
                Read::Dropped => {}
                Read::Line(line) => waiting.extend(script::commands(&line)),
            }
            continue;
        };
        // Nodes that came or went while nobody typed are part of what this command is about.
        if let Some(news) = session.catch_up()
            && !global.quiet
        {
            talk(&news);
        }
        match execute(&mut session, global, &command, events.as_ref()).await {
            Next::Go(Exit::Done) => {}
            Next::Go(exit @ (Exit::Interrupted | Exit::Unconfirmed)) => {
                // Whoever says no means what follows, too.
                waiting.clear();
                last = exit;
                // Nobody is there to type the next command: an interrupt means all of it.
                if exit == Exit::Interrupted && !matches!(source, Source::Editor(_)) {
                    break;
                }
            }
            Next::Go(exit) => last = exit,
            Next::Leave => break,
        }
    }
    // For a person leaving is no failure; a script wants to know.
    Ok(if matches!(source, Source::Editor(_)) { Exit::Done } else { last })
}

/// Resolves when somebody ends us from outside: SIGTERM, or the terminal went away. Listens from the
/// call on, not only once it is awaited.
pub fn ended() -> impl Future<Output = Stop> {
    let listening = (signal(SignalKind::terminate()), signal(SignalKind::hangup()));
    async move {
        let (Ok(mut term), Ok(mut hang_up)) = listening else {
            // Then the system's default action ends us.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => Stop::new(Exit::Interrupted, "ended by SIGTERM"),
            _ = hang_up.recv() => Stop::new(Exit::Interrupted, "ended: the terminal is gone"),
        }
    }
}

/// Puts the terminal back as it was, even when the line editor's thread still waits in it.
pub(crate) struct Terminal(Option<Termios>);

impl Terminal {
    pub(crate) fn remember() -> Self {
        Self(tcgetattr(std::io::stdin()).ok())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _terminal_gone = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}

enum Next {
    Go(Exit),
    Leave,
}

async fn execute(session: &mut Session, global: &Global, line: &str, events: Option<&Events>) -> Next {
    let words = match words::split(line, words::CONSOLE) {
        Ok(words) => words,
        Err(error) => {
            complain(&error.to_string());
            return Next::Go(Exit::Usage);
        }
    };
    match words.first().map(String::as_str) {
        None => return Next::Go(Exit::Done),
        Some("exit" | "quit") if words.len() == 1 => return Next::Leave,
        Some("events") => {
            if let Some(exit) = choose(events, words.get(1..).unwrap_or_default()) {
                return Next::Go(exit);
            }
        }
        Some(_) => {}
    }
    let parsed = command().try_get_matches_from(&words).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // A console's commands have no program's name in front.
            let text = error.render().to_string().replace("Usage:  ", "Usage: ");
            if error.use_stderr() {
                talk(text.trim_end());
                return Next::Go(Exit::Usage);
            }
            data(&text);
            return Next::Go(Exit::Done);
        }
    };
    session.words.clone_from(&words);
    let exit = match (merged(global, &cli.global, cli.verb.as_ref()), &cli.verb) {
        (Ok(merged), Some(verb)) => perform(session, &merged, verb).await,
        (Ok(_), None) => Err(Stop::usage("which command? `help` lists them")),
        (Err(stop), _) => Err(stop),
    };
    Next::Go(exit.unwrap_or_else(|stop| report(&stop, global.json || cli.global.json)))
}

/// `events` and `events on`; what is written otherwise is left to the general rules.
fn choose(events: Option<&Events>, words: &[String]) -> Option<Exit> {
    let show = match words {
        [] => None,
        [word] => Some(Show::from_word(word)?),
        _ => return None,
    };
    let Some(events) = events else {
        complain("events are shown on a terminal only; `listen` prints them");
        return Some(Exit::Usage);
    };
    show.into_iter().for_each(|show| events.set(show));
    talk(match events.shown() {
        Show::Off => "changes are not shown",
        Show::Trouble => "shown: nodes that come and go, processes that die, services that fail",
        Show::All => "shown: every change",
    });
    Some(Exit::Done)
}

/// The command line's definition, as a console has it.
fn command() -> clap::Command {
    Cli::command()
        .no_binary_name(true)
        .bin_name("")
        .disable_version_flag(true)
        .subcommand_required(true)
        .mut_subcommand("console", |command| command.hide(true))
        .mut_subcommand("demo", |command| command.hide(true))
        .mut_subcommand("ctl", |command| command.hide(true))
        .mut_subcommand("simulate", |command| command.hide(true))
        .mut_subcommand("completions", |command| command.hide(true))
        .mut_args(|arg| {
            let elsewhere = ["cluster", "port", "services_file"].contains(&arg.get_id().as_str());
            if elsewhere { arg.hide(true) } else { arg }
        })
        .subcommand(
            clap::Command::new("events")
                .about("Which changes are shown above the prompt: on (trouble only), all or off")
                .arg(clap::Arg::new("what").value_parser(["on", "all", "off"])),
        )
        .subcommand(clap::Command::new("exit").about("Leave the console (also: quit, Ctrl-D)"))
        .override_usage("COMMAND [OPTIONS]")
}

/// A line's options over the console's own.
fn merged(base: &Global, line: &Global, verb: Option<&Verb>) -> Result<Global, Stop> {
    let defines = matches!(verb, Some(Verb::Cluster(_)));
    if line.cluster.is_some() || line.services.is_some() || (line.port.is_some() && !defines) {
        return Err(Stop::usage(
            "--cluster, --port and --services belong to the console as a whole; use `cluster SPEC`",
        ));
    }
    let json_said = line.json || line.ndjson;
    Ok(Global {
        cluster: None,
        on: line.on.clone().or_else(|| base.on.clone()),
        failed: line.failed.or(base.failed),
        choice: line.choice.over(&base.choice),
        port: line.port.or(base.port),
        timeout: line.timeout.or(base.timeout),
        parallel: line.parallel.or(base.parallel),
        services: None,
        json: if json_said { line.json } else { base.json },
        ndjson: if json_said { line.ndjson } else { base.ndjson },
        yes: line.yes || base.yes,
        quiet: line.quiet || base.quiet,
    })
}

/// Follows the cluster from now on, and waits a little until the prompt and the completion know something.
async fn greet(session: &Session) {
    let mut views = session.fleet.handle().watch();
    session.fleet.follow(session.pace);
    // What waiting gives is dropped at once: as long as it is held, no view can be published.
    drop(timeout(FIRST_LOOK, views.wait_for(|view| is_settled(view))).await);
    let first = FIRST_NODE.saturating_sub(FIRST_LOOK);
    drop(timeout(first, views.wait_for(|view| is_settled(view) || view.counts.up > 0)).await);
    let (name, up, nodes) = (&session.cluster.name, session.up(), session.cluster.inventory.nodes.len());
    talk(&format!("{name}: {up} of {nodes} nodes up; `help` lists the commands"));
}

fn known(session: &Session) -> Known {
    let nodes = session.cluster.inventory.nodes.iter().map(|node| node.name.clone()).collect();
    Known { nodes, watchers: session.watchers().into_iter().collect() }
}

/// `lab 3/4> `
fn prompt(session: &Session) -> String {
    let name = &session.cluster.name;
    let short: String = if name.chars().count() > MAX_PROMPT {
        name.chars().take(MAX_PROMPT - 1).chain(['…']).collect()
    } else {
        name.clone()
    };
    let total = session.cluster.inventory.nodes.len();
    format!("{short} {}/{total}> ", session.up())
}

#[cfg(test)]
mod tests;

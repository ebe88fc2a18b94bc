//! circusctl without a command: a prompt that takes the commands, one a line.
//!
//! ```text
//!  version and status ─► prompt ─► line ─► the same parser ─► perform ─► prompt ... EOF or Ctrl-C
//! ```
//!
//! On a terminal it edits, remembers and completes; from a pipe it only reads. `quit` is the command for
//! the daemon; `EOF` leaves. What goes wrong with a line ends the line, not the shell.

mod complete;

use std::io::{BufRead, IsTerminal, Read};
use std::time::Duration;

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::commands::{self, Command};
use super::{Session, Status, connection, line, tell};
use crate::cli::output::{data, talk};
use crate::console::{self, Terminal};
use crate::words;
use complete::{Helper, NamesWanted};

const PROMPT: &str = "(circusctl) ";
/// The longest line that is taken from a pipe.
const MAX_LINE: u64 = 1 << 20;
/// Lines that are remembered.
const MAX_HISTORY: usize = 1_000;
/// How long the Tab key may ask for the watchers' names.
const NAMES_TIME: Duration = Duration::from_millis(500);
/// The Tab key waits for its answer, so there is never more than one question.
const NAMES_QUEUE: usize = 1;
/// Columns of the list of commands.
const WIDTH: usize = 79;

/// What the line editor does not know how to drive.
const PLAIN_TERMINALS: [&str; 3] = ["dumb", "cons25", "emacs"];

type LineEditor = Editor<Helper, MemHistory>;

/// What reading a line came to.
enum Got {
    Line(String),
    /// Ctrl-C.
    Interrupt,
    End,
    /// stdin is broken.
    Failed(String),
}

/// The shell. Its exit status says nothing about the commands.
pub(super) async fn run(session: &mut Session) -> Status {
    let _restored = Terminal::remember();
    tokio::select! {
        status = converse(session) => status,
        _ = console::ended() => Status::Failed,
    }
}

async fn converse(session: &mut Session) -> Status {
    data(&format!("{}\n", line::VERSION));
    execute(session, "status").await;
    let (ask, mut wanted) = mpsc::channel(NAMES_QUEUE);
    let mut editor = editor(ask);
    let mut last = String::new();
    loop {
        let line = match read(&mut editor, session, &mut wanted).await {
            Got::Line(line) => line.trim().to_owned(),
            Got::End | Got::Interrupt => break,
            Got::Failed(reason) => {
                talk(&format!("circusctl: cannot read commands: {reason}"));
                return Status::Failed;
            }
        };
        if line == "EOF" {
            break;
        }
        // An empty line repeats the last one.
        if !line.is_empty() {
            last = line;
        }
        if !last.is_empty() {
            interpret(session, &last).await;
        }
    }
    // The editor ends its line by itself.
    if editor.is_none() || is_plain_terminal() {
        data("\n");
    }
    Status::Done
}

/// A terminal that the editor does not edit on: there it only reads.
fn is_plain_terminal() -> bool {
    std::env::var("TERM").is_ok_and(|term| PLAIN_TERMINALS.contains(&term.as_str()))
}

/// A person's editor, if a person is there.
fn editor(ask: mpsc::Sender<NamesWanted>) -> Option<LineEditor> {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return None;
    }
    let config = Config::builder().completion_type(rustyline::CompletionType::List).auto_add_history(true);
    let config = config.max_history_size(MAX_HISTORY).ok()?.build();
    let mut editor = Editor::with_history(config.clone(), MemHistory::with_config(&config)).ok()?;
    editor.set_helper(Some(Helper::new(ask)));
    Some(editor)
}

/// The next line; meanwhile the Tab key may ask for names.
async fn read(
    editor: &mut Option<LineEditor>,
    session: &mut Session,
    wanted: &mut mpsc::Receiver<NamesWanted>,
) -> Got {
    let busy = editor.take();
    let mut reading = tokio::task::spawn_blocking(move || match busy {
        None => (None, pipe_line()),
        Some(mut editor) => {
            let got = match editor.readline(PROMPT) {
                Ok(line) => Got::Line(line),
                Err(ReadlineError::Eof) => Got::End,
                Err(ReadlineError::Interrupted) => Got::Interrupt,
                Err(error) => Got::Failed(error.to_string()),
            };
            (Some(editor), got)
        }
    });
    loop {
        tokio::select! {
            read = &mut reading => {
                let Ok((back, got)) = read else { return Got::Failed("the reader ended".to_owned()) };
                *editor = back;
                return got;
            }
            Some(answer) = wanted.recv() => {
                // The key was let go of; nobody waits any more.
                let _ = answer.send(names(session).await);
            }
            _ = tokio::signal::ctrl_c() => return Got::Interrupt,
        }
    }
}

fn pipe_line() -> Got {
    data(PROMPT);
    let mut bytes = Vec::new();
    match Read::take(std::io::stdin().lock(), MAX_LINE).read_until(b'\n', &mut bytes) {
        Ok(0) => Got::End,
        Ok(_) => Got::Line(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Got::Failed(error.to_string()),
    }
}

/// The watchers' names; none when the daemon does not answer at once.
async fn names(session: &mut Session) -> Vec<String> {
    let Ok(endpoint) = session.reach().await else { return Vec::new() };
    let reply = connection::ask(&endpoint, "list", Map::new(), Some(NAMES_TIME)).await.unwrap_or_default();
    let names = reply.get("watchers").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A line: `help`, a command, or something that nobody understands.
async fn interpret(session: &mut Session, line: &str) {
    let line = line.strip_prefix('?').map_or_else(|| line.to_owned(), |topic| format!("help {topic}"));
    let end = line.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_')).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    if word == "help" {
        data(&help(rest.trim()));
    } else if commands::find(word).is_some() {
        execute(session, &line).await;
    } else {
        data(&format!("*** Unknown syntax: {line}\n"));
    }
}

async fn execute(session: &mut Session, line: &str) {
    let words = match words::split(line, words::SHLEX) {
        Ok(words) => words,
        Err(error) => return talk(&format!("circusctl: {error}")),
    };
    match line::parse(&words) {
        Ok(line) => {
            if let Some(call) = &line.call {
                session.perform_until_interrupt(call).await;
            }
        }
        Err(early) => {
            tell(&early);
        }
    }
}

fn help(topic: &str) -> String {
    if topic.is_empty() {
        return topics();
    }
    if topic == "help" {
        return "help lists the commands, `help COMMAND` explains one.\n".to_owned();
    }
    commands::find(topic).map_or_else(
        || format!("*** No help on {topic}\n"),
        |command: &Command| line::command_help(command) + "\n",
    )
}

fn topics() -> String {
    let mut known: Vec<&str> = commands::sorted().iter().map(|row| row.word).chain(["help"]).collect();
    known.sort_unstable();
    let block =
        |title: &str, words: &[&str]| format!("{title}\n{}\n{}\n", "=".repeat(title.len()), columns(words));
    let documented = block("Documented commands (type help <topic>):", &known);
    format!("\n{documented}{}", block("Undocumented commands:", &["EOF"]))
}

/// Words in as few rows as fit, downwards first.
fn columns(words: &[&str]) -> String {
    let widths = |rows: usize| -> Vec<usize> {
        words.chunks(rows).map(|column| column.iter().map(|word| word.len()).max().unwrap_or(0)).collect()
    };
    let fits = |rows: &usize| widths(*rows).iter().map(|width| width + 2).sum::<usize>() <= WIDTH + 2;
    let rows = (1..=words.len()).find(fits).unwrap_or(words.len()).max(1);
    let widths = widths(rows);
    let line = |row: usize| {
        let cells = words
            .chunks(rows)
            .zip(&widths)
            .filter_map(|(column, width)| column.get(row).map(|word| format!("{word:<width$}")));
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    (0..rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_commands_as_stock_does() {
        let wanted = "\nDocumented commands (type help <topic>):\n\
            ========================================\n\
            add     globaloptions  kill         numprocesses  reload        set     status\n\
            decr    help           list         numwatchers   reloadconfig  signal  stop  \n\
            dstats  incr           listen       options       restart       start \n\
            get     ipython        listsockets  quit          rm            stats \n\n\
            Undocumented commands:\n======================\nEOF\n\n";
        assert_eq!(help(""), wanted);
        assert_eq!(help("zorg"), "*** No help on zorg\n");
        assert!(help("list").starts_with("List watchers"));
    }
}

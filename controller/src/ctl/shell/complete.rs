//! What the Tab key offers in the shell: commands, their options, watchers' names, option keys.
//!
//! Names are asked for when the key is pressed, by handing the question to the shell's loop: this code
//! runs in the thread that waits for the keyboard and knows no daemon.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use circus_protocol::command::options::OPTIONS;
use rustyline::Context;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use tokio::sync::mpsc;

use super::super::commands::{self, Command, Name};

/// Somebody waits for the watchers' names.
pub(super) type NamesWanted = SyncSender<Vec<String>>;

/// How long the key waits for the loop; a little longer than the loop waits for the daemon.
const PATIENCE: Duration = Duration::from_secs(1);

/// The line editor's helper.
pub(super) struct Helper {
    ask: mpsc::Sender<NamesWanted>,
}

impl Helper {
    pub(super) fn new(ask: mpsc::Sender<NamesWanted>) -> Self {
        Self { ask }
    }

    fn names(&self) -> Vec<String> {
        let (answer, answered) = sync_channel(1);
        if self.ask.try_send(answer).is_err() {
            return Vec::new();
        }
        answered.recv_timeout(PATIENCE).unwrap_or_default()
    }
}

/// Where the word under the cursor begins, and what it could become.
fn candidates(before: &str, names: impl Fn() -> Vec<String>) -> (usize, Vec<String>) {
    let start = before.rfind([' ', '\t']).map_or(0, |at| at + 1);
    let (previous, word) = before.split_at(start);
    let mut previous = previous.split_whitespace();
    let words = || commands::sorted().into_iter().map(|row| row.word.to_owned());
    let mut offer: Vec<String> = match previous.next().map(|verb| (verb, commands::find(verb))) {
        None => words().chain(["help".to_owned()]).collect(),
        Some(("help", _)) => words().collect(),
        Some((_, None)) => Vec::new(),
        Some((_, Some(row))) if word.starts_with('-') => options(row),
        Some((_, Some(row))) => match (row.name, previous.filter(|word| !word.starts_with("--")).count()) {
            (_, 0) if row.takes_watcher => names().iter().map(|name| quoted(name)).collect(),
            (Name::Set, places) if places % 2 == 1 => keys(),
            (Name::Get, places) if places >= 1 => keys(),
            _ => Vec::new(),
        },
    };
    offer.retain(|candidate| candidate.starts_with(word));
    offer.sort();
    (start, offer)
}

fn options(command: &Command) -> Vec<String> {
    command.options.iter().map(|option| format!("--{}", option.name)).collect()
}

/// Options of watchers that have a name of their own.
fn keys() -> Vec<String> {
    let rows = OPTIONS.iter().map(|row| row.key).filter(|key| !key.ends_with(['.', '_']));
    rows.map(str::to_owned).collect()
}

/// A name with blanks as one word.
fn quoted(name: &str) -> String {
    if name.contains([' ', '\t', '\'']) { format!("\"{name}\"") } else { name.to_owned() }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, offer) = candidates(line.get(..pos).unwrap_or(line), || self.names());
        let only = offer.len() == 1;
        let pair = |text: String| Pair {
            replacement: if only { format!("{text} ") } else { text.clone() },
            display: text,
        };
        Ok((start, offer.into_iter().map(pair).collect()))
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}
impl Validator for Helper {}
impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_what_fits() {
        let offer = |line: &str| {
            let names = || vec!["web".to_owned(), "two words".to_owned()];
            let (start, offer) = candidates(line, names);
            format!("{start}:{}", offer.join(" "))
        };
        assert_eq!(offer("sta"), "0:start stats status");
        assert_eq!(offer("help li"), "5:list listen listsockets");
        assert_eq!(offer("stop "), "5:\"two words\" web");
        assert_eq!(offer("stop --w"), "5:--waiting");
        assert_eq!(offer("stop --waiting w"), "15:web");
        assert_eq!(offer("set web nump"), "8:numprocesses");
        assert_eq!(offer("set web cmd x warm"), "14:warmup_delay");
        assert_eq!(offer("set web cmd wo"), "12:");
        assert_eq!(offer("get web cmd work"), "12:working_dir");
        assert_eq!((offer("quit x"), offer("zorg x")), ("5:".to_owned(), "5:".to_owned()));
    }
}

//! What can be asked: every command of circusctl with its options and its help, one row each.
//!
//! The order of the rows is stock's, which shows in the complaint about an unknown command. What is
//! sent for a command is in `message`, what is printed for its reply in `show`.

mod texts;

use super::arguments::{Kind, Opt};

/// A command of circusctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Add,
    Incr,
    Decr,
    Dstats,
    Get,
    Globaloptions,
    Ipython,
    Kill,
    List,
    Listen,
    Listsockets,
    Numprocesses,
    Numwatchers,
    Options,
    Quit,
    Reload,
    Reloadconfig,
    Restart,
    Rm,
    Signal,
    Set,
    Start,
    Stats,
    Status,
    Stop,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Command {
    /// Which.
    pub(super) name: Name,
    /// As written, and as sent.
    pub(super) word: &'static str,
    /// Its options, besides help.
    pub(super) options: &'static [Opt],
    /// What it does, in a line.
    pub(super) about: &'static str,
    /// What stands behind its name.
    pub(super) synopsis: &'static str,
    /// The rest of its help.
    pub(super) text: &'static str,
    /// Whether its first word is a watcher's name.
    pub(super) takes_watcher: bool,
}

const fn flag(name: &'static str, about: &'static str) -> Opt {
    Opt { name, short: None, kind: Kind::Flag, about }
}

const fn value(name: &'static str, about: &'static str) -> Opt {
    Opt { name, short: None, kind: Kind::Text, about }
}

const WAITING: Opt = flag("waiting", "answer when the work is done, not when it has begun");
const MATCH: Opt = value("match", "how NAME is compared: glob (default), simple or regex");

const WAIT: &[Opt] = &[WAITING];
const WAIT_MATCH: &[Opt] = &[WAITING, MATCH];
const KILL: &[Opt] = &[
    WAITING,
    value("signum", "this signal, a number or a name, instead of the watcher's stop_signal"),
    value("graceful_timeout", "seconds until SIGKILL, instead of the watcher's graceful_timeout"),
];
const RELOAD: &[Opt] = &[
    WAITING,
    flag("sequential", "one process after the other"),
    flag("terminate", "stop first, then start"),
];
const RM: &[Opt] = &[WAITING, flag("nostop", "forget the watcher and leave its processes alone")];
const SIGNAL: &[Opt] = &[
    flag("children", "only the children of the processes"),
    flag("recursive", "the processes and all below them"),
];

macro_rules! row {
    ($name:ident, $word:literal, $options:expr, $watcher:literal, $synopsis:literal, $about:literal, $text:expr) => {
        Command {
            name: Name::$name,
            word: $word,
            options: $options,
            about: $about,
            synopsis: $synopsis,
            text: $text,
            takes_watcher: $watcher,
        }
    };
}

/// All of them.
#[rustfmt::skip]
pub(super) const COMMANDS: &[Command] = &[
    row!(Add, "add", &[flag("start", "start it at once")], false, "[--start] NAME COMMAND...", "Create a watcher", texts::ADD),
    row!(Incr, "incr", WAIT, true, "[--waiting] NAME [COUNT]", "Run more processes of a watcher", texts::INCR),
    row!(Decr, "decr", WAIT, true, "[--waiting] NAME [COUNT]", "Run fewer processes of a watcher", texts::DECR),
    row!(Dstats, "dstats", &[], false, "", "Figures of the daemon itself", texts::DSTATS),
    row!(Get, "get", &[], true, "NAME OPTION...", "Show some options of a watcher", texts::GET),
    row!(Globaloptions, "globaloptions", &[], false, "[OPTION]", "Show the options of the daemon", texts::GLOBALOPTIONS),
    row!(Ipython, "ipython", &[], false, "", "Open a Python shell in the daemon, where it is a Python program", texts::IPYTHON),
    row!(Kill, "kill", KILL, true, "[--waiting] [--signum SIGNUM] [--graceful_timeout SECONDS] NAME [PID]", "End processes, by force if need be", texts::KILL),
    row!(List, "list", &[], true, "[NAME]", "List watchers, or the processes of one", texts::LIST),
    row!(Listen, "listen", &[], false, "[TOPIC...]", "Print events as they happen", texts::LISTEN),
    row!(Listsockets, "listsockets", &[], false, "", "List the managed sockets", texts::LISTSOCKETS),
    row!(Numprocesses, "numprocesses", &[], true, "[NAME]", "Count processes", texts::NUMPROCESSES),
    row!(Numwatchers, "numwatchers", &[], false, "", "Count watchers", texts::NUMWATCHERS),
    row!(Options, "options", &[], true, "NAME", "Show all options of a watcher", texts::OPTIONS),
    row!(Quit, "quit", WAIT, false, "[--waiting]", "Stop every watcher and end the daemon", texts::QUIT),
    row!(Reload, "reload", RELOAD, true, "[--waiting] [--sequential] [--terminate] [NAME]", "Replace processes gracefully", texts::RELOAD),
    row!(Reloadconfig, "reloadconfig", WAIT, false, "[--waiting]", "Read the configuration file again", texts::RELOADCONFIG),
    row!(Restart, "restart", WAIT_MATCH, true, "[--waiting] [--match HOW] [NAME]", "Stop and start watchers, or the daemon's whole world", texts::RESTART),
    row!(Rm, "rm", RM, true, "[--waiting] [--nostop] NAME", "Remove a watcher", texts::RM),
    row!(Signal, "signal", SIGNAL, true, "[--children] [--recursive] NAME [PID] SIGNUM", "Send a signal", texts::SIGNAL),
    row!(Set, "set", WAIT, true, "[--waiting] NAME OPTION VALUE [OPTION VALUE...]", "Change options of a watcher", texts::SET),
    row!(Start, "start", WAIT_MATCH, true, "[--waiting] [--match HOW] [NAME]", "Start watchers", texts::START),
    row!(Stats, "stats", &[flag("extended", "with what the extended_stats hook adds")], true, "[--extended] [NAME [PID]]", "Figures of processes", texts::STATS),
    row!(Status, "status", &[], true, "[NAME]", "The state of watchers", texts::STATUS),
    row!(Stop, "stop", WAIT_MATCH, true, "[--waiting] [--match HOW] [NAME]", "Stop watchers", texts::STOP),
];

/// The command of that name.
pub(super) fn find(word: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.word == word)
}

/// The rows in the order of their names.
pub(super) fn sorted() -> Vec<&'static Command> {
    let mut rows: Vec<_> = COMMANDS.iter().collect();
    rows.sort_by_key(|command| command.word);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_complete() {
        assert_eq!(COMMANDS.len(), 25);
        assert!(COMMANDS.iter().all(|row| row.word == format!("{:?}", row.name).to_lowercase()));
        assert!(COMMANDS.iter().all(|row| row.text.ends_with('\n') && !row.text.ends_with("\n\n")));
        assert_eq!(find("list").map(|row| row.name), Some(Name::List));
        assert!(find("zorg").is_none());
    }
}

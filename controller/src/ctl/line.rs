//! A whole command line, or a line of the shell: options for all commands, then a command with its own.
//!
//! Complaints and usage lines are stock's to the letter, because people's scripts look at them; the
//! longer helps are our own. Pure: where the defaults come from is `ctl`'s business.

use super::arguments::{Fault, Kind, Opt, Scanned, Words, scan};
use super::commands::{self, COMMANDS, Command};
use super::show::quoted;

/// Seconds to wait for a reply unless told otherwise.
pub(super) const DEFAULT_TIMEOUT: i64 = 5;
/// What `--version` prints, and the shell before its first prompt: the circusctl that we stand in for.
pub(super) const VERSION: &str = "circusctl 0.19.0";

const USAGE: &str = "circusctl [options] command [args]";
/// Columns that a usage line may have.
const WIDTH: usize = 78;

const fn option(name: &'static str, kind: Kind, about: &'static str) -> Opt {
    Opt { name, short: None, kind, about }
}

const GLOBAL: &[Opt] = &[
    option("endpoint", Kind::Text, "where the daemon listens: tcp://host:port or ipc://path"),
    option("help", Kind::Flag, "show this text, or with a command what that does"),
    option("json", Kind::Flag, "print the reply as it came; refusals count as success then"),
    option("prettify", Kind::Flag, "with --json: sorted and indented"),
    option("ssh", Kind::Text, "go through ssh: user@host:port, or a host that ssh knows"),
    option("ssh_keyfile", Kind::Text, "the key that ssh shall use"),
    option("timeout", Kind::Whole, "seconds to wait for the reply, 5 by default; -1 for no limit"),
    option("version", Kind::Version, "show the version"),
];

const HELP: Opt = Opt { name: "help", short: Some('h'), kind: Kind::Help, about: "show this text" };

/// What a line says.
#[derive(Debug)]
pub(super) struct Line {
    /// `--endpoint`.
    pub(super) endpoint: Option<String>,
    /// `--timeout`.
    pub(super) timeout: i64,
    /// `--json`.
    pub(super) json: bool,
    /// `--prettify`.
    pub(super) prettify: bool,
    /// `--ssh`.
    pub(super) ssh: Option<String>,
    /// `--ssh_keyfile`.
    pub(super) ssh_keyfile: Option<String>,
    /// `--help` in front of a command, or without one.
    pub(super) help: bool,
    /// The command; none means the shell.
    pub(super) call: Option<Call>,
}

/// A command with its words and options.
#[derive(Debug)]
pub(super) struct Call {
    /// Its row.
    pub(super) command: &'static Command,
    /// What stands behind it.
    pub(super) given: Scanned,
}

/// Why nothing is to be done for a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Print this.
    Answer(String),
    /// Complain with this; exit status 2.
    Usage(String),
}

/// Reads a line.
pub(super) fn parse(arguments: &[String]) -> Result<Line, Early> {
    let has_command = arguments.iter().any(|word| commands::find(word).is_some());
    let words = if has_command { Words::Command } else { Words::None };
    let mut global = scan(GLOBAL, words, arguments).map_err(|fault| early(None, &fault))?;
    let call = match global.words.split_first() {
        None => None,
        Some((word, behind)) => {
            let command = commands::find(word).ok_or_else(|| unknown(word))?;
            let mut given =
                scan(&options(command), Words::Any, behind).map_err(|fault| early(Some(command), &fault))?;
            global.surplus.append(&mut given.surplus);
            Some(Call { command, given })
        }
    };
    if !global.surplus.is_empty() {
        return Err(complaint(None, &format!("unrecognized arguments: {}", global.surplus.join(" "))));
    }
    let timeout = global.options.get("timeout").and_then(|text| circus_protocol::number::int_text(text));
    Ok(Line {
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
        json: global.options.contains_key("json"),
        prettify: global.options.contains_key("prettify"),
        help: global.options.contains_key("help"),
        endpoint: global.options.remove("endpoint"),
        ssh: global.options.remove("ssh"),
        ssh_keyfile: global.options.remove("ssh_keyfile"),
        call,
    })
}

fn options(command: &Command) -> Vec<Opt> {
    std::iter::once(&HELP).chain(command.options).copied().collect()
}

fn unknown(word: &str) -> Early {
    let word = circus_protocol::json::python_repr_str(word);
    let choices = quoted(COMMANDS.iter().map(|command| command.word));
    complaint(None, &format!("argument command: invalid choice: {word} (choose from {choices})"))
}

fn early(command: Option<&Command>, fault: &Fault) -> Early {
    match (fault, command) {
        (Fault::Version, _) => Early::Answer(format!("{VERSION}\n")),
        (Fault::Help, Some(command)) => Early::Answer(command_usage(command)),
        (Fault::Help, None) => Early::Answer(help()),
        (Fault::Ambiguous { .. } | Fault::NoValue(_) | Fault::Surplus { .. } | Fault::NotWhole { .. }, _) => {
            complaint(command, &fault.to_string())
        }
    }
}

fn complaint(command: Option<&Command>, text: &str) -> Early {
    Early::Usage(match command {
        None => format!("usage: {USAGE}\ncircusctl: error: {text}\n"),
        Some(command) => format!("{}{USAGE} {}: error: {text}\n", usage(command), command.word),
    })
}

/// `usage: ...` of a command, broken where it is too long.
fn usage(command: &Command) -> String {
    let title = format!("usage: {USAGE} {}", command.word);
    let indent = " ".repeat(title.len());
    let options = options(command);
    let parts = options.iter().map(|option| match option.short {
        Some(short) => format!("[-{short}]"),
        None => format!("[{}]", spelled(option)),
    });
    let mut lines = vec![title.clone()];
    for part in parts {
        let fits = lines.last().is_some_and(|line| line.len() < WIDTH - part.len() || *line == indent);
        if !fits {
            lines.push(indent.clone());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(&part);
        }
    }
    lines.join("\n") + "\n"
}

/// `--match MATCH`.
fn spelled(option: &Opt) -> String {
    match option.kind {
        Kind::Text | Kind::Whole => format!("--{} {}", option.name, option.name.to_uppercase()),
        Kind::Flag | Kind::Help | Kind::Version => format!("--{}", option.name),
    }
}

/// Where the explanations begin.
const COLUMN: usize = 24;

fn explained(option: &Opt) -> String {
    let spelled = match option.short {
        Some(short) => format!("-{short}, {}", spelled(option)),
        None => spelled(option),
    };
    let gap = if spelled.len() + 4 > COLUMN { format!("\n{:COLUMN$}", "") } else { String::new() };
    let width = if gap.is_empty() { COLUMN - 2 } else { 0 };
    format!("  {spelled:width$}{gap}{}\n", option.about)
}

/// `circusctl COMMAND --help`.
fn command_usage(command: &Command) -> String {
    let options: String = options(command).iter().map(explained).collect();
    format!("{}\noptions:\n{options}", usage(command))
}

/// `circusctl --help`.
pub(super) fn help() -> String {
    let commands: String =
        commands::sorted().iter().map(|row| format!("  {:<22}{}\n", row.word, row.about)).collect();
    let options: String = GLOBAL.iter().map(explained).collect();
    format!(
        "usage: {USAGE}\n\nDrives one circus daemon.\n\nCommands:\n{commands}\noptions:\n{options}\n\
         `circusctl --help COMMAND` tells more; without a command a prompt opens.\n\
         `top` as the command shows live figures: `circusctl top --help`.\n"
    )
}

/// `circusctl --help COMMAND`, and `help COMMAND` in the shell.
pub(super) fn command_help(command: &Command) -> String {
    let line = "=".repeat(command.about.len());
    let usage = format!("    circusctl {} {}", command.word, command.synopsis);
    let options: String = command.options.iter().map(explained).collect();
    let options = if options.is_empty() { options } else { format!("\nOptions:\n\n{options}") };
    format!("{}\n{line}\n\n{}\n\n{}{options}", command.about, usage.trim_end(), command.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> String {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match parse(&words) {
            Ok(line) => {
                let call = line.call.map(|call| format!("{} {:?}", call.command.word, call.given.words));
                format!("{:?} {} {call:?}", line.endpoint, line.timeout)
            }
            Err(Early::Usage(text) | Early::Answer(text)) => text,
        }
    }

    #[test]
    fn reads_lines() {
        assert_eq!(parsed(""), "None 5 None");
        assert_eq!(parsed("--endpoint a --time=7 list x"), r#"Some("a") 7 Some("list [\"x\"]")"#);
        assert_eq!(parsed("--version zorg"), "circusctl 0.19.0\n");
    }

    /// As stock printed it.
    #[test]
    fn complains_as_stock_does() {
        let usage = "usage: circusctl [options] command [args]\n";
        assert_eq!(parsed("-h"), format!("{usage}circusctl: error: unrecognized arguments: -h\n"));
        assert_eq!(parsed("-x list -y"), format!("{usage}circusctl: error: unrecognized arguments: -x -y\n"));
        let choices = "'add', 'incr', 'decr', 'dstats', 'get', 'globaloptions', 'ipython', 'kill', 'list', 'listen', \
             'listsockets', 'numprocesses', 'numwatchers', 'options', 'quit', 'reload', 'reloadconfig', 'restart', \
             'rm', 'signal', 'set', 'start', 'stats', 'status', 'stop'";
        assert_eq!(
            parsed("zorg list"),
            format!(
                "{usage}circusctl: error: argument command: invalid choice: 'zorg' (choose from {choices})\n"
            )
        );
        assert_eq!(
            parsed("kill --signum"),
            "usage: circusctl [options] command [args] kill [-h] [--waiting]\n\
            \u{20}                                              [--signum SIGNUM]\n\
            \u{20}                                              [--graceful_timeout GRACEFUL_TIMEOUT]\n\
             circusctl [options] command [args] kill: error: argument --signum: expected one argument\n"
        );
        assert!(
            parsed("reload --help")
                .starts_with("usage: circusctl [options] command [args] reload [-h] [--waiting]\n")
        );
    }

    #[test]
    fn helps_name_every_command_and_option() {
        for row in COMMANDS {
            assert!(help().contains(row.about));
            let text = command_help(row);
            assert!(
                row.options
                    .iter()
                    .all(|option| text.contains(option.about) && row.synopsis.contains(option.name))
            );
            assert!(text.lines().all(|line| line.chars().count() <= 115), "{text}");
        }
    }
}

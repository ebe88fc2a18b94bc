//! Words to options, by the rules of the parser that stock circusctl uses: abbreviated long options,
//! `--key=value`, options before, behind and between names, `--` before words that look like options.
//!
//! ```text
//! words ─► mark each: option, word, or nothing known ─► take them in order ─► Scanned or Fault
//! ```
//!
//! Scripts were written against that parser, so its corners are kept: words behind an option are
//! surplus once the names were taken, `-5` is a word, and what is surplus is told last. Knows neither
//! commands nor help texts; pure.

use std::collections::BTreeMap;

use circus_protocol::json::python_repr_str;
use circus_protocol::number::int_text;

/// What an option takes, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing: it is there or not.
    Flag,
    /// A text.
    Text,
    /// An integer.
    Whole,
    /// Shows help at once.
    Help,
    /// Shows the version at once.
    Version,
}

/// An option, spelled without the dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opt {
    /// The long name.
    pub(super) name: &'static str,
    /// The short name that goes with it, for the help of a command only.
    pub(super) short: Option<char>,
    /// What it takes.
    pub(super) kind: Kind,
    /// For the help.
    pub(super) about: &'static str,
}

/// What words that are no options mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// Nothing: all of them are surplus.
    None,
    /// Names and the like.
    Any,
    /// The first is a command, and everything behind it belongs to that.
    Command,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scanned {
    /// Options with their values; a flag's is empty.
    pub(super) options: BTreeMap<&'static str, String>,
    /// The words.
    pub(super) words: Vec<String>,
    /// Nobody knows what to do with these.
    pub(super) surplus: Vec<String>,
}

/// Why scanning ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// An option that shows help.
    #[error("help is wanted")]
    Help,
    /// An option that shows the version.
    #[error("the version is wanted")]
    Version,
    /// An abbreviation of several options.
    #[error("ambiguous option: {word} could match {candidates}")]
    Ambiguous {
        /// As written.
        word: String,
        /// The options.
        candidates: String,
    },
    /// An option without its value.
    #[error("argument {0}: expected one argument")]
    NoValue(String),
    /// A value for an option that takes none.
    #[error("argument {option}: ignored explicit argument {}", python_repr_str(.value))]
    Surplus {
        /// The option.
        option: String,
        /// What was given.
        value: String,
    },
    /// A value that is no integer.
    #[error("argument {option}: invalid int value: {}", python_repr_str(.value))]
    NotWhole {
        /// The option.
        option: String,
        /// What was given.
        value: String,
    },
}

/// How a word looks before its neighbours are known.
enum Mark {
    Word,
    Option {
        option: Opt,
        value: Option<String>,
    },
    Unknown,
    /// `--`.
    Separator,
}

/// Takes the words apart.
pub(super) fn scan(options: &[Opt], words: Words, arguments: &[String]) -> Result<Scanned, Fault> {
    let marks = mark_all(options, arguments)?;
    let mut found = Scanned::default();
    let mut taken = false;
    let mut at = 0;
    while let Some((mark, argument)) = marks.get(at).zip(arguments.get(at)) {
        match mark {
            Mark::Unknown => {
                found.surplus.push(argument.clone());
                at += 1;
            }
            Mark::Option { option, value } => {
                let next = arguments.get(at + 1).filter(|_| matches!(marks.get(at + 1), Some(Mark::Word)));
                at += take_option(&mut found, option, value.as_ref(), next)?;
            }
            Mark::Word | Mark::Separator => {
                let run = marks.iter().skip(at).take_while(|mark| is_word(mark)).count();
                let rest = arguments.get(at..).unwrap_or_default();
                match words {
                    // A lone separator is no command yet.
                    Words::Command
                        if marks.iter().skip(at).take(run).any(|mark| matches!(mark, Mark::Word)) =>
                    {
                        found.words = rest.to_vec();
                        return Ok(found);
                    }
                    Words::Any if !taken => {
                        taken = true;
                        found.words = without_separator(rest.get(..run).unwrap_or_default());
                    }
                    Words::None | Words::Any | Words::Command => {
                        found.surplus.extend_from_slice(rest.get(..run).unwrap_or_default());
                    }
                }
                at += run;
            }
        }
    }
    Ok(found)
}

fn is_word(mark: &Mark) -> bool {
    matches!(mark, Mark::Word | Mark::Separator)
}

/// The first `--` has done its work.
fn without_separator(words: &[String]) -> Vec<String> {
    let mut words = words.to_vec();
    if let Some(at) = words.iter().position(|word| word == "--") {
        words.remove(at);
    }
    words
}

fn mark_all(options: &[Opt], arguments: &[String]) -> Result<Vec<Mark>, Fault> {
    let mut marks = Vec::with_capacity(arguments.len());
    let mut open = true;
    for argument in arguments {
        marks.push(match open {
            true if argument == "--" => {
                open = false;
                Mark::Separator
            }
            true => mark(options, argument)?,
            false => Mark::Word,
        });
    }
    Ok(marks)
}

fn mark(options: &[Opt], argument: &str) -> Result<Mark, Fault> {
    if !argument.starts_with('-') || argument == "-" {
        return Ok(Mark::Word);
    }
    let (spelled, value) = match argument.split_once('=') {
        Some((spelled, value)) => (spelled, Some(value.to_owned())),
        None => (argument, None),
    };
    let mut candidates: Vec<(String, Mark)> = Vec::new();
    for option in options {
        if spelled.strip_prefix("--") == Some(option.name) || short_of(option).as_deref() == Some(spelled) {
            return Ok(Mark::Option { option: *option, value });
        }
        if let Some(prefix) = spelled.strip_prefix("--") {
            if option.name.starts_with(prefix) {
                let mark = Mark::Option { option: *option, value: value.clone() };
                candidates.push((format!("--{}", option.name), mark));
            }
        } else if let Some(short) = short_of(option)
            && let Some(glued) = argument.strip_prefix(&short)
        {
            candidates.push((short, Mark::Option { option: *option, value: Some(glued.to_owned()) }));
        }
    }
    if candidates.len() > 1 {
        let names: Vec<String> = candidates.into_iter().map(|(name, _)| name).collect();
        return Err(Fault::Ambiguous { word: argument.to_owned(), candidates: names.join(", ") });
    }
    if let Some((_, mark)) = candidates.pop() {
        return Ok(mark);
    }
    let word = is_negative_number(argument) || argument.contains(' ');
    Ok(if word { Mark::Word } else { Mark::Unknown })
}

fn short_of(option: &Opt) -> Option<String> {
    option.short.map(|short| format!("-{short}"))
}

/// `-5`, `-0.5`, `-.5`.
fn is_negative_number(text: &str) -> bool {
    let digits = |part: &str| part.chars().all(|char| char.is_ascii_digit());
    text.strip_prefix('-').is_some_and(|rest| match rest.split_once('.') {
        None => !rest.is_empty() && digits(rest),
        Some((whole, fraction)) => digits(whole) && !fraction.is_empty() && digits(fraction),
    })
}

/// Gives how many arguments it used.
fn take_option(
    found: &mut Scanned,
    option: &Opt,
    glued: Option<&String>,
    next: Option<&String>,
) -> Result<usize, Fault> {
    let shown = || match option.short {
        Some(short) => format!("-{short}/--{}", option.name),
        None => format!("--{}", option.name),
    };
    let wants_value = matches!(option.kind, Kind::Text | Kind::Whole);
    if let (false, Some(value)) = (wants_value, glued) {
        return Err(Fault::Surplus { option: shown(), value: value.clone() });
    }
    match option.kind {
        Kind::Help => return Err(Fault::Help),
        Kind::Version => return Err(Fault::Version),
        Kind::Flag => {
            found.options.insert(option.name, String::new());
            return Ok(1);
        }
        Kind::Text | Kind::Whole => {}
    }
    let Some(value) = glued.or(next) else { return Err(Fault::NoValue(shown())) };
    if option.kind == Kind::Whole && int_text(value).is_none() {
        return Err(Fault::NotWhole { option: shown(), value: value.clone() });
    }
    found.options.insert(option.name, value.clone());
    Ok(if glued.is_some() { 1 } else { 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt { name: "help", short: Some('h'), kind: Kind::Help, about: "" },
        Opt { name: "waiting", short: None, kind: Kind::Flag, about: "" },
        Opt { name: "ssh", short: None, kind: Kind::Text, about: "" },
        Opt { name: "ssh_keyfile", short: None, kind: Kind::Text, about: "" },
        Opt { name: "timeout", short: None, kind: Kind::Whole, about: "" },
    ];

    fn scanned(words: Words, line: &str) -> String {
        let arguments: Vec<String> =
            line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match scan(OPTIONS, words, &arguments) {
            Ok(found) => {
                let options: Vec<String> =
                    found.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{} | {} | {}", options.join(" "), found.words.join(" "), found.surplus.join(" "))
            }
            Err(fault) => fault.to_string(),
        }
    }

    /// Every line was given to the parser of stock circusctl, too.
    #[test]
    fn takes_words_apart_as_stock_does() {
        let any = |line| scanned(Words::Any, line);
        assert_eq!(any("one --waiting"), "waiting= | one | ");
        assert_eq!(any("--waiting one"), "waiting= | one | ");
        assert_eq!(any("one --waiting two"), "waiting= | one | two");
        assert_eq!(any("--wait a b"), "waiting= | a b | ");
        assert_eq!(any("--ssh x --ssh_k=y"), "ssh=x ssh_keyfile=y |  | ");
        assert_eq!(any("--s x"), "ambiguous option: --s could match --ssh, --ssh_keyfile");
        assert_eq!(any("--waiting=1"), "argument --waiting: ignored explicit argument '1'");
        assert_eq!(any("-hx"), "argument -h/--help: ignored explicit argument 'x'");
        assert_eq!(any("--timeout"), "argument --timeout: expected one argument");
        assert_eq!(any("--timeout --waiting"), "argument --timeout: expected one argument");
        assert_eq!(any("--timeout -5"), "timeout=-5 |  | ");
        assert_eq!(any("--timeout x"), "argument --timeout: invalid int value: 'x'");
        assert_eq!(any("--ssh --"), "argument --ssh: expected one argument");
        assert_eq!(any("a ls -l /tmp"), " | a ls | -l /tmp");
        assert_eq!(any("a -- ls -l /tmp"), " | a ls -l /tmp | ");
        assert_eq!(any("-- a -- b"), " | a -- b | ");
        assert_eq!(any("a -1 -1.5 -.5 -1x -"), " | a -1 -1.5 -.5 | -1x -");
        assert_eq!(any("-h"), "help is wanted");
        assert_eq!(scanned(Words::None, "zorg --waiting"), "waiting= |  | zorg");
        assert_eq!(scanned(Words::Command, "-x --ssh a list -y --waiting"), "ssh=a | list -y --waiting | -x");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(arguments in proptest::collection::vec("-{0,2}[a-z=5. ]{0,6}", 0..6)) {
            for words in [Words::None, Words::Any, Words::Command] {
                let _unused = scan(OPTIONS, words, &arguments);
            }
        }
    }
}

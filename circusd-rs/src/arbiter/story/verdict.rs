//! What a death means: a word for programs, a sentence for people, and the line of output that proves
//! it.
//!
//! What the kernel and our own wishes say comes first, what the service's profile says about its exit
//! codes next, then what is true of exit codes everywhere; a line of the last output may make an
//! ordinary failure a particular one. It knows no watchers and no time.

use circus_protocol::number::Signal;
use circus_protocol::service::ExitMeaning;

use super::card::{By, Card, End};
use crate::arbiter::input::{LastWords, MemoryGroup, OomKills, Program};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::arbiter) struct Verdict {
    /// For programs.
    pub(in crate::arbiter) word: &'static str,
    /// For people; a sentence without its beginning and its end.
    pub(in crate::arbiter) text: String,
    /// The line of output that speaks for it.
    pub(in crate::arbiter) evidence: Option<String>,
}

/// The longest line that is quoted, in characters.
const QUOTE: usize = 300;

/// Lines that explain a failure: what is in them, the word, and what it means. The first that is found
/// counts, so what explains more stands above.
const CLUES: &[(&str, &str, &str)] = &[
    ("java.lang.OutOfMemoryError", "java-out-of-memory", "the Java heap was full: see its heap options"),
    ("insufficient memory for the Java Runtime", "no-memory", "Java got no memory from the system"),
    ("Could not reserve enough space for", "no-memory", "Java got no memory from the system"),
    ("error while loading shared libraries", "missing-library", "a shared library is missing"),
    ("ddress already in use", "port-in-use", "an address it listens on is taken by somebody else"),
    ("EADDRINUSE", "port-in-use", "an address it listens on is taken by somebody else"),
    ("UnsupportedClassVersionError", "wrong-java", "it needs a newer Java than it was started with"),
    ("Could not find or load main class", "missing-file", "Java did not find its program"),
    ("Unable to access jarfile", "missing-file", "Java did not find its program"),
    ("ModuleNotFoundError", "missing-file", "a Python module is missing"),
    ("No space left on device", "disk-full", "a disk is full"),
    ("Disk quota exceeded", "disk-full", "a disk quota is used up"),
    ("Too many open files", "too-many-files", "it had more files open than it may: see rlimit_nofile"),
    ("Cannot allocate memory", "no-memory", "the system gave it no more memory"),
    ("MemoryError", "no-memory", "it got no more memory"),
    ("Read-only file system", "read-only", "a file system is mounted read-only"),
    ("Cannot assign requested address", "no-address", "an address it listens on is not this machine's"),
    ("Permission denied", "not-permitted", "it was not permitted something: see uid, and the files' owners"),
    ("Connection refused", "refused", "something it needs does not answer yet"),
    ("panicked at", "panic", "it panicked"),
    ("Traceback (most recent call last)", "exception", "an exception in Python"),
    ("Exception in thread", "exception", "an exception in Java"),
];

/// Judges one death by all that is known.
pub(in crate::arbiter) fn verdict(
    card: &Card,
    words: &LastWords,
    meanings: &[ExitMeaning],
    graceful_timeout: f64,
) -> Verdict {
    match (&card.end, card.by) {
        (End::NotStarted { error, directory }, _) => not_started(error, *directory, words.program.as_ref()),
        (_, By::Timeout) => {
            let text =
                format!("it did not end within {graceful_timeout} s of being asked to, so it was killed");
            plain("killed-after-timeout", text)
        }
        (end, By::Stop) => plain("stopped", format!("it was asked to stop and {}", how(end))),
        (end, By::Replaced) => plain("replaced", format!("another takes its place; it {}", how(end))),
        (end, By::MaxAge) => plain("max-age", format!("it was as old as max_age allows and {}", how(end))),
        (end, By::Surplus) => plain("surplus", format!("it was one too many and {}", how(end))),
        (end, By::Hook) => plain("hook-refused", format!("a hook did not want it and it {}", how(end))),
        (End::Unknown, By::Itself) => {
            plain("unknown", "it ended and somebody else collected how; nobody knows".to_owned())
        }
        (End::Signal(signal), By::Itself) => by_signal(*signal, card, words),
        (End::Status(status), By::Itself) => by_status(*status, words, meanings),
    }
}

fn plain(word: &'static str, text: String) -> Verdict {
    Verdict { word, text, evidence: None }
}

/// The rest of a sentence about it.
fn how(end: &End) -> String {
    match end {
        End::Status(status) => format!("ended with status {status}"),
        End::Signal(signal) => format!("ended by {}", signal_name(*signal)),
        End::Unknown => "ended, nobody knows how".to_owned(),
        End::NotStarted { error, .. } => format!("could not be started: {error}"),
    }
}

pub(in crate::arbiter) fn signal_name(signal: i32) -> String {
    Signal(signal).name().map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"))
}

fn not_started(error: &str, directory: bool, program: Option<&Program>) -> Verdict {
    let errno = error.strip_prefix("[Errno ").and_then(|rest| rest.split(']').next());
    let (word, why) = match (errno, directory, program) {
        (Some("2"), true, _) => ("no-directory", "its working_dir does not exist".to_owned()),
        (Some(_), true, _) => ("no-directory", "its working_dir cannot be entered".to_owned()),
        (Some("2"), false, Some(Program::NoInterpreter(interpreter))) => {
            ("no-interpreter", format!("its first line names {interpreter}, which does not exist"))
        }
        (Some("2"), false, _) => ("not-found", "there is no such program; see cmd and PATH".to_owned()),
        (Some("13"), false, Some(Program::NotExecutable)) => {
            ("not-executable", "the file may not be executed; chmod +x helps".to_owned())
        }
        (Some("13" | "1"), false, _) => ("not-permitted", "the daemon may not do that; see uid".to_owned()),
        (Some("8"), false, _) => {
            ("not-a-program", "the file is no program, or a script without #! in its first line".to_owned())
        }
        (Some("11" | "12" | "23" | "24"), false, _) => {
            ("no-room", "the system has no room for another process now".to_owned())
        }
        (Some("7"), false, _) => ("too-long", "its arguments and environment are too long".to_owned()),
        (Some("26"), false, _) => ("busy", "the program is being written to".to_owned()),
        _ if error.contains("valid user name") || error.contains("user database") => {
            ("no-user", "there is no such user; see uid".to_owned())
        }
        _ if error.contains("valid group name") => ("no-user", "there is no such group; see gid".to_owned()),
        _ if error.contains("rlimit") || error.contains("resource limit") => {
            ("bad-limit", "a limit it asks for cannot be given; see rlimit_*".to_owned())
        }
        _ => ("not-started", "the system said no".to_owned()),
    };
    plain(word, format!("it could not be started: {error} ({why})"))
}

fn by_signal(signal: i32, card: &Card, words: &LastWords) -> Verdict {
    let name = signal_name(signal);
    let dumped = card.usage.is_some_and(|usage| usage.core);
    let core = if dumped { ", and left a core dump" } else { "" };
    match Signal(signal).name().unwrap_or_default() {
        "KILL" => by_kill(card),
        fatal @ ("SEGV" | "BUS" | "ILL" | "FPE" | "ABRT" | "TRAP" | "SYS") => {
            let what = match fatal {
                "SEGV" => "it used memory that is not its own",
                "BUS" => "it used memory that is not there (a file may have shrunk, a disk be full)",
                "ILL" => "it ran into something that is no instruction of this processor",
                "FPE" => "it divided by zero",
                "ABRT" => "it gave up by itself (abort)",
                "TRAP" => "it ran into a breakpoint",
                _ => "it made a system call that it may not",
            };
            let text = format!("it crashed with {name}: {what}{core}");
            Verdict { word: "crashed", text, evidence: clue(words).map(|(.., line)| line) }
        }
        "XCPU" => plain("cpu-limit", format!("it used all the CPU time it may ({name}): see rlimit_cpu")),
        "XFSZ" => {
            plain("file-limit", format!("it wrote a larger file than it may ({name}): see rlimit_fsize"))
        }
        "PIPE" => plain("pipe", format!("it wrote to somebody who had left ({name})")),
        "TERM" | "INT" | "HUP" | "QUIT" => {
            plain("ended-from-outside", format!("somebody outside of the watcher sent {name}{core}"))
        }
        _ => plain("signalled", format!("it ended by {name}, which the watcher did not send{core}")),
    }
}

/// Nobody of ours killed it: the kernel for want of memory, or somebody else.
fn by_kill(card: &Card) -> Verdict {
    let outside = || plain("killed-from-outside", "somebody outside of the watcher sent SIGKILL".to_owned());
    let Some(OomKills { tree, group, machine }) = &card.oom else { return outside() };
    match (tree, group, machine) {
        (Some(1..), Some(group), _) => {
            plain("out-of-memory", format!("the kernel killed it for want of memory ({})", numbers(group)))
        }
        (Some(count @ 1..), None, _) => {
            plain("out-of-memory", format!("the kernel killed it for want of memory ({count} in its group)"))
        }
        (None, Some(group), _) if group.kills > 0 => {
            let numbers = numbers(group);
            let text = format!(
                "it was killed while the kernel killed for want of memory: most likely it was too big ({numbers})"
            );
            plain("out-of-memory", text)
        }
        (None, None, Some(1..)) => {
            let text = "it was killed while the kernel killed for want of memory: most likely it was too big";
            plain("out-of-memory", text.to_owned())
        }
        (Some(0), ..) | (None, Some(_), _) | (None, None, Some(0) | None) => outside(),
    }
}

/// What a control group says about itself.
fn numbers(group: &MemoryGroup) -> String {
    let mib = |bytes: u64| bytes / 1024 / 1024;
    let mut text = format!("{} in its control group", group.kills);
    if let Some(peak) = group.peak {
        text += &format!(", which used up to {} MiB", mib(peak));
    }
    match &group.limit {
        Some((limit, folder)) => text += &format!("; {folder} limits it to {} MiB", mib(*limit)),
        None => text += "; nothing limits it",
    }
    text
}

fn by_status(status: i32, words: &LastWords, meanings: &[ExitMeaning]) -> Verdict {
    let known = meanings.iter().find(|meaning| meaning.code == status).map(|known| &known.meaning);
    let clue = clue(words).filter(|_| status != 0);
    let evidence = clue.as_ref().map(|(.., line)| line.clone());
    if let Some(meaning) = known {
        let word = clue.as_ref().map_or(if status == 0 { "done" } else { "failed" }, |(word, ..)| *word);
        return Verdict { word, text: format!("it ended with status {status}: {meaning}"), evidence };
    }
    // A shell says both that it may not and that this is why.
    let shell = status == 126 && clue.as_ref().is_some_and(|(word, ..)| *word == "not-permitted");
    if let Some((word, meaning, line)) = clue.filter(|_| !shell) {
        let text = format!("it ended with status {status}: {meaning}");
        return Verdict { word, text, evidence: Some(line) };
    }
    let (word, meaning) = match status {
        0 => ("done", ": it was done".to_owned()),
        126 => ("not-executable", ": a command in it may not be executed".to_owned()),
        127 => ("not-found", ": a command in it, or a shared library, was not found".to_owned()),
        129..=192 => {
            let name = signal_name(status - 128);
            ("child-signalled", format!(": what it ran ended by {name}"))
        }
        64..=78 => ("failed", format!(": {}", SYSEXITS.get(usize_of(status - 64)).unwrap_or(&"a failure"))),
        _ => ("failed", String::new()),
    };
    Verdict { evidence, ..plain(word, format!("it ended with status {status}{meaning}")) }
}

fn usize_of(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What `sysexits.h` says, from 64 on.
const SYSEXITS: &[&str] = &[
    "it was used wrongly",
    "its input is wrong",
    "its input cannot be opened",
    "a user is unknown",
    "a host is unknown",
    "a service is unavailable",
    "something in it is broken",
    "the system failed it",
    "a system file is wrong",
    "it cannot create its output",
    "input or output failed",
    "a passing failure; trying again may help",
    "somebody does not keep to the protocol",
    "it was not permitted something",
    "its configuration is wrong",
];

/// The line that explains most, the last one of its kind.
fn clue(words: &LastWords) -> Option<(&'static str, &'static str, String)> {
    CLUES.iter().find_map(|(sign, word, meaning)| {
        let found = |text: &str| text.lines().rev().find(|line| line.contains(sign)).map(quote);
        let line = found(&words.stderr).or_else(|| found(&words.stdout))?;
        // A traceback's last line says what it was.
        let line = if *word == "exception" && line.starts_with("Traceback") {
            let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(quote);
            last(&words.stderr).or_else(|| last(&words.stdout)).unwrap_or(line)
        } else {
            line
        };
        Some((*word, *meaning, line))
    })
}

fn quote(line: &str) -> String {
    line.trim().chars().filter(|c| !c.is_control()).take(QUOTE).collect()
}

#[cfg(test)]
mod tests;

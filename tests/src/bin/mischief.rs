//! The badly behaved child: `mischief VERB [NUMBER or PATH]`, for tests of those who supervise it.
//!
//! Says `ready PID` on stdout when it has become what was asked for, so that tests need not guess. Verbs:
//!
//! | verb | what it does |
//! |---|---|
//! | `exit N` | ends with status N |
//! | `die SIGNAL` | ends itself by a signal |
//! | `ignore-term` | ignores TERM alone, says nothing, lives until killed otherwise |
//! | `with-child` | has a child that sleeps, says nothing, lives as long |
//! | `stubborn` | ignores TERM, INT, HUP and QUIT, lives until killed |
//! | `slow SECONDS` | needs that long to end after TERM |
//! | `cue PATH` | ends with status 5 as soon as PATH exists |
//! | `group` | leaves a background job in its group and ends |
//! | `setsid` | forks a grandchild with a session of its own, both live on |
//! | `orphan N` | leaves a process that ends after N seconds and ends at once |
//! | `flood BYTES` | writes that many bytes in lines of 64 and ends |
//! | `mute` | closes stdout and lives on |
//! | `crumbs N` | writes N lines in pieces of one byte |
//! | `accept FD` | answers every connection at that descriptor with its number |
//! | `once FD` | answers one and ends |
//! | `env` | prints its environment and ends |
//!
//! It knows nothing of circus.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{MsgFlags, accept, send};
use nix::unistd::{Pid, setsid};

/// Nobody forgets one of these for longer.
const LONGEST: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let verb = words.first().map_or("", String::as_str);
    let argument = words.get(1).map_or("", String::as_str);
    match act(verb, argument) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("mischief {verb} {argument}: {error}");
            ExitCode::from(2)
        }
    }
}

fn act(verb: &str, argument: &str) -> io::Result<u8> {
    let number = || argument.parse::<u64>().map_err(|_| io::Error::other("expected a number"));
    match verb {
        "exit" => return u8::try_from(number()?).map_err(|_| io::Error::other("expected 0 to 255")),
        "die" => {
            let signal = i32::try_from(number()?).ok().and_then(|number| Signal::try_from(number).ok());
            nix::sys::signal::raise(signal.ok_or_else(|| io::Error::other("no such signal"))?)?;
        }
        "ignore-term" => {
            block(&[Signal::SIGTERM])?;
            rest(LONGEST);
        }
        "with-child" => drop(start("sleep", &["300"])?.wait()?),
        "stubborn" => {
            block(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT])?;
            ready()?;
            rest(LONGEST);
        }
        "slow" => {
            let seconds = Duration::from_secs(number()?);
            let term = block(&[Signal::SIGTERM])?;
            ready()?;
            term.wait()?;
            rest(seconds.min(LONGEST));
        }
        "cue" => {
            ready()?;
            while !Path::new(argument).exists() {
                rest(Duration::from_millis(5));
            }
            return Ok(5);
        }
        "group" | "setsid" | "orphan" | "linger" => return fork_off(verb, argument),
        "flood" => flood(number()?)?,
        "mute" => {
            ready()?;
            nix::unistd::close(1)?;
            rest(LONGEST);
        }
        "crumbs" => crumbs(number()?)?,
        "accept" => loop {
            answer(descriptor(argument)?)?;
        },
        "once" => answer(descriptor(argument)?)?,
        "env" => {
            for (name, value) in env::vars_os() {
                println!("{}={}", name.to_string_lossy(), value.to_string_lossy());
            }
        }
        _ => return Err(io::Error::other("unknown verb; the source lists them")),
    }
    Ok(0)
}

fn descriptor(argument: &str) -> io::Result<i32> {
    argument.parse().map_err(|_| io::Error::other("expected a descriptor"))
}

/// Waits for a connection; managed sockets do not block.
fn answer(listening: i32) -> io::Result<()> {
    loop {
        match accept(listening) {
            Ok(connection) => {
                let text = format!("{}\n", Pid::this());
                send(connection, text.as_bytes(), MsgFlags::MSG_NOSIGNAL)?;
                return Ok(nix::unistd::close(connection)?);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => rest(Duration::from_millis(5)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Those who leave somebody behind start themselves once more, which needs no unsafe fork.
fn fork_off(verb: &str, argument: &str) -> io::Result<u8> {
    match verb {
        "group" => {
            again(&["linger", "plain"])?;
            ready()?;
        }
        "setsid" => {
            let mut child = again(&["linger", "session"])?;
            ready()?;
            child.wait()?;
        }
        "orphan" => {
            again(&["linger", argument])?;
            ready()?;
        }
        "linger" => {
            if argument == "session" {
                setsid()?;
            }
            ready()?;
            rest(argument.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
        }
        _ => return Err(io::Error::other("unknown verb")),
    }
    Ok(0)
}

fn again(words: &[&str]) -> io::Result<Child> {
    start(fs::read_link("/proc/self/exe")?, words)
}

#[expect(clippy::disallowed_methods, reason = "a program that misbehaves for tests starts processes")]
fn start(program: impl AsRef<OsStr>, words: &[&str]) -> io::Result<Child> {
    Command::new(program).args(words).spawn()
}

#[expect(clippy::disallowed_methods, reason = "a program that misbehaves for tests takes its time")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

fn ready() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "ready {}", Pid::this())?;
    out.flush()
}

/// A blocked signal stays pending and does nothing, which is as good as ignoring it.
fn block(signals: &[Signal]) -> io::Result<SigSet> {
    let set: SigSet = signals.iter().copied().collect();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(set)
}

fn flood(bytes: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let line = [b"0123456789abcdef".as_slice(); 4].concat();
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let mut line = line.clone();
        if let Some(last) = line.last_mut() {
            *last = b'\n';
        }
        line.truncate(left);
        out.write_all(&line)?;
        left -= line.len();
    }
    out.flush()
}

fn crumbs(lines: u64) -> io::Result<()> {
    let mut out = io::stdout();
    for number in 0..lines {
        for byte in format!("line {number}\n").bytes() {
            out.write_all(&[byte])?;
            out.flush()?;
        }
    }
    Ok(())
}

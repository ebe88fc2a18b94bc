//! A program on a pseudo terminal of its own, which it also has as controlling terminal, so that
//! Ctrl-C and a closed window reach it as they would reach it at a desk.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use circus_tests::daemon::stock;
use circus_tests::wait::{PATIENCE, until};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Makes stdin the controlling terminal, of 40 lines and 120 columns, and becomes the program.
const LOGIN: &str = "import fcntl, os, struct, sys, termios\n\
                     os.setsid()\n\
                     fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 120, 0, 0))\n\
                     fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n\
                     os.execv(sys.argv[1], sys.argv[1:])\n";

pub(crate) struct Terminal {
    child: Child,
    master: Option<File>,
    /// What was printed and not yet expected.
    seen: String,
    _home: tempfile::TempDir,
}

impl Terminal {
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Self {
        let (master, slave) = pair();
        let home = tempfile::tempdir().expect("a directory");
        let end = || slave.try_clone().expect("a copy");
        let child = Command::new(stock("python"))
            .args(["-c", LOGIN])
            .arg(program)
            .args(arguments)
            .env_clear()
            .env("HOME", home.path())
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("the program starts");
        drop(slave);
        Self { child, master: Some(master), seen: String::new(), _home: home }
    }

    /// Types.
    pub(crate) fn write(&mut self, text: &str) {
        let master = self.master.as_mut().expect("the terminal is open");
        master.write_all(text.as_bytes()).expect("the terminal takes it");
    }

    /// Waits for a text and gives everything up to its end, without the editor's escapes.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {text:?}; printed: {}", self.seen);
            self.read(left, text);
        }
    }

    fn read(&mut self, patience: Duration, wanted: &str) {
        let master = self.master.as_mut().expect("the terminal is open");
        let time = PollTimeout::try_from(patience).expect("a short time");
        let ready = poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], time);
        if ready.expect("a terminal can be waited for") == 0 {
            return;
        }
        let mut chunk = [0; 4096];
        // Reading fails when the last program has closed its end.
        let read = master.read(&mut chunk).unwrap_or_default();
        assert!(read > 0, "ended while {wanted:?} was expected; printed: {}", self.seen);
        self.seen.push_str(&plain(&String::from_utf8_lossy(&chunk[..read])));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("it runs");
    }

    /// Closes the window.
    pub(crate) fn hang_up(mut self) -> Self {
        self.master = None;
        self
    }

    /// The exit status.
    pub(crate) fn wait(&mut self) -> i32 {
        let status = until("the program to end", || self.child.try_wait().expect("our child"));
        status.code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A program that lost its terminal, or was told to end, takes down what it started first.
        self.master = None;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Both ends of a new pseudo terminal. No child inherits the master, or closing it would not hang up.
fn pair() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a pseudo terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("a pseudo terminal of ours");
    let name = ptsname_r(&master).expect("its name");
    let mut options = File::options();
    let slave = options.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    (File::from(OwnedFd::from(master)), slave.expect("its other end"))
}

/// Without escape sequences and carriage returns.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                let _sequence = letters.find(char::is_ascii_alphabetic);
            }
            '\r' => {}
            _ => out.push(letter),
        }
    }
    out
}

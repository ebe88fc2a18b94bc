//! A program on a pseudo terminal: what it writes is collected, what a person would type is written.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

use crate::wait::{PATIENCE, until};

/// The terminal's size.
const SIZE: Winsize = Winsize { ws_row: 40, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// What is shown of a terminal that disappoints, in bytes.
const LAST: usize = 2_000;

/// How long that may be which a program wrote before it ended; the end of it is seen.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(10);

/// A running program and its terminal; dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    written: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    /// Starts a program with a new terminal as its stdin, stdout and stderr.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let pty = openpty(Some(&SIZE), None).expect("a pseudo terminal");
        let side = || pty.slave.try_clone().expect("shared");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the program starts");
        let keyboard = File::from(pty.master);
        let mut screen = keyboard.try_clone().expect("shared");
        let (sender, written) = channel();
        // Ends when the program's side is closed.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, keyboard, written, seen: String::new() }
    }

    /// Types.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// All that was written so far.
    pub fn seen(&mut self) -> &str {
        while let Ok(bytes) = self.written.try_recv() {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
        &self.seen
    }

    /// Waits until what was written pleases.
    pub fn wait_until(&mut self, what: &str, pleases: impl Fn(&str) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !pleases(self.seen()) {
            let last = self.seen.len().saturating_sub(LAST);
            let last = self.seen.get(last..).unwrap_or(&self.seen);
            assert!(std::time::Instant::now() < deadline, "waited in vain for {what}:\n{last}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits for the end; gives how it ended and all that was written.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = until("the program to end", || self.child.try_wait().expect("our child"));
        // What it wrote last may still be under way.
        while let Ok(bytes) = self.written.recv_timeout(LAST_WORDS) {
            self.seen += &String::from_utf8_lossy(&bytes);
        }
        (status, std::mem::take(&mut self.seen))
    }

    /// How the terminal is set up at the moment.
    #[must_use]
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.keyboard).expect("a terminal has settings")
    }

    /// The program.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

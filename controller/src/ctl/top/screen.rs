//! Where the picture goes: a whole terminal that is put back as it was at the end, or a pipe.

use std::io::IsTerminal;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use terminal_size::{Height, Width, terminal_size};

use super::board::Board;
use super::picture;
use crate::cli::output::data;

/// A terminal that does not know its size.
const UNKNOWN: (usize, usize) = (80, 24);
/// A pipe has no bottom; this is only a limit.
const PIPE: (usize, usize) = (80, 10_000);

/// Another screen than the one the shell uses, no cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Dropping it puts the terminal back.
pub(super) struct Screen {
    terminal: bool,
    before: Option<Termios>,
}

impl Screen {
    pub(super) fn open() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let before = if terminal { silent_keys() } else { None };
        if terminal {
            data(ENTER);
        }
        Self { terminal, before }
    }

    /// Keys come one by one and are not shown.
    pub(super) fn takes_keys(&self) -> bool {
        self.before.is_some()
    }

    pub(super) fn draw(&self, board: &Board) {
        if !self.terminal {
            let (width, height) = PIPE;
            return data(&(picture::lines(board, width, height).join("\n") + "\n\n"));
        }
        let (width, height) = terminal_size().map_or(UNKNOWN, |(Width(width), Height(height))| {
            (usize::from(width).max(1), usize::from(height).max(1))
        });
        let lines: Vec<String> = picture::lines(board, width, height)
            .into_iter()
            .map(|line| CLEAR_LINE.to_owned() + &line)
            .collect();
        data(&format!("{HOME}{}{CLEAR_BELOW}", lines.join("\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _terminal_gone = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, before);
        }
        if self.terminal {
            data(LEAVE);
        }
    }
}

/// Ctrl-C stays a signal.
fn silent_keys() -> Option<Termios> {
    let before = tcgetattr(std::io::stdin()).ok()?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &silent).ok()?;
    Some(before)
}

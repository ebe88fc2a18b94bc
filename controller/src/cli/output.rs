//! stdout is data, stderr is talk; who reads them may leave at any time.

use std::io::{self, IsTerminal, Write};

/// A line or a block of data. A reader that went away (`| head`) is no error: the rest is not wanted.
pub fn data(text: &str) {
    let _still_read = stream(text);
}

/// The same for what does not end; whether it is worth going on.
#[must_use]
pub fn stream(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => true,
        Err(error) => {
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(&format!("the output cannot be written: {error}"));
            }
            false
        }
    }
}

/// A line for the person.
pub fn talk(text: &str) {
    let mut stderr = io::stderr().lock();
    let _reader_left = writeln!(stderr, "{text}");
}

/// A message that something is wrong.
pub fn complain(text: &str) {
    talk(&format!("circusman: {text}"));
}

/// Whether questions can be asked: both ends of the conversation are a terminal.
#[must_use]
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether stderr is a terminal that can redraw a line.
#[must_use]
pub fn can_redraw() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether stdout is a terminal that wants colours.
#[must_use]
pub fn can_paint() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|word| word.is_empty());
    wanted && io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

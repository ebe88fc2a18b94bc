//! The terminal while it is ours, and giving it back: at the end, at a panic, and for a shell in between.

use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::model::Model;
use super::view::{Theme, draw};

/// A screen that does not know its size.
const UNKNOWN: (u16, u16) = (80, 24);

/// The terminal; dropping it gives it back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    size: (u16, u16),
    ours: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        let ours = Arc::new(AtomicBool::new(false));
        give_back_at_a_panic(&ours);
        let size = Self::size();
        let mut screen = Self { terminal: terminal(size)?, size, ours };
        screen.take()?;
        Ok(screen)
    }

    /// Takes it, the first time or again.
    pub(super) fn take(&mut self) -> io::Result<()> {
        self.ours.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
        // What was there is not what we drew last.
        self.anew(Self::size())
    }

    /// Clears it, and draws everything the next time. The terminal is not asked anything: over a slow
    /// line its answer may come too late.
    fn anew(&mut self, size: (u16, u16)) -> io::Result<()> {
        execute!(stdout(), Clear(ClearType::All))?;
        self.terminal = terminal(size)?;
        self.size = size;
        Ok(())
    }

    /// Gives it back.
    pub(super) fn give_back(&mut self) {
        if self.ours.swap(false, Ordering::SeqCst) {
            give_back();
        }
    }

    /// Draws what differs from the last picture.
    pub(super) fn draw(&mut self, model: &Model, theme: &Theme) -> io::Result<()> {
        if self.size != model.size {
            self.anew(model.size)?;
        }
        self.terminal.draw(|frame| draw(model, theme, frame.buffer_mut()))?;
        Ok(())
    }

    pub(super) fn size() -> (u16, u16) {
        size().ok().filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(UNKNOWN)
    }
}

/// One of a fixed size, because others ask the terminal where its cursor is.
fn terminal((width, height): (u16, u16)) -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    let viewport = Viewport::Fixed(Rect { x: 0, y: 0, width, height });
    Terminal::with_options(CrosstermBackend::new(stdout()), TerminalOptions { viewport })
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
        // The hook stays, and does nothing without a screen.
    }
}

/// Nothing of it may fail the rest: the terminal may be gone.
fn give_back() {
    let _gone = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, crossterm::cursor::Show);
    let _gone = disable_raw_mode();
}

/// What a panic says must be readable, and the shell usable.
fn give_back_at_a_panic(ours: &Arc<AtomicBool>) {
    let (ours, before) = (Arc::clone(ours), panic::take_hook());
    panic::set_hook(Box::new(move |news| {
        if ours.swap(false, Ordering::SeqCst) {
            give_back();
        }
        before(news);
    }));
}

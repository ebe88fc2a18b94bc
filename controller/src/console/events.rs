//! What changes in the cluster while somebody types: shown above the line, which stays as it is.
//!
//! ```text
//!  news ─► wanted? ─► waiting ──at the prompt, a moment later──► printed above the line
//!                        └── while a command prints: kept for the next prompt
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustyline::ExternalPrinter;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::LineEditor;
use crate::cluster::view::{Change, News};
use crate::fleet::Handle;
use crate::render;

/// What comes within this time is shown together.
const GATHER: Duration = Duration::from_millis(50);
/// The most lines shown at once; of more only the number is told.
const MAX_LINES: usize = 10;

/// Which changes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    /// None.
    Off,
    /// Nodes that come and go, processes that die, services that fail.
    Trouble,
    /// Every change.
    All,
}

impl Show {
    /// By the word that `events` takes.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "on" => Some(Self::Trouble),
            "all" => Some(Self::All),
            _ => None,
        }
    }

    fn wants(self, change: &Change) -> bool {
        match self {
            Self::Off => false,
            Self::Trouble => change.is_trouble() || matches!(change, Change::Up { .. }),
            Self::All => true,
        }
    }
}

/// The task that shows them. It ends with this.
pub(super) struct Events {
    show: watch::Sender<Show>,
    prompt: watch::Sender<bool>,
    task: AbortHandle,
}

impl Events {
    /// Begins to show them; `None` where the terminal cannot keep the line meanwhile.
    pub(super) fn start(editor: &mut LineEditor, handle: &Handle) -> Option<Self> {
        let printer = editor.create_external_printer().ok()?;
        let (show, shown) = watch::channel(Show::Trouble);
        let (prompt, prompted) = watch::channel(false);
        let task = tokio::spawn(run(printer, handle.news(), shown, prompted)).abort_handle();
        Some(Self { show, prompt, task })
    }

    /// Somebody types from now on, or does not any more.
    pub(super) fn at_prompt(&self, there: bool) {
        self.prompt.send_replace(there);
    }

    /// Others from now on.
    pub(super) fn set(&self, show: Show) {
        self.show.send_replace(show);
    }

    /// Which are shown.
    pub(super) fn shown(&self) -> Show {
        *self.show.borrow()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    mut printer: impl ExternalPrinter + Send + 'static,
    mut news: Receiver<Arc<News>>,
    show: watch::Receiver<Show>,
    mut prompt: watch::Receiver<bool>,
) {
    let mut waiting = Waiting::default();
    loop {
        let ready = !waiting.is_empty() && *prompt.borrow();
        tokio::select! {
            biased;
            heard = news.recv() => match heard {
                Ok(news) if show.borrow().wants(&news.change) => waiting.push(render::news::short(&news)),
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => waiting.miss(missed),
                Err(RecvError::Closed) => return,
            },
            changed = prompt.changed() => if changed.is_err() {
                return;
            },
            () = sleep(GATHER), if ready => {
                let text = waiting.take();
                // It waits until the editor has taken it, which another thread must be able to do.
                let printed = tokio::task::spawn_blocking(move || {
                    let printed = printer.print(text);
                    (printer, printed)
                });
                match printed.await {
                    Ok((back, Ok(()))) => printer = back,
                    // The terminal is gone.
                    Ok((_, Err(_))) | Err(_) => return,
                }
            }
        }
    }
}

/// Lines to be shown.
#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    more: u64,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.more == 0
    }

    fn push(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > MAX_LINES {
            self.lines.pop_front();
            self.more += 1;
        }
    }

    fn miss(&mut self, missed: u64) {
        self.more += missed;
    }

    fn take(&mut self) -> String {
        let mut text = String::new();
        if self.more > 0 {
            text.push_str(&format!("{} earlier changes are left out; `listen` shows all\n", self.more));
        }
        for line in self.lines.drain(..) {
            text.push_str(&line);
            text.push('\n');
        }
        self.more = 0;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_only_the_last_are_shown() {
        let mut waiting = Waiting::default();
        assert!(waiting.is_empty());
        (0..13).for_each(|number| waiting.push(format!("line {number}")));
        waiting.miss(2);
        let text = waiting.take();
        assert!(text.starts_with("5 earlier changes are left out; `listen` shows all\nline 3\n"), "{text}");
        assert_eq!((text.lines().count(), waiting.is_empty()), (11, true));
    }

    #[test]
    fn by_default_what_is_wanted_is_not_told() {
        let died = |wanted| Change::Died { watcher: "web".into(), pid: 1, code: None, wanted };
        assert!(Show::Trouble.wants(&died(false)) && !Show::Trouble.wants(&died(true)));
        assert!(Show::All.wants(&died(true)) && !Show::Off.wants(&died(false)));
        assert_eq!(Show::from_word("all"), Some(Show::All));
        assert_eq!(Show::from_word("some"), None);
    }
}

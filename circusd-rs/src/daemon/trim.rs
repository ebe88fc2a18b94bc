//! Gives memory back a moment after something large was dealt with; otherwise the allocator would keep the
//! scattered rest of it for the next large thing, which may come tomorrow, and the program's own pages that
//! only this needed would stay mapped.
//!
//! ```text
//!  at rest ──something large──► due in a moment ──► given back, at rest
//! ```
//!
//! At rest it needs no timer. It refuses to know what was large.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use crate::arbiter::input::Input;
use crate::host::clock;
use crate::host::spawn::{heap, text};

/// How long after: replies have left by then, and a storm of large messages pays once in this time.
const MOMENT: Duration = Duration::from_secs(2);

/// A message of so many bytes is large.
const MESSAGE: usize = 64 * 1024;

/// Figures of so many processes are.
const FIGURES: usize = 64;

/// When to do it.
#[derive(Debug, Default)]
pub(super) struct Trim {
    due: Option<Instant>,
}

impl Trim {
    /// A message of this length came.
    pub(super) fn message(&mut self, length: usize) {
        if length >= MESSAGE {
            self.soon();
        }
    }

    /// This is about to be dealt with.
    pub(super) fn input(&mut self, input: &Input) {
        let figures = matches!(input, Input::Sampled { figures, .. } if figures.len() >= FIGURES);
        let files = matches!(input, Input::Config(_) | Input::Configured { .. } | Input::ResetDone { .. });
        // A thousand starts leave what one needs mapped, and their planning behind.
        let start = matches!(input, Input::Spawned { .. });
        if figures || files || start {
            self.soon();
        }
    }

    fn soon(&mut self) {
        self.due.get_or_insert_with(|| clock::monotonic() + MOMENT);
    }

    /// Does it when it is due; returns never. Cancelling it loses nothing.
    pub(super) async fn when_due(&mut self) -> Infallible {
        if let Some(due) = self.due {
            sleep_until(due.into()).await;
            self.due = None;
            heap::give_back();
            text::let_go();
        }
        std::future::pending().await
    }
}

//! What ends an operation early: whoever waits for it holds a clone and pulls.

use tokio::sync::watch;

/// How hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Pulled {
    /// Not at all.
    #[default]
    No,
    /// No more work is handed out; what is under way ends by itself.
    Gently,
    /// Everything ends now.
    Hard,
}

/// Holds only the hardest pull, so there is nothing that could be full.
#[derive(Debug, Clone, Default)]
pub struct Brake(watch::Sender<Pulled>);

impl Brake {
    /// Pulls; a softer pull than an earlier one changes nothing.
    pub fn pull(&self, how: Pulled) {
        self.0.send_if_modified(|now| {
            let harder = how > *now;
            *now = how.max(*now);
            harder
        });
    }

    /// How hard it was pulled since the last operation began.
    #[must_use]
    pub fn pulled(&self) -> Pulled {
        *self.0.borrow()
    }

    /// For the next operation.
    pub(super) fn release(&self) -> watch::Receiver<Pulled> {
        self.0.send_replace(Pulled::No);
        self.0.subscribe()
    }
}

/// The next pull.
pub(super) async fn changed(pulled: &mut watch::Receiver<Pulled>) -> Pulled {
    match pulled.changed().await {
        Ok(()) => *pulled.borrow_and_update(),
        // Whoever runs the operation holds a sender, so this never comes.
        Err(_) => std::future::pending().await,
    }
}

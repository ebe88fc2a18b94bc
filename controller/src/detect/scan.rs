//! Many addresses, so many at once that those who drop packets cost the range's time and not their own.

use circus_protocol::endpoint::Endpoint;
use tokio::task::JoinSet;

use super::ask::{Patience, look};
use super::{Look, Target};

/// How far the scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Addresses asked.
    pub asked: usize,
    /// Of so many.
    pub total: usize,
    /// Daemons among them.
    pub found: usize,
}

/// Asks all targets, at most `parallel` at once; the looks are in the targets' order.
pub async fn scan(
    targets: &[Target],
    patience: Patience,
    parallel: usize,
    progress: &mut dyn FnMut(Progress),
) -> Vec<Look> {
    let mut waiting = targets.iter().map(|target| target.endpoint.clone()).enumerate();
    let mut running: JoinSet<(usize, Look)> = JoinSet::new();
    let begin = |running: &mut JoinSet<_>, (at, endpoint): (usize, Endpoint)| {
        running.spawn(async move { (at, look(&endpoint, patience).await) });
    };
    for next in waiting.by_ref().take(parallel.max(1)) {
        begin(&mut running, next);
    }
    let unknown = || Look::Other("could not be asked".to_owned());
    let mut looks: Vec<Look> = targets.iter().map(|_| unknown()).collect();
    let mut so_far = Progress { asked: 0, total: targets.len(), found: 0 };
    while let Some(ended) = running.join_next().await {
        if let Some(next) = waiting.next() {
            begin(&mut running, next);
        }
        so_far.asked += 1;
        // A task that panicked leaves its address as one that could not be asked.
        if let Ok((at, look)) = ended {
            so_far.found += usize::from(matches!(look, Look::Daemon(_)));
            if let Some(slot) = looks.get_mut(at) {
                *slot = look;
            }
        }
        progress(so_far);
    }
    looks
}

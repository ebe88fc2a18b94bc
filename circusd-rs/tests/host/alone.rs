//! A host without watchers, its mailbox and a directory: for tests of what it does beside processes.

use std::time::Duration;

use circusd_rs::arbiter::input::Input;
use circusd_rs::host::runner::{Orphans, Runner};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) runner: Runner,
    pub(crate) inputs: mpsc::Receiver<Input>,
    pub(crate) dir: tempfile::TempDir,
    /// The number of the last question.
    pub(crate) asked: u64,
}

impl World {
    pub(crate) fn play(script: impl AsyncFnOnce(&mut Self)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, inputs) = mpsc::channel(16);
            let runner = Runner::new(sender, Orphans::Left).unwrap();
            let mut world = Self { runner, inputs, dir: tempfile::tempdir().unwrap(), asked: 0 };
            timeout(4 * PATIENCE, script(&mut world)).await.expect("a test ends");
            world.runner.finish().await;
        });
    }
}

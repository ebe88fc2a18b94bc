//! What this watcher keeps of its processes' ends, for [`crate::arbiter::story`].

use std::time::Duration;

use super::{Ctx, Watcher};
use crate::arbiter::id::Key;
use crate::arbiter::input::{OomKills, Usage};
use crate::arbiter::process::{State, Why};
use crate::arbiter::story::card::{By, Card, End};
use crate::arbiter::time::seconds;

impl Watcher {
    /// A process is about to be forgotten because it ended.
    pub(super) fn note_end(
        &mut self,
        key: Key,
        exit_code: Option<i32>,
        (usage, oom): (Option<Usage>, Option<OomKills>),
        ctx: &Ctx<'_>,
    ) {
        let Some(process) = self.processes.get(key) else { return };
        let age = ctx.now.mono.since(process.since);
        let by = match process.state {
            State::Spawning | State::Draining { .. } => return,
            State::Running { .. } => By::Itself,
            // SIGKILL followed because it did not go by itself.
            State::Stopping { kill_at: None, .. } if exit_code == Some(-9) && !self.hurry => By::Timeout,
            State::Stopping { why, .. } => match why {
                Why::Crashed => By::Itself,
                Why::Replaced if self.is_of_age(age) => By::MaxAge,
                Why::Replaced | Why::Sequential => By::Replaced,
                Why::Surplus => By::Surplus,
                Why::Watcher => By::Stop,
                Why::Vetoed => By::Hook,
            },
        };
        let (wid, pid, started, died) = (process.wid, process.pid(), process.started, ctx.now.wall);
        let end = End::of(exit_code);
        let (crashes, restarts) = (0, 0);
        self.cards.keep(Card { key, wid, pid, started, died, age, end, by, usage, oom, crashes, restarts });
    }

    fn is_of_age(&self, age: Duration) -> bool {
        self.config.max_age > 0 && age >= seconds(self.config.max_age as f64)
    }

    /// A process could not be started.
    pub(super) fn note_failure(&mut self, key: Key, error: &str, ctx: &Ctx<'_>) {
        let Some(process) = self.processes.get(key) else { return };
        let directory = self.config.working_dir != self.config.cmd
            && error.ends_with(&format!(": '{}'", self.config.working_dir));
        let end = End::NotStarted { error: error.to_owned(), directory };
        let (wid, started, died) = (process.wid, process.started, ctx.now.wall);
        let (age, by, usage, oom, pid) = (Duration::ZERO, By::Itself, None, None, None);
        let (crashes, restarts) = (0, 0);
        self.cards.keep(Card { key, wid, pid, started, died, age, end, by, usage, oom, crashes, restarts });
    }
}

//! Flapping: a watcher whose processes die too often is stopped for a while, and in the end for good.
//!
//! ```text
//!          `attempts` deaths within `window`                  after `retry_in`
//!  quiet ─────────────────────────────────────► paused ────────────────────────► quiet
//!    ▲                                            │ somebody started it
//!    └────────────────────────────────────────────┘
//!  after `max_retry` pauses without a quiet time: stopped, and left alone
//! ```
//!
//! A death counts when the daemon did not cause it: what a stop, a restart or a reload ends gets a
//! `kill` first, and events tell of that before they tell of the death. Nor does it count when the
//! watcher does not replace its dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use circus_protocol::event::{Event, EventKind};
use circus_protocol::json::python_str;
use circus_protocol::number::Pid;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::node::{Node, missing};
use super::{PluginError, Work};
use crate::config::plugin::{Flapping, flapping_of};

/// Options of a watcher that are for us begin so.
const OURS: &str = "flapping.";

/// Every watcher's story.
#[derive(Debug)]
pub(super) struct Watch {
    common: Flapping,
    /// By the name that events use.
    stories: BTreeMap<String, Story>,
}

#[derive(Debug, Default)]
struct Story {
    /// As commands want it, and what applies to it; asked for at the first death and after a change.
    known: Option<(String, Flapping)>,
    /// When its processes died, the last ones.
    deaths: VecDeque<f64>,
    /// Processes that the daemon is ending.
    condemned: BTreeSet<Pid>,
    /// Pauses without a quiet time between them.
    tries: u32,
    /// The end of the pause.
    again: Option<Instant>,
    /// We asked for a stop that has not come yet.
    stopping: bool,
}

/// What a death leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Nothing,
    Pause { retry_in: f64, attempt: u32 },
    GiveUp,
}

impl Watch {
    pub(super) fn new(common: Flapping) -> Self {
        Self { common, stories: BTreeMap::new() }
    }
}

impl Story {
    /// Takes note of an event; true for a death that counts.
    fn note(&mut self, kind: &EventKind, time: f64) -> bool {
        match kind {
            EventKind::Kill { pid } => drop(self.condemned.insert(*pid)),
            EventKind::Spawn { pid } => drop(self.condemned.remove(pid)),
            EventKind::Reap { pid, .. } => {
                if !self.condemned.remove(pid) && !self.stopping && self.again.is_none() {
                    self.deaths.push_back(time);
                    return true;
                }
            }
            EventKind::Start => self.again = None,
            EventKind::Stop => {
                self.deaths.clear();
                self.condemned.clear();
                if !std::mem::take(&mut self.stopping) {
                    // Somebody else stopped it: a new story begins.
                    self.tries = 0;
                }
            }
            EventKind::Updated => self.known = None,
            EventKind::Reload
            | EventKind::Add
            | EventKind::Remove
            | EventKind::HookSuccess { .. }
            | EventKind::HookFailure { .. }
            | EventKind::Waiting { .. }
            | EventKind::Ready { .. }
            | EventKind::Output { .. } => {}
        }
        false
    }

    /// What the deaths so far mean.
    fn judge(&mut self, settings: &Flapping, now: Instant) -> Verdict {
        let attempts = usize::try_from(settings.attempts).unwrap_or(usize::MAX);
        while self.deaths.len() > attempts {
            self.deaths.pop_front();
        }
        if !settings.active || self.deaths.len() < attempts {
            return Verdict::Nothing;
        }
        let (Some(first), Some(last)) = (self.deaths.front(), self.deaths.back()) else {
            return Verdict::Nothing;
        };
        if last - first > settings.window {
            self.tries = 0;
            return Verdict::Nothing;
        }
        self.deaths.clear();
        self.stopping = true;
        if settings.max_retry.is_none_or(|most| self.tries < most) {
            self.tries = self.tries.saturating_add(1);
            self.again = Some(now + Duration::from_secs_f64(settings.retry_in));
            return Verdict::Pause { retry_in: settings.retry_in, attempt: self.tries };
        }
        self.tries = 0;
        Verdict::GiveUp
    }
}

impl Work for Watch {
    async fn event(&mut self, event: Event, node: &mut Node) -> Result<(), PluginError> {
        if event.kind == EventKind::Remove {
            self.stories.remove(&event.watcher);
            return Ok(());
        }
        let story = self.stories.entry(event.watcher.clone()).or_default();
        if !story.note(&event.kind, event.time) {
            return Ok(());
        }
        let (name, settings) = match &story.known {
            Some(known) => known.clone(),
            None => {
                let Some(known) = learn(&event.watcher, &self.common, node).await? else { return Ok(()) };
                story.known.insert(known).clone()
            }
        };
        let ordered = match story.judge(&settings, Instant::now()) {
            Verdict::Nothing => return Ok(()),
            Verdict::Pause { retry_in, attempt } => {
                tracing::info!(
                    "{name}: flapping detected: retry in {retry_in:2}s (attempt number {attempt})"
                );
                node.order("stop", &name).await
            }
            Verdict::GiveUp => {
                tracing::info!("{name}: flapping detected: reached max retry limit");
                node.order("stop", &name).await
            }
        };
        if ordered.is_err() {
            // Nothing was stopped, so nothing is to be started.
            story.stopping = false;
            story.again = None;
        }
        ordered
    }

    fn next(&self) -> Option<Instant> {
        self.stories.values().filter_map(|story| story.again).min()
    }

    async fn due(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let now = Instant::now();
        for story in self.stories.values_mut() {
            if story.again.is_some_and(|again| again <= now) {
                story.again = None;
                if let Some((name, _)) = &story.known {
                    node.order("start", name).await?;
                }
            }
        }
        Ok(())
    }
}

/// A watcher's name and what applies to it; `None` when it is gone, or does not replace its dead.
async fn learn(
    topic: &str,
    common: &Flapping,
    node: &mut Node,
) -> Result<Option<(String, Flapping)>, PluginError> {
    let Some(name) = node.watcher_called(topic).await? else { return Ok(None) };
    let reply = node.call("options", json!({"name": name})).await?;
    let options = reply.get("options").and_then(Value::as_object);
    let options = options.ok_or_else(|| missing("options", "options"))?;
    let own = options.iter().filter_map(|(key, value)| Some((key.strip_prefix(OURS)?, value)));
    let own = own.map(|(key, value)| (key.to_owned(), python_str(value))).collect();
    let mut settings = flapping_of(&own, common).map_err(|faults| {
        let said = faults.iter().map(|fault| format!("{OURS}{}: {}", fault.key, fault.reason));
        PluginError::Refused {
            command: format!("{name}'s options"),
            reason: said.collect::<Vec<_>>().join("; "),
        }
    })?;
    settings.active &= options.get("respawn") != Some(&Value::Bool(false));
    Ok(Some((name, settings)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Flapping =
        Flapping { attempts: 2, window: 1.0, retry_in: 7.0, max_retry: Some(1), active: true };

    fn pid(number: i32) -> Pid {
        Pid::new(number).unwrap()
    }

    fn dies(story: &mut Story, number: i32, time: f64) -> Verdict {
        let reap = EventKind::Reap { pid: pid(number), exit_code: Some(1) };
        if story.note(&reap, time) { story.judge(&SETTINGS, Instant::now()) } else { Verdict::Nothing }
    }

    #[test]
    fn two_deaths_within_the_window_are_flapping_and_two_apart_are_not() {
        let mut story = Story::default();
        assert_eq!(dies(&mut story, 1, 10.0), Verdict::Nothing);
        assert_eq!(dies(&mut story, 2, 11.5), Verdict::Nothing);
        assert_eq!(dies(&mut story, 3, 12.4), Verdict::Pause { retry_in: 7.0, attempt: 1 });
        assert!(story.again.is_some());
        // Those that died meanwhile belong to the same trouble.
        assert_eq!(dies(&mut story, 4, 12.5), Verdict::Nothing);
        assert_eq!(dies(&mut story, 5, 12.5), Verdict::Nothing);
    }

    #[test]
    fn what_the_daemon_ends_does_not_count() {
        let mut story = Story::default();
        for number in 1..5 {
            story.note(&EventKind::Kill { pid: pid(number) }, 1.0);
        }
        for number in 1..5 {
            assert_eq!(dies(&mut story, number, 1.0), Verdict::Nothing);
        }
        assert!(story.deaths.is_empty());
        // A new process of an old number is another.
        story.note(&EventKind::Kill { pid: pid(9) }, 2.0);
        story.note(&EventKind::Spawn { pid: pid(9) }, 3.0);
        assert_eq!(dies(&mut story, 9, 3.0), Verdict::Nothing);
        assert_eq!(story.deaths.len(), 1);
    }

    #[test]
    fn after_the_last_retry_it_stays_stopped() {
        let mut story = Story::default();
        dies(&mut story, 1, 1.0);
        assert_eq!(dies(&mut story, 2, 1.0), Verdict::Pause { retry_in: 7.0, attempt: 1 });
        story.note(&EventKind::Stop, 1.1);
        story.note(&EventKind::Start, 8.0);
        assert_eq!(story.again, None);
        dies(&mut story, 3, 8.0);
        assert_eq!(dies(&mut story, 4, 8.0), Verdict::GiveUp);
        assert_eq!((story.again, story.tries), (None, 0));
        // Deaths before the stop arrives change nothing.
        dies(&mut story, 5, 8.0);
        assert_eq!(dies(&mut story, 6, 8.0), Verdict::Nothing);
    }

    #[test]
    fn a_quiet_time_and_somebody_elses_stop_begin_anew() {
        let mut story = Story { tries: 1, ..Story::default() };
        dies(&mut story, 1, 1.0);
        dies(&mut story, 2, 5.0);
        assert_eq!(story.tries, 0);
        story.tries = 1;
        story.note(&EventKind::Stop, 6.0);
        assert_eq!((story.tries, story.deaths.len()), (0, 0));
    }
}

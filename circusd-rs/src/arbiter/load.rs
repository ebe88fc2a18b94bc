//! Hooks are there before they are taken over: `set` and `add` with Python hooks wait until the host
//! has imported them, and are refused with its reason when it cannot.

use circus_protocol::command::{Add, Command, Set};
use circus_protocol::reply::Refusal;
use serde_json::Value;

use crate::arbiter::deliver::Job;
use crate::arbiter::effect::{Effect, HookLoad};
use crate::arbiter::id::{JobId, ReplyTo};
use crate::arbiter::input::HookOutcome;
use crate::arbiter::{Arbiter, Work, hook};
use crate::config::WatcherConfig;

/// A command that waits for its hooks.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) reply: Option<ReplyTo>,
    command: Command,
}

impl Arbiter {
    /// What `set` needs first.
    pub(super) fn hooks_of_set(&self, set: &Set) -> Result<Option<Box<HookLoad>>, Refusal> {
        let watcher = self.get(&set.name)?;
        Ok(hook::load(paths(&set.options), true, &watcher.config, &self.global))
    }

    /// What the watcher that `add` will make needs first.
    pub(super) fn hooks_of_add(&self, config: &WatcherConfig) -> Option<Box<HookLoad>> {
        let paths = config.hooks.values().map(|hook| hook.path.clone()).collect();
        hook::load(paths, false, config, &self.global)
    }

    pub(super) fn hold_set(&mut self, set: &Set, load: Box<HookLoad>, to: Option<ReplyTo>, work: &mut Work) {
        self.hold_command(Command::Set(set.clone()), load, to, work);
    }

    pub(super) fn hold_add(&mut self, add: &Add, load: Box<HookLoad>, to: Option<ReplyTo>, work: &mut Work) {
        self.hold_command(Command::Add(Box::new(add.clone())), load, to, work);
    }

    fn hold_command(
        &mut self,
        command: Command,
        load: Box<HookLoad>,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) {
        let job = self.new_job(Job::Load(Held { reply, command }));
        work.out.push(Effect::LoadHooks { job, load });
    }

    pub(super) fn hooks_loaded(&mut self, job: JobId, result: Result<(), String>, work: &mut Work) {
        let Some(Job::Load(Held { reply, command })) = self.jobs.remove(&job) else {
            debug_assert!(false, "hooks that nobody waits for: {job:?}");
            return;
        };
        let obeyed = result.map_err(Refusal::Raised).and_then(|()| match &command {
            Command::Set(set) => self.set_now(set, reply, work),
            Command::Add(add) => self.add_now(add, reply, work),
            other => {
                debug_assert!(false, "{} has no hooks", other.name());
                Ok(())
            }
        });
        if let Err(refusal) = obeyed {
            work.refuse(reply, refusal);
        }
    }

    pub(super) fn hook_done(&mut self, job: JobId, outcome: HookOutcome, work: &mut Work) {
        match self.jobs.remove(&job) {
            Some(Job::Hook(id)) => {
                self.with(id, work, |watcher, ctx| watcher.hook_done(job, outcome, ctx));
            }
            Some(Job::Extended(extended)) => self.extend_next(*extended, outcome, work),
            Some(
                Job::Deliver { .. }
                | Job::Service(_)
                | Job::Sockets(_)
                | Job::Load(_)
                | Job::Preflight { .. }
                | Job::Logs { .. },
            )
            | None => {
                debug_assert!(false, "no hook: {job:?}");
            }
        }
    }
}

/// The paths of all hooks that these options name.
fn paths(options: &[(String, Value)]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in options {
        match value {
            Value::Object(hooks) if key == "hooks" => found.extend(hooks.values().filter_map(path)),
            hook if key.starts_with("hooks.") => found.extend(path(hook)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {}
        }
    }
    found
}

fn path(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get(0).and_then(Value::as_str))?;
    let path = text.split_once(',').map_or(text, |(path, _)| path);
    Some(path.trim().to_owned())
}

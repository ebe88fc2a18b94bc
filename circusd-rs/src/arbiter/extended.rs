//! Figures that a watcher's `extended_stats` hook edits, one process after the other, before they are
//! told. The hook has no event, decides nothing, and delays nobody but the one who asked.

use circus_protocol::reply::Refusal;
use serde_json::{Map, Value};

use crate::arbiter::answer::Figures;
use crate::arbiter::deliver::Job;
use crate::arbiter::effect::{Effect, HookCall};
use crate::arbiter::hook::{self, EXTENDED_STATS};
use crate::arbiter::id::ReplyTo;
use crate::arbiter::input::HookOutcome;
use crate::arbiter::watcher::Watcher;
use crate::arbiter::{Arbiter, Work};

/// An answer under construction.
#[derive(Debug)]
pub(super) struct Extended {
    reply: Option<ReplyTo>,
    figures: Figures,
    /// The next to be edited.
    next: usize,
    /// What every call has in common.
    call: HookCall,
}

impl Extended {
    pub(super) fn reply(&self) -> Option<ReplyTo> {
        self.reply
    }
}

impl Arbiter {
    /// How the watcher's hook is called, if there is one.
    pub(super) fn editor(&self, watcher: &Watcher) -> Option<Box<HookCall>> {
        let config = watcher.config.hooks.get(EXTENDED_STATS)?;
        let (pids, extra) = (watcher.pids().collect(), Map::new());
        let call = hook::call(EXTENDED_STATS, config, &watcher.config, pids, &self.global, extra);
        Some(Box::new(call))
    }

    pub(super) fn extend(
        &mut self,
        reply: Option<ReplyTo>,
        figures: Figures,
        call: HookCall,
        work: &mut Work,
    ) {
        self.edit(Extended { reply, figures, next: 0, call }, work);
    }

    /// Calls the hook for the next process that is there, or answers.
    fn edit(&mut self, mut extended: Extended, work: &mut Work) {
        while let Some((pid, info)) = extended.figures.entries.get(extended.next) {
            let Value::Object(stats) = info else {
                extended.next += 1;
                continue;
            };
            let mut call = extended.call.clone();
            let number = pid.parse::<i64>().map_or(Value::Null, Value::from);
            call.extra.insert("pid".to_owned(), number);
            call.extra.insert("stats".to_owned(), Value::Object(stats.clone()));
            let job = self.new_job(Job::Extended(Box::new(extended)));
            work.out.push(Effect::RunHook { job, call: Box::new(call) });
            return;
        }
        work.reply(extended.reply, extended.figures.reply());
    }

    pub(super) fn extend_next(&mut self, mut extended: Extended, outcome: HookOutcome, work: &mut Work) {
        match outcome {
            HookOutcome::Returned { truth: _, stats } => {
                if let (Some((_, info)), Some(stats)) =
                    (extended.figures.entries.get_mut(extended.next), stats)
                {
                    *info = Value::Object(stats);
                }
                extended.next += 1;
                self.edit(extended, work);
            }
            HookOutcome::Raised(error) => work.refuse(extended.reply, Refusal::Raised(error)),
        }
    }
}

//! A graceful reload: processes are replaced, old and new told apart by their keys.
//!
//! Keys only grow, so "older than the boundary" needs no generation number. When another reload comes
//! in between, the boundary moves; those who wait for either wait for the last.

use circus_protocol::event::EventKind;
use circus_protocol::number::Signal;

use super::{Ctx, Phase, Reload, Style, Watcher};
use crate::arbiter::effect::{Effect, LogLevel, Reach};
use crate::arbiter::id::Key;
use crate::arbiter::process::Why;

impl Watcher {
    /// One step of it, in an active watcher; true when there may be more.
    pub(super) fn advance_reload(&mut self, ctx: &mut Ctx<'_>) -> bool {
        debug_assert_eq!(self.phase, Phase::Active);
        let boundary = Key(*ctx.next_key + 1);
        match self.reload {
            None | Some(Reload::Queued(_)) => self.keep_going(ctx),
            Some(Reload::Pending(Style::Start)) => self.end_reload(ctx),
            Some(Reload::Pending(Style::Restart)) => {
                self.reload = None;
                true
            }
            Some(Reload::Pending(_)) if self.config.send_hup => {
                let running: Vec<Key> = self.processes.running().map(|process| process.key).collect();
                for key in running {
                    self.emit(Effect::Signal { key, signal: Signal::HUP, reach: Reach::Process }, ctx);
                }
                self.end_reload(ctx)
            }
            Some(Reload::Pending(Style::Graceful)) => {
                self.reload = Some(Reload::Replace { boundary, spawned: 0, failed: false });
                true
            }
            Some(Reload::Pending(Style::Sequential)) => {
                self.reload = Some(Reload::Sequential { boundary });
                true
            }
            Some(Reload::Replace { boundary, spawned, failed }) => {
                self.replace(boundary, spawned, failed, ctx)
            }
            Some(Reload::Sequential { boundary }) => self.sequential(boundary, ctx),
        }
    }

    fn end_reload(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.reload = None;
        self.say(EventKind::Reload, ctx);
        self.log(LogLevel::Info, format!("{} reloaded", self.config.name), ctx);
        true
    }

    /// Waits for its turn; life goes on meanwhile.
    fn keep_going(&mut self, ctx: &mut Ctx<'_>) -> bool {
        self.shed_surplus(ctx);
        self.config.respawns() && self.spawn_missing(u32::MAX, ctx)
    }

    /// All new ones first; then the old ones are surplus.
    fn replace(&mut self, boundary: Key, spawned: u32, failed: bool, ctx: &mut Ctx<'_>) -> bool {
        if self.processes.spawning() {
            return false;
        }
        if !failed && spawned < self.config.numprocesses {
            let most = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX).saturating_mul(2);
            if self.processes.len() >= most {
                // Leftovers of a reload that this one overtook must make room first.
                self.shed_surplus(ctx);
            }
            return self.spawn_one(ctx);
        }
        self.shed_surplus(ctx);
        let waits = self.processes.leaving().next().is_some_and(|oldest| oldest.key < boundary);
        !waits && self.end_reload(ctx)
    }

    /// The oldest of the old, as soon as its predecessor has been replaced.
    fn sequential(&mut self, boundary: Key, ctx: &mut Ctx<'_>) -> bool {
        let wanted = usize::try_from(self.config.numprocesses).unwrap_or(usize::MAX);
        self.shed_surplus(ctx);
        if self.processes.spawning() || self.processes.leaving().next().is_some() {
            return false;
        }
        if self.processes.filled() + self.slots.vacant(ctx.now.mono) < wanted {
            return self.spawn_missing(u32::MAX, ctx);
        }
        if ctx.now.mono < self.warm {
            return false;
        }
        let oldest = self.processes.running().next().map(|process| process.key);
        match oldest.filter(|key| *key < boundary) {
            Some(key) => {
                self.end(key, Why::Sequential, self.config.stop_signal, self.grace(), ctx);
                false
            }
            None => self.end_reload(ctx),
        }
    }
}

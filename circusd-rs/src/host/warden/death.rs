//! How the warden's processes end: exits are collected, groups that outlive their leader are watched.
//!
//! ```text
//!  Notice::Ended, SIGCHLD ─► sweep ─► reap ─► Exited ──others live──► look, look, … ─► Gone
//! ```
//!
//! It refuses to know why a process ended.

use tokio::time::Instant;

use super::Warden;
use crate::arbiter::id::Key;
use crate::arbiter::input::Input;
use crate::host::child::{Child, Picture, State};
use crate::host::clock;
use crate::host::spawn::raw;

impl Warden {
    pub(super) fn forget(&mut self, key: Key, pid: i32) {
        self.children.remove(&key);
        self.looks.remove(&key);
        if self.keys.get(&pid) == Some(&key) {
            self.keys.remove(&pid);
        }
    }

    /// Collect the exit of a process of ours, if it has ended.
    pub(super) fn reap(&mut self, key: Key) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let State::Running = child.state else { return };
        let exit_code = match raw::reap(child.pid.get()) {
            Ok(None) => return,
            Ok(Some(code)) => Some(code),
            // Somebody else reaped it; the number is free, so never signal it again.
            Err(error) => {
                tracing::error!(pid = child.pid.get(), %error, "an exit was collected by somebody else");
                None
            }
        };
        let pid = child.pid.get();
        self.keys.remove(&pid);
        // Before anybody hears of the death: who then asks for its last words finds them.
        self.outputs.died(key);
        let lingering = child.group_exists();
        if lingering {
            child.linger();
            self.look_later(key);
        } else {
            self.forget(key, pid);
        }
        self.tell(key, Input::Exited { key, exit_code, lingering });
    }

    fn look_later(&mut self, key: Key) {
        if let Some(pause) = self.children.get_mut(&key).and_then(Child::next_pause) {
            self.looks.insert(key, Instant::from(clock::monotonic()) + pause);
        }
    }

    /// Look at the lingering groups whose time has come, or at all.
    pub(super) fn look_at_groups(&mut self, all: bool) {
        let now = Instant::from(clock::monotonic());
        let due: Vec<Key> =
            self.looks.iter().filter(|(_, when)| all || **when <= now).map(|(key, _)| *key).collect();
        let mut picture = Picture::default();
        for key in due {
            let Some(child) = self.children.get_mut(&key) else { continue };
            let lives = if all { child.group_exists() } else { child.group_lives(&mut picture) };
            if lives {
                if !all {
                    self.look_later(key);
                }
            } else {
                let pid = child.pid.get();
                self.forget(key, pid);
                self.tell(key, Input::Gone { key });
            }
        }
    }

    /// A child has ended, ours or an orphan that came to us. Peek first: taking any exit would take
    /// those of processes that were forked elsewhere in the daemon, too.
    pub(super) fn sweep(&mut self) {
        while let Ok(Some(pid)) = raw::peek() {
            match self.keys.get(&pid).copied() {
                Some(key) => {
                    let starting = self
                        .children
                        .get(&key)
                        .is_some_and(|child| matches!(child.state, State::Starting { .. }));
                    if starting {
                        // Swept again when its start has been noticed.
                        break;
                    }
                    self.reap(key);
                }
                None if self.adopt => drop(raw::reap(pid)),
                None => {
                    self.reap_each();
                    break;
                }
            }
        }
        self.look_at_groups(true);
    }

    /// Something that is not ours is in the way of peeking; ask for each of ours.
    fn reap_each(&mut self) {
        let keys: Vec<Key> = self.keys.values().copied().collect();
        for key in keys {
            self.reap(key);
        }
    }
}

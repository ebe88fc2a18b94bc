//! The arbiter: all watchers, and every decision about them, as values.
//!
//! [`Arbiter::step`] takes the time and one [`input::Input`] and returns the list of
//! [`effect::Effect`]s to perform, in order. It never touches the system.
//!
//! The contract with whoever performs the effects (the host; in tests a pretend host):
//!
//! 1. Each `Spawn` is answered by exactly one `Spawned` or `SpawnFailed` with the same key.
//! 2. Each `Spawned` is followed by exactly one `Exited`. If that says `lingering`, exactly one `Gone`
//!    follows when the last process of the group has ended; else the key is gone at once.
//! 3. A `Signal` for a key already gone is dropped silently.
//! 4. Each `Sample`, `Deliver`, `Configure`, `Reset` and `ReadConfig` is answered by exactly one
//!    `Sampled`, `Delivered`, `Configured`, `ResetDone` or `Config`.
//! 5. Effects of one step are performed in order, so a waiting reply leaves after the events it
//!    reports.
//! 6. `next_deadline` names the moment at which a `Tick` is wanted; late is fine, early is harmless.

pub mod effect;
pub mod input;
pub mod time;

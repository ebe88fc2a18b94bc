//! The same scripts against stock circusd 0.19.0 and circusd-rs; `differences.md` lists what may
//! differ, each with its reason.
#![expect(clippy::disallowed_methods, reason = "tests start processes")]

mod clients;
mod config;
mod errors;
mod hooks;
mod lifecycle;
mod listing;
mod options;
mod processes;
mod stats;
mod watchers;
mod wire;

/// Three watchers: one with two processes, one that does not start by itself, one with blanks in its
/// name. The check comes often so that stock notices deaths within the test's patience.
const THREE: &str = "\
[circus]
check_delay = 0.5

[watcher:One]
cmd = sleep 1000
numprocesses = 2
graceful_timeout = 5

[watcher:Two Words]
cmd = sleep
args = 2000

[watcher:three]
cmd = sleep 3000
autostart = False
numprocesses = 2
hello = world
";

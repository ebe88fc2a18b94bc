//! The same scripts against stock circusd 0.19.0 and circusd-rs; `differences.md` lists what may
//! differ, each with its reason.
//!
//! One file per command, then one per part of the contract. A start of stock costs most of a second,
//! so a script asks much of one daemon; replies that wait and [`Session::events`] make it
//! independent of timing.
//!
//! [`Session::events`]: circus_tests::script::Session::events
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests start processes, and one that cannot go on must say so and end"
)]

mod add;
mod clients;
mod config;
mod ctl;
mod decr;
mod differences;
mod discovery;
mod dstats;
mod events;
mod get;
mod globaloptions;
mod hooks;
mod incr;
mod ipython;
mod kill;
mod list;
mod listen;
mod listsockets;
mod logging;
mod numprocesses;
mod numwatchers;
mod options;
mod plugins;
mod policy;
mod quirks;
mod quit;
mod ready;
mod reload;
mod reloadconfig;
mod restart;
mod rm;
mod set;
mod signal;
mod sockets;
mod start;
mod stats;
mod stats_command;
mod status;
mod stop;
mod storm;
mod streams;
mod wire;

/// Three watchers: one with two processes, one that does not start by itself, one with blanks in its
/// name; the check comes as often as given.
macro_rules! three {
    ($check_delay:literal) => {
        concat!(
            "[circus]\ncheck_delay = ",
            $check_delay,
            "
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
"
        )
    };
}

/// Where stock's check comes often, so that it notices deaths within the test's patience.
const THREE: &str = three!("0.5");

/// Where stock never checks: nothing interferes with the script, no death is noticed.
const CALM: &str = three!("600");

/// Whether the process ignores, blocks or catches SIGTERM already; before that it would die of it.
fn minds_term(pid: i64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| {
        text.lines()
            .filter(|line| ["SigIgn:", "SigBlk:", "SigCgt:"].iter().any(|key| line.starts_with(key)))
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(_, mask)| u64::from_str_radix(mask.trim(), 16).ok())
            .any(|mask| mask & (1 << 14) != 0)
    })
}

/// Until the only process of a watcher that runs `mischief with-child` has its own child; gives the
/// figures, in which it stands.
fn wait_for_a_child(s: &mut circus_tests::script::Session, name: &str) -> serde_json::Value {
    s.wait_for("a child", "stats", &serde_json::json!({"name": name}), |reply| {
        reply["info"]
            .as_object()
            .is_some_and(|info| info.values().any(|one| one["children"][0]["cmdline"] == "sleep"))
    })
}

/// Until a `mischief` child of this watcher has said that it is what it was asked to be.
fn wait_until_ready(s: &mut circus_tests::script::Session, name: &str) {
    let reply = s.wire.ask("list", &serde_json::json!({"name": name}));
    let said = format!("ready {}", reply["pids"][0]);
    circus_tests::wait::until("the child to be ready", || s.daemon.log().contains(&said).then_some(()));
}

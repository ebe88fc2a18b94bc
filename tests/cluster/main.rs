//! The console against real nodes: two under stock circusd, two under circusd-rs, all on one ini.
#![expect(clippy::disallowed_methods, reason = "tests start processes and read the clock")]

mod journey;
mod nodes;
mod trouble;

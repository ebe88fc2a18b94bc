//! The console against real nodes: two under stock circusd, two under circusd-rs, all on one ini.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests start processes, read the clock and end at the first surprise"
)]

mod chaos;
mod export;
mod hostile;
mod inventory;
mod journey;
mod live;
mod logs;
mod net;
mod nodes;
mod order;
mod preflight;
mod ready;
mod rolling;
mod trouble;
mod why;

//! A simulated cluster: up to 10,000 nodes in one process that speak the real protocol on loopback, for
//! demos and benchmarks.
//!
//! ```text
//!  127.77.x.y:5555 ─┐               ┌─ node ── answers, events
//!  127.77.x.y:5556 ─┤► two listeners ├─ node      ▲
//!      ...          ┘   for all      └─ ...       └── chaos: deaths, stops, hangs, failures
//! ```
//!
//! Each node has a loopback address of its own and shares its two listeners with all others: they are
//! bound to every address of the loopback *device*, and which address was called tells which node is
//! meant. So a node costs descriptors only for who talks to it. Nothing comes in from another machine.

mod chaos;
mod log;
mod node;
mod serve;

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::exit::Exit;
use crate::cli::output::{data, talk};
use crate::cli::session::Stop;
use serve::Simulation;

/// The most nodes.
const MAX_NODES: u32 = 10_000;

/// `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_NODES)))]
    pub nodes: u32,
    /// How many watchers each has
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub watchers: u16,
    /// The first node has the address after this one: 127.77, or 127.77.0.0
    #[arg(long, value_name = "ADDRESS", default_value = "127.77", value_parser = base)]
    pub base: Ipv4Addr,
    /// How much happens by itself
    #[arg(long, value_enum, default_value = "none")]
    pub chaos: Chaos,
    /// Nodes that answer as the Python circusd does, of a hundred
    // `--stock` chooses among nodes, with every verb.
    #[arg(id = "stock_percent", long = "stock-percent", value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub stock: u8,
    /// Milliseconds that each answer takes
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub latency: u16,
    /// The same number makes the same things happen
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// End by itself after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u64>,
}

/// How much happens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Chaos {
    /// Only what commands cause
    None,
    /// A few deaths, stops and hangs a second
    Mild,
    /// Many
    Wild,
}

/// Two to four numbers of a loopback address.
fn base(text: &str) -> Result<Ipv4Addr, String> {
    const REMEDY: &str = "write a loopback address such as 127.77 or 127.77.0.0";
    let mut octets = [0_u8; 4];
    let words: Vec<&str> = text.split('.').collect();
    if !(2..=4).contains(&words.len()) {
        return Err(REMEDY.to_owned());
    }
    for (octet, word) in octets.iter_mut().zip(words) {
        *octet = word.parse().map_err(|_| REMEDY)?;
    }
    let address = Ipv4Addr::from(octets);
    let last = u32::from(address).checked_add(MAX_NODES).map(Ipv4Addr::from);
    let fits = address.is_loopback() && last.is_some_and(|last| last.is_loopback());
    if fits { Ok(address) } else { Err(REMEDY.to_owned()) }
}

/// Simulates until interrupted.
///
/// # Errors
/// Its addresses are taken, or the system does not let us listen.
pub async fn run(args: &SimulateArgs, port: u16) -> Result<Exit, Stop> {
    crate::fleet::room_for(u64::from(args.nodes) * 2);
    let simulation = Simulation::new(args, port).map_err(|error| Stop::new(Exit::Failed, error))?;
    data(&format!("{}\n", simulation.spec()));
    talk(&format!(
        "{} nodes with {} watchers each; circusman --cluster {}; Ctrl-C ends them",
        args.nodes,
        args.watchers,
        simulation.spec()
    ));
    let over = async {
        match args.seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    // One thread serves all of them, so their state needs no lock.
    let here = tokio::task::LocalSet::new();
    tokio::select! {
        never = here.run_until(simulation.serve()) => match never {},
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        stop = crate::console::ended() => Err(stop),
        () = over => Ok(Exit::Done),
    }
}

#[cfg(test)]
mod tests;

//! What supervision costs, beside the peers in the same run: `tests/bench/run` starts it.
//!
//! Runs A B A B and prints medians with ratios; absolute figures depend on the machine. Everything
//! runs on loopback addresses of its own, is bounded in count and time, and is ended by pid.
//! Words after the flags choose among the scenarios of [`SCENARIOS`].
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts programs")]

mod client;
mod peer;
mod proc;
mod scenario;
mod table;
mod used;

use std::process::ExitCode;

use peer::Peer;
use scenario::{SCENARIOS, Scale};
use table::Table;

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let quick = words.iter().any(|word| word == "--quick");
    words.retain(|word| word != "--quick");
    let known = |word: &String| SCENARIOS.iter().any(|(name, ..)| name == word);
    if let Some(unknown) = words.iter().find(|word| !known(word)) {
        let names: Vec<&str> = SCENARIOS.iter().map(|(name, ..)| *name).collect();
        eprintln!("no scenario {unknown:?}; there are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    let scale = if quick { Scale::QUICK } else { Scale::FULL };
    let mut table = Table::default();
    for (name, peers, measure) in SCENARIOS {
        if !words.is_empty() && !words.iter().any(|word| word == name) {
            continue;
        }
        for round in 1..=scale.rounds {
            for peer in *peers {
                if *peer != Peer::Bare && peer.program().is_none() {
                    table.missing(*peer);
                    continue;
                }
                eprintln!("{name}, round {round} of {}: {}", scale.rounds, peer.name());
                if let Err(error) = measure(*peer, &scale, &mut table) {
                    table.failed(name, *peer, &error);
                }
            }
        }
    }
    table.print(&scale);
    if table.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

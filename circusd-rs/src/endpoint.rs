//! What we bind: control, events, stats, discovery. Speaks ZeroMQ and UDP; knows nothing of processes.

pub mod control;
pub mod discovery;
pub mod events;
pub mod stats;

use circus_protocol::transport::{Limits, limits};
use nix::sys::resource::{Resource, getrlimit};

/// How many endpoints take connections: control, events, stats.
const LISTENING: u64 = 3;

/// So many connections an endpoint always takes.
const FEWEST: usize = 8;

/// What a peer may cost us. However many connect, half of the descriptors stay for the processes, or
/// whoever holds connections open could keep a service that died from being started again.
fn limits() -> Limits {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let max_connections = share(files);
    let max_connections_per_address = max_connections.min(limits::MAX_CONNECTIONS_PER_ADDRESS);
    Limits { max_connections, max_connections_per_address, ..Limits::default() }
}

/// How many connections one endpoint may have when so many files may be open.
fn share(files: u64) -> usize {
    let share = usize::try_from(files / 2 / LISTENING).unwrap_or(usize::MAX);
    share.clamp(FEWEST, limits::MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_descriptors_stay_for_processes() {
        for (files, connections) in [(0, 8), (200, 33), (1024, 170), (20_000, 3333), (u64::MAX, 4096)] {
            assert_eq!(share(files), connections, "{files}");
        }
        assert!(limits().max_connections_per_address <= limits().max_connections);
    }
}

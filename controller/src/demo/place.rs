//! Addresses and ports for the demo, found by binding them for a moment.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};

/// Blocks that are tried before giving up.
const ATTEMPTS: u32 = 64;
/// What is added to every port when the usual ones are taken on all of loopback.
const OFFSETS: [u16; 4] = [0, 10_000, 20_000, 30_000];

/// Where things listen, the same on each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) circus: u16,
    pub(super) neo4j: u16,
    pub(super) cassandra: u16,
    pub(super) titan: u16,
}

/// Nothing is free.
#[derive(Debug, thiserror::Error)]
#[error(
    "no block of 127.0.0.0/8 has ports {circus}, 7474, 8182 and 9160 free on {nodes} addresses; end what holds them, or choose another --port"
)]
pub(super) struct NoPlace {
    circus: u16,
    nodes: u8,
}

/// Addresses `127.x.y.1` and up, and ports that are free on each of them.
pub(super) fn find(nodes: u8, port: Option<u16>) -> Result<(Vec<String>, Ports), NoPlace> {
    let circus = port.unwrap_or(crate::cli::DEFAULT_PORT);
    for offset in OFFSETS {
        let ports = Ports {
            circus: if port.is_some() { circus } else { circus + offset },
            neo4j: 7474 + offset,
            cassandra: 9160 + offset,
            titan: 8182 + offset,
        };
        for attempt in 0..ATTEMPTS {
            // Several demos at once begin their search in different places.
            let seed = std::process::id().wrapping_mul(7).wrapping_add(attempt);
            let [.., x, y] = seed.to_be_bytes();
            let block = [127, 64 + x % 128, y];
            let addresses: Vec<Ipv4Addr> =
                (1..=nodes).map(|last| Ipv4Addr::new(block[0], block[1], block[2], last)).collect();
            if addresses.iter().all(|address| free(*address, ports)) {
                return Ok((addresses.iter().map(Ipv4Addr::to_string).collect(), ports));
            }
        }
    }
    Err(NoPlace { circus, nodes })
}

fn free(address: Ipv4Addr, ports: Ports) -> bool {
    let events = ports.circus.checked_add(1);
    let wanted = [Some(ports.circus), events, Some(ports.neo4j), Some(ports.cassandra), Some(ports.titan)];
    // All at once, so that two equal ports are seen as the conflict they are.
    let bound: Vec<_> = wanted
        .iter()
        .map(|port| port.and_then(|port| TcpListener::bind(SocketAddrV4::new(address, port)).ok()))
        .collect();
    bound.iter().all(Option::is_some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_free_addresses_and_avoids_taken_ones() {
        let (addresses, ports) = find(3, None).expect("loopback is large");
        assert_eq!(addresses.len(), 3);
        let first: Ipv4Addr = addresses[0].parse().expect("an address");
        assert!(first.is_loopback());
        let _held = TcpListener::bind(SocketAddrV4::new(first, ports.titan)).expect("is free");
        assert!(!free(first, ports));
        let (others, _) = find(3, None).expect("loopback is large");
        assert_ne!(others, addresses);
    }
}

//! Room for connections: a shell allows a process 1024 descriptors, which is less than a large cluster
//! needs. Small clusters leave the limit alone.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What everything else needs: standard streams, files, the runtime, daemons of a demo.
const SPARE: u64 = 128;

/// What the limit leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// So many connections, those of the nodes included.
    pub(super) connections: usize,
    /// So many nodes can be listened to when all are connected.
    pub(super) ears: usize,
}

/// Wants room for the connections of so many nodes, for events too when they are followed; what room there
/// is then.
pub(super) fn want(nodes: usize, followed: bool) -> Room {
    let wanted = u64::try_from(nodes).unwrap_or(u64::MAX / 4);
    raise(wanted.saturating_mul(if followed { 2 } else { 1 }).saturating_add(SPARE));
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    let connections = usize::try_from(limit.saturating_sub(SPARE)).unwrap_or(usize::MAX);
    Room { connections, ears: connections.saturating_sub(nodes) }
}

/// Raises the limit to what is wanted, as far as the system lets us.
pub(crate) fn raise(wanted: u64) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft >= wanted {
        return;
    }
    // Only a privileged process may go beyond the hard limit.
    if hard < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return;
    }
    let _stays_small = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
}

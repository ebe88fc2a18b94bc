//! Room for connections: a shell allows a process 1024 descriptors, which is less than a large cluster
//! needs. Small clusters leave the limit alone.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What everything else needs: standard streams, files, the runtime, daemons of a demo.
const SPARE: u64 = 128;

/// Wants room for the connections of so many nodes, for events too when they are followed; how many of
/// them can be listened to with the room there is.
pub(super) fn want(nodes: usize, followed: bool) -> usize {
    let nodes = u64::try_from(nodes).unwrap_or(u64::MAX / 4);
    let wanted = nodes.saturating_mul(if followed { 2 } else { 1 }).saturating_add(SPARE);
    raise(wanted);
    let room = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(room.saturating_sub(SPARE).saturating_sub(nodes)).unwrap_or(usize::MAX)
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

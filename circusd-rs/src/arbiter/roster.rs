//! Names and pids as of one moment: what whoever takes figures needs, and nothing else of the arbiter.

use circus_protocol::number::Pid;

use crate::arbiter::Arbiter;
use crate::arbiter::input::BoundAddress;

/// All watchers at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// By name.
    pub watchers: Vec<Enrolled>,
    /// The managed sockets, by descriptor.
    pub sockets: Vec<Listening>,
}

/// One watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// As `list` spells it.
    pub name: String,
    /// Its processes.
    pub pids: Vec<Pid>,
}

/// One managed socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// Its descriptor in the daemon.
    pub fd: i32,
    /// `host:port`, or the path.
    pub address: String,
}

impl Arbiter {
    /// Who there is now.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let named = self.names.iter().filter_map(|(name, id)| Some((name, self.watchers.get(id)?)));
        let watchers = named
            .map(|(name, watcher)| Enrolled { name: name.clone(), pids: watcher.pids().collect() })
            .collect();
        let mut sockets: Vec<Listening> = (self.sockets.bound.values())
            .map(|socket| Listening {
                fd: socket.fd,
                address: match &socket.address {
                    BoundAddress::Inet { host, port } => format!("{host}:{port}"),
                    BoundAddress::Unix { path } => path.clone(),
                },
            })
            .collect();
        sockets.sort_by_key(|socket| socket.fd);
        Roster { watchers, sockets }
    }
}

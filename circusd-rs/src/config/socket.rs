//! `[socket:NAME]`: what a managed socket is, and which watchers have to do with it.
//!
//! Plain data and what follows from it. It refuses to open, resolve or look anything up: names of
//! hosts and interfaces are the host's to find.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::WatcherConfig;
use crate::config::expand::variables;

/// In a watcher's words, what comes before the name of a socket.
const REFERENCE: &str = "sockets.";

/// How many connections may wait, where a file says nothing.
pub const DEFAULT_BACKLOG: i32 = 2048;
/// circus' default; it reads the value as a decimal number, so that this is octal 010.
pub const DEFAULT_UMASK: u32 = 8;
/// Where a socket without `port` listens.
pub const DEFAULT_PORT: u16 = 8080;

/// One managed socket, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// Its name, lower-cased.
    pub name: String,
    /// Where.
    pub address: SocketAddress,
    /// Of which kind.
    pub kind: SocketKind,
    /// The protocol's number; 0 for the kind's usual one.
    pub proto: i32,
    /// How many connections may wait.
    pub backlog: i32,
    /// A socket of its own for each process that names it.
    pub so_reuseport: bool,
    /// Whether `accept` on it waits.
    pub blocking: bool,
    /// The only network interface it hears.
    pub interface: Option<String>,
}

/// Where a managed socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAddress {
    /// On the network.
    Inet {
        /// Name or address.
        host: String,
        /// 0 for any free one.
        port: u16,
        /// `AF_INET6`.
        six: bool,
    },
    /// In the file system.
    Unix {
        /// Where.
        path: String,
        /// What is taken from the mode 0777.
        umask: u32,
        /// Whatever is there may be removed.
        replace: bool,
    },
}

/// The kinds of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// `SOCK_STREAM`.
    Stream,
    /// `SOCK_DGRAM`.
    Datagram,
    /// `SOCK_RAW`.
    Raw,
    /// `SOCK_RDM`.
    Rdm,
    /// `SOCK_SEQPACKET`.
    SeqPacket,
}

impl SocketKind {
    /// All kinds, as files name them.
    pub const NAMES: [(&str, Self); 5] = [
        ("SOCK_STREAM", Self::Stream),
        ("SOCK_DGRAM", Self::Datagram),
        ("SOCK_RAW", Self::Raw),
        ("SOCK_RDM", Self::Rdm),
        ("SOCK_SEQPACKET", Self::SeqPacket),
    ];

    /// Whether there are connections to wait for.
    #[must_use]
    pub fn listens(self) -> bool {
        match self {
            Self::Stream | Self::SeqPacket => true,
            Self::Datagram | Self::Raw | Self::Rdm => false,
        }
    }
}

impl SocketConfig {
    /// Whether a socket bound for `self` can become one for `other` without being bound anew.
    #[must_use]
    pub fn adjusts_to(&self, other: &Self) -> bool {
        self.settled() == other.settled()
    }

    /// Without what can be changed on a bound socket.
    fn settled(&self) -> Self {
        let address = match &self.address {
            SocketAddress::Unix { path, .. } => {
                SocketAddress::Unix { path: path.clone(), umask: 0, replace: false }
            }
            inet @ SocketAddress::Inet { .. } => inet.clone(),
        };
        Self { address, backlog: 0, blocking: false, interface: None, ..self.clone() }
    }

    /// As messages name the place.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.address {
            SocketAddress::Inet { host, port, six: false } => format!("{host}:{port}"),
            SocketAddress::Inet { host, port, six: true } => format!("[{host}]:{port}"),
            SocketAddress::Unix { path, .. } => format!("'{path}'"),
        }
    }
}

/// The names of the sockets that a watcher's words or its stdin name, lower-cased, whether or not
/// there are such.
#[must_use]
pub fn named_by(watcher: &WatcherConfig) -> BTreeSet<String> {
    let named = RefCell::new(BTreeSet::new());
    let look = |text: &str| {
        let _same = variables(text, |key| {
            named.borrow_mut().extend(key.strip_prefix(REFERENCE).map(str::to_owned));
            None::<&str>
        });
    };
    look(&watcher.cmd);
    look(watcher.shell_args.as_deref().unwrap_or_default());
    match &watcher.args {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().filter_map(Value::as_str).for_each(look),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
    let mut named = named.into_inner();
    named.extend(watcher.stdin_socket.as_ref().map(|name| name.to_lowercase()));
    named
}

/// Whether a process of this watcher has to do with the socket: it names it, or it gets all sockets
/// and names none.
#[must_use]
pub fn serves(watcher: &WatcherConfig, socket: &str) -> bool {
    let named = named_by(watcher);
    if named.is_empty() { watcher.use_sockets } else { named.contains(socket) }
}

/// Whether processes of this watcher may hold the socket open.
#[must_use]
pub fn holds(watcher: &WatcherConfig, socket: &str) -> bool {
    watcher.use_sockets || named_by(watcher).contains(socket)
}

#[cfg(test)]
mod tests {
    use circus_protocol::name::WatcherName;

    use super::*;

    fn watcher(cmd: &str, change: impl FnOnce(&mut WatcherConfig)) -> WatcherConfig {
        let mut config = WatcherConfig::new(WatcherName::new("w"), "/".to_owned());
        config.cmd = cmd.to_owned();
        change(&mut config);
        config
    }

    #[test]
    fn a_watcher_serves_what_it_names_or_else_everything_it_gets() {
        let by_cmd = watcher("prog --fd $(circus.sockets.Web)", |w| w.use_sockets = true);
        assert!(serves(&by_cmd, "web") && !serves(&by_cmd, "other") && holds(&by_cmd, "other"));
        let by_args = watcher("prog", |w| w.args = Value::from("((CIRCUS.SOCKETS.WEB))"));
        assert!(serves(&by_args, "web") && !holds(&by_args, "other"));
        let by_list = watcher("prog", |w| w.args = serde_json::json!(["$(circus.sockets.a-b)", 3]));
        assert!(serves(&by_list, "a-b"));
        let by_stdin = watcher("prog", |w| w.stdin_socket = Some("Web".to_owned()));
        assert!(serves(&by_stdin, "web"));
        assert!(serves(&watcher("prog", |w| w.use_sockets = true), "any"));
        assert!(!serves(&watcher("prog $(circus.env.sockets.web)", |_| {}), "web"));
    }

    #[test]
    fn what_can_change_on_a_bound_socket_needs_no_other_one() {
        let address = SocketAddress::Inet { host: "h".to_owned(), port: 1, six: false };
        let old = SocketConfig {
            name: "a".to_owned(),
            address,
            kind: SocketKind::Stream,
            proto: 0,
            backlog: 1,
            so_reuseport: false,
            blocking: false,
            interface: None,
        };
        assert!(old.adjusts_to(&SocketConfig { backlog: 2, blocking: true, ..old.clone() }));
        assert!(!old.adjusts_to(&SocketConfig { kind: SocketKind::Datagram, ..old.clone() }));
        assert!(!old.adjusts_to(&SocketConfig { so_reuseport: true, ..old.clone() }));
        let unix = |path: &str, umask| SocketConfig {
            address: SocketAddress::Unix { path: path.to_owned(), umask, replace: false },
            ..old.clone()
        };
        assert!(unix("/p", 8).adjusts_to(&unix("/p", 0)));
        assert!(!unix("/p", 8).adjusts_to(&unix("/q", 8)));
    }
}

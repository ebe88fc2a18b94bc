//! `[socket:NAME]` → [`SocketConfig`].
//!
//! As with watchers: a boolean that is none is an error of the whole file, another bad value costs
//! the socket only, with a warning, because stock runs on without it, too.

use std::collections::{BTreeMap, BTreeSet};

use circus_protocol::ini::{Section, parse_bool, parse_int};

use crate::config::expand::variables;
use crate::config::socket::{
    DEFAULT_BACKLOG, DEFAULT_PORT, DEFAULT_UMASK, SocketAddress, SocketConfig, SocketKind, named_by,
};
use crate::config::{Config, WatcherConfig};

/// The protocols that sockets are made for, by the names in `/etc/protocols`.
const PROTOCOLS: [(&str, i32); 9] = [
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6-icmp", 58),
    ("sctp", 132),
    ("udplite", 136),
];

/// The mode of a socket file before its umask.
const FULL_MODE: u32 = 0o777;

/// What became of one section.
pub(super) struct Built {
    /// `None` when the socket is left out.
    pub(super) socket: Option<SocketConfig>,
    pub(super) warnings: Vec<String>,
}

struct Builder<'a> {
    section: &'a Section,
    known: &'a BTreeMap<String, String>,
    errors: Vec<String>,
    dropped: Vec<String>,
    warnings: Vec<String>,
}

/// Builds the socket of a section, or says what is wrong with the file.
pub(super) fn build(
    section: &Section,
    title: &str,
    known: &BTreeMap<String, String>,
) -> Result<Built, Vec<String>> {
    let (errors, dropped, warnings) = (Vec::new(), Vec::new(), Vec::new());
    let mut builder = Builder { section, known, errors, dropped, warnings };
    let name = title.to_lowercase();
    let socket = builder.socket(&name);
    let Builder { errors, dropped, mut warnings, .. } = builder;
    if !errors.is_empty() {
        return Err(errors);
    }
    let left_out = !dropped.is_empty();
    warnings.extend(dropped.into_iter().map(|reason| format!("Failed to create socket '{name}': {reason}")));
    Ok(Built { socket: socket.filter(|_| !left_out), warnings })
}

impl Builder<'_> {
    fn socket(&mut self, name: &str) -> Option<SocketConfig> {
        let replace = self.strict_bool("replace");
        let so_reuseport = self.strict_bool("so_reuseport");
        let blocking =
            self.lenient("blocking", parse_bool, "is not a boolean (yes, true, on, 1, no, false, off, 0)");
        let port = self.lenient("port", whole::<u16>, "is not a port number from 0 to 65535");
        let backlog = self.lenient("backlog", whole::<i32>, "is not a whole number");
        let umask = self.umask();
        let kind = self.lenient(
            "type",
            kind,
            "is not one of SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_RDM SOCK_SEQPACKET",
        );
        let family = self.lenient("family", family, "is not one of AF_INET AF_INET6 AF_UNIX");
        let names = PROTOCOLS.map(|(name, _)| name).join(" ");
        let proto = self.lenient("proto", protocol, &format!("is not one of {names}"));
        let path = self.text("path").filter(|path| !path.is_empty());
        let host = self.text("host").unwrap_or_else(|| "localhost".to_owned());
        let address = match (path, family.unwrap_or(Family::Inet)) {
            (Some(path), _) => SocketAddress::Unix { path, umask: umask & FULL_MODE, replace },
            (None, Family::Unix) => {
                self.errors.push(self.fault("family", "a socket of family AF_UNIX needs a path"));
                return None;
            }
            (None, family) => {
                let port = port.unwrap_or(DEFAULT_PORT);
                SocketAddress::Inet { host, port, six: family == Family::Inet6 }
            }
        };
        Some(SocketConfig {
            name: name.to_owned(),
            address,
            kind: kind.unwrap_or(SocketKind::Stream),
            proto: proto.unwrap_or(0),
            backlog: backlog.unwrap_or(DEFAULT_BACKLOG),
            so_reuseport,
            blocking: blocking.unwrap_or(false),
            interface: self.text("interface").filter(|name| !name.is_empty()),
        })
    }

    fn text(&self, key: &str) -> Option<String> {
        self.section.text(key).map(|value| variables(value, |key| self.known.get(key)))
    }

    fn fault(&self, key: &str, reason: &str) -> String {
        match self.section.get(key) {
            Some(entry) => self.section.error(entry, reason).to_string(),
            None => format!("{}: [{}] {key}: {reason}", self.section.place(), self.section.name),
        }
    }

    fn strict_bool(&mut self, key: &str) -> bool {
        let Some(text) = self.text(key) else { return false };
        let flag = parse_bool(&text);
        if flag.is_none() {
            let reason = format!("{text:?} is not a boolean (yes, true, on, 1, no, false, off, 0)");
            self.errors.push(self.fault(key, &reason));
        }
        flag.unwrap_or(false)
    }

    fn lenient<T>(&mut self, key: &str, read: impl Fn(&str) -> Option<T>, reason: &str) -> Option<T> {
        let text = self.text(key)?;
        let value = read(&text);
        if value.is_none() {
            self.dropped.push(self.fault(key, &format!("{text:?} {reason}")));
        }
        value
    }

    /// circus reads a decimal number where its manual promises an octal one. A file that works today
    /// must give the same mode tomorrow, so that is kept, and said where it looks like a mistake.
    fn umask(&mut self) -> u32 {
        let umask = self.lenient("umask", whole::<u32>, "is not a whole number").unwrap_or(DEFAULT_UMASK);
        let text = self.text("umask").unwrap_or_default();
        let octal = u32::from_str_radix(text.trim(), 8).ok().filter(|_| text.trim().starts_with('0'));
        if let Some(meant) = octal.filter(|meant| *meant != umask) {
            let mode = FULL_MODE & !umask;
            let reason = format!(
                "{text:?} is read as a decimal number, as circus does: the mode becomes {mode:04o}; for octal {text} write {meant}"
            );
            self.warnings.push(self.fault("umask", &reason));
        }
        umask
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
    Unix,
}

fn family(text: &str) -> Option<Family> {
    match text.to_uppercase().as_str() {
        "AF_INET" => Some(Family::Inet),
        "AF_INET6" => Some(Family::Inet6),
        "AF_UNIX" => Some(Family::Unix),
        _ => None,
    }
}

fn kind(text: &str) -> Option<SocketKind> {
    let name = text.to_uppercase();
    SocketKind::NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

fn protocol(text: &str) -> Option<i32> {
    let name = text.trim().to_lowercase();
    PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

fn whole<T: TryFrom<i64>>(text: &str) -> Option<T> {
    parse_int(text).and_then(|number| T::try_from(number).ok())
}

/// By name; of two sections whose names differ only in case the last one is meant.
pub(super) fn in_order(sockets: Vec<SocketConfig>, warnings: &mut Vec<String>) -> Vec<SocketConfig> {
    let mut by_name = BTreeMap::new();
    for socket in sockets {
        if let Some(earlier) = by_name.insert(socket.name.clone(), socket) {
            warnings.push(format!("socket '{}' is there twice; only the last is used", earlier.name));
        }
    }
    by_name.into_values().collect()
}

/// What a watcher expects of sockets and will not get.
pub(super) fn check(config: &Config) -> Vec<String> {
    let sockets: BTreeSet<&str> = config.sockets.iter().map(|socket| socket.name.as_str()).collect();
    config.watchers.iter().flat_map(|watcher| check_watcher(watcher, &sockets)).collect()
}

fn check_watcher(watcher: &WatcherConfig, sockets: &BTreeSet<&str>) -> Vec<String> {
    let named = named_by(watcher);
    let known = |name: &str| sockets.contains(name);
    let mut warnings: Vec<String> = named
        .iter()
        .filter(|name| !known(name))
        .map(|name| format!("{}: there is no socket '{name}'", watcher.name))
        .collect();
    let served = if named.is_empty() {
        watcher.use_sockets && !sockets.is_empty()
    } else {
        named.iter().any(|name| known(name))
    };
    if watcher.on_demand && !served {
        warnings.push(format!(
            "{}: on_demand, but it uses no socket, so it never starts; name one as $(circus.sockets.NAME)",
            watcher.name
        ));
    }
    warnings
}

//! Endpoints: where a socket binds or connects, parsed once from circus' notation.
//!
//! ```text
//! tcp://127.0.0.1:5555   tcp://[::1]:5555   tcp://node7.lan:5555   a host, a port
//! tcp://*:5555           tcp://lo:5555      tcp://127.0.0.1:*      bind only: every address, an interface, any port
//! ipc:///run/circus.sock                                           a path in the file system
//! udp://237.219.251.97:12027                                       discovery; no ZeroMQ socket lives there
//! ```
//!
//! Knows notation only: whether a name is a host or an interface, and whether a path is free, is
//! found out by `transport` when it binds or connects.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Where circusd listens for commands unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "tcp://127.0.0.1:5555";
/// Where circusd publishes events unless told otherwise.
pub const DEFAULT_PUBSUB_ENDPOINT: &str = "tcp://127.0.0.1:5556";
/// Where circusd publishes samples unless told otherwise.
pub const DEFAULT_STATS_ENDPOINT: &str = "tcp://127.0.0.1:5557";
/// Where circusd answers discovery questions unless told otherwise.
pub const DEFAULT_MULTICAST_ENDPOINT: &str = "udp://237.219.251.97:12027";
/// The longest path an ipc endpoint may have: the kernel's field holds 108 bytes with the final zero.
pub const MAX_IPC_PATH: usize = 107;
/// The longest host name accepted.
pub const MAX_HOST: usize = 253;

/// An address circusd binds, or a client connects to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `tcp://host:port`
    Tcp(HostPort),
    /// `ipc://path`; relative paths are kept as written.
    Ipc(String),
    /// `udp://address:port`, for discovery.
    Udp(HostPort),
}

/// The two halves of a network address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Which address.
    pub host: Host,
    /// Which port; 0 (also written `*`) lets the system choose when binding.
    pub port: u16,
}

/// The host of a network address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// `*`: every IPv4 address of this machine. Bind only.
    Any,
    /// A literal address.
    Ip(IpAddr),
    /// A host name, or when binding possibly an interface name such as `lo`.
    Name(String),
}

/// Why a text is not an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No `://`, or a scheme in front of it that we do not speak.
    #[error("endpoint {text:?}: unknown scheme, expected tcp://host:port, ipc://path or udp://address:port")]
    Scheme {
        /// What was given.
        text: String,
    },
    /// A tcp or udp endpoint without a port.
    #[error("endpoint {text:?}: no port, write {scheme}://host:port")]
    NoPort {
        /// What was given.
        text: String,
        /// Its scheme.
        scheme: &'static str,
    },
    /// A port that is no number.
    #[error("endpoint {text:?}: port {port:?} is not a number from 0 to 65535 or *")]
    Port {
        /// What was given.
        text: String,
        /// The part taken for the port.
        port: String,
    },
    /// A host that can be neither an address, a name nor an interface.
    #[error("endpoint {text:?}: host {host:?} {reason}")]
    Host {
        /// What was given.
        text: String,
        /// The part taken for the host.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A path an ipc socket cannot have.
    #[error("endpoint {text:?}: ipc path {reason}")]
    Path {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Endpoint {
    /// Whether this is an address that only this machine can reach.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ipc(_) => true,
            Self::Tcp(at) | Self::Udp(at) => match &at.host {
                Host::Any => false,
                Host::Ip(ip) => ip.is_loopback(),
                Host::Name(name) => name == "localhost" || name == "lo",
            },
        }
    }

    /// Whether it can only be bound: a wildcard host or port names nothing to connect to.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        match self {
            Self::Ipc(_) => false,
            Self::Tcp(at) | Self::Udp(at) => at.port == 0 || at.host == Host::Any,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let unknown = || EndpointError::Scheme { text: text.to_owned() };
        let (scheme, rest) = text.split_once("://").ok_or_else(unknown)?;
        match scheme {
            "tcp" => Ok(Self::Tcp(host_port(text, "tcp", rest)?)),
            "udp" => Ok(Self::Udp(host_port(text, "udp", rest)?)),
            "ipc" => ipc(text, rest),
            _ => Err(unknown()),
        }
    }
}

fn host_port(text: &str, scheme: &'static str, rest: &str) -> Result<HostPort, EndpointError> {
    let no_port = || EndpointError::NoPort { text: text.to_owned(), scheme };
    let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
    if port.is_empty() || port.ends_with(']') {
        return Err(no_port());
    }
    let bad_port = || EndpointError::Port { text: text.to_owned(), port: port.to_owned() };
    let number = match port {
        "*" => 0,
        _ if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| bad_port())?,
        _ => return Err(bad_port()),
    };
    Ok(HostPort { host: parse_host(text, host)?, port: number })
}

fn parse_host(text: &str, host: &str) -> Result<Host, EndpointError> {
    let bad = |reason| EndpointError::Host { text: text.to_owned(), host: host.to_owned(), reason };
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| bad("has no closing bracket"))?;
        let ip = inner.parse().map_err(|_| bad("is not an IPv6 address"))?;
        return Ok(Host::Ip(IpAddr::V6(ip)));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    if host.is_empty() {
        Err(bad("is empty"))
    } else if host.contains(':') {
        Err(bad("contains a colon; write IPv6 addresses in brackets"))
    } else if host.contains(';') {
        Err(bad("names a source address, which is not supported"))
    } else if host.len() > MAX_HOST {
        Err(bad("is longer than 253 characters"))
    } else if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte)) {
        Err(bad("contains a character that no host or interface name has"))
    } else if !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()) {
        Err(bad("is not an IPv4 address"))
    } else {
        Ok(Host::Name(host.to_owned()))
    }
}

fn ipc(text: &str, path: &str) -> Result<Endpoint, EndpointError> {
    let reason = if path.is_empty() {
        "is empty, write ipc:///run/name.sock"
    } else if path == "*" {
        "* is not supported, name a path"
    } else if path.starts_with('@') {
        "begins with @: abstract sockets have no permissions, name a path"
    } else if path.contains('\0') {
        "contains a zero byte"
    } else if path.len() > MAX_IPC_PATH {
        "is longer than 107 bytes"
    } else {
        return Ok(Endpoint::Ipc(path.to_owned()));
    };
    Err(EndpointError::Path { text: text.to_owned(), reason })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(at) => write!(out, "tcp://{at}"),
            Self::Ipc(path) => write!(out, "ipc://{path}"),
            Self::Udp(at) => write!(out, "udp://{at}"),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Any => write!(out, "*:")?,
            Host::Ip(IpAddr::V4(ip)) => write!(out, "{ip}:")?,
            Host::Ip(IpAddr::V6(ip)) => write!(out, "[{ip}]:")?,
            Host::Name(name) => write!(out, "{name}:")?,
        }
        match self.port {
            0 => write!(out, "*"),
            port => write!(out, "{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn good_endpoints_keep_their_notation() {
        for text in [
            DEFAULT_ENDPOINT,
            DEFAULT_PUBSUB_ENDPOINT,
            DEFAULT_STATS_ENDPOINT,
            DEFAULT_MULTICAST_ENDPOINT,
            "tcp://*:5555",
            "tcp://lo:*",
            "tcp://[::1]:5555",
            "tcp://node-7.example.org:1",
            "ipc:///run/circus.sock",
            "ipc://relative.sock",
        ] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse("tcp://127.0.0.1:0").to_string(), "tcp://127.0.0.1:*");
        assert_eq!(parse("tcp://::1:7").to_string(), "tcp://[::1]:7");
    }

    #[test]
    fn bad_endpoints_say_what_is_wrong() {
        for (text, part) in [
            ("127.0.0.1:5555", "unknown scheme"),
            ("TCP://127.0.0.1:5555", "unknown scheme"),
            ("inproc://x", "unknown scheme"),
            ("tcp://127.0.0.1", "no port"),
            ("tcp://127.0.0.1:", "no port"),
            ("tcp://[::1]", "no port"),
            ("tcp://127.0.0.1:+5", "\"+5\" is not a number"),
            ("tcp://127.0.0.1:65536", "\"65536\" is not a number"),
            ("tcp://:5555", "\"\" is empty"),
            ("tcp://127.0.0.300:5555", "is not an IPv4 address"),
            ("tcp://[::zz]:5555", "is not an IPv6 address"),
            ("tcp://[::1:5555", "no closing bracket"),
            ("tcp://1.2.3.4;5.6.7.8:5555", "source address"),
            ("tcp://a b:5555", "no host or interface name"),
            ("ipc://", "is empty"),
            ("ipc://*", "not supported"),
            ("ipc://@name", "abstract"),
            (&format!("ipc://{}", "x".repeat(108)), "longer than 107"),
        ] {
            let error = text.parse::<Endpoint>().expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }

    #[test]
    fn local_and_wildcard_endpoints_are_known() {
        assert!(parse("ipc://x").is_local() && parse("tcp://[::1]:5").is_local());
        assert!(!parse("tcp://*:5").is_local() && !parse("tcp://10.0.0.1:5").is_local());
        assert!(parse("tcp://*:5").is_wildcard() && parse("tcp://lo:*").is_wildcard());
        assert!(!parse("tcp://lo:5").is_wildcard());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_stable(text in "(tcp|ipc|udp)://[ -~]{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}

//! One term of a SPEC without its `-`: which hosts and ports it names.
//!
//! Knows addresses and brackets, neither files nor what the rest of the SPEC says.

use std::net::Ipv4Addr;

use super::{MAX_NODES, Place};

/// The longest host name.
const MAX_HOST: usize = 253;
/// The longest label of a host name.
const MAX_LABEL: usize = 63;
/// As many digits as a number in brackets may have.
const MAX_DIGITS: usize = 9;

/// Why one part of a SPEC is wrong; each text ends with the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// `@` alone.
    #[error("no file after @; write @/path/to/nodes")]
    NoFile,
    /// A node list without a node.
    #[error("the node list is empty; write one address a line")]
    EmptyFile,
    /// `@FILE` inside of a file.
    #[error("a node list cannot include another one; name both in the SPEC: @one,@two")]
    Nested,
    /// A scheme that is not tcp.
    #[error("only tcp:// endpoints can be nodes of a cluster; write tcp://host:port or host:port")]
    Scheme,
    /// `tcp://host` without port.
    #[error("no port; write tcp://host:port")]
    NoPort,
    /// Not a port.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// IPv6.
    #[error("IPv6 addresses cannot be written in a SPEC; use a host name that resolves to it")]
    Ipv6,
    /// `1.2.3.4-1.2.3.1`.
    #[error("the range ends before it begins; swap its ends")]
    Backwards,
    /// The end of a dash range.
    #[error("{0:?} does not end an IPv4 range; write 192.168.0.1-192.168.0.32 or 192.168.0.1-32")]
    RangeEnd(String),
    /// The length of a network.
    #[error("{0:?} is not a network length from 0 to 32; write for example 192.168.0.0/27")]
    Bits(String),
    /// Host bits set.
    #[error("{network} is the network of that length; write {network}")]
    HostBits {
        /// The corrected network.
        network: String,
    },
    /// What stands in brackets.
    #[error("{0:?} in brackets is not a number or a range; write for example [01-16,20]")]
    Bracket(String),
    /// `a]` or `[[`.
    #[error("brackets do not match; write for example node[01-16]")]
    Unbalanced,
    /// A host name that none can be.
    #[error("{host:?} {reason}")]
    Host {
        /// The host.
        host: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than [`MAX_NODES`]; reported with the term.
    #[error("too many nodes")]
    TooMany,
}

/// Whether it is a range, and every place in order.
pub(super) fn expand(body: &str) -> Result<(bool, Vec<Place>), PlaceError> {
    let (rest, port_needed) = match body.split_once("://") {
        Some(("tcp", rest)) => (rest, true),
        Some(_) => return Err(PlaceError::Scheme),
        None => (body, false),
    };
    let colons = outside_brackets(rest).filter(|letter| *letter == ':').count();
    if colons > 1 || rest.starts_with("[:") {
        return Err(PlaceError::Ipv6);
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None if port_needed => return Err(PlaceError::NoPort),
        None => (rest, None),
    };
    let (range, hosts) = expand_host(host)?;
    Ok((range, hosts.into_iter().map(|host| Place { host, port }).collect()))
}

fn outside_brackets(text: &str) -> impl Iterator<Item = char> {
    let mut inside = false;
    text.chars().filter(move |letter| {
        inside = (inside || *letter == '[') && *letter != ']';
        !inside
    })
}

fn parse_port(text: &str) -> Result<u16, PlaceError> {
    let bad = || PlaceError::Port(text.to_owned());
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(bad)
}

fn expand_host(host: &str) -> Result<(bool, Vec<String>), PlaceError> {
    if let Some((network, bits)) = host.split_once('/') {
        return Ok((true, network_hosts(&ipv4(network)?, bits)?));
    }
    if let Some((first, last)) = host.split_once('-')
        && let Ok(first) = first.parse::<Ipv4Addr>()
    {
        return Ok((true, range_hosts(first, last)?));
    }
    if !host.contains(['[', ']']) {
        return Ok((false, vec![checked(host.to_owned())?]));
    }
    let hosts = brackets(host)?;
    let hosts: Result<Vec<_>, _> = hosts.into_iter().map(checked).collect();
    Ok((true, hosts?))
}

fn ipv4(text: &str) -> Result<Ipv4Addr, PlaceError> {
    let bad = || PlaceError::Host {
        host: text.to_owned(),
        reason: "is not an IPv4 address; networks are written 192.168.0.0/27",
    };
    text.parse().map_err(|_| bad())
}

fn network_hosts(network: &Ipv4Addr, bits: &str) -> Result<Vec<String>, PlaceError> {
    let digits = !bits.is_empty() && bits.len() <= 2 && bits.bytes().all(|byte| byte.is_ascii_digit());
    let length: Option<u32> = if digits { bits.parse().ok() } else { None };
    let length = length.filter(|length| *length <= 32).ok_or_else(|| PlaceError::Bits(bits.to_owned()))?;
    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
    let first = network.to_bits();
    if first & hosts != 0 {
        let network = format!("{}/{length}", Ipv4Addr::from_bits(first & !hosts));
        return Err(PlaceError::HostBits { network });
    }
    let last = first | hosts;
    // Networks of one or two addresses have neither a network nor a broadcast address.
    if length >= 31 { addresses(first, last) } else { addresses(first + 1, last - 1) }
}

fn range_hosts(first: Ipv4Addr, last: &str) -> Result<Vec<String>, PlaceError> {
    let bad = || PlaceError::RangeEnd(last.to_owned());
    let last = if let Ok(last) = last.parse::<Ipv4Addr>() {
        last
    } else {
        let digits = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
        let octet: u8 = if digits { last.parse().map_err(|_| bad())? } else { return Err(bad()) };
        let [a, b, c, _] = first.octets();
        Ipv4Addr::new(a, b, c, octet)
    };
    addresses(first.to_bits(), last.to_bits())
}

fn addresses(first: u32, last: u32) -> Result<Vec<String>, PlaceError> {
    let distance = last.checked_sub(first).ok_or(PlaceError::Backwards)?;
    if usize::try_from(distance).map_or(true, |distance| distance >= MAX_NODES) {
        return Err(PlaceError::TooMany);
    }
    Ok((first..=last).map(|bits| Ipv4Addr::from_bits(bits).to_string()).collect())
}

/// Every host of a pattern; the last bracket runs fastest.
fn brackets(pattern: &str) -> Result<Vec<String>, PlaceError> {
    let mut hosts = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, tail) = after.split_once(']').ok_or(PlaceError::Unbalanced)?;
        if before.contains(']') || inside.contains('[') {
            return Err(PlaceError::Unbalanced);
        }
        let numbers = numbers(inside)?;
        if hosts.len().saturating_mul(numbers.len()) > MAX_NODES {
            return Err(PlaceError::TooMany);
        }
        hosts =
            hosts.iter().flat_map(|host| numbers.iter().map(move |n| format!("{host}{before}{n}"))).collect();
        rest = tail;
    }
    if rest.contains(']') {
        return Err(PlaceError::Unbalanced);
    }
    for host in &mut hosts {
        host.push_str(rest);
    }
    Ok(hosts)
}

/// `01-16,20` → `01`, `02`, … as text, because padding counts.
fn numbers(inside: &str) -> Result<Vec<String>, PlaceError> {
    let mut out = Vec::new();
    for part in inside.split(',') {
        let part = part.trim();
        let bad = || PlaceError::Bracket(part.to_owned());
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| -> Result<u32, PlaceError> {
            let digits = !text.is_empty()
                && text.len() <= MAX_DIGITS
                && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { text.parse().map_err(|_| bad()) } else { Err(bad()) }
        };
        let (low, high) = (number(first)?, number(last)?);
        let padded = first.len() > 1 && first.starts_with('0');
        // [01-16] is two digits throughout; [01-100] grows; [1-016] cannot be meant.
        if last.len() < first.len() || (last.len() > 1 && last.starts_with('0') && last.len() != first.len())
        {
            return Err(if high < low { PlaceError::Backwards } else { bad() });
        }
        let distance = high.checked_sub(low).ok_or(PlaceError::Backwards)?;
        if usize::try_from(distance).map_or(true, |distance| distance >= MAX_NODES) {
            return Err(PlaceError::TooMany);
        }
        let width = if padded { first.len() } else { 1 };
        out.extend((low..=high).map(|number| format!("{number:0width$}")));
    }
    Ok(out)
}

fn checked(host: String) -> Result<String, PlaceError> {
    match wrong(&host) {
        Some(reason) => Err(PlaceError::Host { host, reason }),
        None => Ok(host),
    }
}

fn wrong(host: &str) -> Option<&'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.is_empty() {
        Some("is empty; write a host name or an address")
    } else if numeric && name.parse::<Ipv4Addr>().is_err() {
        Some("is not an IPv4 address; write four numbers from 0 to 255 without leading zeros, as 192.168.0.1")
    } else if name.len() > MAX_HOST {
        Some("is longer than 253 characters")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        Some("contains a character that no host name has; use letters, digits, dots and dashes")
    } else if name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL) {
        Some("has an empty part, or one longer than 63 characters, between its dots")
    } else if name.split('.').any(|label| label.starts_with('-') || label.ends_with('-')) {
        Some("has a part that begins or ends with a dash; nodes are excluded by \",-NODE\"")
    } else {
        None
    }
}

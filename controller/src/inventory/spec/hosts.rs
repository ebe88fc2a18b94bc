//! One term of a SPEC without its operator, where it names nodes itself: which hosts and ports.
//!
//! Knows addresses, brackets and paths, neither files nor what the rest of the SPEC says.

use core::net::{Ipv4Addr, Ipv6Addr};

use circus_protocol::endpoint::MAX_IPC_PATH;

use super::error::Reason;
use super::{MAX_NODES, Member, Place};

/// The longest host name.
const MAX_HOST: usize = 253;
/// The longest label of a host name.
const MAX_LABEL: usize = 63;
/// As many digits as a number in brackets may have.
const MAX_DIGITS: usize = 9;

/// What is wrong, and the part of the text that is.
pub(super) type Fault<'a> = (Reason, &'a str);

/// Where a member of a term comes from, which decides what its absence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Bracket,
    Range,
}

/// Every node of a term, in order.
pub(super) fn expand(body: &str) -> Result<Vec<Member>, Fault<'_>> {
    let (rest, port_needed) = match body.split_once("://") {
        Some(("tcp", rest)) => (rest, true),
        Some(("ipc", path)) => return Ok(vec![Member::single(ipc(path, body)?)]),
        Some((scheme, _)) => return Err((Reason::Scheme, scheme)),
        None => (body, false),
    };
    let no_port = |host| if port_needed { Err((Reason::NoPort, body)) } else { Ok(host) };
    if rest.parse::<Ipv6Addr>().is_ok() {
        return no_port(rest).map(|host| members(Form::Single, vec![canonical6(host)], None));
    }
    let (host, port) = split_port(rest)?;
    let port = port.map(parse_port).transpose()?;
    if port.is_none() {
        no_port(host)?;
    }
    if let Some(inside) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'))
        && inside.contains(':')
    {
        let good = inside.parse::<Ipv6Addr>().is_ok();
        let bad = || (Reason::Ipv6(inside.to_owned()), inside);
        return if good { Ok(members(Form::Single, vec![canonical6(inside)], port)) } else { Err(bad()) };
    }
    let (form, hosts) = expand_host(host)?;
    Ok(members(form, hosts, port))
}

fn members(form: Form, hosts: Vec<String>, port: Option<u16>) -> Vec<Member> {
    let range = form != Form::Single;
    let loose = form == Form::Range;
    hosts.into_iter().map(|host| Member { place: Place::Tcp { host, port }, range, loose }).collect()
}

fn canonical6(text: &str) -> String {
    text.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |address| address.to_string())
}

fn ipc<'a>(path: &'a str, body: &'a str) -> Result<Place, Fault<'a>> {
    if path.starts_with('/') && path.len() <= MAX_IPC_PATH && !path.contains(['[', ']']) {
        return Ok(Place::Ipc(path.to_owned()));
    }
    Err((Reason::IpcPath, if path.is_empty() { body } else { path }))
}

/// The host, and the port behind the only colon outside of brackets.
fn split_port(text: &str) -> Result<(&str, Option<&str>), Fault<'_>> {
    let mut inside = false;
    let mut colons = text.char_indices().filter(|(_, letter)| {
        inside = (inside || *letter == '[') && *letter != ']';
        !inside && *letter == ':'
    });
    match (colons.next(), colons.next()) {
        (None, _) => Ok((text, None)),
        (Some((at, _)), None) => {
            let (host, port) = text.split_at_checked(at).unwrap_or((text, ""));
            Ok((host, Some(port.strip_prefix(':').unwrap_or(port))))
        }
        (Some(_), Some(_)) => Err((Reason::Ipv6(text.to_owned()), text)),
    }
}

/// 1 to 65535, in digits.
pub(super) fn parse_port(text: &str) -> Result<u16, Fault<'_>> {
    let bad = || (Reason::Port(text.to_owned()), text);
    if text.is_empty() || !digits(text) {
        return Err(bad());
    }
    text.parse().ok().filter(|port| *port > 0).ok_or_else(bad)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn expand_host(host: &str) -> Result<(Form, Vec<String>), Fault<'_>> {
    if host.contains(['[', ']']) {
        let hosts = brackets(host)?;
        let hosts: Result<Vec<_>, _> = hosts.into_iter().map(|name| checked(name, host)).collect();
        return Ok((Form::Bracket, hosts?));
    }
    if let Some((network, bits)) = host.split_once('/') {
        return Ok((Form::Range, network_hosts(network, bits, host)?));
    }
    if let Some((first, last)) = host.split_once('-')
        && let Ok(first) = first.parse::<Ipv4Addr>()
    {
        return Ok((Form::Range, range_hosts(first, last, host)?));
    }
    Ok((Form::Single, vec![checked(host.to_owned(), host)?]))
}

fn network_hosts<'a>(network: &'a str, bits: &'a str, whole: &'a str) -> Result<Vec<String>, Fault<'a>> {
    let reason = "is not an IPv4 address; networks are written 192.168.0.0/27";
    let bad = || (Reason::Host { host: network.to_owned(), reason }, network);
    let address: Ipv4Addr = network.parse().map_err(|_| bad())?;
    let length: Option<u32> =
        if !bits.is_empty() && bits.len() <= 2 && digits(bits) { bits.parse().ok() } else { None };
    let length =
        length.filter(|length| *length <= 32).ok_or_else(|| (Reason::Bits(bits.to_owned()), bits))?;
    let hosts = u32::MAX.checked_shr(length).unwrap_or(0);
    let first = address.to_bits();
    if first & hosts != 0 {
        let corrected = format!("{}/{length}", Ipv4Addr::from_bits(first & !hosts));
        return Err((Reason::HostBits { network: corrected }, network));
    }
    let last = first | hosts;
    // Networks of one or two addresses have neither a network nor a broadcast address.
    if length >= 31 { addresses(first, last, whole) } else { addresses(first + 1, last - 1, whole) }
}

fn range_hosts<'a>(first: Ipv4Addr, last: &'a str, whole: &'a str) -> Result<Vec<String>, Fault<'a>> {
    let bad = || (Reason::RangeEnd(last.to_owned()), last);
    let last = if let Ok(last) = last.parse::<Ipv4Addr>() {
        last
    } else {
        let octet: u8 = if !last.is_empty() && digits(last) {
            last.parse().map_err(|_| bad())?
        } else {
            return Err(bad());
        };
        let [a, b, c, _] = first.octets();
        Ipv4Addr::new(a, b, c, octet)
    };
    addresses(first.to_bits(), last.to_bits(), whole)
}

fn addresses(first: u32, last: u32, whole: &str) -> Result<Vec<String>, Fault<'_>> {
    let distance = last.checked_sub(first).ok_or((Reason::Backwards, whole))?;
    if usize::try_from(distance).map_or(true, |distance| distance >= MAX_NODES) {
        return Err((Reason::TooMany, whole));
    }
    Ok((first..=last).map(|bits| Ipv4Addr::from_bits(bits).to_string()).collect())
}

/// Every host of a pattern; the last bracket runs fastest.
fn brackets(pattern: &str) -> Result<Vec<String>, Fault<'_>> {
    let mut hosts = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('[') {
        let (inside, tail) = after.split_once(']').ok_or((Reason::Unbalanced, rest))?;
        if before.contains(']') || inside.contains('[') {
            return Err((Reason::Unbalanced, rest));
        }
        let numbers = numbers(inside, pattern)?;
        if hosts.len().saturating_mul(numbers.len()) > MAX_NODES {
            return Err((Reason::TooMany, pattern));
        }
        hosts =
            hosts.iter().flat_map(|host| numbers.iter().map(move |n| format!("{host}{before}{n}"))).collect();
        rest = tail;
    }
    if rest.contains(']') {
        return Err((Reason::Unbalanced, rest));
    }
    for host in &mut hosts {
        host.push_str(rest);
    }
    Ok(hosts)
}

/// `01-16,20,30-50/5` → `01`, `02`, … as text, because padding counts.
fn numbers<'a>(inside: &'a str, pattern: &'a str) -> Result<Vec<String>, Fault<'a>> {
    let mut out = Vec::new();
    for part in inside.split(',') {
        let part = part.trim();
        // An empty part has no place of its own to point at.
        let place = if part.is_empty() { pattern } else { part };
        let bad = || (Reason::Bracket(part.to_owned()), place);
        let number = |text: &str| -> Result<u32, Fault<'a>> {
            let good = !text.is_empty() && text.len() <= MAX_DIGITS && digits(text);
            if good { text.parse().map_err(|_| bad()) } else { Err(bad()) }
        };
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            Some(ends) => ends,
            None if step.is_some() => return Err((Reason::StepOfOne, place)),
            None => (range, range),
        };
        let (low, high) = (number(first)?, number(last)?);
        let step = step.map_or(Ok(1), |step| {
            number(step).ok().filter(|step| *step > 0).ok_or_else(|| (Reason::Step(step.to_owned()), step))
        })?;
        let padded = first.len() > 1 && first.starts_with('0');
        // [01-16] is two digits throughout; [01-100] grows; [1-016] cannot be meant.
        if last.len() < first.len() || (last.len() > 1 && last.starts_with('0') && last.len() != first.len())
        {
            return Err(if high < low { (Reason::Backwards, place) } else { bad() });
        }
        let distance = high.checked_sub(low).ok_or((Reason::Backwards, place))?;
        if usize::try_from(distance / step).map_or(true, |count| count >= MAX_NODES) {
            return Err((Reason::TooMany, pattern));
        }
        let width = if padded { first.len() } else { 1 };
        let stride = usize::try_from(step).unwrap_or(usize::MAX);
        out.extend((low..=high).step_by(stride).map(|number| format!("{number:0width$}")));
    }
    Ok(out)
}

/// A host name that can be one; `written` is the part of the SPEC it came from.
fn checked(host: String, written: &str) -> Result<String, Fault<'_>> {
    match wrong(&host) {
        Some(reason) => Err((Reason::Host { host, reason }, written)),
        None => Ok(host),
    }
}

/// What keeps a text from being a host name or an IPv4 address.
pub(super) fn wrong(host: &str) -> Option<&'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let numeric = name.rsplit('.').next().is_some_and(digits);
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

//! Who listens on a port: from the kernel's tables and, where it may look, from the descriptors of
//! processes.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use circus_protocol::service::preflight::{Holder, Look};

use super::user_name;
use crate::host::tree::Entry;

/// How the kernel spells the state of a socket that listens.
const LISTENS: &str = "0A";

/// How much of a command line tells who it is.
const COMMAND: usize = 80;

/// The longest line of ancestors that is followed.
const GENERATIONS: usize = 64;

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: IpAddr,
    port: u16,
    uid: u32,
    inode: u64,
}

/// Everybody who would keep the service from listening.
pub(super) fn holders(look: &Look) -> Vec<Holder> {
    if look.ports.is_empty() {
        return Vec::new();
    }
    let own = look.address.as_deref().and_then(|address| address.parse().ok());
    let mut found: Vec<Listener> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(understand).collect::<Vec<_>>())
        .filter(|listener| look.ports.contains(&listener.port) && is_in_the_way(listener.address, own))
        .collect();
    found.sort_by_key(|listener| listener.port);
    // One who listens on both families is said once.
    found.dedup_by_key(|listener| (listener.port, listener.inode));
    let pids = if found.is_empty() { HashMap::new() } else { owners(&found) };
    let holder = |listener: &Listener| {
        let pid = pids.get(&listener.inode).copied();
        Holder {
            port: listener.port,
            at: std::net::SocketAddr::new(listener.address, listener.port).to_string(),
            pid: pid.and_then(|pid| u32::try_from(pid).ok()),
            command: pid.map(command).unwrap_or_default(),
            user: user_name(listener.uid),
            own: pid.is_some_and(|pid| is_own(pid, &look.process.pids)),
        }
    };
    let mut holders: Vec<Holder> = Vec::new();
    for holder in found.iter().map(holder) {
        // Two sockets of one process are one answer.
        if !holders.iter().any(|known| (known.port, known.pid) == (holder.port, holder.pid)) {
            holders.push(holder);
        }
    }
    holders
}

/// Several nodes can share a machine by addresses of its loopback: then only the same address and the
/// wildcard are in the way.
fn is_in_the_way(listener: IpAddr, own: Option<IpAddr>) -> bool {
    listener.is_unspecified() || own.is_none_or(|own| own == listener || !own.is_loopback())
}

/// A line of `/proc/net/tcp` or `tcp6`.
fn understand(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let field = |at: usize| fields.get(at).copied();
    if field(3)? != LISTENS {
        return None;
    }
    let (address, port) = field(1)?.split_once(':')?;
    Some(Listener {
        address: address_of(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: field(7)?.parse().ok()?,
        inode: field(9)?.parse().ok()?,
    })
}

/// Words of four bytes, each as the machine keeps a number.
fn address_of(text: &str) -> Option<IpAddr> {
    let words: Vec<u32> = (0..text.len() / 8)
        .map(|at| u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    match *words.as_slice() {
        [v4] => Some(IpAddr::V4(Ipv4Addr::from(v4.to_ne_bytes()))),
        [a, b, c, d] => {
            let mut bytes = [0; 16];
            for (slot, word) in bytes.chunks_exact_mut(4).zip([a, b, c, d]) {
                slot.copy_from_slice(&word.to_ne_bytes());
            }
            let address = Ipv6Addr::from(bytes);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// Which process has which of these sockets open; of several, the first.
fn owners(wanted: &[Listener]) -> HashMap<u64, i32> {
    let mut owners = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // A child that inherited it has a higher number than its parent, nearly always.
    pids.sort_unstable();
    for pid in pids {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for link in descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode =
                link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode
                && wanted.iter().any(|listener| listener.inode == inode)
            {
                owners.entry(inode).or_insert(pid);
            }
        }
    }
    owners
}

fn command(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text: Vec<String> = line
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let text: String =
        text.join(" ").chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    match text.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// One of these, or a descendant; or this daemon, which holds sockets for its services.
fn is_own(pid: i32, pids: &[i32]) -> bool {
    let daemon = i32::try_from(std::process::id()).unwrap_or_default();
    let mut current = pid;
    for _ in 0..GENERATIONS {
        if pids.contains(&current) {
            return true;
        }
        match Entry::read(current) {
            Some(entry) if entry.parent > 1 => current = entry.parent,
            Some(_) | None => break,
        }
    }
    pid == daemon
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   111        0 4242 1";
        let found = understand(line).unwrap();
        assert_eq!((found.address.to_string().as_str(), found.port), ("127.0.0.1", 8080));
        assert_eq!((found.uid, found.inode), (111, 4242));
        assert_eq!(understand(&line.replace(" 0A ", " 01 ")), None, "a connection is no listener");
        assert_eq!(understand("  sl  local_address rem_address   st"), None);
        assert_eq!(address_of("00000000000000000000000001000000").unwrap().to_string(), "::1");
        assert_eq!(address_of("0000000000000000FFFF00000100007F").unwrap().to_string(), "127.0.0.1");
        assert_eq!(address_of("0100"), None);
    }

    #[test]
    fn who_is_in_the_way() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let blocks = |listener: &str, own: Option<&str>| is_in_the_way(ip(listener), own.map(ip));
        assert!(blocks("0.0.0.0", Some("127.0.0.2")) && blocks("::", Some("10.0.0.1")));
        assert!(!blocks("127.0.0.1", Some("127.0.0.2")), "another node of the same machine");
        assert!(blocks("127.0.0.1", Some("10.0.0.1")), "who wants all addresses cannot have them");
        assert!(blocks("127.0.0.1", None));
    }

    #[test]
    fn a_holder_is_found_and_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let look = |pids: Vec<i32>| {
            let mut look = Look { ports: vec![port], address: Some("127.0.0.1".into()), ..Look::default() };
            look.process.pids = pids;
            holders(&look)
        };
        let found = look(Vec::new());
        let [holder] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((holder.port, holder.pid), (port, Some(std::process::id())));
        assert!(holder.own && holder.at.ends_with(&port.to_string()), "{holder:?}");
        assert!(!holder.command.is_empty());
        drop(listener);
        assert!(!look(Vec::new()).iter().any(|holder| holder.pid == Some(std::process::id())));
        assert!(is_own(i32::try_from(std::process::id()).unwrap(), &[]));
        assert!(!is_own(1, &[2]) && is_own(1, &[1]));
    }
}

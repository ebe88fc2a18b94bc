//! The multicast group: one datagram asks, whoever hears it answers with its control endpoint.
//!
//! An answer can say anything, so only those endpoints are followed that belong to whoever sent it:
//! nobody can have us connect to a third party.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use circus_protocol::discovery::{Answer, MAX_DATAGRAM, QUERY};
use circus_protocol::endpoint::{DEFAULT_MULTICAST_ENDPOINT, Endpoint, Host, HostPort};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::Aside;

/// Answers are waited for this long after the last question.
const WAIT: Duration = Duration::from_secs(1);
/// Datagrams get lost, so the question is put again.
const QUESTIONS: u32 = 3;
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(200);
/// As many answers as are read.
const MAX_ANSWERS: usize = 10_000;

/// The group that circusd joins unless told otherwise.
///
/// # Errors
/// None: the text is right.
pub fn default_group() -> Result<SocketAddrV4, String> {
    group(DEFAULT_MULTICAST_ENDPOINT)
}

/// `udp://ADDRESS:PORT` of a multicast group.
///
/// # Errors
/// Says what is wrong.
pub fn group(text: &str) -> Result<SocketAddrV4, String> {
    let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
    match endpoint {
        Endpoint::Udp(HostPort { host: Host::Ip(IpAddr::V4(ip)), port }) if ip.is_multicast() && port > 0 => {
            Ok(SocketAddrV4::new(ip, port))
        }
        Endpoint::Udp(_) | Endpoint::Tcp(_) | Endpoint::Ipc(_) => {
            Err(format!("{text:?} is not a multicast group; write udp://237.219.251.97:12027"))
        }
    }
}

/// Asks the group through the interface that has this address, or the one that the system chooses.
/// The question goes no further than the network the interface is on.
///
/// # Errors
/// The system refuses.
pub async fn ask(group: SocketAddrV4, interface: Option<Ipv4Addr>) -> io::Result<Vec<(SocketAddr, Answer)>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(true)?;
    if let Some(interface) = interface {
        socket.set_multicast_if_v4(&interface)?;
    }
    socket.bind(&SocketAddrV4::new(interface.unwrap_or(Ipv4Addr::UNSPECIFIED), 0).into())?;
    let socket = UdpSocket::from_std(socket.into())?;
    let mut answers: Vec<(SocketAddr, Answer)> = Vec::new();
    for round in 1..=QUESTIONS {
        socket.send_to(QUERY, group).await?;
        let until = Instant::now() + if round == QUESTIONS { WAIT } else { PAUSE };
        hear(&socket, until, &mut answers).await;
    }
    Ok(answers)
}

async fn hear(socket: &UdpSocket, until: Instant, answers: &mut Vec<(SocketAddr, Answer)>) {
    let mut datagram = [0; MAX_DATAGRAM];
    while answers.len() < MAX_ANSWERS {
        let Ok(heard) = tokio::time::timeout_at(until, socket.recv_from(&mut datagram)).await else { return };
        // An error is about something sent before: nobody is reached there.
        let Ok((length, sender)) = heard else { continue };
        if let Ok(answer) = Answer::decode(datagram.get(..length).unwrap_or_default()) {
            // Several daemons of one machine share an address and a port.
            if !answers.iter().any(|(from, known)| from.ip() == sender.ip() && *known == answer) {
                answers.push((sender, answer));
            }
        }
    }
}

/// The endpoints that are to be asked, each once, and the answers that are not followed.
#[must_use]
pub fn sorted(answers: &[(SocketAddr, Answer)]) -> (Vec<Endpoint>, Vec<Aside>) {
    let (mut follow, mut aside) = (Vec::new(), Vec::new());
    for (sender, answer) in answers {
        match belongs(*sender, answer) {
            Ok(endpoint) if follow.contains(&endpoint) => {}
            Ok(endpoint) => follow.push(endpoint),
            Err(reason) => {
                aside.push(Aside { sender: *sender, endpoint: answer.endpoint.clone(), reason });
            }
        }
    }
    // The order gives nodes their identifiers, so it must not be that of the answers.
    follow.sort_unstable();
    aside.sort_unstable_by_key(|aside| aside.sender);
    (follow, aside)
}

fn belongs(sender: SocketAddr, answer: &Answer) -> Result<Endpoint, &'static str> {
    let text = answer.reachable_from(&sender.ip().to_string());
    let endpoint: Endpoint = text.parse().map_err(|_| "its endpoint is none")?;
    let at = match &endpoint {
        Endpoint::Tcp(at) => at,
        Endpoint::Ipc(_) => return Err("its endpoint is a path on its own machine"),
        Endpoint::Udp(_) => return Err("its endpoint is none"),
    };
    match at.host {
        _ if at.port == 0 => Err("its endpoint has no port"),
        Host::Ip(ip) if ip == sender.ip() => Ok(endpoint),
        Host::Ip(ip) if ip.is_loopback() && sender.ip().is_loopback() => Ok(endpoint),
        Host::Ip(ip) if ip.is_loopback() => {
            Err("its endpoint can be reached on its own machine only; bind it to another address")
        }
        Host::Ip(_) => {
            Err("its endpoint has another address than its answer came from; name it in the range")
        }
        Host::Any | Host::Name(_) => Err("its endpoint is a name; name it in the range"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sender: &str, endpoint: &str) -> String {
        let answer = Answer { endpoint: endpoint.to_owned() };
        let (follow, aside) = sorted(&[(sender.parse().expect("an address"), answer)]);
        match (follow.as_slice(), aside.as_slice()) {
            ([endpoint], []) => endpoint.to_string(),
            ([], [aside]) => aside.reason.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_the_senders_own_endpoint_is_followed() {
        assert_eq!(of("10.0.0.7:12027", "tcp://10.0.0.7:5555"), "tcp://10.0.0.7:5555");
        assert_eq!(of("10.0.0.7:12027", "tcp://0.0.0.0:5555"), "tcp://10.0.0.7:5555");
        assert_eq!(of("10.0.0.7:12027", "tcp://*:6000"), "tcp://10.0.0.7:6000");
        assert_eq!(of("127.0.0.1:12027", "tcp://127.0.0.9:5555"), "tcp://127.0.0.9:5555");
        assert!(of("10.0.0.7:12027", "tcp://127.0.0.1:5555").contains("its own machine only"));
        assert!(of("10.0.0.7:12027", "tcp://10.0.0.8:22").contains("another address"));
        assert!(of("10.0.0.7:12027", "tcp://example.org:22").contains("is a name"));
        assert!(of("10.0.0.7:12027", "ipc:///run/x").contains("path"));
        assert!(of("10.0.0.7:12027", "hello").contains("is none"));
        assert!(of("10.0.0.7:12027", "tcp://10.0.0.7:0").contains("no port"));
    }

    #[test]
    fn groups_are_groups() {
        assert_eq!(default_group().map(|at| at.to_string()).as_deref(), Ok("237.219.251.97:12027"));
        for wrong in ["udp://10.0.0.1:1", "tcp://237.219.251.97:1", "udp://237.0.0.1:0", "x"] {
            assert!(group(wrong).is_err(), "{wrong}");
        }
    }
}

//! The discovery responder: whoever sends it a datagram is told where the control endpoint is.
//!
//! It sends to the asker only, one small datagram for each it gets, and never speaks first. What
//! cannot be set up is a warning: a node that nobody discovers still works.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use circus_protocol::discovery::Answer;
use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use nix::sys::socket::sockopt::{IpAddMembership, IpMulticastTtl, ReuseAddr, ReusePort};
use nix::sys::socket::{
    AddressFamily, IpMembershipRequest, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket,
};
use tokio::net::UdpSocket;

/// A question is never longer; more of it is cut off and does not matter.
const MAX_QUESTION: usize = 64;

/// How far answers to a group may travel, as in stock.
const TTL: u8 = 255;

/// Why nobody will discover this node.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// Not a group's address.
    #[error("{0} is not a multicast address (224.0.0.0 to 239.255.255.255)")]
    NotAGroup(Endpoint),
    /// The system refused.
    #[error("{endpoint}: {source}")]
    Io {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that hears questions.
#[derive(Debug)]
pub struct Discovery {
    socket: UdpSocket,
    answer: Vec<u8>,
}

impl Discovery {
    /// Joins the group of the multicast endpoint, ready to answer with the control endpoint as
    /// configured.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn join(group: &Endpoint, control: &str) -> Result<Self, DiscoveryError> {
        let (address, port) = match group {
            Endpoint::Udp(HostPort { host: Host::Ip(IpAddr::V4(address)), port })
                if address.is_multicast() =>
            {
                (*address, *port)
            }
            Endpoint::Udp(_) | Endpoint::Tcp(_) | Endpoint::Ipc(_) => {
                return Err(DiscoveryError::NotAGroup(group.clone()));
            }
        };
        let failed = |source| DiscoveryError::Io { endpoint: group.clone(), source };
        let socket = shared_socket(port, Some(address)).map_err(failed)?;
        Ok(Self { socket, answer: Answer { endpoint: control.to_owned() }.encode() })
    }

    /// Answers for ever.
    pub async fn answer(self) {
        let mut question = [0; MAX_QUESTION];
        loop {
            let Ok((_, asker)) = self.socket.recv_from(&mut question).await else {
                // An earlier answer bounced; that is the asker's loss.
                tokio::task::yield_now().await;
                continue;
            };
            let _bounced = self.socket.send_to(&self.answer, asker).await;
        }
    }
}

/// A socket on a port that several daemons of one machine share.
fn shared_socket(port: u16, group: Option<Ipv4Addr>) -> io::Result<UdpSocket> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    )?;
    setsockopt(&fd, ReuseAddr, &true)?;
    setsockopt(&fd, ReusePort, &true)?;
    setsockopt(&fd, IpMulticastTtl, &TTL)?;
    bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port))?;
    if let Some(group) = group {
        setsockopt(&fd, IpAddMembership, &IpMembershipRequest::new(group, None))?;
    }
    UdpSocket::from_std(std::net::UdpSocket::from(fd))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn every_asker_gets_one_answer_and_nobody_else_any() {
        let socket = shared_socket(0, None).unwrap();
        let port = socket.local_addr().unwrap().port();
        let answer = Answer { endpoint: "tcp://127.0.0.1:5555".to_owned() }.encode();
        tokio::spawn(Discovery { socket, answer }.answer());

        let bystander = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for question in [&b"\"\""[..], b"", &[0xff; 5000]] {
            let asker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            asker.send_to(question, ("127.0.0.1", port)).await.unwrap();
            let mut told = [0; 512];
            let wait = tokio::time::timeout(Duration::from_secs(5), asker.recv(&mut told));
            let len = wait.await.unwrap().unwrap();
            assert_eq!(&told[..len], br#"{"endpoint": "tcp://127.0.0.1:5555"}"#);
        }
        assert!(bystander.try_recv(&mut [0; 16]).is_err());
    }

    #[test]
    fn only_groups_are_joined() {
        for text in ["udp://127.0.0.1:12027", "tcp://237.219.251.97:1", "udp://nowhere:1"] {
            let group: Endpoint = text.parse().unwrap();
            assert!(matches!(Discovery::join(&group, "x"), Err(DiscoveryError::NotAGroup(_))), "{text}");
        }
    }
}

//! Where a node's events can be heard, from what it says about its pubsub endpoint.
//!
//! What it says is how it was bound, seen from the node: a wildcard means every address of the node, and
//! a loopback address means the node itself, which is of no use from anywhere else.

use circus_protocol::endpoint::{Endpoint, Host, HostPort};

/// The endpoint to subscribe at; `None`: from here its events cannot be heard.
#[must_use]
pub fn ears(control: &Endpoint, pubsub: &str) -> Option<Endpoint> {
    let pubsub: Endpoint = pubsub.parse().ok()?;
    let place = match (&pubsub, control) {
        (Endpoint::Udp(_), _) => return None,
        // A path means something on the same machine only.
        (Endpoint::Ipc(_), Endpoint::Ipc(_)) => return Some(pubsub),
        (Endpoint::Ipc(_), Endpoint::Tcp(at)) => return is_loopback(&at.host).then_some(pubsub),
        (Endpoint::Ipc(_), Endpoint::Udp(_)) => return None,
        (Endpoint::Tcp(place), _) => place,
    };
    if pubsub.is_wildcard() || is_every_address(&place.host) {
        return match control {
            Endpoint::Tcp(at) => Some(Endpoint::Tcp(HostPort { host: at.host.clone(), port: place.port })),
            Endpoint::Ipc(_) => {
                let host = Host::Ip(core::net::Ipv4Addr::LOCALHOST.into());
                Some(Endpoint::Tcp(HostPort { host, port: place.port }))
            }
            Endpoint::Udp(_) => None,
        };
    }
    match control {
        Endpoint::Tcp(at) if is_loopback(&place.host) => is_loopback(&at.host).then_some(pubsub),
        Endpoint::Tcp(_) | Endpoint::Ipc(_) => Some(pubsub),
        Endpoint::Udp(_) => None,
    }
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name == "localhost",
        Host::Any => false,
    }
}

fn is_every_address(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_unspecified(),
        Host::Any => true,
        Host::Name(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(control: &str, pubsub: &str) -> Option<String> {
        ears(&control.parse().unwrap(), pubsub).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn a_loopback_address_is_of_use_on_the_same_machine_only() {
        let stock = "tcp://127.0.0.1:5556";
        assert_eq!(heard("tcp://10.0.0.7:5555", stock), None);
        assert_eq!(heard("tcp://node7:5555", "tcp://localhost:5556"), None);
        assert_eq!(heard("tcp://127.0.0.1:5555", stock).as_deref(), Some(stock));
        assert_eq!(heard("tcp://10.0.0.7:5555", "ipc:///run/pub"), None);
        assert_eq!(heard("ipc:///run/circus", "ipc:///run/pub").as_deref(), Some("ipc:///run/pub"));
    }

    #[test]
    fn a_wildcard_means_the_node() {
        let told = heard("tcp://10.0.0.7:5555", "tcp://0.0.0.0:6000");
        assert_eq!(told.as_deref(), Some("tcp://10.0.0.7:6000"));
        assert_eq!(heard("tcp://node7:5555", "tcp://*:6000").as_deref(), Some("tcp://node7:6000"));
        assert_eq!(heard("tcp://a:1", "tcp://10.0.0.9:6000").as_deref(), Some("tcp://10.0.0.9:6000"));
        assert_eq!(heard("tcp://a:1", "what?"), None);
        assert_eq!(heard("tcp://a:1", "udp://237.1.1.1:6000"), None);
    }
}

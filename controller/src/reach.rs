//! How far one gets towards a node without any help of its daemon: name, route, port, protocol. What
//! `why` begins with.
//!
//! ```text
//!  resolve ─► connect (each address) ─► ZMTP greeting and handshake ─► the links of a chain
//!                │ refused, no route, silence: ask a port beside it     │ none: who is it then?
//! ```
//!
//! Every connection is one of its own, short, and says nothing that changes anything: a greeting, an
//! HTTP request for `/`, the first message of TLS.

mod stranger;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use circus_protocol::zmtp::fault::Fault;
use circus_protocol::zmtp::greeting::{self, GreetingReader};
use circus_protocol::zmtp::limits::WireLimits;
use circus_protocol::zmtp::session::{Config, Event, Session};
use circus_protocol::zmtp::socket::SocketType;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::cli::DEFAULT_PORT;
use crate::cluster::chain::Link;

/// What a port beside the silent one may take to answer.
const BESIDE_TIME: Duration = Duration::from_millis(700);
/// How long a stranger may take to show who it is.
const STRANGER_TIME: Duration = Duration::from_millis(700);
/// A port where nobody listens, as a rule: its refusal proves that the host is there.
const UNUSED_PORT: u16 = 1;
/// So much of a greeting comes before the mechanism.
const VERSION_LENGTH: usize = 12;
/// Where somebody listens on most hosts.
const SSH_PORT: u16 = 22;

/// Walks from the name to the handshake, each step within `limit`; ends with the first broken link.
pub async fn reach(endpoint: &Endpoint, limit: Duration) -> Vec<Link> {
    match endpoint {
        Endpoint::Tcp(at) => tcp(at, limit).await,
        Endpoint::Ipc(path) => ipc(path, limit).await,
        Endpoint::Udp(_) => {
            vec![Link::broken("name", format!("{endpoint} is no control endpoint"), "write tcp://host:port")]
        }
    }
}

async fn ipc(path: &str, limit: Duration) -> Vec<Link> {
    let mut links = vec![Link::whole("name", format!("the socket {path}"))];
    match timeout(limit, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => {
            links.push(Link::whole("port", "somebody listens"));
            links.push(protocol(shake(stream, limit).await, None, limit).await);
        }
        Ok(Err(error)) => {
            let remedy = match error.kind() {
                io::ErrorKind::PermissionDenied => "run as the daemon's user, or loosen the socket's mode",
                _ => "start circusd there, or correct the path",
            };
            links.push(Link::broken("port", words(&error), remedy));
        }
        Err(_) => links.push(Link::broken("port", silence(limit), "the listener hangs")),
    }
    links
}

async fn tcp(at: &HostPort, limit: Duration) -> Vec<Link> {
    let mut links = Vec::new();
    let addresses = match resolve(at, limit).await {
        Ok((link, addresses)) => {
            links.push(link);
            addresses
        }
        Err(link) => return vec![link],
    };
    // All at once, so that a dead one among them costs no time of the others.
    let mut tries = tokio::task::JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        tries.spawn(async move {
            let begun = Instant::now();
            let met = timeout(limit, TcpStream::connect(address)).await;
            (index, met.map_err(|_| None).and_then(|met| met.map_err(Some)), begun.elapsed())
        });
    }
    let mut met: Vec<_> = tries.join_all().await;
    met.sort_by_key(|(index, ..)| *index);
    let reached = met.iter().position(|(_, met, _)| met.is_ok());
    let failed: Vec<String> = met
        .iter()
        .filter_map(|(index, met, _)| {
            let error = met.as_ref().err()?;
            let why = error.as_ref().map_or_else(|| silence(limit), words);
            Some(format!("{}: {why}", addresses.get(*index)?.ip()))
        })
        .collect();
    let Some((index, Ok(stream), took)) = reached.map(|at| met.swap_remove(at)) else {
        let first = met.into_iter().next().and_then(|(_, met, _)| met.err()).flatten();
        links.extend(unreached(at, addresses.first().copied(), first, &failed, limit).await);
        return links;
    };
    let Some(address) = addresses.get(index).copied() else { return links };
    links.push(Link::whole(
        "route",
        format!("{} answers in {:.1} ms", address.ip(), took.as_secs_f64() * 1e3),
    ));
    links.push(if failed.is_empty() {
        Link::whole("port", format!("somebody listens on {}", at.port))
    } else {
        let text = format!("somebody listens on {address}; not so {}", failed.join(", "));
        Link::odd("port", text, "name the address instead, or let circusd listen on all of them")
    });
    links.push(protocol(shake(stream, limit).await, Some(address), limit).await);
    links
}

/// The addresses of a host.
async fn resolve(at: &HostPort, limit: Duration) -> Result<(Link, Vec<SocketAddr>), Link> {
    let name = match &at.host {
        Host::Ip(ip) => {
            let link = Link::whole("name", format!("{ip} is an address"));
            return Ok((link, vec![SocketAddr::new(*ip, at.port)]));
        }
        Host::Any => return Err(Link::broken("name", "* can only be bound", "name one of its addresses")),
        Host::Name(name) => name,
    };
    let remedy = "correct the name in the SPEC, or add it to DNS or /etc/hosts (`getent hosts` shows)";
    let found = match timeout(limit, lookup_host((name.as_str(), at.port))).await {
        Err(_) => return Err(Link::broken("name", format!("{name}: the resolver is silent"), remedy)),
        Ok(Err(error)) => {
            return Err(Link::broken("name", format!("{name} does not resolve: {error}"), remedy));
        }
        Ok(Ok(found)) => found,
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let texts: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    match texts.as_slice() {
        [] => Err(Link::broken("name", format!("{name} has no address"), remedy)),
        [one] => Ok((Link::whole("name", format!("{name} is {one}")), addresses)),
        several => {
            let text = format!("{name} has {} addresses: {}", several.len(), several.join(", "));
            Ok((Link::odd("name", text, ""), addresses))
        }
    }
}

/// Nobody accepted: is it the way, or the port?
async fn unreached(
    at: &HostPort,
    address: Option<SocketAddr>,
    first: Option<io::Error>,
    failed: &[String],
    limit: Duration,
) -> Vec<Link> {
    let said = failed.join(", ");
    match first.as_ref().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            let elsewhere = match address.filter(|_| at.port != DEFAULT_PORT) {
                Some(address) => control_at(SocketAddr::new(address.ip(), DEFAULT_PORT)).await,
                None => None,
            };
            let remedy = elsewhere.unwrap_or_else(|| {
                "start circusd there; or it listens elsewhere (its loopback, another port: see endpoint in its ini)"
                    .to_owned()
            });
            let text = format!("{said}: nobody listens on port {}", at.port);
            vec![Link::whole("route", "the host answers"), Link::broken("port", text, remedy)]
        }
        Some(io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            let remedy = "see `ip route get` here, whether the interface is up, and whether the host is on";
            vec![Link::broken("route", said, remedy)]
        }
        Some(io::ErrorKind::PermissionDenied) => {
            vec![Link::broken("route", said, "a firewall of this machine forbids it: see `nft list ruleset`")]
        }
        Some(_) => vec![Link::broken("route", said, "see `ip route get`")],
        None => silent(at, address, &said, limit).await,
    }
}

/// Not a word came back. If another port of the host answers, this one is filtered.
async fn silent(at: &HostPort, address: Option<SocketAddr>, said: &str, limit: Duration) -> Vec<Link> {
    let mut alive = false;
    for port in [UNUSED_PORT, SSH_PORT] {
        let Some(address) = address else { break };
        let met =
            timeout(BESIDE_TIME.min(limit), TcpStream::connect(SocketAddr::new(address.ip(), port))).await;
        alive |= match met {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_) => false,
        };
    }
    if alive {
        let text =
            format!("{said}, although the host is there: port {} is filtered, or its queue is full", at.port);
        let remedy = "let the firewall pass it; if it does, the listener there accepts nobody: it hangs";
        return vec![Link::whole("route", "the host answers"), Link::broken("port", text, remedy)];
    }
    let remedy = "the host is off, has another address, or a firewall drops everything: try ping and arp";
    vec![Link::broken("route", said, remedy)]
}

/// What a handshake came to.
#[derive(Debug)]
enum Shaken {
    /// Somebody who takes commands.
    Fits,
    Fault(Fault),
    /// The first bytes of somebody who does not speak ZMTP.
    Stranger(Vec<u8>),
    Closed,
    Silent,
}

/// Greets as a client of a control endpoint does.
async fn shake(mut stream: impl AsyncRead + AsyncWrite + Unpin, limit: Duration) -> Shaken {
    let limits = WireLimits { handshake_time: limit, heartbeat: None, ..WireLimits::default() };
    let config = Config { socket_type: SocketType::Dealer, identity: Bytes::new(), limits };
    let mut session = Session::new(config);
    let (until, begun) = (Instant::now() + limit, Instant::now());
    let (mut input, mut output, mut heard) = ([0_u8; 1024], BytesMut::new(), Vec::new());
    loop {
        session.take_output(&mut output);
        if timeout_at(until, stream.write_all(&output)).await.is_err() {
            return Shaken::Silent;
        }
        output.clear();
        let count = match timeout_at(until, stream.read(&mut input)).await {
            Err(_) if heard.is_empty() => return Shaken::Silent,
            Err(_) => return Shaken::Fault(Fault::HandshakeTime { limit }),
            Ok(Ok(0) | Err(_)) => return Shaken::Closed,
            Ok(Ok(count)) => count,
        };
        let piece = input.get(..count).unwrap_or_default();
        heard.extend_from_slice(piece.get(..piece.len().min(stranger::ENOUGH)).unwrap_or_default());
        match session.advance(begun.elapsed(), &mut { piece }) {
            Ok(Some(Event::Open(_))) => return Shaken::Fits,
            Ok(Some(_) | None) => {}
            Err(Fault::NotZmtp { at: 0, .. }) => return Shaken::Stranger(heard),
            Err(fault) => return Shaken::Fault(fault),
        }
    }
}

async fn protocol(shaken: Shaken, address: Option<SocketAddr>, limit: Duration) -> Link {
    const NAME: &str = "protocol";
    match shaken {
        Shaken::Fits => Link::whole(NAME, "speaks ZeroMQ and takes commands"),
        Shaken::Fault(Fault::Incompatible { theirs, .. }) if matches!(theirs.as_str(), "PUB" | "XPUB") => {
            let text = format!("a {theirs} socket listens there: events or figures, not commands");
            Link::broken(NAME, text, beside(address).await)
        }
        Shaken::Fault(Fault::Incompatible { theirs, .. }) => {
            let text =
                format!("a ZeroMQ socket of type {theirs} listens there, which is no circusd's endpoint");
            Link::broken(NAME, text, beside(address).await)
        }
        Shaken::Fault(Fault::Mechanism { theirs, .. }) => secured(&theirs),
        Shaken::Fault(Fault::Version { major }) => {
            let text = format!("it speaks ZMTP {major}, of a ZeroMQ before version 4");
            Link::broken(NAME, text, "install pyzmq with libzmq 4 or newer there")
        }
        Shaken::Fault(Fault::HandshakeTime { .. }) => {
            Link::broken(NAME, "it begins to greet and does not finish", "the program there hangs")
        }
        Shaken::Fault(fault) => Link::broken(NAME, fault.to_string(), beside(address).await),
        Shaken::Stranger(heard) => {
            let who = stranger::by_words(&heard).unwrap_or_else(|| stranger::quoted(&heard));
            Link::broken(NAME, format!("{who} listens there, not a circusd"), beside(address).await)
        }
        Shaken::Closed | Shaken::Silent => {
            let quiet = matches!(shaken, Shaken::Silent);
            let who = match address {
                Some(address) => stranger::ask(address, STRANGER_TIME.min(limit)).await,
                None => None,
            };
            let secret = match address.filter(|_| who.is_none()) {
                Some(address) => mechanism_at(address).await,
                None => None,
            };
            match who {
                None if secret.is_some() => secured(&secret.unwrap_or_default()),
                Some(who) => {
                    Link::broken(NAME, format!("{who} listens there, not a circusd"), beside(address).await)
                }
                None if quiet => {
                    let text = format!("it accepts connections and says nothing for {limit:?}");
                    let remedy = "a circusd that is frozen (`ps` there shows T: kill -CONT PID) or hangs; \
                                  or another program";
                    Link::broken("daemon", text, remedy)
                }
                None => {
                    let text = "it accepts connections and closes them at once";
                    let remedy = "no circusd listens there, or it is just ending, or has no descriptors left";
                    Link::broken(NAME, text, remedy)
                }
            }
        }
    }
}

fn secured(mechanism: &str) -> Link {
    let text = format!("it demands the security mechanism {mechanism}; a circusd has none");
    Link::broken("protocol", text, "another program is behind this port, or a proxy in front of circusd")
}

/// What a ZeroMQ peer demands that closes as soon as it hears that we have nothing: it tells when it
/// knows no more of us than our version.
async fn mechanism_at(address: SocketAddr) -> Option<String> {
    let mut ours = BytesMut::new();
    greeting::encode("NULL", false, &mut ours);
    let talk = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(ours.get(..VERSION_LENGTH)?).await.ok()?;
        let mut theirs = [0; greeting::GREETING_LENGTH];
        stream.read_exact(&mut theirs).await.ok()?;
        match GreetingReader::new("NULL").advance(&mut &theirs[..]) {
            Err(Fault::Mechanism { theirs, .. }) => Some(theirs),
            Ok(_) | Err(_) => None,
        }
    };
    timeout(BESIDE_TIME, talk).await.ok().flatten()
}

/// Whether the default port of the same host is the one that was meant.
async fn beside(address: Option<SocketAddr>) -> String {
    let found = match address.filter(|address| address.port() != DEFAULT_PORT) {
        Some(address) => control_at(SocketAddr::new(address.ip(), DEFAULT_PORT)).await,
        None => None,
    };
    found.unwrap_or_else(|| {
        "use the port of `endpoint` in its ini: --port, or host:port in the SPEC".to_owned()
    })
}

async fn control_at(address: SocketAddr) -> Option<String> {
    let stream = timeout(BESIDE_TIME, TcpStream::connect(address)).await.ok()?.ok()?;
    match shake(stream, BESIDE_TIME).await {
        Shaken::Fits => Some(format!(
            "a circusd's commands are taken on port {}: --port {}",
            address.port(),
            address.port()
        )),
        Shaken::Fault(_) | Shaken::Stranger(_) | Shaken::Closed | Shaken::Silent => None,
    }
}

fn silence(limit: Duration) -> String {
    format!("no answer within {limit:?}")
}

/// The system's words without its number.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

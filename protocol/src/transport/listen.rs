//! Binding: from an endpoint to listeners. Knows what stands in the way of binding and says it;
//! knows nothing of what will be spoken.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::task::{Context, Poll};

use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream, lookup_host};

use super::peer::Origin;
use super::stream::Stream;
use crate::endpoint::{Endpoint, Host, HostPort};

/// How many connections the kernel may keep for us.
const BACKLOG: u32 = 1_024;

/// Why an endpoint cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Nothing to bind was given.
    #[error("no endpoint to bind was given")]
    None,
    /// udp is for discovery; no ZeroMQ socket lives there.
    #[error("cannot bind {endpoint}: a ZeroMQ socket needs tcp:// or ipc://")]
    Scheme {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// The host is neither an interface nor a name that resolves.
    #[error("cannot bind {endpoint}: no interface and no host of this name ({source})")]
    Host {
        /// What was to be bound.
        endpoint: Endpoint,
        /// What the resolver said.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("cannot bind {endpoint}: another process listens there; stop it or choose another endpoint")]
    InUse {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// Something that is not a socket has the path.
    #[error("cannot bind {endpoint}: the path exists and is not a socket; remove it or choose another")]
    NotASocket {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// The system refused.
    #[error("cannot bind {endpoint}: {source}")]
    Io {
        /// What was to be bound.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

/// Something bound.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Ipc { listener: UnixListener, _file: SocketFile },
}

/// Removes the file of an ipc endpoint, unless somebody replaced it meanwhile.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Binds, and returns what was really bound: the address and the port the system chose.
    pub(super) async fn bind(endpoint: &Endpoint, ipc_mode: u32) -> Result<(Self, Endpoint), BindError> {
        match endpoint {
            Endpoint::Tcp(at) => tcp(endpoint, at).await,
            Endpoint::Ipc(path) => ipc(endpoint, path, ipc_mode).await,
            Endpoint::Udp(_) => Err(BindError::Scheme { endpoint: endpoint.clone() }),
        }
    }

    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(Stream, Origin)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map(|accepted| Stream::tcp(accepted?.0)),
            Self::Ipc { listener, .. } => {
                listener.poll_accept(context).map(|accepted| Stream::ipc(accepted?.0))
            }
        }
    }
}

async fn tcp(endpoint: &Endpoint, at: &HostPort) -> Result<(Listener, Endpoint), BindError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { endpoint: endpoint.clone() },
        _ => BindError::Io { endpoint: endpoint.clone(), source },
    };
    let addresses = match &at.host {
        Host::Any => vec![SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port)],
        Host::Ip(ip) => vec![SocketAddr::new(*ip, at.port)],
        Host::Name(name) => match interface(name) {
            Some(ip) => vec![SocketAddr::new(ip, at.port)],
            None => match lookup_host((name.as_str(), at.port)).await {
                Ok(found) => found.collect(),
                Err(source) => return Err(BindError::Host { endpoint: endpoint.clone(), source }),
            },
        },
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match listen(address) {
            Ok(listener) => {
                let bound = listener.local_addr().map_err(failed)?;
                let bound = HostPort { host: Host::Ip(bound.ip()), port: bound.port() };
                return Ok((Listener::Tcp(listener), Endpoint::Tcp(bound)));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // So that a restarted daemon is not kept out by its own connections of a minute ago.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The address of a network interface, IPv4 first as libzmq does.
fn interface(name: &str) -> Option<IpAddr> {
    let all = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = all.filter(|found| found.interface_name == name).filter_map(|found| {
        let address = found.address?;
        let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        four.or_else(|| address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
    });
    addresses.min_by_key(IpAddr::is_ipv6)
}

async fn ipc(endpoint: &Endpoint, path: &str, mode: u32) -> Result<(Listener, Endpoint), BindError> {
    let failed = |source| BindError::Io { endpoint: endpoint.clone(), source };
    let socket = UnixSocket::new_stream().map_err(failed)?;
    let socket = match socket.bind(path) {
        Ok(()) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            replace_stale(endpoint, path).await?;
            let socket = UnixSocket::new_stream().map_err(failed)?;
            socket.bind(path).map_err(failed)?;
            socket
        }
        Err(error) => return Err(failed(error)),
    };
    let made = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.into(), identity: (made.dev(), made.ino()) };
    // Before listening: until then nobody can connect, whatever the umask was.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    Ok((Listener::Ipc { listener, _file: file }, endpoint.clone()))
}

/// A socket file outlives a killed process. Only one that nobody listens on is removed.
async fn replace_stale(endpoint: &Endpoint, path: &str) -> Result<(), BindError> {
    let failed = |source| BindError::Io { endpoint: endpoint.clone(), source };
    let found = fs::symlink_metadata(path).map_err(failed)?;
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { endpoint: endpoint.clone() });
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Ok(_) => Err(BindError::InUse { endpoint: endpoint.clone() }),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::InUse { endpoint: endpoint.clone() })
        }
        Err(error) => Err(failed(error)),
    }
}

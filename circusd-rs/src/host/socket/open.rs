//! One managed socket: created, bound, changed in place, closed with its file removed.
//!
//! It refuses to know names of watchers and other sockets.

use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use crate::arbiter::input::{BoundAddress, BoundSocket};
use crate::config::socket::{SocketAddress, SocketConfig, SocketKind};

/// The mode of a socket file before its umask.
const FULL_MODE: u32 = 0o777;

/// Why there is no such socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its host has no address of that family.
    #[error("Failed to create socket '{name}': host {host:?}: {reason}")]
    Host {
        /// Whose.
        name: String,
        /// As configured.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// The kernel knows no such kind of socket.
    #[error("Failed to create socket '{name}': {source}")]
    Create {
        /// Whose.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// There is something else.
    #[error(
        "socket '{name}': Could not bind {place}: {place} already exists. You might want to remove it, or to set `replace = True`"
    )]
    Exists {
        /// Whose.
        name: String,
        /// The path.
        place: String,
    },
    /// The address is taken, or is none of ours.
    #[error("socket '{name}': Could not bind {place}: {source}")]
    Bind {
        /// Whose.
        name: String,
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// An option that the kernel refuses.
    #[error("socket '{name}': {option}: {source}")]
    Option {
        /// Whose.
        name: String,
        /// As in the file, with its value.
        option: String,
        /// Why.
        source: io::Error,
    },
}

impl SocketError {
    /// Whether stock would go on without this socket, and so do we.
    pub(super) fn is_passed_over(&self) -> bool {
        match self {
            Self::Host { .. } | Self::Create { .. } => true,
            Self::Exists { .. } | Self::Bind { .. } | Self::Option { .. } => false,
        }
    }
}

/// Where a socket is to be bound; a name of a host has become an address.
pub(super) fn resolve(config: &SocketConfig) -> Result<SockAddr, SocketError> {
    let failed = |host: &str, reason: String| SocketError::Host {
        name: config.name.clone(),
        host: host.to_owned(),
        reason,
    };
    match &config.address {
        SocketAddress::Inet { host, port, six } => {
            let mut found =
                (host.as_str(), *port).to_socket_addrs().map_err(|error| failed(host, error.to_string()))?;
            let found = found.find(|address| address.is_ipv6() == *six);
            let family = if *six { "AF_INET6" } else { "AF_INET" };
            found.map(SockAddr::from).ok_or_else(|| failed(host, format!("has no address of {family}")))
        }
        SocketAddress::Unix { path, .. } => SockAddr::unix(path).map_err(|source| SocketError::Bind {
            name: config.name.clone(),
            place: config.place(),
            source,
        }),
    }
}

/// An open socket. Dropping it closes it and removes its file.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) config: SocketConfig,
    pub(super) fd: OwnedFd,
    /// Where it is, with the real port.
    address: SockAddr,
    _file: Option<File>,
}

/// A socket's own file, known by more than its name.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for File {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Open {
    /// Create, bind and listen. One with `so_reuseport` only keeps a place: every process gets its own.
    pub(super) fn new(config: SocketConfig, address: &SockAddr) -> Result<Self, SocketError> {
        let socket = create(&config, address)?;
        let keeps_port = config.kind.listens() && wants_any_port(address);
        let file = match (&config.address, config.so_reuseport) {
            (_, true) if !keeps_port => None,
            // Bound, so that all get the same port, but without listening.
            (SocketAddress::Inet { .. }, _) => {
                bind(&socket, &config, address)?;
                None
            }
            (SocketAddress::Unix { path, umask, replace }, _) => {
                Some(bind_file(&socket, &config, address, Path::new(path), *umask, *replace)?)
            }
        };
        if !config.so_reuseport {
            listen(&SockRef::from(&socket), &config)?;
        }
        let bound = if file.is_none() { socket.local_addr().ok() } else { None };
        let address = bound.filter(has_port).unwrap_or_else(|| address.clone());
        Ok(Self { config, fd: socket.into(), address, _file: file })
    }

    /// One more at the same place, for one process.
    pub(super) fn fresh(&self) -> Result<OwnedFd, SocketError> {
        let socket = create(&self.config, &self.address)?;
        bind(&socket, &self.config, &self.address)?;
        listen(&SockRef::from(&socket), &self.config)?;
        Ok(socket.into())
    }

    /// Become what the file says now, where it is.
    pub(super) fn adjust(&mut self, config: SocketConfig) -> Result<(), SocketError> {
        let socket = SockRef::from(&self.fd);
        set_options(&socket, &config)?;
        if !config.so_reuseport {
            listen(&socket, &config)?;
        }
        if let SocketAddress::Unix { path, umask, .. } = &config.address {
            set_mode(Path::new(path), *umask).map_err(|source| bind_error(&config, source))?;
        }
        self.config = config;
        Ok(())
    }

    /// Closed, and what it takes to open it again.
    pub(super) fn close(self) -> (SocketConfig, SockAddr) {
        (self.config.clone(), self.address.clone())
    }

    pub(super) fn number(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn told(&self) -> BoundSocket {
        let address = match (&self.config.address, self.address.as_socket()) {
            (SocketAddress::Inet { .. }, Some(address)) => {
                BoundAddress::Inet { host: address.ip().to_string(), port: address.port() }
            }
            (SocketAddress::Inet { host, port, .. }, None) => {
                BoundAddress::Inet { host: host.clone(), port: *port }
            }
            (SocketAddress::Unix { path, .. }, _) => BoundAddress::Unix { path: path.clone() },
        };
        BoundSocket { config: self.config.clone(), fd: self.number(), address }
    }
}

fn has_port(address: &SockAddr) -> bool {
    address.as_socket().is_some_and(|address| address.port() != 0)
}

fn wants_any_port(address: &SockAddr) -> bool {
    address.as_socket().is_some_and(|address| address.port() == 0)
}

fn create(config: &SocketConfig, address: &SockAddr) -> Result<Socket, SocketError> {
    let kind = match config.kind {
        SocketKind::Stream => Type::STREAM,
        SocketKind::Datagram => Type::DGRAM,
        SocketKind::Raw => Type::from(libc::SOCK_RAW),
        SocketKind::Rdm => Type::from(libc::SOCK_RDM),
        SocketKind::SeqPacket => Type::SEQPACKET,
    };
    let protocol = (config.proto != 0).then(|| Protocol::from(config.proto));
    let domain = Domain::from(i32::from(address.family()));
    let socket = Socket::new(domain, kind, protocol)
        .map_err(|source| SocketError::Create { name: config.name.clone(), source })?;
    let option =
        |option: &str, result: io::Result<()>| result.map_err(|source| option_error(config, option, source));
    option("SO_REUSEADDR", socket.set_reuse_address(true))?;
    if config.so_reuseport {
        option("so_reuseport = True", socket.set_reuse_port(true))?;
    }
    set_options(&SockRef::from(&socket), config)?;
    Ok(socket)
}

fn set_options(socket: &SockRef<'_>, config: &SocketConfig) -> Result<(), SocketError> {
    let interface = config.interface.as_deref();
    if interface.is_some() || socket.device().ok().flatten().is_some() {
        let option = format!("interface = {}", interface.unwrap_or_default());
        socket
            .bind_device(interface.map(str::as_bytes))
            .map_err(|source| option_error(config, &option, source))?;
    }
    let option = format!("blocking = {}", config.blocking);
    socket.set_nonblocking(!config.blocking).map_err(|source| option_error(config, &option, source))
}

fn option_error(config: &SocketConfig, option: &str, source: io::Error) -> SocketError {
    SocketError::Option { name: config.name.clone(), option: option.to_owned(), source }
}

fn bind_error(config: &SocketConfig, source: io::Error) -> SocketError {
    SocketError::Bind { name: config.name.clone(), place: config.place(), source }
}

fn bind(socket: &Socket, config: &SocketConfig, address: &SockAddr) -> Result<(), SocketError> {
    socket.bind(address).map_err(|source| bind_error(config, source))
}

fn listen(socket: &SockRef<'_>, config: &SocketConfig) -> Result<(), SocketError> {
    if !config.kind.listens() {
        return Ok(());
    }
    socket.listen(config.backlog).map_err(|source| bind_error(config, source))
}

/// The mode is given to the socket before it has a file, so that nobody whom the umask shuts out can
/// connect in between; the daemon's own umask takes away, never adds.
fn bind_file(
    socket: &Socket,
    config: &SocketConfig,
    address: &SockAddr,
    path: &Path,
    umask: u32,
    replace: bool,
) -> Result<File, SocketError> {
    let failed = |source| bind_error(config, source);
    if let Ok(found) = fs::symlink_metadata(path) {
        if !replace {
            return Err(SocketError::Exists { name: config.name.clone(), place: config.place() });
        }
        if !found.file_type().is_socket() {
            tracing::warn!("socket '{}': {} is removed, and was no socket", config.name, path.display());
        }
        fs::remove_file(path).map_err(failed)?;
    }
    let mode = Mode::from_bits_truncate((FULL_MODE & !umask) as libc::mode_t);
    fchmod(socket, mode).map_err(|errno| failed(errno.into()))?;
    bind(socket, config, address)?;
    let file = File { path: path.to_owned(), identity: identity(path).map_err(failed)? };
    set_mode(path, umask).map_err(failed)?;
    Ok(file)
}

fn set_mode(path: &Path, umask: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(FULL_MODE & !umask))
}

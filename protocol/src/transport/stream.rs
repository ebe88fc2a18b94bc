//! A byte stream, tcp or ipc, with the kernel options every connection gets. Knows no protocol.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::limits::{TCP_KEEPALIVE, TCP_KEEPALIVE_COUNT, TCP_KEEPALIVE_INTERVAL, TCP_USER_TIMEOUT};
use super::peer::{Credentials, Origin};

/// An established connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Ipc(UnixStream),
}

impl Stream {
    /// Takes a tcp connection, and asks the kernel not to delay and to notice a dead peer.
    pub(super) fn tcp(stream: TcpStream) -> io::Result<(Self, Origin)> {
        let origin = Origin::Tcp(stream.peer_addr()?);
        stream.set_nodelay(true)?;
        watch(&stream)?;
        Ok((Self::Tcp(stream), origin))
    }

    /// Takes an ipc connection, and asks the kernel who is there.
    pub(super) fn ipc(stream: UnixStream) -> io::Result<(Self, Origin)> {
        let who = stream.peer_cred()?;
        let origin = Origin::Ipc(Credentials { pid: who.pid(), uid: who.uid(), gid: who.gid() });
        Ok((Self::Ipc(stream), origin))
    }

    /// Reads, or asks to be woken. A read that leaves the buffer unfilled saves asking again.
    pub(super) fn poll_read(&mut self, context: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(to);
        let polled = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, &mut buffer),
            Self::Ipc(stream) => Pin::new(stream).poll_read(context, &mut buffer),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    pub(super) fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Ipc(stream) => stream.poll_write_ready(context),
        }
    }

    pub(super) fn try_write(&self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(from),
            Self::Ipc(stream) => stream.try_write(from),
        }
    }
}

#[cfg(target_os = "linux")]
fn watch(stream: &impl AsFd) -> nix::Result<()> {
    let seconds = |time: core::time::Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let millis = u32::try_from(TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds(TCP_KEEPALIVE))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds(TCP_KEEPALIVE_INTERVAL))?;
    setsockopt(stream, sockopt::TcpKeepCount, &TCP_KEEPALIVE_COUNT)?;
    setsockopt(stream, sockopt::TcpUserTimeout, &millis)
}

#[cfg(not(target_os = "linux"))]
fn watch(stream: &impl AsFd) -> nix::Result<()> {
    setsockopt(stream, sockopt::KeepAlive, &true)
}

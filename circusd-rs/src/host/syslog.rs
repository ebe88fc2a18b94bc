//! syslog: one line, one datagram, to `host[:port]` (UDP) or to `/path` (a unix socket).
//!
//! It does not know whose lines they are: the daemon's log and the children's output both end here.

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Where syslog listens unless told otherwise.
const PORT: u16 = 514;

/// How urgent a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// What happens when the receiver is slower than we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Rather lose a line than stop the daemon.
    None,
    /// Wait a little: children can wait, and so can what they wait for.
    Some(Duration),
}

/// A connected syslog.
#[derive(Debug)]
pub(crate) struct Syslog {
    facility: u8,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Syslog {
    /// `place` is `/path`, `host` or `host:port`.
    pub(crate) fn open(place: &str, facility: u8, patience: Patience) -> io::Result<Self> {
        let socket = if place.starts_with('/') {
            let socket = UnixDatagram::unbound()?;
            socket.connect(place)?;
            match patience {
                Patience::None => socket.set_nonblocking(true)?,
                Patience::Some(time) => socket.set_write_timeout(Some(time))?,
            }
            Socket::Unix(socket)
        } else {
            let (host, port) =
                match place.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
                    Some((host, port)) => (host, port),
                    None => (place, PORT),
                };
            let socket = UdpSocket::bind(("0.0.0.0", 0))?;
            socket.connect((host, port))?;
            socket.set_nonblocking(true)?;
            Socket::Udp(socket)
        };
        Ok(Self { facility, socket })
    }

    pub(crate) fn send(&self, severity: Severity, line: &[u8]) -> io::Result<()> {
        let priority = u16::from(self.facility) * 8 + severity as u16;
        let datagram = [format!("<{priority}>").as_bytes(), line, b"\0"].concat();
        match &self.socket {
            Socket::Udp(socket) => socket.send(&datagram).map(drop),
            Socket::Unix(socket) => socket.send(&datagram).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::facility::{USER, facility};

    #[test]
    fn a_line_is_one_datagram_with_facility_and_severity() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let local3 = facility("local3").unwrap();
        let syslog = Syslog::open(&format!("127.0.0.1:{port}"), local3, Patience::None).unwrap();
        syslog.send(Severity::Info, b"Nov 22 07:49:59 circus[3865] [INFO] One started").unwrap();
        let mut told = [0; 200];
        let len = listener.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"<158>Nov 22 07:49:59 circus[3865] [INFO] One started\0");
        assert!(Syslog::open("/nonexistent/log", USER, Patience::None).is_err());
    }
}

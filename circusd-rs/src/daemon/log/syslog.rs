//! syslog, as `syslog://host[:port]?facility` (UDP) or `syslog:///path?facility` (a unix socket).

use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

/// Where syslog listens unless told otherwise.
const PORT: u16 = 514;

/// The facility when none, or an unknown one, is named.
const USER: u8 = 1;

/// A connected syslog.
#[derive(Debug)]
pub(in crate::daemon) struct Syslog {
    facility: u8,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Syslog {
    /// `address` is what follows `syslog://`.
    pub(super) fn open(address: &str) -> io::Result<Self> {
        let (place, facility) = address.split_once('?').unwrap_or((address, "user"));
        let socket = if place.starts_with('/') {
            let socket = UnixDatagram::unbound()?;
            socket.connect(place)?;
            // Rather lose a line than stop the daemon when nobody reads.
            socket.set_nonblocking(true)?;
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
        Ok(Self { facility: facility_number(facility), socket })
    }

    pub(super) fn send(&self, level: tracing::Level, line: &str) -> io::Result<()> {
        let severity = match level {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            tracing::Level::DEBUG | tracing::Level::TRACE => 7,
        };
        let datagram = format!("<{}>{line}\0", u16::from(self.facility) * 8 + severity);
        match &self.socket {
            Socket::Udp(socket) => socket.send(datagram.as_bytes()).map(drop),
            Socket::Unix(socket) => socket.send(datagram.as_bytes()).map(drop),
        }
    }
}

fn facility_number(name: &str) -> u8 {
    const NAMES: [(&str, u8); 20] = [
        ("kern", 0),
        ("user", 1),
        ("mail", 2),
        ("daemon", 3),
        ("auth", 4),
        ("syslog", 5),
        ("lpr", 6),
        ("news", 7),
        ("uucp", 8),
        ("cron", 9),
        ("authpriv", 10),
        ("ftp", 11),
        ("local0", 16),
        ("local1", 17),
        ("local2", 18),
        ("local3", 19),
        ("local4", 20),
        ("local5", 21),
        ("local6", 22),
        ("local7", 23),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map_or(USER, |(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_datagram_with_facility_and_severity() {
        let listener = UdpSocket::bind("127.0.0.1:0").unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let syslog = Syslog::open(&format!("127.0.0.1:{port}?local3")).unwrap();
        syslog.send(tracing::Level::INFO, "Nov 22 07:49:59 circus[3865] [INFO] One started").unwrap();
        let mut told = [0; 200];
        let len = listener.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"<158>Nov 22 07:49:59 circus[3865] [INFO] One started\0");
        assert!(Syslog::open("/nonexistent/log").is_err());
        assert_eq!(facility_number("zorg"), USER);
    }
}

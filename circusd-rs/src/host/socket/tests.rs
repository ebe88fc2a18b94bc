//! Real sockets on loopback: what is bound, handed over, changed and removed.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::*;
use crate::arbiter::input::BoundAddress;
use crate::config::socket::{SocketAddress, SocketKind};

fn inet(name: &str, port: u16) -> SocketConfig {
    let address = SocketAddress::Inet { host: "127.0.0.1".to_owned(), port, six: false };
    let (kind, backlog) = (SocketKind::Stream, 16);
    let (so_reuseport, blocking, interface) = (false, false, None);
    SocketConfig {
        name: name.to_owned(),
        address,
        kind,
        proto: 0,
        backlog,
        so_reuseport,
        blocking,
        interface,
    }
}

fn file(name: &str, path: &str, umask: u32) -> SocketConfig {
    let address = SocketAddress::Unix { path: path.to_owned(), umask, replace: false };
    SocketConfig { address, ..inet(name, 0) }
}

fn port(sockets: &Sockets, name: &str) -> u16 {
    let told = sockets.told();
    match &told.iter().find(|socket| socket.config.name == name).expect("a socket").address {
        BoundAddress::Inet { port, .. } => *port,
        BoundAddress::Unix { path } => panic!("{path} has no port"),
    }
}

fn change(sockets: &mut Sockets, changes: Vec<SocketChange>) -> Vec<String> {
    let (ready, errors) = prepare(changes);
    assert_eq!(errors, Vec::<String>::new());
    sockets.apply(ready)
}

#[tokio::test]
async fn a_file_has_its_mode_and_goes_with_its_socket_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let config = file("a", path.to_str().unwrap(), 0o115);
    let sockets = Sockets::open(std::slice::from_ref(&config)).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o662);
    UnixStream::connect(&path).unwrap();
    let error = Sockets::open(std::slice::from_ref(&config)).unwrap_err().to_string();
    assert!(error.contains("already exists"), "{error}");
    // Somebody else has taken its name in between.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    drop(sockets);
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    drop(Sockets::open(&[config]).unwrap());
    assert!(!path.exists());
}

#[tokio::test]
async fn what_cannot_be_bound_anew_is_as_it_was() {
    let mut sockets = Sockets::open(&[inet("a", 0)]).unwrap();
    let before = port(&sockets, "a");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = taken.local_addr().unwrap().port();
    let errors = change(&mut sockets, vec![SocketChange::Rebind(inet("a", there))]);
    assert!(errors[0].contains(&format!("Could not bind 127.0.0.1:{there}")), "{errors:?}");
    assert_eq!(port(&sockets, "a"), before);
    TcpStream::connect(("127.0.0.1", before)).unwrap();
    drop(taken);
    assert_eq!(change(&mut sockets, vec![SocketChange::Rebind(inet("a", there))]), Vec::<String>::new());
    TcpStream::connect(("127.0.0.1", there)).unwrap();
    let gone = TcpStream::connect(("127.0.0.1", before)).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn fresh_sockets_share_a_port_that_the_daemon_does_not_serve() {
    let config = SocketConfig { so_reuseport: true, ..inet("a", 0) };
    let sockets = Sockets::open(&[config]).unwrap();
    let there = ("127.0.0.1", port(&sockets, "a"));
    assert_ne!(there.1, 0);
    TcpStream::connect(there).unwrap_err();
    let wanted = SocketUse { inherit: true, fresh: ["a".to_owned()].into(), stdin: None };
    let (one, two) = (sockets.give(&wanted).unwrap(), sockets.give(&wanted).unwrap());
    TcpStream::connect(there).unwrap();
    let words = one.words(&["x".to_owned(), format!("--fd={}", fresh_socket("a"))]).unwrap();
    assert_eq!(words[1], format!("--fd={}", one.keep[1]));
    assert_ne!(one.keep[1], two.keep[1]);
    drop((one, two));
    TcpStream::connect(there).unwrap_err();
}

#[tokio::test]
async fn a_watched_socket_tells_once_until_it_is_watched_again() {
    let mut sockets = Sockets::open(&[inet("a", 0), inet("b", 0)]).unwrap();
    let (tell, mut told) = mpsc::channel(4);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    sockets.watch_all(&names(&["a", "b"]), &tell, |name| name);
    let _waiting = TcpStream::connect(("127.0.0.1", port(&sockets, "a"))).unwrap();
    assert_eq!(told.recv().await.as_deref(), Some("a"));
    assert!(sockets.knocked("a") && !sockets.knocked("a"));
    // Nobody has accepted: the next watch tells at once.
    sockets.watch_all(&names(&["a"]), &tell, |name| name);
    assert_eq!(told.recv().await.as_deref(), Some("a"));
    assert!(!sockets.knocked("b"));
}

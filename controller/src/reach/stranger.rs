//! Who listens where a circusd was expected: by what it says unasked, or to HTTP, or to TLS.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// So many bytes tell who it is.
pub(super) const ENOUGH: usize = 256;

/// The first message of a TLS 1.2 client that offers one cipher, which every server answers, if only
/// by an alert.
const TLS_HELLO: &[u8] = &[
    0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
    19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 0, 0, 2, 0xc0, 0x2f, 1, 0,
];

/// Asks who it is, on connections of their own.
pub(super) async fn ask(address: SocketAddr, limit: Duration) -> Option<String> {
    for words in [&b"GET / HTTP/1.0\r\n\r\n"[..], TLS_HELLO] {
        if let Some(who) = by_words(&hear(address, words, limit).await) {
            return Some(who);
        }
    }
    None
}

async fn hear(address: SocketAddr, words: &[u8], limit: Duration) -> Vec<u8> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(words).await.ok()?;
        let mut heard = vec![0; ENOUGH];
        let count = stream.read(&mut heard).await.ok()?;
        heard.truncate(count);
        Some(heard)
    };
    timeout(limit, talk).await.ok().flatten().unwrap_or_default()
}

/// Who speaks like that.
pub(super) fn by_words(heard: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(heard);
    let line = |text: &str| text.lines().next().unwrap_or_default().chars().take(60).collect::<String>();
    if text.starts_with("HTTP/") || text.starts_with("<!DOCTYPE") || text.starts_with("<html") {
        let server = text.lines().find_map(|line| line.strip_prefix("Server: ")).map(line);
        return Some(
            server.map_or("an HTTP server".to_owned(), |server| format!("an HTTP server ({server})")),
        );
    }
    if text.starts_with("SSH-") {
        return Some(format!("an SSH server ({})", line(&text)));
    }
    // An alert or a handshake record of version 3.x.
    if let [0x15 | 0x16, 3, ..] = heard {
        return Some("a TLS server".to_owned());
    }
    if text.starts_with("-ERR") || text.starts_with("+OK") {
        return Some(format!("a server that says {:?}", line(&text)));
    }
    let speaks = text.starts_with("220 ") || text.starts_with("* OK");
    speaks.then(|| format!("a mail or file server ({})", line(&text)))
}

/// Somebody unknown, by its first bytes.
pub(super) fn quoted(heard: &[u8]) -> String {
    let start: String = heard.iter().take(24).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    format!("somebody who begins with \"{start}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_by_their_words() {
        for (heard, who) in [
            (&b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6\r\n"[..], "an HTTP server (SimpleHTTP/0.6)"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server (SSH-2.0-OpenSSH_9.2)"),
            (&[0x15, 3, 1, 0, 2, 2, 70], "a TLS server"),
            (b"-ERR unknown command", "a server that says \"-ERR unknown command\""),
        ] {
            assert_eq!(by_words(heard).as_deref(), Some(who));
        }
        assert_eq!(by_words(b"\xff\0"), None);
        assert_eq!(quoted(b"a\0b"), "somebody who begins with \"a\\x00b\"");
    }

    #[test]
    fn the_hello_is_as_long_as_it_says() {
        let length = usize::from(TLS_HELLO[3]) * 256 + usize::from(TLS_HELLO[4]);
        assert_eq!(TLS_HELLO.len(), 5 + length);
        assert_eq!(usize::from(TLS_HELLO[8]), TLS_HELLO.len() - 9);
    }
}

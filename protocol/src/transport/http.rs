//! One GET over plain http: [`get`] wants the status in the end, redirections followed; [`fetch`] the
//! answer as it comes, with its body.
//!
//! Small on purpose: no TLS, no connections kept, no compression. It refuses to know time; whoever
//! asks decides how long to wait.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Redirections followed.
const REDIRECTS: usize = 5;

/// Longest head of an answer.
const HEAD: usize = 64 * 1024;

/// How much of a body is read; more is of no interest.
const BODY: usize = 16 * 1024 * 1024;

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No address that can be asked.
    #[error("{0:?} is no http:// address")]
    Url(String),
    /// The system said no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody answered in another language.
    #[error("the answer is not http")]
    Answer,
    /// It leads in a circle, or nearly.
    #[error("more than {REDIRECTS} redirections")]
    Redirects,
}

/// Where to ask, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Url {
    host: String,
    port: u16,
    path: String,
}

impl Url {
    fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let rest = rest.split('#').next()?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let path = if path.starts_with('?') { format!("/{path}") } else { path.to_owned() };
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, 80),
        };
        let strange = |c: char| c.is_whitespace() || c.is_control();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (!host.is_empty() && !host.contains('@') && !text.contains(strange)).then_some(Self {
            host,
            port,
            path,
        })
    }

    fn request(&self, authorization: Option<&str>) -> String {
        let Self { host, port, path } = self;
        let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let authority = if *port == 80 { shown } else { format!("{shown}:{port}") };
        let authorization =
            authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nAccept: */*\r\n\
             User-Agent: circusd-rs/{}\r\n{authorization}\r\n",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Where a `Location` leads from here.
    fn follow(&self, location: &str) -> Result<Self, RequestError> {
        let text = if location.starts_with('/') {
            let Self { host, port, .. } = self;
            let shown = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            format!("http://{shown}:{port}{location}")
        } else {
            location.to_owned()
        };
        Self::parse(&text).ok_or(RequestError::Url(text))
    }
}

/// What of an answer is of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    status: u16,
    location: Option<String>,
    length: Option<usize>,
    chunked: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What came with it, up to the limit.
    pub body: Vec<u8>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let mut first = lines.next()?.split_ascii_whitespace();
        first.next().filter(|version| version.starts_with("HTTP/1."))?;
        let mut head =
            Self { status: first.next()?.parse().ok()?, location: None, length: None, chunked: false };
        for (key, value) in lines.filter_map(|line| line.split_once(':')) {
            match key.to_ascii_lowercase().as_str() {
                "location" => head.location = Some(value.trim().to_owned()),
                "transfer-encoding" => head.chunked = value.to_ascii_lowercase().contains("chunked"),
                "content-length" => head.length = value.trim().parse().ok(),
                _ => {}
            }
        }
        Some(head)
    }
}

/// The status of the answer in the end.
///
/// # Errors
/// When there is none.
pub async fn get(url: &str) -> Result<u16, RequestError> {
    let mut url = Url::parse(url).ok_or_else(|| RequestError::Url(url.to_owned()))?;
    for _ in 0..=REDIRECTS {
        let (head, _) = ask(&url, None, BODY, false).await?;
        match head.location {
            Some(location) if matches!(head.status, 301 | 302 | 303 | 307 | 308) => {
                url = url.follow(&location)?
            }
            Some(_) | None => return Ok(head.status),
        }
    }
    Err(RequestError::Redirects)
}

/// The answer to one request, with so many bytes of its body at most.
///
/// # Errors
/// When there is none.
pub async fn fetch(url: &str, authorization: Option<&str>, most: usize) -> Result<Answer, RequestError> {
    let url = Url::parse(url).ok_or_else(|| RequestError::Url(url.to_owned()))?;
    let (head, body) = ask(&url, authorization, most, true).await?;
    let body = if head.chunked { unchunked(&body) } else { body };
    Ok(Answer { status: head.status, body })
}

async fn ask(
    url: &Url,
    authorization: Option<&str>,
    most: usize,
    keep: bool,
) -> Result<(Head, Vec<u8>), RequestError> {
    let mut stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    stream.write_all(url.request(authorization).as_bytes()).await?;
    let mut bytes = Vec::new();
    let (head, begun) = loop {
        if let Some(end) = end_of_head(&bytes) {
            let head = bytes.get(..end).and_then(Head::parse).ok_or(RequestError::Answer)?;
            // An interim answer; the real one follows.
            if (100..200).contains(&head.status) {
                bytes.drain(..end);
                continue;
            }
            break (head, bytes.len() - end);
        }
        if bytes.len() > HEAD || stream.read_buf(&mut bytes).await? == 0 {
            return Err(RequestError::Answer);
        }
    };
    // The pieces of a chunked answer end themselves.
    let told = if head.chunked { None } else { head.length };
    let wanted = if matches!(head.status, 204 | 304) { 0 } else { told.unwrap_or(most).min(most) };
    let mut body = bytes.split_off(bytes.len() - begun);
    let mut read = body.len();
    let mut buffer = [0; 8192];
    while read < wanted && !(keep && head.chunked && body.ends_with(LAST_CHUNK)) {
        let more = match stream.read(&mut buffer).await? {
            0 => break,
            more => more,
        };
        read += more;
        if keep {
            body.extend_from_slice(buffer.get(..more).unwrap_or_default());
        }
    }
    body.truncate(wanted);
    Ok((head, body))
}

/// How a chunked answer ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The pieces of a body put together; what is no piece is left out.
fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, tail) = rest.split_at(end);
        let digits = String::from_utf8_lossy(line);
        let digits = digits.split(';').next().unwrap_or_default().trim();
        let Ok(length @ 1..) = usize::from_str_radix(digits, 16) else { break };
        let piece = tail.get(2..).unwrap_or_default();
        body.extend_from_slice(piece.get(..length.min(piece.len())).unwrap_or_default());
        rest = piece.get(length.saturating_add(2)..).unwrap_or_default();
    }
    body
}

/// The header for basic authentication.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
            let known = DIGITS.get(digit).copied().unwrap_or(b'=');
            text.push(char::from(if place <= three.len() { known } else { b'=' }));
        }
    }
    text
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn url(host: &str, port: u16, path: &str) -> Option<Url> {
        Some(Url { host: host.to_owned(), port, path: path.to_owned() })
    }

    #[test]
    fn addresses_are_taken_apart() {
        assert_eq!(Url::parse("http://localhost/"), url("localhost", 80, "/"));
        assert_eq!(Url::parse("http://127.0.0.1:8080?a=b#c"), url("127.0.0.1", 8080, "/?a=b"));
        assert_eq!(Url::parse("http://[::1]:81/x"), url("::1", 81, "/x"));
        assert_eq!(Url::parse("http://[::1]/x"), url("::1", 80, "/x"));
        let bad =
            ["https://a/", "http://", "http://a:b/", "http://u@a/", "http://a/b c", "http://a/\r\nX: y"];
        assert_eq!(bad.map(Url::parse), [const { None }; 6]);
        let here = Url::parse("http://a:81/x").unwrap();
        assert_eq!(here.follow("/y").ok(), url("a", 81, "/y"));
        assert_eq!(here.follow("http://b/").ok(), url("b", 80, "/"));
        assert!(here.follow("https://b/").is_err());
    }

    /// Answers each connection with the next text and closes.
    async fn server(answers: Vec<String>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut asked = Vec::new();
                while end_of_head(&asked).is_none() {
                    stream.read_buf(&mut asked).await.unwrap();
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn the_status_in_the_end_counts() {
        let answers = [
            "HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n\r\n",
        ];
        let port = server(answers.map(str::to_owned).into()).await;
        assert_eq!(get(&format!("http://127.0.0.1:{port}/")).await.unwrap(), 503);
        let port = server(vec!["HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".to_owned(); REDIRECTS + 1]).await;
        let round = get(&format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(round, Err(RequestError::Redirects)), "{round:?}");
        let port = server(vec!["SSH-2.0-x\r\n\r\n".to_owned()]).await;
        let other = get(&format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(other, Err(RequestError::Answer)), "{other:?}");
    }

    #[tokio::test]
    async fn a_body_is_what_was_said_not_how() {
        let answers = [
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nmaster and more",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nmas\r\n3;x\r\nter\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nmaster",
            "HTTP/1.1 404 No\r\nLocation: /x\r\n\r\nno master",
        ];
        let port = server(answers.map(str::to_owned).into()).await;
        for (status, body) in [(200, "master"), (200, "master"), (200, "master"), (404, "no mas")] {
            let answer = fetch(&format!("http://127.0.0.1:{port}/"), Some("Basic eA=="), 6).await;
            // A cut in the middle of a piece is a shorter piece.
            let most = if body == "master" { 64 } else { 6 };
            let answer = answer.map(|answer| (answer.status, answer.body.len() <= most));
            assert_eq!(answer.unwrap(), (status, true), "{body}");
        }
        let port = server(answers.map(str::to_owned).into()).await;
        for (status, body) in [(200, "master"), (200, "master"), (200, "master"), (404, "no master")] {
            let answer = fetch(&format!("http://127.0.0.1:{port}/"), None, 64).await.unwrap();
            assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).as_ref()), (status, body));
        }
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(["", "f", "fo", "foo"].map(|text| base64(text.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v"]);
        assert_eq!(unchunked(b"zz\r\n"), b"");
        assert_eq!(unchunked(b"ffffffffffffffff\r\nabc"), b"abc");
    }
}

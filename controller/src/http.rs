//! An HTTP server for those who look from outside: bounded, and shut down in order. What it serves is
//! somebody else's [`axum::Router`].
//!
//! Loopback is the rule: whoever listens elsewhere must have been told to, because nothing here knows
//! passwords.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at the same time; who comes later waits.
const CONNECTIONS: usize = 64;
/// Who has connected must have asked within this time, also for the second time.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// What a request's head may be long.
const HEAD: usize = 16 * 1024;
/// What those who are being answered may still take when the server ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// After a failure to accept, which most often is a lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address and a port.
    #[error("{0:?} is no ADDRESS:PORT, as 127.0.0.1:9911 or [::1]:9911")]
    Address(String),
    /// Everybody could reach it.
    #[error(
        "{0} can be reached from other machines, and whoever reaches it reads the names, states and figures of all \
         nodes without a password; listen on 127.0.0.1 and put a proxy with a password in front, or pass {1}"
    )]
    Exposed(SocketAddr, &'static str),
    /// The system says no.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
}

/// Listens; elsewhere than on loopback only when `exposed`, which `flag` says.
///
/// # Errors
/// See [`ListenError`].
pub async fn listen(text: &str, exposed: bool, flag: &'static str) -> Result<TcpListener, ListenError> {
    let address: SocketAddr = text.parse().map_err(|_| ListenError::Address(text.to_owned()))?;
    if !address.ip().to_canonical().is_loopback() && !exposed {
        return Err(ListenError::Exposed(address, flag));
    }
    TcpListener::bind(address).await.map_err(|error| ListenError::Bind(address, error))
}

/// Serves until `end` is told, or its sender is gone.
pub async fn serve(listener: TcpListener, router: Router, mut end: watch::Receiver<bool>) {
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            Some(_done) = connections.join_next() => continue,
            () = told(&mut end) => break,
        };
        let Some((stream, place)) = accepted else { return };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(ASK_WITHIN)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        let mut end = end.clone();
        connections.spawn(async move {
            let _place: OwnedSemaphorePermit = place;
            tokio::pin!(connection);
            tokio::select! {
                // Whoever sends nonsense or goes away is told by nobody: there is nobody to tell.
                _ended = connection.as_mut() => {}
                () = told(&mut end) => {
                    connection.as_mut().graceful_shutdown();
                    let _late = tokio::time::timeout(FAREWELL, connection).await;
                }
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Somebody wants the end, or has gone.
async fn told(end: &mut watch::Receiver<bool>) {
    let _told_or_gone = end.wait_for(|end| *end).await;
}

/// The next connection; `None` when nobody can be let in any more.
async fn accept(
    listener: &TcpListener,
    places: &std::sync::Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, OwnedSemaphorePermit)> {
    let place = std::sync::Arc::clone(places).acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Some((stream, place)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_unless_told() {
        let error = |text: &'static str| async move {
            listen(text, false, "--expose").await.expect_err("is refused")
        };
        for text in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9911", "[::ffff:192.0.2.1]:1"] {
            assert!(matches!(error(text).await, ListenError::Exposed(..)), "{text}");
        }
        assert!(matches!(error("localhost").await, ListenError::Address(_)));
        assert!(error("0.0.0.0:0").await.to_string().contains("pass --expose"));
        assert!(listen("127.0.0.1:0", false, "--expose").await.is_ok());
    }
}

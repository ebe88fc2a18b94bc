//! One address: is somebody there, is it a circusd, which one.

use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use circus_protocol::transport::{CallError, Client, DownReason, LinkOptions};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Daemon, Kind, Look};
use crate::cluster::answer::UNKNOWN_COMMAND;

/// The socket's own retries are not wanted: an address is asked once.
const NEVER: Duration = Duration::from_secs(3600);

/// How patient one question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection: what drops packets costs this long.
    pub connect: Duration,
    /// For each answer of whoever accepted.
    pub answer: Duration,
}

/// Finds out what listens there.
pub async fn look(endpoint: &Endpoint, patience: Patience) -> Look {
    // A plain connection first: whoever is not there must not cost a ZeroMQ socket, nor its deadline.
    match timeout(patience.connect, accepts(endpoint)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Look::Nobody(why(&error)),
        Err(_) => return Look::Nobody("no answer".to_owned()),
    }
    let options = LinkOptions {
        connect_time: patience.answer,
        first_pause: NEVER,
        longest_pause: NEVER,
        ..LinkOptions::default()
    };
    let mut client = match Client::with_options(endpoint.clone(), options) {
        Ok(client) => client,
        Err(error) => return Look::Other(error.to_string()),
    };
    match client.call("hello", json!({}), patience.answer).await {
        Ok(reply) => match kind(&reply) {
            Some(kind) => Look::Daemon(about(kind, &reply, &mut client, patience).await),
            None => Look::Other("its answer is not a circusd's".to_owned()),
        },
        Err(error) => Look::Other(words(&error)),
    }
}

async fn accepts(endpoint: &Endpoint) -> std::io::Result<()> {
    match endpoint {
        Endpoint::Tcp(at) | Endpoint::Udp(at) => TcpStream::connect(at.to_string()).await.map(drop),
        Endpoint::Ipc(path) => UnixStream::connect(path).await.map(drop),
    }
}

fn why(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

/// `None`: no daemon answers like that.
fn kind(reply: &Value) -> Option<Kind> {
    let text = |key: &str| reply.get(key).and_then(Value::as_str);
    match text("status")? {
        // It does not know the question, as a stock one must not.
        "error" => (reply.get("errno")?.as_i64()? == UNKNOWN_COMMAND).then_some(Kind::Stock),
        _ => {
            let version = text("version")?.to_owned();
            Some(Kind::Native { version, node: text("node").unwrap_or_default().to_owned() })
        }
    }
}

/// What else it tells; a daemon that answers no more is still a daemon.
async fn about(kind: Kind, hello: &Value, client: &mut Client, patience: Patience) -> Daemon {
    let mut ask = async |command: &str| client.call(command, json!({}), patience.answer).await.ok();
    let own = ask("dstats").await;
    let info = own.as_ref().and_then(|reply| reply.get("info"));
    let pid = info.and_then(|info| info.get("pid")).and_then(Value::as_i64);
    let started = info.and_then(|info| info.get("create_time")).and_then(Value::as_f64);
    let options = if kind == Kind::Stock { ask("globaloptions").await } else { None };
    let pubsub = match &options {
        Some(reply) => reply.pointer("/options/pubsub_endpoint"),
        None => hello.get("pubsub_endpoint"),
    };
    let pubsub = pubsub.and_then(Value::as_str).map(str::to_owned);
    let watchers = match &kind {
        Kind::Stock => ask("numwatchers").await.and_then(|reply| reply.get("numwatchers")?.as_u64()),
        Kind::Native { .. } => hello.get("watchers").and_then(Value::as_object).map(|all| all.len() as u64),
    };
    Daemon { kind, pid, started, pubsub, watchers }
}

fn words(error: &CallError) -> String {
    match error {
        CallError::Unreachable { reason: DownReason::Protocol(fault), .. } => {
            format!("no circusd's endpoint: {fault}")
        }
        CallError::Unreachable { reason, .. } => reason.to_string(),
        CallError::TimedOut { limit, .. } => {
            format!("accepts connections, but says nothing within {} s", limit.as_secs_f64())
        }
        CallError::BadReply { .. } => "its answer is not a circusd's".to_owned(),
        CallError::Busy { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_kinds_apart() {
        let native = json!({"status": "ok", "name": "circusd-rs", "version": "1.2", "node": "n"});
        assert_eq!(kind(&native), Some(Kind::Native { version: "1.2".to_owned(), node: "n".to_owned() }));
        let stock = json!({"status": "error", "reason": "unknown command: 'hello'", "errno": 2, "tb": null});
        assert_eq!(kind(&stock), Some(Kind::Stock));
        for other in [
            json!({}),
            json!({"status": "ok"}),
            json!({"status": "error", "errno": 3}),
            json!([1]),
            json!("ok"),
        ] {
            assert_eq!(kind(&other), None, "{other}");
        }
    }
}

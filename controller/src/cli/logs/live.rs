//! Live output of one node: its `log.*` topics, heard by a task for each node.
//!
//! The channel to the follower is bounded: when it is full the task waits, the connection fills, and
//! the node counts what it could not send and says so. It never blocks what is supervised.

use std::time::Duration;

use bytes::Bytes;
use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use circus_protocol::transport::{LinkEvent, LinkOptions, Subscriber};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A node's pubsub endpoint that does not answer so soon is not reachable from here.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// What a listener tells.
#[derive(Debug)]
pub(super) enum Heard {
    /// Everything that is published is heard soon.
    Up {
        /// On which node.
        node: usize,
    },
    /// Nothing is heard for now.
    Down {
        node: usize,
        /// For a person.
        reason: String,
    },
    /// Somebody printed something.
    Said { node: usize, said: Said },
}

/// Output as it was read from a pipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) name: String,
    /// stdout or stderr.
    pub(super) source: String,
    /// By the node's clock.
    pub(super) time: f64,
    pub(super) text: String,
    /// Bytes that are missing in front of it.
    pub(super) lost: u64,
}

/// A task that listens; dropping it ends the task.
#[derive(Debug)]
pub(super) struct Listener(JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Listens to these watchers of a node.
pub(super) fn listen(
    node: usize,
    endpoint: Endpoint,
    names: &[String],
    to: mpsc::Sender<Heard>,
) -> Result<Listener, String> {
    let options = LinkOptions { connect_time: CONNECT_TIME, ..LinkOptions::default() };
    let mut subscriber = Subscriber::connect(endpoint, options).map_err(|error| error.to_string())?;
    for topic in topics(names) {
        subscriber.subscribe(topic).map_err(|error| error.to_string())?;
    }
    Ok(Listener(tokio::spawn(async move {
        loop {
            let heard = match subscriber.recv().await {
                LinkEvent::Connected { .. } => Heard::Up { node },
                LinkEvent::Disconnected { reason, .. } => Heard::Down { node, reason: reason.to_string() },
                LinkEvent::Message(frames) => match read(&frames) {
                    Some(said) => Heard::Said { node, said },
                    None => continue,
                },
            };
            if to.send(heard).await.is_err() {
                return;
            }
        }
    })))
}

/// What is subscribed to: names as they are and as events spell them; of globs, what they begin with.
fn topics(names: &[String]) -> Vec<String> {
    if names.is_empty() {
        return vec!["log.".to_owned()];
    }
    let mut topics = Vec::new();
    for name in names {
        let plain = name.split(['*', '?', '[']).next().unwrap_or_default();
        let end = if plain.len() == name.len() { "." } else { "" };
        for spelling in [plain.to_owned(), plain.to_lowercase()] {
            let topic = format!("log.{spelling}{end}");
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
    }
    topics
}

/// `log.NAME.WID.STREAM` and its message.
fn read(frames: &[Bytes]) -> Option<Said> {
    let [topic, payload, ..] = frames else { return None };
    let topic = std::str::from_utf8(topic).ok()?.strip_prefix("log.")?;
    let (rest, source) = topic.rsplit_once('.')?;
    let (name, _wid) = rest.rsplit_once('.')?;
    let mut message: Value = serde_json::from_slice(payload).ok()?;
    let text = match message.get_mut("text").map(Value::take) {
        Some(Value::String(text)) => text,
        _ => return None,
    };
    let time = message.get("time")?.as_f64()?;
    let lost = message.get("lost").and_then(Value::as_u64).unwrap_or(0);
    Some(Said { name: name.to_owned(), source: source.to_owned(), time, text, lost })
}

/// Where a node's events can be heard from here, by what it says itself: `None` when only it can.
pub(super) fn reachable(control: &Endpoint, pubsub: &str) -> Option<Endpoint> {
    let told: Endpoint = pubsub.parse().ok()?;
    match (control, told) {
        (Endpoint::Tcp(control), Endpoint::Tcp(told)) if is_any(&told) && told.port > 0 => {
            Some(Endpoint::Tcp(HostPort { host: control.host.clone(), port: told.port }))
        }
        (_, told) if told.is_wildcard() => None,
        (control, told) if told.is_local() && !control.is_local() => None,
        (_, told) => Some(told),
    }
}

fn is_any(at: &HostPort) -> bool {
    match &at.host {
        Host::Any => true,
        Host::Ip(ip) => ip.is_unspecified(),
        Host::Name(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_live_output_is_seen_from_here() {
        let at = |control: &str, pubsub: &str| {
            reachable(&control.parse().expect("an endpoint"), pubsub).map(|found| found.to_string())
        };
        let far = "tcp://10.0.0.7:5555";
        assert_eq!(at(far, "tcp://0.0.0.0:5556").as_deref(), Some("tcp://10.0.0.7:5556"));
        assert_eq!(at(far, "tcp://10.0.0.7:6000").as_deref(), Some("tcp://10.0.0.7:6000"));
        assert_eq!(at(far, "tcp://127.0.0.1:5556"), None);
        assert_eq!(
            at("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5556").as_deref(),
            Some("tcp://127.0.0.1:5556")
        );
        assert_eq!(at(far, "nonsense"), None);
    }

    #[test]
    fn names_may_have_dots() {
        let payload = Bytes::from(r#"{"pid": 3, "time": 12.5, "text": "x\n", "lost": 7}"#);
        let said = read(&[Bytes::from("log.my.db.1.stderr"), payload]).expect("read");
        assert_eq!(
            (said.name.as_str(), said.source.as_str(), said.time, said.lost),
            ("my.db", "stderr", 12.5, 7)
        );
        assert_eq!(read(&[Bytes::from("log.x"), Bytes::new()]), None);
        assert_eq!(topics(&["Web".into(), "d*".into()]), ["log.Web.", "log.web.", "log.d"]);
    }
}

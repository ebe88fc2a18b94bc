//! The daemon as a plugin sees it: commands and their replies, events as they come.

use std::time::Duration;

use circus_protocol::endpoint::{Endpoint, EndpointError};
use circus_protocol::event::{Event, EventError, PREFIX};
use circus_protocol::name::WatcherName;
use circus_protocol::number::Pid;
use circus_protocol::transport::{Client, LinkEvent, LinkOptions, Subscriber};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::PluginError;

/// How long a reply may take; the daemon answers at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon that is away for so long is not coming back, and has left us behind.
pub(super) const AWAY: Duration = Duration::from_secs(60);

/// Commands.
#[derive(Debug)]
pub(super) struct Node {
    client: Client,
}

impl Node {
    pub(super) fn connect(endpoint: &str) -> Result<Self, PluginError> {
        let flag = "--endpoint";
        let client = Client::connect(parsed(flag, endpoint)?);
        let client = client.map_err(|error| PluginError::Connect { flag, reason: error.to_string() })?;
        Ok(Self { client })
    }

    /// A reply that is not an error.
    pub(super) async fn call(&mut self, command: &str, properties: Value) -> Result<Value, PluginError> {
        let reply = self.client.call(command, properties, PATIENCE).await?;
        if reply.get("status").and_then(Value::as_str) == Some("error") {
            let reason = reply.get("reason").and_then(Value::as_str).unwrap_or("for no reason").to_owned();
            return Err(PluginError::Refused { command: command.to_owned(), reason });
        }
        Ok(reply)
    }

    /// A command about one watcher, of which only the failure is of interest.
    pub(super) async fn order(&mut self, command: &str, name: &str) -> Result<(), PluginError> {
        self.call(command, json!({"name": name})).await.map(drop)
    }

    /// All watchers, as `list` spells them.
    pub(super) async fn watchers(&mut self) -> Result<Vec<String>, PluginError> {
        let reply = self.call("list", json!({})).await?;
        let names = reply.get("watchers").and_then(Value::as_array);
        let names = names.ok_or_else(|| missing("list", "watchers"))?;
        Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The watcher that events call so: blanks look like underscores in them.
    pub(super) async fn watcher_called(&mut self, topic: &str) -> Result<Option<String>, PluginError> {
        let names = self.watchers().await?;
        Ok(names.into_iter().find(|name| WatcherName::new(name).topic() == topic))
    }

    /// A watcher's processes.
    pub(super) async fn pids(&mut self, name: &str) -> Result<Vec<Pid>, PluginError> {
        let reply = self.call("list", json!({"name": name})).await?;
        let pids = reply.get("pids").and_then(Value::as_array).ok_or_else(|| missing("list", "pids"))?;
        let pids = pids.iter().filter_map(Value::as_i64);
        Ok(pids.filter_map(|pid| i32::try_from(pid).ok().and_then(Pid::new)).collect())
    }

    /// Whether a watcher is meant to run: whoever was stopped on purpose is left alone.
    pub(super) async fn is_active(&mut self, name: &str) -> Result<bool, PluginError> {
        let reply = self.client.call("status", json!({"name": name}), PATIENCE).await?;
        // A named `status` answers in the place where errors are told.
        match reply.get("status").and_then(Value::as_str) {
            Some("error") => {
                let reason = reply.get("reason").and_then(Value::as_str).unwrap_or("for no reason");
                Err(PluginError::Refused { command: "status".to_owned(), reason: reason.to_owned() })
            }
            Some(status) => Ok(status == "active"),
            None => Err(missing("status", "status")),
        }
    }
}

/// Events.
#[derive(Debug)]
pub(super) struct Events {
    subscriber: Subscriber,
    away: Option<Instant>,
}

impl Events {
    pub(super) fn connect(pubsub: &str) -> Result<Self, PluginError> {
        let flag = "--pubsub";
        let failed = |reason: String| PluginError::Connect { flag, reason };
        let options = LinkOptions::default();
        let mut subscriber =
            Subscriber::connect(parsed(flag, pubsub)?, options).map_err(|error| failed(error.to_string()))?;
        subscriber.subscribe(PREFIX).map_err(|fault| failed(fault.to_string()))?;
        Ok(Self { subscriber, away: Some(Instant::now()) })
    }

    /// The next event. Cancelling it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Event, PluginError> {
        loop {
            match self.subscriber.recv().await {
                LinkEvent::Connected { .. } => self.away = None,
                LinkEvent::Disconnected { reason, .. } => {
                    let since = *self.away.get_or_insert_with(|| {
                        tracing::warn!("circusd is away: {reason}");
                        Instant::now()
                    });
                    if since.elapsed() > AWAY {
                        return Err(PluginError::Away);
                    }
                }
                LinkEvent::Message(frames) => {
                    let [topic, payload] = frames.as_slice() else { continue };
                    match Event::decode(topic, payload) {
                        Ok(event) => return Ok(event),
                        // Another circus may have more of them.
                        Err(EventError::Action(_)) => {}
                        Err(error) => tracing::warn!("{error}"),
                    }
                }
            }
        }
    }
}

pub(super) fn missing(command: &str, missing: &'static str) -> PluginError {
    PluginError::Reply { command: command.to_owned(), missing }
}

fn parsed(flag: &'static str, text: &str) -> Result<Endpoint, PluginError> {
    text.parse().map_err(|source: EndpointError| PluginError::Endpoint { flag, source })
}

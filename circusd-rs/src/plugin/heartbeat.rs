//! WatchDog: processes send heartbeats, `pid;timestamp` in a datagram; one that falls silent is killed.
//!
//! Whoever runs is looked after from the beginning, and whoever is spawned later from then on. The
//! timestamp is the sender's business: what counts is when a heartbeat arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use circus_protocol::event::{Event, EventKind};
use circus_protocol::number::Pid;
use regex_lite::Regex;
use serde_json::{Map, Value};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::node::Node;
use super::{PluginError, Work};
use crate::config::plugin::WatchDog;

/// Longest heartbeat.
const DATAGRAM: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Dog {
    settings: WatchDog,
    socket: UdpSocket,
    packs: BTreeMap<Pid, Heart>,
}

/// A process that should be heard.
#[derive(Debug, Clone, PartialEq)]
struct Heart {
    watcher: String,
    heard: Instant,
}

impl Dog {
    pub(super) async fn new(settings: WatchDog) -> Result<Self, PluginError> {
        let (ip, port) = (settings.ip.as_str(), settings.port);
        let socket = UdpSocket::bind((ip, port)).await.map_err(|source| PluginError::System {
            what: format!("cannot listen for heartbeats on {ip}:{port}"),
            source,
        })?;
        tracing::info!("Watchdog listening UDP on {ip}:{port}");
        Ok(Self { settings, socket, packs: BTreeMap::new() })
    }

    fn heard(&mut self, datagram: &[u8]) {
        let text = String::from_utf8_lossy(datagram);
        let Some(pid) = sender(&self.settings.message, text.trim_end_matches('\n')) else {
            tracing::warn!("no heartbeat: {text:?}");
            return;
        };
        match self.packs.get_mut(&pid) {
            Some(heart) => heart.heard = Instant::now(),
            None => tracing::warn!("received watchdog for a non monitored process: {pid}"),
        }
    }

    /// Those that have been silent for too long are looked after no more: their successors will be.
    fn silent(&mut self, now: Instant) -> Vec<(Pid, Heart)> {
        let patience = Duration::from_secs_f64(self.settings.loop_rate * f64::from(self.settings.max_count));
        let silent = |heart: &Heart| now.saturating_duration_since(heart.heard) > patience;
        let found: Vec<(Pid, Heart)> = self
            .packs
            .iter()
            .filter(|(_, heart)| silent(heart))
            .map(|(pid, heart)| (*pid, heart.clone()))
            .collect();
        self.packs.retain(|_, heart| !silent(heart));
        found
    }

    fn look_after(&mut self, watcher: String, pid: Pid) {
        let heart = Heart { watcher, heard: Instant::now() };
        let text = format!("added new monitored pid for {}:{pid}", heart.watcher);
        // Its `spawn` may come after it was found.
        if self.packs.insert(pid, heart).is_none() {
            tracing::info!("{text}");
        }
    }
}

/// Whose heartbeat it is.
fn sender(message: &Regex, text: &str) -> Option<Pid> {
    message.captures(text)?.name("pid")?.as_str().trim().parse().ok().and_then(Pid::new)
}

impl Work for Dog {
    fn period(&self) -> Option<f64> {
        Some(self.settings.loop_rate)
    }

    async fn begin(&mut self, node: &mut Node) -> Result<(), PluginError> {
        for name in node.watchers().await? {
            if self.settings.watchers.is_match(&name) {
                for pid in node.pids(&name).await? {
                    self.look_after(name.clone(), pid);
                }
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: Event, node: &mut Node) -> Result<(), PluginError> {
        match event.kind {
            EventKind::Spawn { pid } => {
                let name = node.watcher_called(&event.watcher).await?;
                if let Some(name) = name.filter(|name| self.settings.watchers.is_match(name)) {
                    self.look_after(name, pid);
                }
            }
            EventKind::Reap { pid, .. } => drop(self.packs.remove(&pid)),
            // What the daemon ends by itself may end without a `reap`.
            EventKind::Kill { pid } => drop(self.packs.remove(&pid)),
            EventKind::Start
            | EventKind::Stop
            | EventKind::Reload
            | EventKind::Updated
            | EventKind::Add
            | EventKind::Remove
            | EventKind::HookSuccess { .. }
            | EventKind::HookFailure { .. }
            | EventKind::Waiting { .. }
            | EventKind::Ready { .. }
            | EventKind::Output { .. } => {}
        }
        Ok(())
    }

    async fn round(&mut self, node: &mut Node) -> Result<(), PluginError> {
        let mut failed = Ok(());
        for (pid, Heart { watcher, .. }) in self.silent(Instant::now()) {
            tracing::info!("watcher:{watcher}, pid:{pid} is not responding. Kill it !");
            let own = [
                ("signum", self.settings.stop_signal.map(Value::from)),
                ("graceful_timeout", self.settings.graceful_timeout.map(Value::from)),
            ];
            let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
            let all = [("name", Value::from(watcher)), ("pid", Value::from(pid.get()))];
            let all = all.map(|(key, value)| (key.to_owned(), value)).into_iter();
            let properties: Map<String, Value> = all.chain(own).collect();
            // One that cannot be killed must not keep the others alive.
            failed = failed.and(node.call("kill", properties.into()).await.map(drop));
        }
        failed
    }

    async fn listen(&mut self) {
        let mut datagram = [0; DATAGRAM];
        match self.socket.recv_from(&mut datagram).await {
            Ok((length, _)) => self.heard(datagram.get(..length).unwrap_or_default()),
            Err(error) => tracing::warn!("heartbeats: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::plugin::{Class, Settings, settings};

    async fn dog(options: &[(&str, &str)]) -> Dog {
        let options: BTreeMap<String, String> =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let Ok(Settings::WatchDog(settings)) = settings(Class::WatchDog, &options) else { panic!() };
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Dog { settings, socket, packs: BTreeMap::new() }
    }

    #[tokio::test]
    async fn who_is_silent_for_too_long_is_found_once() {
        let mut dog = dog(&[("loop_rate", "2"), ("max_count", "2")]).await;
        let (one, two) = (Pid::new(1).unwrap(), Pid::new(2).unwrap());
        dog.look_after("web".to_owned(), one);
        dog.look_after("web".to_owned(), two);
        let later = Instant::now() + Duration::from_secs(5);
        dog.packs.get_mut(&two).unwrap().heard = later;
        let silent: Vec<Pid> = dog.silent(later).into_iter().map(|(pid, _)| pid).collect();
        assert_eq!(silent, [one]);
        assert_eq!(dog.silent(later), []);
        dog.heard(b"2;12345\n");
        assert!(dog.packs[&two].heard < later);
    }

    #[tokio::test]
    async fn heartbeats_look_as_configured() {
        let default = dog(&[]).await.settings.message;
        assert_eq!(sender(&default, "77;12"), Pid::new(77));
        assert_eq!(sender(&default, "x;12"), None);
        assert_eq!(sender(&default, "77"), None);
        let own = dog(&[("msg_regex", "alive (?P<pid>[0-9]+)")]).await.settings.message;
        assert_eq!(sender(&own, "alive 7 and well"), Pid::new(7));
        assert_eq!(sender(&own, "I am alive 7"), None);
    }
}

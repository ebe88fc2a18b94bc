//! The stats endpoint: figures of watchers, processes, sockets and the daemon itself, for whoever
//! subscribed to them.
//!
//! It says whose figures are wanted and puts them on the wire; taking them, and when, is somebody
//! else's. Nothing is built that nobody subscribed to.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::number::Pid;
use circus_protocol::stat::{CIRCUS, PREFIX, ProcessFigures, SOCKETS, Stat};
use circus_protocol::transport::{BindError, Limits, Publisher};
use tokio::task::yield_now;

use crate::arbiter::roster::{Listening, Roster};

/// The daemon's name among its figures.
const DAEMON: &str = "circusd";

/// What may wait for one subscriber: one round of more processes than a machine runs.
const QUEUE: usize = 32_768;

/// After so many messages others get their turn, the connections among them.
const BATCH: usize = 64;

/// The bound endpoint.
#[derive(Debug)]
pub struct Stats {
    publisher: Publisher,
    daemon: Option<Pid>,
}

impl Stats {
    /// Binds the endpoint; `daemon` is our own process.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn bind(endpoint: &Endpoint, daemon: u32) -> Result<Self, BindError> {
        let limits = Limits { max_queue: QUEUE, ..super::limits() };
        let publisher = Publisher::bind(std::slice::from_ref(endpoint), limits).await?;
        Ok(Self { publisher, daemon: i32::try_from(daemon).ok().and_then(Pid::new) })
    }

    /// What is really bound: a port 0 has become a number.
    #[must_use]
    pub fn bound(&self) -> Option<&Endpoint> {
        self.publisher.endpoints().first()
    }

    /// Whether anybody listens at all.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.publisher.is_heard()
    }

    /// Returns when somebody listens.
    pub async fn heard(&self) {
        self.publisher.heard().await;
    }

    /// Whose figures somebody wants, each once.
    #[must_use]
    pub fn wanted(&self, roster: &Roster) -> Vec<Pid> {
        let mut wanted = Vec::new();
        for (name, pids) in self.groups(roster) {
            let all = self.is_wanted(&format!("{PREFIX}{name}"));
            wanted.extend(
                pids.iter().filter(|pid| all || self.is_wanted(&format!("{PREFIX}{name}.{pid}"))).copied(),
            );
        }
        wanted
    }

    /// Whether anybody wants to know how often a socket is readable.
    #[must_use]
    pub fn wants_reads(&self, roster: &Roster) -> bool {
        roster.sockets.iter().any(|socket| self.is_wanted(&format!("{PREFIX}{SOCKETS}.{}", socket.fd)))
    }

    /// Publishes the sockets' round.
    pub fn publish_reads(&self, roster: &Roster, reads: &BTreeMap<i32, u64>) {
        socket_stats(roster, reads).for_each(|stat| self.send(&stat));
    }

    /// Publishes one round: each watcher's processes, then the watcher; the daemon last.
    pub async fn publish(&self, roster: &Roster, figures: Vec<ProcessFigures>) {
        let mut figures: HashMap<i64, ProcessFigures> =
            figures.into_iter().map(|figures| (figures.pid, figures)).collect();
        let mut sent = 0_usize;
        for (name, pids) in self.groups(roster) {
            let of_group: Vec<ProcessFigures> =
                pids.iter().filter_map(|pid| figures.remove(&i64::from(pid.get()))).collect();
            let label = (name == CIRCUS).then(|| DAEMON.to_owned());
            let total = total(&name, &of_group);
            for figures in of_group {
                let figures = Box::new(figures);
                self.send(&Stat::Process { watcher: name.to_string(), name: label.clone(), figures });
                sent += 1;
                if sent.is_multiple_of(BATCH) {
                    yield_now().await;
                }
            }
            self.send(&total);
        }
    }

    /// What is published together: every watcher that has processes, and the daemon.
    fn groups<'a>(&'a self, roster: &'a Roster) -> impl Iterator<Item = (Cow<'a, str>, &'a [Pid])> {
        let populated = roster.watchers.iter().filter(|watcher| !watcher.pids.is_empty());
        let watchers = populated.map(|watcher| (part(&watcher.name), watcher.pids.as_slice()));
        watchers.chain([(Cow::Borrowed(CIRCUS), self.daemon.as_slice())])
    }

    fn is_wanted(&self, topic: &str) -> bool {
        self.publisher.has_subscriber(topic.as_bytes())
    }

    fn send(&self, stat: &Stat) {
        let topic = stat.topic();
        if self.is_wanted(&topic) {
            self.publisher.publish(vec![Bytes::from(topic), Bytes::from(stat.payload())]);
        }
    }
}

/// A name as one part of a topic. `circus-top` takes topics apart at the dots, is brought down by a
/// name that has some, and shows dashes as dots.
fn part(name: &str) -> Cow<'_, str> {
    if name.contains('.') { name.replace('.', "-").into() } else { name.into() }
}

/// Each socket, then all of them; nothing when there are none.
fn socket_stats(roster: &Roster, reads: &BTreeMap<i32, u64>) -> impl Iterator<Item = Stat> {
    let reads_of = |fd: &i32| reads.get(fd).copied().unwrap_or_default();
    let of_socket = |Listening { fd, address }: &Listening| Stat::Socket {
        fd: (*fd).into(),
        reads: reads_of(fd),
        address: address.clone(),
    };
    let mut stats: Vec<Stat> = roster.sockets.iter().map(of_socket).collect();
    if !stats.is_empty() {
        stats.push(Stat::Sockets {
            addresses: roster.sockets.iter().map(|socket| socket.address.clone()).collect(),
            reads: roster.sockets.iter().map(|socket| reads_of(&socket.fd)).sum(),
        });
    }
    stats.into_iter()
}

/// What a watcher's processes come to: mean of the CPU, sum of the memory, the oldest.
fn total(name: &str, figures: &[ProcessFigures]) -> Stat {
    let cpus: Vec<f64> = figures.iter().filter_map(|figures| figures.cpu).collect();
    let mean = if cpus.is_empty() { 0.0 } else { cpus.iter().sum::<f64>() / cpus.len() as f64 };
    Stat::Watcher {
        watcher: name.to_owned(),
        pids: figures.iter().map(|figures| figures.pid).collect(),
        cpu: mean,
        mem: figures.iter().filter_map(|figures| figures.mem).sum(),
        age: figures.iter().filter_map(|figures| figures.age).reduce(f64::max),
    }
}

#[cfg(test)]
mod tests {
    use circus_protocol::stat::Nice;
    use insta::assert_snapshot;

    use super::*;

    fn figures(pid: i64, cpu: f64, mem: f64, age: f64) -> ProcessFigures {
        ProcessFigures {
            mem_info1: "1.45M".to_owned(),
            mem_info2: "2.44M".to_owned(),
            cpu: Some(cpu),
            mem: Some(mem),
            ctime: "0:00.0".to_owned(),
            pid,
            username: "root".to_owned(),
            nice: Nice::Value(0),
            create_time: Some(1.5),
            age: Some(age),
            cmdline: "sleep".to_owned(),
            children: Vec::new(),
            started: None,
            wid: None,
        }
    }

    fn show(stat: Stat) -> String {
        format!("{} {}", stat.topic(), String::from_utf8(stat.payload()).unwrap())
    }

    #[test]
    fn a_watcher_is_the_mean_the_sum_and_the_oldest() {
        let both = [figures(7, 10.0, 0.5, 3.25), figures(9, 15.0, 0.25, 4.5)];
        assert_snapshot!(show(total("two words", &both)), @r#"stat.two words {"pid": [7, 9], "cpu": 12.5, "mem": 0.75, "age": 4.5}"#);
        assert_eq!((part("two words"), part("a.b")), ("two words".into(), "a-b".into()));
        assert_snapshot!(show(total("down", &[])), @r#"stat.down {"pid": [], "cpu": 0.0, "mem": 0, "age": "N/A"}"#);
    }
    fn roster() -> Roster {
        let socket = |fd, address: &str| Listening { fd, address: address.to_owned() };
        Roster { watchers: Vec::new(), sockets: vec![socket(7, "/run/ux.sock"), socket(9, "127.0.0.1:8080")] }
    }

    #[test]
    fn sockets_are_told_one_by_one_and_together() {
        let reads = BTreeMap::from([(9, 3), (11, 5)]);
        let told: Vec<String> = socket_stats(&roster(), &reads).map(show).collect();
        assert_snapshot!(told.join("\n"), @r#"
        stat.sockets.7 {"fd": 7, "subtopic": 7, "reads": 0, "address": "/run/ux.sock"}
        stat.sockets.9 {"fd": 9, "subtopic": 9, "reads": 3, "address": "127.0.0.1:8080"}
        stat.sockets {"addresses": ["/run/ux.sock", "127.0.0.1:8080"], "reads": 3}
        "#);
        assert_eq!(socket_stats(&Roster::default(), &reads).count(), 0);
    }
}

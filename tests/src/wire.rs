//! A raw client and an event recorder, on the `zeromq` crate.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::wait::PATIENCE;

/// A watcher that comes and goes only for its events; scripts do not see them.
const PROBE: &str = "wire-probe";
const PROBE_TOPIC: &str = "watcher.wire-probe.";

/// Until it is accepted: the two endpoints of a daemon need not appear together.
async fn connect(socket: &mut impl Socket, endpoint: &str) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while let Err(error) = socket.connect(endpoint).await {
        assert!(std::time::Instant::now() < deadline, "{endpoint} does not accept: {error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A DEALER and a SUB on one daemon, blocking.
pub struct Wire {
    runtime: Runtime,
    dealer: DealerSocket,
    events: SubSocket,
    next_id: u32,
}

impl Wire {
    /// Connects to both endpoints; events are seen from now on.
    #[must_use]
    pub fn connect(endpoint: &str, pubsub: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (dealer, events) = runtime.block_on(async {
            let mut dealer = DealerSocket::new();
            connect(&mut dealer, endpoint).await;
            let mut events = SubSocket::new();
            connect(&mut events, pubsub).await;
            events.subscribe("watcher.").await.expect("a subscription is sent");
            (dealer, events)
        });
        Self { runtime, dealer, events, next_id: 0 }
    }

    /// Sends one payload as it is.
    pub fn send(&mut self, payload: &[u8]) {
        self.send_frames(&[payload]);
    }

    /// Sends one message of several frames.
    pub fn send_frames(&mut self, frames: &[&[u8]]) {
        let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let message = ZmqMessage::try_from(frames).expect("a message has a frame");
        self.runtime.block_on(self.dealer.send(message)).expect("a message is sent");
    }

    /// The next reply as text, or `None` when none comes within `patience`.
    pub fn text_within(&mut self, patience: Duration) -> Option<String> {
        let message = self.runtime.block_on(async { timeout(patience, self.dealer.recv()).await.ok() })?;
        let frames = message.expect("a reply").into_vec();
        assert_eq!(frames.len(), 1, "a reply has one frame: {frames:?}");
        Some(String::from_utf8(frames.first().expect("one frame").to_vec()).expect("a reply is UTF-8"))
    }

    /// Asks a last question under this id and gives the frames of all answers before its own.
    pub fn text_frames_until(&mut self, id: &str) -> String {
        self.send(json!({"id": id, "command": "numwatchers"}).to_string().as_bytes());
        let mut answers = Vec::new();
        loop {
            let message = self.runtime.block_on(async { timeout(PATIENCE, self.dealer.recv()).await });
            let frames = message.expect("an answer in time").expect("an answer").into_vec();
            let text: Vec<_> =
                frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
            let text = text.join(" | ");
            if text.contains(&format!("\"{id}\"")) {
                return answers.join("\n");
            }
            answers.push(text);
        }
    }

    /// The next reply, or `None` when none comes within `patience`.
    pub fn reply_within(&mut self, patience: Duration) -> Option<Value> {
        let text = self.text_within(patience)?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// Sends a request with an id of its own and waits for the reply with that id.
    ///
    /// Stock refuses a command while its periodic check holds the daemon-wide lock; as every client
    /// of stock must, this tries again then.
    pub fn call(&mut self, command: &str, properties: &Value) -> Value {
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        self.call_as(&id, command, properties)
    }

    /// The same with an id that does not count, for calls whose number depends on timing.
    pub fn ask(&mut self, command: &str, properties: &Value) -> Value {
        self.call_as("asked", command, properties)
    }

    fn call_as(&mut self, id: &str, command: &str, properties: &Value) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.call_once(id, command, properties);
            let reason = reply.get("reason").and_then(Value::as_str).unwrap_or_default();
            let again =
                reason.starts_with("arbiter is already running") && std::time::Instant::now() < deadline;
            if !again {
                return reply;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The same once, with the id given, whatever the answer is.
    pub fn call_once(&mut self, id: &str, command: &str, properties: &Value) -> Value {
        let request = json!({"id": id, "command": command, "properties": properties});
        self.send(request.to_string().as_bytes());
        loop {
            let reply = self
                .reply_within(PATIENCE)
                .unwrap_or_else(|| panic!("no reply to {request} within {PATIENCE:?}"));
            if reply.get("id").and_then(Value::as_str) == Some(id) {
                return reply;
            }
        }
    }

    /// The next event as topic and payload, except those of our own probing.
    pub fn event_within(&mut self, patience: Duration) -> Option<(String, Value)> {
        let deadline = std::time::Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let event = self.next_event(left)?;
            if !event.0.starts_with(PROBE_TOPIC) {
                return Some(event);
            }
        }
    }

    fn next_event(&mut self, patience: Duration) -> Option<(String, Value)> {
        let message = self.runtime.block_on(async { timeout(patience, self.events.recv()).await.ok() })?;
        let frames = message.expect("an event").into_vec();
        let [topic, payload] = frames.as_slice() else { panic!("an event has two frames: {frames:?}") };
        let topic = String::from_utf8(topic.to_vec()).expect("a topic is UTF-8");
        let payload = serde_json::from_slice(payload).expect("an event is JSON");
        Some((topic, payload))
    }

    /// All events published so far: those that come before one which is made for this purpose.
    pub fn events_so_far(&mut self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        self.add_probe();
        loop {
            let (topic, payload) = self.next_event(PATIENCE).expect("the event of an add");
            if topic == format!("{PROBE_TOPIC}add") {
                self.ask("rm", &json!({"name": PROBE, "waiting": true}));
                return events;
            }
            if !topic.starts_with(PROBE_TOPIC) {
                events.push((topic, payload));
            }
        }
    }

    /// It is never started. Where an endpoint has an owner, `nobody` in these tests, it must be theirs.
    fn add_probe(&mut self) -> Value {
        let anybodys = self.ask("add", &json!({"name": PROBE, "cmd": "true"}));
        if anybodys.get("errno").is_none() {
            return anybodys;
        }
        self.ask("add", &json!({"name": PROBE, "cmd": "true", "options": {"uid": "nobody"}}))
    }

    /// Proves that the subscription has arrived, by adding and removing a watcher until an event
    /// comes; there is no other answer to a subscription.
    pub fn wait_for_events(&mut self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let added = self.add_probe();
            let removed = self.ask("rm", &json!({"name": PROBE, "waiting": true}));
            while let Some((topic, _)) = self.next_event(Duration::from_millis(100)) {
                if topic.starts_with(PROBE_TOPIC) {
                    return;
                }
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the subscription never arrived; a watcher was added: {added}, and removed: {removed}"
            );
        }
    }
}

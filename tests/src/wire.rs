//! A raw client and an event recorder, on the `zeromq` crate.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::wait::PATIENCE;

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
            dealer.connect(endpoint).await.expect("the control endpoint accepts");
            let mut events = SubSocket::new();
            events.connect(pubsub).await.expect("the event endpoint accepts");
            events.subscribe("watcher.").await.expect("a subscription is sent");
            (dealer, events)
        });
        Self { runtime, dealer, events, next_id: 0 }
    }

    /// Sends one payload as it is.
    pub fn send(&mut self, payload: &[u8]) {
        let message = ZmqMessage::from(Bytes::copy_from_slice(payload));
        self.runtime.block_on(self.dealer.send(message)).expect("a message is sent");
    }

    /// The next reply, or `None` when none comes within `patience`.
    pub fn reply_within(&mut self, patience: Duration) -> Option<Value> {
        let message = self.runtime.block_on(async { timeout(patience, self.dealer.recv()).await.ok() })?;
        let frames = message.expect("a reply").into_vec();
        assert_eq!(frames.len(), 1, "a reply has one frame: {frames:?}");
        let text = String::from_utf8(frames.first().expect("one frame").to_vec()).expect("a reply is UTF-8");
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}")))
    }

    /// Sends a request with an id of its own and waits for the reply with that id.
    ///
    /// Stock refuses a command while its periodic check holds the daemon-wide lock; as every client
    /// of stock must, this tries again then.
    pub fn call(&mut self, command: &str, properties: &Value) -> Value {
        self.next_id += 1;
        self.call_as(&format!("c{}", self.next_id), command, properties)
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

    fn call_once(&mut self, id: &str, command: &str, properties: &Value) -> Value {
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

    /// The next event as topic and payload.
    pub fn event_within(&mut self, patience: Duration) -> Option<(String, Value)> {
        let message = self.runtime.block_on(async { timeout(patience, self.events.recv()).await.ok() })?;
        let frames = message.expect("an event").into_vec();
        let [topic, payload] = frames.as_slice() else { panic!("an event has two frames: {frames:?}") };
        let topic = String::from_utf8(topic.to_vec()).expect("a topic is UTF-8");
        let payload = serde_json::from_slice(payload).expect("an event is JSON");
        Some((topic, payload))
    }

    /// Proves that the subscription has arrived, by adding and removing a watcher until an event
    /// comes; there is no other answer to a subscription.
    pub fn wait_for_events(&mut self) {
        for _ in 0..50 {
            let name = "wire-probe";
            self.call("add", &json!({"name": name, "cmd": "true"}));
            self.call("rm", &json!({"name": name, "waiting": true}));
            while let Some((topic, _)) = self.event_within(Duration::from_millis(100)) {
                // `rm` stops what never ran; its events end with `remove`, or with `stop` after it.
                if topic.ends_with(".remove") {
                    while self.event_within(Duration::from_millis(200)).is_some() {}
                    self.next_id = 0;
                    return;
                }
            }
        }
        panic!("the subscription never arrived");
    }
}

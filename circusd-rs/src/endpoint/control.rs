//! The control endpoint: frames in, commands out; replies in, frames out.
//!
//! A request is one frame and its answer is one frame. A REQ client puts an empty frame before it and
//! gets one before the answer. Whatever else comes is answered with an error, unless it says that it
//! wants no answer.
//!
//! There is no mailbox between this and the daemon's loop: the loop takes the next request when it is
//! ready for one, and until then the transport's own bounded queue holds it and stops reading from
//! those who send too much. What is bounded here is how many answers may be owed.

use std::collections::HashMap;

use bytes::Bytes;
use circus_protocol::codec::{decode_request, encode_reply};
use circus_protocol::command::Command;
use circus_protocol::endpoint::Endpoint;
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::request::Request;
use circus_protocol::transport::{BindError, Incoming, PeerId, Router};
use serde_json::Value;

use crate::arbiter::id::ReplyTo;
use crate::arbiter::input::Input;

/// How many answers may be owed at one time; further requests are refused.
const MAX_OWED: usize = 10_000;

/// How many bytes the requests of those may have had, since their ids are kept.
const MAX_OWED_BYTES: usize = 64 * 1024 * 1024;

/// How much of a request is kept so that its answer can quote it.
const MAX_QUOTED: usize = 16 * 1024;

/// The bound endpoint, and whom it owes an answer.
#[derive(Debug)]
pub struct Control {
    router: Router,
    owed: HashMap<ReplyTo, Asker>,
    /// What the requests of those had together.
    owed_bytes: usize,
    most: usize,
    next: u64,
}

/// What is needed to answer a request.
#[derive(Debug)]
struct Asker {
    peer: PeerId,
    delimited: bool,
    id: Value,
    raw: Bytes,
    bytes: usize,
}

impl Control {
    /// Binds the endpoint.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        let router = Router::bind(std::slice::from_ref(endpoint), super::limits()).await?;
        Ok(Self { router, owed: HashMap::new(), owed_bytes: 0, most: MAX_OWED, next: 0 })
    }

    /// What is really bound: a port 0 has become a number.
    #[must_use]
    pub fn bound(&self) -> Option<&Endpoint> {
        self.router.endpoints().first()
    }

    /// The next message, not yet looked at. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Incoming {
        self.router.recv().await
    }

    /// What a message asks for. `None` when it was answered here already, or wants no answer and
    /// means nothing; `time` is for those answers.
    pub fn understand(&mut self, message: Incoming, time: f64) -> Option<Input> {
        let (delimited, payload) = match message.frames.as_slice() {
            [payload] => (false, payload),
            [delimiter, payload] if delimiter.is_empty() => (true, payload),
            frames => {
                let text = format!("message invalid {} frames, send one with a JSON object", frames.len());
                let delimited = frames.first().is_some_and(Bytes::is_empty);
                let asker =
                    Asker { peer: message.peer, delimited, id: Value::Null, raw: Bytes::new(), bytes: 0 };
                self.send(asker, &Reply::Error(Refusal::Message(text)), time);
                return None;
            }
        };
        tracing::trace!(peer = message.peer.number(), bytes = payload.len(), "request");
        match decode_request(payload) {
            Ok(request) => self.command(message.peer, delimited, request, time),
            Err(rejected) => {
                if !rejected.cast {
                    let (id, raw) = (rejected.id, rejected.raw);
                    let asker = Asker { peer: message.peer, delimited, id, raw, bytes: 0 };
                    self.send(asker, &Reply::Error(rejected.refusal), time);
                }
                None
            }
        }
    }

    fn command(&mut self, peer: PeerId, delimited: bool, request: Request, time: f64) -> Option<Input> {
        let parsed = Command::parse(&request);
        let bytes = request.raw.len();
        let raw = quoted(request.raw);
        let asker = (!request.cast).then_some(Asker { peer, delimited, id: request.id, raw, bytes });
        match (parsed, asker) {
            (Ok(command), None) => Some(Input::Command { command, reply: None }),
            (Ok(command), Some(asker)) => {
                if self.owed.len() >= self.most || self.owed_bytes + asker.bytes > MAX_OWED_BYTES {
                    let owed = self.owed.len();
                    let text = format!("busy: {owed} answers are owed already, ask again later");
                    self.send(asker, &Reply::Error(Refusal::Conflict(text)), time);
                    return None;
                }
                let to = ReplyTo(self.next);
                self.next += 1;
                self.owed_bytes += asker.bytes;
                self.owed.insert(to, asker);
                Some(Input::Command { command, reply: Some(to) })
            }
            (Err(refusal), Some(asker)) => {
                self.send(asker, &Reply::Error(refusal), time);
                None
            }
            (Err(refusal), None) => {
                tracing::warn!(peer = peer.number(), %refusal, "a cast was refused");
                None
            }
        }
    }

    /// Answers a request; what was answered already is not answered again.
    pub fn reply(&mut self, to: ReplyTo, reply: &Reply, time: f64) {
        if let Some(asker) = self.owed.remove(&to) {
            self.owed_bytes = self.owed_bytes.saturating_sub(asker.bytes);
            self.send(asker, reply, time);
        }
    }

    /// Answers everybody who still waits.
    pub fn reply_all(&mut self, reply: &Reply, time: f64) {
        self.owed_bytes = 0;
        for (_, asker) in std::mem::take(&mut self.owed) {
            self.send(asker, reply, time);
        }
    }

    /// A peer that is gone needs no answer, and one that does not read gets none; the transport has
    /// cut it then.
    fn send(&mut self, asker: Asker, reply: &Reply, time: f64) {
        let payload = Bytes::from(encode_reply(reply, &asker.id, &asker.raw, time));
        let frames = if asker.delimited { vec![Bytes::new(), payload] } else { vec![payload] };
        if let Err(error) = self.router.send(asker.peer, frames) {
            tracing::debug!(peer = asker.peer.number(), %error, "a reply was dropped");
        }
    }

    /// Listens elsewhere from now on. Everybody who is owed an answer gets `last` from the old place,
    /// which is returned to be closed.
    ///
    /// # Errors
    /// What stands in the way; then nothing has changed.
    pub async fn rebind(&mut self, endpoint: &Endpoint, last: &Reply, time: f64) -> Result<Self, BindError> {
        let new = Router::bind(std::slice::from_ref(endpoint), super::limits()).await?;
        self.reply_all(last, time);
        let router = std::mem::replace(&mut self.router, new);
        Ok(Self { router, owed: HashMap::new(), owed_bytes: 0, most: self.most, next: self.next })
    }

    /// Stops listening; replies on their way leave first, for a limited time.
    pub async fn close(self) {
        self.router.close().await;
    }
}

/// A large request is quoted in part, so that many waiting ones cannot fill the memory.
fn quoted(raw: Bytes) -> Bytes {
    if raw.len() <= MAX_QUOTED {
        raw
    } else {
        Bytes::copy_from_slice(raw.get(..MAX_QUOTED).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use circus_protocol::transport::{Dealer, LinkEvent, LinkOptions};

    use super::*;

    async fn answer(dealer: &mut Dealer) -> String {
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), dealer.recv()).await.unwrap();
            if let LinkEvent::Message(frames) = event {
                return String::from_utf8_lossy(&frames[0]).into_owned();
            }
        }
    }

    #[tokio::test]
    async fn who_is_owed_too_much_already_is_told_so() {
        let mut control = Control::bind(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        control.most = 1;
        let mut dealer = Dealer::connect(control.bound().unwrap().clone(), LinkOptions::default()).unwrap();
        while !dealer.is_connected() {
            dealer.recv().await;
        }
        for id in ["first", "second"] {
            let request =
                format!(r#"{{"id": "{id}", "command": "quit", "properties": {{"waiting": true}}}}"#);
            dealer.send(vec![Bytes::from(request)]).unwrap();
        }
        let message = control.next().await;
        let first = control.understand(message, 1.0);
        let Some(Input::Command { reply: Some(to), .. }) = first else { panic!("{first:?}") };
        let message = control.next().await;
        assert_eq!(control.understand(message, 1.0), None);
        let busy = answer(&mut dealer).await;
        assert!(
            busy.contains("busy: 1 answers are owed already") && busy.contains(r#""id": "second""#),
            "{busy}"
        );

        control.reply(to, &Reply::ok(), 2.0);
        control.reply(to, &Reply::ok(), 3.0);
        assert_eq!(answer(&mut dealer).await, r#"{"status": "ok", "time": 2.0, "id": "first"}"#);
        assert_eq!((control.owed.len(), control.owed_bytes), (0, 0));
    }
}

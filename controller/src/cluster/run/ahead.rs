//! What leaves before its time: the greeting with our side of the handshake, and with the greeting the
//! next question, because it is the same whoever answers.
//!
//! ```text
//!  handshake, hello, status ─►  ◄─ hello: stock? ─► sweep asks `status` ─► the operation asks `status`
//!                               ◄─ status ──────────┴── serves both ───────┘
//! ```
//!
//! It saves three rounds over the network at the first contact with a stock node and two with others, and
//! wakes each node once instead of twice. An answer serves as long as nothing else was asked, and if the
//! operation's turn came soon after; later the node may be another. Both are questions that change
//! nothing, so they need no slot.

use std::time::Duration;

use serde_json::json;

use super::{Phase, Run, Turn, Wish};
use crate::cluster::Effect;
use crate::cluster::answer::{Answer, Request};
use crate::cluster::node::Node;
use crate::cluster::procedure::Event;

/// How long before an operation's turn its first question may have been asked.
const FRESH: Duration = Duration::from_secs(1);

/// The question, and its answer once it came.
#[derive(Debug)]
pub(super) struct Ahead {
    id: String,
    sent: Duration,
    request: Request,
    answer: Option<Answer>,
}

/// What has become of a question that somebody wants to ask.
#[derive(Debug)]
pub(super) enum Asked {
    /// It is on its way, under this id.
    Waiting(String),
    /// It is answered.
    Answered(Answer),
}

impl Ahead {
    /// Asked now, with that frame.
    fn ask(request: Request, turn: &mut Turn<'_>) -> (Self, Vec<u8>) {
        let id = turn.ids.request();
        let frame = request.encode(&id);
        (Self { id, sent: turn.now, request, answer: None }, frame)
    }

    /// Its answer is still to come.
    pub(super) fn is_waiting(&self) -> bool {
        self.answer.is_none()
    }

    /// Its answer is still to come, and has this id.
    pub(super) fn waits_for(&self, id: &str) -> bool {
        self.answer.is_none() && self.id == id
    }

    /// Whether `request` is the same question, and how far it is.
    pub(super) fn serves(&self, request: &Request) -> Option<Asked> {
        if self.request != *request {
            return None;
        }
        let waiting = || Asked::Waiting(self.id.clone());
        Some(self.answer.clone().map_or_else(waiting, Asked::Answered))
    }
}

impl Run {
    /// Greets whom a connection is being made to, with these frames.
    pub(super) fn greet_early(&mut self, turn: &mut Turn<'_>) -> Vec<Vec<u8>> {
        let (hello, first) = Ahead::ask(hello(), turn);
        let mut frames = vec![first];
        self.hello = Some(hello);
        self.ahead = self.plan.first_question().map(|question| {
            let (ahead, next) = Ahead::ask(question, turn);
            frames.push(next);
            ahead
        });
        frames
    }

    /// Keeps an answer that came before its time.
    pub(super) fn keep_early(&mut self, id: &str, answer: &Answer) {
        for early in [&mut self.hello, &mut self.ahead] {
            if let Some(ahead) = early.as_mut().filter(|ahead| ahead.waits_for(id)) {
                ahead.answer = Some(answer.clone());
                // What a busy node refused is asked when its time comes.
                early.take_if(|_| answer.is_busy());
            }
        }
    }
}

impl Node {
    /// Greets, unless that was done already.
    pub(super) fn greet(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        if run.ahead.as_ref().is_some_and(|ahead| ahead.sent + FRESH < turn.now) {
            run.ahead = None;
        }
        match run.hello.take() {
            Some(Ahead { answer: Some(answer), .. }) => self.greeted(turn, answer),
            Some(Ahead { id, request, answer: None, .. }) => run.wish = Wish::Answer { id, request },
            None => {
                self.send(turn, hello());
                self.ask_ahead(turn);
            }
        }
    }

    /// Sends what comes after the greeting, whatever that will tell.
    fn ask_ahead(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        let Some(request) = run.plan.first_question() else { return };
        let (ahead, payload) = Ahead::ask(request, turn);
        turn.out.push(Effect::Send { node: self.id, payload });
        run.ahead = Some(ahead);
    }

    /// Asks the node, unless it was asked already.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>, request: Request) {
        let Some(run) = &mut self.run else { return };
        if matches!(run.phase, Phase::Operating(_)) && !request.is_read_only() {
            run.mutated = true;
        }
        if let Some(ahead) = run.ahead.take()
            && let Some(asked) = ahead.serves(&request)
        {
            // After the sweep the operation may want the same.
            run.ahead = matches!(run.phase, Phase::Sweeping(_)).then_some(ahead);
            match asked {
                Asked::Waiting(id) => run.wish = Wish::Answer { id, request },
                Asked::Answered(answer) => self.happen(turn, Event::Answer(answer)),
            }
            return;
        }
        let id = turn.ids.request();
        turn.out.push(Effect::Send { node: self.id, payload: request.encode(&id) });
        run.wish = Wish::Answer { id, request };
    }
}

fn hello() -> Request {
    Request::new("hello", json!({}))
}

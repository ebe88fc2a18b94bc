//! A question that leaves together with the greeting, because it is the next one whoever answers.
//!
//! ```text
//!  hello, status ─►        ◄─ hello: stock? ─► sweep asks `status` ─► the operation asks `status`
//!                          ◄─ status ──────────┴── serves both ───────┘
//! ```
//!
//! It saves two rounds over the network at the first contact with a stock node and one with others. An
//! answer serves as long as nothing else was asked; afterwards the node may be another.

use super::{Phase, Turn, Wish};
use crate::cluster::Effect;
use crate::cluster::answer::{Answer, Request};
use crate::cluster::node::Node;
use crate::cluster::procedure::Event;

/// The question, and its answer once it came.
#[derive(Debug)]
pub(super) struct Ahead {
    id: String,
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
    /// Sent just now.
    pub(super) fn new(id: String, request: Request) -> Self {
        Self { id, request, answer: None }
    }

    /// Its answer is still to come, and has this id.
    pub(super) fn waits_for(&self, id: &str) -> bool {
        self.answer.is_none() && self.id == id
    }

    /// It was answered.
    pub(super) fn keep(&mut self, answer: Answer) {
        self.answer = Some(answer);
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

impl Node {
    /// Sends what comes after the greeting, whatever that will tell.
    pub(super) fn ask_ahead(&mut self, turn: &mut Turn<'_>, question: Option<Request>) {
        let (Some(run), Some(request)) = (&mut self.run, question) else { return };
        let id = turn.ids.request();
        turn.out.push(Effect::Send { node: self.id, payload: request.encode(&id) });
        run.ahead = Some(Ahead::new(id, request));
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

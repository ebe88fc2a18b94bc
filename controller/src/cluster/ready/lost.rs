//! The end of waiting for watchers that will not be ready: which they are, how they crashed last where
//! the node can tell, and where more is to be seen.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cluster::answer::{Answer, Request};
use crate::cluster::procedure::{Context, Next, Verdict};
use crate::cluster::why::judged;
use crate::outcome::NodeState;

/// Of so many of them a node is asked; a row is one line.
const ASKED: usize = 3;
/// A crash counts as this start's if it is not older than the wait and so many seconds, which the start
/// before it took.
const BEFORE: f64 = 30.0;

/// Who will not be ready, while it is found out why.
#[derive(Debug)]
pub(super) struct Lost {
    /// Name, and what is said of it.
    watchers: Vec<(String, String)>,
    asked: usize,
    data: Value,
    /// How long they were waited for.
    waited: Duration,
}

impl Lost {
    /// `data` is the answer about all of them.
    pub(super) fn new(watchers: Vec<(String, String)>, data: Value, waited: Duration) -> Self {
        Self { watchers, asked: 0, data, waited }
    }

    /// The next question, or the verdict.
    pub(super) fn ask(&mut self, context: &Context<'_>) -> Next {
        match self.watchers.get(self.asked) {
            Some((name, _)) if context.daemon.can("why") && self.asked < ASKED => {
                self.asked += 1;
                Next::Send(Request::new("why", json!({ "name": name })))
            }
            Some(_) | None => self.verdict().into(),
        }
    }

    /// The answer to the last question. A node that does not tell is believed in what it said before.
    pub(super) fn hear(&mut self, answer: &Answer) {
        let Answer::Ok(reply) = answer else { return };
        let Some((_, told)) = self.watchers.get_mut(self.asked.saturating_sub(1)) else { return };
        if let Some(crash) = reply.get("crash").and_then(Value::as_object)
            && is_recent(reply, crash, self.waited)
        {
            let judged = judged(crash);
            if !judged.is_empty() && !told.contains(&judged) {
                *told += &format!("; its last crash: {judged}");
            }
        }
    }

    fn verdict(&mut self) -> Verdict {
        let more = |name: &str| format!("see `circusman why {name}` and `circusman logs {name}`");
        let told: Vec<String> =
            self.watchers.iter().map(|(name, told)| format!("{told}; {}", more(name))).collect();
        Verdict::with(NodeState::Failed, told.join("; "), std::mem::take(&mut self.data))
    }
}

/// By the node's own clock.
fn is_recent(story: &Map<String, Value>, crash: &Map<String, Value>, waited: Duration) -> bool {
    let (now, died) = (story.get("time").and_then(Value::as_f64), crash.get("died").and_then(Value::as_f64));
    now.zip(died).is_some_and(|(now, died)| now - died <= waited.as_secs_f64() + BEFORE)
}

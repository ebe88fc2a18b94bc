//! How an operation ends on a node when the user interrupts it: at first only where nothing was changed
//! yet, the second time everywhere.

use serde_json::json;

use super::{Phase, Run, Turn, Wish};
use crate::cluster::Effect;
use crate::cluster::answer::Request;
use crate::cluster::node::{Connection, Node};
use crate::cluster::procedure::Verdict;
use crate::outcome::NodeState;

impl Node {
    /// Ends the run at hand unless something on the node was changed, or may have been.
    pub fn interrupt(&mut self, turn: &mut Turn<'_>) {
        if self.run.as_ref().is_some_and(Run::is_harmless) {
            self.end(turn, Verdict::bare(NodeState::Cancelled, "interrupted; nothing was done there"));
        }
    }

    /// Ends the run, whatever it is doing.
    pub fn leave(&mut self, turn: &mut Turn<'_>) {
        self.interrupt(turn);
        self.forsake(turn);
        let Some(run) = &self.run else { return };
        let verdict = if let Phase::Cleaning { verdict, removal } = &run.phase {
            verdict.clone().noting(&format!("the watcher {} may still be there", removal.name()))
        } else {
            let reason = format!("interrupted during {}, which may have been done or not", run.under_way());
            Verdict::bare(NodeState::Cancelled, reason)
        };
        self.end(turn, verdict);
    }

    /// Removes what the run would leave behind, as well as that can be done without waiting.
    pub fn forsake(&mut self, turn: &mut Turn<'_>) {
        let Some(name) = self.run.as_ref().and_then(Run::leftover).map(str::to_owned) else { return };
        if matches!(self.connection, Connection::Open { .. }) {
            let payload = Request::new("rm", json!({ "name": name })).encode(&turn.ids.request());
            turn.out.push(Effect::Send { node: self.id, payload });
        }
        // A busy node refuses that, so the next operation there looks again.
        self.debts.push(name);
    }
}

impl Run {
    /// Nothing that changes the node was sent.
    fn is_harmless(&self) -> bool {
        match self.phase {
            Phase::Queued | Phase::Connecting | Phase::Ready | Phase::Greeting => !self.mutated,
            Phase::Sweeping(_) | Phase::Operating(_) => !self.mutated,
            Phase::Cleaning { .. } => false,
        }
    }

    /// The request whose answer is awaited, if it changes something; else the operation.
    pub(super) fn under_way(&self) -> String {
        match &self.wish {
            Wish::Answer { request, .. } | Wish::Busy { request, .. } if !request.is_read_only() => {
                request.describe()
            }
            Wish::Answer { .. }
            | Wish::Busy { .. }
            | Wish::Nothing
            | Wish::Pause { .. }
            | Wish::Probe { .. } => self.plan.name().to_owned(),
        }
    }

    /// Why the time was not enough.
    pub(super) fn late(&self, waited: &Wish, limit: &str) -> String {
        let doing = if let Phase::Operating(procedure) = &self.phase { procedure.waits_for() } else { None };
        match (waited, doing) {
            (Wish::Answer { request, .. }, None) if request.command == "hello" => {
                format!("no answer within {limit}")
            }
            (Wish::Answer { request, .. }, None) => {
                format!("no answer to {} within {limit}", request.describe())
            }
            (Wish::Busy { reason, .. }, _) => format!("busy for {limit}: {reason}"),
            (Wish::Answer { .. } | Wish::Nothing | Wish::Pause { .. } | Wish::Probe { .. }, Some(doing)) => {
                format!("{doing} after {limit}")
            }
            (Wish::Nothing | Wish::Pause { .. } | Wish::Probe { .. }, None) => {
                format!("not finished within {limit}")
            }
        }
    }
}

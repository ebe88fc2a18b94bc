//! What the console asks for itself, about a node that cannot answer it.

use serde_json::{Map, Value};

use super::{Event, Turn, Wish};
use crate::cluster::Effect;
use crate::cluster::answer::Answer;
use crate::cluster::node::Node;
use crate::cluster::probing::Question;

impl Node {
    pub(super) fn probe(&mut self, turn: &mut Turn<'_>, questions: Vec<Question>) {
        let Some(run) = &mut self.run else { return };
        let id = turn.ids.request();
        run.wish = Wish::Probe { id: id.clone() };
        turn.out.push(Effect::Probe { node: self.id, id, questions });
    }

    /// Its answers have come.
    pub(in crate::cluster) fn run_probed(&mut self, turn: &mut Turn<'_>, answers: Map<String, Value>) {
        let Some(run) = &mut self.run else { return };
        run.wish = Wish::Nothing;
        self.happen(turn, Event::Answer(Answer::Ok(answers)));
    }
}

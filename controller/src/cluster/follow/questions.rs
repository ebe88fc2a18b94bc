//! What a node that is up is asked, and when: beats, looks, readiness, figures. Each question is a beat
//! as well, and no kind is asked again before it was answered.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Follow, Stage};
use crate::cluster::Effect;
use crate::cluster::answer::{Answer, Request};
use crate::cluster::node::Node;
use crate::cluster::pulse::{Due, Heart};
use crate::cluster::run::Turn;
use crate::cluster::view::Watching;
use crate::cluster::watch;

/// An answer that did not come by then never will.
const OVERDUE: Duration = Duration::from_secs(10);
/// Between two looks that events cause.
pub(super) const LOOK_GAP: Duration = Duration::from_millis(1_000);
/// Between two looks at a node whose events are heard: only there in case one was lost.
const SAFETY: Duration = Duration::from_secs(30);
/// A node that answers.
#[derive(Debug)]
pub(super) struct Up {
    pub(super) heart: Heart,
    /// The last beat, and when it was sent.
    pub(super) beat: Option<(String, Duration)>,
    pub(super) look: Question,
    pub(super) ready: Question,
    pub(super) figures: Question,
    /// A place among those whose events are heard is taken.
    pub(super) listening: bool,
    /// Nothing was heard for too long, but an operation still waits on the connection.
    pub(super) silent: bool,
}

/// Something asked again and again.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub(super) asked: Option<String>,
    pub(super) last: Duration,
    pub(super) next: Option<Duration>,
}

impl Question {
    pub(super) fn due(&self, now: Duration) -> bool {
        self.deadline().is_some_and(|due| due <= now)
    }

    /// When it is to be asked: as planned, or when its answer is long overdue.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let next = self.next?;
        Some(if self.asked.is_some() { next.max(self.last + OVERDUE) } else { next })
    }

    pub(super) fn by(&mut self, at: Duration) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// Whether this is its answer.
    pub(super) fn answered(&mut self, id: &str) -> bool {
        self.asked.take_if(|asked| *asked == id).is_some()
    }
}

impl Node {
    pub(super) fn follow_answered(&mut self, turn: &mut Turn<'_>, id: &str, answer: &Answer) -> bool {
        let Some(Follow { stage: Stage::Up(up), synced, .. }) = &mut self.follow else { return false };
        let beat = up.beat.take_if(|(beat, _)| beat == id);
        let (looked, ready) = (up.look.answered(id), up.ready.answered(id));
        let figures = up.figures.answered(id);
        // The first answer of all tells how things are, not what changed.
        let known = if looked { std::mem::replace(synced, true) } else { *synced };
        let mine = beat.is_some() || looked || ready || figures;
        let reply = match answer {
            Answer::Ok(reply) => Some(reply),
            Answer::Error { .. } => None,
        };
        if let Some((_, sent)) = beat {
            self.measured(turn, sent, reply);
        }
        let Some(reply) = reply.filter(|_| looked || ready || figures) else { return mine };
        let at = turn.shared.manner.wall + turn.now;
        let watchers = &mut self.view_mut(turn, true).watchers;
        let changes = if looked {
            watch::statuses(watchers, reply, at)
        } else if ready {
            watch::readiness(watchers, reply, at)
        } else {
            watch::figures(watchers, reply, at);
            Vec::new()
        };
        if known {
            self.tell(turn, changes);
        }
        mine
    }

    pub(super) fn follow_beat(&mut self, turn: &mut Turn<'_>) {
        let Some(Follow { stage: Stage::Up(up), .. }) = &mut self.follow else { return };
        let due = up.heart.tick(turn.now);
        if due == Due::Silent {
            let reason = format!("silent: nothing heard for {:?}", up.heart.patience());
            // Asked on, for as long as somebody else needs the connection.
            up.heart.heard(turn.now);
            up.silent = true;
            return self.give_up(turn, &reason);
        }
        let every = match self.view.watching {
            Watching::Events => SAFETY,
            Watching::Not | Watching::Polls { .. } => turn.shared.manner.pace.poll,
        };
        let (look, ready) = (up.look.due(turn.now), up.ready.due(turn.now));
        let figures = up.figures.due(turn.now);
        // A question is a beat as well.
        let beat = due == Due::Beat && !(look || ready || figures);
        for (wanted, command) in
            [(look, "status"), (ready, "ready"), (figures, "stats"), (beat, "numwatchers")]
        {
            if wanted {
                self.follow_ask(turn, command, every);
            }
        }
    }

    fn follow_ask(&mut self, turn: &mut Turn<'_>, command: &str, every: Duration) {
        let Some(Follow { stage: Stage::Up(up), .. }) = &mut self.follow else { return };
        let id = turn.ids.request();
        let payload = Request::new(command, json!({})).encode(&id);
        turn.out.push(Effect::Send { node: self.id, payload });
        up.heart.asked(turn.now);
        let (question, every) = match command {
            "status" => (&mut up.look, every),
            "ready" => (&mut up.ready, every),
            "stats" => (&mut up.figures, turn.shared.manner.figures.unwrap_or(SAFETY)),
            _ => {
                up.beat = Some((id, turn.now));
                return;
            }
        };
        question.asked = Some(id.clone());
        // The first look after a gap is followed by a second one soon: see `follow_listening`.
        let gap = command == "status" && question.last.is_zero();
        question.next = Some(turn.now + if gap { LOOK_GAP } else { every });
        question.last = turn.now.max(Duration::from_nanos(1));
        up.beat = Some((id, turn.now));
    }

    /// Whether figures are wanted has changed.
    pub fn follow_figures(&mut self, turn: &mut Turn<'_>) {
        let Some(Follow { stage: Stage::Up(up), .. }) = &mut self.follow else { return };
        up.figures.next = turn.shared.manner.figures.map(|_| turn.now);
    }

    /// How long an answer took, and what time it is there.
    fn measured(&mut self, turn: &mut Turn<'_>, sent: Duration, reply: Option<&Map<String, Value>>) {
        let now = turn.shared.manner.wall + turn.now;
        let took = turn.now.saturating_sub(sent);
        let theirs = reply.and_then(|reply| reply.get("time")).and_then(Value::as_f64);
        let pulse = &mut self.view_mut(turn, false).pulse;
        pulse.heard = Some(now);
        pulse.round_trip = Some(took);
        if let Some(theirs) = theirs.filter(|time| time.is_finite()) {
            pulse.clock_offset = Some(theirs - (now.as_secs_f64() - took.as_secs_f64() / 2.0));
        }
    }
}

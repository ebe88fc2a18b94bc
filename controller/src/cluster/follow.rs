//! Following a node: one connection that is made again and again, a heartbeat on it, and what the node
//! tells about its watchers, by events where it publishes them and by asking where it does not.
//!
//! ```text
//!            pause over          place free          Opened           answered
//!   Away ─────────────► Queued ────────────► Connecting ────► Greeting ────► (Locating) ────► Up
//!    ▲                                           │               │               │            │
//!    └──────────── Lost, or nothing within the patience ─────────┴───────────────┴────────────┘
//! ```
//!
//! `Greeting` asks who is there (`hello`); `Locating` asks a stock node where it publishes. In `Up` each
//! beat is a question, and three kinds of it are more than that: *looks* (`status`), which are due when an
//! event said that there is something to know, after every gap in the events, and else now and then;
//! readiness; and figures, while somebody wants them.
//!
//! Operations use the same connection at the same time and are not kept waiting by any of this, nor keep
//! it waiting: answers find their question by its id.

mod questions;

use std::time::Duration;

use circus_protocol::event::Event;
use serde_json::{Value, json};

use questions::{LOOK_GAP, Question, Up};

use crate::cluster::Effect;
use crate::cluster::answer::{Answer, Request, UNKNOWN_COMMAND};
use crate::cluster::ears::ears;
use crate::cluster::node::{Connection, Daemon, Node};
use crate::cluster::pulse::{Heart, chance, pause};
use crate::cluster::run::Turn;
use crate::cluster::view::{State, Watching};
use crate::cluster::watch::{self, Track};

/// How often nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two beats.
    pub interval: Duration,
    /// Between two looks at a node whose events cannot be heard.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), poll: Duration::from_secs(4) }
    }
}

impl Pace {
    /// With a heartbeat so often; the rest follows from it.
    #[must_use]
    pub fn of(interval: Duration) -> Self {
        Self { interval, poll: Self::default().poll.max(interval) }
    }
}

/// How nodes are followed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manner {
    /// The time of day (Unix) when the cluster's own time was zero.
    pub wall: Duration,
    /// How often they are asked.
    pub pace: Pace,
    /// How often figures are asked for, while somebody wants them.
    pub figures: Option<Duration>,
    /// How many nodes' events can be heard at once: each takes a descriptor of its own.
    pub ears: usize,
    /// What the spread of pauses and beats depends on.
    pub seed: u64,
}

/// How long a connection may take. Longer than one lost SYN, which the kernel sends again after 1 s.
pub const CONNECT_TIME: Duration = Duration::from_millis(3_500);
/// Between an event and the look that it causes, so that a burst causes one.
const SETTLE: Duration = Duration::from_millis(150);
/// How long the first look waits for the subscription.
const EARS_FIRST: Duration = Duration::from_millis(500);
/// A node that was never seen is tried less and less often.
const ABSENT_FAILURES: u32 = 3;

/// What following a node needs to know of it.
#[derive(Debug)]
pub struct Follow {
    stage: Stage,
    /// Attempts that failed since it was there last.
    failures: u32,
    /// Its watchers were told once, so that a difference is a change.
    synced: bool,
    track: Track,
    /// Different for each node.
    seed: u64,
}

#[derive(Debug)]
enum Stage {
    Away { until: Duration },
    Queued,
    Connecting { until: Duration },
    Greeting { id: String, asked: Duration },
    Locating { id: String, asked: Duration },
    Up(Box<Up>),
}

impl Follow {
    /// Connects as soon as there is room.
    #[must_use]
    pub fn new(now: Duration, seed: u64) -> Self {
        let stage = Stage::Away { until: now };
        Self { stage, failures: 0, synced: false, track: Track::default(), seed }
    }

    /// When [`Node::follow_tick`] must be called next.
    #[must_use]
    pub fn next_deadline(&self, manner: &Manner) -> Option<Duration> {
        match &self.stage {
            Stage::Queued => None,
            Stage::Away { until } | Stage::Connecting { until } => Some(*until),
            Stage::Greeting { asked, .. } | Stage::Locating { asked, .. } => Some(*asked + patience(manner)),
            Stage::Up(up) => {
                let questions = [&up.look, &up.ready, &up.figures].map(Question::deadline);
                questions.into_iter().flatten().chain([up.heart.deadline()]).min()
            }
        }
    }

    /// The console was late itself by so much, and could hear nobody meanwhile.
    pub fn forgive(&mut self, late: Duration) {
        match &mut self.stage {
            Stage::Away { .. } | Stage::Queued => {}
            Stage::Connecting { until } => *until += late,
            Stage::Greeting { asked, .. } | Stage::Locating { asked, .. } => *asked += late,
            Stage::Up(up) => up.heart.forgive(late),
        }
    }

    /// Wants a place among those that connect.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.stage, Stage::Queued)
    }
}

fn patience(manner: &Manner) -> Duration {
    Heart::new(Duration::ZERO, manner.pace.interval, 0.0).patience()
}

impl Node {
    /// It may connect now.
    pub fn follow_connect(&mut self, turn: &mut Turn<'_>) {
        let Some(follow) = self.follow.as_mut().filter(|follow| follow.is_queued()) else { return };
        follow.stage = Stage::Connecting { until: turn.now + CONNECT_TIME };
        match self.connection {
            Connection::Closed => {
                self.connection = Connection::Opening { reached: false };
                turn.out.push(Effect::Open { node: self.id, first: Vec::new() });
            }
            Connection::Opening { .. } => {}
            Connection::Open { .. } => self.follow_opened(turn),
        }
        if self.view.state == State::Unknown {
            self.turn_into(turn, State::Connecting);
        }
    }

    /// There is a connection, whoever wanted it.
    pub fn follow_opened(&mut self, turn: &mut Turn<'_>) {
        let Some(follow) = &mut self.follow else { return };
        let id = turn.ids.request();
        let payload = Request::new("hello", json!({})).encode(&id);
        follow.stage = Stage::Greeting { id, asked: turn.now };
        turn.out.push(Effect::Send { node: self.id, payload });
    }

    /// There is none any more, or never was.
    pub fn follow_lost(&mut self, turn: &mut Turn<'_>, reason: &str) {
        let Some(follow) = &mut self.follow else { return };
        if let Stage::Up(up) = &follow.stage
            && up.listening
        {
            turn.shared.ears += 1;
            turn.out.push(Effect::Unlisten { node: self.id });
        }
        let longer = if self.seen { 0 } else { ABSENT_FAILURES };
        let until = turn.now + pause(follow.seed, follow.failures + longer);
        follow.failures = follow.failures.saturating_add(1);
        follow.stage = Stage::Away { until };
        follow.track.clear();
        let why = reason.into();
        let absent = self.spec.from_range && !self.seen;
        self.turn_into(turn, if absent { State::Absent { why } } else { State::Down { why } });
    }

    /// A frame came. Whether it was an answer to following, and no operation's.
    pub fn follow_received(&mut self, turn: &mut Turn<'_>, id: &str, answer: &Answer) -> bool {
        let Some(follow) = &mut self.follow else { return false };
        match &mut follow.stage {
            Stage::Away { .. } | Stage::Queued | Stage::Connecting { .. } => false,
            Stage::Greeting { id: wanted, .. } if *wanted == id => {
                self.follow_greeted(turn, answer);
                true
            }
            Stage::Locating { id: wanted, .. } if *wanted == id => {
                let options = match answer {
                    Answer::Ok(reply) => reply.get("options").and_then(|o| o.get("pubsub_endpoint")),
                    Answer::Error { .. } => None,
                };
                let endpoint = options.and_then(Value::as_str).map(str::to_owned);
                self.follow_up(turn, endpoint.as_deref());
                true
            }
            Stage::Greeting { .. } | Stage::Locating { .. } => false,
            Stage::Up(up) => {
                up.heart.heard(turn.now);
                if std::mem::take(&mut up.silent) {
                    up.look.by(turn.now);
                    self.turn_into(turn, State::Up);
                }
                self.follow_answered(turn, id, answer)
            }
        }
    }

    fn follow_greeted(&mut self, turn: &mut Turn<'_>, answer: &Answer) {
        let daemon = match answer {
            Answer::Ok(hello) => Daemon::from_hello(hello),
            Answer::Error { errno: UNKNOWN_COMMAND, .. } => Daemon::Stock,
            Answer::Error { reason, .. } => {
                let reason = format!("no circusd: it answers hello by {reason}");
                return self.give_up(turn, &reason);
            }
        };
        let publishes = match &daemon {
            Daemon::Stock => None,
            Daemon::Rs { publishes, .. } => Some(publishes.clone()),
        };
        self.knows(daemon);
        match publishes {
            Some(endpoint) => self.follow_up(turn, endpoint.as_deref()),
            None => {
                let id = turn.ids.request();
                let payload = Request::new("globaloptions", json!({})).encode(&id);
                turn.out.push(Effect::Send { node: self.id, payload });
                if let Some(follow) = &mut self.follow {
                    follow.stage = Stage::Locating { id, asked: turn.now };
                }
            }
        }
    }

    /// It answers: from now on it is up.
    fn follow_up(&mut self, turn: &mut Turn<'_>, publishes: Option<&str>) {
        let can_tell = self.daemon().is_some_and(|daemon| daemon.can("ready"));
        let Some(follow) = &mut self.follow else { return };
        let manner = &turn.shared.manner;
        let ears =
            publishes.and_then(|text| ears(&self.spec.endpoint, text)).filter(|_| turn.shared.ears > 0);
        let phase = chance(follow.seed, follow.failures);
        let question = |next| Question { next, ..Question::default() };
        let first = if ears.is_some() { turn.now + EARS_FIRST } else { turn.now };
        let watching = match ears {
            Some(_) => Watching::Not,
            None => Watching::Polls { every: manner.pace.poll },
        };
        follow.stage = Stage::Up(Box::new(Up {
            heart: Heart::new(turn.now, manner.pace.interval, phase),
            beat: None,
            look: question(Some(first)),
            ready: question(can_tell.then_some(first)),
            figures: question(manner.figures.map(|every| turn.now + every.mul_f64(phase))),
            listening: ears.is_some(),
            silent: false,
        }));
        follow.failures = 0;
        if let Some(endpoint) = ears {
            turn.shared.ears -= 1;
            turn.out.push(Effect::Listen { node: self.id, endpoint });
        }
        self.watching(turn, watching);
        self.turn_into(turn, State::Up);
    }

    /// The events of the node are heard from now on; what came before may have been missed.
    pub fn follow_listening(&mut self, turn: &mut Turn<'_>) {
        let Some(Follow { stage: Stage::Up(up), track, .. }) = &mut self.follow else { return };
        track.clear();
        // The subscription travels on another connection than the question, so one look is not enough.
        up.look.asked = None;
        up.look.next = Some(turn.now);
        up.look.last = Duration::ZERO;
        up.ready.next = up.ready.next.map(|_| turn.now);
        self.watching(turn, Watching::Events);
    }

    /// They are not heard any more; the socket tries again by itself.
    pub fn follow_deaf(&mut self, turn: &mut Turn<'_>) {
        let every = turn.shared.manner.pace.poll;
        let Some(Follow { stage: Stage::Up(up), .. }) = &mut self.follow else { return };
        up.look.by(turn.now);
        self.watching(turn, Watching::Polls { every });
    }

    /// An event came.
    pub fn follow_event(&mut self, turn: &mut Turn<'_>, topic: &[u8], payload: &[u8]) {
        let at = turn.shared.manner.wall + turn.now;
        // An action that is not known here, of a circus to come, is no reason for anything.
        let Ok(event) = Event::decode(topic, payload) else { return };
        if !matches!(self.follow, Some(Follow { stage: Stage::Up(_), .. })) {
            return;
        }
        let mut watchers = std::mem::take(&mut self.view_mut(turn, true).watchers);
        let Some(Follow { stage: Stage::Up(up), track, .. }) = &mut self.follow else { return };
        let (news, look) = watch::event(&mut watchers, track, &event, at);
        if look {
            up.look.by((turn.now + SETTLE).max(up.look.last + LOOK_GAP));
        }
        self.view_mut(turn, true).watchers = watchers;
        self.tell(turn, news);
    }

    /// Time has passed.
    pub fn follow_tick(&mut self, turn: &mut Turn<'_>) {
        let patience = patience(&turn.shared.manner);
        let Some(follow) = &mut self.follow else { return };
        match &mut follow.stage {
            Stage::Away { until } if *until <= turn.now => {
                follow.stage = Stage::Queued;
                turn.shared.lobby.push_back(self.id);
            }
            Stage::Connecting { until } if *until <= turn.now => {
                let (_, reason) = self.silent(&format!("{} s", CONNECT_TIME.as_secs_f64()));
                self.give_up(turn, &reason);
            }
            Stage::Greeting { asked, .. } | Stage::Locating { asked, .. }
                if *asked + patience <= turn.now =>
            {
                let reason = format!("accepts connections, but does not answer within {patience:?}");
                self.give_up(turn, &reason);
            }
            Stage::Up(_) => self.follow_beat(turn),
            Stage::Away { .. }
            | Stage::Queued
            | Stage::Connecting { .. }
            | Stage::Greeting { .. }
            | Stage::Locating { .. } => {}
        }
    }

    /// Down, for this reason. The connection is dropped unless an operation still waits on it: then a
    /// node that was only slow comes back by itself.
    fn give_up(&mut self, turn: &mut Turn<'_>, reason: &str) {
        let Some(follow) = &mut self.follow else { return };
        if self.runs.is_empty() {
            self.close(turn, "given up");
            // Its true reason is known here.
            self.cut = None;
            return self.follow_lost(turn, reason);
        }
        match &mut follow.stage {
            Stage::Connecting { until } => *until = turn.now + CONNECT_TIME,
            Stage::Greeting { asked, .. } | Stage::Locating { asked, .. } => *asked = turn.now,
            Stage::Up(_) | Stage::Away { .. } | Stage::Queued => {}
        }
        let why = reason.into();
        let absent = self.spec.from_range && !self.seen;
        self.turn_into(turn, if absent { State::Absent { why } } else { State::Down { why } });
    }

    /// Nobody follows any more.
    pub fn unfollow(&mut self, turn: &mut Turn<'_>) {
        if let Some(Follow { stage: Stage::Up(up), .. }) = self.follow.take()
            && up.listening
        {
            turn.out.push(Effect::Unlisten { node: self.id });
        }
    }
}

#[cfg(test)]
mod tests;

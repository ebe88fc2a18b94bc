//! One operation on one node: from the queue to its one outcome.
//!
//! ```text
//!  Queued ─► Connecting ─► Ready ─► Greeting ─► Sweeping ─► Operating ─► Cleaning ─► (outcome)
//!              │   ▲         │          │            │          │  │         ▲
//!              │   └─────────┴──────────┴────────────┴── lost ──┘  └─ a one-shot was added
//!              └─ refused, no answer: unreachable or absent
//! ```
//!
//! `Ready` waits for one of the slots that bound how many nodes work at once; connecting needs none,
//! so that nodes which are switched off delay nobody. A lost connection begins the operation anew as
//! long as nothing but questions was sent; afterwards it ends it. A busy node is asked again with
//! growing pauses. The deadline ends everything; only `Cleaning` gets a little more time.

mod ahead;
mod asking;
mod interrupt;

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::answer::{Answer, Request, UNKNOWN_COMMAND};
use crate::cluster::node::{Connection, Daemon, Node};
use crate::cluster::oneshot::{Removal, Sweep};
use crate::cluster::operations::{Class, Ended, OperationId, Shared};
use crate::cluster::plan::Plan;
use crate::cluster::procedure::{Context, Event, Next, Procedure, Verdict};
use crate::cluster::{Effect, Ids};
use crate::outcome::{NodeOutcome, NodeState, Progress};
use ahead::Ahead;

/// What the removal of a one-shot gets when the operation's own time is over.
pub const CLEANUP_TIME: Duration = Duration::from_secs(2);
/// How often an operation begins anew after its connection was lost.
const MAX_RESTARTS: u32 = 2;
/// The first pause before a busy node is asked again; each further one is twice as long.
const BUSY_FIRST: Duration = Duration::from_millis(25);
/// The longest such pause.
const BUSY_LONGEST: Duration = Duration::from_millis(800);
/// Why a connection is dropped on which something came that no circus says.
pub(super) const NO_CIRCUS: &str = "not a circusd: its answer is none of circus'";
/// Why a connection is dropped on which nothing came.
const GIVEN_UP: &str = "given up, because an answer did not come in time";
/// The pause before a connection that is needed for cleaning is tried again.
const REOPEN: Duration = Duration::from_millis(200);

/// An operation under way on one node.
#[derive(Debug)]
pub struct Run {
    /// Of which operation this is the part of one node.
    pub operation: OperationId,
    /// As what the operation counts it.
    pub counted: Class,
    plan: Arc<Plan>,
    /// This node's position in the inventory.
    index: usize,
    started: Duration,
    deadline: Option<Duration>,
    phase: Phase,
    wish: Wish,
    ahead: Option<Ahead>,
    /// The greeting, while it is not yet its time.
    hello: Option<Ahead>,
    /// Something that changes the node was sent.
    mutated: bool,
    restarts: u32,
    backoff: Duration,
}

#[derive(Debug)]
enum Phase {
    Queued,
    Connecting,
    Ready,
    Greeting,
    Sweeping(Sweep),
    Operating(Box<dyn Procedure>),
    Cleaning { verdict: Verdict, removal: Removal },
}

/// What the run waits for, besides the connection and its deadline.
#[derive(Debug)]
enum Wish {
    Nothing,
    Answer {
        id: String,
        request: Request,
    },
    Busy {
        until: Duration,
        request: Request,
        reason: String,
    },
    Pause {
        until: Duration,
    },
    /// The console asks for itself.
    Probe {
        id: String,
    },
}

/// The time, the next request's id, and where effects go.
#[derive(Debug)]
pub struct Turn<'a> {
    /// Since the cluster was made.
    pub now: Duration,
    /// For request ids and one-shot names.
    pub ids: &'a mut Ids,
    /// What all nodes share.
    pub shared: &'a mut Shared,
    /// What to do.
    pub out: &'a mut Vec<Effect>,
}

impl Run {
    /// Waits in the queue.
    #[must_use]
    pub fn new(operation: OperationId, plan: Arc<Plan>, index: usize, now: Duration) -> Self {
        Self {
            operation,
            counted: Class::New,
            plan,
            index,
            started: now,
            deadline: None,
            phase: Phase::Queued,
            wish: Wish::Nothing,
            ahead: None,
            hello: None,
            mutated: false,
            restarts: 0,
            backoff: BUSY_FIRST,
        }
    }

    /// As what its operation is to count it.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.phase {
            Phase::Queued => Class::Queued,
            Phase::Connecting => Class::Connecting,
            Phase::Ready => Class::Ready,
            Phase::Greeting | Phase::Sweeping(_) | Phase::Operating(_) | Phase::Cleaning { .. } => {
                Class::Active
            }
        }
    }

    /// It waits for the answer to that question.
    #[must_use]
    pub fn asked(&self, question: &str) -> bool {
        matches!(&self.wish, Wish::Answer { id, .. } | Wish::Probe { id } if id == question)
            || [&self.hello, &self.ahead].into_iter().flatten().any(|ahead| ahead.waits_for(question))
    }

    /// It waits for some answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.wish, Wish::Answer { .. }) || self.hello.as_ref().is_some_and(Ahead::is_waiting)
    }

    /// The next moment at which something happens by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        let wake = match &self.wish {
            Wish::Busy { until, .. } | Wish::Pause { until } => Some(*until),
            Wish::Nothing | Wish::Answer { .. } | Wish::Probe { .. } => None,
        };
        [self.deadline, wake].into_iter().flatten().min()
    }

    /// The one-shot watcher that an abandoned run would leave behind.
    #[must_use]
    pub fn leftover(&self) -> Option<&str> {
        match &self.phase {
            Phase::Operating(procedure) if self.mutated => procedure.leftover(),
            Phase::Cleaning { removal, .. } => Some(removal.name()),
            Phase::Queued
            | Phase::Connecting
            | Phase::Ready
            | Phase::Greeting
            | Phase::Sweeping(_)
            | Phase::Operating(_) => None,
        }
    }
}

impl Node {
    /// Leaves the queue: the connection is made, or is there already.
    pub fn connect(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        if let Connection::Open { .. } = self.connection {
            run.phase = Phase::Ready;
            return;
        }
        run.phase = Phase::Connecting;
        run.deadline.get_or_insert(turn.now + run.plan.timeout);
        // It may be in the making for somebody else.
        if self.connection == Connection::Closed {
            self.connection = Connection::Opening { reached: false };
            let first = run.greet_early(turn);
            turn.out.push(Effect::Open { node: self.id, first });
        }
    }

    /// Gets a slot: the operation begins.
    pub fn work(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        if run.restarts == 0 {
            // Neither connecting nor waiting for a slot is taken from the operation's time.
            run.deadline = Some(turn.now + run.plan.timeout);
        }
        run.phase = Phase::Greeting;
        if self.daemon().is_some() {
            self.sweep(turn);
        } else {
            self.greet(turn);
        }
    }

    /// There is a connection.
    pub(super) fn run_opened(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        match &run.phase {
            Phase::Connecting => {
                run.phase = Phase::Ready;
                if run.restarts == 0 {
                    // Its turn comes, because the time of those before it is limited.
                    run.deadline = None;
                }
            }
            Phase::Cleaning { .. } => self.clean(turn, Event::Begin),
            Phase::Queued | Phase::Ready | Phase::Greeting | Phase::Sweeping(_) | Phase::Operating(_) => {}
        }
    }

    /// There is none any more, or never was.
    pub(super) fn run_lost(&mut self, turn: &mut Turn<'_>, reason: &str) {
        let Some(run) = &mut self.run else { return };
        let what = run.under_way();
        run.wish = Wish::Nothing;
        run.ahead = None;
        run.hello = None;
        match &run.phase {
            Phase::Queued => {}
            Phase::Connecting => self.unreachable(turn, reason),
            Phase::Cleaning { .. } => run.wish = Wish::Pause { until: turn.now + REOPEN },
            Phase::Ready | Phase::Greeting | Phase::Sweeping(_) | Phase::Operating(_) if run.mutated => {
                let text =
                    format!("connection lost during {what}, which may have been done or not: {reason}");
                self.conclude(turn, Verdict::bare(NodeState::Failed, text));
            }
            Phase::Ready | Phase::Greeting | Phase::Sweeping(_) | Phase::Operating(_) => {
                if run.restarts >= MAX_RESTARTS {
                    let verdict = Verdict::bare(NodeState::Unreachable, format!("connection lost: {reason}"));
                    return self.end(turn, verdict);
                }
                // An old connection that turned out dead, or a daemon that restarts: begin anew.
                run.restarts += 1;
                run.phase = Phase::Queued;
            }
        }
    }

    /// A frame came that is no circus'.
    pub(super) fn run_garbled(&mut self, turn: &mut Turn<'_>) {
        if self.run.as_ref().is_some_and(Run::is_waiting) {
            self.close(turn, NO_CIRCUS);
            self.conclude(turn, Verdict::bare(NodeState::Failed, NO_CIRCUS));
        }
    }

    /// An answer came.
    pub(super) fn run_received(&mut self, turn: &mut Turn<'_>, id: &str, answer: Answer) {
        let Some(run) = &mut self.run else { return };
        run.keep_early(id, &answer);
        let request = match std::mem::replace(&mut run.wish, Wish::Nothing) {
            Wish::Answer { id: wanted, request } if wanted == id => request,
            // Late, ahead, or a quirk of the daemon: what we wait for is still to come.
            other => {
                run.wish = other;
                return;
            }
        };
        if answer.is_busy() {
            return self.busy(turn, request, &answer);
        }
        run.backoff = BUSY_FIRST;
        match run.phase {
            Phase::Greeting => self.greeted(turn, answer),
            Phase::Queued
            | Phase::Connecting
            | Phase::Ready
            | Phase::Sweeping(_)
            | Phase::Operating(_)
            | Phase::Cleaning { .. } => self.happen(turn, Event::Answer(answer)),
        }
    }

    /// Time has passed.
    pub(super) fn run_tick(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        if run.deadline.is_some_and(|deadline| deadline <= turn.now) {
            return self.expire(turn);
        }
        match std::mem::replace(&mut run.wish, Wish::Nothing) {
            Wish::Busy { until, request, .. } if until <= turn.now => self.send(turn, request),
            Wish::Pause { until } if until <= turn.now => match (&run.phase, &self.connection) {
                (Phase::Cleaning { .. }, Connection::Closed) => {
                    self.connection = Connection::Opening { reached: false };
                    turn.out.push(Effect::Open { node: self.id, first: Vec::new() });
                }
                _ => self.happen(turn, Event::Woken),
            },
            other => run.wish = other,
        }
    }

    fn busy(&mut self, turn: &mut Turn<'_>, request: Request, answer: &Answer) {
        let Some(run) = &mut self.run else { return };
        let reason = match answer {
            Answer::Error { reason, .. } => reason.clone(),
            Answer::Ok(_) => String::new(),
        };
        if run.backoff == BUSY_FIRST {
            let text = format!("{}: {reason}; asking again", request.describe());
            let note = Progress::Note { node: self.spec.name.clone(), text };
            turn.out.push(Effect::Report(run.operation, note));
        }
        run.wish = Wish::Busy { until: turn.now + run.backoff, request, reason };
        run.backoff = (run.backoff * 2).min(BUSY_LONGEST);
    }

    fn greeted(&mut self, turn: &mut Turn<'_>, answer: Answer) {
        let daemon = match answer {
            Answer::Ok(hello) => Daemon::from_hello(&hello),
            Answer::Error { errno: UNKNOWN_COMMAND, .. } => Daemon::Stock,
            Answer::Error { reason, .. } => {
                return self.conclude(turn, Verdict::bare(NodeState::Failed, format!("hello: {reason}")));
            }
        };
        self.knows(daemon);
        self.sweep(turn);
    }

    /// Looks for what a crashed console left on a stock node, once for each connection.
    fn sweep(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        match &mut self.connection {
            Connection::Open { daemon: Some(Daemon::Stock), swept, .. }
                if !*swept || !self.debts.is_empty() =>
            {
                *swept = true;
                run.phase = Phase::Sweeping(Sweep::new(turn.ids.session(), self.debts.clone()));
                self.happen(turn, Event::Begin);
            }
            Connection::Open { .. } | Connection::Opening { .. } | Connection::Closed => self.operate(turn),
        }
    }

    fn operate(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        match run.plan.procedure(run.index, &self.spec, turn.ids) {
            Ok(procedure) => {
                run.phase = Phase::Operating(procedure);
                self.happen(turn, Event::Begin);
            }
            Err(verdict) => self.conclude(turn, verdict),
        }
    }

    /// Hands an event to whichever procedure is at work and carries out what it wants.
    fn happen(&mut self, turn: &mut Turn<'_>, event: Event) {
        let stock = Daemon::Stock;
        let (Some(run), connection) = (&mut self.run, &self.connection) else { return };
        let daemon = match connection {
            Connection::Open { daemon: Some(daemon), .. } => daemon,
            Connection::Open { daemon: None, .. } | Connection::Opening { .. } | Connection::Closed => &stock,
        };
        let context = Context { daemon, now: turn.now };
        let next = match &mut run.phase {
            Phase::Sweeping(sweep) => sweep.next(&context, event),
            Phase::Operating(procedure) => procedure.next(&context, event),
            Phase::Cleaning { .. } => return self.clean(turn, event),
            Phase::Queued | Phase::Connecting | Phase::Ready | Phase::Greeting => return,
        };
        match next {
            Next::Send(request) => self.send(turn, request),
            Next::Pause(time) => run.wish = Wish::Pause { until: turn.now + time },
            Next::Probe(questions) => self.probe(turn, questions),
            Next::Finish(verdict) if matches!(run.phase, Phase::Sweeping(_)) => {
                if verdict.state == NodeState::Done {
                    self.debts.clear();
                }
                if !verdict.reason.is_empty() {
                    let note = Progress::Note { node: self.spec.name.clone(), text: verdict.reason };
                    turn.out.push(Effect::Report(run.operation, note));
                }
                self.operate(turn);
            }
            Next::Finish(verdict) => self.conclude(turn, verdict),
        }
    }

    fn clean(&mut self, turn: &mut Turn<'_>, event: Event) {
        let Some(Run { phase: Phase::Cleaning { removal, .. }, wish, .. }) = &mut self.run else { return };
        match removal.step(event) {
            Next::Send(request) => self.send(turn, request),
            Next::Pause(time) => *wish = Wish::Pause { until: turn.now + time },
            // A removal asks nobody but its node.
            Next::Probe(_) => {}
            Next::Finish(removed) => {
                let Some(run) = &mut self.run else { return };
                let Phase::Cleaning { verdict, .. } = std::mem::replace(&mut run.phase, Phase::Ready) else {
                    return;
                };
                self.end(turn, verdict.noting(&removed.reason));
            }
        }
    }

    /// The operation is over; what it left behind is not.
    fn conclude(&mut self, turn: &mut Turn<'_>, verdict: Verdict) {
        let Some(run) = &mut self.run else { return };
        let leftover = match &run.phase {
            Phase::Cleaning { .. } => None,
            _ => run.leftover().map(str::to_owned),
        };
        let Some(name) = leftover else { return self.end(turn, verdict) };
        run.phase = Phase::Cleaning { verdict, removal: Removal::new(name) };
        run.deadline = Some(run.deadline.map_or(turn.now, |d| d.max(turn.now)) + CLEANUP_TIME);
        match self.connection {
            Connection::Open { .. } => self.clean(turn, Event::Begin),
            Connection::Closed => run.wish = Wish::Pause { until: turn.now },
            Connection::Opening { .. } => run.wish = Wish::Nothing,
        }
    }

    fn expire(&mut self, turn: &mut Turn<'_>) {
        let Some(run) = &mut self.run else { return };
        let limit = format!("{} s", run.plan.timeout.as_secs_f64());
        let waited = std::mem::replace(&mut run.wish, Wish::Nothing);
        match &mut run.phase {
            Phase::Queued | Phase::Connecting | Phase::Ready => {
                let (state, reason) = self.silent(&limit);
                if self.follow.is_none() {
                    self.close(turn, GIVEN_UP);
                }
                self.end(turn, Verdict::bare(state, reason));
            }
            Phase::Cleaning { removal, .. } => {
                // The next operation there begins with it.
                self.debts.push(removal.name().to_owned());
                let note =
                    format!("the watcher {} could not be removed and may still be there", removal.name());
                let Phase::Cleaning { verdict, .. } = std::mem::replace(&mut run.phase, Phase::Ready) else {
                    return;
                };
                self.close(turn, GIVEN_UP);
                self.end(turn, verdict.noting(&note));
            }
            Phase::Greeting | Phase::Sweeping(_) | Phase::Operating(_) => {
                let verdict = Verdict::bare(NodeState::TimedOut, run.late(&waited, &limit));
                // Without an answer there may be nobody at the other end any more.
                let silent = matches!(waited, Wish::Answer { .. }) && run.leftover().is_none();
                // Who follows the node finds that out better.
                if silent && self.follow.is_none() {
                    self.close(turn, GIVEN_UP);
                }
                self.conclude(turn, verdict);
            }
        }
    }

    fn unreachable(&mut self, turn: &mut Turn<'_>, reason: &str) {
        self.end(turn, Verdict::bare(self.missing(), reason));
    }

    fn end(&mut self, turn: &mut Turn<'_>, verdict: Verdict) {
        let daemon = self.daemon().map(Daemon::describe);
        let Some(run) = self.run.take() else { return };
        let outcome = NodeOutcome {
            node: self.spec.name.clone(),
            state: verdict.state,
            reason: verdict.reason,
            daemon,
            data: verdict.data,
            elapsed: turn.now.saturating_sub(run.started),
        };
        self.ended.push(Ended { operation: run.operation, counted: run.counted, outcome });
    }
}

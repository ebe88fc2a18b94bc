//! The end of every step: watchers converge, tickets come back, turns go round, until nothing moves.

use circus_protocol::reply::{Refusal, Reply};

use crate::arbiter::effect::{Effect, LogLevel};
use crate::arbiter::id::WatcherId;
use crate::arbiter::operation::{Goal, OpId, Operation, Shape, Then, Ticket};
use crate::arbiter::watcher::{Wanted, Watcher};
use crate::arbiter::{Arbiter, ENDING, Ending, Reading, Work};

impl Arbiter {
    /// Touches only watchers that something happened to.
    pub(super) fn settle(&mut self, work: &mut Work) {
        loop {
            while let Some(id) = work.dirty.pop_front() {
                self.converge(id, work);
            }
            if !self.collect(work) && !self.advance_turns(work) && work.done.is_empty() {
                break;
            }
        }
        self.watch_sockets(work);
        self.answer_waiters(work);
        if matches!(self.ending, Ending::Graceful | Ending::Killing) && self.up == 0 {
            self.exit(0, work);
        }
    }

    fn converge(&mut self, id: WatcherId, work: &mut Work) {
        self.line_up(id, work);
        self.lend(id, work, Watcher::converge);
        self.judge(id, work);
        self.tell_neighbours(id, work);
        let probe = self.next_probe(id);
        let Some(watcher) = self.watchers.get_mut(&id) else { return };
        let before = watcher.noted;
        watcher.noted = watcher.next_deadline(work.now.mono).into_iter().chain(probe).min();
        let after = watcher.noted;
        let forget = watcher.wanted == Wanted::Gone && watcher.is_down();
        if before != after || forget {
            self.deadlines.extend(after.filter(|_| !forget).map(|at| (at, id)));
            if let Some(at) = before.filter(|_| before != after || forget) {
                self.deadlines.remove(&(at, id));
            }
        }
        if forget {
            self.watchers.remove(&id);
            work.out.push(Effect::ForgetStreams { watcher: id });
        }
        self.note_demand(id, work.now.mono);
    }

    /// Takes tickets back; true if there were any.
    fn collect(&mut self, work: &mut Work) -> bool {
        if work.done.is_empty() {
            return false;
        }
        for (op, outcome) in std::mem::take(&mut work.done) {
            if let Some(operation) = self.operations.get_mut(op) {
                operation.note(outcome);
            }
            self.close(op, work);
        }
        true
    }

    /// Answers, and does what follows, if all tickets are back.
    pub(super) fn close(&mut self, op: OpId, work: &mut Work) {
        let Some(mut operation) = self.operations.close_finished(op) else { return };
        match operation.then {
            Then::Nothing => {
                let answer = operation.answer();
                work.reply(operation.reply, answer);
            }
            Then::Start => self.start_after_stop(&mut operation, work),
            Then::Rebuild => {
                work.reply(operation.reply, Reply::ok());
                self.readings.push_back(Reading::Rebuild);
                work.out.push(Effect::ReadConfig);
            }
            Then::Job(job) => self.begin_job(job, operation.problem(), work),
        }
    }

    /// Opens an operation over these watchers; they have had their wish already.
    pub(super) fn claim(
        &mut self,
        operation: Operation,
        goals: Vec<(WatcherId, Goal)>,
        command: &'static str,
        work: &mut Work,
    ) -> OpId {
        let count = goals.len();
        let op = self.operations.open(operation);
        if let Some(operation) = self.operations.get_mut(op) {
            operation.outstanding += count;
        }
        for (id, goal) in goals {
            if self.with(id, work, |watcher, _| watcher.tickets.push(Ticket { op, goal, command })).is_none()
            {
                debug_assert!(false, "a ticket for nobody: {id:?}");
                work.done.push((op, crate::arbiter::operation::Outcome::done()));
            }
        }
        self.close(op, work);
        op
    }

    /// The second half of a restart of several.
    fn start_after_stop(&mut self, stopped: &mut Operation, work: &mut Work) {
        let ids = std::mem::take(&mut stopped.watchers);
        let ids = ids.into_iter().filter(|id| {
            self.watchers.get(id).is_some_and(|watcher| watcher.config.autostart && watcher.is_down())
        });
        let goals: Vec<_> = ids.map(|id| (id, Goal::Up { before: Vec::new() })).collect();
        for (id, _) in &goals {
            self.queue_start(*id, work);
        }
        let mut operation = Operation::new(stopped.reply, Shape::Plain, Then::Nothing);
        operation.inherit(stopped);
        self.claim(operation, goals, "restart", work);
    }

    /// Up in its turn.
    pub(super) fn queue_start(&mut self, id: WatcherId, work: &mut Work) {
        for before in self.down_before(id) {
            // Who waited for it to be down in this very step is told first that it is.
            self.converge(before, work);
            self.queue_start(before, work);
        }
        let Some(watcher) = self.watchers.get(&id) else { return };
        let priority = watcher.config.priority;
        if watcher.config.on_demand {
            // Nothing to wait a turn for: its turn comes when somebody knocks.
            self.with(id, work, |watcher, _| watcher.wish_up());
            return;
        }
        self.with(id, work, |watcher, _| watcher.wish_queued());
        self.turns.enter(priority, id);
    }

    // ---- the end ----

    /// Everybody down, lowest priority first; the exit follows by itself.
    pub(super) fn begin_end(&mut self, work: &mut Work) -> Vec<WatcherId> {
        if self.ending == Ending::No {
            self.ending = Ending::Graceful;
        }
        let ids = self.ascending(self.watchers.keys().copied().collect());
        for id in &ids {
            self.wish_down(*id, Wanted::Down, "quit", work);
        }
        ids
    }

    /// TERM, INT, QUIT: first graceful, then by force, then at once.
    pub(super) fn interrupted(&mut self, work: &mut Work) {
        match self.ending {
            Ending::No => {
                self.begin_end(work);
            }
            Ending::Graceful => {
                self.ending = Ending::Killing;
                work.log(LogLevel::Warn, "second interrupt, killing everything".to_owned());
                let (now, ids) = (work.now.mono, self.watchers.keys().copied().collect::<Vec<_>>());
                for id in ids {
                    self.with(id, work, |watcher, _| watcher.wish_hurry(now));
                }
            }
            Ending::Killing => {
                work.log(LogLevel::Error, "third interrupt, leaving processes behind".to_owned());
                self.exit(1, work);
            }
            Ending::Over => {}
        }
    }

    fn exit(&mut self, code: u8, work: &mut Work) {
        self.ending = Ending::Over;
        let refusal = || Refusal::Conflict(ENDING.to_owned());
        for operation in self.operations.drain() {
            work.refuse(operation.reply, refusal());
        }
        for job in std::mem::take(&mut self.jobs).into_values() {
            work.refuse(job.reply(), refusal());
        }
        for question in std::mem::take(&mut self.samples).into_values() {
            work.refuse(question.reply, refusal());
        }
        for reply in self.waiters.drain() {
            work.refuse(Some(reply), refusal());
        }
        self.deadlines.clear();
        self.turns = super::turn::Turns::default();
        work.out.push(Effect::Exit { code });
    }
}

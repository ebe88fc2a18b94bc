//! What each command wishes, and when it is answered. Commands that only ask are in
//! [`super::answer`].

use circus_protocol::command::{Add, Adjust, Command, Kill, Reload, Selection, Set};
use circus_protocol::event::{Event, EventKind};
use circus_protocol::number::Pid;
use circus_protocol::reply::{Refusal, Reply};
use serde_json::{Value, json};

use crate::arbiter::effect::Effect;
use crate::arbiter::id::{Key, ReplyTo, WatcherId};
use crate::arbiter::operation::{Goal, Operation, Shape, Then};
use crate::arbiter::selection::Chosen;
use crate::arbiter::time::seconds;
use crate::arbiter::watcher::{Style, Wanted, Watcher};
use crate::arbiter::{Arbiter, ENDING, Ending, Reading, Work, deliver};
use crate::config::WatcherConfig;
use crate::config::option::{self, MAX_PROCESSES, Trigger};

type Answered = Result<(), Refusal>;

impl Arbiter {
    /// Every command gets exactly one reply, now or when its work is done.
    pub(super) fn obey(&mut self, command: Command, reply: Option<ReplyTo>, work: &mut Work) {
        if let Err(refusal) = self.try_obey(command, reply, work) {
            work.refuse(reply, refusal);
        }
    }

    fn try_obey(&mut self, command: Command, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        match command {
            Command::Add(add) => self.add(&add, reply, work),
            Command::Decr(adjust) => self.adjust(&adjust, -1, reply, work),
            Command::Incr(adjust) => self.adjust(&adjust, 1, reply, work),
            Command::Kill(kill) => self.kill(&kill, reply, work),
            Command::Quit { waiting } => self.quit(waiting, reply, work),
            Command::Reload(reload) => self.reload(&reload, reply, work),
            Command::ReloadConfig { waiting } => self.reload_config(waiting, reply, work),
            Command::Restart(selection) => self.restart(&selection, reply, work),
            Command::Rm { name, nostop, waiting } => self.rm(&name, nostop, waiting, reply, work),
            Command::Set(set) => self.set(&set, reply, work),
            Command::Signal(signal) => self.signal(&signal, reply, work),
            Command::Start(selection) => self.start(&selection, reply, work),
            Command::Stop(selection) => self.stop(&selection, reply, work),
            Command::Configure(configure) => self.configure(&configure, reply, work),
            Command::Reset(reset) => self.reset(&reset, reply, work),
            Command::Preflight(preflight) => self.preflight(&preflight, reply, work),
            Command::Ready(ready) => self.ready(&ready, reply, work),
            Command::Stats(query) => self.stats(&query, reply, work),
            Command::Why { name } => self.why(&name, reply, work),
            Command::Logs(logs) => self.logs(&logs, reply, work),
            Command::Dstats => self.dstats(reply, work),
            Command::Get { .. }
            | Command::GlobalOptions { .. }
            | Command::Ipython
            | Command::List { .. }
            | Command::Listen
            | Command::ListSockets
            | Command::NumProcesses { .. }
            | Command::NumWatchers
            | Command::Options { .. }
            | Command::Status { .. }
            | Command::Hello => {
                let answer = self.answer(&command, work.now)?;
                work.reply(reply, answer);
                Ok(())
            }
        }
    }

    /// Once the daemon ends, nothing starts any more.
    pub(super) fn refuse_while_ending(&self) -> Answered {
        match self.ending {
            Ending::No => Ok(()),
            Ending::Graceful | Ending::Killing | Ending::Over => Err(Refusal::Conflict(ENDING.to_owned())),
        }
    }

    fn pids(&self, id: WatcherId) -> Vec<Pid> {
        self.watchers.get(&id).map(|watcher| watcher.pids().collect()).unwrap_or_default()
    }

    // ---- start, stop, restart ----

    fn start(&mut self, selection: &Selection, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        let waiting = selection.waiting;
        match self.choose(selection)? {
            Chosen::One(id) => {
                self.refuse_conflicts(id, work)?;
                let goal = if waiting { Goal::Up { before: self.pids(id) } } else { Goal::Begun };
                self.start_now(id, "start", work);
                self.claim(operation(reply, waiting, Shape::Started), vec![(id, goal)], "start", work);
            }
            Chosen::Several(mut ids) => {
                ids.retain(|id| self.watchers.get(id).is_some_and(|watcher| watcher.config.autostart));
                let goals = ids.iter().map(|id| {
                    let goal = if waiting { Goal::Up { before: Vec::new() } } else { Goal::Begun };
                    (*id, goal)
                });
                let goals = goals.collect();
                for id in ids {
                    self.wish(id, "start", work, |_| {});
                    self.queue_start(id, work);
                }
                self.claim(operation(reply, waiting, Shape::Plain), goals, "start", work);
            }
        }
        Ok(())
    }

    /// Up, past any queue.
    fn start_now(&mut self, id: WatcherId, by: &str, work: &mut Work) {
        for before in self.down_before(id) {
            self.wish(before, by, work, Watcher::wish_up);
        }
        self.wish(id, by, work, Watcher::wish_up);
    }

    fn stop(&mut self, selection: &Selection, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        let waiting = selection.waiting;
        let (ids, shape) = match self.choose(selection)? {
            Chosen::One(id) => (vec![id], Shape::Null),
            Chosen::Several(ids) => (self.ascending(ids), Shape::Plain),
        };
        for id in &ids {
            self.wish_down(*id, Wanted::Down, "stop", work);
        }
        let goal = if waiting { Goal::Down } else { Goal::Begun };
        let goals = ids.into_iter().map(|id| (id, goal.clone())).collect();
        self.claim(operation(reply, waiting, shape), goals, "stop", work);
        Ok(())
    }

    fn restart(&mut self, selection: &Selection, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        match self.choose(selection)? {
            Chosen::One(id) => self.restart_now(vec![id], selection.waiting, Shape::Replaced, reply, work),
            Chosen::Several(ids) if selection.name.is_some() => {
                self.stop_all(ids, Then::Start, selection.waiting, reply, work);
            }
            Chosen::Several(ids) => self.stop_all(ids, Then::Rebuild, selection.waiting, reply, work),
        }
        Ok(())
    }

    fn restart_now(
        &mut self,
        ids: Vec<WatcherId>,
        waiting: bool,
        shape: Shape,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) {
        let mut goals = Vec::with_capacity(ids.len());
        for id in ids {
            for before in self.down_before(id) {
                self.wish(before, "restart", work, Watcher::wish_up);
            }
            goals.push((id, if waiting { Goal::Up { before: self.pids(id) } } else { Goal::Begun }));
            self.wish(id, "restart", work, Watcher::wish_restart);
        }
        self.claim(operation(reply, waiting, shape), goals, "restart", work);
    }

    /// Stops all of them at once; what then follows does so whether or not anybody waits.
    fn stop_all(
        &mut self,
        ids: Vec<WatcherId>,
        then: Then,
        waiting: bool,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) {
        let ids = self.ascending(ids);
        for id in &ids {
            self.wish_down(*id, Wanted::Down, "restart", work);
        }
        if !waiting {
            let goals = ids.iter().map(|id| (*id, Goal::Begun)).collect();
            self.claim(Operation::new(reply, Shape::Plain, Then::Nothing), goals, "restart", work);
        }
        let mut stopping = Operation::new(reply.filter(|_| waiting), Shape::Plain, then);
        stopping.watchers = self.descending(ids.clone());
        let goals = ids.into_iter().map(|id| (id, Goal::Between)).collect();
        self.claim(stopping, goals, "restart", work);
    }

    fn quit(&mut self, waiting: bool, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        let ids = self.begin_end(work);
        let goal = if waiting { Goal::Down } else { Goal::Begun };
        let goals = ids.into_iter().map(|id| (id, goal.clone())).collect();
        self.claim(operation(reply, waiting, Shape::Plain), goals, "quit", work);
        Ok(())
    }

    // ---- reload ----

    fn reload(&mut self, reload: &Reload, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        let all = || self.present().map(|watcher| watcher.id).collect();
        let (ids, queued) = match &reload.name {
            Some(name) => (vec![self.find(name)?], false),
            None => (self.descending(all()), true),
        };
        let shape = if queued { Shape::Plain } else { Shape::Replaced };
        if !reload.graceful && !queued {
            self.restart_now(ids, reload.waiting, shape, reply, work);
            return Ok(());
        }
        let style = match (reload.graceful, reload.sequential) {
            (false, _) => Style::Restart,
            (true, true) => Style::Sequential,
            (true, false) => Style::Graceful,
        };
        let mut goals = Vec::with_capacity(ids.len());
        for id in ids {
            let before = self.pids(id);
            goals.push((id, if reload.waiting { Goal::Reloaded { before } } else { Goal::Begun }));
            self.reload_one(id, style, queued, work);
        }
        self.claim(operation(reply, reload.waiting, shape), goals, "reload", work);
        Ok(())
    }

    fn reload_one(&mut self, id: WatcherId, style: Style, queued: bool, work: &mut Work) {
        let Some(watcher) = self.watchers.get(&id) else { return };
        let (priority, on_demand) = (watcher.config.priority, watcher.config.on_demand);
        if on_demand && watcher.is_stopped() {
            return;
        }
        self.wish(id, "reload", work, |watcher| watcher.wish_reload(style, queued));
        if queued {
            self.turns.enter(priority, id);
        }
    }

    /// SIGHUP to the daemon.
    pub(super) fn hang_up(&mut self, work: &mut Work) {
        if self.ending == Ending::No {
            let ids = self.descending(self.present().map(|watcher| watcher.id).collect());
            for id in ids {
                self.reload_one(id, Style::Graceful, true, work);
            }
        }
    }

    fn reload_config(&mut self, waiting: bool, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        if !waiting {
            work.reply(reply, Reply::ok());
        }
        let mut operation = Operation::new(reply.filter(|_| waiting), Shape::Plain, Then::Nothing);
        // The reading itself.
        operation.outstanding = 1;
        let op = self.operations.open(operation);
        self.readings.push_back(Reading::Reload(op));
        work.out.push(Effect::ReadConfig);
        Ok(())
    }

    // ---- numbers, options ----

    fn adjust(&mut self, adjust: &Adjust, sign: i64, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        let id = self.find(&adjust.name)?;
        let watcher = self.get(&adjust.name)?;
        let count = watcher.config.numprocesses;
        if watcher.config.singleton {
            let body = json!({"numprocesses": count, "singleton": true});
            work.reply(reply, ok(body));
            return Ok(());
        }
        self.refuse_while_ending()?;
        let wanted = i64::from(count).saturating_add(adjust.nb.saturating_mul(sign));
        let wanted = process_count(wanted)?;
        // A stopped watcher has nothing to begin, even if it stands in the queue.
        let calm = adjust.waiting || watcher.is_stopped();
        let goal = if calm { Goal::Settled } else { Goal::Begun };
        self.with(id, work, |watcher, _| watcher.wish_count(wanted));
        let command = if sign > 0 { "incr" } else { "decr" };
        let shape = Shape::Count(wanted);
        self.claim(operation(reply, adjust.waiting, shape), vec![(id, goal)], command, work);
        Ok(())
    }

    fn set(&mut self, set: &Set, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        if let Some(load) = self.hooks_of_set(set)? {
            self.hold_set(set, load, reply, work);
            return Ok(());
        }
        self.set_now(set, reply, work)
    }

    /// Everything it needs is there.
    pub(super) fn set_now(&mut self, set: &Set, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        let id = self.find(&set.name)?;
        let mut reload = false;
        for (key, value) in &set.options {
            let applied = self.with(id, work, |watcher, ctx| watcher.wish_option(key, value, ctx));
            reload |= applied.transpose()? == Some(Trigger::Reload);
        }
        let before = self.pids(id);
        let stopped = self.watchers.get(&id).is_some_and(Watcher::is_stopped);
        let reload = reload && !stopped;
        if reload {
            self.reload_one(id, Style::Graceful, false, work);
        }
        let goal = match (set.waiting, reload) {
            (false, _) if !stopped => Goal::Begun,
            (true, true) => Goal::Reloaded { before },
            (true | false, _) => Goal::Settled,
        };
        self.claim(operation(reply, set.waiting, Shape::Plain), vec![(id, goal)], "set", work);
        Ok(())
    }

    // ---- add, rm ----

    fn add(&mut self, add: &Add, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        if add.name.is_empty() {
            return Err(Refusal::Message("'name' is empty".to_owned()));
        }
        self.check_owner(&add.options)?;
        if self.find(&add.name).is_ok() {
            return Err(Refusal::Raised(format!("'{}' already exist", add.name)));
        }
        let config = option::add(&add.name, &add.cmd, &add.args, &add.options, &self.inherited)?;
        if let Some(load) = self.hooks_of_add(&config) {
            self.hold_add(add, load, reply, work);
            return Ok(());
        }
        self.create_added(add, config, reply, work)
    }

    /// Everything it needs is there; somebody may have taken the name meanwhile.
    pub(super) fn add_now(&mut self, add: &Add, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        self.refuse_while_ending()?;
        if self.find(&add.name).is_ok() {
            return Err(Refusal::Raised(format!("'{}' already exist", add.name)));
        }
        let config = option::add(&add.name, &add.cmd, &add.args, &add.options, &self.inherited)?;
        self.create_added(add, config, reply, work)
    }

    fn create_added(
        &mut self,
        add: &Add,
        config: WatcherConfig,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Answered {
        let id = self.create(config);
        self.publish(id, EventKind::Add, work);
        if !add.start {
            work.reply(reply, Reply::ok());
            return Ok(());
        }
        let goal = if add.waiting { Goal::Up { before: Vec::new() } } else { Goal::Begun };
        self.start_now(id, "add", work);
        self.claim(operation(reply, add.waiting, Shape::Added), vec![(id, goal)], "add", work);
        Ok(())
    }

    /// Whoever may speak to an owned socket may start processes of its owner, and of nobody else.
    fn check_owner(&self, options: &[(String, Value)]) -> Answered {
        let Some(owner) = self.global.endpoint_owner.as_ref() else { return Ok(()) };
        let uid = options.iter().find(|(key, _)| key == "uid").map(|(_, value)| value);
        if self.global.endpoint.starts_with("ipc://") && uid.and_then(Value::as_str) != Some(owner) {
            return Err(Refusal::Message("uid does not match endpoint_owner".to_owned()));
        }
        Ok(())
    }

    fn rm(
        &mut self,
        name: &str,
        nostop: bool,
        waiting: bool,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Answered {
        let id = self.find(name)?;
        self.names.remove(&name.to_lowercase());
        self.publish(id, EventKind::Remove, work);
        if nostop {
            self.abandon(id, work);
            work.reply(reply, Reply::ok());
            return Ok(());
        }
        self.wish_down(id, Wanted::Gone, "rm", work);
        let goal = if waiting { Goal::Down } else { Goal::Begun };
        self.claim(operation(reply, waiting, Shape::Plain), vec![(id, goal)], "rm", work);
        Ok(())
    }

    /// Forgets a watcher and leaves its processes alone.
    fn abandon(&mut self, id: WatcherId, work: &mut Work) {
        self.operations.forget(id);
        self.with(id, work, |watcher, ctx| watcher.overtake(|_| true, "rm", ctx.done));
        self.forget_probes(id, work);
        let Some(watcher) = self.watchers.remove(&id) else { return };
        self.note_demand(id, work.now.mono);
        if !watcher.is_down() {
            self.up = self.up.saturating_sub(1);
        }
        if let Some(at) = watcher.noted {
            self.deadlines.remove(&(at, id));
        }
        work.out.push(Effect::ForgetStreams { watcher: id });
        for key in watcher.processes.keys() {
            self.keys.remove(&key);
            self.strays.insert(key);
        }
    }

    pub(super) fn publish(&self, id: WatcherId, kind: EventKind, work: &mut Work) {
        if let Some(watcher) = self.watchers.get(&id) {
            let event = Event { watcher: watcher.config.name.topic(), time: work.now.wall, kind };
            work.out.push(Effect::Publish(event));
        }
    }

    // ---- kill ----

    fn kill(&mut self, kill: &Kill, reply: Option<ReplyTo>, work: &mut Work) -> Answered {
        let id = self.find(&kill.name)?;
        let watcher = self.get(&kill.name)?;
        let signal = kill.signal.unwrap_or(watcher.config.stop_signal);
        deliver::check(signal)?;
        let grace = seconds(kill.graceful_timeout.unwrap_or(watcher.config.graceful_timeout));
        let named = |pid: Pid| kill.pid.is_none_or(|wanted| wanted == i64::from(pid.get()));
        let living = watcher.processes.values().filter(|process| process.pid().is_some_and(named));
        let keys: Vec<Key> = living.map(|process| process.key).collect();
        for key in &keys {
            self.with(id, work, |watcher, ctx| watcher.wish_kill(*key, signal, grace, ctx));
        }
        if kill.waiting {
            let goals = vec![(id, Goal::Killed { keys })];
            self.claim(operation(reply, true, Shape::Plain), goals, "kill", work);
        } else {
            work.reply(reply, Reply::ok());
        }
        Ok(())
    }
}

/// The operation of one command: what is not waited for has nothing to tell.
fn operation(reply: Option<ReplyTo>, waiting: bool, shape: Shape) -> Operation {
    Operation::new(reply, if waiting { shape } else { Shape::Plain }, Then::Nothing)
}

/// A number of processes; negative is none.
pub(super) fn process_count(wanted: i64) -> Result<u32, Refusal> {
    let wanted = u32::try_from(wanted.max(0)).unwrap_or(u32::MAX);
    if wanted > MAX_PROCESSES {
        return Err(Refusal::Raised(format!("{wanted} processes are too many, at most {MAX_PROCESSES}")));
    }
    Ok(wanted)
}

/// An ok with these keys.
pub(super) fn ok(body: Value) -> Reply {
    match body {
        Value::Object(map) => Reply::Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Reply::ok(),
    }
}

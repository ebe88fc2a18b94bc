//! Commands that only ask: answered at once from what is known, except figures, which the host reads.

use circus_protocol::command::{Command, StatsQuery};
use circus_protocol::json::{float, python_repr};
use circus_protocol::number::{Pid, Wid};
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::Sequence;
use serde_json::{Map, Value, json};

use crate::arbiter::command::ok;
use crate::arbiter::effect::{Effect, HookCall, SampleTarget};
use crate::arbiter::id::{ReplyTo, SampleTag, WatcherId};
use crate::arbiter::process::Process;
use crate::arbiter::story::card::Tally;
use crate::arbiter::time::Now;
use crate::arbiter::watcher::Watcher;
use crate::arbiter::{Arbiter, Work};
use crate::config::option;

/// What stands in the place of figures of a process that ended while they were read.
const NO_SUCH_PROCESS: &str = "No such process (stopped?)";

/// Figures asked for, and how they are to be put together.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) reply: Option<ReplyTo>,
    form: Form,
    /// Whose figures, in the order asked for.
    subjects: Vec<Subject>,
    /// The hook that edits them.
    editor: Option<Box<HookCall>>,
    /// Also what was counted.
    tally: Tallied,
}

/// Of whom it is also told what was counted.
#[derive(Debug, Clone, Copy)]
enum Tallied {
    Nobody,
    One(WatcherId),
    All,
}

/// How figures are put together.
#[derive(Debug)]
pub(super) enum Form {
    Daemon,
    /// `infos`: names in order, each with the number of its subjects.
    All(Vec<(String, usize)>),
    Watcher(String),
    Process(Value),
}

impl Form {
    /// The answer from pids and their figures.
    pub(super) fn body(self, entries: Vec<(String, Value)>) -> Reply {
        let mut entries = entries.into_iter();
        Reply::Ok(match self {
            Self::Daemon => Map::new(),
            Self::Process(as_sent) => {
                let info = entries.next().map_or(Value::from(NO_SUCH_PROCESS), |(_, info)| info);
                body([("process", as_sent), ("info", info)])
            }
            Self::Watcher(name) => {
                body([("name", Value::String(name)), ("info", Value::Object(entries.collect()))])
            }
            Self::All(names) => {
                let mut infos = Map::new();
                for (name, count) in names {
                    infos.insert(name, Value::Object(entries.by_ref().take(count).collect()));
                }
                body([("infos", Value::Object(infos))])
            }
        })
    }
}

/// `json!` would copy what may be thousands of values, one by one.
fn body<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[derive(Debug, Clone)]
struct Subject {
    pid: Pid,
    wid: Wid,
    started: f64,
}

impl Subject {
    fn of(watcher: &Watcher) -> Vec<Self> {
        let subject = |process: &Process| {
            process.pid().map(|pid| Self { pid, wid: process.wid, started: process.started })
        };
        watcher.processes.values().filter_map(subject).collect()
    }
}

impl Arbiter {
    pub(super) fn answer(&self, command: &Command, now: Now) -> Result<Reply, Refusal> {
        match command {
            Command::List { name } => self.list(name.as_deref()),
            Command::Status { name: None } => {
                let status = |watcher: &Watcher| {
                    (watcher.config.name.original().to_owned(), Value::from(watcher.status()))
                };
                let statuses: Map<String, Value> = self.present().map(status).collect();
                Ok(Reply::Ok(body([("statuses", Value::Object(statuses))])))
            }
            Command::Status { name: Some(name) } => Ok(status(self.get(name)?, now)),
            Command::NumWatchers => Ok(ok(json!({"numwatchers": self.present().count()}))),
            Command::NumProcesses { name: None } => {
                let count: usize = self.present().map(|watcher| watcher.pids().count()).sum();
                Ok(ok(json!({"numprocesses": count})))
            }
            Command::NumProcesses { name: Some(name) } => {
                let count = self.get(name)?.pids().count();
                Ok(ok(json!({"numprocesses": count, "watcher_name": name})))
            }
            Command::Options { name } => {
                Ok(ok(json!({"options": option::show_all(&self.get(name)?.config)})))
            }
            Command::Get { name, keys } => self.get_options(name, keys),
            Command::GlobalOptions { option } => self.global_options(option.as_deref()),
            Command::ListSockets => Ok(self.sockets.list()),
            Command::Listen => Err(Refusal::Message("invalid message. use a pub/sub socket".to_owned())),
            Command::Ipython => Ok(ok(json!({"shell": false, "msg": "No module named 'IPython'"}))),
            Command::Hello => Ok(self.hello()),
            Command::Add(_)
            | Command::Decr(_)
            | Command::Dstats
            | Command::Incr(_)
            | Command::Kill(_)
            | Command::Quit { .. }
            | Command::Reload(_)
            | Command::ReloadConfig { .. }
            | Command::Restart(_)
            | Command::Rm { .. }
            | Command::Set(_)
            | Command::Signal(_)
            | Command::Start(_)
            | Command::Stats(_)
            | Command::Stop(_)
            | Command::Configure(_)
            | Command::Reset(_)
            | Command::Preflight(_)
            | Command::Logs(_)
            | Command::Ready(_)
            | Command::Why { .. } => {
                debug_assert!(false, "{} is no question", command.name());
                Err(Refusal::Server(format!("{} was misrouted", command.name())))
            }
        }
    }

    fn list(&self, name: Option<&str>) -> Result<Reply, Refusal> {
        let Some(name) = name else {
            return Ok(ok(json!({"watchers": self.names.keys().collect::<Vec<_>>()})));
        };
        let pids: Vec<i32> = self.get(name)?.pids().map(Pid::get).collect();
        Ok(ok(json!({"pids": pids})))
    }

    fn get_options(&self, name: &str, keys: &[String]) -> Result<Reply, Refusal> {
        let watcher = self.get(name)?;
        let mut options = Map::new();
        for key in keys {
            let value = option::show(&watcher.config, key)
                .ok_or_else(|| Refusal::Message(format!("'{key}' option not found")))?;
            options.insert(key.clone(), value);
        }
        Ok(ok(json!({"options": options})))
    }

    fn global_options(&self, only: Option<&str>) -> Result<Reply, Refusal> {
        let global = &self.global;
        let all = [
            ("endpoint", Value::from(global.endpoint.as_str())),
            ("stats_endpoint", Value::from(global.stats_endpoint.as_str())),
            ("pubsub_endpoint", Value::from(global.pubsub_endpoint.as_str())),
            ("check_delay", float(global.check_delay)),
            ("multicast_endpoint", Value::from(global.multicast_endpoint.clone().unwrap_or_default())),
        ];
        let chosen = all.into_iter().filter(|(key, _)| only.is_none_or(|only| only == *key));
        let options: Map<String, Value> = chosen.map(|(key, value)| (key.to_owned(), value)).collect();
        match only {
            Some(option) if options.is_empty() => {
                Err(Refusal::Message(format!("'{option}' not an existing option")))
            }
            Some(_) | None => Ok(ok(json!({"options": options}))),
        }
    }

    fn hello(&self) -> Reply {
        let about = |watcher: &Watcher| {
            let service = self.services.get(watcher.config.name.original());
            json!({"service": service.map(|service| service.name.as_str())})
        };
        let watchers: Map<String, Value> = self
            .present()
            .map(|watcher| (watcher.config.name.original().to_owned(), about(watcher)))
            .collect();
        let lists = &self.services.lists;
        let services: Map<String, Value> = self
            .services
            .services
            .iter()
            .map(|service| (service.name.clone(), Sequence::of(service, lists).to_json()))
            .collect();
        ok(json!({
            "name": env!("CARGO_PKG_NAME"),
            "version": self.facts.version,
            "node": self.facts.hostname,
            "pid": self.facts.pid,
            "extensions": ["hello", "configure", "reset", "preflight", "logs", "ready", "why"],
            "pubsub_endpoint": self.global.pubsub_endpoint,
            "stats_endpoint": self.global.stats_endpoint,
            "watchers": watchers,
            "services": services,
        }))
    }

    // ---- figures ----

    pub(super) fn stats(
        &mut self,
        query: &StatsQuery,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) -> Result<(), Refusal> {
        let Some(name) = &query.name else {
            let mut names = Vec::new();
            let mut subjects = Vec::new();
            for watcher in self.present() {
                let of = Subject::of(watcher);
                names.push((watcher.config.name.original().to_owned(), of.len()));
                subjects.extend(of);
            }
            let tally = if query.tally { Tallied::All } else { Tallied::Nobody };
            self.ask(Form::All(names), subjects, None, tally, reply, work);
            return Ok(());
        };
        let watcher = self.get(name)?;
        let tally = if query.tally { Tallied::One(watcher.id) } else { Tallied::Nobody };
        let mut subjects = Subject::of(watcher);
        let editor = if query.extended { self.editor(watcher) } else { None };
        let form = match &query.process {
            None => Form::Watcher(name.clone()),
            Some((as_sent, pid)) => {
                subjects.retain(|subject| i64::from(subject.pid.get()) == *pid);
                if subjects.is_empty() {
                    let process = python_repr(as_sent);
                    return Err(Refusal::Message(format!("process {process} not found in '{name}'")));
                }
                Form::Process(as_sent.clone())
            }
        };
        self.ask(form, subjects, editor, tally, reply, work);
        Ok(())
    }

    pub(super) fn dstats(&mut self, reply: Option<ReplyTo>, work: &mut Work) -> Result<(), Refusal> {
        let tag = self.question(Question {
            reply,
            form: Form::Daemon,
            subjects: Vec::new(),
            editor: None,
            tally: Tallied::Nobody,
        });
        work.out.push(Effect::Sample { tag, targets: vec![SampleTarget::Daemon] });
        Ok(())
    }

    fn ask(
        &mut self,
        form: Form,
        subjects: Vec<Subject>,
        editor: Option<Box<HookCall>>,
        tally: Tallied,
        reply: Option<ReplyTo>,
        work: &mut Work,
    ) {
        let targets = subjects.iter().map(|subject| SampleTarget::Process(subject.pid)).collect();
        let tag = self.question(Question { reply, form, subjects, editor, tally });
        work.out.push(Effect::Sample { tag, targets });
    }

    fn question(&mut self, question: Question) -> SampleTag {
        self.next.sample += 1;
        let tag = SampleTag(self.next.sample);
        self.samples.insert(tag, question);
        tag
    }

    pub(super) fn sampled(
        &mut self,
        tag: SampleTag,
        figures: Vec<Option<Map<String, Value>>>,
        work: &mut Work,
    ) {
        let Some(question) = self.samples.remove(&tag) else {
            debug_assert!(false, "figures that nobody asked for: {tag:?}");
            return;
        };
        let mut figures = figures.into_iter();
        if let Form::Daemon = question.form {
            let info = figures.next().flatten().map_or(Value::from(NO_SUCH_PROCESS), Value::Object);
            work.reply(question.reply, ok(json!({"info": info})));
            return;
        }
        let now = work.now.wall;
        let entries = question.subjects.iter().map(|subject| {
            let figures = figures.next().flatten();
            (
                subject.pid.to_string(),
                figures.map_or(Value::from(NO_SUCH_PROCESS), |map| told(map, subject, now)),
            )
        });
        let entries: Vec<(String, Value)> = entries.collect();
        let figures = Figures { form: question.form, entries, tally: self.tallies(question.tally) };
        match question.editor {
            Some(call) => self.extend(question.reply, figures, *call, work),
            None => work.reply(question.reply, figures.reply()),
        }
    }

    /// Of each of these watchers its state, how many processes it should have, and what was counted.
    fn tallies(&self, whose: Tallied) -> Option<Value> {
        let told = |watcher: &Watcher| {
            let Tally { starts, restarts, ends, .. } = watcher.cards.tally();
            let figures = json!({
                "state": watcher.status(),
                "numprocesses": watcher.config.numprocesses,
                "starts": starts,
                "restarts": restarts,
                "ends": ends,
            });
            (watcher.config.name.original().to_owned(), figures)
        };
        Some(Value::Object(match whose {
            Tallied::Nobody => return None,
            // It may have gone meanwhile.
            Tallied::One(id) => self.watchers.get(&id).into_iter().map(told).collect(),
            Tallied::All => self.present().map(told).collect(),
        }))
    }
}

/// What is told of processes.
#[derive(Debug)]
pub(super) struct Figures {
    form: Form,
    /// Pid and figures, in order; a process that is gone has a text instead.
    pub(super) entries: Vec<(String, Value)>,
    tally: Option<Value>,
}

impl Figures {
    pub(super) fn reply(self) -> Reply {
        let mut reply = self.form.body(self.entries);
        if let (Some(tally), Reply::Ok(body)) = (self.tally, &mut reply) {
            body.insert("tally".to_owned(), tally);
        }
        reply
    }
}

/// The state, and, where circus has no word for it, why it is in it; and which of its streams do not work.
fn status(watcher: &Watcher, now: Now) -> Reply {
    let (standing, record) = (watcher.standing(now), &watcher.record);
    let waiting_for = standing.reason.waiting_for();
    let troubles = || record.stdout.iter().chain(&record.stderr);
    if waiting_for.is_none() && troubles().next().is_none() {
        return Reply::Status(standing.state.to_owned());
    }
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("status", standing.state.into());
    if let Some(waiting_for) = waiting_for {
        put("waiting_for", waiting_for.into());
        put("why", standing.reason.to_string().into());
        put("retry_at", standing.until.map_or(Value::Null, float));
    }
    for trouble in troubles() {
        let since = float(trouble.since);
        put(trouble.feed.name(), json!({"error": trouble.error, "since": since, "waits": trouble.waits}));
    }
    ok(Value::Object(body))
}

/// What the host read, with what only we know: age since our own start, when that was, which worker.
fn told(mut figures: Map<String, Value>, subject: &Subject, now: f64) -> Value {
    // It stands where the host's age stood.
    figures.insert("age".to_owned(), float((now - subject.started).max(0.0)));
    figures.insert("started".to_owned(), float(subject.started));
    figures.insert("wid".to_owned(), Value::from(subject.wid.0));
    Value::Object(figures)
}

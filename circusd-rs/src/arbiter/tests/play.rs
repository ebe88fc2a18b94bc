//! Plays scripts against the arbiter: simulated time, a pretend host that keeps the contract, and a
//! trace of what left. Everything that tests of the rules need is here, so that the API can move.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use circus_protocol::command::{Command, Match, Selection};
use circus_protocol::event::EventKind;
use circus_protocol::ini::Ini;
use circus_protocol::name::WatcherName;
use circus_protocol::number::{Pid, Signal};
use circus_protocol::reply::{Refusal, Reply};
use circus_protocol::service::Services;
use serde_json::Map;

use crate::arbiter::effect::{Effect, HookCall, Reach};
use crate::arbiter::id::{JobId, Key, ReplyTo, WatcherId};
use crate::arbiter::input::{BoundSocket, HookOutcome, Input};
use crate::arbiter::question::{ProbeCall, Question};
use crate::arbiter::time::{Moment, Now};
use crate::arbiter::{Arbiter, DaemonFacts};
use crate::config::{Config, WatcherConfig};

/// A watcher with circus' defaults.
pub(in crate::arbiter) fn watcher(name: &str) -> WatcherConfig {
    let mut config = WatcherConfig::new(WatcherName::new(name), "/".to_owned());
    config.cmd = "prog".to_owned();
    config.from_file = true;
    config
}

/// A watcher with so many processes.
pub(in crate::arbiter) fn of(name: &str, numprocesses: u32) -> WatcherConfig {
    WatcherConfig { numprocesses, ..watcher(name) }
}

/// What the pretend world does with the processes of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::arbiter) struct Manners {
    /// Exec fails.
    pub(in crate::arbiter) missing: bool,
    /// There is no room for it just now.
    pub(in crate::arbiter) starved: bool,
    /// Only SIGKILL ends it.
    pub(in crate::arbiter) stubborn: bool,
    /// Others of its group outlive it until they get SIGKILL.
    pub(in crate::arbiter) lingers: bool,
}

/// What a good hook returns.
pub(in crate::arbiter) const TRUE: HookOutcome = HookOutcome::Returned { truth: true, stats: None };

/// Polite.
pub(in crate::arbiter) const POLITE: Manners =
    Manners { missing: false, starved: false, stubborn: false, lingers: false };

#[derive(Debug, Clone)]
struct Life {
    pid: Pid,
    name: String,
    wid: u32,
    /// Dead, others of its group are not.
    dead: bool,
}

/// One world: arbiter, pretend host, trace.
pub(in crate::arbiter) struct Play {
    pub(in crate::arbiter) arbiter: Arbiter,
    pub(in crate::arbiter) now: Now,
    /// What comes next, in this order.
    pub(in crate::arbiter) inbox: VecDeque<Input>,
    /// By watcher.
    pub(in crate::arbiter) manners: BTreeMap<String, Manners>,
    lives: BTreeMap<Key, Life>,
    /// Asked for, not answered.
    pub(in crate::arbiter) spawning: BTreeMap<Key, (String, u32)>,
    born: BTreeSet<Key>,
    /// Of which the arbiter has heard so.
    gone: BTreeSet<Key>,
    /// Answers by hand: the script decides when a spawn succeeds.
    pub(in crate::arbiter) hold_spawns: bool,
    /// What the files say at the next reading.
    pub(in crate::arbiter) files: Result<Config, Vec<String>>,
    trace: String,
    /// Everything said so far.
    pub(in crate::arbiter) log: Vec<String>,
    next_pid: i32,
    next_reply: u64,
    /// Every reply so far.
    pub(in crate::arbiter) replies: BTreeMap<u64, Reply>,
    pub(in crate::arbiter) exited: Option<u8>,
    pub(in crate::arbiter) signals: Vec<(Key, Signal, Reach)>,
    /// What the hook of that name comes to; what is not here returns true.
    pub(in crate::arbiter) hooks: BTreeMap<String, HookOutcome>,
    /// Answers by hand: the script decides when a hook returns.
    pub(in crate::arbiter) hold_hooks: bool,
    /// Called, not answered.
    pub(in crate::arbiter) calling: VecDeque<(JobId, HookCall)>,
    /// Why no hook can be imported.
    pub(in crate::arbiter) unloadable: Option<String>,
    /// Jobs and figures asked for, answered by hand.
    pub(in crate::arbiter) asked: Vec<Effect>,
    /// What probes of that watcher answer; those that are not here are answered by hand.
    pub(in crate::arbiter) probes: BTreeMap<String, Result<(), String>>,
    /// Asked, not answered.
    pub(in crate::arbiter) probing: BTreeMap<WatcherId, (u64, String)>,
}

impl Play {
    /// The arbiter with these watchers in its configuration; nothing has happened yet.
    pub(in crate::arbiter) fn idle(watchers: Vec<WatcherConfig>) -> Self {
        Self::with_sockets(watchers, Vec::new())
    }

    /// The same, with these sockets open.
    pub(in crate::arbiter) fn with_sockets(watchers: Vec<WatcherConfig>, sockets: Vec<BoundSocket>) -> Self {
        let configured = sockets.iter().map(|socket| socket.config.clone()).collect();
        let facts = DaemonFacts { pid: 1, hostname: "node".to_owned(), version: "0.1.0".to_owned(), sockets };
        let files = Ok(Config { watchers, sockets: configured, ..Config::default() });
        Self {
            arbiter: Arbiter::new(7, facts),
            now: Now { mono: Moment(Duration::ZERO), wall: 1000.0 },
            inbox: VecDeque::new(),
            manners: BTreeMap::new(),
            lives: BTreeMap::new(),
            spawning: BTreeMap::new(),
            born: BTreeSet::new(),
            gone: BTreeSet::new(),
            hold_spawns: false,
            files,
            trace: String::new(),
            log: Vec::new(),
            next_pid: 100,
            next_reply: 0,
            replies: BTreeMap::new(),
            exited: None,
            signals: Vec::new(),
            hooks: BTreeMap::new(),
            hold_hooks: false,
            calling: VecDeque::new(),
            unloadable: None,
            asked: Vec::new(),
            probes: BTreeMap::new(),
            probing: BTreeMap::new(),
        }
    }

    /// Started up; the trace so far is forgotten.
    pub(in crate::arbiter) fn new(watchers: Vec<WatcherConfig>) -> Self {
        let mut play = Self::idle(watchers);
        play.start_up();
        play.take();
        play
    }

    pub(in crate::arbiter) fn start_up(&mut self) {
        let config = self.files.clone().map(Box::new);
        self.input(Input::Config(config));
    }

    /// One input, and all that follows at the same moment.
    pub(in crate::arbiter) fn input(&mut self, input: Input) {
        self.step(input);
        self.settle();
    }

    pub(in crate::arbiter) fn settle(&mut self) {
        while let Some(input) = self.inbox.pop_front() {
            self.step(input);
        }
    }

    /// One input, and nothing that follows.
    pub(in crate::arbiter) fn step(&mut self, input: Input) {
        match &input {
            Input::SpawnFailed { key, .. }
            | Input::Gone { key }
            | Input::Exited { key, lingering: false, .. } => {
                self.gone.insert(*key);
            }
            Input::Command { .. }
            | Input::Config(_)
            | Input::Spawned { .. }
            | Input::Exited { .. }
            | Input::Sampled { .. }
            | Input::Delivered { .. }
            | Input::LogRead { .. }
            | Input::Recalled { .. }
            | Input::Output { .. }
            | Input::Configured { .. }
            | Input::ResetDone { .. }
            | Input::Preflighted { .. }
            | Input::HookDone { .. }
            | Input::Probed { .. }
            | Input::HooksLoaded { .. }
            | Input::SocketsChanged { .. }
            | Input::SocketReady { .. }
            | Input::Interrupted(_)
            | Input::Tick => {}
        }
        let effects = self.arbiter.step(self.now, input);
        for effect in effects {
            self.perform(effect);
        }
        let deadline = self.arbiter.next_deadline();
        assert!(
            deadline.is_none_or(|at| at > self.now.mono),
            "a deadline in the past was left unserved: {deadline:?} at {:?}",
            self.now
        );
    }

    /// Lets time pass, waking the arbiter when it asked for it.
    pub(in crate::arbiter) fn pass(&mut self, seconds: f64) {
        let end = self.now.mono + Duration::from_secs_f64(seconds);
        while let Some(at) = self.arbiter.next_deadline().filter(|at| *at <= end) {
            self.jump(at);
            self.input(Input::Tick);
        }
        self.jump(end);
    }

    /// As `pass`, but the host is silent.
    pub(in crate::arbiter) fn pass_deaf(&mut self, seconds: f64) {
        let end = self.now.mono + Duration::from_secs_f64(seconds);
        while let Some(at) = self.arbiter.next_deadline().filter(|at| *at <= end) {
            self.jump(at);
            self.step(Input::Tick);
        }
        self.jump(end);
    }

    fn jump(&mut self, to: Moment) {
        self.now.wall += to.since(self.now.mono).as_secs_f64();
        self.now.mono = to;
    }

    /// A command; the number of its reply.
    pub(in crate::arbiter) fn ask(&mut self, command: Command) -> u64 {
        self.next_reply += 1;
        let to = self.next_reply;
        self.input(Input::Command { command, reply: Some(ReplyTo(to)) });
        to
    }

    /// The number of the last request.
    pub(in crate::arbiter) fn next_reply(&self) -> u64 {
        self.next_reply
    }

    /// A command, and nothing that follows yet.
    pub(in crate::arbiter) fn ask_only(&mut self, command: Command) -> u64 {
        self.next_reply += 1;
        let to = self.next_reply;
        self.step(Input::Command { command, reply: Some(ReplyTo(to)) });
        to
    }

    /// The trace since the last look.
    pub(in crate::arbiter) fn take(&mut self) -> String {
        std::mem::take(&mut self.trace)
    }

    /// A process dies by itself.
    pub(in crate::arbiter) fn die(&mut self, pid: i32, exit_code: i32) {
        self.exit(pid, exit_code);
        self.settle();
    }

    /// It died, which nobody has heard of yet.
    pub(in crate::arbiter) fn exit(&mut self, pid: i32, exit_code: i32) {
        let found = self.lives.iter().find(|(_, life)| life.pid.get() == pid && !life.dead);
        if let Some(key) = found.map(|(key, _)| *key) {
            let name = self.lives.get(&key).map(|life| life.name.clone()).unwrap_or_default();
            let lingers = self.manners.get(&name).copied().unwrap_or(POLITE).lingers;
            self.end(key, exit_code, lingers);
        }
    }

    pub(in crate::arbiter) fn living(&self, name: &str) -> Vec<i32> {
        let alive = self.lives.values().filter(|life| life.name == name && !life.dead);
        alive.map(|life| life.pid.get()).collect()
    }

    /// Everything with a process or a rest of one.
    pub(in crate::arbiter) fn population(&self) -> usize {
        self.lives.len() + self.spawning.len()
    }

    pub(in crate::arbiter) fn all_living(&self) -> Vec<i32> {
        self.lives.values().filter(|life| !life.dead).map(|life| life.pid.get()).collect()
    }

    fn end(&mut self, key: Key, exit_code: i32, lingering: bool) {
        let Some(life) = self.lives.get_mut(&key) else { return };
        life.dead = true;
        if !lingering {
            self.lives.remove(&key);
        }
        self.inbox.push_back(Input::Exited {
            key,
            exit_code: Some(exit_code),
            lingering,
            usage: None,
            oom: None,
        });
    }

    /// Answers the oldest spawn under way.
    pub(in crate::arbiter) fn answer_spawn(&mut self) {
        if let Some((key, (name, wid))) = self.spawning.pop_first() {
            self.answer(key, name, wid);
        }
    }

    fn answer(&mut self, key: Key, name: String, wid: u32) {
        let manners = self.manners.get(&name).copied().unwrap_or(POLITE);
        if manners.starved || manners.missing {
            let transient = manners.starved;
            let error = if transient {
                "[Errno 24] Too many open files"
            } else {
                "[Errno 2] No such file or directory: 'prog'"
            };
            self.inbox.push_back(Input::SpawnFailed { key, error: error.to_owned(), transient });
            return;
        }
        self.next_pid += 1;
        let pid = Pid::new(self.next_pid).unwrap();
        self.lives.insert(key, Life { pid, name, wid, dead: false });
        self.inbox.push_back(Input::Spawned { key, pid });
    }

    /// The probe of that watcher that is under way gets this answer.
    pub(in crate::arbiter) fn answer_probe(&mut self, name: &str, result: Result<(), String>) {
        let found = self.probing.iter().find(|(_, (_, watcher))| watcher == name);
        let (watcher, attempt) = found.map(|(id, (attempt, _))| (*id, *attempt)).expect("a probe");
        self.probing.remove(&watcher);
        self.input(Input::Probed { watcher, attempt, result });
    }

    /// The oldest hook under way returns, or raises.
    pub(in crate::arbiter) fn answer_hook(&mut self) {
        if let Some((job, call)) = self.calling.pop_front() {
            let outcome = self.hooks.get(&call.hook).cloned().unwrap_or(TRUE);
            self.inbox.push_back(Input::HookDone { job, outcome });
        }
    }

    fn called(&mut self, job: JobId, call: HookCall) {
        let pid = call.extra.get("pid").or(call.extra.get("process_pid"));
        let pid = pid.map_or(String::new(), |pid| format!(" {pid}"));
        let _ = writeln!(self.trace, "  hook {}{pid}", call.hook);
        self.calling.push_back((job, call));
        if !self.hold_hooks {
            self.answer_hook();
        }
    }

    fn signalled(&mut self, key: Key, signal: Signal, reach: Reach) {
        assert!(!self.gone.contains(&key), "a signal to a key that is gone: {key:?}");
        assert!(!self.spawning.contains_key(&key), "a signal to {key:?}, which is not there yet");
        // Dead already, which the arbiter has not heard of: dropped, as the contract says.
        let Some(life) = self.lives.get(&key).cloned() else { return };
        self.signals.push((key, signal, reach));
        let _ = writeln!(self.trace, "  signal {} {} {reach:?}", signal.0, life.pid);
        let manners = self.manners.get(&life.name).copied().unwrap_or(POLITE);
        let fatal = signal == Signal::KILL || (!manners.stubborn && signal != Signal::HUP);
        if life.dead {
            if signal == Signal::KILL && reach == Reach::Tree {
                self.lives.remove(&key);
                self.inbox.push_back(Input::Gone { key });
            }
        } else if fatal {
            self.end(key, -signal.0, manners.lingers && reach != Reach::Tree);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let refusing = matches!(effect, Effect::Reply { .. });
        assert!(self.exited.is_none() || refusing, "an effect after Exit: {effect:?}");
        match effect {
            Effect::Spawn { key, spec } => {
                assert!(self.born.insert(key), "{key:?} was used before");
                self.spawning.insert(key, (spec.watcher.clone(), spec.wid.0));
                if !self.hold_spawns {
                    self.answer_spawn();
                }
            }
            Effect::Signal { key, signal, reach } => self.signalled(key, signal, reach),
            Effect::Deliver { .. }
            | Effect::Sample { .. }
            | Effect::Configure { .. }
            | Effect::Reset { .. }
            | Effect::Preflight { .. }
            | Effect::Sockets { .. } => {
                let _ = writeln!(self.trace, "  {}", short(&effect));
                self.asked.push(effect);
            }
            Effect::Probe { watcher, attempt, call } => {
                let _ = writeln!(self.trace, "  probe {} {attempt}: {}", call.watcher, asked(&call));
                let before = self.probing.insert(watcher, (attempt, call.watcher.clone()));
                assert!(before.is_none(), "two probes of {} at once", call.watcher);
                if let Some(answer) = self.probes.get(&call.watcher) {
                    let result = answer.clone();
                    self.probing.remove(&watcher);
                    self.inbox.push_back(Input::Probed { watcher, attempt, result });
                }
            }
            Effect::CancelProbe { watcher, attempt } => {
                let _ = writeln!(self.trace, "  cancel probe {attempt}");
                let cancelled = self.probing.remove(&watcher);
                assert!(cancelled.is_none_or(|(asked, _)| asked == attempt), "a probe of another attempt");
            }
            Effect::RunHook { job, call } => self.called(job, *call),
            Effect::LoadHooks { job, load } => {
                let _ = writeln!(self.trace, "  load {}", load.paths.join(" "));
                let result = self.unloadable.clone().map_or(Ok(()), Err);
                self.inbox.push_back(Input::HooksLoaded { job, result });
            }
            Effect::OpenStreams { stdout, stderr, .. } => {
                let _ = writeln!(self.trace, "  streams {} {}", stdout.is_some(), stderr.is_some());
            }
            Effect::ForgetStreams { .. } => {}
            Effect::Recall { job, .. } => {
                self.inbox.push_back(Input::Recalled { job, words: Box::default(), troubles: Vec::new() });
            }
            Effect::ReadLog { job, .. } => {
                self.inbox.push_back(Input::LogRead { job, result: Err("the host pretends".to_owned()) });
            }
            Effect::CloseStreams { .. } => self.trace.push_str("  close streams\n"),
            Effect::Watch { sockets } => {
                let _ = writeln!(self.trace, "  watch {sockets:?}");
            }
            Effect::ReadConfig => {
                self.trace.push_str("  read config\n");
                self.inbox.push_back(Input::Config(self.files.clone().map(Box::new)));
            }
            Effect::Publish(event) => {
                let what = match event.kind {
                    EventKind::Spawn { pid } => format!("spawn {pid}"),
                    EventKind::Start => "start".to_owned(),
                    EventKind::Kill { pid } => format!("kill {pid}"),
                    EventKind::Reap { pid, exit_code } => format!("reap {pid} {}", exit_code.unwrap_or(0)),
                    EventKind::Stop => "stop".to_owned(),
                    EventKind::Reload => "reload".to_owned(),
                    EventKind::Updated => "updated".to_owned(),
                    EventKind::Add => "add".to_owned(),
                    EventKind::Remove => "remove".to_owned(),
                    EventKind::HookSuccess { name } => format!("hook_success {name}"),
                    EventKind::HookFailure { name, .. } => format!("hook_failure {name}"),
                    EventKind::Waiting { waiting_for, .. } => format!("waiting {waiting_for}"),
                    EventKind::Output { stream, error, .. } => {
                        format!("output {stream} {}", error.as_deref().unwrap_or("works"))
                    }
                    EventKind::Ready { state, ready, detail } => {
                        let whole = if ready { " ready" } else { "" };
                        format!("is {}{whole} {detail}", state.word()).trim_end().to_owned()
                    }
                };
                let _ = writeln!(self.trace, "{} {what}", event.watcher);
            }
            Effect::Reply { to, reply } => {
                let _ = writeln!(self.trace, "reply {}: {}", to.0, told(&reply));
                assert!(self.replies.insert(to.0, reply).is_none(), "a second reply to {to:?}");
            }
            Effect::Log { text, .. } => self.log.push(text),
            Effect::Exit { code } => {
                let _ = writeln!(self.trace, "exit {code}");
                self.exited = Some(code);
            }
        }
    }

    /// The worker id of a living process.
    pub(in crate::arbiter) fn wid(&self, pid: i32) -> u32 {
        self.lives.values().find(|life| life.pid.get() == pid).map(|life| life.wid).unwrap()
    }
}

/// The questions of a probe, in short.
fn asked(call: &ProbeCall) -> String {
    let question = |question: &Question| match question {
        Question::Tcp(address) => format!("tcp {address}"),
        Question::Http { url, .. } => format!("http {url}"),
        Question::Exec { argv, .. } => format!("exec {}", argv.join(" ")),
        Question::Log { file, pattern } => format!("log {} {pattern}", file.display()),
    };
    call.questions.iter().map(question).collect::<Vec<_>>().join(", ")
}

fn short(effect: &Effect) -> String {
    match effect {
        Effect::Deliver { keys, signal, reach, .. } => {
            format!("deliver {} to {} {reach:?}", signal.0, keys.len())
        }
        Effect::Sample { targets, .. } => format!("sample {}", targets.len()),
        Effect::Configure { work, .. } => format!("configure running {:?}", work.running),
        Effect::Sockets { changes, .. } => format!("sockets {}", changes.len()),
        Effect::Reset { work, .. } => format!("reset {:?}", work.wanted),
        Effect::Preflight { looks, .. } => format!("preflight {}", looks.len()),
        other => format!("{other:?}"),
    }
}

fn told(reply: &Reply) -> String {
    match reply {
        Reply::Ok(body) => format!("ok {}", serde_json::Value::Object(body.clone())),
        Reply::Status(status) => status.clone(),
        Reply::Error(refusal) => format!("error {} {refusal}", refusal.errno().get()),
    }
}

/// `start`, `stop` or `restart` by name, waiting.
pub(in crate::arbiter) fn named(name: &str) -> Selection {
    Selection { name: Some(name.to_owned()), matching: Match::Glob, waiting: true }
}

/// Of all, waiting.
pub(in crate::arbiter) fn everything() -> Selection {
    Selection { name: None, matching: Match::Glob, waiting: true }
}

/// Not waiting.
pub(in crate::arbiter) fn at_once(selection: Selection) -> Selection {
    Selection { waiting: false, ..selection }
}

/// The keys of an ok reply.
pub(in crate::arbiter) fn body(reply: &Reply) -> Map<String, serde_json::Value> {
    match reply {
        Reply::Ok(body) => body.clone(),
        Reply::Status(_) | Reply::Error(_) => panic!("{reply:?} has no body"),
    }
}

/// Why it was refused.
pub(in crate::arbiter) fn refusal(reply: &Reply) -> &Refusal {
    match reply {
        Reply::Error(refusal) => refusal,
        Reply::Ok(_) | Reply::Status(_) => panic!("{reply:?} is no refusal"),
    }
}

/// Services of these names, as a file would have them.
pub(in crate::arbiter) fn services(names: &[&str]) -> Services {
    let mut text = String::new();
    for name in names {
        let _ = writeln!(text, "[service:{name}]\nhome = /srv/{name}");
    }
    described(&text)
}

/// Services as a file describes them.
pub(in crate::arbiter) fn described(text: &str) -> Services {
    let ini = Ini::parse(text, "circus.ini").expect("ini");
    Services::from_ini(&ini, std::path::Path::new("/etc")).expect("services")
}

//! Every state times every event has an answer, and here is which: the table that
//! `snapshots/…table….snap` holds, one paragraph for each state.
//!
//! A line says which events get this answer: what the watcher is then, what left, and, after `⇒`,
//! where it comes to rest when the world is polite from then on. Questions change nothing, which is
//! checked and not written down. Events that the contract forbids in a
//! state (a birth that nobody asked for) are not listed. The lists of commands and of inputs are
//! checked for completeness, so a new one is a line to write and a column to read.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use circus_protocol::command::{Command, NAMES};
use circus_protocol::request::Request;
use serde_json::{Value, json};

use crate::arbiter::effect::{Effect, Feed};
use crate::arbiter::input::{HookOutcome, Input, Interrupt, StreamState, StreamTrouble};
use crate::arbiter::process::{Process, State};
use crate::arbiter::tests::play::{Manners, POLITE, Play, TRUE, described, of, services};
use crate::arbiter::watcher::{Phase, Reload, Wanted, Watcher};
use crate::config::policy::{Policy, Restart};
use crate::config::{Config, HookConfig, StreamConfig, WatcherConfig};

const STUBBORN: Manners = Manners { stubborn: true, ..POLITE };
const LINGERS: Manners = Manners { lingers: true, ..POLITE };
const MISSING: Manners = Manners { missing: true, ..POLITE };
const STARVED: Manners = Manners { starved: true, ..POLITE };

// ---- states ----

/// A world in which `one` is in the state.
type Make = fn() -> Play;

/// Everything a watcher can be, by phase.
const STATES: &[(&str, Make)] = &[
    ("stopped, never started", || idle(one(1))),
    ("stopped by a command", || up(one(1)).then("stop", json!({})).settled()),
    ("stopped, queued behind another", queued),
    ("stopped, held by a job of the daemon", held),
    ("stopped, at its start limit", || {
        let policy = Policy { start_limit: Some(1), ..Policy::default() };
        up(WatcherConfig { policy, ..one(1) }).dies(1)
    }),
    ("stopped, its program is missing", || {
        idle(one(1)).with(MISSING).then("start", json!({"waiting": true}))
    }),
    ("stopped, before_start under way", || {
        idle(hooked("before_start")).holding_hooks().then("start", json!({}))
    }),
    ("stopped, after_stop under way", || {
        up(hooked("after_stop")).holding_hooks().then("stop", json!({})).settled()
    }),
    ("starting, being spawned", || idle(one(1)).holding_spawns().then("start", json!({}))),
    ("starting, warming up", || idle(WatcherConfig { warmup_delay: 9.0, ..one(2) }).then("start", json!({}))),
    ("starting, tried again without end", || {
        let config = WatcherConfig { max_retry: -1, ..one(1) };
        idle(config).with(MISSING).then("start", json!({})).later(1.0)
    }),
    ("starting, no room just now", || idle(one(1)).with(STARVED).then("start", json!({}))),
    ("starting, before_spawn under way", || {
        idle(hooked("before_spawn")).holding_hooks().then("start", json!({}))
    }),
    ("starting, after_spawn under way", || {
        idle(hooked("after_spawn")).holding_hooks().then("start", json!({})).settled()
    }),
    ("starting, after_start under way", || {
        idle(hooked("after_start")).holding_hooks().then("start", json!({})).settled()
    }),
    ("active", || up(one(1))),
    ("active, two processes", || up(one(2))),
    ("active, a successor being spawned", || up(one(1)).holding_spawns().dies(1)),
    ("active, in a back-off", || up(one(1)).dies(1).dies(1)),
    ("active, one place at its start limit", || {
        let policy = Policy { start_limit: Some(1), ..Policy::default() };
        up(WatcherConfig { policy, ..one(2) }).dies(1)
    }),
    ("active, one place done", || {
        let policy = Policy { restart: Some(Restart::OnFailure), ..Policy::default() };
        up(WatcherConfig { policy, ..one(2) }).dies(0)
    }),
    ("active, no room for the successor", || up(one(1)).with(STARVED).dies(1)),
    ("active, respawn off, one of two dead", || up(WatcherConfig { respawn: false, ..one(2) }).dies(1)),
    ("active, singleton", || up(WatcherConfig { singleton: true, ..one(1) })),
    ("active, its process was told to end by kill", || up(one(1)).with(STUBBORN).then("kill", json!({}))),
    ("active, children outlive the dead process", || up(one(1)).with(LINGERS).dies_unsettled()),
    ("active, before_signal under way", || {
        up(hooked("before_signal")).holding_hooks().then("kill", json!({}))
    }),
    ("active, new ones being spawned in a reload", || up(one(1)).holding_spawns().then("reload", json!({}))),
    ("active, old ones leaving in a reload", || {
        up(one(1)).with(STUBBORN).then("reload", json!({})).settled()
    }),
    ("active, first leaving in a sequential reload", || {
        up(one(2)).with(STUBBORN).then("reload", json!({"sequential": true}))
    }),
    ("active, reload waits for its turn", || {
        let slow = WatcherConfig { warmup_delay: 50.0, priority: 9, ..of("other", 2) };
        let mut play = Play::idle(Vec::new());
        play.files = files(vec![WatcherConfig { autostart: false, ..one(1) }, slow]);
        play.start_up();
        play.then("start", json!({})).then("reload", json!({"name": null})).settled()
    }),
    ("stopping, its process was asked to end", || up(one(1)).with(STUBBORN).then("stop", json!({}))),
    ("stopping, SIGKILL was sent", || up(one(1)).with(STUBBORN).then("stop", json!({})).later_deaf(31.0)),
    ("stopping, children outlive the dead process", || {
        up(one(1)).with(LINGERS).dies_unsettled().then("stop", json!({}))
    }),
    ("stopping while a process is being spawned", || {
        idle(one(1)).holding_spawns().then("start", json!({})).then("stop", json!({}))
    }),
    ("stopping, to be started again", || up(one(1)).with(STUBBORN).then("restart", json!({}))),
    ("stopping, to be built anew", || {
        let mut play = up(one(1)).with(STUBBORN);
        play.files = files(vec![WatcherConfig { cmd: "another".to_owned(), ..one(1) }]);
        play.then("reloadconfig", json!({})).settled()
    }),
    ("stopping, before_stop under way", || up(hooked("before_stop")).holding_hooks().then("stop", json!({}))),
    ("stopping, removed", || up(one(1)).with(STUBBORN).then("rm", json!({}))),
    ("stopping, the daemon ends", || up(one(1)).with(STUBBORN).then("quit", json!({}))),
    ("active, a probe has not answered yet", || probed("[service:one]\n[probe:one:up]\ntcp = 127.0.0.9:1\n")),
    ("stopped, waits for a service that it comes after", || {
        probed("[service:one]\nafter = db:up\n[service:db]\n[probe:db:up]\ntcp = 127.0.0.9:1\n")
    }),
    ("on demand, nobody knocked", || on_demand()),
    ("on demand, active", || on_demand().knocked()),
    ("on demand, in a back-off", || on_demand().knocked().dies(1).knocked().dies(1)),
];

/// With an output, so that opening and closing it shows.
fn one(numprocesses: u32) -> WatcherConfig {
    let conf = [("filename".to_owned(), json!("/out"))].into();
    let stdout_stream = Some(StreamConfig { conf, ..StreamConfig::default() });
    WatcherConfig { stdout_stream, ..of("one", numprocesses) }
}

fn hooked(hook: &str) -> WatcherConfig {
    let config = HookConfig { path: "a.b".to_owned(), ignore_failure: false };
    WatcherConfig { hooks: [(hook.to_owned(), config)].into(), ..one(1) }
}

fn files(watchers: Vec<WatcherConfig>) -> Result<Config, Vec<String>> {
    Ok(Config { watchers, services: std::sync::Arc::new(services(&["one"])), ..Config::default() })
}

fn idle(config: WatcherConfig) -> Play {
    let mut play = Play::idle(Vec::new());
    play.files = files(vec![WatcherConfig { autostart: false, ..config }]);
    play.start_up();
    play
}

fn up(config: WatcherConfig) -> Play {
    let mut play = Play::idle(Vec::new());
    play.files = files(vec![config]);
    play.start_up();
    play
}

/// With these sections, and everything started.
fn probed(sections: &str) -> Play {
    let mut play = Play::idle(Vec::new());
    let services = std::sync::Arc::new(described(sections));
    play.files = files(vec![of("db", 1), one(1)]).map(|config| Config { services, ..config });
    play.start_up();
    play
}

fn queued() -> Play {
    let slow = WatcherConfig { warmup_delay: 50.0, priority: 9, ..of("other", 2) };
    let mut play = Play::idle(Vec::new());
    play.files = files(vec![one(1), slow]);
    play.start_up();
    play
}

fn held() -> Play {
    idle(one(1)).then("reset", json!({"kind": "all"})).then("start", json!({}))
}

fn on_demand() -> Play {
    crate::arbiter::tests::sockets::play(vec![WatcherConfig {
        use_sockets: true,
        on_demand: true,
        cmd: "prog $(circus.sockets.a)".to_owned(),
        ..one(1)
    }])
}

impl Play {
    fn with(mut self, manners: Manners) -> Self {
        self.manners.insert("one".to_owned(), manners);
        self
    }

    fn holding_spawns(mut self) -> Self {
        self.hold_spawns = true;
        self
    }

    fn holding_hooks(mut self) -> Self {
        self.hold_hooks = true;
        self
    }

    /// A command, and what follows at once unless it is held.
    fn then(mut self, name: &str, properties: Value) -> Self {
        let asked = command(name, properties);
        self.ask_only(asked);
        while matches!(
            self.inbox.front(),
            Some(Input::Config(_) | Input::Spawned { .. } | Input::SpawnFailed { .. })
        ) {
            let input = self.inbox.pop_front().unwrap();
            self.step(input);
        }
        self
    }

    fn settled(mut self) -> Self {
        self.settle();
        self
    }

    fn dies(mut self, exit_code: i32) -> Self {
        let pid = self.living("one")[0];
        self.die(pid, exit_code);
        self
    }

    /// It is dead, and what it left behind is not.
    fn dies_unsettled(mut self) -> Self {
        let pid = self.living("one")[0];
        self.exit(pid, 1);
        let exited = self.inbox.pop_front().unwrap();
        self.step(exited);
        self
    }

    fn later(mut self, seconds: f64) -> Self {
        self.pass(seconds);
        self
    }

    fn later_deaf(mut self, seconds: f64) -> Self {
        self.pass_deaf(seconds);
        self
    }

    fn knocked(mut self) -> Self {
        self.input(Input::SocketReady { socket: "a".to_owned() });
        self
    }
}

// ---- events ----

/// Commands as they come over the wire; those without a name are about `one`.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("add", "add", r#"{"name": "one", "cmd": "prog"}"#),
    ("configure", "configure", r#"{"identifier": 1, "address": "127.0.0.1", "cluster": ["127.0.0.1"]}"#),
    ("decr", "decr", "{}"),
    ("dstats", "dstats", "{}"),
    ("get", "get", r#"{"keys": ["cmd"]}"#),
    ("globaloptions", "globaloptions", "{}"),
    ("hello", "hello", "{}"),
    ("incr", "incr", "{}"),
    ("incr waiting", "incr", r#"{"waiting": true}"#),
    ("ipython", "ipython", "{}"),
    ("kill", "kill", "{}"),
    ("kill waiting", "kill", r#"{"waiting": true}"#),
    ("list", "list", "{}"),
    ("listen", "listen", "{}"),
    ("listsockets", "listsockets", "{}"),
    ("logs", "logs", r#"{"source": "stdout"}"#),
    ("why", "why", r#"{}"#),
    ("numprocesses", "numprocesses", "{}"),
    ("numwatchers", "numwatchers", "{}"),
    ("options", "options", "{}"),
    ("preflight", "preflight", "{}"),
    ("quit", "quit", "{}"),
    ("ready", "ready", "{}"),
    ("reload", "reload", "{}"),
    ("reload waiting", "reload", r#"{"waiting": true}"#),
    ("reload sequential", "reload", r#"{"sequential": true}"#),
    ("reload terminate", "reload", r#"{"graceful": false}"#),
    ("reload of all", "reload", r#"{"name": null}"#),
    ("reloadconfig, nothing changed", "reloadconfig", "{}"),
    ("reset", "reset", r#"{"kind": "all"}"#),
    ("reset with stop", "reset", r#"{"kind": "all", "stop": true}"#),
    ("restart", "restart", "{}"),
    ("restart waiting", "restart", r#"{"waiting": true}"#),
    ("restart of all", "restart", r#"{"name": null}"#),
    ("rm", "rm", "{}"),
    ("rm nostop", "rm", r#"{"nostop": true}"#),
    ("set cmd", "set", r#"{"options": {"cmd": "another"}}"#),
    ("set numprocesses 0", "set", r#"{"options": {"numprocesses": 0}}"#),
    ("set restart never", "set", r#"{"options": {"restart": "never"}}"#),
    ("signal", "signal", r#"{"signum": 1}"#),
    ("start", "start", "{}"),
    ("start waiting", "start", r#"{"waiting": true}"#),
    ("start of all", "start", r#"{"name": null}"#),
    ("stats", "stats", "{}"),
    ("status", "status", "{}"),
    ("stop", "stop", "{}"),
    ("stop waiting", "stop", r#"{"waiting": true}"#),
];

/// These change nothing anywhere, which is checked and not written down.
const QUESTIONS: &[&str] = &[
    "dstats",
    "get",
    "globaloptions",
    "hello",
    "ipython",
    "list",
    "listen",
    "listsockets",
    "logs",
    "why",
    "numprocesses",
    "numwatchers",
    "options",
    "ready",
    "stats",
    "status",
];

fn command(name: &str, mut properties: Value) -> Command {
    let map = properties.as_object_mut().unwrap();
    // Questions about one are answered for one, questions about all for all.
    let general =
        ["dstats", "globaloptions", "hello", "listen", "listsockets", "numwatchers", "quit", "reloadconfig"];
    if map.get("name").is_some_and(Value::is_null) {
        map.remove("name");
    } else if !general.contains(&name) && !["configure", "ipython"].contains(&name) {
        map.entry("name").or_insert(json!("one"));
    }
    let (id, properties) = (Value::Null, properties);
    let request = Request {
        id,
        command: name.to_owned(),
        properties: properties.clone(),
        cast: false,
        raw: Default::default(),
    };
    Command::parse(&request).unwrap_or_else(|refusal| panic!("{name} {properties}: {refusal}"))
}

/// What else can happen, by the name of the input.
const INPUTS: &[(&str, &str)] = &[
    ("Config", "the file has another command"),
    ("Config", "the file is wrong"),
    ("Config", "the file has it no more"),
    ("Spawned", "born"),
    ("SpawnFailed", "cannot be executed"),
    ("SpawnFailed", "no room"),
    ("Exited", "dies, status 0"),
    ("Exited", "dies, status 1"),
    ("Exited", "dies, children live on"),
    ("Gone", "the last of its children is gone"),
    ("HookDone", "the hook agrees"),
    ("HookDone", "the hook disagrees"),
    ("HookDone", "the hook raises"),
    ("HooksLoaded", "hooks loaded"),
    ("Sampled", "figures are there"),
    ("Probed", "a probe says yes"),
    ("Probed", "a probe says no"),
    ("Delivered", "the signal is delivered"),
    ("LogRead", "the log is read"),
    ("Recalled", "its story is told"),
    ("Output", "its output cannot be written"),
    ("Output", "its output can be written again"),
    ("Configured", "files are written"),
    ("ResetDone", "the reset is done"),
    ("SocketsChanged", "sockets are changed"),
    ("SocketReady", "somebody knocks"),
    ("Interrupted", "SIGTERM"),
    ("Interrupted", "SIGHUP"),
    ("Tick", "a tick too early"),
    ("Tick", "time passes to the next deadline"),
];

/// The name of an input; a new one belongs into [`INPUTS`], too.
fn kind(input: &Input) -> &'static str {
    match input {
        Input::Command { .. } => "Command",
        Input::Config(_) => "Config",
        Input::Spawned { .. } => "Spawned",
        Input::SpawnFailed { .. } => "SpawnFailed",
        Input::Exited { .. } => "Exited",
        Input::Gone { .. } => "Gone",
        Input::Sampled { .. } => "Sampled",
        Input::Probed { .. } => "Probed",
        Input::Delivered { .. } => "Delivered",
        Input::LogRead { .. } => "LogRead",
        Input::Recalled { .. } => "Recalled",
        Input::Output { .. } => "Output",
        Input::Configured { .. } => "Configured",
        Input::ResetDone { .. } => "ResetDone",
        Input::Preflighted { .. } => "Preflighted",
        Input::HookDone { .. } => "HookDone",
        Input::HooksLoaded { .. } => "HooksLoaded",
        Input::SocketsChanged { .. } => "SocketsChanged",
        Input::SocketReady { .. } => "SocketReady",
        Input::Interrupted(_) => "Interrupted",
        Input::Tick => "Tick",
    }
}

/// Lets it happen; `None` where it cannot.
fn happen(play: &mut Play, what: &str) -> Option<Vec<&'static str>> {
    let mut kinds = Vec::new();
    let mut step = |play: &mut Play, input: Input| {
        kinds.push(kind(&input));
        play.step(input);
    };
    match what {
        "the file has another command" | "the file is wrong" | "the file has it no more" => {
            let changed = play.files.clone().map(|mut config| {
                config.watchers.retain(|watcher| what.ends_with("command") || watcher.name.key() != "one");
                for watcher in &mut config.watchers {
                    "another".clone_into(&mut watcher.cmd);
                }
                config
            });
            play.files = if what == "the file is wrong" { Err(vec!["bad".to_owned()]) } else { changed };
            play.ask_only(command("reloadconfig", json!({})));
            let read = play.inbox.iter().position(|input| matches!(input, Input::Config(_)))?;
            let read = play.inbox.remove(read)?;
            step(play, read);
        }
        "born" | "cannot be executed" | "no room" => {
            let manners = match what {
                "born" => POLITE,
                "no room" => STARVED,
                _ => MISSING,
            };
            play.spawning.values().any(|(name, _)| name == "one").then_some(())?;
            play.manners.insert("one".to_owned(), manners);
            play.answer_spawn();
            let answer = play.inbox.pop_back()?;
            step(play, answer);
        }
        "dies, status 0" | "dies, status 1" | "dies, children live on" => {
            if play.inbox.is_empty() {
                let lingers = what.ends_with("on");
                let pid = *play.living("one").first()?;
                let stubborn = play.manners.get("one").is_some_and(|manners| manners.stubborn);
                play.manners.insert("one".to_owned(), Manners { lingers, stubborn, ..POLITE });
                play.exit(pid, i32::from(!what.ends_with('0')));
            }
            let exited = play.inbox.iter().position(|input| matches!(input, Input::Exited { .. }))?;
            let exited = play.inbox.remove(exited)?;
            step(play, exited);
        }
        "the last of its children is gone" => {
            let gone = play.inbox.iter().position(|input| matches!(input, Input::Gone { .. }))?;
            let gone = play.inbox.remove(gone)?;
            step(play, gone);
        }
        "the hook agrees" | "the hook disagrees" | "the hook raises" => {
            let (job, _) = play.calling.pop_front()?;
            let outcome = match what {
                "the hook agrees" => TRUE,
                "the hook disagrees" => HookOutcome::Returned { truth: false, stats: None },
                _ => HookOutcome::Raised("boom".to_owned()),
            };
            step(play, Input::HookDone { job, outcome });
        }
        "hooks loaded" => {
            let options = json!({"options": {"hooks.after_stop": "a.b"}});
            play.ask_only(command("set", options));
            let loaded = play.inbox.iter().position(|input| matches!(input, Input::HooksLoaded { .. }))?;
            let loaded = play.inbox.remove(loaded)?;
            step(play, loaded);
        }
        "figures are there" => asked(play, "stats", json!({}), &mut step)?,
        "the signal is delivered" => asked(play, "signal", json!({"signum": 1}), &mut step)?,
        "the log is read" => {
            play.ask_only(command("logs", json!({"source": "stdout"})));
            let read = play.inbox.iter().position(|input| matches!(input, Input::LogRead { .. }))?;
            let read = play.inbox.remove(read)?;
            step(play, read);
        }
        "its story is told" => {
            play.ask_only(command("why", json!({})));
            let told = play.inbox.iter().position(|input| matches!(input, Input::Recalled { .. }))?;
            let told = play.inbox.remove(told)?;
            step(play, told);
        }
        "its output cannot be written" | "its output can be written again" => {
            let watcher = *play.arbiter.names.get("one")?;
            let feed = Feed::Stdout;
            let (lost_bytes, lost_lines) = (7, 1);
            let (error, since, waits) = ("full".to_owned(), 1.0, false);
            let trouble = StreamTrouble { feed, error, since, waits, lost_bytes, lost_lines };
            let fails = Input::Output { watcher, state: StreamState::Fails(trouble) };
            if what.ends_with("again") {
                play.step(fails);
                let state = StreamState::Works { feed, lost_bytes, lost_lines };
                step(play, Input::Output { watcher, state });
            } else {
                step(play, fails);
            }
        }
        "files are written" => {
            let cluster = json!({"identifier": 1, "address": "127.0.0.1", "cluster": ["127.0.0.1"]});
            asked(play, "configure", cluster, &mut step)?;
        }
        "the reset is done" if !play.asked.is_empty() => {
            let answer = answer(play)?;
            step(play, answer);
        }
        "the reset is done" => asked(play, "reset", json!({"kind": "all", "stop": true}), &mut step)?,
        "sockets are changed" => {
            let more = crate::arbiter::tests::sockets::socket("more", 9);
            play.files = play.files.clone().map(|mut config| {
                config.sockets.push(more);
                config
            });
            play.ask_only(command("reloadconfig", json!({})));
            let read = play.inbox.iter().position(|input| matches!(input, Input::Config(_)))?;
            let read = play.inbox.remove(read)?;
            let before = play.asked.len();
            play.step(read);
            (play.asked.len() > before).then(|| play.asked.rotate_right(1))?;
            let answer = answer(play)?;
            step(play, answer);
        }
        "a probe says yes" | "a probe says no" => {
            let found = play.probing.iter().find(|(_, (_, name))| name == "one");
            let (watcher, attempt) = found.map(|(id, (attempt, _))| (*id, *attempt))?;
            play.probing.remove(&watcher);
            let result = if what.ends_with("yes") { Ok(()) } else { Err("refused".to_owned()) };
            step(play, Input::Probed { watcher, attempt, result });
        }
        "somebody knocks" => step(play, Input::SocketReady { socket: "a".to_owned() }),
        "SIGTERM" => step(play, Input::Interrupted(Interrupt::Stop)),
        "SIGHUP" => step(play, Input::Interrupted(Interrupt::Reload)),
        "a tick too early" => step(play, Input::Tick),
        "time passes to the next deadline" => {
            let at = play.arbiter.next_deadline()?;
            let left = at.since(play.now.mono);
            play.now.mono = at;
            play.now.wall += left.as_secs_f64();
            step(play, Input::Tick);
        }
        other => panic!("{other} is no event"),
    }
    Some(kinds)
}

/// A command whose work the host does, and the answer of the host.
fn asked(
    play: &mut Play,
    name: &str,
    properties: Value,
    step: &mut impl FnMut(&mut Play, Input),
) -> Option<()> {
    let before = play.asked.len();
    play.ask_only(command(name, properties));
    if play.asked.len() > before {
        // The newest: what was asked for before stays open.
        play.asked.rotate_right(1);
        let answer = answer(play)?;
        step(play, answer);
        return Some(());
    }
    None
}

/// What the host answers to the oldest job.
fn answer(play: &mut Play) -> Option<Input> {
    if play.asked.is_empty() {
        return None;
    }
    Some(match play.asked.remove(0) {
        Effect::Sample { tag, targets } => Input::Sampled { tag, figures: vec![None; targets.len()] },
        Effect::Deliver { job, .. } => Input::Delivered { job, result: Ok(()) },
        Effect::Configure { job, .. } => Input::Configured { job, result: Err(vec!["no".to_owned()]) },
        Effect::Reset { job, .. } => Input::ResetDone { job, result: Err(vec!["no".to_owned()]) },
        Effect::Preflight { job, .. } => Input::Preflighted { job, facts: Vec::new() },
        Effect::Sockets { job, .. } => {
            Input::SocketsChanged { job, sockets: Some(Vec::new()), errors: Vec::new() }
        }
        other => panic!("{other:?} is no question"),
    })
}

// ---- answers ----

/// What the watcher is.
fn told(play: &Play) -> String {
    if play.exited.is_some() {
        return "the daemon is gone".to_owned();
    }
    let found = play.arbiter.watchers.values().find(|watcher| watcher.config.name.key() == "one");
    found.map_or_else(|| "forgotten".to_owned(), describe)
}

fn describe(watcher: &Watcher) -> String {
    let mut text = watcher.status().to_owned();
    let wanted = match watcher.wanted {
        Wanted::Down => " down",
        Wanted::Queued => " queued",
        Wanted::Up => "",
        Wanted::Demand => " demand",
        Wanted::Gone => " gone",
    };
    text.push_str(wanted);
    text.push_str(if watcher.cycle { " cycle" } else { "" });
    text.push_str(if watcher.rebuild.is_some() { " rebuild" } else { "" });
    text.push_str(if watcher.hooks.waiting() { " hook" } else { "" });
    text.push_str(if watcher.holds > 0 { " held" } else { "" });
    text.push_str(match watcher.reload {
        None => "",
        Some(Reload::Queued(_)) => " reload-queued",
        Some(Reload::Pending(_)) => " reload-pending",
        Some(Reload::Replace { .. }) => " replacing",
        Some(Reload::Sequential { .. }) => " sequential",
    });
    let processes: Vec<String> = watcher.processes.values().map(process).collect();
    if !processes.is_empty() {
        let _ = write!(text, " [{}]", processes.join(" "));
    }
    text
}

fn process(process: &Process) -> String {
    match process.state {
        State::Spawning => "spawning".to_owned(),
        State::Running { .. } => "running".to_owned(),
        State::Stopping { why, kill_at, .. } => {
            format!("leaving:{why:?}{}", if kill_at.is_some() { "" } else { ":killed" }).to_lowercase()
        }
        State::Draining { why, .. } => format!("draining:{why:?}").to_lowercase(),
    }
}

/// What left, without what differs from run to run of nothing: the bodies of good replies.
fn left(play: &mut Play) -> String {
    let trace = play.take();
    let lines = trace.lines().map(str::trim).map(|line| match line.split_once(": ok") {
        Some((reply, _)) if reply.starts_with("reply") => "ok".to_owned(),
        _ => match line.strip_prefix("reply ").and_then(|line| line.split_once(": ")) {
            Some((_, error)) => error.to_owned(),
            None => line.strip_prefix("one ").unwrap_or(line).to_owned(),
        },
    });
    lines.collect::<Vec<_>>().join(", ")
}

/// Where a cell comes to rest.
fn ended(answer: &str) -> &str {
    answer.rsplit_once('⇒').map_or("", |(_, end)| end)
}

/// The world is polite from now on; everything comes to rest.
fn rest(play: &mut Play) {
    play.manners.clear();
    play.hooks.clear();
    (play.hold_spawns, play.hold_hooks) = (false, false);
    for name in ["one", "db"] {
        play.probes.insert(name.to_owned(), Ok(()));
        if play.probing.values().any(|(_, asked)| asked == name) {
            play.answer_probe(name, Ok(()));
        }
    }
    for _ in 0..12 {
        while !play.spawning.is_empty() {
            play.answer_spawn();
        }
        while !play.calling.is_empty() {
            play.answer_hook();
        }
        play.settle();
        while let Some(answer) = answer(play) {
            play.input(answer);
        }
        if play.exited.is_some() {
            break;
        }
        play.pass(20.0);
    }
}

/// One cell: event by event in a fresh world.
fn cell(make: Make, name: &str, event: impl Fn(&mut Play) -> Option<()>) -> Option<String> {
    let mut play = make();
    play.take();
    let before = told(&play);
    let asked = play.next_reply();
    event(&mut play)?;
    let after = told(&play);
    let effects = left(&mut play);
    let mut text = if before == after { "stays".to_owned() } else { after };
    let place = format!("{before}, {name}");
    if !effects.is_empty() {
        let _ = write!(text, " | {effects}");
    }
    rest(&mut play);
    let _ = write!(text, " ⇒ {}", told(&play));
    for reply in asked + 1..=play.next_reply() {
        let answered = play.replies.contains_key(&reply);
        assert!(answered, "{place}: nobody answered request {reply}: {text}");
    }
    check_rest(&play, &place);
    Some(text)
}

/// Whatever happened, a polite world brings every watcher to where it is wanted.
fn check_rest(play: &Play, cell: &str) {
    if play.exited.is_some() {
        return;
    }
    for watcher in play.arbiter.watchers.values() {
        match watcher.phase {
            Phase::Stopped => assert!(watcher.is_idle(), "{cell}: {watcher:?}"),
            Phase::Active => {
                assert!(watcher.processes.values().all(Process::running), "{cell}: {watcher:?}");
                assert!(watcher.reload.is_none() && !watcher.hooks.waiting(), "{cell}: {watcher:?}");
                assert_eq!(watcher.wanted, Wanted::Up, "{cell}");
            }
            Phase::Starting { .. } | Phase::Stopping { .. } => panic!("{cell}: never came to rest"),
        }
        assert!(watcher.tickets.is_empty(), "{cell}: somebody still waits");
    }
}

#[test]
fn every_state_has_an_answer_to_every_event() {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    for (state, make) in STATES {
        let play = make();
        let alone = cell(*make, "nothing", |_| Some(())).unwrap();
        let _ = writeln!(
            text,
            "\n## {state}\n   {}\n   left alone{}\n",
            told(&play),
            alone.trim_start_matches("stays")
        );
        let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
        let mut note =
            |answer: String, event: &'static str| match answers.iter_mut().find(|(a, _)| *a == answer) {
                Some((_, events)) => events.push(event),
                None => answers.push((answer, vec![event])),
            };
        for (event, name, properties) in COMMANDS {
            let properties: Value = serde_json::from_str(properties).unwrap();
            let answer = cell(*make, event, |play| {
                play.ask_only(command(name, properties.clone()));
                Some(())
            });
            let answer = answer.unwrap();
            if QUESTIONS.contains(name) {
                let stays = answer.starts_with("stays") && ended(&answer) == ended(&alone);
                assert!(stays, "{state}: {event} changes something: {answer}");
            } else {
                note(answer, event);
            }
        }
        for (_, event) in INPUTS {
            let kinds = std::cell::RefCell::new(Vec::new());
            let answer = cell(*make, event, |play| {
                *kinds.borrow_mut() = happen(play, event)?;
                Some(())
            });
            seen.extend(kinds.into_inner());
            if let Some(answer) = answer {
                note(answer, event);
            }
        }
        for (answer, events) in answers {
            let _ = writeln!(text, "{}\n    {answer}", events.join("; "));
        }
    }
    let listed: BTreeSet<&str> = INPUTS.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(seen, listed, "every input happens in some state");
    insta::assert_snapshot!(text);
}

#[test]
fn every_command_is_an_event() {
    let listed: BTreeSet<&str> = COMMANDS.iter().map(|(_, name, _)| *name).collect();
    // `clear` is another word for `reset`.
    let all: BTreeSet<&str> = NAMES.iter().copied().filter(|name| *name != "clear").collect();
    assert_eq!(listed, all);
}

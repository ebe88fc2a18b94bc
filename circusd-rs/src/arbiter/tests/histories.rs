//! Safety, by random histories: anything may happen at any time, after every step the invariants hold,
//! and when the world calms down everything settles.
//!
//! A failing history prints its seed; `history(SEED)` alone repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::command::services::Ready;
use circus_protocol::command::{
    Add, Adjust, Command, Configure, Kill, Match, Reload, Reset, ResetKind, Selection, Set, SignalCommand,
    SignalTarget, StatsQuery,
};
use circus_protocol::number::Signal;
use circus_protocol::readiness::ReadyState;
use circus_protocol::service::{ConfigureOutcome, ResetOutcome};
use serde_json::{Value, json};

use crate::arbiter::effect::Effect;
use crate::arbiter::input::{HookOutcome, Input, Interrupt};
use crate::arbiter::process::Process;
use crate::arbiter::standing::Reason;
use crate::arbiter::tests::play::{Manners, Play, TRUE, described, named, of};
use crate::arbiter::time::Now;
use crate::arbiter::watcher::{Phase, Random, Wanted, Watcher};
use crate::config::policy::{ExitCodes, Policy, Restart};
use crate::config::{Config, HookConfig, WatcherConfig};

const HISTORIES: u64 = 2000;
const STEPS: u64 = 60;
/// More is never wanted of one watcher here.
const MOST: u32 = 4;
/// All moments with a hook.
const POINTS: [&str; 11] = [
    "before_start",
    "after_start",
    "before_spawn",
    "after_spawn",
    "before_stop",
    "after_stop",
    "before_signal",
    "after_signal",
    "before_reap",
    "after_reap",
    "extended_stats",
];
const NAMES: [&str; 4] = ["a", "b", "C", "d"];
/// What the file may say about services: as much as nothing, or who is asked and who comes after whom.
const SERVICES: [&str; 4] = [
    "[service:a]\n[service:C]\n",
    "[service:a]\n[service:C]\nafter = a:joined\n[service:d]\nafter = c, b\n",
    "[service:a]\n[probe:a:up]\ntcp = 127.0.0.1:1\n[probe:a:joined]\nexec = x\ntimeout = 5\non_timeout = restart\n\
     [service:C]\nafter = a:joined\n[probe:C:up]\npid_alive = 3\nexec = x\nrecheck = 4\ntimeout = 9\n",
    "[service:a]\nconflicts = b, d\n[service:C]\nafter = b\n[probe:b:joined]\nexec = x\ninterval = 0.5\n",
];

struct World {
    play: Play,
    random: Random,
    asked: u64,
    /// What was asked, for whoever reads a failure.
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let files = config(&mut random);
        let mut play = Play::idle(Vec::new());
        play.hold_spawns = true;
        play.hold_hooks = true;
        play.files = Ok(files);
        Self { play, random, asked: 0, log: Vec::new() }
    }

    fn pick(&mut self, below: u64) -> u64 {
        self.random.up_to(below - 1)
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.pick(100) < percent
    }

    fn name(&mut self) -> String {
        NAMES[usize::try_from(self.pick(4)).unwrap()].to_owned()
    }

    fn selection(&mut self) -> Selection {
        let name = match self.pick(8) {
            0 => None,
            1 => Some("?".to_owned()),
            2 => Some("nobody".to_owned()),
            _ => Some(self.name()),
        };
        Selection { name, matching: Match::Glob, waiting: self.chance(60) }
    }

    fn command(&mut self) -> Command {
        let (name, waiting) = (self.name(), self.chance(60));
        let small = i64::try_from(self.pick(4)).unwrap() - 1;
        match self.pick(20) {
            0..=2 => Command::Start(self.selection()),
            3..=5 => Command::Stop(self.selection()),
            6..=7 => Command::Restart(self.selection()),
            8 | 9 => {
                let name = (!self.chance(30)).then_some(name);
                let (graceful, sequential) = (self.chance(85), self.chance(40));
                Command::Reload(Reload { name, graceful, sequential, waiting })
            }
            10 => Command::Decr(Adjust { name, nb: small, waiting }),
            11 if self.wanted(&name) < MOST => Command::Incr(Adjust { name, nb: 1, waiting }),
            11 => Command::NumProcesses { name: None },
            12 => {
                let graceful_timeout = self.chance(50).then_some(0.5);
                let signal = self.chance(30).then_some(Signal::HUP);
                Command::Kill(Kill { name, pid: None, signal, graceful_timeout, waiting })
            }
            13 => {
                let options = match self.pick(7) {
                    4 => ("restart", json!(["always", "on-failure", "never", ""][self.pick(4) as usize])),
                    5 => ("start_limit", json!(self.pick(4))),
                    6 => ("backoff", json!(["0.5", "20", ""][self.pick(3) as usize])),
                    3 => ("hooks.after_start", json!("a.b")),
                    0 => ("cmd", json!("other")),
                    1 => ("numprocesses", json!(self.pick(u64::from(MOST)))),
                    _ => ("max_age", json!(self.pick(3))),
                };
                let options = vec![(options.0.to_owned(), options.1)];
                Command::Set(Set { name, options, waiting })
            }
            14 => {
                let options = vec![("numprocesses".to_owned(), json!(self.pick(u64::from(MOST))))];
                let start = self.chance(70);
                let cmd = "prog".to_owned();
                Command::Add(Box::new(Add { name, cmd, args: Value::Null, options, start, waiting }))
            }
            15 => Command::Rm { name, nostop: self.chance(10), waiting },
            16 => Command::ReloadConfig { waiting },
            17 => self.question(name),
            18 => self.reset(),
            _ => self.configure(),
        }
    }

    fn question(&mut self, name: String) -> Command {
        match self.pick(7) {
            6 => {
                let name = self.chance(70).then_some(name);
                Command::Ready(Ready { name, matching: Match::Glob, wait: self.chance(60).then_some(2.0) })
            }
            0 => Command::Dstats,
            1 => Command::Stats(StatsQuery { name: None, process: None, extended: false, tally: true }),
            4 => Command::Stats(StatsQuery { name: Some(name), process: None, extended: true, tally: false }),
            2 => Command::Status { name: None },
            3 => Command::Options { name },
            _ => Command::Signal(SignalCommand {
                name,
                signal: Signal::TERM,
                target: SignalTarget::Recursive { pid: None },
            }),
        }
    }

    fn reset(&mut self) -> Command {
        Command::Reset(Reset {
            name: self.chance(50).then(|| "a".to_owned()),
            matching: Match::Glob,
            kind: ResetKind::All,
            dry_run: self.chance(20),
            stop: self.chance(60),
            undo: false,
            keep: None,
            member: None,
        })
    }

    fn configure(&mut self) -> Command {
        Command::Configure(Box::new(Configure {
            identifier: 1,
            address: "127.0.0.1".to_owned(),
            cluster: vec!["127.0.0.1".to_owned()],
            is_master: true,
            services: None,
            variables: Vec::new(),
            templates: Vec::new(),
            fresh: false,
            joining: false,
            dry_run: self.chance(20),
        }))
    }

    fn wanted(&self, name: &str) -> u32 {
        let found = self.play.arbiter.get(name);
        found.map_or(MOST, |watcher| watcher.config.numprocesses)
    }

    /// One thing happens.
    fn happen(&mut self) {
        match self.pick(24) {
            22 | 23 => self.answer_probe(),
            0..=6 => {
                let command = self.command();
                self.log.push(format!("{:?} {command:?}", self.play.now.mono));
                if self.chance(95) {
                    self.asked = self.play.ask_only(command);
                } else {
                    self.play.step(Input::Command { command, reply: None });
                }
            }
            7..=9 => self.play.answer_spawn(),
            10..=13 => {
                if let Some(input) = self.play.inbox.pop_front() {
                    self.play.step(input);
                }
            }
            14 => {
                let living = self.play.all_living();
                if !living.is_empty() {
                    let index = usize::try_from(self.pick(living.len() as u64)).unwrap();
                    let code = i32::try_from(self.pick(3)).unwrap();
                    self.play.exit(living[index], code);
                }
            }
            15 => {
                let name = self.name();
                let manners = Manners {
                    missing: self.chance(15),
                    starved: self.chance(10),
                    stubborn: self.chance(30),
                    lingers: self.chance(30),
                };
                self.play.manners.insert(name, manners);
            }
            16 => {
                self.play.files =
                    if self.chance(85) { Ok(config(&mut self.random)) } else { Err(vec!["bad".to_owned()]) };
            }
            17 => self.answer_job(),
            18 => {
                let hook = POINTS[usize::try_from(self.pick(POINTS.len() as u64)).unwrap()];
                let outcome = match self.pick(4) {
                    0 => HookOutcome::Raised("boom".to_owned()),
                    1 => HookOutcome::Returned { truth: false, stats: None },
                    _ => TRUE,
                };
                self.play.hooks.insert(hook.to_owned(), outcome);
            }
            19 | 20 => self.play.answer_hook(),
            _ => {
                // Nothing of what the host has to say is heard meanwhile.
                let seconds = [0.01, 0.3, 2.0, 40.0][usize::try_from(self.pick(4)).unwrap()];
                self.play.pass_deaf(seconds);
            }
        }
    }

    /// Any answer to any question, now and then to one that nobody asked.
    fn answer_probe(&mut self) {
        let asked: Vec<_> = self.play.probing.iter().map(|(id, (attempt, _))| (*id, *attempt)).collect();
        if asked.is_empty() {
            return;
        }
        let (watcher, attempt) = asked[usize::try_from(self.pick(asked.len() as u64)).unwrap()];
        let result = if self.chance(60) { Ok(()) } else { Err("no".to_owned()) };
        if self.chance(20) {
            self.play.step(Input::Probed { watcher, attempt: attempt - 1, result });
        } else {
            self.play.probing.remove(&watcher);
            self.play.step(Input::Probed { watcher, attempt, result });
        }
    }

    /// Whoever waits for somebody that was stopped waits until it is told to stop.
    fn give_up_waiting(&mut self) {
        let watchers = self.play.arbiter.watchers.values();
        let gated = watchers.filter(|watcher| watcher.order.gate.is_some());
        let names: Vec<String> = gated.map(|watcher| watcher.config.name.original().to_owned()).collect();
        for name in names {
            self.asked = self.play.ask(Command::Stop(named(&name)));
        }
    }

    fn answer_job(&mut self) {
        if self.play.asked.is_empty() {
            return;
        }
        let well = self.chance(70);
        let input = match self.play.asked.remove(0) {
            Effect::Sample { tag, targets } => Input::Sampled { tag, figures: vec![None; targets.len()] },
            Effect::Deliver { job, .. } => Input::Delivered { job, result: Ok(()) },
            Effect::Configure { job, work } => {
                let restart = if well { work.running } else { Vec::new() };
                let outcome = Box::new(ConfigureOutcome { restart, ..ConfigureOutcome::default() });
                Input::Configured { job, result: if well { Ok(outcome) } else { Err(vec!["no".to_owned()]) } }
            }
            Effect::Reset { job, .. } => {
                let outcome = Box::new(ResetOutcome::default());
                Input::ResetDone { job, result: if well { Ok(outcome) } else { Err(vec!["no".to_owned()]) } }
            }
            other => panic!("{other:?} is no question"),
        };
        self.play.step(input);
    }

    /// After every step.
    fn check(&self) {
        let arbiter = &self.play.arbiter;
        if self.play.exited.is_some() {
            return;
        }
        let mut keys = 0;
        let mut up = 0;
        for watcher in arbiter.watchers.values() {
            keys += watcher.processes.len();
            up += usize::from(!watcher.is_down());
            check_watcher(watcher);
            check_standing(watcher, self.play.now);
            let noted = watcher.noted.is_none_or(|at| arbiter.deadlines.contains(&(at, watcher.id)));
            assert!(noted, "a deadline is not where it was noted");
            let next = watcher.next_deadline(self.play.now.mono);
            assert!(watcher.noted <= next || next.is_none(), "{:?} is later than {next:?}", watcher.noted);
            assert!(next.is_none() || watcher.noted.is_some(), "nobody noted {next:?}");
        }
        assert_eq!(keys, arbiter.keys.len(), "keys of processes");
        assert_eq!(up, arbiter.up, "watchers that are not down");
        let noted = arbiter.watchers.values().filter(|watcher| watcher.noted.is_some()).count();
        assert_eq!(noted, arbiter.deadlines.len(), "deadlines of nobody");
    }

    /// The world becomes kind: everything must come to rest.
    fn calm(&mut self) {
        self.play.manners.clear();
        self.play.hooks.clear();
        self.play.hold_spawns = false;
        self.play.hold_hooks = false;
        self.play.probes = NAMES.into_iter().map(|name| (name.to_owned(), Ok(()))).collect();
        for (watcher, (attempt, _)) in std::mem::take(&mut self.play.probing) {
            self.play.inbox.push_back(Input::Probed { watcher, attempt, result: Ok(()) });
        }
        for _ in 0..40 {
            while !self.play.spawning.is_empty() {
                self.play.answer_spawn();
            }
            while !self.play.calling.is_empty() {
                self.play.answer_hook();
            }
            self.play.settle();
            while !self.play.asked.is_empty() {
                self.answer_job();
                self.play.settle();
            }
            if self.play.exited.is_some() {
                return;
            }
            self.play.pass(10.0);
            self.check();
        }
        self.give_up_waiting();
    }

    fn check_rest(&self) {
        for reply in 1..=self.asked {
            let answered = self.play.replies.contains_key(&reply);
            assert!(answered, "nobody answered request {reply} of {:#?}; {:?}", self.log, self.play.arbiter);
        }
        if self.play.exited.is_some() {
            return;
        }
        for watcher in self.play.arbiter.watchers.values() {
            let running = watcher.processes.values().filter(|process| process.running()).count();
            match watcher.phase {
                Phase::Stopped => {
                    assert!(watcher.is_down(), "{} should be up", watcher.config.name);
                    assert_eq!(watcher.processes.len(), 0);
                    assert_ne!(watcher.wanted, Wanted::Gone, "removed, and still there");
                }
                Phase::Active => {
                    let (wanted, closed) = (watcher.config.numprocesses as usize, watcher.slots.closed());
                    assert!(running <= wanted, "{}", watcher.config.name);
                    let replaced = watcher.config.respawns();
                    assert!(running + closed >= wanted || !replaced, "{watcher:?}");
                    assert!(running > 0 || wanted == 0, "{watcher:?}");
                    assert_eq!(running, watcher.processes.len());
                    assert!(watcher.reload.is_none());
                }
                Phase::Starting { .. } | Phase::Stopping { .. } => {
                    panic!("{} is still {}", watcher.config.name, watcher.status());
                }
            }
            assert!(!watcher.hooks.waiting(), "{} waits for a hook", watcher.config.name);
            assert_eq!(watcher.holds, 0, "{} is held by nobody", watcher.config.name);
            assert!(watcher.tickets.is_empty(), "somebody still waits for {watcher:?} after {:#?}", self.log);
        }
    }
}

fn check_watcher(watcher: &Watcher) {
    let name = &watcher.config.name;
    let most = usize::try_from(MOST).unwrap();
    assert!(watcher.processes.len() <= 2 * most, "{name} has {}", watcher.processes.len());
    let wanted = watcher.config.numprocesses as usize;
    let spawning = watcher.processes.values().filter(|process| process.spawning()).count();
    assert!(spawning <= 1, "{name} starts several at once");
    // One that only waits for others before it stops does nothing else any more.
    let stays = watcher.order.stays_for.is_some();
    if watcher.phase == Phase::Active && watcher.reload.is_none() && !stays {
        assert!(
            watcher.processes.filled() <= wanted + spawning,
            "{name}: {} of {wanted}",
            watcher.processes.len()
        );
    }
    match watcher.phase {
        Phase::Stopped => assert!(watcher.processes.is_empty(), "{name} is stopped"),
        Phase::Stopping { .. } => {
            let lives = watcher.processes.values().any(Process::running);
            assert!(!lives || watcher.hooks.waiting(), "{name} stops, and one was not asked to");
        }
        Phase::Starting { .. } | Phase::Active => {
            let up = stays || watcher.hooks.waiting() || watcher.wanted == Wanted::Up;
            assert!(up, "{name} is wanted {:?}", watcher.wanted);
        }
    }
    match watcher.readiness.told().state {
        ReadyState::Up | ReadyState::Joined => {
            assert!(watcher.processes.values().any(Process::running), "{name} is up without a process");
        }
        ReadyState::Down | ReadyState::Starting | ReadyState::Failed => {
            assert!(!watcher.readiness.told().ready, "{name} is ready although it is not up");
        }
    }
    watcher.processes.check();
    let wids: BTreeSet<_> = watcher.processes.values().map(|process| process.wid).collect();
    watcher.slots.check(&wids);
    assert_eq!(wids.len(), watcher.processes.len(), "{name} gave a worker id twice");
}

fn leaves(watcher: &Watcher) -> bool {
    watcher.cycle || watcher.wanted != Wanted::Up || watcher.rebuild.is_some()
}

/// Nobody is forgotten, and whoever waits knows for what and until when.
fn check_standing(watcher: &Watcher, now: Now) {
    let wanted = watcher.config.numprocesses as usize;
    let spawning = watcher.processes.values().any(Process::spawning);
    let pausing = spawning || watcher.warm > now.mono || watcher.tries.not_before() > now.mono;
    let still = watcher.reload.is_none() && !watcher.hooks.waiting() && !leaves(watcher);
    if watcher.phase == Phase::Active && watcher.config.respawns() && still && !pausing {
        let resting = watcher.slots.resting(now.mono).count();
        let missing = wanted.saturating_sub(watcher.processes.filled() + resting);
        assert!(missing == 0 || watcher.processes.len() >= 2 * wanted, "somebody is missing: {watcher:?}");
    }
    let standing = watcher.standing(now);
    match standing.reason {
        Reason::Backoff { failures, .. } => {
            assert!(failures > 0, "{watcher:?}");
            assert!(standing.until.is_some_and(|at| at > now.wall), "{watcher:?}");
        }
        Reason::Retry { tries, ref error } => {
            assert!(tries > 0 && !error.is_empty(), "{watcher:?}");
            // A try is under way, or comes.
            assert!(
                standing.until.is_some() || spawning || !still || watcher.processes.filled() >= wanted,
                "{watcher:?}"
            );
        }
        Reason::StartLimit { places, .. } => {
            assert!(places > 0 && standing.until.is_none(), "{watcher:?}");
        }
        Reason::Held => assert!(watcher.holds > 0 || watcher.rebuild.is_some(), "{watcher:?}"),
        Reason::Running => assert_eq!(watcher.phase, Phase::Active),
        Reason::Ending { .. } => assert_eq!(standing.state, "stopping"),
        Reason::Spawning | Reason::Warmup => assert_eq!(standing.state, "starting"),
        Reason::NotStarted
        | Reason::Asked { .. }
        | Reason::NoProcesses
        | Reason::Unstartable { .. }
        | Reason::Broken { .. }
        | Reason::Refused { .. }
        | Reason::Finished { .. }
        | Reason::Turn
        | Reason::Demand => assert!(standing.until.is_none() && standing.state == "stopped", "{watcher:?}"),
        Reason::Order { text } => assert!(!text.is_empty()),
        Reason::Hook { .. } => assert!(watcher.hooks.waiting()),
        Reason::Reloading => assert!(watcher.reload.is_some()),
    }
}

/// Half of all watchers have some.
fn hooks(random: &mut Random) -> BTreeMap<String, HookConfig> {
    let share = random.up_to(7);
    let chosen = POINTS.into_iter().filter(|_| share > 3 && random.up_to(9) < share);
    let chosen: Vec<&str> = chosen.collect();
    let mut hook = || HookConfig { path: "a.b".to_owned(), ignore_failure: random.up_to(2) == 0 };
    chosen.into_iter().map(|name| (name.to_owned(), hook())).collect()
}

/// Half of all watchers have one.
fn policy(random: &mut Random) -> Policy {
    let chance = |random: &mut Random| random.up_to(3) == 0;
    let seconds =
        |random: &mut Random, most: u64| Some(Duration::from_millis(100 + random.up_to(most * 1000)));
    let mut policy = Policy::default();
    if random.up_to(1) == 0 {
        return policy;
    }
    if chance(random) {
        let all = [Restart::Always, Restart::OnFailure, Restart::OnFailure, Restart::Never];
        policy.restart = Some(all[usize::try_from(random.up_to(3)).unwrap()]);
    }
    policy.expected = chance(random).then(|| ExitCodes::parse("1,2,SIGTERM").unwrap());
    policy.success_after = if chance(random) { seconds(random, 50) } else { None };
    policy.backoff = if chance(random) { seconds(random, 20) } else { None };
    policy.backoff_max = if chance(random) { seconds(random, 30) } else { None };
    policy.backoff_jitter = chance(random).then_some(0.5);
    policy.start_limit = chance(random).then_some(1 + u32::try_from(random.up_to(2)).unwrap());
    policy.start_limit_window = if chance(random) { seconds(random, 100) } else { None };
    policy
}

fn config(random: &mut Random) -> Config {
    let mut watchers = Vec::new();
    for name in NAMES {
        if random.up_to(4) == 0 {
            continue;
        }
        watchers.push(WatcherConfig {
            hooks: hooks(random),
            numprocesses: u32::try_from(random.up_to(3)).unwrap(),
            autostart: random.up_to(3) > 0,
            priority: i64::try_from(random.up_to(2)).unwrap(),
            warmup_delay: [0.0, 0.0, 0.5][usize::try_from(random.up_to(2)).unwrap()],
            graceful_timeout: [0.0, 1.0, 30.0][usize::try_from(random.up_to(2)).unwrap()],
            max_retry: [5, 5, 5, -1, 1, 0][usize::try_from(random.up_to(5)).unwrap()],
            send_hup: random.up_to(9) == 0,
            stop_children: random.up_to(3) == 0,
            respawn: random.up_to(9) > 0,
            policy: policy(random),
            ..of(name, 1)
        });
    }
    let services = SERVICES[usize::try_from(random.up_to(3)).unwrap()];
    let mut config = Config { watchers, services: Arc::new(described(services)), ..Config::default() };
    config.circus.warmup_delay = [0.0, 0.0, 3.0][usize::try_from(random.up_to(2)).unwrap()];
    config
}

fn history(seed: u64) {
    let mut world = World::new(seed);
    world.play.start_up();
    for _ in 0..STEPS {
        world.happen();
        world.check();
        if world.chance(1) {
            world.play.step(Input::Interrupted(Interrupt::Reload));
        }
    }
    world.calm();
    world.check_rest();
    // However it was, it ends when it is told to.
    if world.play.exited.is_none() {
        let again = world.chance(30);
        world.play.hold_spawns = world.chance(50);
        for _ in 0..3 {
            world.happen();
        }
        world.play.input(Input::Interrupted(Interrupt::Stop));
        if again {
            world.play.step(Input::Interrupted(Interrupt::Stop));
        }
        for _ in 0..5 {
            world.happen();
        }
        world.calm();
        assert_eq!(world.play.exited, Some(0), "the end never came");
        world.check_rest();
    }
}

#[test]
fn random_histories_keep_the_invariants_and_settle() {
    for seed in 0..HISTORIES {
        let result = std::panic::catch_unwind(|| history(seed));
        assert!(result.is_ok(), "history {seed} failed");
    }
}

#[test]
fn pids_are_born_once_and_buried_once() {
    for seed in 0..500 {
        let mut world = World::new(seed);
        world.play.start_up();
        for _ in 0..STEPS {
            world.happen();
        }
        world.calm();
        let mut fate: BTreeMap<String, u8> = BTreeMap::new();
        let mut judged: BTreeSet<String> = BTreeSet::new();
        for line in world.play.take().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                [_, "spawn", pid] => assert_eq!(fate.insert((*pid).to_owned(), 1), None, "{seed}: {line}"),
                // Whom a hook does not want is killed without having been born.
                ["", "", "hook", "after_spawn", pid] => drop(judged.insert((*pid).to_owned())),
                [_, "kill", pid] if judged.contains(*pid) => {}
                [_, "kill", pid] => assert_eq!(fate.get(*pid), Some(&1), "{seed}: {line}"),
                [_, "reap", pid, _] => {
                    assert_eq!(fate.insert((*pid).to_owned(), 2), Some(1), "{seed}: {line}");
                }
                _ => {}
            }
        }
    }
}

#[test]
fn ten_thousand_watchers_start_respawn_and_end() {
    const COUNT: usize = 10_000;
    let mut play = Play::idle((0..COUNT).map(|index| of(&format!("w{index}"), 1)).collect());
    play.start_up();
    assert_eq!(play.all_living().len(), COUNT);
    play.take();
    play.die(play.all_living()[0], 1);
    assert_eq!(play.take(), "w0 reap 101 1\nw0 spawn 10101\n");
    play.ask(Command::Quit { waiting: true });
    assert_eq!(play.exited, Some(0));
}

/// The lowest number that is free is given, and no step looks at all processes.
#[test]
fn ten_thousand_processes_of_one_watcher_start_respawn_and_end() {
    const COUNT: u32 = 10_000;
    let looked = |play: &Play| play.arbiter.get("one").unwrap().processes.looked();
    let wids = |play: &Play| -> Vec<u32> {
        let watcher = play.arbiter.get("one").unwrap();
        let taken = watcher.processes.values().map(|process| process.wid).collect();
        watcher.slots.check(&taken);
        taken.into_iter().map(|wid| wid.0).collect()
    };
    let mut play = Play::idle(vec![of("one", COUNT)]);
    play.start_up();
    assert!(looked(&play) <= 2 * COUNT as usize, "to start: {}", looked(&play));
    assert_eq!(wids(&play), (1..=COUNT).collect::<Vec<_>>());
    let (before, mut random) = (looked(&play), Random(7));
    let mut living = play.living("one");
    let dead: Vec<i32> = (0..1000)
        .map(|_| living.swap_remove(usize::try_from(random.up_to(living.len() as u64 - 1)).unwrap()))
        .collect();
    for round in 0..2 {
        let dying = if round == 0 { dead.clone() } else { play.living("one").split_off(9000) };
        dying.iter().for_each(|pid| play.exit(*pid, 1));
        play.settle();
        assert_eq!(play.living("one").len(), if round == 0 { 10_000 } else { 9000 });
    }
    assert_eq!(
        reason(&play),
        "1000 of its processes died young 2 times in a row, the last one ended with status 1"
    );
    play.pass(1.0);
    assert_eq!(wids(&play), (1..=COUNT).collect::<Vec<_>>());
    assert!(looked(&play) - before <= 5 * COUNT as usize, "to respawn: {}", looked(&play) - before);
    let before = looked(&play);
    play.ask(Command::Stop(named("one")));
    assert_eq!(play.population(), 0);
    assert!(looked(&play) - before <= 2 * COUNT as usize, "to stop: {}", looked(&play) - before);
    assert_eq!(wids(&play), [0_u32; 0]);
}

fn reason(play: &Play) -> String {
    play.arbiter.get("one").unwrap().standing(play.now).reason.to_string()
}

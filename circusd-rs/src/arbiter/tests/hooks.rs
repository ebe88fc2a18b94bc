//! Hooks, pinned: where each stands among the events, what its answer decides, who waits and who does
//! not.

use circus_protocol::command::{Add, Adjust, Command, Reload, Set, SignalCommand, SignalTarget, StatsQuery};
use circus_protocol::number::Signal;
use serde_json::{Map, Value, json};

use crate::arbiter::effect::{Callee, Effect};
use crate::arbiter::input::{HookOutcome, Input, Interrupt};
use crate::arbiter::tests::play::{Manners, POLITE, Play, at_once, named, of, refusal, watcher};
use crate::config::{HookConfig, WatcherConfig};

const ALL: [&str; 10] = [
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
];
const FALSE: HookOutcome = HookOutcome::Returned { truth: false, stats: None };

fn raised() -> HookOutcome {
    HookOutcome::Raised("boom!".to_owned())
}

fn hooked(config: WatcherConfig, names: &[&str], ignore_failure: bool) -> WatcherConfig {
    let hook = |name: &&str| ((*name).to_owned(), HookConfig { path: "pkg.hook".to_owned(), ignore_failure });
    WatcherConfig { hooks: names.iter().map(hook).collect(), autostart: false, ..config }
}

fn tidy(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[track_caller]
fn check(actual: &str, expected: &str) {
    assert_eq!(tidy(actual), tidy(expected), "\n{actual}");
}

/// Only what is published, on one line.
fn told(play: &mut Play) -> String {
    let trace = play.take();
    let events = trace.lines().filter_map(|line| line.strip_prefix("one "));
    events.collect::<Vec<_>>().join(", ")
}

#[test]
fn all_stand_where_stock_has_them() {
    let mut play = Play::new(vec![hooked(of("one", 1), &ALL, false)]);
    play.ask(Command::Start(named("one")));
    check(
        &play.take(),
        r#"hook before_start
        one hook_success before_start
        hook before_spawn
        one hook_success before_spawn
        hook after_spawn 101
        one hook_success after_spawn
        one spawn 101
        hook after_start
        one hook_success after_start
        one start
        reply 1: ok {"info":{"started":[101],"kept":[]}}"#,
    );
    play.ask(Command::Stop(named("one")));
    check(
        &play.take(),
        r#"hook before_stop
        one hook_success before_stop
        hook before_signal 101
        one hook_success before_signal
        signal 15 101 Process
        hook after_signal 101
        one hook_success after_signal
        one kill 101
        hook before_reap 101
        one hook_success before_reap
        one reap 101 -15
        hook after_reap 101
        one hook_success after_reap
        one stop
        hook after_stop
        one hook_success after_stop
        reply 2: ok {"info":null}"#,
    );
}

/// Starts and stops a watcher with one hook; what is published.
fn round(name: &str, outcome: HookOutcome, ignore_failure: bool) -> String {
    let config = WatcherConfig { graceful_timeout: 2.0, ..of("one", 1) };
    let mut play = Play::new(vec![hooked(config, &[name], ignore_failure)]);
    play.hooks.insert(name.to_owned(), outcome);
    play.ask(Command::Start(named("one")));
    play.ask(Command::Stop(named("one")));
    play.pass(3.0);
    assert_eq!(play.replies.len(), 2);
    told(&mut play)
}

#[test]
fn an_answer_decides_what_stock_lets_it_decide() {
    let good = "spawn 101, start, kill 101, reap 101 -15, stop";
    for (name, no) in [
        ("before_start", "hook_X before_start"),
        ("after_start", "spawn 101, hook_X after_start, kill 101, reap 101 -15, stop"),
        ("before_spawn", "hook_X before_spawn, stop"),
        ("after_spawn", "hook_X after_spawn, kill 101, stop"),
    ] {
        assert_eq!(round(name, FALSE, false), no.replace("_X", "_success"));
        assert_eq!(round(name, raised(), false), no.replace("_X", "_failure"));
        let forgiven = round(name, raised(), true);
        assert!(forgiven.contains("start, kill 101, reap 101 -15, stop"), "{forgiven}");
    }
    // A signal that is not sent is told all the same, and SIGKILL cannot be forbidden.
    assert_eq!(
        round("before_signal", FALSE, false),
        "spawn 101, start, hook_success before_signal, kill 101, hook_success before_signal, kill 101, \
         reap 101 -9, stop"
    );
    for name in ["before_stop", "after_stop", "before_signal", "after_signal", "before_reap", "after_reap"] {
        let all = round(name, raised(), false);
        let rest: Vec<&str> = all.split(", ").filter(|event| !event.starts_with("hook")).collect();
        assert_eq!(rest.join(", "), good, "{name}");
        assert!(all.contains(&format!("hook_failure {name}")), "{all}");
    }
}

#[test]
fn deaths_are_kept_while_a_hook_is_under_way() {
    let mut play = Play::new(vec![hooked(of("one", 1), &["after_start"], false), watcher("other")]);
    play.hold_hooks = true;
    play.ask_only(Command::Start(named("one")));
    play.settle();
    play.take();
    play.die(102, 3);
    check(&play.take(), "");
    // Nobody else waits.
    play.die(101, 1);
    check(&play.take(), "other reap 101 1\nother spawn 103");
    play.answer_hook();
    play.settle();
    check(
        &play.take(),
        r#"one hook_success after_start
        one start
        one reap 102 3
        reply 1: ok {"info":{"started":[],"kept":[]}}
        one spawn 104"#,
    );
}

#[test]
fn a_stop_overtakes_the_hooks_of_a_start() {
    for name in ["before_start", "after_start", "before_spawn", "after_spawn"] {
        let mut play = Play::new(vec![hooked(of("one", 1), &[name], false)]);
        play.hold_hooks = true;
        play.ask(Command::Start(named("one")));
        play.ask(Command::Stop(named("one")));
        assert_eq!(play.replies.len(), 2, "{name}");
        assert!(refusal(&play.replies[&1]).to_string().contains("was overtaken by stop"));
        // Whoever answers late is not heard.
        play.take();
        play.answer_hook();
        play.settle();
        assert_eq!(play.take(), "", "{name}");
        play.hold_hooks = false;
        play.ask(Command::Start(named("one")));
        assert!(told(&mut play).ends_with("start"), "{name}");
    }
}

#[test]
fn sigkill_does_not_wait_for_a_hook_that_hangs() {
    let config = WatcherConfig { graceful_timeout: 2.0, ..of("one", 2) };
    let mut play = Play::new(vec![hooked(config, &["after_signal"], false)]);
    play.ask(Command::Start(named("one")));
    play.manners.insert("one".to_owned(), Manners { stubborn: true, ..POLITE });
    play.hold_hooks = true;
    play.take();
    play.ask(Command::Stop(named("one")));
    check(&play.take(), "signal 15 101 Process\nhook after_signal 101");
    play.pass(6.9);
    check(&play.take(), "");
    play.pass(0.2);
    check(&play.take(), "signal 9 101 Tree\nsignal 9 102 Tree");
    play.hold_hooks = false;
    play.answer_hook();
    play.settle();
    assert!(play.replies.contains_key(&2));
    assert!(told(&mut play).ends_with("reap 101 -9, reap 102 -9, stop"));
}

#[test]
fn a_second_interrupt_waits_for_no_hook() {
    let mut play = Play::new(vec![hooked(of("one", 2), &ALL, false)]);
    play.ask(Command::Start(named("one")));
    play.hold_hooks = true;
    play.input(Input::Interrupted(Interrupt::Stop));
    play.take();
    assert_eq!(play.exited, None);
    play.input(Input::Interrupted(Interrupt::Stop));
    assert_eq!(play.exited, Some(0));
    assert!(told(&mut play).ends_with("reap 101 -15, reap 102 -15, stop"));
}

#[test]
fn who_does_not_wait_is_answered_before_the_hook() {
    let mut play = Play::new(vec![hooked(of("one", 1), &["before_start"], false)]);
    play.hold_hooks = true;
    play.ask(Command::Start(at_once(named("one"))));
    check(&play.take(), "hook before_start\nreply 1: ok {}");
    play.ask(Command::Status { name: Some("one".to_owned()) });
    check(&play.take(), "reply 2: stopped");
}

#[test]
fn tries_share_one_before_spawn_and_respawns_have_their_own() {
    let mut play = Play::new(vec![hooked(of("one", 1), &["before_spawn"], false)]);
    play.manners.insert("one".to_owned(), Manners { missing: true, ..POLITE });
    play.ask(Command::Start(named("one")));
    assert_eq!(told(&mut play), "hook_success before_spawn, stop");
    play.manners.clear();
    play.ask(Command::Start(named("one")));
    play.take();
    play.die(101, 0);
    assert_eq!(told(&mut play), "reap 101 0, hook_success before_spawn, spawn 102");
    play.hooks.insert("before_spawn".to_owned(), FALSE);
    play.die(102, 0);
    // What dies young twice rests a little.
    play.pass(1.0);
    assert_eq!(told(&mut play), "reap 102 0, hook_success before_spawn, stop");
}

#[test]
fn a_reload_keeps_the_old_when_a_hook_refuses_the_new() {
    let mut play = Play::new(vec![hooked(of("one", 2), &["before_spawn", "after_spawn"], false)]);
    play.ask(Command::Start(named("one")));
    play.take();
    play.hooks.insert("after_spawn".to_owned(), FALSE);
    let reload = Reload { name: Some("one".to_owned()), graceful: true, sequential: false, waiting: true };
    play.ask(Command::Reload(reload));
    let spawn = "hook_success before_spawn, hook_success after_spawn";
    assert_eq!(told(&mut play), format!("{spawn}, kill 103, {spawn}, kill 104, reload"));
    assert_eq!(play.living("one"), [101, 102]);
    assert_eq!(play.arbiter.get("one").unwrap().pids().count(), 2);
}

#[test]
fn a_hook_may_forbid_the_signal_command() {
    let mut play = Play::new(vec![hooked(of("one", 1), &["before_signal"], false)]);
    play.ask(Command::Start(named("one")));
    play.hooks.insert("before_signal".to_owned(), FALSE);
    play.take();
    let signal = |signal| {
        let target = SignalTarget::Processes { pid: None };
        Command::Signal(SignalCommand { name: "one".to_owned(), signal, target })
    };
    play.ask(signal(Signal::HUP));
    check(&play.take(), "hook before_signal 101\none hook_success before_signal\nreply 2: ok {}");
    play.ask(signal(Signal::KILL));
    let trace = play.take();
    assert!(trace.contains("signal 9 101 Process") && trace.contains("one spawn 102"), "{trace}");
}

#[test]
fn hooks_are_imported_before_they_are_taken_over() {
    let mut play = Play::new(vec![of("one", 1)]);
    let set = |options: Value| {
        let Value::Object(options) = options else { panic!("an object") };
        Command::Set(Set { name: "one".to_owned(), options: options.into_iter().collect(), waiting: true })
    };
    play.unloadable = Some("No module named 'nowhere'".to_owned());
    play.ask(set(json!({"hooks.before_stop": "nowhere.hook"})));
    check(&play.take(), "load nowhere.hook\nreply 1: error 5 No module named 'nowhere'");
    play.ask(set(json!({"hooks": {"before_stop": "exec:/bin/true --no 'a b'"}})));
    check(&play.take(), "one updated\nreply 2: ok {}");
    play.unloadable = None;
    play.ask(set(json!({"hooks": {"after_stop": "pkg:hook,true"}})));
    check(&play.take(), "load pkg:hook\none updated\nreply 3: ok {}");
    play.hold_hooks = true;
    play.ask(Command::Stop(named("one")));
    let (_, call) = play.calling.front().expect("it is called");
    let words = ["/bin/true", "--no", "a b"].map(str::to_owned);
    assert_eq!(call.callee, Callee::Program(words.to_vec()));

    let hooks = ("hooks".to_owned(), json!({"before_start": ["pkg.hook", false]}));
    let add = Add {
        name: "two".to_owned(),
        cmd: "prog".to_owned(),
        args: Value::Null,
        options: vec![hooks],
        start: true,
        waiting: true,
    };
    play.hold_hooks = false;
    play.answer_hook();
    play.settle();
    while !play.calling.is_empty() {
        play.answer_hook();
        play.settle();
    }
    play.hooks.insert("before_start".to_owned(), FALSE);
    play.take();
    play.ask(Command::Add(Box::new(add)));
    check(
        &play.take(),
        r#"load pkg.hook
        two add
        hook before_start
        two hook_success before_start
        reply 5: ok {"started":[],"kept":[]}"#,
    );
}

#[test]
fn figures_are_edited_one_after_the_other() {
    let mut play = Play::new(vec![hooked(of("one", 2), &["extended_stats"], false)]);
    play.ask(Command::Start(named("one")));
    play.ask(Command::Incr(Adjust { name: "one".to_owned(), nb: 0, waiting: true }));
    play.take();
    let mut ask = |outcome: HookOutcome| {
        play.hooks.insert("extended_stats".to_owned(), outcome);
        let query = StatsQuery { name: Some("one".to_owned()), process: None, extended: true, tally: false };
        play.ask(Command::Stats(query));
        let Some(Effect::Sample { tag, .. }) = play.asked.pop() else { panic!("figures are read") };
        let figures = Some(Map::from_iter([("pid".to_owned(), json!(1))]));
        play.input(Input::Sampled { tag, figures: vec![figures, None] });
        play.take()
    };
    let stats = Some(Map::from_iter([("edited".to_owned(), json!(true))]));
    check(
        &ask(HookOutcome::Returned { truth: false, stats }),
        r#"sample 2
        hook extended_stats 101
        reply 3: ok {"name":"one","info":{"101":{"edited":true},"102":"No such process (stopped?)"}}"#,
    );
    check(&ask(raised()), "sample 2\nhook extended_stats 101\nreply 4: error 5 boom!");
}

//! Restart policies as traces: what follows a death under each option, what `status` and the `waiting`
//! events say meanwhile, and what a command changes about it.

use std::time::Duration;

use circus_protocol::command::{Adjust, Command, Reload, Set};
use circus_protocol::reply::Reply;
use serde_json::{Value, json};

use crate::arbiter::input::Input;
use crate::arbiter::standing::Reason;
use crate::arbiter::tests::play::{Manners, POLITE, Play, body, named, of};
use crate::config::policy::{ExitCodes, Policy, Restart};
use crate::config::{Config, WatcherConfig};

/// A watcher with so many processes and this policy.
fn with(numprocesses: u32, policy: Policy) -> WatcherConfig {
    WatcherConfig { policy, ..of("one", numprocesses) }
}

fn on_failure() -> Policy {
    let expected = Some(ExitCodes::parse("0,143,SIGTERM").unwrap());
    Policy { restart: Some(Restart::OnFailure), expected, ..Policy::default() }
}

fn limit(starts: u32, window: u64) -> Policy {
    let window = Some(Duration::from_secs(window));
    Policy { start_limit: Some(starts), start_limit_window: window, ..Policy::default() }
}

fn backoff(seconds: u64) -> Policy {
    Policy { backoff: Some(Duration::from_secs(seconds)), ..Policy::default() }
}

#[track_caller]
fn check(play: &mut Play, expected: &[&str]) {
    let actual = play.take();
    let lines: Vec<&str> = actual.lines().map(str::trim).collect();
    assert_eq!(lines, expected, "\n{actual}");
}

fn reason(play: &Play) -> Reason {
    play.arbiter.get("one").unwrap().standing(play.now).reason
}

/// The extra keys of `status`, if there are any; `retry_at` counted from now.
fn status(play: &mut Play) -> (String, Option<(String, Value)>) {
    let trace = play.take();
    let asked = play.ask(Command::Status { name: Some("one".to_owned()) });
    let reply = play.replies[&asked].clone();
    assert!(play.take().starts_with("reply"), "a question changes nothing; before: {trace}");
    match reply {
        Reply::Status(state) => (state, None),
        Reply::Ok(_) => {
            let body = body(&reply);
            assert!(!body["why"].as_str().unwrap().is_empty());
            let retry = body["retry_at"].as_f64().map(|at| (at - play.now.wall).round());
            let text = |key: &str| body[key].as_str().unwrap().to_owned();
            (text("status"), Some((text("waiting_for"), json!(retry))))
        }
        Reply::Error(refusal) => panic!("{refusal}"),
    }
}

fn waits(state: &str, what: &str, retry: Value) -> (String, Option<(String, Value)>) {
    (state.to_owned(), Some((what.to_owned(), retry)))
}

fn plain(state: &str) -> (String, Option<(String, Value)>) {
    (state.to_owned(), None)
}

fn set(play: &mut Play, key: &str, value: Value) {
    let options = vec![(key.to_owned(), value)];
    play.ask(Command::Set(Set { name: "one".to_owned(), options, waiting: false }));
}

// ---- restart ----

#[test]
fn on_failure_an_expected_end_is_the_end() {
    let mut play = Play::new(vec![with(1, on_failure())]);
    play.die(101, 1);
    check(&mut play, &["one reap 101 1", "one spawn 102"]);
    play.die(102, 143);
    check(&mut play, &["one reap 102 143", "one stop"]);
    assert_eq!(status(&mut play), plain("stopped"));
    assert_eq!(reason(&play), Reason::Finished { exit_code: Some(143) });
    play.ask(Command::Start(named("one")));
    play.die(103, -15);
    assert_eq!(reason(&play), Reason::Finished { exit_code: Some(-15) });
}

#[test]
fn on_failure_the_others_go_on() {
    let mut play = Play::new(vec![with(3, on_failure())]);
    play.die(101, 0);
    play.pass(3600.0);
    check(&mut play, &["one reap 101 0"]);
    play.die(102, 7);
    check(&mut play, &["one reap 102 7", "one spawn 104"]);
    // One more is wanted: one more comes, and who was done stays done.
    play.ask(Command::Incr(Adjust { name: "one".to_owned(), nb: 1, waiting: true }));
    check(&mut play, &["one spawn 105", "reply 1: ok {\"numprocesses\":4}"]);
    play.die(103, 0);
    play.die(104, 0);
    play.die(105, 0);
    check(&mut play, &["one reap 103 0", "one reap 104 0", "one reap 105 0", "one stop"]);
}

#[test]
fn on_failure_start_brings_back_who_was_done() {
    let mut play = Play::new(vec![with(2, on_failure())]);
    play.die(101, 0);
    play.take();
    play.ask(Command::Start(named("one")));
    check(&mut play, &["one spawn 103", "reply 1: ok {\"info\":{\"started\":[103],\"kept\":[102]}}"]);
    play.die(103, 0);
    play.take();
    // A number that is filled again misses nobody, so a later death is one.
    play.ask(Command::Decr(Adjust { name: "one".to_owned(), nb: 1, waiting: true }));
    play.ask(Command::Incr(Adjust { name: "one".to_owned(), nb: 1, waiting: true }));
    assert_eq!(play.living("one"), [102, 104]);
}

#[test]
fn never_is_respawn_false_and_always_overrides_it() {
    let never = Policy { restart: Some(Restart::Never), ..Policy::default() };
    let mut play = Play::new(vec![with(2, never)]);
    play.die(101, 1);
    play.pass(60.0);
    check(&mut play, &["one reap 101 1"]);
    play.die(102, 1);
    check(&mut play, &["one reap 102 1", "one stop"]);
    assert_eq!(reason(&play), Reason::Finished { exit_code: Some(1) });

    let always = Policy { restart: Some(Restart::Always), ..Policy::default() };
    let mut play = Play::new(vec![WatcherConfig { respawn: false, ..with(1, always) }]);
    play.die(101, 0);
    check(&mut play, &["one reap 101 0", "one spawn 102"]);
}

#[test]
fn on_demand_waits_for_the_next_knock_however_the_last_one_ended() {
    let cmd = "prog $(circus.sockets.a)".to_owned();
    let config = WatcherConfig { use_sockets: true, on_demand: true, cmd, ..with(1, on_failure()) };
    let mut play = crate::arbiter::tests::sockets::play(vec![config]);
    for pid in 101..104 {
        play.input(Input::SocketReady { socket: "a".to_owned() });
        play.die(pid, 0);
        play.pass(10.0);
        assert_eq!(reason(&play), Reason::Demand);
        assert!(play.take().ends_with("watch {\"a\"}\n"), "it is watched again");
    }
}

// ---- back-off ----

#[test]
fn backoff_waits_from_the_first_failure_on_and_says_so() {
    let policy = Policy { backoff_max: Some(Duration::from_secs(5)), ..backoff(2) };
    let mut play = Play::new(vec![with(1, policy)]);
    play.die(101, 1);
    check(&mut play, &["one reap 101 1", "one waiting backoff"]);
    assert_eq!(status(&mut play), waits("active", "backoff", json!(2.0)));
    assert_eq!(reason(&play), Reason::Backoff { places: 1, failures: 1, exit_code: Some(1) });
    play.pass(1.9);
    check(&mut play, &[]);
    play.pass(0.2);
    check(&mut play, &["one spawn 102"]);
    assert_eq!(status(&mut play), plain("active"));
    play.die(102, 1);
    assert_eq!(status(&mut play), waits("active", "backoff", json!(4.0)));
    play.pass(4.0);
    play.die(103, 1);
    assert_eq!(status(&mut play), waits("active", "backoff", json!(5.0)));
}

#[test]
fn success_after_begins_anew() {
    let policy = Policy { success_after: Some(Duration::from_secs(30)), ..backoff(2) };
    let mut play = Play::new(vec![with(1, policy)]);
    play.pass(29.0);
    play.die(101, 1);
    check(&mut play, &["one reap 101 1", "one waiting backoff"]);
    play.pass(2.0);
    play.take();
    play.pass(30.0);
    play.die(102, 1);
    check(&mut play, &["one reap 102 1", "one spawn 103"]);
    play.die(103, 1);
    assert_eq!(status(&mut play), waits("active", "backoff", json!(2.0)));
}

#[test]
fn a_command_does_not_wait_for_the_backoff() {
    let mut play = Play::new(vec![with(1, backoff(1000))]);
    play.die(101, 1);
    play.take();
    play.ask(Command::Start(named("one")));
    check(&mut play, &["one spawn 102", "reply 1: ok {\"info\":{\"started\":[102],\"kept\":[]}}"]);
    play.die(102, 1);
    play.take();
    play.ask(Command::Stop(named("one")));
    check(&mut play, &["one stop", "reply 2: ok {\"info\":null}"]);
    assert_eq!(reason(&play), Reason::Asked { by: "stop".to_owned() });
    play.pass(2000.0);
    check(&mut play, &[]);
}

#[test]
fn without_a_policy_nothing_new_is_published() {
    let mut play = Play::new(vec![of("one", 1)]);
    play.die(101, 1);
    play.die(102, 1);
    check(&mut play, &["one reap 101 1", "one spawn 102", "one reap 102 1"]);
    assert_eq!(status(&mut play), waits("active", "backoff", json!(0.0)));
}

// ---- start limit ----

#[test]
fn the_start_limit_stops_the_watcher_until_a_command_comes() {
    let mut play = Play::new(vec![with(1, limit(3, 60))]);
    play.die(101, 1);
    play.die(102, 1);
    play.pass(0.2);
    play.take();
    play.die(103, 9);
    check(&mut play, &["one reap 103 9", "one waiting start", "one stop"]);
    assert_eq!(status(&mut play), waits("stopped", "start", Value::Null));
    let window = Duration::from_secs(60);
    assert_eq!(reason(&play), Reason::StartLimit { places: 1, starts: 3, window, exit_code: Some(9) });
    play.pass(10_000.0);
    check(&mut play, &[]);
    play.ask(Command::Start(named("one")));
    check(
        &mut play,
        &["one spawn 104", "one start", "reply 2: ok {\"info\":{\"started\":[104],\"kept\":[]}}"],
    );
    play.die(104, 1);
    check(&mut play, &["one reap 104 1", "one spawn 105"]);
}

#[test]
fn starts_outside_the_window_do_not_count() {
    let mut play = Play::new(vec![with(1, limit(2, 10))]);
    for pid in 101..130 {
        play.pass(6.0);
        play.die(pid, 1);
    }
    assert_eq!(play.living("one"), [130], "two starts in twelve seconds, always");
    play.pass(3.0);
    play.die(130, 1);
    assert_eq!(play.living("one"), [] as [i32; 0]);
}

#[test]
fn one_place_over_its_limit_leaves_the_others_alone() {
    let mut play = Play::new(vec![with(2, limit(2, 60))]);
    play.pass(2.0);
    play.die(101, 1);
    play.die(103, 1);
    check(&mut play, &["one reap 101 1", "one spawn 103", "one reap 103 1", "one waiting start"]);
    assert_eq!(status(&mut play), waits("active", "start", Value::Null));
    play.pass(1000.0);
    assert_eq!(play.living("one"), [102]);
    play.take();
    play.die(102, 1);
    check(&mut play, &["one reap 102 1", "one spawn 104"]);
    play.die(104, 1);
    check(&mut play, &["one reap 104 1", "one spawn 105"]);
    play.die(105, 1);
    check(&mut play, &["one reap 105 1", "one waiting start", "one stop"]);
}

#[test]
fn who_waits_for_a_watcher_that_gives_up_is_told_why() {
    let mut play = Play::new(vec![with(2, limit(1, 60))]);
    play.manners.insert("one".to_owned(), Manners { lingers: true, ..POLITE });
    for pid in [101, 102] {
        play.exit(pid, 1);
        let exited = play.inbox.pop_front().unwrap();
        play.step(exited);
        let last = play.inbox.pop_front().unwrap();
        if pid == 102 {
            // What it left behind is still there when somebody begins to wait.
            play.ask_only(Command::Incr(Adjust { name: "one".to_owned(), nb: 0, waiting: true }));
        }
        play.step(last);
    }
    let told = play.take();
    assert!(told.contains("reply 1: error"), "{told}");
    assert!(told.contains("start limit"), "{told}");
}

// ---- live changes ----

#[test]
fn set_takes_effect_on_who_rests_now() {
    let mut play = Play::new(vec![with(1, backoff(1000))]);
    play.die(101, 1);
    play.take();
    set(&mut play, "backoff", json!(1));
    check(&mut play, &["one updated", "one spawn 102", "reply 1: ok {}"]);
    set(&mut play, "restart", json!("on-failure"));
    play.take();
    play.die(102, 0);
    check(&mut play, &["one reap 102 0", "one stop"]);
}

#[test]
fn who_was_done_stays_done_unless_that_rule_changes() {
    let mut play = Play::new(vec![with(2, on_failure())]);
    play.die(101, 0);
    play.take();
    set(&mut play, "backoff", json!(3));
    check(&mut play, &["one updated", "reply 1: ok {}"]);
    set(&mut play, "restart", json!("always"));
    check(&mut play, &["one updated", "one spawn 103", "reply 2: ok {}"]);
}

#[test]
fn reloadconfig_changes_a_policy_without_a_restart() {
    let mut play = Play::new(vec![with(1, backoff(1000))]);
    play.die(101, 1);
    play.take();
    play.files = Ok(Config { watchers: vec![with(1, limit(9, 9))], ..Config::default() });
    play.ask(Command::ReloadConfig { waiting: true });
    check(&mut play, &["read config", "one spawn 102", "reply 1: ok {}"]);
    assert_eq!(play.arbiter.get("one").unwrap().config.policy, limit(9, 9));
}

// ---- what cannot be started ----

#[test]
fn want_of_room_is_waited_out_whatever_max_retry_says() {
    let mut play = Play::new(vec![WatcherConfig { max_retry: 1, ..of("one", 2) }]);
    play.manners.insert("one".to_owned(), Manners { starved: true, ..POLITE });
    play.die(101, 1);
    check(&mut play, &["one reap 101 1", "one waiting retry"]);
    assert_eq!(status(&mut play).0, "active");
    let error = "[Errno 24] Too many open files".to_owned();
    assert_eq!(reason(&play), Reason::Retry { error, tries: 1 });
    play.pass(60.0);
    let tries = play.take().lines().count();
    assert!((10..30).contains(&tries), "{tries} tries in a minute");
    let complaints =
        |play: &Play| play.log.iter().filter(|line| line.contains("Too many open files")).count();
    assert_eq!(complaints(&play), 1, "{:#?}", play.log);
    play.manners.clear();
    play.pass(5.0);
    check(&mut play, &["one spawn 103"]);
    let over = play.log.iter().filter(|line| line.starts_with("'one' can be started again, after ")).count();
    assert_eq!(over, 1, "{:#?}", play.log);
    play.manners.insert("one".to_owned(), Manners { starved: true, ..POLITE });
    play.die(103, 1);
    play.pass(60.0);
    assert_eq!(complaints(&play), 2, "the next time is said again");
    play.manners.clear();
    play.pass(5.0);
    play.take();
    assert_eq!(status(&mut play), plain("active"));
}

#[test]
fn a_backoff_paces_what_max_retry_counts() {
    let mut play = Play::idle(vec![WatcherConfig { max_retry: 3, ..with(1, backoff(10)) }]);
    play.manners.insert("one".to_owned(), Manners { missing: true, ..POLITE });
    play.start_up();
    check(&mut play, &["one waiting retry"]);
    assert_eq!(status(&mut play), waits("starting", "retry", json!(10.0)));
    play.pass(10.0);
    check(&mut play, &["one waiting retry"]);
    play.pass(10.0);
    check(&mut play, &["one stop"]);
    let error = "[Errno 2] No such file or directory: 'prog'".to_owned();
    assert_eq!(reason(&play), Reason::Unstartable { error, tries: 3 });
}

#[test]
fn reasons_of_the_ordinary() {
    let mut play = Play::idle(vec![WatcherConfig { autostart: false, warmup_delay: 5.0, ..of("one", 2) }]);
    play.start_up();
    assert_eq!(reason(&play), Reason::NotStarted);
    play.hold_spawns = true;
    play.ask_only(Command::Start(named("one")));
    assert_eq!(reason(&play), Reason::Spawning);
    play.answer_spawn();
    play.settle();
    assert_eq!(reason(&play), Reason::Warmup);
    let standing = play.arbiter.get("one").unwrap().standing(play.now);
    assert_eq!((standing.state, standing.since), ("starting", Some(play.now.wall)));
    assert_eq!(standing.until, Some(play.now.wall + 5.0));
    play.hold_spawns = false;
    play.pass(10.0);
    assert_eq!(reason(&play), Reason::Running);
    play.manners.insert("one".to_owned(), Manners { stubborn: true, ..POLITE });
    play.ask_only(Command::Stop(named("one")));
    assert_eq!(reason(&play), Reason::Ending { processes: 2 });
    let until = play.arbiter.get("one").unwrap().standing(play.now).until;
    assert_eq!(until, Some(play.now.wall + 30.0));
    play.input(Input::Tick);
    play.pass(31.0);
    assert_eq!(reason(&play), Reason::Asked { by: "stop".to_owned() });
}

#[test]
fn a_birth_that_was_under_way_is_an_old_one_to_a_reload() {
    let mut play = Play::new(vec![of("one", 1)]);
    play.hold_spawns = true;
    play.die(101, 1);
    let reload = Reload { name: Some("one".to_owned()), graceful: true, sequential: false, waiting: false };
    play.ask_only(Command::Reload(reload));
    play.hold_spawns = false;
    play.answer_spawn();
    play.settle();
    assert_eq!(play.living("one"), [103], "102 was asked for before the reload: {}", play.take());
}

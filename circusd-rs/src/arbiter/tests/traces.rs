//! Policy, pinned: script in, trace out. One test for each row of circus' table of event sequences and
//! for each quirk that is done better.

use circus_protocol::command::{Adjust, Command, Kill, Reload, Set};
use circus_protocol::number::Signal;
use serde_json::{Value, json};

use crate::arbiter::effect::{Effect, Reach};
use crate::arbiter::input::{Input, Interrupt};
use crate::arbiter::tests::play::{
    Manners, POLITE, Play, at_once, body, everything, named, of, refusal, watcher,
};
use crate::config::{Config, WatcherConfig};

/// Compares traces without their indentation.
#[track_caller]
fn check(actual: &str, expected: &str) {
    let tidy = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    };
    assert_eq!(tidy(actual), tidy(expected), "\n{actual}");
}

/// Only what is published.
fn events(play: &mut Play) -> String {
    let trace = play.take();
    let published = trace.lines().filter(|line| !line.starts_with(' ') && !line.starts_with("reply"));
    published.map(|line| format!("{line}\n")).collect()
}

const STUBBORN: Manners = Manners { stubborn: true, ..POLITE };
const MISSING: Manners = Manners { missing: true, ..POLITE };
const LINGERS: Manners = Manners { lingers: true, ..POLITE };

// ---- start ----

#[test]
fn start_spawns_all_then_says_start() {
    let mut play = Play::idle(vec![of("One Two", 2)]);
    play.start_up();
    check(&play.take(), "one_two spawn 101\none_two spawn 102\none_two start");
}

#[test]
fn start_of_a_missing_program_only_stops() {
    let mut play = Play::new(vec![]);
    play.manners.insert("one".to_owned(), MISSING);
    play.files = Ok(Config { watchers: vec![of("one", 2)], ..Config::default() });
    play.ask(Command::ReloadConfig { waiting: true });
    assert_eq!(events(&mut play), "one stop\n");
    play.ask(Command::Start(named("one")));
    check(
        &play.take(),
        r#"one stop
        reply 2: ok {"info":{"started":[],"kept":[]}}"#,
    );
}

#[test]
fn start_of_what_runs_is_nothing() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(Command::Start(named("ONE")));
    check(&play.take(), r#"reply 1: ok {"info":{"started":[],"kept":[101,102]}}"#);
}

#[test]
fn no_processes_wanted_ends_as_stopped() {
    let mut play = Play::idle(vec![of("one", 0)]);
    play.start_up();
    check(&play.take(), "one stop");
    play.ask(Command::Incr(Adjust { name: "one".to_owned(), nb: 1, waiting: true }));
    check(&play.take(), r#"reply 1: ok {"numprocesses":1}"#);
    play.ask(Command::Start(named("one")));
    assert_eq!(events(&mut play), "one spawn 101\none start\n");
}

#[test]
fn start_up_goes_by_priority_with_pauses() {
    let prio = |name: &str, priority| WatcherConfig { priority, ..watcher(name) };
    let mut play = Play::idle(vec![prio("a", 0), prio("b", 5), prio("c", 0)]);
    play.files = play.files.map(|mut config| {
        config.circus.warmup_delay = 2.0;
        config
    });
    play.start_up();
    assert_eq!(events(&mut play), "b spawn 101\nb start\n");
    // A start by name goes past the queue.
    play.ask(Command::Start(named("c")));
    assert_eq!(events(&mut play), "c spawn 102\nc start\n");
    play.pass(1.9);
    assert_eq!(events(&mut play), "");
    play.pass(0.2);
    assert_eq!(events(&mut play), "a spawn 103\na start\n");
}

#[test]
fn a_warm_up_stands_between_spawns_and_before_active() {
    let mut play = Play::idle(vec![WatcherConfig { warmup_delay: 3.0, ..of("one", 2) }]);
    play.start_up();
    check(&play.take(), "one spawn 101");
    play.pass(2.9);
    check(&play.take(), "");
    play.pass(0.2);
    check(&play.take(), "one spawn 102");
    play.pass(3.0);
    check(&play.take(), "one start");
}

#[test]
fn a_start_that_is_not_waited_for_is_answered_after_the_first_spawn() {
    let mut play = Play::new(vec![]);
    play.files = Ok(Config {
        watchers: vec![WatcherConfig { autostart: false, warmup_delay: 9.0, ..of("one", 2) }],
        ..Config::default()
    });
    play.ask(Command::ReloadConfig { waiting: true });
    play.take();
    play.hold_spawns = true;
    play.ask(Command::Start(at_once(named("one"))));
    check(&play.take(), "");
    play.answer_spawn();
    play.settle();
    check(&play.take(), "one spawn 101\nreply 2: ok {}");
}

#[test]
fn a_nameless_start_leaves_those_without_autostart() {
    let quiet = WatcherConfig { autostart: false, ..watcher("b1") };
    let mut play = Play::new(vec![watcher("a1"), quiet]);
    play.ask(Command::Stop(everything()));
    play.take();
    play.ask(Command::Start(everything()));
    check(&play.take(), "a1 spawn 102\na1 start\nreply 2: ok {}");
    // Q14: a pattern for several leaves it stopped, its name starts it.
    play.ask(Command::Start(named("b1")));
    assert_eq!(events(&mut play), "b1 spawn 103\nb1 start\n");
    play.ask(Command::Restart(named("?1")));
    check(
        &play.take(),
        "signal 15 102 Process
         a1 kill 102
         signal 15 103 Process
         b1 kill 103
         a1 reap 102 -15
         a1 stop
         b1 reap 103 -15
         b1 stop
         a1 spawn 104
         a1 start
         reply 4: ok {}",
    );
    play.ask(Command::Start(named("zz*")));
    check(&play.take(), "reply 5: error 3 program zz* not found");
}

// ---- stop ----

#[test]
fn stop_kills_all_then_reaps_all() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(Command::Stop(named("one")));
    check(
        &play.take(),
        r#"signal 15 101 Process
           one kill 101
           signal 15 102 Process
           one kill 102
           one reap 101 -15
           one reap 102 -15
           one stop
           reply 1: ok {"info":null}"#,
    );
    play.ask(Command::Stop(named("one")));
    check(&play.take(), r#"reply 2: ok {"info":null}"#);
}

#[test]
fn stop_of_the_stubborn_ends_with_sigkill_to_the_tree() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.ask(Command::Stop(at_once(named("one"))));
    check(
        &play.take(),
        "signal 15 101 Process
         one kill 101
         signal 15 102 Process
         one kill 102
         reply 1: ok {}",
    );
    play.die(102, -15);
    play.pass(29.9);
    check(&play.take(), "");
    play.pass(0.2);
    check(
        &play.take(),
        "signal 9 101 Tree
         one kill 101
         one reap 101 -9
         one reap 102 -15
         one stop",
    );
}

#[test]
fn stop_without_patience_sends_both_signals() {
    let mut play = Play::new(vec![WatcherConfig { graceful_timeout: 0.0, ..watcher("one") }]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.ask(Command::Stop(named("one")));
    assert_eq!(events(&mut play), "one kill 101\none kill 101\none reap 101 -9\none stop\n");
}

#[test]
fn stop_waits_for_the_whole_group() {
    let mut play = Play::new(vec![WatcherConfig { stop_children: true, ..watcher("one") }]);
    play.manners.insert("one".to_owned(), LINGERS);
    play.ask(Command::Stop(named("one")));
    check(&play.take(), "signal 15 101 WithChildren\none kill 101\nsignal 15 101 Tree");
    play.ask(Command::Status { name: Some("one".to_owned()) });
    check(&play.take(), "reply 2: stopping");
    play.pass(30.0);
    check(
        &play.take(),
        r#"signal 9 101 Tree
        one reap 101 -15
        one stop
        reply 1: ok {"info":null}"#,
    );
}

#[test]
fn what_survives_its_parents_sigkill_gets_another() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.ask(Command::Stop(named("one")));
    play.pass_deaf(30.0);
    play.take();
    let Some(Input::Exited { key, exit_code, .. }) = play.inbox.pop_front() else { panic!() };
    let effects = play
        .arbiter
        .step(play.now, Input::Exited { key, exit_code, lingering: true, usage: None, oom: None });
    assert_eq!(effects, [Effect::Signal { key, signal: Signal::KILL, reach: Reach::Tree }]);
    play.input(Input::Gone { key });
    assert_eq!(events(&mut play), "one reap 101 -9\none stop\n");
}

#[test]
fn stop_of_several_signals_the_lowest_priority_first() {
    let prio = |name: &str, priority| WatcherConfig { priority, ..watcher(name) };
    let mut play = Play::new(vec![prio("a", 5), prio("b", 0), prio("c", 1)]);
    for name in ["a", "b", "c"] {
        play.manners.insert(name.to_owned(), STUBBORN);
    }
    play.ask(Command::Stop(at_once(everything())));
    let events = events(&mut play);
    let order: Vec<&str> = events.lines().map(|line| &line[..1]).collect();
    assert_eq!(order, ["b", "c", "a"]);
}

#[test]
fn stop_while_a_spawn_is_under_way_ends_it_when_it_comes() {
    let mut play = Play::idle(vec![of("one", 2)]);
    play.hold_spawns = true;
    play.start_up();
    play.ask(Command::Stop(named("one")));
    check(&play.take(), "");
    play.answer_spawn();
    play.settle();
    check(
        &play.take(),
        r#"one spawn 101
           signal 15 101 Process
           one kill 101
           one reap 101 -15
           one stop
           reply 1: ok {"info":null}"#,
    );
}

#[test]
fn a_newer_wish_overtakes_and_says_so() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.ask(Command::Stop(named("one")));
    play.take();
    play.ask(Command::Start(named("one")));
    check(&play.take(), "reply 1: error 5 stop of 'one' was overtaken by start");
    play.ask(Command::Stop(named("one")));
    check(&play.take(), "reply 2: error 5 start of 'one' was overtaken by stop");
    play.pass(30.0);
    check(
        &play.take(),
        r#"signal 9 101 Tree
        one kill 101
        one reap 101 -9
        one stop
        reply 3: ok {"info":null}"#,
    );
}

// ---- restart, reload ----

#[test]
fn restart_is_stop_then_start() {
    let mut play = Play::new(vec![watcher("one")]);
    play.ask(Command::Restart(named("one")));
    check(
        &play.take(),
        r#"signal 15 101 Process
           one kill 101
           one reap 101 -15
           one stop
           one spawn 102
           one start
           reply 1: ok {"info":{"stopped":[101],"started":[102],"kept":[]}}"#,
    );
}

#[test]
fn a_start_between_stop_and_rebuild_is_told_what_overtook_it() {
    let mut play = Play::new(vec![watcher("one")]);
    play.hold_spawns = true;
    play.ask_only(Command::Restart(at_once(everything())));
    let exited = play.inbox.pop_front().unwrap();
    play.step(exited);
    play.ask_only(Command::Start(named("one")));
    play.settle();
    let trace = play.take();
    assert!(trace.contains("reply 2: error 5 start of 'one' was overtaken by restart\n"), "{trace}");
}

#[test]
fn restart_of_everything_builds_anew_from_the_files() {
    let mut play = Play::new(vec![watcher("one"), watcher("two")]);
    play.files = Ok(Config { watchers: vec![watcher("a"), watcher("two")], ..Config::default() });
    play.ask(Command::Restart(everything()));
    check(
        &play.take(),
        "signal 15 101 Process
         one kill 101
         signal 15 102 Process
         two kill 102
         one reap 101 -15
         one stop
         two reap 102 -15
         two stop
         reply 1: ok {}
         read config
         a spawn 103
         a start
         two spawn 104
         two start",
    );
    play.files = Err(vec!["circus.ini:3: no".to_owned()]);
    play.ask(Command::Restart(everything()));
    assert!(events(&mut play).ends_with("a spawn 105\na start\ntwo spawn 106\ntwo start\n"));
}

fn reload(name: Option<&str>, graceful: bool, sequential: bool) -> Command {
    Command::Reload(Reload { name: name.map(str::to_owned), graceful, sequential, waiting: true })
}

#[test]
fn reload_brings_the_new_first() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(reload(Some("one"), true, false));
    check(
        &play.take(),
        r#"one spawn 103
           one spawn 104
           signal 15 102 Process
           one kill 102
           signal 15 101 Process
           one kill 101
           one reload
           reply 1: ok {"info":{"stopped":[101,102],"started":[103,104],"kept":[]}}"#,
    );
    assert_eq!([play.wid(103), play.wid(104)], [3, 4]);
    play.ask(reload(Some("one"), true, false));
    assert_eq!([play.wid(105), play.wid(106)], [1, 2]);
}

#[test]
fn reload_that_cannot_spawn_leaves_the_old() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.manners.insert("one".to_owned(), MISSING);
    play.ask(reload(Some("one"), true, false));
    check(
        &play.take(),
        r#"one reload
           reply 1: ok {"info":{"stopped":[],"started":[],"kept":[101,102]}}"#,
    );
}

#[test]
fn reload_one_after_the_other() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(reload(Some("one"), true, true));
    assert_eq!(
        events(&mut play),
        "one kill 101\none reap 101 -15\none spawn 103\none kill 102\none reap 102 -15\none spawn 104\none reload\n"
    );
}

#[test]
fn reload_without_grace_is_a_restart() {
    let mut play = Play::new(vec![watcher("one")]);
    play.ask(reload(Some("one"), false, false));
    check(
        &play.take(),
        r#"signal 15 101 Process
           one kill 101
           one reap 101 -15
           one stop
           one spawn 102
           one start
           reply 1: ok {"info":{"stopped":[101],"started":[102],"kept":[]}}"#,
    );
}

#[test]
fn reload_by_hangup_touches_nothing_else() {
    let mut play = Play::new(vec![WatcherConfig { send_hup: true, ..of("one", 2) }]);
    play.ask(reload(Some("one"), true, false));
    check(
        &play.take(),
        r#"signal 1 101 Process
           signal 1 102 Process
           one reload
           reply 1: ok {"info":{"stopped":[],"started":[],"kept":[101,102]}}"#,
    );
    play.die(101, -1);
    check(&play.take(), "one reap 101 -1\none spawn 103");
}

#[test]
fn reload_of_a_stopped_watcher_starts_it() {
    let mut play = Play::new(vec![WatcherConfig { autostart: false, ..watcher("one") }]);
    play.ask(reload(None, true, false));
    check(&play.take(), "one spawn 101\none start\none reload\nreply 1: ok {}");
}

#[test]
fn hangup_reloads_all_one_after_the_other() {
    let prio = |name: &str, priority| WatcherConfig { priority, ..watcher(name) };
    let mut play = Play::new(vec![prio("a", 0), prio("b", 1)]);
    play.input(Input::Interrupted(Interrupt::Reload));
    assert_eq!(events(&mut play), "b spawn 103\nb kill 101\nb reload\na spawn 104\na kill 102\na reload\n");
}

#[test]
fn reloads_upon_reloads_stay_bounded() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.manners.insert("one".to_owned(), STUBBORN);
    for _ in 0..20 {
        play.ask(reload(Some("one"), true, false));
        assert!(play.population() <= 4, "{}", play.population());
    }
    play.pass(200.0);
    assert_eq!(play.living("one").len(), 2);
    assert_eq!(play.replies.len(), 20);
}

#[test]
fn comings_and_goings_are_logged_in_circus_words() {
    let mut play = Play::new(vec![watcher("One")]);
    play.ask(reload(Some("one"), true, false));
    play.ask(reload(Some("one"), true, true));
    play.ask(Command::Stop(named("one")));
    assert_eq!(play.log, ["One started", "One reloaded", "One reloaded", "One stopped"]);
}

// ---- incr, decr, set ----

fn adjust(name: &str, nb: i64) -> Adjust {
    Adjust { name: name.to_owned(), nb, waiting: true }
}

#[test]
fn incr_and_decr() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(Command::Incr(adjust("one", 1)));
    check(&play.take(), "one spawn 103\nreply 1: ok {\"numprocesses\":3}");
    play.ask(Command::Decr(adjust("one", 2)));
    check(
        &play.take(),
        r#"signal 15 102 Process
           one kill 102
           signal 15 101 Process
           one kill 101
           reply 2: ok {"numprocesses":1}"#,
    );
    play.ask(Command::Decr(adjust("one", 5)));
    assert_eq!(events(&mut play), "one kill 103\n");
    play.ask(Command::Status { name: Some("one".to_owned()) });
    check(&play.take(), "reply 4: active");
    play.ask(Command::Incr(adjust("one", i64::MAX)));
    check(&play.take(), "reply 5: error 5 4294967295 processes are too many, at most 10000");
}

#[test]
fn a_singleton_stays_single() {
    let mut play = Play::new(vec![WatcherConfig { singleton: true, ..watcher("one") }]);
    play.ask(Command::Incr(adjust("one", 1)));
    check(&play.take(), r#"reply 1: ok {"numprocesses":1,"singleton":true}"#);
}

fn set(name: &str, options: &[(&str, Value)], waiting: bool) -> Command {
    let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Command::Set(Set { name: name.to_owned(), options, waiting })
}

#[test]
fn set_updates_then_reloads_once() {
    let mut play = Play::new(vec![watcher("one")]);
    play.ask(set("one", &[("cmd", json!("other")), ("args", json!("x"))], true));
    check(
        &play.take(),
        "one updated
         one updated
         one spawn 102
         signal 15 101 Process
         one kill 101
         one reload
         reply 1: ok {}",
    );
    play.ask(set("one", &[("numprocesses", json!(2))], true));
    check(&play.take(), "one updated\none spawn 103\nreply 2: ok {}");
    play.ask(set("one", &[("priority", json!(2))], true));
    check(&play.take(), "reply 3: error 3 unknown key 'priority'");
    play.ask(Command::Get {
        name: "one".to_owned(),
        keys: vec!["cmd".to_owned(), "graceful_timeout".to_owned()],
    });
    check(&play.take(), r#"reply 4: ok {"options":{"cmd":"other","graceful_timeout":30.0}}"#);
}

#[test]
fn set_on_a_stopped_watcher_only_stores() {
    let mut play = Play::new(vec![WatcherConfig { autostart: false, ..watcher("one") }]);
    play.ask(set("one", &[("cmd", json!("other"))], true));
    check(&play.take(), "one updated\nreply 1: ok {}");
}

// ---- deaths ----

#[test]
fn a_crash_is_replaced_at_once() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.pass(5.0);
    play.die(101, 3);
    check(&play.take(), "one reap 101 3\none spawn 103");
    assert_eq!(play.wid(103), 1);
}

#[test]
fn a_crash_loop_is_paced_up_to_the_check_delay_and_forgiven() {
    let mut play = Play::new(vec![watcher("one")]);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let pid = play.living("one")[0];
        play.die(pid, 1);
        let died = play.now.mono;
        while play.living("one").is_empty() {
            let at = play.arbiter.next_deadline().unwrap();
            play.pass(at.since(play.now.mono).as_secs_f64());
        }
        pauses.push(play.now.mono.since(died).as_millis());
    }
    assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    play.pass(1.5);
    play.take();
    let pid = play.living("one")[0];
    play.die(pid, 1);
    assert!(events(&mut play).contains("spawn"));
}

#[test]
fn one_crash_loop_does_not_hold_up_its_siblings() {
    let mut play = Play::new(vec![of("one", 3)]);
    for _ in 0..4 {
        let looping = play.living("one").into_iter().find(|pid| play.wid(*pid) == 1);
        if let Some(pid) = looping {
            play.die(pid, 1);
        }
    }
    play.take();
    play.pass(0.01);
    let sibling = play.living("one").into_iter().find(|pid| play.wid(*pid) == 2).unwrap();
    play.die(sibling, 1);
    assert!(events(&mut play).contains("spawn"), "a first death is replaced at once");
}

#[test]
fn what_a_crash_leaves_behind_goes_before_its_successor_comes() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), LINGERS);
    play.die(101, 1);
    check(&play.take(), "one reap 101 1\nsignal 9 101 Tree\none spawn 102");
}

#[test]
fn without_respawn_the_last_death_stops() {
    let mut play = Play::new(vec![WatcherConfig { respawn: false, ..of("one", 2) }]);
    play.die(101, 0);
    check(&play.take(), "one reap 101 0");
    play.ask(Command::Incr(adjust("one", 1)));
    check(&play.take(), "reply 1: ok {\"numprocesses\":3}");
    play.die(102, 0);
    check(&play.take(), "one reap 102 0\none stop");
}

#[test]
fn a_program_that_vanished_stops_its_watcher() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), MISSING);
    play.die(101, 0);
    check(&play.take(), "one reap 101 0\none stop");
}

#[test]
fn q9_tries_without_end_pause() {
    let mut play = Play::idle(vec![WatcherConfig { max_retry: -1, ..watcher("one") }, watcher("two")]);
    play.manners.insert("one".to_owned(), MISSING);
    play.start_up();
    assert_eq!(events(&mut play), "two spawn 101\ntwo start\n");
    play.ask(Command::Start(named("one")));
    play.pass(3600.0);
    check(&play.take(), "reply 1: error 6 'one' could not be started in 5 tries, still trying");
    play.manners.clear();
    play.pass(5.0);
    assert_eq!(events(&mut play), "one spawn 102\none start\n");
}

#[test]
fn max_retry_counts_tries() {
    for (max_retry, tries) in [(0, 0), (1, 1), (5, 5), (-7, 0)] {
        let mut play = Play::idle(vec![WatcherConfig { max_retry, ..watcher("one") }]);
        play.manners.insert("one".to_owned(), MISSING);
        play.hold_spawns = true;
        play.start_up();
        let mut seen = 0;
        while !play.spawning.is_empty() {
            play.answer_spawn();
            play.settle();
            seen += 1;
        }
        assert_eq!(seen, tries, "max_retry {max_retry}");
        check(&play.take(), "one stop");
    }
}

#[test]
fn q8_a_watcher_that_cannot_start_harms_nobody() {
    let mut play = Play::idle(vec![WatcherConfig { cmd: String::new(), ..watcher("a") }, watcher("b")]);
    play.start_up();
    assert_eq!(events(&mut play), "a stop\nb spawn 101\nb start\n");
    play.ask(Command::Start(named("a")));
    check(&play.take(), "a stop\nreply 1: error 6 'a' cannot be started: cmd is empty: nothing to run");
}

#[test]
fn q5_start_of_what_lacks_processes_spawns_the_missing() {
    let mut play = Play::new(vec![of("one", 2)]);
    for _ in 0..3 {
        let pid = play.living("one").into_iter().find(|pid| play.wid(*pid) == 1).unwrap_or(0);
        play.die(pid, 1);
    }
    play.take();
    play.ask(Command::Start(named("one")));
    let trace = play.take();
    assert!(trace.contains("spawn"), "{trace}");
    assert_eq!(play.living("one").len(), 2);
}

#[test]
fn old_age_replaces_without_reap() {
    let config = WatcherConfig { max_age: 60, max_age_variance: 10, ..watcher("one") };
    let mut play = Play::new(vec![config]);
    play.pass(59.0);
    check(&play.take(), "");
    play.pass(12.0);
    assert_eq!(events(&mut play), "one kill 101\none spawn 102\n");
}

#[test]
fn q36_old_age_of_the_stubborn_hinders_nobody() {
    let config = WatcherConfig { max_age: 1, max_age_variance: 0, ..watcher("one") };
    let mut play = Play::new(vec![config]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.pass(2.0);
    play.take();
    play.ask(Command::Quit { waiting: true });
    play.pass(30.0);
    check(
        &play.take(),
        "signal 9 101 Tree
         one kill 101
         one reap 101 -9
         one stop
         reply 1: ok {}
         exit 0",
    );
}

// ---- kill, signal ----

fn kill(name: &str) -> Kill {
    Kill { name: name.to_owned(), pid: None, signal: None, graceful_timeout: None, waiting: true }
}

#[test]
fn kill_is_no_stop() {
    let mut play = Play::new(vec![of("one", 2)]);
    play.ask(Command::Kill(kill("one")));
    check(
        &play.take(),
        "signal 15 101 Process
         one kill 101
         signal 15 102 Process
         one kill 102
         reply 1: ok {}
         one spawn 103
         one spawn 104",
    );
    play.ask(Command::Kill(Kill { pid: Some(1), ..kill("one") }));
    check(&play.take(), "reply 2: ok {}");
    play.ask(Command::Kill(Kill { signal: Some(Signal(999)), ..kill("one") }));
    check(&play.take(), "reply 3: error 4 [Errno 22] Invalid argument");
}

#[test]
fn q18_kill_of_nobody_is_an_error() {
    let mut play = Play::new(vec![]);
    play.ask(Command::Kill(kill("zz")));
    check(&play.take(), "reply 1: error 3 program zz not found");
}

#[test]
fn q7_kill_then_stop_ends_with_both() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), STUBBORN);
    let slow = Kill { graceful_timeout: Some(1000.0), signal: Some(Signal::HUP), ..kill("one") };
    play.ask(Command::Kill(slow));
    play.ask(Command::Stop(named("one")));
    play.pass(30.0);
    check(
        &play.take(),
        r#"signal 1 101 Process
           one kill 101
           signal 15 101 Process
           one kill 101
           signal 9 101 Tree
           one kill 101
           one reap 101 -9
           one stop
           reply 1: ok {}
           reply 2: ok {"info":null}"#,
    );
}

#[test]
fn a_signal_that_kills_is_a_crash() {
    let mut play = Play::new(vec![watcher("one")]);
    play.pass(9.0);
    play.ask(Command::Signal(circus_protocol::command::SignalCommand {
        name: "one".to_owned(),
        signal: Signal::TERM,
        target: circus_protocol::command::SignalTarget::Processes { pid: None },
    }));
    check(&play.take(), "deliver 15 to 1 Process");
    play.die(101, -15);
    check(&play.take(), "one reap 101 -15\none spawn 102");
}

// ---- add, rm ----

fn add(name: &str, start: bool) -> Command {
    Command::Add(Box::new(circus_protocol::command::Add {
        name: name.to_owned(),
        cmd: "prog".to_owned(),
        args: Value::Null,
        options: vec![("numprocesses".to_owned(), json!(2))],
        start,
        waiting: true,
    }))
}

#[test]
fn add_and_start() {
    let mut play = Play::new(vec![]);
    play.ask(add("New One", true));
    check(
        &play.take(),
        r#"new_one add
           new_one spawn 101
           new_one spawn 102
           new_one start
           reply 1: ok {"started":[101,102],"kept":[]}"#,
    );
    play.ask(add("new ONE", false));
    check(&play.take(), "reply 2: error 5 'new ONE' already exist");
    play.ask(add("", false));
    check(&play.take(), "reply 3: error 3 'name' is empty");
    play.ask(add("b", false));
    check(&play.take(), "b add\nreply 4: ok {}");
}

fn rm(name: &str, nostop: bool) -> Command {
    Command::Rm { name: name.to_owned(), nostop, waiting: true }
}

#[test]
fn rm_frees_the_name_at_once() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.ask(rm("One", false));
    check(&play.take(), "one remove\nsignal 15 101 Process\none kill 101");
    play.ask(Command::List { name: None });
    play.ask(add("one", true));
    check(
        &play.take(),
        r#"reply 2: ok {"watchers":[]}
           one add
           one spawn 102
           one spawn 103
           one start
           reply 3: ok {"started":[102,103],"kept":[]}"#,
    );
    play.pass(30.0);
    check(
        &play.take(),
        "signal 9 101 Tree
         one kill 101
         one reap 101 -9
         one stop
         reply 1: ok {}",
    );
}

#[test]
fn rm_nostop_forgets() {
    let mut play = Play::new(vec![watcher("one")]);
    play.ask(rm("one", true));
    check(&play.take(), "one remove\nreply 1: ok {}");
    assert_eq!(play.arbiter.strays.len(), 1);
    play.die(101, 0);
    check(&play.take(), "");
    assert!(play.arbiter.strays.is_empty(), "nothing is remembered of a stray that ended");
    play.ask(Command::Quit { waiting: false });
    check(&play.take(), "reply 2: ok {}\nexit 0");
}

// ---- the end ----

#[test]
fn quit_stops_everything_lowest_priority_first() {
    let prio = |name: &str, priority| WatcherConfig { priority, ..watcher(name) };
    let mut play = Play::new(vec![prio("a", 1), prio("b", 0)]);
    play.ask(Command::Quit { waiting: true });
    check(
        &play.take(),
        "signal 15 102 Process
         b kill 102
         signal 15 101 Process
         a kill 101
         b reap 102 -15
         b stop
         a reap 101 -15
         a stop
         reply 1: ok {}
         exit 0",
    );
}

#[test]
fn q3_an_interrupt_during_start_up_is_not_lost() {
    let mut play = Play::idle(vec![WatcherConfig { warmup_delay: 60.0, ..of("a", 3) }, watcher("b")]);
    play.start_up();
    play.input(Input::Interrupted(Interrupt::Stop));
    assert!(events(&mut play).ends_with("a reap 101 -15\na stop\nexit 0\n"));
}

#[test]
fn three_interrupts_are_graceful_forceful_immediate() {
    let mut play = Play::new(vec![watcher("one")]);
    play.manners.insert("one".to_owned(), STUBBORN);
    play.input(Input::Interrupted(Interrupt::Stop));
    assert_eq!(events(&mut play), "one kill 101\n");
    play.ask(Command::Start(named("one")));
    check(&play.take(), "reply 1: error 5 arbiter is already running arbiter_stop command");
    play.step(Input::Interrupted(Interrupt::Stop));
    check(&play.take(), "signal 9 101 Tree\none kill 101");
    // The death has not been heard of yet.
    play.step(Input::Interrupted(Interrupt::Stop));
    check(&play.take(), "exit 1");
}

// ---- reloadconfig ----

#[test]
fn reloadconfig_does_the_difference_only() {
    let mut play = Play::new(vec![watcher("gone"), watcher("same"), watcher("other"), of("more", 1)]);
    play.ask(add("added", true));
    play.take();
    let other = WatcherConfig { cmd: "new".to_owned(), ..watcher("other") };
    let watchers = vec![of("more", 2), watcher("new"), other, watcher("same")];
    play.files = Ok(Config { watchers, ..Config::default() });
    play.ask(Command::ReloadConfig { waiting: true });
    let trace = events(&mut play);
    for line in [
        "gone kill 101\n",
        "gone stop\n",
        "added stop\n",
        "other kill 103\n",
        "other stop\n",
        "more spawn",
        "new spawn",
        "other start\n",
    ] {
        assert!(trace.contains(line), "{line} in {trace}");
    }
    assert!(!trace.contains("same") && !trace.contains("add") || trace.contains("added"), "{trace}");
    assert!(!trace.contains("remove"), "{trace}");
    assert_eq!(play.replies.len(), 2);
    // Q42: going back is noticed.
    play.files = play.files.map(|mut config| {
        config.watchers[0].numprocesses = 1;
        config
    });
    play.ask(Command::ReloadConfig { waiting: true });
    assert_eq!(play.living("more").len(), 1);
    play.files = Err(vec!["circus.ini:9: watcher x: numprocesses: 'y' is no number".to_owned()]);
    play.take();
    play.ask(Command::ReloadConfig { waiting: true });
    check(
        &play.take(),
        "read config\nreply 4: error 6 circus.ini:9: watcher x: numprocesses: 'y' is no number",
    );
}

// ---- questions ----

#[test]
fn questions_are_answered_in_circus_form() {
    let mut play = Play::new(vec![of("Two W", 2), watcher("a")]);
    for command in [
        Command::List { name: None },
        Command::List { name: Some("TWO w".to_owned()) },
        Command::Status { name: None },
        Command::Status { name: Some("a".to_owned()) },
        Command::NumWatchers,
        Command::NumProcesses { name: None },
        Command::NumProcesses { name: Some("TWO w".to_owned()) },
        Command::GlobalOptions { option: Some("check_delay".to_owned()) },
        Command::GlobalOptions { option: Some("zorg".to_owned()) },
        Command::ListSockets,
        Command::Listen,
        Command::List { name: Some("zz".to_owned()) },
    ] {
        play.ask(command);
    }
    check(
        &play.take(),
        r#"reply 1: ok {"watchers":["a","two w"]}
           reply 2: ok {"pids":[101,102]}
           reply 3: ok {"statuses":{"Two W":"active","a":"active"}}
           reply 4: active
           reply 5: ok {"numwatchers":2}
           reply 6: ok {"numprocesses":3}
           reply 7: ok {"numprocesses":2,"watcher_name":"TWO w"}
           reply 8: ok {"options":{"check_delay":5.0}}
           reply 9: error 3 'zorg' not an existing option
           reply 10: ok {"sockets":[]}
           reply 11: error 3 invalid message. use a pub/sub socket
           reply 12: error 3 program zz not found"#,
    );
}

#[test]
fn figures_get_age_start_and_worker() {
    let mut play = Play::new(vec![of("One", 2)]);
    play.pass(2.5);
    let query = circus_protocol::command::StatsQuery {
        name: Some("ONE".to_owned()),
        process: None,
        extended: false,
        tally: false,
    };
    play.ask(Command::Stats(query.clone()));
    let Some(Effect::Sample { tag, targets }) = play.asked.pop() else { panic!() };
    assert_eq!(targets.len(), 2);
    let figures = json!({"cpu": 0.0, "create_time": 999.9, "age": 2.6, "cmdline": "prog", "children": []});
    let figures = vec![figures.as_object().cloned(), None];
    play.input(Input::Sampled { tag, figures });
    check(
        &play.take(),
        r#"sample 2
           reply 1: ok {"name":"ONE","info":{"101":{"cpu":0.0,"create_time":999.9,"age":2.5,"cmdline":"prog","children":[],"started":1000.0,"wid":1},"102":"No such process (stopped?)"}}"#,
    );
    play.ask(Command::Stats(circus_protocol::command::StatsQuery {
        process: Some((json!("1"), 1)),
        ..query
    }));
    assert_eq!(refusal(&play.replies[&2]).to_string(), "process '1' not found in 'ONE'");
    assert!(body(&play.replies[&1]).contains_key("info"));
}

#[test]
fn what_was_counted_is_told_to_who_asks() {
    let mut play = Play::new(vec![of("One", 1)]);
    let mut asked = |name: Option<&str>, tally: bool| {
        play.ask(Command::Stats(circus_protocol::command::StatsQuery {
            name: name.map(str::to_owned),
            process: None,
            extended: false,
            tally,
        }));
        let Some(Effect::Sample { tag, .. }) = play.asked.pop() else { panic!() };
        play.input(Input::Sampled { tag, figures: vec![None] });
        play.take()
    };
    check(
        &asked(None, false),
        r#"sample 1
           reply 1: ok {"infos":{"One":{"101":"No such process (stopped?)"}}}"#,
    );
    check(
        &asked(None, true),
        r#"sample 1
           reply 2: ok {"infos":{"One":{"101":"No such process (stopped?)"}},"tally":{"One":{"state":"active","numprocesses":1,"starts":1,"restarts":0,"ends":0}}}"#,
    );
    check(
        &asked(Some("one"), true),
        r#"sample 1
           reply 3: ok {"name":"one","info":{"101":"No such process (stopped?)"},"tally":{"One":{"state":"active","numprocesses":1,"starts":1,"restarts":0,"ends":0}}}"#,
    );
}

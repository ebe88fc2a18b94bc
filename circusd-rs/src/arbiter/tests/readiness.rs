//! Probes, `ready` and the order inside a node, with simulated time.

use std::sync::Arc;

use circus_protocol::command::services::Ready;
use circus_protocol::command::{Command, Match, Reload};

use crate::arbiter::effect::Effect;
use crate::arbiter::input::{Input, Interrupt};
use crate::arbiter::tests::play::{
    Manners, POLITE, Play, at_once, body, described, everything, named, refusal, watcher,
};
use crate::config::{Config, WatcherConfig};

/// Watchers that do not start by themselves.
fn manual(names: &[&str]) -> Vec<WatcherConfig> {
    let by_hand = |name: &&str| WatcherConfig { autostart: false, ..watcher(name) };
    names.iter().map(by_hand).collect()
}

fn node_of(watchers: Vec<WatcherConfig>, services: &str) -> Play {
    let mut play = Play::idle(Vec::new());
    play.files = Ok(Config { watchers, services: Arc::new(described(services)), ..Config::default() });
    play.start_up();
    play.take();
    play
}

fn node(names: &[&str], services: &str) -> Play {
    node_of(manual(names), services)
}

fn start(play: &mut Play, name: &str) -> u64 {
    play.ask(Command::Start(named(name)))
}

fn ready(name: Option<&str>, wait: Option<f64>) -> Command {
    Command::Ready(Ready { name: name.map(str::to_owned), matching: Match::Glob, wait })
}

/// State and detail of one watcher, as `ready` tells them at once.
fn state(play: &mut Play, name: &str) -> String {
    let trace = play.take();
    let reply = play.ask(ready(Some(name), None));
    play.take();
    let answer = body(&play.replies[&reply]);
    let told = answer["watchers"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!(answer["ready"], told["ready"]);
    let told = |key: &str| told[key].as_str().unwrap().to_owned();
    let text = format!("{} {}", told("state"), told("detail")).trim().to_owned();
    assert_eq!(trace, "", "somebody forgot to look");
    text
}

const NO: fn(&str) -> Result<(), String> = |reason| Err(reason.to_owned());

const DB: &str = "[service:db]\n[probe:db:up]\ntcp = 127.0.0.9:1\ninterval = 2\n\
                  [probe:db:joined]\nhttp = http://127.0.0.9:2/\ninterval = 3\n";

#[test]
fn goes_up_level_by_level_and_asks_no_more() {
    let mut play = node(&["db"], DB);
    start(&mut play, "db");
    assert_eq!(
        play.take(),
        "db is starting a process is being started\ndb spawn 101\ndb start\n  \
         probe db 1: tcp 127.0.0.9:1\nreply 1: ok {\"info\":{\"started\":[101],\"kept\":[]}}\n"
            .replace("  \n", "  ")
    );
    play.answer_probe("db", NO("refused"));
    play.pass(1.9);
    assert_eq!(state(&mut play, "db"), "starting not up yet: refused");
    play.pass(0.1);
    assert_eq!(play.take(), "  probe db 2: tcp 127.0.0.9:1\n");
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take(), "  probe db 3: http http://127.0.0.9:2/\ndb is up not joined yet\n");
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take(), "db is joined ready\n");
    assert_eq!(play.arbiter.next_deadline(), None, "nothing wakes a node that is well");
    play.ask(Command::Stop(named("db")));
    assert!(play.take().contains("db is down is being stopped"));
    assert_eq!(state(&mut play, "db"), "down stop wanted it down");
}

#[test]
fn an_answer_about_an_earlier_life_is_not_heard() {
    let mut play = node(&["db"], DB);
    start(&mut play, "db");
    let (id, (attempt, _)) = play.probing.first_key_value().map(|(id, asked)| (*id, asked.clone())).unwrap();
    play.take();
    play.die(101, 1);
    let trace = play.take();
    assert!(trace.contains("  cancel probe 1\n") && trace.contains("  probe db 2: tcp"), "{trace}");
    play.input(Input::Probed { watcher: id, attempt, result: Ok(()) });
    assert_eq!(play.take(), "");
    assert_eq!(state(&mut play, "db"), "starting not up yet");
    play.answer_probe("db", Ok(()));
    play.answer_probe("db", Ok(()));
    play.take();
    play.die(102, 1);
    let trace = play.take();
    assert!(trace.contains("db is starting"), "what was joined is not any more: {trace}");
    play.pass(1.0);
    play.ask(Command::Rm { name: "db".to_owned(), nostop: true, waiting: false });
    assert!(play.take().contains("  cancel probe 4\n"));
}

#[test]
fn pid_alive_needs_nobody_but_the_clock() {
    let mut play = node(&["db"], "[probe:db:up]\npid_alive = 5\n");
    start(&mut play, "db");
    play.pass(3.0);
    play.die(101, 1);
    play.take();
    play.pass(4.9);
    assert_eq!(state(&mut play, "db"), "starting not up yet");
    play.pass(0.2);
    assert_eq!(play.take(), "db is up ready\n");
    assert_eq!(play.arbiter.next_deadline(), None);
}

#[test]
fn without_probes_a_watcher_that_runs_is_up() {
    let mut config = watcher("web");
    (config.autostart, config.warmup_delay) = (false, 1.0);
    let mut play = node_of(vec![config], "");
    assert_eq!(state(&mut play, "web"), "down it was not started yet");
    play.ask(Command::Start(at_once(named("web"))));
    play.take();
    assert_eq!(state(&mut play, "web"), "starting its processes are being started");
    play.pass(1.0);
    let trace = play.take();
    assert!(!trace.contains(" is "), "stock's clients see nothing new: {trace}");
    assert_eq!(state(&mut play, "web"), "up");
}

#[test]
fn who_is_not_ready_in_time_has_failed_and_may_recover() {
    let mut play = node(&["db"], "[probe:db:up]\nexec = check\ntimeout = 10\ninterval = 4\n");
    start(&mut play, "db");
    play.answer_probe("db", NO("exit status 1"));
    play.pass(9.9);
    assert!(play.take().contains("  probe db 2: exec check\n"));
    play.pass(0.1);
    assert_eq!(play.take(), "db is failed not up after 10 s: exit status 1\n");
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take(), "db is up ready\n");
}

#[test]
fn a_late_one_is_restarted_if_it_shall() {
    let mut play = node(&["db"], "[probe:db:up]\nexec = check\ntimeout = 10\non_timeout = restart\n");
    start(&mut play, "db");
    play.take();
    play.pass(10.0);
    let trace = play.take();
    assert!(trace.starts_with("db is failed not up after 10 s: no answer\n  signal 15 101"), "{trace}");
    assert!(trace.contains("  cancel probe 1\ndb is starting stops before it starts again\n"), "{trace}");
    assert!(trace.ends_with("db spawn 102\ndb start\n  probe db 2: exec check\n"), "{trace}");
    play.pass(9.0);
    play.answer_probe("db", Ok(()));
    play.pass(99.0);
    assert_eq!(play.living("db"), [102], "who was ready in time is left alone");
}

#[test]
fn three_rechecks_that_say_no_are_believed() {
    let mut play = node(&["db"], "[probe:db:joined]\nexec = check\ninterval = 1\nrecheck = 30\n");
    start(&mut play, "db");
    play.answer_probe("db", Ok(()));
    play.take();
    for _ in 0..2 {
        play.pass(30.0);
        play.answer_probe("db", NO("lost"));
    }
    play.pass(30.0);
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take().matches("db is").count(), 0);
    for _ in 0..3 {
        play.pass(30.0);
        play.answer_probe("db", NO("lost"));
    }
    let trace = play.take();
    assert!(trace.contains("db is up not joined yet: lost\n"), "{trace}");
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take(), "db is joined ready\n");
}

#[test]
fn whoever_waits_is_told_when_all_is_decided() {
    let mut play = node(&["db", "web"], "[probe:db:up]\nexec = check\ntimeout = 60\n");
    start(&mut play, "db");
    play.take();
    play.ask(ready(None, Some(30.0)));
    assert_eq!(play.take(), "");
    play.answer_probe("db", Ok(()));
    let trace = play.take();
    let wanted = "db is up ready\nreply 2: ok {\"ready\":false,\"watchers\":{\"db\":{\"state\":\"up\",\"ready\":true,\
                  \"since\":1000.0,\"detail\":\"\",\"ends\":0,\"numprocesses\":1},\"web\":{\"state\":\"down\"";
    assert!(trace.starts_with(wanted), "{trace}");
    play.die(101, 1);
    play.take();
    play.ask(ready(Some("db"), Some(30.0)));
    play.pass(29.9);
    assert_eq!(play.take(), "");
    play.pass(0.1);
    let trace = play.take();
    assert!(trace.contains("reply 3: ok {\"ready\":false"), "{trace}");
    assert!(trace.contains("\"ends\":1,\"numprocesses\":1}"), "who waits hears of each crash: {trace}");
    play.ask(ready(Some("d?"), Some(1e9)));
    play.pass(31.0);
    assert!(play.take().contains("reply 4: ok {\"ready\":false"), "one that failed is not waited for");
    let nobody = play.ask(ready(Some("nobody"), None));
    assert!(refusal(&play.replies[&nobody]).to_string().contains("nobody"));
    play.ask(ready(None, Some(5.0)));
    play.die(play.living("db")[0], 1);
    let wait = play.ask(ready(Some("db"), Some(5.0)));
    play.input(Input::Interrupted(Interrupt::Stop));
    assert!(play.replies.contains_key(&wait), "nobody waits for a daemon that has ended");
}

const CHAIN: &str = "[service:db]\n[probe:db:joined]\nexec = check\n[service:app]\nafter = db:joined\n\
                     [service:front]\nafter = app\n";

#[test]
fn a_start_brings_those_before_it_and_waits_for_them() {
    let mut play = node(&["app", "db", "front"], CHAIN);
    let reply = start(&mut play, "front");
    assert!(play.living("app").is_empty() && play.living("front").is_empty());
    assert_eq!(play.living("db").len(), 1);
    play.take();
    assert_eq!(state(&mut play, "app"), "starting waits for db:joined, which is up");
    assert_eq!(state(&mut play, "front"), "starting waits for app:up, which is starting");
    assert!(!play.replies.contains_key(&reply));
    play.answer_probe("db", Ok(()));
    assert_eq!((play.living("app").len(), play.living("front").len()), (1, 1));
    assert!(play.replies.contains_key(&reply));
    // The same from a queue, whatever the priorities say.
    let mut watchers = manual(&["app", "db", "front"]);
    watchers[2].priority = 9;
    for config in &mut watchers {
        config.autostart = true;
    }
    let mut play = node_of(watchers, CHAIN);
    assert_eq!(play.all_living().len(), 1);
    play.answer_probe("db", Ok(()));
    assert_eq!(play.all_living().len(), 3);
}

#[test]
fn a_stop_ends_the_waiting() {
    let mut play = node(&["app", "db"], CHAIN.split("[service:front]").next().unwrap());
    let reply = start(&mut play, "app");
    play.ask(Command::Stop(named("db")));
    play.take();
    assert_eq!(state(&mut play, "app"), "starting waits for db:joined, which is down");
    play.pass(600.0);
    assert!(play.all_living().is_empty(), "the newest wish wins: db stays stopped");
    play.ask(Command::Stop(named("app")));
    assert_eq!(refusal(&play.replies[&reply]).to_string(), "start of 'app' was overtaken by stop");
    start(&mut play, "db");
    play.answer_probe("db", Ok(()));
    assert!(play.living("app").is_empty());
}

#[test]
fn all_are_stopped_in_the_reverse_order() {
    let mut play = node(&["app", "db", "front"], CHAIN);
    play.probes.insert("db".to_owned(), Ok(()));
    play.manners.insert("front".to_owned(), Manners { stubborn: true, ..POLITE });
    start(&mut play, "front");
    assert_eq!(play.all_living().len(), 3);
    play.take();
    let reply = play.ask(Command::Stop(everything()));
    let trace = play.take();
    assert!(trace.contains("  signal 15 103 Process\n"), "{trace}");
    assert!(!trace.contains("signal 15 101") && !trace.contains("signal 15 102"), "{trace}");
    assert_eq!(state(&mut play, "db"), "down stops when app has stopped");
    play.pass(30.0);
    let trace = play.take();
    let at = |what: &str| trace.find(what).unwrap_or_else(|| panic!("{what} in {trace}"));
    assert!(at("front stop") < at("signal 15 102") && at("app stop") < at("signal 15 101"), "{trace}");
    assert!(play.replies.contains_key(&reply));
    // One by name goes at once; nobody else is touched.
    start(&mut play, "front");
    play.ask(Command::Stop(named("db")));
    assert!(play.living("db").is_empty() && !play.living("app").is_empty());
    // The end of the daemon is a stop of all; who is in a hurry does not wait.
    start(&mut play, "db");
    play.take();
    play.input(Input::Interrupted(Interrupt::Stop));
    assert!(!play.living("db").is_empty());
    play.input(Input::Interrupted(Interrupt::Stop));
    assert_eq!(play.exited, Some(0));
}

const RIVALS: &str = "[service:neo]\nconflicts = db\n[service:db]\n[service:app]\nafter = db\n";

#[test]
fn rivals_are_refused() {
    let mut play = node(&["app", "db", "neo"], RIVALS);
    start(&mut play, "neo");
    let text = "'db' is in conflict with 'neo', which runs; stop it first";
    for name in ["db", "app"] {
        let reply = start(&mut play, name);
        assert_eq!(refusal(&play.replies[&reply]).to_string(), text);
    }
    assert_eq!(play.all_living().len(), 1);
    // It is remembered until a start succeeds, whatever it is asked meanwhile.
    play.pass(90.0);
    let told = |play: &mut Play, name: &str| {
        let why = play.ask(Command::Why { name: name.to_owned() });
        let told = body(&play.replies[&why]).clone();
        (told["refused_start"].clone(), told["story"].as_str().unwrap_or_default().to_owned())
    };
    play.ask(Command::Stop(named("app")));
    let (refused, story) = told(&mut play, "app");
    let reason = "'db' is in conflict with 'neo', which runs";
    assert_eq!(refused, serde_json::json!({"time": 1000.0, "by": "neo", "reason": reason}));
    assert!(story.contains(&format!(" A start was refused 90 s ago: {reason}.")), "{story}");
    assert_eq!(told(&mut play, "neo").0, serde_json::Value::Null);
    // One that is on its way out is waited for.
    play.manners.insert("neo".to_owned(), Manners { stubborn: true, ..POLITE });
    play.ask(Command::Stop(at_once(named("neo"))));
    play.ask(Command::Start(at_once(named("db"))));
    play.take();
    assert_eq!(state(&mut play, "db"), "starting waits for neo to stop");
    play.pass(30.0);
    assert_eq!((play.living("neo").len(), play.living("db").len()), (0, 1));
    assert_eq!(told(&mut play, "db").0, serde_json::Value::Null, "a start has succeeded");
    // Of several that are to start together the first wins, and the other does not lie in wait.
    let mut watchers = manual(&["db", "neo"]);
    for config in &mut watchers {
        config.autostart = true;
    }
    let mut play = node_of(watchers, "[service:neo]\nconflicts = db\n");
    assert_eq!((play.living("db").len(), play.living("neo").len()), (1, 0));
    assert_eq!(state(&mut play, "neo"), "failed 'neo' is in conflict with 'db', which runs");
    play.ask(Command::Stop(named("db")));
    assert!(play.all_living().is_empty());
}

#[test]
fn a_pattern_that_picks_rivals_fails_for_the_second() {
    let mut watchers = manual(&["db", "neo"]);
    for config in &mut watchers {
        config.autostart = true;
    }
    let mut play = node_of(watchers, "[service:neo]\nconflicts = db\n");
    play.ask(Command::Stop(everything()));
    let reply = play.ask(Command::Start(everything()));
    assert_eq!(refusal(&play.replies[&reply]).to_string(), "'neo' is in conflict with 'db', which runs");
    assert_eq!(play.living("db").len(), 1);
}

#[test]
fn the_first_process_is_prepared_for() {
    let services = "[service:db]\nhome = /srv/db\nremove_before_start = run/db.pid, run/${address}.pid\n\
                    [probe:db:up]\nlog = stdout\npattern = x\n";
    let mut config = WatcherConfig { numprocesses: 2, autostart: false, ..watcher("db") };
    config.stdout_stream = Some(crate::config::StreamConfig {
        class: crate::config::StreamClass::File,
        conf: [("filename".to_owned(), "/var/log/db.out".into())].into(),
    });
    let mut play = node_of(vec![config], services);
    let mut specs = Vec::new();
    let effects =
        play.arbiter.step(play.now, Input::Command { command: Command::Start(named("db")), reply: None });
    specs.extend(effects.into_iter().filter_map(|effect| match effect {
        Effect::Spawn { spec, .. } => spec.preparation.clone(),
        other => {
            drop(other);
            None
        }
    }));
    let preparation = specs.pop().expect("a first process");
    assert_eq!(preparation.remove, [std::path::PathBuf::from("/srv/db/run/db.pid")]);
    assert_eq!(preparation.logs, [std::path::PathBuf::from("/var/log/db.out")]);
}

#[test]
fn what_cannot_be_asked_says_so_until_it_can() {
    let mut play = node(&["db"], "[service:db]\n[probe:db:up]\ntcp = ${address}:1\n");
    start(&mut play, "db");
    play.take();
    let told = state(&mut play, "db");
    assert!(told.contains(r#"unknown name "address""#) && told.contains("send `configure`"), "{told}");
    if let Ok(config) = &mut play.files {
        config.circus.endpoint = "tcp://127.0.0.9:5555".to_owned();
    }
    play.ask(Command::Quit { waiting: true });
    let files = play.files.clone();
    let mut play = Play::idle(Vec::new());
    play.files = files;
    play.start_up();
    play.take();
    start(&mut play, "db");
    assert!(play.take().contains("probe db 1: tcp 127.0.0.9:1"), "its endpoint says who it is");
}

#[test]
fn a_reload_is_asked_about_anew() {
    let mut play = node(&["db"], "[probe:db:up]\nexec = check\n");
    start(&mut play, "db");
    play.answer_probe("db", Ok(()));
    play.take();
    let name = Some("db".to_owned());
    play.ask(Command::Reload(Reload { name, graceful: true, sequential: false, waiting: true }));
    let trace = play.take();
    assert!(trace.contains("db is starting") && trace.contains("probe db 2"), "{trace}");
    play.answer_probe("db", Ok(()));
    assert_eq!(play.take(), "db is up ready\n");
}

//! `configure` and `reset`: who must be down, who may not start, and who waits.

use std::sync::Arc;

use circus_protocol::command::{Command, Configure, Match, Member, Reset, ResetKind};
use circus_protocol::service::{ConfigureOutcome, FileOutcome, ResetOutcome, ServiceReset};

use crate::arbiter::effect::Effect;
use crate::arbiter::input::{Input, Interrupt};
use crate::arbiter::tests::play::{Manners, POLITE, Play, named, refusal, services, watcher};
use crate::config::Config;

fn configure() -> Configure {
    Configure {
        identifier: 1,
        address: "127.0.0.1".to_owned(),
        cluster: vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()],
        is_master: true,
        services: None,
        variables: Vec::new(),
        templates: Vec::new(),
        fresh: false,
        joining: false,
        dry_run: false,
    }
}

fn reset(stop: bool) -> Command {
    Command::Reset(Reset {
        name: Some("db".to_owned()),
        matching: Match::Glob,
        kind: ResetKind::Data,
        dry_run: false,
        stop,
        undo: false,
        keep: None,
        member: None,
    })
}

/// A node with the service `db` and a watcher that is none.
fn node() -> Play {
    let mut play = Play::idle(Vec::new());
    let watchers = vec![watcher("db"), watcher("web")];
    play.files = Ok(Config { watchers, services: Arc::new(services(&["db"])), ..Config::default() });
    play.start_up();
    play.take();
    play
}

fn asked(play: &mut Play) -> Effect {
    play.asked.pop().expect("a job for the host")
}

fn write(play: &mut Play, result: Result<ConfigureOutcome, Vec<String>>) {
    let Effect::Configure { job, .. } = asked(play) else { panic!("no configure") };
    play.input(Input::Configured { job, result: result.map(Box::new) });
}

#[test]
fn configure_tells_the_host_who_runs_and_answers_with_files() {
    let mut play = node();
    play.ask(Command::Configure(Box::new(configure())));
    assert_eq!(play.take().trim(), r#"configure running ["db"]"#);
    let files = vec![FileOutcome {
        service: "db".to_owned(),
        label: "yaml".to_owned(),
        path: "/srv/db/x.yaml".into(),
        changed: true,
        diff: None,
    }];
    write(
        &mut play,
        Ok(ConfigureOutcome { files, restart: vec!["db".to_owned()], restart_needed: Vec::new() }),
    );
    let trace = play.take();
    assert!(trace.starts_with(r#"reply 1: ok {"success":true,"files":[{"service":"db""#), "{trace}");
    assert!(trace.contains("db stop") && trace.contains("db start"), "{trace}");
}

#[test]
fn a_start_waits_for_the_files() {
    let mut play = node();
    play.ask(Command::Stop(named("db")));
    play.ask(Command::Configure(Box::new(configure())));
    play.take();
    play.ask(Command::Start(named("db")));
    assert_eq!(play.take(), "");
    write(&mut play, Err(vec!["x.yaml: no".to_owned(), "y: no".to_owned()]));
    let trace = play.take();
    assert!(trace.starts_with("reply 2: error 5 x.yaml: no; y: no\n"), "{trace}");
    assert!(trace.contains("db start"), "{trace}");
}

#[test]
fn configure_refuses_what_cannot_be() {
    let mut play = node();
    play.ask(Command::Configure(Box::new(Configure { address: "127.0.0.9".to_owned(), ..configure() })));
    assert!(refusal(&play.replies[&1]).to_string().contains("127.0.0.9"));
    let services = Some(vec!["nodb".to_owned()]);
    play.ask(Command::Configure(Box::new(Configure { services, ..configure() })));
    assert_eq!(refusal(&play.replies[&2]).to_string(), "service nodb not found");
    assert!(play.asked.is_empty());
}

#[test]
fn reset_refuses_while_running_and_stops_when_told() {
    let mut play = node();
    play.ask(reset(false));
    let told = refusal(&play.replies[&1]).to_string();
    assert_eq!(told, "cannot reset while running: db; stop it first, or say stop");
    play.take();
    play.manners.insert("db".to_owned(), Manners { stubborn: true, ..POLITE });
    play.ask(reset(true));
    assert_eq!(play.take().trim(), "signal 15 101 Process\ndb kill 101");
    play.pass(30.0);
    assert!(play.take().ends_with("db stop\n  reset Some([\"db\"])\n"));
    play.ask(Command::Start(named("db")));
    assert_eq!(play.take(), "", "it does not start on data that is being moved");
    let Effect::Reset { job, .. } = asked(&mut play) else { panic!("no reset") };
    let services = vec![ServiceReset { service: "db".to_owned(), bytes: 7, ..ServiceReset::default() }];
    play.input(Input::ResetDone { job, result: Ok(Box::new(ResetOutcome { services })) });
    let trace = play.take();
    assert!(trace.starts_with(r#"reply 2: ok {"services":{"db":{"deleted":[]"#), "{trace}");
    assert!(trace.contains("db start"), "{trace}");
}

#[test]
fn a_start_overtakes_a_reset_that_has_not_begun() {
    let mut play = node();
    play.manners.insert("db".to_owned(), Manners { stubborn: true, ..POLITE });
    play.ask(reset(true));
    play.ask(Command::Start(named("db")));
    assert_eq!(refusal(&play.replies[&1]).to_string(), "reset of 'db' was overtaken by start");
    play.pass(30.0);
    assert!(play.take().contains("db start"));
    assert!(play.asked.is_empty());
}

#[test]
fn whoever_waits_for_a_job_is_told_of_the_end() {
    let mut play = node();
    play.ask(Command::Configure(Box::new(configure())));
    play.ask(Command::Dstats);
    play.input(Input::Interrupted(Interrupt::Stop));
    assert_eq!(play.exited, Some(0));
    for reply in [1, 2] {
        assert!(refusal(&play.replies[&reply]).to_string().contains("arbiter_stop"));
    }
}

#[test]
fn a_reset_may_say_which_node_this_is() {
    let mut play = node();
    let Command::Reset(mut order) = reset(true) else { panic!("a reset") };
    order.member = Some(Member {
        identifier: 2,
        address: "n2".to_owned(),
        cluster: vec!["n1".to_owned(), "n2".to_owned()],
    });
    play.ask(Command::Reset(order.clone()));
    let Effect::Reset { work, .. } = asked(&mut play) else { panic!("no reset") };
    let place = work.membership.expect("it was said");
    assert_eq!((place.identifier, place.address.as_str(), place.cluster.len()), (2, "n2", 2));

    let mut play = node();
    order.member = order.member.map(|member| Member { address: "../etc".to_owned(), ..member });
    play.ask(Command::Reset(order));
    assert!(refusal(&play.replies[&1]).to_string().contains("../etc"));
}

#[test]
fn jobs_that_write_go_one_after_the_other_and_those_that_look_past_them() {
    let mut play = node();
    play.ask(Command::Stop(named("db")));
    play.ask(Command::Configure(Box::new(configure())));
    play.ask(Command::Configure(Box::new(configure())));
    play.ask(reset(false));
    assert_eq!(play.asked.len(), 1);
    let first = asked(&mut play);
    play.ask(Command::Configure(Box::new(Configure { dry_run: true, ..configure() })));
    let look = asked(&mut play);
    assert!(matches!(look, Effect::Configure { ref work, .. } if work.dry_run), "{look:?}");
    play.asked.push(first);
    write(&mut play, Err(vec!["no".to_owned()]));
    assert!(play.replies.contains_key(&2) && !play.replies.contains_key(&3));
    write(&mut play, Ok(ConfigureOutcome::default()));
    assert!(play.replies.contains_key(&3));
    play.ask(Command::Start(named("db")));
    assert!(!play.take().contains("db start"), "the reset has begun");
    let Effect::Reset { job, .. } = asked(&mut play) else { panic!("no reset") };
    play.input(Input::ResetDone { job, result: Ok(Box::new(ResetOutcome { services: Vec::new() })) });
    assert!(play.take().contains("db start"));
}

#[test]
fn only_so_many_jobs_wait() {
    let mut play = node();
    let last = (0..34).map(|_| play.ask(Command::Configure(Box::new(configure())))).last().unwrap();
    let told = refusal(&play.replies[&last]).to_string();
    assert_eq!(told, "32 jobs on files are waiting already; try again later");
    assert_eq!(play.replies.len(), 1);
}

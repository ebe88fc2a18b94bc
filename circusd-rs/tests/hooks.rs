//! Hooks with real processes: programs, the Python interpreter, time limits, and what happens when
//! either ends badly. What answers decide is pinned beside the rules.
//!
//! These tests need `python3` in PATH.
#![expect(clippy::disallowed_methods, reason = "a test of the whole program starts it and waits for it")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail like tests"
)]

#[path = "host/alone.rs"]
mod alone;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alone::{PATIENCE, World};
use circusd_rs::arbiter::effect::{Callee, Effect, HookCall, HookLoad};
use circusd_rs::arbiter::id::JobId;
use circusd_rs::arbiter::input::{HookOutcome, Input};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

const TRUE: HookOutcome = HookOutcome::Returned { truth: true, stats: None };
const FALSE: HookOutcome = HookOutcome::Returned { truth: false, stats: None };

impl World {
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn call(&self, callee: Callee) -> HookCall {
        HookCall {
            hook: "after_spawn".to_owned(),
            callee,
            watcher: "One Two".to_owned(),
            facts: object(
                json!({"name": "One Two", "numprocesses": 3, "pids": [7], "options": {"cmd": "x y"}}),
            ),
            env: vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned()), ("OWN".to_owned(), "1".to_owned())],
            working_dir: self.dir.path().to_str().unwrap().to_owned(),
            arbiter: object(json!({"endpoint": "tcp://127.0.0.1:1"})),
            extra: object(json!({"pid": 7})),
            search: vec![self.dir.path().to_str().unwrap().to_owned()],
            limit: PATIENCE,
        }
    }

    fn begin(&mut self, call: HookCall) -> JobId {
        self.asked += 1;
        let job = JobId(self.asked);
        assert_eq!(self.runner.perform(Effect::RunHook { job, call: Box::new(call) }), None);
        job
    }

    async fn done(&mut self) -> (JobId, HookOutcome) {
        match timeout(PATIENCE, self.inputs.recv()).await.expect("an answer is due") {
            Some(Input::HookDone { job, outcome }) => (job, outcome),
            other => panic!("{other:?}"),
        }
    }

    async fn run(&mut self, call: HookCall) -> HookOutcome {
        let job = self.begin(call);
        let (done, outcome) = self.done().await;
        assert_eq!(done, job);
        outcome
    }

    async fn shell(&mut self, script: &str) -> HookOutcome {
        self.run(self.call(sh(script))).await
    }

    async fn python(&mut self, path: &str) -> HookOutcome {
        self.run(self.call(Callee::Python(path.to_owned()))).await
    }

    async fn load(&mut self, path: &str) -> Result<(), String> {
        let search = vec![self.dir.path().to_str().unwrap().to_owned()];
        let load = HookLoad { paths: vec![path.to_owned()], search, again: true, limit: PATIENCE };
        let effect = Effect::LoadHooks { job: JobId(0), load: Box::new(load) };
        assert_eq!(self.runner.perform(effect), None);
        match timeout(PATIENCE, self.inputs.recv()).await.expect("an answer is due") {
            Some(Input::HooksLoaded { job: JobId(0), result }) => result,
            other => panic!("{other:?}"),
        }
    }
}

fn sh(script: &str) -> Callee {
    Callee::Program(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn error(outcome: HookOutcome) -> String {
    match outcome {
        HookOutcome::Raised(error) => error,
        HookOutcome::Returned { .. } => panic!("{outcome:?}"),
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ended(pid: &str) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_program_answers_by_its_exit_status() {
    World::play(async |world| {
        assert_eq!(world.shell("exit 0").await, TRUE);
        assert_eq!(world.shell("exit 7").await, FALSE);
        assert_eq!(world.shell("kill -9 $$").await, FALSE);
        let missing = world.run(world.call(Callee::Program(vec!["/no/such".to_owned()]))).await;
        assert_eq!(error(missing), "[Errno 2] No such file or directory: '/no/such'");
        let told =
            "printf '%s|' \"$CIRCUS_HOOK\" \"$CIRCUS_WATCHER\" $CIRCUS_PID $OWN $CIRCUS_ENDPOINT $PWD > told";
        assert_eq!(world.shell(told).await, TRUE);
        let here = world.dir.path().canonicalize().unwrap();
        let expected = format!("after_spawn|One Two|7|1|tcp://127.0.0.1:1|{}|", here.display());
        assert_eq!(fs::read_to_string(world.dir.path().join("told")).unwrap(), expected);
    });
}

#[test]
fn a_program_has_its_time_and_delays_nobody() {
    World::play(async |world| {
        let mut slow = world.call(sh("echo $$ > pid; sleep 1000 & wait"));
        slow.limit = Duration::from_secs(3);
        let slow = world.begin(slow);
        let quick = world.begin(world.call(sh("exit 0")));
        assert_eq!(world.done().await, (quick, TRUE));
        let (job, outcome) = world.done().await;
        assert_eq!((job, error(outcome).as_str()), (slow, "took longer than 3 s and was killed"));
        let pid = fs::read_to_string(world.dir.path().join("pid")).unwrap();
        until("the end of the program", || ended(pid.trim()).then_some(()));
    });
}

#[test]
fn a_program_edits_figures_on_its_stdout() {
    World::play(async |world| {
        let mut call = world.call(sh("echo '{\"was\": '$CIRCUS_STATS'}'"));
        call.hook = "extended_stats".to_owned();
        call.extra = object(json!({"pid": 7, "stats": {"cpu": 1.5}}));
        let stats = Some(object(json!({"was": {"cpu": 1.5}})));
        assert_eq!(world.run(call.clone()).await, HookOutcome::Returned { truth: true, stats });
        call.callee = sh("echo no");
        assert!(error(world.run(call).await).starts_with("stdout is no JSON object: "));
    });
}

const MODULE: &str = r#"
import os
import time

counter = 0


def seen(watcher, arbiter, hook_name, pid):
    assert (watcher.name, watcher.cmd, watcher.env["OWN"], watcher.pids) == ("One Two", "x y", "1", [7])
    assert watcher.options("cmd") == [("cmd", "x y")] and watcher.arbiter is arbiter
    assert (arbiter.endpoint, hook_name, pid) == ("tcp://127.0.0.1:1", "after_spawn", 7)
    print("this is not for the wire")
    return [1]


def none(**extra):
    pass


def boom(**extra):
    raise ValueError("boom!")


def leaves(**extra):
    raise SystemExit(3)


def unknown(watcher, **extra):
    return watcher.nonsense


def counts(**extra):
    global counter
    counter += 1
    return counter > 1


def hangs(**extra):
    time.sleep(1000)


def dies(**extra):
    os._exit(7)


def edits(watcher, arbiter, name, pid, stats):
    stats["pid"] = pid


def spoils(watcher, arbiter, name, pid, stats):
    stats["what"] = object()
"#;

#[test]
fn python_answers_as_it_judges_truth() {
    World::play(async |world| {
        world.file("marks.py", MODULE);
        assert_eq!(world.python("marks.seen").await, TRUE);
        assert_eq!(world.python("marks:none").await, FALSE);
        assert_eq!(error(world.python("marks.boom").await), "boom!");
        assert_eq!(error(world.python("marks.leaves").await), "3");
        assert!(error(world.python("marks.unknown").await).contains("no watcher.nonsense"));
        assert_eq!(error(world.python("nowhere.at_all").await), "No module named 'nowhere'");
        assert!(error(world.python("marks:nothing").await).contains("no attribute 'nothing'"));
        // One interpreter for all calls: what a module remembers stays.
        assert_eq!(world.python("marks.counts").await, FALSE);
        assert_eq!(world.python("marks.counts").await, TRUE);

        let mut call = world.call(Callee::Python("marks.edits".to_owned()));
        call.hook = "extended_stats".to_owned();
        call.extra = object(json!({"pid": 7, "stats": {"cpu": 1.5}}));
        let stats = Some(object(json!({"cpu": 1.5, "pid": 7})));
        assert_eq!(world.run(call.clone()).await, HookOutcome::Returned { truth: true, stats });
        call.callee = Callee::Python("marks.spoils".to_owned());
        assert!(error(world.run(call).await).contains("not JSON serializable"));
    });
}

#[test]
fn python_is_imported_again_when_told() {
    World::play(async |world| {
        assert_eq!(world.load("late.hook").await.unwrap_err(), "No module named 'late'");
        world.file("late.py", "def hook(**extra): return True\n");
        assert_eq!(world.load("late.hook").await, Ok(()));
        assert_eq!(world.python("late.hook").await, TRUE);
        // Another length, so that the compiled file is not taken for this one.
        world.file("late.py", "def hook(**extra):\n    return False\n");
        assert_eq!(world.load("late.hook").await, Ok(()));
        assert_eq!(world.python("late.hook").await, FALSE);
    });
}

#[test]
fn a_call_that_hangs_or_kills_python_fails_alone() {
    World::play(async |world| {
        world.file("marks.py", MODULE);
        let mut hangs = world.call(Callee::Python("marks.hangs".to_owned()));
        hangs.limit = Duration::from_secs(5);
        let hangs = world.begin(hangs);
        let quick = world.begin(world.call(Callee::Python("marks.seen".to_owned())));
        assert_eq!(world.done().await, (quick, TRUE));
        let (job, outcome) = world.done().await;
        assert_eq!((job, error(outcome).as_str()), (hangs, "took longer than 5 s"));
        // Another interpreter takes over.
        assert_eq!(world.python("marks.counts").await, FALSE);
        assert!(error(world.python("marks.dies").await).contains("ended before it answered (exit code 7)"));
        assert_eq!(world.python("marks.counts").await, FALSE);
    });
}

/// The real program, without Python.
fn daemon(watchers: &str) -> (Child, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let circus =
        "[circus]\nendpoint = tcp://127.0.0.1:0\npubsub_endpoint = tcp://127.0.0.1:0\nmulticast_endpoint =\n";
    fs::write(dir.path().join("circus.ini"), format!("{circus}{watchers}")).unwrap();
    let daemon = Command::new(env!("CARGO_BIN_EXE_circusd-rs"))
        .arg("circus.ini")
        .current_dir(dir.path())
        .env("CIRCUSD_RS_PYTHON", "/no/python")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(dir.path().join("log")).unwrap())
        .spawn()
        .unwrap();
    (daemon, dir)
}

fn terminate(daemon: &mut Child) {
    kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

#[test]
fn a_hook_that_hangs_holds_up_neither_others_nor_the_end() {
    let (mut daemon, dir) = daemon(
        "[watcher:one]\ncmd = sleep 1000\npriority = -1\n\
         hooks.before_start = exec:/bin/sh -c \"echo $$ > pid; sleep 1000\"\n\
         [watcher:two]\ncmd = sleep 1000\n",
    );
    let said = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    until("the start of the other", || said().contains("two started").then_some(()));
    let pid = until("the start of the hook", || {
        fs::read_to_string(dir.path().join("pid")).ok().filter(|pid| pid.ends_with('\n'))
    });
    terminate(&mut daemon);
    until("the end of the hook", || ended(pid.trim()).then_some(()));
}

#[test]
fn without_python_the_remedy_is_named_and_the_rest_runs() {
    let (mut daemon, dir) = daemon(
        "[watcher:one]\ncmd = sleep 1000\nhooks.before_start = pkg.hook\n\
         [watcher:two]\ncmd = sleep 1000\nhooks.before_start = exec:/bin/true\n",
    );
    let said = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    until("the start of what needs no Python", || said().contains("two started").then_some(()));
    let said = said();
    let line = said.lines().find(|line| line.contains("Failed to create watcher 'one'")).unwrap();
    for word in ["hooks.before_start = pkg.hook", "'/no/python'", "CIRCUSD_RS_PYTHON", "exec:/path"] {
        assert!(line.contains(word), "{word}: {line}");
    }
    terminate(&mut daemon);
}

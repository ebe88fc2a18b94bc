//! A host with its mailbox, for tests, and what can be seen of it from outside.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use circus_protocol::number::{Signal, Wid};
use circus_protocol::reply::Refusal;
use circusd_rs::arbiter::effect::{Effect, Reach, SocketUse, SpawnSpec, Stdio};
use circusd_rs::arbiter::id::{JobId, Key, WatcherId};
use circusd_rs::arbiter::input::Input;
use circusd_rs::config::StreamConfig;
use circusd_rs::host::cgroup::Cgroups;
use circusd_rs::host::runner::{Orphans, Runner};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Nothing takes this long; what does is a failure.
const DEADLINE: Duration = Duration::from_secs(60);

/// Time in which something that must not happen would happen.
const QUIET: Duration = Duration::from_millis(200);

/// Tests count descriptors and children of this process, so one runs at a time.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) struct World {
    runner: Option<Runner>,
    inputs: mpsc::Receiver<Input>,
    next_key: u64,
}

impl World {
    /// Run one test with a host of its own.
    pub(crate) fn play(room: usize, orphans: Orphans, script: impl AsyncFnOnce(&mut Self)) {
        let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (sender, inputs) = mpsc::channel(room);
            let runner = Some(Runner::new(sender, orphans).unwrap());
            let mut world = Self { runner, inputs, next_key: 0 };
            timeout(4 * DEADLINE, script(&mut world)).await.expect("a test ends");
        });
    }

    pub(crate) fn perform(&mut self, effect: Effect) {
        assert_eq!(self.runner.as_mut().unwrap().perform(effect), None);
    }

    pub(crate) fn spawn(&mut self, spec: SpawnSpec) -> Key {
        self.next_key += 1;
        let key = Key(self.next_key);
        self.perform(Effect::Spawn { key, spec: Arc::new(spec) });
        key
    }

    pub(crate) fn signal(&mut self, key: Key, signal: Signal, reach: Reach) {
        self.perform(Effect::Signal { key, signal, reach });
    }

    pub(crate) fn confine(&mut self, cgroups: Cgroups) {
        self.runner.as_mut().unwrap().confine(cgroups);
    }

    pub(crate) fn open(&mut self, watcher: u64, stdout: Option<StreamConfig>, stderr: Option<StreamConfig>) {
        self.perform(Effect::OpenStreams { watcher: WatcherId(watcher), name: "web".into(), stdout, stderr });
    }

    pub(crate) fn close(&mut self, watcher: u64) {
        self.perform(Effect::CloseStreams { watcher: WatcherId(watcher) });
    }

    pub(crate) async fn next(&mut self) -> Input {
        timeout(DEADLINE, self.inputs.recv()).await.expect("an answer is due").expect("the host lives")
    }

    pub(crate) async fn spawned(&mut self, expected: Key) -> i32 {
        match self.next().await {
            Input::Spawned { key, pid } if key == expected => pid.get(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn spawn_failed(&mut self, expected: Key) -> String {
        match self.next().await {
            Input::SpawnFailed { key, error, .. } if key == expected => error,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn exited(&mut self, expected: Key) -> (Option<i32>, bool) {
        match self.next().await {
            Input::Exited { key, exit_code, lingering, .. } if key == expected => (exit_code, lingering),
            other => panic!("{other:?}"),
        }
    }

    /// End a process with all that belongs to it.
    pub(crate) async fn destroy(&mut self, key: Key) {
        self.signal(key, Signal::KILL, Reach::Tree);
        if self.exited(key).await.1 {
            assert_eq!(self.next().await, Input::Gone { key });
        }
    }

    pub(crate) async fn deliver(
        &mut self,
        keys: Vec<Key>,
        signal: Signal,
        reach: Reach,
    ) -> Result<(), Refusal> {
        self.perform(Effect::Deliver { job: JobId(9), keys, signal, reach });
        match self.next().await {
            Input::Delivered { job: JobId(9), result } => result,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing more is told.
    pub(crate) async fn quiet(&mut self) {
        if let Ok(input) = timeout(QUIET, self.inputs.recv()).await {
            panic!("nothing was due: {input:?}");
        }
    }

    pub(crate) async fn finish(&mut self) {
        self.runner.take().unwrap().finish().await;
    }
}

/// Wait until something can be seen.
pub(crate) async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let mut left = DEADLINE;
    let pause = Duration::from_millis(5);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(!left.is_zero(), "it did not happen in {DEADLINE:?}");
        sleep(pause).await;
        left = left.saturating_sub(pause);
    }
}

pub(crate) fn spec(argv: &[&str]) -> SpawnSpec {
    SpawnSpec {
        watcher: "test".to_owned(),
        watcher_id: WatcherId(1),
        wid: Wid(1),
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin:/usr/sbin:/sbin".to_owned())],
        working_dir: "/".to_owned(),
        uid: None,
        gid: None,
        rlimits: Vec::new(),
        stdin: Stdio::Null,
        stdout: Stdio::Null,
        stderr: Stdio::Inherit,
        sockets: SocketUse::default(),
        preparation: None,
        looks: None,
    }
}

pub(crate) fn sh(script: &str) -> SpawnSpec {
    spec(&["sh", "-c", script])
}

fn stat(pid: &str) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Runs or sleeps; a zombie does not.
pub(crate) fn alive(pid: i32) -> bool {
    stat(&pid.to_string()).is_some_and(|(state, _)| state != 'Z')
}

fn every() -> Vec<(i32, char, i32)> {
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| stat(&name).and_then(|(state, parent)| Some((name.parse().ok()?, state, parent))))
        .collect()
}

pub(crate) fn children(of: i32) -> Vec<i32> {
    every().into_iter().filter(|(_, _, parent)| *parent == of).map(|(pid, ..)| pid).collect()
}

/// Children of this process that ended and were not reaped.
pub(crate) fn zombies() -> usize {
    let me = std::process::id().cast_signed();
    every().into_iter().filter(|(_, state, parent)| *parent == me && *state == 'Z').count()
}

pub(crate) fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

//! A daemon of its own for one test, on loopback, ended with all its processes when the test is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use circus_protocol::endpoint::Endpoint;
use circus_protocol::transport::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_circusd-rs");

/// Endpoints that no two tests share.
pub(crate) const CIRCUS: &str =
    "[circus]\nendpoint = tcp://127.0.0.1:0\npubsub_endpoint = tcp://127.0.0.1:0\nmulticast_endpoint =\n";

/// A directory with a configuration, and a daemon in it until it was seen to end.
pub(crate) struct Node {
    pub(crate) dir: TempDir,
    daemon: Option<Child>,
    pub(crate) control: Endpoint,
    pub(crate) pubsub: Endpoint,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn directory(ini: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("circus.ini"), ini).unwrap();
    dir
}

impl Node {
    pub(crate) fn start(watchers: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), watchers)
    }

    pub(crate) fn start_in(dir: TempDir, watchers: &str) -> Self {
        fs::write(dir.path().join("circus.ini"), format!("{CIRCUS}{watchers}")).unwrap();
        Self::start_with(dir, &[])
    }

    /// What is in the directory, with these arguments.
    pub(crate) fn start_with(dir: TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("circus.ini").args(arguments);
        Self::run(dir, command)
    }

    /// In the control group with this list of members, from the beginning.
    pub(crate) fn start_within(group: &Path, watchers: &str) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(group).args([BINARY, "circus.ini"]);
        Self::run(directory(&format!("{CIRCUS}{watchers}")), shell)
    }

    fn run(dir: TempDir, mut command: Command) -> Self {
        let stderr = fs::File::create(dir.path().join("log")).unwrap();
        let command = command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null());
        let mut daemon = command.stderr(stderr).spawn().unwrap();
        let (control, pubsub) = endpoints(&dir, &mut daemon);
        Self { dir, daemon: Some(daemon), control, pubsub }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.daemon.as_ref().unwrap().id()).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.control.clone()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// How it ended, by itself or because it was told.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        until("the daemon's end", || daemon.try_wait().unwrap())
    }

    /// Gracefully, so that its processes go with it.
    pub(crate) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        let _gone = kill(Pid::from_raw(i32::try_from(daemon.id()).unwrap()), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while daemon.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ended = daemon.kill();
        let _reaped = daemon.wait();
    }
}

/// As the log names them, once the daemon waits for commands.
fn endpoints(dir: &TempDir, daemon: &mut Child) -> (Endpoint, Endpoint) {
    let line = until("waiting for commands", || {
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        assert!(daemon.try_wait().is_ok_and(|status| status.is_none()), "no daemon:\n{log}");
        let line = log.lines().find(|line| line.contains("] endpoint ")).map(str::to_owned);
        line.filter(|_| log.contains("waiting for commands"))
    });
    let (_, addresses) = line.split_once("] endpoint ").unwrap();
    let (control, pubsub) = addresses.split_once(", pubsub_endpoint ").unwrap();
    (control.parse().unwrap(), pubsub.parse().unwrap())
}

/// Waits until something is there.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) async fn call(client: &mut Client, command: &str, properties: Value) -> Value {
    client.call(command, properties, PATIENCE).await.unwrap()
}

/// Asks until the answer is the one wanted.
pub(crate) async fn until_told<T>(
    client: &mut Client,
    command: &str,
    properties: Value,
    wanted: impl Fn(&Value) -> Option<T>,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = call(client, command, properties.clone()).await;
        if let Some(found) = wanted(&reply) {
            return found;
        }
        assert!(Instant::now() < deadline, "{command} {properties} still says {reply:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

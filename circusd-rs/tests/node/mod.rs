//! A daemon of its own for one test, on loopback, ended with all its processes when the test is over.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use circus_protocol::endpoint::Endpoint;
use circus_protocol::transport::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes, on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const BINARY: &str = env!("CARGO_BIN_EXE_circusd-rs");

/// Endpoints that no two tests share.
const CIRCUS: &str =
    "[circus]\nendpoint = tcp://127.0.0.1:0\npubsub_endpoint = tcp://127.0.0.1:0\nmulticast_endpoint =\n";

/// A directory with a configuration, and a daemon in it.
pub(crate) struct Node {
    dir: TempDir,
    daemon: Child,
    pub(crate) control: Endpoint,
    pub(crate) pubsub: Endpoint,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
    }
}

impl Node {
    pub(crate) fn start(watchers: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), watchers)
    }

    pub(crate) fn start_in(dir: TempDir, watchers: &str) -> Self {
        fs::write(dir.path().join("circus.ini"), format!("{CIRCUS}{watchers}")).unwrap();
        let stderr = fs::File::create(dir.path().join("log")).unwrap();
        let mut daemon = Command::new(BINARY)
            .arg("circus.ini")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let (control, pubsub) = endpoints(&dir, &mut daemon);
        Self { dir, daemon, control, pubsub }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.daemon.id()).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.control.clone()).unwrap()
    }

    /// Gracefully, so that its processes go with it.
    pub(crate) fn stop(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.daemon.try_wait().is_ok_and(|status| status.is_none()) {
            return;
        }
        let _gone = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
        let deadline = Instant::now() + PATIENCE;
        while self.daemon.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ended = self.daemon.kill();
        let _reaped = self.daemon.wait();
    }
}

/// As the log names them, once the daemon waits for commands.
fn endpoints(dir: &TempDir, daemon: &mut Child) -> (Endpoint, Endpoint) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        if let Some(line) = log.lines().find(|line| line.contains("] endpoint "))
            && log.contains("waiting for commands")
        {
            let (_, addresses) = line.split_once("] endpoint ").unwrap();
            let (control, pubsub) = addresses.split_once(", pubsub_endpoint ").unwrap();
            return (control.parse().unwrap(), pubsub.parse().unwrap());
        }
        let runs = daemon.try_wait().is_ok_and(|status| status.is_none());
        assert!(runs && Instant::now() < deadline, "no daemon:\n{log}");
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

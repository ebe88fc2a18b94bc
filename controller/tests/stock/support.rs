//! A stock circusd of one's own: fresh directory, free ports, stopped by pid at the end.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use circus_protocol::endpoint::{Endpoint, Host, HostPort};
use controller::fleet::Fleet;
use controller::inventory::{Inventory, NodeSpec};
use controller::outcome::{NodeOutcome, Operation, RunOptions};
use tempfile::TempDir;

/// How long a daemon may take to listen.
const START: Duration = Duration::from_secs(60);

/// A running stock daemon.
#[derive(Debug)]
pub(crate) struct Stock {
    /// Its files.
    pub(crate) dir: TempDir,
    child: Child,
    port: u16,
}

/// Where the stock programs are.
pub(crate) fn stock_bin() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/stock/bin");
    let dir = std::env::var_os("CIRCUS_TEST_STOCK").map_or(workspace, PathBuf::from);
    assert!(
        dir.join("circusd").is_file(),
        "no stock circusd in {}: run tests/setup, or name its folder in CIRCUS_TEST_STOCK",
        dir.display()
    );
    dir
}

/// A port that nobody listens on now, and that this process gets only once. Below those which the
/// system takes for connections, so that none of them is in the way a moment later.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let n = std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + n % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A node at a port.
pub(crate) fn node(name: &str, host: &str, port: u16) -> NodeSpec {
    let host = host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Ip);
    NodeSpec {
        name: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        endpoint: Endpoint::Tcp(HostPort { host, port }),
        from_range: false,
    }
}

/// A time for each node, everything at once, everybody.
pub(crate) fn options(timeout: Duration) -> RunOptions {
    RunOptions { timeout, parallel: 64, targets: None }
}

/// Runs an operation on a fleet of one.
pub(crate) async fn run(fleet: &mut Fleet, operation: Operation) -> NodeOutcome {
    let mut outcome = fleet.run(operation, &options(Duration::from_secs(50)), &mut |_| {}).await;
    assert_eq!(outcome.nodes.len(), 1, "{outcome:?}");
    outcome.nodes.remove(0)
}

/// The status once no watcher is on its way up or down any more.
pub(crate) async fn settled(fleet: &mut Fleet) -> NodeOutcome {
    let mut last = None;
    until_async("the watchers settle", async || {
        let row = run(fleet, Operation::Status { names: vec![] }).await;
        let moving = row.data["watchers"].to_string().contains("ing\"");
        last = Some(row);
        !moving
    })
    .await;
    last.unwrap()
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_async(what, async || condition()).await;
}

/// Waits for a condition that takes time to look at.
pub(crate) async fn until_async(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + START;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {START:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Stock {
    /// Starts one with these sections besides `[circus]`.
    pub(crate) async fn start(sections: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, events) = (free_port(), free_port());
        let ini = dir.path().join("circus.ini");
        let head = format!(
            "[circus]\nendpoint = tcp://127.0.0.1:{port}\npubsub_endpoint = tcp://127.0.0.1:{events}\n\
             multicast_endpoint =\ncheck_delay = 1\n"
        );
        fs::write(&ini, head + sections).unwrap();
        let log = fs::File::create(dir.path().join("circusd.log")).unwrap();
        let child = Command::new(stock_bin().join("circusd"))
            .arg(&ini)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut stock = Self { dir, child, port };
        stock.wait().await;
        stock
    }

    /// Waits until it answers and has finished its start-up.
    async fn wait(&mut self) {
        let deadline = Instant::now() + START;
        loop {
            let log = fs::read_to_string(self.dir.path().join("circusd.log")).unwrap_or_default();
            if log.contains("Arbiter now waiting for commands") {
                return;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "stock circusd ended:\n{log}");
            assert!(Instant::now() < deadline, "stock circusd does not listen:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A cluster of it alone.
    pub(crate) fn inventory(&self) -> Inventory {
        Inventory { nodes: vec![node("one", "127.0.0.1", self.port)], spec: "one".to_owned() }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // SIGTERM lets it stop its watchers; it loses the signal while it is busy, so it may need two.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        for _ in 0..50 {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            for _ in 0..10 {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The demo's processes: which program a daemon is, its start, its end, and the end of whatever it
//! may have left behind. Everybody is ended by the pid we know, never by name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// A daemon opens its port within this time.
const START: Duration = Duration::from_secs(20);
/// A daemon stops everything it runs within this time.
const QUIT: Duration = Duration::from_secs(30);
/// Whoever is left gets this long to leave by itself.
const LEAVE: Duration = Duration::from_secs(5);
/// Where a node keeps its daemon's pid, beside those of its services.
const PID_FILE: &str = "circusd.pid";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// As much of a daemon's last words as is quoted.
const LAST_WORDS: usize = 600;

/// Why the demo cannot run.
#[derive(Debug, thiserror::Error)]
pub(super) enum DaemonError {
    /// Our daemon is not there.
    #[error("circusd-rs is neither beside circusman ({beside}) nor on PATH; build both with `cargo build --release`", beside = beside.display())]
    NotFound {
        /// Where we looked first.
        beside: PathBuf,
    },
    /// `--with-stock` names nothing that can be run.
    #[error("--with-stock {path}: not a file; name the circusd of a stock installation, such as venv/bin/circusd", path = path.display())]
    NoStock {
        /// As given.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It ended, or never listened.
    #[error("{program} on {address} {how}; its last words ({log}): {words}", log = log.display())]
    Silent {
        /// Which program.
        program: String,
        /// Which node.
        address: String,
        /// What it did instead.
        how: String,
        /// Its log file.
        log: PathBuf,
        /// The end of it.
        words: String,
    },
}

/// A daemon's executable.
#[derive(Debug, Clone)]
pub(super) struct Program(PathBuf);

impl Program {
    /// Beside our own executable, or on PATH.
    pub(super) fn circusd_rs() -> Result<Self, DaemonError> {
        let own = std::env::current_exe()
            .map_err(|source| DaemonError::Io { what: "our own path".to_owned(), source })?;
        let beside = own.with_file_name("circusd-rs");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|dir| dir.join("circusd-rs"));
        let found = std::iter::once(beside.clone()).chain(on_path).find(|path| path.is_file());
        found.map(Self).ok_or(DaemonError::NotFound { beside })
    }

    /// As `--with-stock` says.
    pub(super) fn stock(path: &Path) -> Result<Self, DaemonError> {
        let found = std::path::absolute(path).ok().filter(|path| path.is_file());
        found.map(Self).ok_or_else(|| DaemonError::NoStock { path: path.to_owned() })
    }
}

/// A running daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    program: String,
    address: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// In a process group of its own, so that Ctrl-C at our prompt does not reach it.
    pub(super) fn start(program: &Program, ini: &Path, address: &str) -> Result<Self, DaemonError> {
        let log = ini.with_file_name("circusd.log");
        let io = |what: &Path| {
            let what = what.display().to_string();
            move |source| DaemonError::Io { what, source }
        };
        let out = std::fs::File::create(&log).map_err(io(&log))?;
        let err = out.try_clone().map_err(io(&log))?;
        let child = Command::new(&program.0)
            .arg(ini)
            .current_dir(ini.parent().unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(io(&program.0))?;
        let note = ini.with_file_name("run").join(PID_FILE);
        std::fs::write(&note, child.id().unwrap_or_default().to_string()).map_err(io(&note))?;
        Ok(Self { program: program.0.display().to_string(), address: address.to_owned(), log, child })
    }

    /// Waits until its control port accepts.
    pub(super) async fn listening(&mut self, port: u16) -> Result<(), DaemonError> {
        let at = format!("{}:{port}", self.address);
        let open = async {
            loop {
                if let Ok(address) = at.parse::<SocketAddr>()
                    && TcpStream::connect(address).await.is_ok()
                {
                    return;
                }
                sleep(LOOK).await;
            }
        };
        let how = tokio::select! {
            open = timeout(START, open) => match open {
                Ok(()) => return Ok(()),
                Err(_) => format!("did not open port {port} within {} s", START.as_secs()),
            },
            status = self.child.wait() => status.map_or_else(|error| error.to_string(), |status| format!("ended: {status}")),
        };
        let text = std::fs::read(&self.log).unwrap_or_default();
        let end = text.get(text.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
        let words = String::from_utf8_lossy(end).trim().to_owned();
        let (program, address, log) = (self.program.clone(), self.address.clone(), self.log.clone());
        Err(DaemonError::Silent { program, address, how, log, words })
    }

    /// SIGTERM: both daemons stop everything they run first.
    pub(super) fn ask_to_quit(&self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            let _already_gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    /// Waits for its end, and makes it when it does not come.
    pub(super) async fn gone(mut self) {
        if timeout(QUIT, self.child.wait()).await.is_err() {
            let _already_gone = self.child.kill().await;
        }
    }
}

/// Ends a demo that nobody takes down any more: the daemons as [`Daemon::ask_to_quit`] does, then
/// what they leave.
pub(super) async fn end_orphans(dir: &Path) {
    let daemons = pid_files(dir, |name| name == PID_FILE);
    let _else_killed_below = end(&daemons, dir, Signal::SIGTERM, QUIT).await;
    end_left_overs(dir).await;
}

/// Ends stand-ins whose daemon died before it could: each wrote its pid below the demo's directory.
pub(super) async fn end_left_overs(dir: &Path) {
    let pids = pid_files(dir, |name| name.ends_with(".pid"));
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        if end(&pids, dir, signal, LEAVE).await {
            return;
        }
    }
}

/// Signals those that are ours and waits for their end; whether all ended in time.
async fn end(pids: &[Pid], dir: &Path, signal: Signal, time: Duration) -> bool {
    for pid in pids.iter().filter(|pid| is_ours(**pid, dir)) {
        let _already_gone = kill(*pid, signal);
    }
    let wait = async {
        while pids.iter().any(|pid| is_ours(*pid, dir)) {
            sleep(LOOK).await;
        }
    };
    timeout(time, wait).await.is_ok()
}

fn pid_files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Pid> {
    let nodes = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|node| node.path().join("run"));
    let files = nodes.flat_map(|run| std::fs::read_dir(run).into_iter().flatten().flatten());
    let wanted_files = files.filter(|file| wanted(&file.file_name().to_string_lossy()));
    let lines = wanted_files.map(|file| file.path()).filter_map(|path| std::fs::read_to_string(path).ok());
    let numbers =
        lines.flat_map(|text| text.lines().filter_map(|line| line.trim().parse().ok()).collect::<Vec<i32>>());
    numbers.filter(|pid| *pid > 1).map(Pid::from_raw).collect()
}

/// A pid may have been given to somebody else by now: its command line must name our directory.
fn is_ours(pid: Pid, dir: &Path) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&*dir.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_processes_count() {
        let me = Pid::this();
        assert!(!is_ours(me, Path::new("/nowhere/circusman-demo")));
        let own = std::env::current_exe().expect("a path");
        assert!(is_ours(me, &own));
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("a/run")).expect("a directory");
        std::fs::write(dir.path().join("a/run/x.pid"), "1\n-4\n77\nx\n").expect("writes");
        std::fs::write(dir.path().join("a/run/x.out"), "78\n").expect("writes");
        assert_eq!(pid_files(dir.path(), |name| name.ends_with(".pid")), [Pid::from_raw(77)]);
    }
}

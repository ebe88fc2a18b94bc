//! Stand-ins for Neo4j, Cassandra and Titan, as the demo's watchers run them.
//!
//! ```text
//! launcher (what circusd sees) ── starts ──► engine, called "java"
//!    TERM ─ forwards ─► slow stop               checks files of configure ─► storage port (titan)
//!    ends as the engine ended                   ─► data and log ─► port opens late ─► works
//! ```
//!
//! They have the habits that make the real ones hard to run: a launcher that is not the server, a
//! stop that takes seconds, a port that opens late, files that are read only at the start.

mod engine;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt;
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// As the JVM ends after SIGTERM.
const TERMINATED: u8 = 143;
/// The system refused something a server needs.
const BROKEN: u8 = 1;

/// Hidden: only the demo's ini files name it.
#[derive(Debug, Clone, Args)]
pub struct StandInArgs {
    /// What it imitates
    #[arg(value_enum)]
    pub kind: Kind,
    /// The node's directory
    #[arg(long)]
    pub home: PathBuf,
    /// The node's address
    #[arg(long)]
    pub address: std::net::Ipv4Addr,
    /// The port it opens
    #[arg(long)]
    pub port: u16,
    /// Where Titan expects Cassandra
    #[arg(long)]
    pub storage_port: u16,
    /// How long the stop takes
    #[arg(long, default_value_t = 2.0)]
    pub stop_seconds: f64,
    /// How long until the port opens
    #[arg(long, default_value_t = 1.0)]
    pub open_seconds: f64,
    /// This is the engine, not the launcher
    #[arg(long)]
    pub engine: bool,
}

/// What is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Neo4j in HA mode.
    Neo4j,
    /// Titan's server.
    Titan,
    /// Cassandra.
    Cassandra,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Neo4j => "neo4j",
            Self::Titan => "titan",
            Self::Cassandra => "cassandra",
        }
    }
}

/// Runs until it is told to stop.
#[must_use]
pub fn run(args: &StandInArgs) -> ExitCode {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return broken(&error),
    };
    let code = runtime.block_on(async {
        if args.engine {
            engine::run(args).await
        } else {
            launch().await.unwrap_or_else(|error| broken_code(&error))
        }
    });
    runtime.shutdown_background();
    ExitCode::from(code)
}

fn broken(error: &dyn std::fmt::Display) -> ExitCode {
    ExitCode::from(broken_code(error))
}

fn broken_code(error: &dyn std::fmt::Display) -> u8 {
    crate::cli::output::talk(&format!("stand-in: {error}"));
    BROKEN
}

/// The wrapper script: starts the engine, forwards signals, ends as it ends.
async fn launch() -> std::io::Result<u8> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut engine = Command::new(std::env::current_exe()?)
        .arg0("java")
        .args(std::env::args_os().skip(1))
        .arg("--engine")
        .stdin(std::process::Stdio::null())
        .spawn()?;
    let pid = engine.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut asked = false;
    loop {
        tokio::select! {
            status = engine.wait() => {
                let status = status?;
                let by_signal = status.signal().map(|signal| 128 + signal);
                let code = status.code().or(by_signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(BROKEN);
                // A wrapper that was asked to stop has done what it was asked.
                return Ok(if asked && code == TERMINATED { 0 } else { code });
            }
            _ = term.recv() => asked = true,
            _ = interrupt.recv() => asked = true,
            _ = hang_up.recv() => asked = true,
        }
        if let Some(pid) = pid {
            let _already_gone = kill(pid, Signal::SIGTERM);
        }
    }
}

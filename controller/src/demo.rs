//! `circusman demo`: a real cluster on loopback to play with.
//!
//! ```text
//! prepare (addresses, directory, ini files) ─► start daemons ─► console or script ─► take down
//!                                                    any end: exit, Ctrl-D, Ctrl-C, SIGTERM ─┘
//! ```
//!
//! An end that we cannot see, `kill -9`, is seen by the [`guard`].
//!
//! Every node is a real daemon in a directory of its own; what it supervises are stand-ins
//! ([`stand_in`]) that behave like the real servers' wrappers. Contacts nothing but 127.0.0.0/8, and
//! leaves neither processes nor files behind.

pub mod guard;
pub mod stand_in;

mod daemon;
mod files;
mod place;

use std::path::{Path, PathBuf};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::exit::Exit;
use crate::cli::output::talk;
use crate::cli::session::{Cluster, Session, Stop};
use crate::cli::store::Store;
use crate::cli::{DemoArgs, Global};
use crate::console::{self, Source};
use crate::fleet::{Fleet, ServicesFile};
use crate::inventory::fold::counted;
use daemon::{Daemon, Program};
use guard::Guard;
use place::Ports;

/// What the cluster is called.
const NAME: &str = "demo";

/// Everything that has to be cleared away.
struct Demo {
    dir: PathBuf,
    keep: bool,
    guard: Option<Guard>,
    daemons: Vec<Daemon>,
}

/// Starts the cluster, hands it to the console or the script, and takes it down again.
///
/// # Errors
/// It cannot be started; the reason says what is missing.
pub async fn run(global: &Global, args: &DemoArgs) -> Result<Exit, Stop> {
    if global.cluster.is_some() || global.services.is_some() {
        return Err(Stop::usage("the demo brings its own cluster; leave out --cluster and --services"));
    }
    // Listening comes first, so that there is no moment in which an end leaves something behind.
    let ended = console::ended();
    let interrupt =
        signal(SignalKind::interrupt()).map_err(|error| Stop::new(Exit::Failed, format!("demo: {error}")))?;
    let (dir, keep) = directory(args.keep_dir.as_deref())?;
    let mut demo = Demo { dir, keep, guard: None, daemons: Vec::new() };
    let result = tokio::select! {
        result = play(&mut demo, global, args, interrupt) => result,
        stop = ended => Err(stop),
    };
    demo.take_down(global.quiet).await;
    result
}

async fn play(
    demo: &mut Demo,
    global: &Global,
    args: &DemoArgs,
    mut interrupt: Signal,
) -> Result<Exit, Stop> {
    let session = tokio::select! {
        session = start(demo, global, args) => session?,
        _ = interrupt.recv() => return Err(Stop::new(Exit::Interrupted, "interrupted")),
    };
    let source = args.run.as_deref().map_or_else(Source::stdin, Source::script);
    console::run(session, global, source).await
}

/// Every node up and listening.
async fn start(demo: &mut Demo, global: &Global, args: &DemoArgs) -> Result<Session, Stop> {
    let failed = |error: &dyn std::fmt::Display| Stop::new(Exit::Failed, format!("demo: {error}"));
    let ours = Program::circusd_rs().map_err(|error| failed(&error))?;
    let stock = args.with_stock.as_deref().map(Program::stock).transpose().map_err(|error| failed(&error))?;
    let (addresses, ports) = place::find(args.nodes, global.port).map_err(|error| failed(&error))?;
    let stand_in = std::env::current_exe().map_err(|error| failed(&error))?;
    demo.guard = Some(Guard::start(&stand_in, &demo.dir, demo.keep).map_err(|error| failed(&error))?);
    files::shared(&demo.dir).map_err(|error| failed(&error))?;
    for (index, address) in addresses.iter().enumerate() {
        let last = index + 1 == addresses.len();
        let program = stock.as_ref().filter(|_| last).unwrap_or(&ours);
        let ini = files::node(&demo.dir, address, &ports, &stand_in).map_err(|error| failed(&error))?;
        demo.daemons.push(Daemon::start(program, &ini, address).map_err(|error| failed(&error))?);
    }
    for daemon in &mut demo.daemons {
        daemon.listening(ports.circus).await.map_err(|error| failed(&error))?;
    }
    let session = session(demo, &addresses, &ports, global)?;
    if !global.quiet {
        talk(&format!("nodes {} in {}", counted(&addresses), demo.dir.display()));
    }
    Ok(session)
}

fn session(demo: &Demo, addresses: &[String], ports: &Ports, global: &Global) -> Result<Session, Stop> {
    // One by one, not as a range: a node that died is unreachable, not absent.
    let cluster = Cluster::parse(&addresses.join(","), ports.circus, Some(NAME), global.quiet)?;
    let services = ServicesFile::load(&demo.dir.join(files::SERVICES));
    let services =
        services.map_err(|errors| Stop::new(Exit::Failed, format!("demo: {}", errors.join("; "))))?;
    let fleet = Fleet::new(cluster.inventory.clone(), Some(services));
    Ok(Session::new(Store::below(&demo.dir), cluster, fleet))
}

impl Demo {
    /// Daemons stop what they run; whoever is left is ended by pid; then the directory goes.
    async fn take_down(self, quiet: bool) {
        if !quiet && !self.daemons.is_empty() {
            talk("taking the demo down ...");
        }
        for daemon in &self.daemons {
            daemon.ask_to_quit();
        }
        for daemon in self.daemons {
            daemon.gone().await;
        }
        daemon::end_left_overs(&self.dir).await;
        if self.keep {
            talk(&format!("the demo's files are in {}", self.dir.display()));
        } else if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            talk(&format!("cannot remove {}: {error}", self.dir.display()));
        }
        if let Some(guard) = self.guard {
            guard.dismiss().await;
        }
    }
}

/// A directory of our own, and whether it stays.
fn directory(keep: Option<&Path>) -> Result<(PathBuf, bool), Stop> {
    let failed = |path: &Path, error| Stop::new(Exit::Failed, format!("demo: {}: {error}", path.display()));
    if let Some(dir) = keep {
        let dir = std::path::absolute(dir).map_err(|error| failed(dir, error))?;
        std::fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
        let empty = std::fs::read_dir(&dir).map_err(|error| failed(&dir, error))?.next().is_none();
        return if empty {
            Ok((dir, true))
        } else {
            Err(Stop::usage(format!("demo: {} is not empty", dir.display())))
        };
    }
    let base = std::env::temp_dir();
    for attempt in 0..100 {
        let dir = base.join(format!("{}{}-{attempt}", guard::DIR_PREFIX, std::process::id()));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok((dir, false)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&dir, error)),
        }
    }
    Err(Stop::new(Exit::Failed, format!("demo: no free directory name in {}", base.display())))
}

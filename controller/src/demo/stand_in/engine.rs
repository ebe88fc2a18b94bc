//! The JVM-like half of a stand-in: reads what `configure` wrote, refuses what is missing, keeps data
//! and a log, opens its port late and stops slowly.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep, timeout};

use super::{Kind, StandInArgs, TERMINATED};

/// As Cassandra and the 2015 scripts end over a wrong configuration.
const MISCONFIGURED: u8 = 3;
/// The system refused something.
const BROKEN: u8 = 1;
/// How long Titan waits for Cassandra, like its start script.
const STORAGE_WAIT: Duration = Duration::from_secs(10);
/// A pretend heap, so that figures have something to show.
const HEAP: usize = 12 << 20;
/// One record is written this often while it works.
const BEAT: Duration = Duration::from_millis(500);
/// A store grows no larger than this.
const MAX_STORE: u64 = 4 << 20;
/// A caller gets an answer within this time or is dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// What this kind of server has on disk.
struct Layout {
    /// A file of `configure`, and the line in it that names this node.
    config: PathBuf,
    wants: String,
    /// Directories and files of its store.
    store: Vec<PathBuf>,
    log: PathBuf,
    pid: PathBuf,
}

impl Layout {
    fn of(args: &StandInArgs) -> Self {
        let at = |path: &str| args.home.join(path);
        let address = args.address;
        let pid = at(&format!("run/{}.pid", args.kind.name()));
        match args.kind {
            Kind::Neo4j => Self {
                config: at("etc/neo4j/neo4j.properties"),
                wants: format!("ha.cluster_server={address}:"),
                store: vec![
                    at("var/lib/neo4j/data/graph.db/neostore.nodestore.db"),
                    at("var/lib/neo4j/data/rrd/rrd"),
                    at("var/lib/neo4j/data/keystore"),
                ],
                log: at("var/log/neo4j/console.log"),
                pid,
            },
            Kind::Cassandra => Self {
                config: at("etc/titan/cassandra-cluster.yaml"),
                wants: format!("listen_address: {address}"),
                store: vec![
                    at("var/lib/titan/db/cassandra/data/titan-edgestore.db"),
                    at("var/lib/titan/db/cassandra/commitlog/CommitLog-1.log"),
                    at("var/lib/titan/db/cassandra/saved_caches/keys.db"),
                ],
                log: at("var/log/titan/cassandra.log"),
                pid,
            },
            Kind::Titan => Self {
                config: at("etc/titan/rexster-cassandra-cluster.xml"),
                wants: format!("<server-host>{address}</server-host>"),
                store: Vec::new(),
                log: at("var/log/titan/rexstitan.log"),
                pid,
            },
        }
    }
}

/// The log, with seconds since the start.
struct Log {
    file: File,
    started: Instant,
}

impl Log {
    fn line(&mut self, text: &str) {
        let _disk_full = writeln!(self.file, "[{:9.3}] {text}", self.started.elapsed().as_secs_f64());
    }
}

/// Runs the server; its exit status.
pub(super) async fn run(args: &StandInArgs) -> u8 {
    match work(args).await {
        Ok(code) => code,
        Err((code, text)) => {
            crate::cli::output::talk(&format!("{}: {text}", args.kind.name()));
            code
        }
    }
}

type Failure = (u8, String);

fn broken(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| (BROKEN, format!("{}: {error}", path.display()))
}

async fn work(args: &StandInArgs) -> Result<u8, Failure> {
    let layout = Layout::of(args);
    let mut term = signal(SignalKind::terminate()).map_err(broken(&layout.pid))?;
    check_config(&layout)?;
    let mut log = open_log(&layout)?;
    fs::write(&layout.pid, format!("{}\n", std::process::id())).map_err(broken(&layout.pid))?;
    log.line("starting");
    // Touched, so that it is resident.
    let heap = vec![1_u8; HEAP];
    let ran = tokio::select! {
        ran = serve(args, &layout, &mut log) => ran,
        _ = term.recv() => Ok(TERMINATED),
    };
    if matches!(ran, Ok(TERMINATED)) {
        log.line("stopping");
        sleep(Duration::try_from_secs_f64(args.stop_seconds).unwrap_or_default()).await;
        log.line("stopped");
    }
    let _already_gone = fs::remove_file(&layout.pid);
    drop(heap);
    ran
}

/// The files of `configure` are read now and never again.
fn check_config(layout: &Layout) -> Result<(), Failure> {
    let path = layout.config.display();
    let text = fs::read_to_string(&layout.config)
        .map_err(|error| (MISCONFIGURED, format!("{path}: {error}; run `configure` first")))?;
    if text.lines().any(|line| line.contains(&layout.wants)) {
        return Ok(());
    }
    Err((MISCONFIGURED, format!("{path} has no {:?}; run `configure` again", layout.wants)))
}

fn open_log(layout: &Layout) -> Result<Log, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(&layout.log).map_err(broken(&layout.log))?;
    Ok(Log { file, started: Instant::now() })
}

async fn serve(args: &StandInArgs, layout: &Layout, log: &mut Log) -> Result<u8, Failure> {
    if args.kind == Kind::Titan {
        wait_for_storage(args, log).await?;
    }
    open_store(layout, log)?;
    sleep(Duration::try_from_secs_f64(args.open_seconds).unwrap_or_default()).await;
    let at = format!("{}:{}", args.address, args.port);
    let listener = TcpListener::bind(&at).await.map_err(|error| (BROKEN, format!("{at}: {error}")))?;
    log.line(&format!("listening on {at}"));
    let mut beat = interval(BEAT);
    loop {
        tokio::select! {
            caller = listener.accept() => {
                if let Ok((caller, _)) = caller {
                    let _gone = timeout(PATIENCE, answer(caller)).await;
                }
            }
            _ = beat.tick() => {
                // Whoever removes a running server's directory wants it gone.
                if !args.home.is_dir() {
                    return Ok(BROKEN);
                }
                append(layout);
            }
        }
    }
}

async fn wait_for_storage(args: &StandInArgs, log: &mut Log) -> Result<(), Failure> {
    let at = format!("{}:{}", args.address, args.storage_port);
    let there = async {
        while TcpStream::connect(&at).await.is_err() {
            sleep(Duration::from_millis(200)).await;
        }
    };
    if timeout(STORAGE_WAIT, there).await.is_err() {
        log.line(&format!("no storage at {at}"));
        return Err((BROKEN, format!("no storage at {at}; start cassandra first")));
    }
    Ok(())
}

fn open_store(layout: &Layout, log: &mut Log) -> Result<(), Failure> {
    for path in &layout.store {
        let fresh = !path.exists();
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| OpenOptions::new().create(true).append(true).open(path)).map_err(broken(path))?;
        log.line(&format!("{} {}", if fresh { "created" } else { "opened" }, path.display()));
    }
    Ok(())
}

/// One record into the store, as real servers always have something to write.
fn append(layout: &Layout) {
    if let Some(path) = layout.store.first()
        && let Ok(mut file) = OpenOptions::new().append(true).open(path)
        && file.metadata().is_ok_and(|data| data.len() < MAX_STORE)
    {
        let _disk_full = file.write_all(&[0x5a; 1024]);
    }
}

/// Says to everybody that it is there, like the health address of a real server.
async fn answer(mut caller: TcpStream) {
    let mut request = [0_u8; 1024];
    let _read = caller.read(&mut request).await;
    let reply = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nmaster";
    let _gone = caller.write_all(reply.as_bytes()).await;
}

//! What is measured, and how: each scenario starts a supervisor of its own and ends it.

use std::fs::{self, File};
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use circus_protocol::transport::{Limits, Router};
use circus_tests::daemon::built;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::peer::{Job, Peer, Running};
use crate::proc;
use crate::table::{Row, Table, median};
use crate::used::{Used, program};

/// How much of everything.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) rounds: usize,
    pub(crate) watchers: usize,
    pub(crate) idle: Duration,
    pub(crate) kills: usize,
    /// Who has not replaced all by then is judged by those it has.
    pub(crate) kills_take: Duration,
    pub(crate) requests: usize,
    pub(crate) asked: usize,
    pub(crate) flood: u64,
}

impl Scale {
    pub(crate) const FULL: Self = Self {
        rounds: 3,
        watchers: 1000,
        idle: Duration::from_secs(10),
        kills: 100,
        kills_take: Duration::from_secs(40),
        requests: 5000,
        asked: 500,
        flood: 512 << 20,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        watchers: 100,
        idle: Duration::from_secs(3),
        kills: 10,
        kills_take: Duration::from_secs(10),
        requests: 1000,
        asked: 100,
        flood: 64 << 20,
    };
}

type Measure = fn(Peer, &Scale, &mut Table) -> io::Result<()>;

/// Name, whom it makes sense for, and how.
pub(crate) const SCENARIOS: &[(&str, &[Peer], Measure)] = &[
    ("many", &[Peer::Ours, Peer::Stock, Peer::Supervisord, Peer::Dinit, Peer::Bare], many),
    ("one", &[Peer::Ours, Peer::Stock, Peer::Supervisord, Peer::Dinit], one),
    ("respawn", &[Peer::Ours, Peer::Stock, Peer::Supervisord, Peer::Dinit, Peer::Bare], respawn),
    ("status", &[Peer::Ours, Peer::Stock, Peer::Bare], status),
    ("stats", &[Peer::Ours, Peer::Stock], stats),
    ("feed", &[Peer::Ours, Peer::Stock], feed),
    ("capture", &[Peer::Ours, Peer::Stock, Peer::Supervisord, Peer::Bare], capture),
];

/// How long a supervisor is left alone before it counts as idle: longer than a watcher is young.
const SETTLE: Duration = Duration::from_secs(3);

/// Longest wait for one successor, and for all of a flood.
const PATIENCE: Duration = Duration::from_secs(60);

fn late(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("{what} took too long"))
}

/// Our daemon always publishes figures; stock would need another program for it.
fn sleepers(peer: Peer, count: usize) -> Job {
    Job { figures: peer == Peer::Ours, ..Job::sleepers(count) }
}

fn started(peer: Peer, job: &Job) -> io::Result<(Running, Duration)> {
    let running = peer.start(job)?;
    let took = running.wait_for(job.sleepers).ok_or_else(|| {
        let log = fs::read_to_string(running.dir.path().join("log")).unwrap_or_default();
        late(&format!("the start ({} run): {log}", running.sleepers().len()))
    })?;
    Ok((running, took))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn many(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    if peer == Peer::Bare {
        return bare_loop(scale, table);
    }
    let (running, took) = started(peer, &sleepers(peer, scale.watchers))?;
    table.add(Row::Start, peer, milliseconds(took));
    thread::sleep(SETTLE);
    let own = running.own();
    table.add(Row::MemoryMany, peer, proc::resident(&own));
    let (before, start) = (Used::by(&own), Instant::now());
    thread::sleep(scale.idle);
    let (after, took) = (Used::by(&own), start.elapsed());
    table.add(Row::Idle, peer, share(before, after, took));
    table.add(Row::Wakes, peer, after.waits.saturating_sub(before.waits) as f64);
    let took = running.end().ok_or_else(|| late("the end"))?;
    table.add(Row::Stop, peer, milliseconds(took));
    Ok(())
}

/// Percent of one CPU.
fn share(before: Used, after: Used, time: Duration) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() / time.as_secs_f64() * 100.0
}

fn sleep() -> io::Result<Child> {
    Command::new("/bin/sleep").arg("100000").stdin(Stdio::null()).spawn()
}

fn bare_loop(scale: &Scale, table: &mut Table) -> io::Result<()> {
    let start = Instant::now();
    let mut children: Vec<Child> = (0..scale.watchers).map(|_| sleep()).collect::<io::Result<_>>()?;
    table.add(Row::Start, Peer::Bare, milliseconds(start.elapsed()));
    let start = Instant::now();
    for child in &mut children {
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
    }
    for child in &mut children {
        child.wait()?;
    }
    table.add(Row::Stop, Peer::Bare, milliseconds(start.elapsed()));
    Ok(())
}

fn one(peer: Peer, _: &Scale, table: &mut Table) -> io::Result<()> {
    let (running, _) = started(peer, &sleepers(peer, 1))?;
    thread::sleep(SETTLE);
    table.add(Row::MemoryOne, peer, proc::resident(&running.own()));
    running.end().map(drop).ok_or_else(|| late("the end"))
}

fn respawn(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    let mut times = Vec::new();
    if peer == Peer::Bare {
        for _ in 0..scale.kills {
            let mut child = sleep()?;
            let start = Instant::now();
            child.kill()?;
            child.wait()?;
            let mut successor = sleep()?;
            times.push(milliseconds(start.elapsed()));
            successor.kill()?;
            successor.wait()?;
        }
    } else {
        // Each is killed once, so that no back-off for what dies often is measured.
        let (running, _) = started(peer, &sleepers(peer, scale.kills))?;
        thread::sleep(SETTLE);
        let begin = Instant::now();
        for victim in running.sleepers() {
            let known = proc::children(running.pid());
            let start = Instant::now();
            kill(Pid::from_raw(victim), Signal::SIGKILL)?;
            let successor = || {
                let mut pids = proc::children(running.pid()).into_iter();
                pids.any(|pid| !known.contains(&pid) && program(pid) == "sleep").then_some(())
            };
            proc::wait(PATIENCE, Duration::from_micros(100), successor).ok_or_else(|| late("a successor"))?;
            times.push(milliseconds(start.elapsed()));
            if begin.elapsed() > scale.kills_take {
                break;
            }
        }
        running.end().ok_or_else(|| late("the end"))?;
    }
    table.add(Row::Respawn, peer, median(&times));
    table.add(Row::RespawnWorst, peer, times.into_iter().fold(0.0, f64::max));
    Ok(())
}

const STATUS: &[u8] = br#"{"id": "1", "command": "status", "properties": {"name": "w0"}}"#;

fn status(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    if peer == Peer::Bare {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let echo = thread::spawn(move || echo(&tell, stopped));
        let address = told.recv().map_err(io::Error::other)?;
        table.add(Row::Status, peer, round_trip(&address, scale)?);
        drop(stop);
        return echo.join().map_err(|_| io::Error::other("the echo failed"))?;
    }
    let (running, _) = started(peer, &sleepers(peer, 1))?;
    let figure = round_trip(&format!("{}:5555", running.address), scale)?;
    table.add(Row::Status, peer, figure);
    running.end().map(drop).ok_or_else(|| late("the end"))
}

/// The transport that the daemon uses, on one thread as there, with nothing behind it.
fn echo(tell: &mpsc::Sender<String>, stopped: tokio::sync::oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let any = "tcp://127.0.0.1:*".parse().map_err(io::Error::other)?;
        let mut router = Router::bind(&[any], Limits::default()).await.map_err(io::Error::other)?;
        let bound = router.endpoints().first().map(ToString::to_string).unwrap_or_default();
        let _asked = tell.send(bound.trim_start_matches("tcp://").to_owned());
        let serve = async {
            loop {
                let incoming = router.recv().await;
                let _gone = router.send(incoming.peer, incoming.frames);
            }
        };
        tokio::select! {
            () = serve => {}
            _ = stopped => {}
        }
        Ok(())
    })
}

fn round_trip(address: &str, scale: &Scale) -> io::Result<f64> {
    let mut client = Client::dealer(address)?;
    for _ in 0..scale.requests / 10 {
        client.insist(STATUS)?;
    }
    let mut times = Vec::with_capacity(scale.requests);
    for _ in 0..scale.requests {
        let start = Instant::now();
        client.ask(STATUS)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&times))
}

fn stats(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    let (running, _) = started(peer, &sleepers(peer, scale.asked))?;
    let mut client = Client::dealer(&format!("{}:5555", running.address))?;
    let mut times = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let reply = client.insist(br#"{"id": "1", "command": "stats", "properties": {}}"#)?;
        times.push(milliseconds(start.elapsed()));
        let shown = reply.windows(9).filter(|words| *words == b"mem_info1").count();
        if shown < scale.asked {
            return Err(io::Error::other(format!("{shown} of {} processes in `stats`", scale.asked)));
        }
        thread::sleep(Duration::from_millis(50));
    }
    table.add(Row::Stats, peer, median(&times));
    running.end().map(drop).ok_or_else(|| late("the end"))
}

fn feed(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    let job = Job { figures: true, ..Job::sleepers(scale.watchers) };
    let (running, _) = started(peer, &job)?;
    let connect = || Client::subscriber(&format!("{}:5557", running.address)).ok();
    let mut client =
        proc::wait(PATIENCE, Duration::from_millis(50), connect).ok_or_else(|| late("the stats endpoint"))?;
    let heard = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&heard);
    // Ends with the connection, thus with the daemon.
    let listener = thread::spawn(move || {
        while client.receive().is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    thread::sleep(SETTLE);
    let own = running.own();
    let (before, count, start) = (Used::by(&own), heard.load(Ordering::Relaxed), Instant::now());
    thread::sleep(scale.idle);
    let (after, took) = (Used::by(&own), start.elapsed());
    let messages = heard.load(Ordering::Relaxed) - count;
    table.add(Row::Feed, peer, share(before, after, took));
    table.add(Row::FeedRate, peer, messages as f64 / took.as_secs_f64());
    running.end().ok_or_else(|| late("the end"))?;
    listener.join().map_err(|_| io::Error::other("the listener failed"))
}

fn capture(peer: Peer, scale: &Scale, table: &mut Table) -> io::Result<()> {
    let length = |path: &std::path::Path| fs::metadata(path).map_or(0, |found| found.len());
    let rate = |start: Instant| (scale.flood >> 20) as f64 / start.elapsed().as_secs_f64();
    if peer == Peer::Bare {
        let dir = tempfile::tempdir()?;
        let start = Instant::now();
        let file = File::create(dir.path().join("out"))?;
        Command::new(built("mischief")).args(["flood", &scale.flood.to_string()]).stdout(file).status()?;
        table.add(Row::Capture, peer, rate(start));
        return Ok(());
    }
    let running = peer.start(&Job { flood: Some(scale.flood), ..Job::sleepers(0) })?;
    let out = running.dir.path().join("out");
    let pause = Duration::from_micros(500);
    let begun = || (length(&out) > 0).then(|| (Instant::now(), Used::by(&[running.pid()])));
    let (start, before) = proc::wait(PATIENCE, pause, begun).ok_or_else(|| late("the first output"))?;
    let all = || (length(&out) >= scale.flood).then_some(());
    proc::wait(PATIENCE, pause, all).ok_or_else(|| late("the last output"))?;
    table.add(Row::Capture, peer, rate(start));
    let used = Used::by(&[running.pid()]).cpu.saturating_sub(before.cpu);
    table.add(Row::CaptureCpu, peer, used.as_secs_f64());
    running.end().map(drop).ok_or_else(|| late("the end"))
}

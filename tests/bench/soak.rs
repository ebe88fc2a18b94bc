//! A bad day in a few minutes: crash loops, output floods, command storms, subscribers that do not read,
//! and configurations read again and again; afterwards the daemon must hold what it held before.
//! `tests/bench/soak [MINUTES]` starts it; 20 minutes if not said otherwise.
//!
//! Judged are descriptors, threads and processes (exactly as at the beginning), zombies (none), memory
//! ([`BAND`]), and that every request was answered. The beginning is after one minute of the same: an
//! idle daemon lets go of the pages of its program, and they come back when they are used.
#![expect(clippy::disallowed_methods, reason = "a soak reads the clock and takes its time")]

mod client;
mod proc;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor, descendants};

use client::Client;

/// Memory, all of it and what is the daemon's own, may end at this many times what it was, plus so many MiB.
const BAND: (f64, f64) = (1.1, 1.0);

/// How long everything is done once before it counts.
const WARM: Duration = Duration::from_secs(60);

/// Processes that should live through it all.
const STEADY: usize = 20;

/// How long the daemon has to come to rest, before and after.
const REST: Duration = Duration::from_secs(90);

/// Between two lines of the report.
const REPORT: Duration = Duration::from_secs(60);

/// What must be as it was.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: u64,
    threads: u64,
    children: usize,
    zombies: u64,
    /// Resident, in MiB.
    memory: f64,
    /// Without the pages of files.
    own: f64,
}

impl Held {
    fn by(pid: i32) -> Self {
        let children = proc::children(pid);
        Self {
            descriptors: descriptors(pid),
            threads: proc::status(pid, "Threads:"),
            children: children.len(),
            zombies: zombies(&descendants(pid)),
            memory: proc::resident(&[pid]),
            own: proc::status(pid, "RssAnon:") as f64 / 1024.0,
        }
    }

    fn differs(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut same = |what: &str, now: u64, then: u64| {
            if now != then {
                found.push(format!("{what}: {then} became {now}"));
            }
        };
        same("descriptors", self.descriptors, before.descriptors);
        same("threads", self.threads, before.threads);
        same("processes", self.children as u64, before.children as u64);
        same("zombies", self.zombies, 0);
        let (times, more) = BAND;
        for (what, now, then) in
            [("memory", self.memory, before.memory), ("own memory", self.own, before.own)]
        {
            if now > then * times + more {
                found.push(format!("{what}: {then:.1} MiB became {now:.1} MiB"));
            }
        }
        found
    }
}

fn main() -> ExitCode {
    let minutes: f64 = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(20.0);
    match soak(Duration::from_secs_f64(minutes * 60.0)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How many descriptors a process has open.
fn descriptors(pid: i32) -> u64 {
    proc::listed(&format!("/proc/{pid}/fd")).len() as u64
}

/// How many of them have ended and wait to be collected.
fn zombies(pids: &[i32]) -> u64 {
    let state = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    pids.iter()
        .filter(|pid| state(pid).rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
        .count() as u64
}

/// `turn` varies what a reload finds.
fn ini(turn: u64) -> String {
    let mut text =
        "[circus]\ncheck_delay = 1\nstatsd = True\nstats_endpoint = tcp://{address}:5557\n".to_owned();
    for number in 0..STEADY {
        text += &format!("[watcher:steady{number}]\ncmd = sleep 100000\n");
    }
    for number in 0..4 {
        text += &format!("[watcher:crash{number}]\ncmd = {{mischief}} exit {number}\nmax_retry = -1\n");
    }
    for number in 0..2 {
        text += &format!(
            "[watcher:flood{number}]\ncmd = {{mischief}} flood 20000000\nmax_retry = -1\n\
             stdout_stream.class = FileStream\nstdout_stream.filename = {{dir}}/flood{number}\n\
             stdout_stream.max_bytes = 4000000\nstdout_stream.backup_count = 2\n"
        );
    }
    // Changed, and only sometimes there.
    text += &format!("[watcher:varies]\ncmd = sleep {}\nnumprocesses = {}\n", 1000 + turn, 1 + turn % 4);
    if turn % 2 == 1 {
        text += "[watcher:sometimes]\ncmd = sleep 1000\n";
    }
    text
}

/// One thread's work, again and again until told to end; how often it was done.
fn again(
    stop: &Arc<AtomicBool>,
    failed: &Arc<AtomicU64>,
    mut work: impl FnMut(u64) -> io::Result<()> + Send + 'static,
) -> JoinHandle<u64> {
    let (stop, failed) = (Arc::clone(stop), Arc::clone(failed));
    thread::spawn(move || {
        let mut turn = 0;
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = work(turn) {
                eprintln!("soak: {error}");
                failed.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(1));
            }
            turn += 1;
        }
        turn
    })
}

fn request(command: &str, properties: &str) -> Vec<u8> {
    format!(r#"{{"id": "s", "command": "{command}", "properties": {properties}}}"#).into_bytes()
}

/// Everything a client may ask for, one after the other; refusals are answers, too.
fn storm(client: &mut Client, turn: u64) -> io::Result<()> {
    let steady = format!(r#"{{"name": "steady{}"}}"#, turn % STEADY as u64);
    let of = |command: &str| request(command, &steady);
    for payload in [
        of("status"),
        of("list"),
        of("stats"),
        of("options"),
        of("incr"),
        of("decr"),
        request("status", "{}"),
        request("numprocesses", "{}"),
        request("dstats", "{}"),
        request(
            "set",
            &format!(r#"{{"name": "varies", "options": {{"graceful_timeout": {}}}}}"#, 1 + turn % 9),
        ),
        request("nonsense", "{}"),
        request("status", r#"{"name": "nobody"}"#),
        b"{ no json".to_vec(),
    ] {
        client.ask(&payload)?;
    }
    if turn.is_multiple_of(50) {
        client.ask(&request("restart", &format!(r#"{{"name": "steady{}", "waiting": true}}"#, turn % 7)))?;
        client.ask(&request("reload", r#"{"name": "varies", "waiting": true}"#))?;
        client.ask(&request("add", r#"{"name": "guest", "cmd": "sleep 100", "start": true}"#))?;
        client.ask(&request("rm", r#"{"name": "guest", "waiting": true}"#))?;
        client.ask(&request("stats", "{}"))?;
    }
    Ok(())
}

fn soak(time: Duration) -> io::Result<bool> {
    let daemon = Arc::new(Daemon::start(Flavor::Ours, &ini(0)));
    let pid = daemon.pid();
    let control = format!("{}:5555", daemon.address());
    // At rest: crash loops and floods are stopped, then nothing changes any more.
    println!("when it was new: {:?}", rest(pid, &control, None)?);
    bad_day(&daemon, &control, WARM)?;
    let before = rest(pid, &control, None)?;
    println!("at rest before: {before:?}");
    let (most, turns, failed) = bad_day(&daemon, &control, time)?;
    let after = rest(pid, &control, Some(&before))?;
    println!("at rest after: {after:?}; the most memory seen was {most:.1} MiB");
    println!("rounds of two storms, reloads, deaf subscribers: {turns:?}");
    let mut differs = after.differs(&before);
    if failed > 0 {
        differs.push(format!("{failed} requests failed"));
    }
    for difference in &differs {
        println!("FAILED: {difference}");
    }
    Ok(differs.is_empty())
}

/// Everything at the same time, for so long: the most memory seen, how often each was done, and how many
/// requests failed.
fn bad_day(daemon: &Arc<Daemon>, control: &str, time: Duration) -> io::Result<(f64, Vec<u64>, u64)> {
    let pid = daemon.pid();
    let mut client = Client::dealer(control)?;
    client.ask(&request("start", "{}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let failed = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    for _ in 0..2 {
        let mut client = Client::dealer(control)?;
        workers.push(again(&stop, &failed, move |turn| storm(&mut client, turn)));
    }
    let (address, reloading) = (control.to_owned(), Arc::clone(daemon));
    workers.push(again(&stop, &failed, move |turn| {
        reloading.rewrite(&ini(turn));
        Client::dealer(&address)?.insist(&request("reloadconfig", r#"{"waiting": true}"#))?;
        thread::sleep(Duration::from_millis(500));
        Ok(())
    }));
    // Subscribers that never read, and leave after a while; and a client that never takes its reply.
    let address = daemon.address().to_owned();
    workers.push(again(&stop, &failed, move |_| {
        let idle = (
            Client::subscriber(&format!("{address}:5556"))?,
            Client::subscriber(&format!("{address}:5557"))?,
        );
        let mut deaf = Client::dealer(&format!("{address}:5555"))?;
        for _ in 0..200 {
            deaf.send(&request("stats", "{}"))?;
        }
        thread::sleep(Duration::from_secs(5));
        drop((idle, deaf));
        Ok(())
    }));

    let (start, mut most) = (Instant::now(), 0.0_f64);
    while start.elapsed() < time {
        thread::sleep(REPORT.min(time.saturating_sub(start.elapsed())));
        let now = Held::by(pid);
        most = most.max(now.memory);
        println!("{:5.0} s: {now:?}", start.elapsed().as_secs_f64());
    }
    stop.store(true, Ordering::Relaxed);
    let turns: Vec<u64> = workers.into_iter().map(|worker| worker.join().unwrap_or(0)).collect();
    daemon.rewrite(&ini(0));
    client.ask(&request("reloadconfig", r#"{"waiting": true}"#))?;
    Ok((most, turns, failed.load(Ordering::Relaxed)))
}

/// Stops what crashes and floods, and waits until the daemon holds what it should, or for long enough.
fn rest(pid: i32, control: &str, wanted: Option<&Held>) -> io::Result<Held> {
    let mut client = Client::dealer(control)?;
    for name in ["crash0", "crash1", "crash2", "crash3", "flood0", "flood1"] {
        client.ask(&request("stop", &format!(r#"{{"name": "{name}", "waiting": true}}"#)))?;
    }
    drop(client);
    // Threads for short work leave after ten idle seconds.
    thread::sleep(Duration::from_secs(15));
    let settled = || {
        let held = Held::by(pid);
        wanted.is_none_or(|wanted| held.differs(wanted).is_empty()).then_some(held)
    };
    Ok(proc::wait(REST, Duration::from_millis(500), settled).unwrap_or_else(|| Held::by(pid)))
}

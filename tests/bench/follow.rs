//! What it costs a console to follow many nodes, and how fast it knows: `tests/bench/follow` starts it.
//!
//! The nodes are simulated by another process (`circusman simulate`), the console is `circusman listen`.
//! `cost`: memory and CPU time of the console over idle nodes, from ten to ten thousand; `event`: from
//! the command that stops a watcher to the line about it; `death`: from the moment at which all nodes
//! are gone, or freeze, to the last `down`. Bounded in count and time, on loopback alone; whatever was
//! started is ended by pid.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts programs")]

#[path = "proc.rs"]
#[expect(dead_code, reason = "shared with the node's benchmark, which needs more of it")]
mod proc;
mod simulated;
#[expect(dead_code, reason = "as `proc`")]
mod used;

use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use circus_protocol::transport::Client;
use circus_tests::daemon::built;
use controller::cli::DEFAULT_PORT;
use controller::cli::session::Cluster;
use controller::inventory::NodeSpec;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::simulated::Ended;
use crate::used::Used;

/// So many nodes, and their SPEC.
fn simulate(nodes: usize) -> io::Result<(Ended, String)> {
    simulated::start(nodes, &["--watchers", WATCHERS, "--port", PORT])
}

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the console does at first is no idling.
const SETTLE: Duration = Duration::from_secs(5);
/// Watchers of each node.
const WATCHERS: &str = "10";
const PORT: &str = "15555";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |flag: &str, default: usize| {
        let value = words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1)?.parse().ok());
        value.unwrap_or(default)
    };
    let nodes = number("--nodes", 1_000);
    let idle = Duration::from_secs(number("--idle", 20) as u64);
    let all = !["cost", "event", "death"].iter().any(|name| words.iter().any(|word| word == name));
    let wants = |name: &str| all || words.iter().any(|word| word == name);
    let measured = (|| -> io::Result<()> {
        if wants("cost") {
            let counts = [10, 100, 1_000, 10_000].into_iter().filter(|count| *count <= nodes.max(10));
            cost(&counts.collect::<Vec<_>>(), idle)?;
        }
        if wants("event") {
            event(nodes.min(1_000), number("--events", 500))?;
        }
        if wants("death") {
            death(nodes.min(1_000))?;
        }
        Ok(())
    })();
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("follow: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A console that follows them, and what it says, with the moment at which it came.
struct Console {
    child: Ended,
    lines: Receiver<(Instant, Value)>,
    joined: Duration,
}

impl Console {
    /// Follows, and returns when all nodes are up.
    fn start(spec: &str, nodes: usize) -> io::Result<Self> {
        let mut command = Command::new(built("circusman"));
        command.args(["--cluster", spec, "--ndjson", "listen"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = Ended(command.spawn()?);
        let (tell, lines) = channel();
        let stdout = child.0.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_default();
                let _gone = tell.send((Instant::now(), value));
            }
        });
        let stderr = child.0.stderr.take().ok_or_else(|| io::Error::other("no output"))?;
        let mut said = String::new();
        let mut reader = BufReader::new(stderr);
        while !said.contains("nodes up") {
            said.clear();
            if reader.read_line(&mut said)? == 0 {
                return Err(io::Error::other("the console ended"));
            }
        }
        let joined = begun.elapsed();
        std::thread::spawn(move || reader.lines().map_while(Result::ok).for_each(drop));
        if !said.starts_with(&format!("{nodes} of {nodes} ")) {
            return Err(io::Error::other(said));
        }
        Ok(Self { child, lines, joined })
    }

    /// When the line that fits came.
    fn expect(&self, fits: impl Fn(&Value) -> bool) -> io::Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok((at, line)) if fits(&line) => return Ok(at),
                Ok(_) => {}
                Err(error) => return Err(io::Error::other(format!("no line: {error}"))),
            }
        }
    }
}

fn cost(counts: &[usize], idle: Duration) -> io::Result<()> {
    println!(
        "| nodes | joined (s) | console's memory (MiB) | CPU (% of one core) | CPU per node (us/s) | simulation's memory (MiB) |"
    );
    println!("|---:|---:|---:|---:|---:|---:|");
    for nodes in counts {
        let (simulation, spec) = simulate(*nodes)?;
        let console = Console::start(&spec, *nodes)?;
        std::thread::sleep(SETTLE);
        let (before, began) = (Used::by(&[console.child.pid()]).cpu, Instant::now());
        std::thread::sleep(idle);
        let used = Used::by(&[console.child.pid()]).cpu.saturating_sub(before).as_secs_f64();
        let share = used / began.elapsed().as_secs_f64();
        println!(
            "| {nodes} | {:.2} | {:.1} | {:.2} | {:.1} | {:.1} |",
            console.joined.as_secs_f64(),
            proc::resident(&[console.child.pid()]),
            share * 100.0,
            share * 1e6 / *nodes as f64,
            proc::resident(&[simulation.pid()]),
        );
    }
    Ok(())
}

fn event(nodes: usize, events: usize) -> io::Result<()> {
    let (_simulation, spec) = simulate(nodes)?;
    let console = Console::start(&spec, nodes)?;
    std::thread::sleep(SETTLE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut times = Vec::with_capacity(events);
    for number in 0..events {
        // Neither the first ones nor neighbours only.
        let at = number * 7_919 % nodes;
        let node = named(&spec, at)?;
        let asked = runtime.block_on(async {
            let mut client = Client::connect(node.endpoint.clone()).map_err(io::Error::other)?;
            client.call("numwatchers", json!({}), PATIENCE).await.map_err(io::Error::other)?;
            let asked = Instant::now();
            client.call("stop", json!({"name": "web"}), PATIENCE).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(asked)
        })?;
        let told = console.expect(|line| {
            line["node"] == node.name && line["change"] == "status" && line["to"] == "stopped"
        })?;
        times.push(told.saturating_duration_since(asked).as_secs_f64() * 1e3);
        runtime.block_on(async {
            let mut client = Client::connect(node.endpoint.clone()).map_err(io::Error::other)?;
            client.call("start", json!({"name": "web"}), PATIENCE).await.map_err(io::Error::other)
        })?;
        console.expect(|line| line["node"] == node.name && line["to"] == "active")?;
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!(
        "event to line, {nodes} nodes, {events} events: median {:.1} ms, 99th percentile {:.1} ms, worst {:.1} ms",
        at(0.5),
        at(0.99),
        times.last().copied().unwrap_or(f64::NAN)
    );
    Ok(())
}

fn named(text: &str, at: usize) -> io::Result<NodeSpec> {
    let cluster = Cluster::parse(text, DEFAULT_PORT, None, true).map_err(io::Error::other)?;
    cluster.inventory.nodes.get(at).cloned().ok_or_else(|| io::Error::other("fewer nodes"))
}

fn death(nodes: usize) -> io::Result<()> {
    for (what, signal) in [("frozen", Signal::SIGSTOP), ("killed", Signal::SIGKILL)] {
        let (simulation, spec) = simulate(nodes)?;
        let console = Console::start(&spec, nodes)?;
        std::thread::sleep(SETTLE);
        let begun = Instant::now();
        kill(Pid::from_raw(simulation.pid()), signal)?;
        let mut times = Vec::with_capacity(nodes);
        while times.len() < nodes {
            let told = console.expect(|line| line["change"] == "down")?;
            times.push(told.saturating_duration_since(begun).as_secs_f64());
        }
        println!(
            "all of {nodes} nodes {what} to `down`: first {:.2} s, median {:.2} s, last {:.2} s",
            times.first().copied().unwrap_or(f64::NAN),
            times.get(nodes / 2).copied().unwrap_or(f64::NAN),
            times.last().copied().unwrap_or(f64::NAN)
        );
    }
    Ok(())
}

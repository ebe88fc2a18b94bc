//! What it costs one console to ask many nodes, beside a straightforward asyncio and pyzmq script that
//! does the same; `tests/bench/fanout` starts it.
//!
//! `scripted`: simulated nodes in one process, which answer at once; the console and the script ask
//! them in alternation, each in a process of its own, first without connections (cold), then with
//! (warm). `real`: as many real daemons on loopback, driven by the console's command line. Bounded in
//! count and time, on loopback alone; whatever was started is ended by pid.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and starts programs")]

#[expect(dead_code, reason = "shared with the benchmark of following, which needs more of it")]
mod simulated;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use circus_tests::daemon::{built, circusman, stock, workspace};
use circus_tests::wait::until;
use controller::fleet::Fleet;
use controller::inventory::{Inventory, spec};
use controller::outcome::{NodeState, Operation, RunOptions};
use controller::sources::System;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often is asked again over connections that are there.
const WARM: usize = 10;
/// The patience of the console with nodes that say nothing, in the row about them.
const SILENT: Duration = Duration::from_secs(2);

/// How much.
struct Scale {
    nodes: usize,
    real: usize,
    rounds: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let result = match words.first().map(String::as_str) {
        Some("--ask") => ask(words.get(1).map_or("", String::as_str)),
        _ => measure(&words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanout: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(words: &[String], flag: &str, default: usize) -> usize {
    let value = words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1)?.parse().ok());
    value.unwrap_or(default)
}

fn measure(words: &[String]) -> io::Result<()> {
    let scale = Scale {
        nodes: number(words, "--nodes", 1000),
        real: number(words, "--real", 1000),
        rounds: number(words, "--rounds", 5),
    };
    let all = !words.iter().any(|word| word == "scripted" || word == "real");
    raise_limit()?;
    println!("| figure | target | circusman | asyncio + pyzmq | ratio |\n|---|---|---:|---:|---:|");
    if all || words.iter().any(|word| word == "scripted") {
        scripted(&scale)?;
    }
    if all || words.iter().any(|word| word == "real") {
        real(&scale)?;
    }
    Ok(())
}

/// Everything here holds a connection for each node.
fn raise_limit() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Of a real daemon; the simulated ones have others.
fn address(at: usize) -> String {
    format!("127.89.{}.{}", at / 250 + 1, at % 250 + 1)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

// ---- simulated nodes ----

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn scripted(scale: &Scale) -> io::Result<()> {
    // As stock: the console asks such nodes most when it meets them.
    let (_nodes, spec) = simulated::start(scale.nodes, &["--watchers", "2", "--stock-percent", "100"])?;
    alternate(scale, &std::env::current_exe()?, &spec)
}

fn alternate(scale: &Scale, own: &Path, spec: &str) -> io::Result<()> {
    let script = workspace().join("tests/bench/fanout.py");
    let nodes = inventory(spec)?.nodes;
    let endpoints: String = nodes.iter().map(|node| format!("{}\n", node.endpoint)).collect();
    let (mut ours, mut theirs) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..scale.rounds {
        let [cold, warm] = figures(Command::new(stock("python")).arg(&script), &endpoints)?;
        theirs[0].push(cold);
        theirs[1].push(warm);
        let [cold, warm] = figures(Command::new(own).args(["--ask", spec]), "")?;
        ours[0].push(cold);
        ours[1].push(warm);
    }
    for (what, ours, theirs) in [("cold", &ours[0], &theirs[0]), ("warm", &ours[1], &theirs[1])] {
        let (ours, theirs) = (median(ours.clone()), median(theirs.clone()));
        println!(
            "| `status` of {} scripted nodes, {what} (ms) | half | {ours:.1} | {theirs:.1} | {:.2} |",
            scale.nodes,
            ours / theirs
        );
    }
    Ok(())
}

/// The two figures that a program prints.
fn figures(command: &mut Command, input: &str) -> io::Result<[f64; 2]> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(cold)), Some(Ok(warm))) if output.status.success() => Ok([cold, warm]),
        _ => Err(io::Error::other(format!("{:?} printed {text:?}", command.get_program()))),
    }
}

/// The console's own machinery, on one thread as in circusman.
fn ask(spec: &str) -> io::Result<()> {
    raise_limit()?;
    runtime()?.block_on(async {
        let begin = Instant::now();
        let inventory = inventory(spec)?;
        let count = inventory.nodes.len();
        let mut fleet = Fleet::new(inventory, None);
        let mut times = Vec::new();
        let mut begun = begin;
        for _ in 0..=WARM {
            let options = RunOptions { timeout: PATIENCE, parallel: count, targets: None };
            let outcome = fleet.run(Operation::Status { names: Vec::new() }, &options, &mut |_| {}).await;
            let done = outcome.nodes.iter().filter(|node| node.state == NodeState::Done).count();
            if done != count {
                return Err(io::Error::other(format!(
                    "{done} of {count} nodes answered: {:?}",
                    outcome.nodes.first()
                )));
            }
            times.push(milliseconds(begun.elapsed()));
            begun = Instant::now();
        }
        let warm = median(times.split_off(1));
        println!("{} {warm}", median(times));
        Ok(())
    })
}

fn inventory(text: &str) -> io::Result<Inventory> {
    Ok(spec::parse(text, 5555, &mut System::default()).map_err(io::Error::other)?.inventory)
}

// ---- real daemons ----

/// Daemons, and where their files are; dropping it ends them.
struct Nodes {
    children: Vec<Child>,
    dir: tempfile::TempDir,
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &self.children {
            let pid = Pid::from_raw(child.id().cast_signed());
            let _gone = kill(pid, Signal::SIGCONT).and_then(|()| kill(pid, Signal::SIGTERM));
        }
        for child in &mut self.children {
            until("the end of a daemon", || child.try_wait().ok().flatten());
        }
    }
}

impl Nodes {
    fn start(count: usize) -> io::Result<Self> {
        let mut nodes = Self { children: Vec::new(), dir: tempfile::tempdir()? };
        let list: String = (0..count).map(|at| address(at) + "\n").collect();
        fs::write(nodes.dir.path().join("nodes"), list)?;
        for at in 0..count {
            let ini = nodes.dir.path().join(format!("{at}.ini"));
            let address = address(at);
            let text = format!(
                "[circus]\nendpoint = tcp://{address}:5555\npubsub_endpoint = tcp://{address}:5556\n\
                 [watcher:web]\ncmd = /bin/sleep 100000\nautostart = False\n"
            );
            fs::write(&ini, text)?;
            let out = fs::File::create(nodes.dir.path().join(format!("{at}.log")))?;
            let log = out.try_clone()?;
            let child = Command::new(built("circusd-rs"))
                .arg(&ini)
                .stdin(Stdio::null())
                .stdout(out)
                .stderr(log)
                .spawn()?;
            nodes.children.push(child);
        }
        Ok(nodes)
    }

    /// One command of a console that has just been started: how long, its status, and what it printed.
    fn console(&self, words: &[&str]) -> io::Result<(f64, i32, String)> {
        let list = format!("@{}", self.dir.path().join("nodes").display());
        let begin = Instant::now();
        let output = circusman(self.dir.path())
            .args(["--quiet", "--cluster", &list])
            .args(words)
            .stdin(Stdio::null())
            .output()?;
        let took = milliseconds(begin.elapsed());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((took, output.status.code().unwrap_or(-1), text))
    }

    /// The same, which must end with this status.
    fn expect(&self, words: &[&str], status: i32) -> io::Result<f64> {
        let (took, code, text) = self.console(words)?;
        if code == status {
            Ok(took)
        } else {
            Err(io::Error::other(format!("{words:?} ended with {code}: {text}")))
        }
    }
}

fn real(scale: &Scale) -> io::Result<()> {
    let count = scale.real;
    let begin = Instant::now();
    let nodes = Nodes::start(count)?;
    until("the start of all daemons", || nodes.expect(&["status"], 0).ok());
    eprintln!("{count} daemons answer after {:.1} s", begin.elapsed().as_secs_f64());
    let row =
        |what: &str, target: &str, figure: f64| println!("| {what} (ms) | {target} | {figure:.0} | - | - |");
    let mut status = Vec::new();
    let mut started = Vec::new();
    let mut late = Vec::new();
    for _ in 0..scale.rounds {
        status.push(nodes.expect(&["status"], 0)?);
        started.push(nodes.expect(&["start", "web", "--yes"], 0)?);
        nodes.expect(&["status", "--check"], 0)?;
        nodes.expect(&["stop", "web", "--yes"], 0)?;
    }
    row(&format!("`status` of {count} real daemons, from a cold start"), "500", median(status));
    row(&format!("start one watcher on {count} real daemons, until all are active"), "2000", median(started));
    for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
        for child in nodes.children.iter().step_by(10) {
            kill(Pid::from_raw(child.id().cast_signed()), signal)?;
        }
        if signal == Signal::SIGSTOP {
            for _ in 0..scale.rounds {
                let limit = format!("{}s", SILENT.as_secs());
                late.push(nodes.expect(&["--timeout", &limit, "status"], 5)? - milliseconds(SILENT));
            }
        }
    }
    row(&format!("`status` when 10 % of {count} say nothing: time over their deadline"), "100", median(late));
    Ok(())
}

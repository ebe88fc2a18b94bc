//! What one node costs, beside stock circusd in the same run.
//!
//! Runs A B A B and prints medians and ratios; absolute times depend on the machine. Resident memory
//! with 1 and 100 watchers, time from `kill -9` of a child to its successor's `spawn` event, and the
//! round trip of `status` for one watcher. `cargo build --release --bins && cargo bench --bench node`.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "a benchmark reads the clock")]

use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor};
use circus_tests::wire::Wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

const ROUNDS: usize = 2;
const KILLS: usize = 8;
const REQUESTS: usize = 2000;

#[derive(Debug, Default)]
struct Figures {
    memory_1: Vec<f64>,
    memory_100: Vec<f64>,
    respawn: Vec<f64>,
    request: Vec<f64>,
}

fn main() {
    let mut stock = Figures::default();
    let mut ours = Figures::default();
    for _ in 0..ROUNDS {
        measure(Flavor::Stock, &mut stock);
        measure(Flavor::Ours, &mut ours);
    }
    println!("{:<44} {:>12} {:>12} {:>8}", "one node (medians)", "stock", "circusd-rs", "ratio");
    line("resident memory, 1 watcher (MiB)", &mut stock.memory_1, &mut ours.memory_1);
    line("resident memory, 100 watchers (MiB)", &mut stock.memory_100, &mut ours.memory_100);
    line("kill -9 to successor (ms)", &mut stock.respawn, &mut ours.respawn);
    line("kill -9 to successor, worst (ms)", &mut [worst(&stock.respawn)], &mut [worst(&ours.respawn)]);
    line("status of one watcher, round trip (us)", &mut stock.request, &mut ours.request);
}

fn line(what: &str, stock: &mut [f64], ours: &mut [f64]) {
    let (left, right) = (median(stock), median(ours));
    println!("{what:<44} {left:>12.2} {right:>12.2} {:>7.1}x", left / right);
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn worst(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::max)
}

/// Stock's default check delay (5 s), since it decides how fast stock respawns.
fn ini(watchers: usize) -> String {
    let mut text = "[circus]\n".to_owned();
    for number in 0..watchers {
        text += &format!("[watcher:w{number}]\ncmd = sleep 100000\n");
    }
    text
}

fn measure(flavor: Flavor, figures: &mut Figures) {
    let daemon = Daemon::start(flavor, &ini(100));
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    wait_for_processes(&mut wire, 100);
    figures.memory_100.push(resident(daemon.pid()));
    drop(daemon);

    let daemon = Daemon::start(flavor, &ini(1));
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    wire.wait_for_events();
    wait_for_processes(&mut wire, 1);
    figures.memory_1.push(resident(daemon.pid()));
    for _ in 0..REQUESTS {
        let start = Instant::now();
        wire.call("status", &json!({"name": "w0"}));
        figures.request.push(start.elapsed().as_secs_f64() * 1e6);
    }
    for round in 0..KILLS {
        let pid = wire.call("list", &json!({"name": "w0"}));
        let pid = pid.pointer("/pids/0").and_then(Value::as_i64).expect("one process");
        // A child that lived for a moment is replaced at once; spread over stock's check period.
        std::thread::sleep(Duration::from_millis(1100 + 130 * u64::try_from(round).expect("small")));
        let start = Instant::now();
        kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("our child");
        loop {
            let (topic, _) = wire.event_within(Duration::from_secs(20)).expect("a successor");
            if topic == "watcher.w0.spawn" {
                break;
            }
        }
        figures.respawn.push(start.elapsed().as_secs_f64() * 1e3);
    }
}

fn wait_for_processes(wire: &mut Wire, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while wire.call("numprocesses", &json!({})).get("numprocesses").and_then(Value::as_u64) != Some(wanted) {
        assert!(Instant::now() < deadline, "{wanted} processes did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// MiB of the daemon alone, without its children.
fn resident(pid: i32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon lives");
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse::<f64>().ok())
        .expect("a figure")
        / 1024.0
}

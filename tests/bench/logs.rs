//! Following many logs at once: scripted nodes that speak the real protocol publish stamped lines by
//! clocks that are up to five seconds wrong, and `circusman logs --follow` merges them.
//!
//! Each line says when it was really written, which only this program reads: so order, delay and loss
//! are measured at the reader of circusman's stdout. `tests/bench/run logs [NODES] [LINES] [SECONDS]`;
//! bounded in count and time, on loopback addresses, ended by pid.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock, starts programs and may fail loudly"
)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use circus_protocol::transport::{Limits, Publisher, Router};
use serde_json::{Value, json};

/// Before anything counts: connections are made, and accounts meet.
const SETTLING: f64 = 4.0;
/// How often a node publishes what it has.
const BATCH: Duration = Duration::from_millis(10);
/// How wrong clocks are at most, in seconds.
const SKEW: f64 = 5.0;
/// The target.
const IN_ORDER: f64 = 0.2;

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let nodes = numbers.first().copied().unwrap_or(100).clamp(1, 250);
    let rate = numbers.get(1).copied().unwrap_or(1000).clamp(1, 10_000);
    let seconds = numbers.get(2).copied().unwrap_or(10).clamp(1, 60);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let end = now() + SETTLING + f64::from(seconds) + 1.0;
    for node in 0..nodes {
        let skew = SKEW * (2.0 * f64::from(node) / f64::from(nodes.max(2) - 1) - 1.0);
        runtime.block_on(serve(node, skew, f64::from(rate), end));
    }
    let figures = follow(nodes, f64::from(seconds));
    figures.print(nodes, rate, seconds);
    runtime.shutdown_background();
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn address(node: u32) -> String {
    format!("127.77.{}.{}", 1 + node / 250, 1 + node % 250)
}

/// A node: its answers, and its lines until the end.
async fn serve(node: u32, skew: f64, rate: f64, end: f64) {
    let endpoint = |port: u16| format!("tcp://{}:{port}", address(node)).parse().expect("an endpoint");
    let mut router = Router::bind(&[endpoint(5555)], Limits::default()).await.expect("a free address");
    let publisher = Publisher::bind(&[endpoint(5556)], Limits::default()).await.expect("a free address");
    let pubsub = format!("tcp://{}:5556", address(node));
    tokio::spawn(async move {
        loop {
            let incoming = router.recv().await;
            let asked = incoming.frames.last().and_then(|frame| serde_json::from_slice::<Value>(frame).ok());
            let Some(asked) = asked else { continue };
            let mut reply = match asked["command"].as_str().unwrap_or_default() {
                "hello" => {
                    json!({"name": "circusd-rs", "version": "0.1.0", "extensions": ["logs"], "pubsub_endpoint": pubsub})
                }
                _ => {
                    json!({"text": "", "offset": 0, "next_offset": 0, "eof": true, "generation": null, "zone": 0})
                }
            };
            (reply["id"], reply["status"], reply["time"]) =
                (asked["id"].clone(), json!("ok"), json!(now() + skew));
            let _ = router.send(incoming.peer, vec![Bytes::from(reply.to_string())]);
        }
    });
    tokio::spawn(async move {
        let (begun, mut written) = (now(), 0_u64);
        let mut tick = tokio::time::interval(BATCH);
        while now() < end {
            tick.tick().await;
            let due = ((now() - begun) * rate) as u64;
            let mut text = String::new();
            for number in written..due {
                let truly = begun + number as f64 / rate;
                text += &format!(
                    "{} INFO  [main] number={number} truly={truly:.6} {:-<40}\n",
                    stamp(truly + skew),
                    ""
                );
            }
            written = due;
            if !text.is_empty() && publisher.has_subscriber(b"log.app.1.stdout") {
                let message = json!({"pid": 1, "time": now() + skew, "text": text}).to_string();
                publisher.publish(vec![Bytes::from_static(b"log.app.1.stdout"), Bytes::from(message)]);
            }
        }
        publisher.close().await;
    });
}

/// `2026-11-29 10:00:00,123`, in UTC.
fn stamp(unix: f64) -> String {
    let (days, rest) = ((unix / 86_400.0).floor(), unix.rem_euclid(86_400.0));
    let (mut year, mut day) = (1970, days as u32);
    let leap = |year: u32| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u32::from(leap(year)) {
        day -= 365 + u32::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u32::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    let second = rest as u32;
    let milli = ((rest - f64::from(second)) * 1000.0) as u32;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{:02}-{:02} {hour:02}:{minute:02}:{second:02},{milli:03}", month + 1, day + 1)
}

/// What the reader saw.
#[derive(Default)]
struct Figures {
    delays: Vec<f64>,
    /// How much older a line was than one before it.
    disorder: Vec<f64>,
    missing: u64,
    twice: u64,
    cpu: f64,
    memory: u64,
}

fn follow(nodes: u32, seconds: f64) -> Figures {
    let home = tempfile::tempdir().expect("a directory");
    let spec = (0..nodes).map(address).collect::<Vec<_>>().join(",");
    let mut child = circus_tests::daemon::circusman(home.path())
        .args(["--cluster", &spec, "logs", "app", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("circusman starts");
    let (pid, begun) = (child.id(), now());
    let mut figures = Figures::default();
    let mut last: std::collections::HashMap<String, u64> = std::collections::HashMap::new();
    let (mut newest, mut cpu_before) = (0.0_f64, None);
    let number =
        |line: &str, key: &str| -> Option<f64> { line.split_once(key)?.1.split(' ').next()?.parse().ok() };
    for line in BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok) {
        let read = now();
        if read > begun + SETTLING + seconds {
            break;
        }
        let (Some(count), Some(truly)) = (number(&line, "number="), number(&line, "truly=")) else {
            continue;
        };
        let node = line.split(' ').next().unwrap_or_default().to_owned();
        let before = last.insert(node, count as u64);
        newest = newest.max(truly);
        if read < begun + SETTLING {
            continue;
        }
        cpu_before.get_or_insert_with(|| (cpu(pid), read));
        match before {
            Some(before) if count as u64 > before + 1 => figures.missing += count as u64 - before - 1,
            Some(before) if count as u64 <= before => figures.twice += 1,
            Some(_) | None => {}
        }
        figures.delays.push(read - truly);
        figures.disorder.push(newest - truly);
    }
    if let Some((before, since)) = cpu_before {
        figures.cpu = (cpu(pid) - before) / (now() - since);
    }
    figures.memory = memory(pid);
    let _ = child.kill();
    let _ = child.wait();
    figures
}

/// Seconds of CPU that a process has used.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

/// Its resident memory in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

impl Figures {
    fn print(mut self, nodes: u32, rate: u32, seconds: u32) {
        let lines = self.delays.len();
        let expected = f64::from(nodes * rate * seconds);
        let late = self.disorder.iter().filter(|disorder| **disorder > IN_ORDER).count();
        let any = self.disorder.iter().filter(|disorder| **disorder > 0.0015).count();
        self.delays.sort_by(f64::total_cmp);
        self.disorder.sort_by(f64::total_cmp);
        let of = |sorted: &[f64], share: f64| {
            let at = (sorted.len() as f64 * share) as usize;
            sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN) * 1e3
        };
        println!("{nodes} nodes, {rate} lines/s each, clocks up to {SKEW} s wrong, {seconds} s");
        println!(
            "lines read          {lines:>10}   ({:.1} % of those written)",
            lines as f64 / expected * 100.0
        );
        println!("missing, twice      {:>10} {:>10}", self.missing, self.twice);
        println!("out of order        {any:>10}   by more than 1.5 ms; by more than 200 ms: {late}");
        let disorder = [0.99, 0.999, 1.0].map(|share| of(&self.disorder, share));
        println!("disorder p99 p99.9 max  {:>8.1} {:>8.1} {:>8.1} ms", disorder[0], disorder[1], disorder[2]);
        let delay = [0.5, 0.99, 1.0].map(|share| of(&self.delays, share));
        println!("delay p50 p99 max       {:>8.1} {:>8.1} {:>8.1} ms", delay[0], delay[1], delay[2]);
        println!("circusman           {:>9.2} cores, {:.1} MiB", self.cpu, self.memory as f64 / 1024.0);
    }
}

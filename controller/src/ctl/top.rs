//! `top`: live figures of one daemon, for the users of circus-top.
//!
//! ```text
//!  stats endpoint ─► Stat ─► board (what is known) ─► picture (lines) ─► screen
//!                              ▲ once a second: what was not heard of is taken off
//! ```
//!
//! On a terminal it fills the screen and ends with Ctrl-C or q; otherwise it prints a picture a second.
//! Speaks to any circus' stats feed. Interrupted is its normal end: exit status 0.

mod board;
mod picture;
mod screen;

use std::io::Read;
use std::time::Duration;

use circus_protocol::endpoint::{DEFAULT_STATS_ENDPOINT, Endpoint};
use circus_protocol::stat::{PREFIX, Stat};
use circus_protocol::transport::{LinkEvent, Subscriber};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::arguments::{Fault, Kind, Opt, Scanned, Words, scan};
use super::connection::link_options;
use super::{Status, runtime, tunnel};
use crate::cli::output::{data, talk};
use board::Board;
use screen::Screen;

/// How often the picture is drawn.
const BEAT: Duration = Duration::from_secs(1);
/// Seconds without news after which a process is no longer shown.
const PROCESS_TIMEOUT: u64 = 3;
/// Keys that wait to be looked at; more are dropped, one is enough to end.
const KEYS: usize = 8;

const USAGE: &str = "\
usage: circus-top [-h] [--endpoint ENDPOINT] [--version] [--ssh SSH]
                  [--process-timeout PROCESS_TIMEOUT]
";
const HELP: &str = "
Shows processor, memory and age of every watcher's processes, and the hits of sockets. q or Ctrl-C ends it.

options:
  -h, --help            show this text
  --endpoint ENDPOINT   the daemon's stats endpoint (default: tcp://127.0.0.1:5557)
  --version             show the version
  --ssh SSH             go through ssh: user@host:port, or a host that ssh knows
  --process-timeout PROCESS_TIMEOUT
                        seconds without news after which a process is no longer shown (default: 3)
";

const fn option(name: &'static str, short: Option<char>, kind: Kind) -> Opt {
    Opt { name, short, kind, about: "" }
}

const OPTIONS: &[Opt] = &[
    option("help", Some('h'), Kind::Help),
    option("endpoint", None, Kind::Text),
    option("version", None, Kind::Version),
    option("ssh", None, Kind::Text),
    option("process-timeout", None, Kind::Whole),
];

/// `top` with these words behind it.
pub(super) fn main(words: &[String]) -> Status {
    let complain = |text: &str| {
        talk(&format!("{USAGE}circus-top: error: {text}"));
        Status::Usage
    };
    match scan(OPTIONS, Words::None, words) {
        Ok(given) if given.surplus.is_empty() => start(&given),
        Ok(given) => complain(&format!("unrecognized arguments: {}", given.surplus.join(" "))),
        Err(Fault::Help) => {
            data(&format!("{USAGE}{HELP}"));
            Status::Done
        }
        Err(Fault::Version) => {
            data("0.19.0\n");
            Status::Done
        }
        Err(fault) => complain(&fault.to_string()),
    }
}

fn start(given: &Scanned) -> Status {
    let text = |key: &str| given.options.get(key).map(String::as_str);
    let endpoint = match text("endpoint").unwrap_or(DEFAULT_STATS_ENDPOINT).parse::<Endpoint>() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            talk(&format!("circus-top: {error}"));
            return Status::Failed;
        }
    };
    let patience = text("process-timeout").and_then(|text| text.trim().parse().ok());
    let patience = Duration::from_secs(patience.unwrap_or(PROCESS_TIMEOUT));
    let Ok(runtime) = runtime() else { return Status::Failed };
    let outcome = runtime.block_on(async {
        let Some(ssh) = text("ssh") else { return watch(&endpoint, patience).await };
        let tunnel = tunnel::open(ssh, None, &endpoint).await.map_err(|error| error.to_string())?;
        watch(&tunnel.endpoint, patience).await
    });
    // A thread that still waits for a key must not hold up the end.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Status::Done,
        Err(error) => {
            talk(&format!("circus-top: {error}"));
            Status::Failed
        }
    }
}

/// Shows until somebody ends it.
async fn watch(endpoint: &Endpoint, patience: Duration) -> Result<(), String> {
    let mut subscriber =
        Subscriber::connect(endpoint.clone(), link_options()).map_err(|error| error.to_string())?;
    subscriber.subscribe(PREFIX).map_err(|fault| fault.to_string())?;
    let ends = |kind: SignalKind| signal(kind).map_err(|error| error.to_string());
    let mut interrupt = ends(SignalKind::interrupt())?;
    let mut terminate = ends(SignalKind::terminate())?;
    let mut hang_up = ends(SignalKind::hangup())?;
    let mut resized = ends(SignalKind::window_change())?;
    let screen = Screen::open();
    let mut keys = keys(&screen);
    let begun = Instant::now();
    let mut board = Board::new(patience);
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = subscriber.recv() => match event {
                LinkEvent::Connected { .. } => board.trouble = None,
                LinkEvent::Disconnected { reason, .. } => board.trouble = Some(format!("{endpoint}: {reason}")),
                LinkEvent::Message(frames) => {
                    if let [topic, payload] = frames.as_slice()
                        // What is no stat is somebody's extension.
                        && let Ok(stat) = Stat::decode(topic, payload)
                    {
                        board.note(stat, begun.elapsed());
                    }
                }
            },
            _ = beat.tick() => {
                board.expire(begun.elapsed());
                screen.draw(&board);
            }
            _ = resized.recv() => screen.draw(&board),
            Some(b'q' | b'Q') = keys.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

/// What is typed, when the screen is a terminal of our own.
fn keys(screen: &Screen) -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(KEYS);
    if screen.takes_keys() {
        tokio::task::spawn_blocking(move || {
            let mut byte = [0];
            while matches!(std::io::stdin().read(&mut byte), Ok(1)) {
                let [key] = byte;
                if sender.try_send(key).is_err() && sender.is_closed() {
                    break;
                }
            }
        });
    }
    receiver
}

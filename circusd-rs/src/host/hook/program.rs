//! A program as hook: one process for one call, with what it should know in its environment.
//!
//! Exit status 0 is true, any other false; a program that cannot be started or takes too long is an
//! error. Only `extended_stats` is read from: a JSON object on its stdout takes the place of the figures.

use std::fs::File;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use serde_json::{Map, Value};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::arbiter::effect::{HookCall, Reach};
use crate::arbiter::id::Key;
use crate::arbiter::input::{HookOutcome, Input};
use crate::host::hook::{order, spec};
use crate::host::warden::{NEWS, Order};
use circus_protocol::number::Signal;

/// The most that is read of edited figures.
const MOST_OUTPUT: u64 = 1 << 20;

/// The hook that edits figures.
const EDITOR: &str = "extended_stats";

/// Keys of helper processes come from the far end; these are the odd ones.
pub(crate) fn key(number: u64) -> Key {
    Key(u64::MAX - 2 * number)
}

/// Runs it to its end, or its time's.
pub(crate) async fn run(
    call: HookCall,
    argv: Vec<String>,
    key: Key,
    orders: mpsc::WeakSender<Order>,
) -> HookOutcome {
    let limit = call.limit;
    match timeout(limit, attend(call, argv, key, &orders)).await {
        Ok(Ok((truth, stats))) => HookOutcome::Returned { truth, stats },
        Ok(Err(error)) => HookOutcome::Raised(error),
        Err(_late) => {
            let kill = Order::Signal { key, signal: Signal::KILL, reach: Reach::Tree };
            let _the_daemon_ends = order(&orders, kill).await;
            HookOutcome::Raised(format!("took longer than {} s and was killed", limit.as_secs_f64()))
        }
    }
}

type Answer = (bool, Option<Map<String, Value>>);

async fn attend(
    call: HookCall,
    argv: Vec<String>,
    key: Key,
    orders: &mpsc::WeakSender<Order>,
) -> Result<Answer, String> {
    let edits = call.hook == EDITOR;
    let env = environment(&call);
    let null = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
    let (ours, theirs) = if edits {
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("pipe: {errno}"))?;
        (Some(ours), Some(theirs))
    } else {
        (None, None)
    };
    let (news, mut told) = mpsc::channel(NEWS);
    let pipes = [Some(OwnedFd::from(null)), theirs, None];
    let order = Order::Aid { key, spec: spec(argv, env, call.working_dir), pipes, news };
    self::order(orders, order).await?;
    let output = async {
        match ours {
            Some(pipe) => read(pipe).await,
            None => Vec::new(),
        }
    };
    let ended = async {
        loop {
            match told.recv().await {
                Some(Input::SpawnFailed { error, .. }) => return Err(error),
                Some(Input::Exited { exit_code, .. }) => return Ok(exit_code == Some(0)),
                Some(_runs) => {}
                None => return Err("the daemon ends".to_owned()),
            }
        }
    };
    let (truth, output) = tokio::join!(ended, output);
    let truth = truth?;
    let stats = if edits && truth && !output.is_empty() {
        let stats: Map<String, Value> =
            serde_json::from_slice(&output).map_err(|error| format!("stdout is no JSON object: {error}"))?;
        Some(stats)
    } else {
        None
    };
    Ok((truth, stats))
}

async fn read(pipe: OwnedFd) -> Vec<u8> {
    let mut output = Vec::new();
    if let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe)
        && let Err(error) = pipe.take(MOST_OUTPUT).read_to_end(&mut output).await
    {
        tracing::warn!(%error, "the output of a hook cannot be read");
    }
    output
}

/// The watcher's environment, and the call's facts.
fn environment(call: &HookCall) -> Vec<(String, String)> {
    let mut env = call.env.clone();
    let mut put = |name: &str, value: String| {
        env.retain(|(known, _)| known != name);
        env.push((name.to_owned(), value));
    };
    put("CIRCUS_HOOK", call.hook.clone());
    put("CIRCUS_WATCHER", call.watcher.clone());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (variable, keys) in [
        ("CIRCUS_PID", ["pid", "process_pid"].as_slice()),
        ("CIRCUS_SIGNUM", &["signum"]),
        ("CIRCUS_EXIT_CODE", &["exit_code"]),
        ("CIRCUS_TIME", &["time"]),
        ("CIRCUS_STATS", &["stats"]),
    ] {
        let value = keys.iter().find_map(|key| call.extra.get(*key)).filter(|value| !value.is_null());
        if let Some(value) = value {
            put(variable, text(value));
        }
    }
    for (variable, key) in [("CIRCUS_ENDPOINT", "endpoint"), ("CIRCUS_PUBSUB_ENDPOINT", "pubsub_endpoint")] {
        if let Some(value) = call.arbiter.get(key) {
            put(variable, text(value));
        }
    }
    env
}

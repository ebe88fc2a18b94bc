//! `exec:COMMAND`: what a command of the user's prints, within a time and a length.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::inventory::spec::MAX_TEXT;

/// How long a command may take.
const TIME: Duration = Duration::from_secs(10);
/// As many bytes of its complaints as are kept.
const MAX_COMPLAINT: u64 = 2_000;

/// Runs a line of shell and returns what it printed.
pub(super) async fn run(command: &str) -> Result<String, String> {
    run_within(command, TIME).await
}

pub(super) async fn run_within(command: &str, time: Duration) -> Result<String, String> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // All of what it starts can be ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start /bin/sh: {error}"))?;
    let ended = tokio::select! {
        ended = tokio::time::timeout(time, output(&mut child)) => {
            ended.unwrap_or_else(|_| Err(format!("printed no complete list within {} s; ended it", time.as_secs_f64())))
        }
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    // Once it is reaped its number may be somebody else's.
    if ended.is_err()
        && let Some(group) = child.id().and_then(|pid| i32::try_from(pid).ok())
    {
        let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    ended
}

async fn output(child: &mut Child) -> Result<String, String> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let limit = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX);
    let (printed, complaint) = tokio::join!(read(stdout, limit + 1), read_all(stderr));
    let printed = printed?;
    if printed.len() > MAX_TEXT {
        return Err(format!(
            "printed more than {MAX_TEXT} bytes; name the nodes by ranges such as node[01-99]"
        ));
    }
    let status = child.wait().await.map_err(|error| format!("cannot wait for it: {error}"))?;
    let complaint = String::from_utf8_lossy(&complaint?).trim().replace('\n', "; ");
    if !status.success() {
        let said = if complaint.is_empty() {
            "and said nothing".to_owned()
        } else {
            format!("and said: {complaint}")
        };
        return Err(format!("ended with {status} {said}"));
    }
    String::from_utf8(printed).map_err(|_| "printed something that is not UTF-8 text".to_owned())
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let done = pipe.take(limit).read_to_end(&mut bytes).await;
        done.map_err(|error| format!("cannot read what it prints: {error}"))?;
    }
    Ok(bytes)
}

/// The beginning is kept; the rest is read so that it can go on.
async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, String> {
    let Some(mut pipe) = pipe else { return Ok(Vec::new()) };
    let kept = read(Some(&mut pipe), MAX_COMPLAINT).await?;
    let mut rest = [0; 4096];
    while pipe.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    Ok(kept)
}

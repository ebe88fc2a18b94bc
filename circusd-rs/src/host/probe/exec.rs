//! A program as probe: it runs as the watcher's user, in its environment and directory, in a group of
//! its own; what is left of that group when the question ends, however it ends, is killed.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use circus_protocol::number::Signal;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::select;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{first_line, matches};
use crate::arbiter::effect::{Reach, SpawnSpec};
use crate::arbiter::id::Key;
use crate::arbiter::input::Input;
use crate::arbiter::question::ProbeCall;
use crate::host::hook::{order, spec};
use crate::host::warden::{NEWS, Order};

/// Keys of probes' programs begin here: far above those of watchers, far below those of hooks.
const KEYS: u64 = 1 << 62;

/// How much of its output is looked at; the rest is read and forgotten, so that nobody blocks.
const MOST_OUTPUT: usize = 64 * 1024;

/// How long after its end what is still in the pipe is waited for: others may hold the other end.
const DRAIN: Duration = Duration::from_millis(200);

/// One program, not yet started.
pub(in crate::host) struct Program {
    pub(in crate::host) number: u64,
    pub(in crate::host) orders: mpsc::WeakSender<Order>,
}

/// How it ended, and what it said.
pub(in crate::host) struct End {
    exit_code: Option<i32>,
    output: String,
}

impl End {
    /// Everything it said, if it ended well.
    pub(in crate::host) fn said(self) -> Result<String, String> {
        self.judge(&[0], None).map(|()| self.output)
    }

    pub(super) fn judge(&self, good: &[u8], pattern: Option<&str>) -> Result<(), String> {
        let said = first_line(&self.output);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        match self.exit_code {
            Some(code) if good.iter().any(|good| i32::from(*good) == code) => {}
            Some(code) if code < 0 => return Err(format!("killed by signal {}{said}", -code)),
            Some(code) => return Err(format!("exit status {code}{said}")),
            None => return Err(format!("its end was collected by somebody else{said}")),
        }
        match pattern {
            Some(pattern) if !matches(pattern, self.output.trim())? => {
                Err(format!("the output does not match {pattern:?}{said}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Ends the group when it is dropped; nobody is there to be killed after a good end.
struct Leash {
    key: Key,
    orders: mpsc::WeakSender<Order>,
}

impl Drop for Leash {
    fn drop(&mut self) {
        let kill = Order::Signal { key: self.key, signal: Signal::KILL, reach: Reach::Tree };
        if let Some(orders) = self.orders.upgrade()
            && let Err(error) = orders.try_send(kill)
        {
            tracing::error!(%error, "a probe's program cannot be killed");
        }
    }
}

impl Program {
    /// Runs it to its end. Dropping this kills it.
    pub(in crate::host) async fn run(self, argv: Vec<String>, call: &ProbeCall) -> Result<End, String> {
        let key = Key(KEYS.saturating_add(self.number));
        let null = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| format!("pipe: {errno}"))?;
        let also = theirs.try_clone().map_err(|error| format!("pipe: {error}"))?;
        let mut pipe = pipe::Receiver::from_owned_fd(ours).map_err(|error| format!("pipe: {error}"))?;
        let spec = Box::new(SpawnSpec {
            watcher: call.watcher.clone(),
            uid: call.uid.clone(),
            gid: call.gid.clone(),
            ..*spec(argv, call.env.clone(), call.working_dir.clone())
        });
        let (news, mut told) = mpsc::channel(NEWS);
        let pipes = [Some(OwnedFd::from(null)), Some(theirs), Some(also)];
        order(&self.orders, Order::Aid { key, spec, pipes, news }).await?;
        let _leash = Leash { key, orders: self.orders.clone() };
        let mut output = Vec::new();
        let mut open = true;
        let exit_code = loop {
            select! {
                news = told.recv() => match news {
                    Some(Input::SpawnFailed { error, .. }) => return Err(error),
                    Some(Input::Exited { exit_code, .. }) => break exit_code,
                    Some(_runs) => {}
                    None => return Err("the daemon ends".to_owned()),
                },
                more = read(&mut pipe, &mut output), if open => open = more,
            }
        };
        let rest = async { while open && read(&mut pipe, &mut output).await {} };
        let _held_by_others = timeout(DRAIN, rest).await;
        Ok(End { exit_code, output: String::from_utf8_lossy(&output).into_owned() })
    }
}

/// Reads what is there; false when nothing more will come.
async fn read(pipe: &mut pipe::Receiver, output: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match pipe.read(&mut buffer).await {
        Ok(0) | Err(_) => false,
        Ok(length) => {
            let room = MOST_OUTPUT.saturating_sub(output.len()).min(length);
            output.extend_from_slice(buffer.get(..room).unwrap_or_default());
            true
        }
    }
}

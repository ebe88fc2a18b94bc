//! `--ssh`: a way to an endpoint on another machine, through the system's ssh program.
//!
//! ```text
//! circusctl ─► ipc socket in a directory of our own ─► ssh -N -L ═══► sshd ─► the endpoint over there
//! ```
//!
//! A socket in a private directory instead of a local port: nobody else on this machine can use it, and no
//! port can be taken by somebody else in between. ssh asks for passwords on the terminal by itself. The
//! tunnel ends with its value, and with us.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use circus_protocol::endpoint::Endpoint;
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// How long ssh may take to connect; a person may have to type a password.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often we look whether the tunnel is there.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// No directory for the socket.
    #[error("--ssh: no place for the tunnel's socket in {0}: {1}")]
    Place(PathBuf, nix::Error),
    /// `user@host:port` with something else for a port.
    #[error("--ssh {0}: the port is no number from 1 to 65535; write user@host:port")]
    Port(String),
    /// Something that ssh would take for an option.
    #[error("--ssh {0}: this is no host; write user@host:port")]
    Host(String),
    /// No ssh.
    #[error("--ssh: cannot run ssh: {0}")]
    Run(#[from] std::io::Error),
    /// ssh gave up.
    #[error("--ssh {0}: ssh ended with {1}")]
    Ended(String, std::process::ExitStatus),
    /// ssh neither connects nor gives up.
    #[error("--ssh {0}: no tunnel after {PATIENCE:?}")]
    TimedOut(String),
}

/// A running tunnel.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// This end of it.
    pub(super) endpoint: Endpoint,
    place: PathBuf,
    // Killed when dropped.
    ssh: Child,
}

impl Tunnel {
    /// Whether ssh still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.ssh.try_wait(), Ok(None))
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.place);
    }
}

/// Opens a tunnel to an endpoint as seen from `server`.
pub(super) async fn open(server: &str, keyfile: Option<&str>, to: &Endpoint) -> Result<Tunnel, TunnelError> {
    let (host, port) = split(server)?;
    let template = std::env::temp_dir().join("circusctl-XXXXXX");
    let place = nix::unistd::mkdtemp(&template).map_err(|error| TunnelError::Place(template, error))?;
    let socket = place.join("s");
    let mut command = Command::new("ssh");
    command.args(["-N", "-T", "-o", "ExitOnForwardFailure=yes", "-L"]).arg(format!(
        "{}:{}",
        socket.display(),
        target(to)
    ));
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(keyfile) = keyfile {
        command.args(["-i", keyfile]);
    }
    // What ssh has to say goes to stderr; stdout is for our data, and stdin is the shell's.
    let ssh = command.arg(host).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true).spawn();
    let ssh = ssh.inspect_err(|_| {
        let _empty = std::fs::remove_dir(&place);
    })?;
    let endpoint = Endpoint::Ipc(socket.display().to_string());
    let mut tunnel = Tunnel { endpoint, place, ssh };
    wait(&mut tunnel, &socket, server).await?;
    Ok(tunnel)
}

async fn wait(tunnel: &mut Tunnel, socket: &Path, server: &str) -> Result<(), TunnelError> {
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        if let Some(status) = tunnel.ssh.try_wait()? {
            return Err(TunnelError::Ended(server.to_owned(), status));
        }
        if Instant::now() > deadline {
            return Err(TunnelError::TimedOut(server.to_owned()));
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// `user@host:port` as ssh wants it; a bare IPv6 address has colons of its own.
fn split(server: &str) -> Result<(&str, Option<u16>), TunnelError> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, _)) if host.contains(':') && !host.ends_with(']') => (server, None),
        Some((host, port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            (host, Some(port.ok_or_else(|| TunnelError::Port(server.to_owned()))?))
        }
        None => (server, None),
    };
    if host.is_empty() || host.starts_with('-') {
        return Err(TunnelError::Host(server.to_owned()));
    }
    Ok((host, port))
}

/// The far end in ssh's notation: `host:port`, or a path.
fn target(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Ipc(path) => path.clone(),
        Endpoint::Tcp(_) | Endpoint::Udp(_) => {
            let text = endpoint.to_string();
            text.split_once("://").map_or(text.clone(), |(_, place)| place.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        let read = |text| {
            split(text)
                .map(|(host, port)| format!("{host} {port:?}"))
                .unwrap_or_else(|error| error.to_string())
        };
        assert_eq!(read("me@host:22"), "me@host Some(22)");
        assert_eq!(read("host"), "host None");
        assert_eq!(read("me@[::1]:2222"), "me@[::1] Some(2222)");
        assert_eq!(read("::1"), "::1 None");
        assert_eq!(
            read("host:x"),
            "--ssh host:x: the port is no number from 1 to 65535; write user@host:port"
        );
        assert_eq!(read("-oProxyCommand=x"), "--ssh -oProxyCommand=x: this is no host; write user@host:port");
        let target = |text: &str| target(&text.parse().unwrap());
        assert_eq!(
            (target("tcp://127.0.0.1:5555"), target("ipc:///run/c")),
            ("127.0.0.1:5555".into(), "/run/c".into())
        );
    }
}

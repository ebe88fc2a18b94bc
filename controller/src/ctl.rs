//! A native circusctl: what stock's takes it takes, what stock's prints it prints, as it exits it exits.
//!
//! ```text
//!  words ─► line ─► message ─► connection (through a tunnel) ─► show ─► stdout or stderr, exit status
//!             └► shell: the same, a line at a time                     top: live figures, listen: events
//! ```
//!
//! Reached as `circusman ctl ...` and under the name `circusctl`; `circusman ctl top` and the name
//! `circus-top` show live figures. For one daemon only: clusters are the rest of this crate, and not
//! known here. Exit status: 0 done, 1 it could not be tried or nobody answered, 2 wrong arguments,
//! 3 refused. `tests/conformance/differences.md` lists what is better than in stock.

mod arguments;
mod commands;
mod connection;
mod line;
mod listen;
mod message;
mod shell;
mod show;
mod top;
mod tunnel;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use circus_protocol::endpoint::{DEFAULT_ENDPOINT, DEFAULT_PUBSUB_ENDPOINT, Endpoint, EndpointError};
use tokio::runtime::{Builder, Runtime};

use crate::cli::output::{data, talk};
use connection::AskError;
use line::{Call, Early, Line};
use message::Message;
use tunnel::{Tunnel, TunnelError};

/// What this program may be called, besides `circusman ctl`.
const NAMES: [(&str, &str); 2] = [("circusctl", ""), ("circus-top", TOP)];
/// The command that is ours.
const TOP: &str = "top";
/// Where the daemon listens, unless `--endpoint` says so.
const ENDPOINT_VARIABLE: &str = "CIRCUSCTL_ENDPOINT";

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Refused = 3,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        (status as u8).into()
    }
}

/// The words for circusctl in our arguments, if they are meant for it: by the name we were started
/// under, or by `ctl` as the first word.
#[must_use]
pub fn meant(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let program = arguments.next()?;
    let program = Path::new(&program).file_name().and_then(OsStr::to_str);
    if let Some((_, verb)) = NAMES.iter().find(|(name, _)| Some(*name) == program) {
        let verb = Some(*verb).filter(|verb| !verb.is_empty()).map(OsString::from);
        return Some(verb.into_iter().chain(arguments).collect());
    }
    (arguments.next()? == "ctl").then(|| arguments.collect())
}

/// circusctl with these words behind its name.
#[must_use]
pub fn main(words: &[OsString]) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some((first, behind)) = words.split_first()
        && first == TOP
    {
        return top::main(behind).into();
    }
    let line = match line::parse(&words) {
        Ok(line) => line,
        Err(early) => return tell(&early).into(),
    };
    if std::env::var_os("AUTO_COMPLETE").is_some() {
        data(&completions());
        return Status::Failed.into();
    }
    if line.help {
        let text = line.call.as_ref().map_or_else(line::help, |call| line::command_help(call.command));
        data(&text);
        return Status::Done.into();
    }
    run(line).into()
}

fn tell(early: &Early) -> Status {
    match early {
        Early::Answer(text) => {
            data(text);
            Status::Done
        }
        Early::Usage(text) => {
            talk(text.trim_end_matches('\n'));
            Status::Usage
        }
    }
}

/// What bash shall offer for the command's name; nothing for what stands behind it.
fn completions() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let position: usize = variable("COMP_CWORD").trim().parse().unwrap_or_default();
    if position != 1 {
        return String::new();
    }
    let typed = variable("COMP_WORDS");
    let begun = typed.split_whitespace().nth(1).unwrap_or_default();
    let words = commands::sorted().into_iter().map(|row| row.word).filter(|word| word.starts_with(begun));
    words.collect::<Vec<_>>().join(" ") + "\n"
}

fn run(line: Line) -> Status {
    let Ok(runtime) = runtime() else { return Status::Failed };
    let call = line.call.is_some();
    let status = match Session::new(&line) {
        Err(error) => {
            talk(&format!("circusctl: {error}"));
            Status::Failed
        }
        Ok(mut session) => match line.call {
            Some(call) => runtime.block_on(session.perform_until_interrupt(&call)),
            None => runtime.block_on(shell::run(&mut session)),
        },
    };
    if !call {
        // A thread that still waits for the keyboard must not hold up the end.
        runtime.shutdown_background();
    }
    status
}

fn runtime() -> Result<Runtime, std::io::Error> {
    Builder::new_current_thread().enable_all().build().inspect_err(|error| {
        talk(&format!("circusctl: cannot start: {error}"));
    })
}

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
enum ReachError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

/// What holds for all commands of a run.
#[derive(Debug)]
struct Session {
    control: Endpoint,
    events: Endpoint,
    limit: Option<Duration>,
    json: bool,
    prettify: bool,
    ssh: Option<String>,
    ssh_keyfile: Option<String>,
    /// The way to `control`, kept for the next command.
    tunnel: Option<Tunnel>,
}

impl Session {
    fn new(line: &Line) -> Result<Self, EndpointError> {
        let variable = std::env::var(ENDPOINT_VARIABLE).ok();
        let given = line.endpoint.as_deref();
        Ok(Self {
            control: given.or(variable.as_deref()).unwrap_or(DEFAULT_ENDPOINT).parse()?,
            // The variable names the control endpoint, so it says nothing here.
            events: given.unwrap_or(DEFAULT_PUBSUB_ENDPOINT).parse()?,
            limit: u64::try_from(line.timeout).ok().map(Duration::from_secs),
            json: line.json,
            prettify: line.prettify,
            ssh: line.ssh.clone(),
            ssh_keyfile: line.ssh_keyfile.clone(),
            tunnel: None,
        })
    }

    async fn perform_until_interrupt(&mut self, call: &Call) -> Status {
        tokio::select! {
            status = self.perform(call) => status,
            _ = tokio::signal::ctrl_c() => Status::Failed,
        }
    }

    async fn perform(&mut self, call: &Call) -> Status {
        match message::build(call.command, &call.given) {
            Ok(Message::Ask(properties)) => self.ask(call, properties).await,
            Ok(Message::Listen(topics)) => self.listen(&topics).await,
            Err(error) => {
                talk(&error.to_string());
                Status::Failed
            }
        }
    }

    async fn ask(&mut self, call: &Call, properties: serde_json::Map<String, serde_json::Value>) -> Status {
        let endpoint = match self.reach().await {
            Ok(endpoint) => endpoint,
            Err(error) => {
                talk(&format!("circusctl: {error}"));
                return Status::Failed;
            }
        };
        match connection::ask(&endpoint, call.command.word, properties, self.limit).await {
            Ok(reply) if self.json => {
                data(&format!("{}\n", show::as_json(&reply, self.prettify)));
                Status::Done
            }
            Ok(reply) if show::failed(&reply) => {
                talk(&show::text(call.command.name, &reply));
                Status::Refused
            }
            Ok(reply) => {
                data(&format!("{}\n", show::text(call.command.name, &reply)));
                Status::Done
            }
            Err(error) => {
                talk(&self.explained(&error));
                Status::Failed
            }
        }
    }

    async fn listen(&mut self, topics: &[String]) -> Status {
        let tunnel = match &self.ssh {
            None => Ok(None),
            Some(ssh) => tunnel::open(ssh, self.ssh_keyfile.as_deref(), &self.events).await.map(Some),
        };
        let tunnel = match tunnel {
            Ok(tunnel) => tunnel,
            Err(error) => {
                talk(&format!("circusctl: {error}"));
                return Status::Failed;
            }
        };
        let endpoint = tunnel.as_ref().map_or(&self.events, |tunnel| &tunnel.endpoint);
        if let Err(error) = listen::listen(endpoint, topics).await {
            talk(&format!("circusctl: {error}"));
        }
        Status::Failed
    }

    /// Where to connect to, through a tunnel if one is wanted.
    async fn reach(&mut self) -> Result<Endpoint, ReachError> {
        let Some(ssh) = &self.ssh else { return Ok(self.control.clone()) };
        if let Some(tunnel) = &mut self.tunnel
            && tunnel.is_alive()
        {
            return Ok(tunnel.endpoint.clone());
        }
        let tunnel = tunnel::open(ssh, self.ssh_keyfile.as_deref(), &self.control).await?;
        Ok(self.tunnel.insert(tunnel).endpoint.clone())
    }

    /// The first line of a time-out is stock's; what may be wrong and what helps is ours.
    fn explained(&self, error: &AskError) -> String {
        let control = &self.control;
        let seconds = self.limit.unwrap_or_default().as_secs();
        match error {
            AskError::TimedOut { down: Some(reason) } => format!(
                "{error}\n\nNo connection to {control}: {reason}.\n\
                 Is that the daemon's endpoint? --endpoint and {ENDPOINT_VARIABLE} choose another one."
            ),
            AskError::TimedOut { down: None } => format!(
                "{error}\n\nNo reply from {control} within {seconds} s. It may still carry out the command;\n\
                 give it more time with --timeout, above all together with --waiting."
            ),
            AskError::Endpoint(_) | AskError::Broken { .. } | AskError::Send(_) => {
                format!("circusctl: {error}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_when_it_is_meant() {
        let meant = |words: &[&str]| {
            let words = meant(words.iter().map(OsString::from))?;
            Some(words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(meant(&["/usr/bin/circusctl", "list", "a"]).as_deref(), Some("list a"));
        assert_eq!(meant(&["circus-top", "--help"]).as_deref(), Some("top --help"));
        assert_eq!(meant(&["circusman", "ctl", "list"]).as_deref(), Some("list"));
        assert_eq!(meant(&["circusman", "list"]), None);
        assert_eq!((meant(&["circusman"]), meant(&[])), (None, None));
    }
}

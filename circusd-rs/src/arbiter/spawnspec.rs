//! From a watcher's options to what one process is started with: words, environment, descriptors.
//!
//! It refuses to look anything up: users, limits and programs are the host's to find.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::json::python_repr;
use circus_protocol::number::Wid;
use serde_json::Value;

use crate::arbiter::effect::{SocketUse, SpawnSpec, Stdio, fresh_socket};
use crate::arbiter::id::WatcherId;
use crate::arbiter::question::Preparation;
use crate::arbiter::sockets::Bound;
use crate::arbiter::words;
use crate::config::{StreamConfig, WatcherConfig, expand, option};

/// What `shell` runs.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Everything resolved for worker `wid`; the error is what circus would have raised.
pub(super) fn build(
    config: &WatcherConfig,
    id: WatcherId,
    wid: Wid,
    sockets: &Bound,
    preparation: Option<Arc<Preparation>>,
    looks: Option<Duration>,
) -> Result<Arc<SpawnSpec>, String> {
    let (argv, fresh) = argv(config, wid, sockets)?;
    Ok(Arc::new(SpawnSpec {
        watcher: config.name.original().to_owned(),
        watcher_id: id,
        wid,
        argv,
        env: environment(config),
        working_dir: config.working_dir.clone(),
        uid: config.uid.as_ref().map(ToString::to_string),
        gid: config.gid.as_ref().map(ToString::to_string),
        rlimits: config.rlimits.iter().map(|(name, limit)| (name.clone(), *limit)).collect(),
        stdin: if config.close_child_stdin { Stdio::Null } else { Stdio::Inherit },
        stdout: output(config.close_child_stdout, config.stdout_stream.as_ref()),
        stderr: output(config.close_child_stderr, config.stderr_stream.as_ref()),
        sockets: SocketUse { inherit: config.use_sockets, fresh, stdin: stdin_socket(config, sockets)? },
        preparation,
        looks,
    }))
}

fn output(closed: bool, stream: Option<&StreamConfig>) -> Stdio {
    match (closed, stream) {
        (true, _) => Stdio::Null,
        (false, Some(_)) => Stdio::Stream,
        (false, None) => Stdio::Inherit,
    }
}

fn environment(config: &WatcherConfig) -> Vec<(String, String)> {
    config.env.iter().flat_map(|env| env.iter()).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn stdin_socket(config: &WatcherConfig, sockets: &Bound) -> Result<Option<String>, String> {
    let Some(name) = &config.stdin_socket else { return Ok(None) };
    let key = name.to_lowercase();
    if sockets.contains_key(&key) {
        return Ok(Some(key));
    }
    Err(format!("stdin_socket: there is no socket '{name}'"))
}

/// The words, and the sockets whose number in them is known when the process is made.
fn argv(
    config: &WatcherConfig,
    wid: Wid,
    sockets: &Bound,
) -> Result<(Vec<String>, BTreeSet<String>), String> {
    let fresh = RefCell::new(BTreeSet::new());
    let value = |key: &str| match key.strip_prefix("sockets.") {
        Some(name) => number(sockets, name, &fresh),
        None => variable(config, wid, key),
    };
    let argv = words_of(config, |text| {
        expand::variables_within(text, value, expand::MAX_EXPANDED).ok_or_else(|| {
            format!("with its variables replaced, a value is longer than {} bytes", expand::MAX_EXPANDED)
        })
    })?;
    Ok((argv, fresh.into_inner()))
}

/// The number of a managed socket; one with `so_reuseport` has a number only in the process.
fn number(sockets: &Bound, name: &str, fresh: &RefCell<BTreeSet<String>>) -> Option<String> {
    let socket = sockets.get(name)?;
    if !socket.config.so_reuseport {
        return Some(socket.fd.to_string());
    }
    fresh.borrow_mut().insert(name.to_owned());
    Some(fresh_socket(name))
}

fn words_of(
    config: &WatcherConfig,
    expand: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, String> {
    let split = |text: &str| words::split(&expand(text)?).map_err(|error| format!("{error} in '{text}'"));
    let mut argv = split(&config.cmd)?;
    match &config.args {
        Value::Null => {}
        Value::String(text) => argv.extend(split(text)?),
        Value::Array(items) => {
            for item in items {
                argv.push(expand(&words::text(item))?);
            }
        }
        other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            return Err(format!("args must be text or a list, not {}", python_repr(other)));
        }
    }
    if argv.first().is_none_or(String::is_empty) {
        return Err("cmd is empty: nothing to run".to_owned());
    }
    if config.shell {
        let line = argv.iter().map(|word| words::quote(word)).collect::<Vec<_>>().join(" ");
        argv = SHELL.iter().map(|word| (*word).to_owned()).chain([line]).collect();
        argv.extend(split(config.shell_args.as_deref().unwrap_or_default())?);
    }
    match argv.iter().find(|word| word.contains('\0')) {
        Some(word) => Err(format!("embedded null byte in {word:?}")),
        None => Ok(argv),
    }
}

/// The value of `$(circus.KEY)`; `None` leaves it as it stands.
fn variable(config: &WatcherConfig, wid: Wid, key: &str) -> Option<String> {
    if key == "wid" {
        return Some(wid.to_string());
    }
    if let Some(name) = key.strip_prefix("env.") {
        let mut variables = config.env.iter().flat_map(|env| env.iter());
        return variables.find(|(known, _)| known.to_lowercase() == name).map(|(_, value)| value.clone());
    }
    if let Some(name) = key.strip_prefix("rlimits.") {
        let limit = config.rlimits.get(name)?;
        return Some(limit.map_or_else(|| "None".to_owned(), |limit| limit.to_string()));
    }
    if key == "use_fds" {
        return Some(words::text(&Value::Bool(config.use_sockets)));
    }
    option::row(key).and_then(|row| row.visible(config)).as_ref().map(words::text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arbiter::tests::play::watcher;

    fn check(change: impl FnOnce(&mut WatcherConfig)) -> Result<Vec<String>, String> {
        let mut config = watcher("Web");
        change(&mut config);
        argv(&config, Wid(3), &Bound::new()).map(|(argv, _)| argv)
    }

    #[test]
    fn a_value_that_would_be_too_long_is_refused() {
        let result = check(|config| config.args = "$(circus.cmd)".repeat(4000).into());
        assert_eq!(result.unwrap().len(), 2, "4000 times `prog`");
        let result =
            check(|config| config.cmd = format!("{}{}", "$(circus.cmd)".repeat(400), "x".repeat(4000)));
        assert_eq!(result.unwrap_err(), "with its variables replaced, a value is longer than 1048576 bytes");
    }

    #[test]
    fn words_come_from_cmd_and_args() {
        let argv = check(|config| {
            config.cmd = "prog 'a b' --id $(circus.wid)".to_owned();
            config.args = Value::from("x ((CIRCUS.NumProcesses)) $(circus.nope) (y)");
        });
        assert_eq!(argv.unwrap(), ["prog", "a b", "--id", "3", "x", "1", "$(circus.nope)", "(y)"]);
        let argv = check(|config| {
            config.cmd = "prog".to_owned();
            config.args = serde_json::json!(["a b", 7, "$(circus.env.home)"]);
            config.env = Some(Arc::new([("HOME".to_owned(), "/h".to_owned())].into()));
        });
        assert_eq!(argv.unwrap(), ["prog", "a b", "7", "/h"]);
    }

    #[test]
    fn shell_quotes_every_word() {
        let argv = check(|config| {
            config.cmd = "prog $HOME '*' && echo".to_owned();
            config.shell = true;
            config.shell_args = Some("one $(circus.stop_signal)".to_owned());
        });
        assert_eq!(argv.unwrap(), ["/bin/sh", "-c", "prog '$HOME' '*' '&&' echo", "one", "15"]);
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert_eq!(check(|config| config.cmd.clear()).unwrap_err(), "cmd is empty: nothing to run");
        assert!(
            check(|config| config.cmd = "'open".to_owned()).unwrap_err().contains("No closing quotation")
        );
        assert!(check(|config| config.args = Value::from(7)).unwrap_err().contains('7'));
    }
}

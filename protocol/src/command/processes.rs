//! `kill` and `signal`: which processes get which signal.

use serde_json::Value;

use super::arguments::{Arguments, integer, number, raised, refuse};
use super::{Kill, SignalCommand, SignalTarget};
use crate::json;
use crate::number::{Signal, int};
use crate::reply::Refusal;

/// The pid of no process: what circus silently ignores is addressed to it.
pub const NOBODY: i64 = 0;

/// The arguments of `kill`.
pub(super) fn kill(arguments: &Arguments<'_>) -> Result<Kill, Refusal> {
    arguments.require(&["name"])?;
    // circus takes pid 0 for "no pid given".
    let pid = arguments.find("pid")?.map(int).transpose()?.filter(|pid| *pid != 0);
    let signal = arguments.find("signum")?.map(Signal::parse).transpose()?;
    let graceful_timeout = match arguments.get("graceful_timeout")? {
        None | Some(Value::Null) => None,
        Some(value) => match number(value) {
            Some(seconds) => Some(seconds),
            None => {
                return refuse(format!("'graceful_timeout' isn't a number: {}", json::python_repr(value)));
            }
        },
    };
    let waiting = arguments.waiting()?;
    Ok(Kill { name: arguments.required_name(&[])?, pid, signal, graceful_timeout, waiting })
}

/// The arguments of `signal`.
pub(super) fn signal(arguments: &Arguments<'_>) -> Result<SignalCommand, Refusal> {
    arguments.require(&["name", "signum"])?;
    let pid = arguments.find("pid")?;
    if pid.is_none() && arguments.find("childpid")?.is_some() {
        return raised("cannot specify childpid without pid");
    }
    let signal = arguments.find("signum")?.map_or(Ok(Signal(0)), Signal::parse)?;
    let name = arguments.required_name(&["signum"])?;
    Ok(SignalCommand { name, signal, target: target(arguments, pid)? })
}

fn target(arguments: &Arguments<'_>, pid: Option<&Value>) -> Result<SignalTarget, Refusal> {
    let child = arguments.get("childpid")?.filter(|child| json::truthy(child));
    if let (Some(child), Some(pid)) = (child, pid) {
        return match integer(pid) {
            Some(pid) => Ok(SignalTarget::Child { pid, child: int(child)? }),
            None => raised(&json::python_repr(pid)),
        };
    }
    if arguments.flag("children", false)? {
        return Ok(SignalTarget::Children { pid: pid.map(int).transpose()? });
    }
    if arguments.flag("recursive", false)? {
        return Ok(SignalTarget::Recursive { pid: pid.map(int).transpose()? });
    }
    // A pid in text is nobody's to circus, without a word.
    Ok(SignalTarget::Processes { pid: pid.map(|pid| integer(pid).unwrap_or(NOBODY)) })
}

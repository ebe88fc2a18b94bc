//! Whether there is a Python with circus on this machine, and whether it knows a class.
//!
//! Asked only when a configuration names a plugin that is not built in.
#![expect(clippy::disallowed_methods, reason = "this is the host's, and asks an interpreter")]

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Names the interpreter, where `python3` on the PATH is not the one.
pub const VARIABLE: &str = "CIRCUSD_RS_PYTHON";

/// How long Python may take to import a plugin.
const IMPORT: Duration = Duration::from_secs(20);

/// What the interpreter says when all is well. Its exit status is not asked for: while the daemon
/// runs, another thread may have collected it.
const WELL: &str = "circusd-rs: importable";

/// Imports circus and then the class; the reason of a failure is the last line.
const PROBE: &str = "\
import sys
from circus.util import resolve_name
resolve_name(sys.argv[1])
print('circusd-rs: importable')
";

/// Why a class cannot be run in Python.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    /// Neither the variable nor the PATH leads to one.
    #[error(
        "it is not built in, and there is no python3 on the PATH to run it with; set {VARIABLE} to a Python that has circus"
    )]
    Absent,
    /// It is there and does not start.
    #[error("{python} cannot be run: {source}")]
    Run { python: String, source: io::Error },
    /// It does not know the class, or has no circus.
    #[error("it is not built in, and {python} cannot import it: {reason}")]
    Import { python: String, reason: String },
    /// It does not come to an end.
    #[error("{python} did not import it within {} s", IMPORT.as_secs())]
    Slow { python: String },
}

/// The interpreter that can import the class.
pub(crate) fn importable(class: &str) -> Result<String, PythonError> {
    let python = interpreter().ok_or(PythonError::Absent)?.to_string_lossy().into_owned();
    let failed = |source| PythonError::Run { python: python.clone(), source };
    let mut child = Command::new(&python)
        .args(["-c", PROBE, class])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let (said, ended) = mpsc::channel();
    let pipes = (child.stdout.take(), child.stderr.take());
    thread::Builder::new()
        .name("python".to_owned())
        .spawn(move || {
            // What cannot be read is as good as not said. A traceback fits into a pipe.
            let said_on_both = (text_of(pipes.0), text_of(pipes.1));
            let _too_late = said.send(said_on_both);
        })
        .map_err(failed)?;
    let answer = ended.recv_timeout(IMPORT);
    if answer.is_err() {
        let _ended_after_all = child.kill();
    }
    let _collected_elsewhere = child.wait();
    let (out, err) = answer.map_err(|_| PythonError::Slow { python: python.clone() })?;
    if out.lines().any(|line| line == WELL) {
        return Ok(python);
    }
    let reason =
        err.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned();
    Err(PythonError::Import { python, reason })
}

fn text_of(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _unreadable = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn interpreter() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os(VARIABLE).filter(|python| !python.is_empty()) {
        return Some(PathBuf::from(python));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join("python3"))
        .find(|python| Path::is_file(python))
}

//! A simulated cluster for the benchmarks of the console: `circusman simulate`, in a process of its own.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use circus_tests::daemon::built;

/// A process that is ended when dropped.
pub(crate) struct Ended(pub(crate) Child);

impl Ended {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap_or(0)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// So many nodes, and their SPEC.
pub(crate) fn start(nodes: usize, more: &[&str]) -> io::Result<(Ended, String)> {
    let mut command = Command::new(built("circusman"));
    command.args(["simulate", "--nodes", &nodes.to_string()]).args(more);
    let mut child = Ended(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
    let stdout = child.0.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let mut spec = String::new();
    BufReader::new(stdout).read_line(&mut spec)?;
    Ok((child, spec.trim().to_owned()))
}

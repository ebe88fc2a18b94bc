//! A Python process with pyzmq that does what it is told. Found as `CIRCUS_TEST_PYTHON`, else as
//! `target/stock/bin/python`; without it the test fails and says how to get it.
#![expect(clippy::disallowed_methods, reason = "the other implementation lives in a process of its own")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;
use tokio::sync::mpsc;

use crate::common::soon;

pub(crate) struct Python {
    child: Child,
    stdin: ChildStdin,
    answers: mpsc::UnboundedReceiver<String>,
}

impl Python {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(interpreter())
            .args(["-c", include_str!("peer.py")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, answers) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, stdin, answers }
    }

    /// Tells without waiting, so that our side can do its part meanwhile.
    pub(crate) fn tell(&mut self, order: Value) {
        writeln!(self.stdin, "{order}").expect("python listens");
    }

    /// The answer to the oldest order not yet answered.
    pub(crate) async fn hear(&mut self) -> Value {
        let line = soon(self.answers.recv()).await.expect("python answers");
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        assert!(answer["error"].is_null(), "python: {answer}");
        answer["ok"].take()
    }

    pub(crate) async fn ask(&mut self, order: Value) -> Value {
        self.tell(order);
        self.hear().await
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("pid"));
        nix::sys::signal::kill(pid, signal).expect("python lives");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interpreter() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let found = std::env::var_os("CIRCUS_TEST_PYTHON")
        .map_or_else(|| root.join("target/stock/bin/python"), PathBuf::from);
    assert!(
        found.exists(),
        "no python with pyzmq at {}: run tests/setup, or set CIRCUS_TEST_PYTHON",
        found.display()
    );
    found
}

//! What the host is asked about a service: the questions of a probe, and what comes before a start.
//!
//! Everything is resolved; nothing here knows variables, services or how an answer is found.

use std::path::PathBuf;
use std::time::Duration;

use circus_protocol::service::Login;

/// One try of a probe: all questions must be answered with yes.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeCall {
    /// The watcher's name as configured, for the log.
    pub watcher: String,
    /// In this order; the first no is the answer.
    pub questions: Vec<Question>,
    /// How long all of it may take.
    pub limit: Duration,
    /// The environment of programs: that of the watcher's processes.
    pub env: Vec<(String, String)>,
    /// Where programs run.
    pub working_dir: String,
    /// As whom; the daemon's own user when absent.
    pub uid: Option<String>,
    /// As which group.
    pub gid: Option<String>,
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Does somebody accept connections at `host:port`?
    Tcp(String),
    /// Does an address answer well?
    Http {
        /// What is fetched.
        url: String,
        /// Which statuses are good.
        status: Vec<u16>,
        /// A regular expression for the body.
        body: Option<String>,
        /// Who asks.
        login: Option<Login>,
    },
    /// Does a program end well?
    Exec {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Which exit statuses are good.
        exit_codes: Vec<u8>,
        /// A regular expression for its output.
        output: Option<String>,
    },
    /// Has a line like this been written since the start?
    Log {
        /// The file.
        file: PathBuf,
        /// A regular expression for a line.
        pattern: String,
    },
}

/// What is done right before the first process of a watcher is started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preparation {
    /// Files that a dead predecessor may have left behind.
    pub remove: Vec<PathBuf>,
    /// Log files of which only what comes from now on counts.
    pub logs: Vec<PathBuf>,
}

impl Preparation {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.logs.is_empty()
    }
}

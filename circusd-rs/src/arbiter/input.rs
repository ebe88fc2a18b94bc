//! Everything that can happen to the arbiter.

use std::time::Duration;

use circus_protocol::command::Command;
use circus_protocol::number::Pid;
use circus_protocol::reply::Refusal;
use circus_protocol::service::preflight::Facts;
use circus_protocol::service::{ConfigureOutcome, ResetOutcome};
use serde_json::{Map, Value};

use crate::arbiter::id::{JobId, Key, ReplyTo, SampleTag, WatcherId};
use crate::config::Config;
use crate::config::socket::SocketConfig;

/// Everything that can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A client asked for something; a cast has nowhere to reply to.
    Command {
        /// What.
        command: Command,
        /// Whom to answer.
        reply: Option<ReplyTo>,
    },
    /// The configuration was read, at start-up or because `ReadConfig` asked for it.
    Config(Result<Box<Config>, Vec<String>>),
    /// A process runs: fork and exec succeeded.
    Spawned {
        /// Which.
        key: Key,
        /// Its number.
        pid: Pid,
    },
    /// A process could not be started.
    SpawnFailed {
        /// Which.
        key: Key,
        /// Why, in circus' words: `[Errno 2] No such file or directory: 'prog'`.
        error: String,
        /// The system had no room for it just then (descriptors, processes, memory): this says nothing
        /// about the program, so it is tried again and `max_retry` does not count it.
        transient: bool,
    },
    /// A process ended and was reaped.
    Exited {
        /// Which.
        key: Key,
        /// Exit status, or minus the signal number.
        exit_code: Option<i32>,
        /// Others of its tree still live; a `Gone` follows when they do not.
        lingering: bool,
        /// What the kernel has counted, if it may have been ended for want of memory.
        oom: Option<OomKills>,
        /// What it has used, if the kernel told.
        usage: Option<Usage>,
    },
    /// The last of a lingering tree is gone.
    Gone {
        /// Whose tree.
        key: Key,
    },
    /// Figures asked for by `Sample`.
    Sampled {
        /// Which question.
        tag: SampleTag,
        /// One object for each process asked for, in that order; `None` when it is gone.
        figures: Vec<Option<Map<String, Value>>>,
    },
    /// A `Deliver` was carried out.
    Delivered {
        /// Which.
        job: JobId,
        /// Or what the kernel said.
        result: Result<(), Refusal>,
    },
    /// A `ReadLog` was carried out.
    LogRead {
        /// Which.
        job: JobId,
        /// What was read, or why nothing could be.
        result: Result<Box<LogText>, String>,
    },
    /// A `Recall` was carried out.
    Recalled {
        /// Which.
        job: JobId,
        /// What is known; nothing, where nothing is.
        words: Box<LastWords>,
    },
    /// A `Configure` was carried out, or refused with everything that is wrong.
    Configured {
        /// Which.
        job: JobId,
        /// What was written.
        result: Result<Box<ConfigureOutcome>, Vec<String>>,
    },
    /// A `Reset` was carried out.
    ResetDone {
        /// Which.
        job: JobId,
        /// What went.
        result: Result<Box<ResetOutcome>, Vec<String>>,
    },
    /// A `Preflight` was carried out.
    Preflighted {
        /// Which.
        job: JobId,
        /// What was found, one for each look.
        facts: Vec<Facts>,
    },
    /// A probe has its answer.
    Probed {
        /// Whose.
        watcher: WatcherId,
        /// The number of the question.
        attempt: u64,
        /// Yes, or why not.
        result: Result<(), String>,
    },
    /// A hook has returned, raised, or taken too long.
    HookDone {
        /// Which call.
        job: JobId,
        /// What came of it.
        outcome: HookOutcome,
    },
    /// A `LoadHooks` was carried out.
    HooksLoaded {
        /// Which.
        job: JobId,
        /// Or what the first that failed said.
        result: Result<(), String>,
    },
    /// A `Sockets` was carried out, as far as it could be.
    SocketsChanged {
        /// Which.
        job: JobId,
        /// All sockets that there are now; `None` when nothing was touched.
        sockets: Option<Vec<BoundSocket>>,
        /// What could not be done; those sockets are as they were, or not there.
        errors: Vec<String>,
    },
    /// A watched socket is readable.
    SocketReady {
        /// Its name.
        socket: String,
    },
    /// A signal to the daemon.
    Interrupted(Interrupt),
    /// A deadline may have passed.
    Tick,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogText {
    /// What is no UTF-8 is replaced.
    pub text: String,
    /// The position of its first byte, or 0 when that is in an older file.
    pub offset: u64,
    /// Where to go on.
    pub next_offset: u64,
    /// Nothing more is there now.
    pub eof: bool,
    /// The file that `next_offset` is a position of.
    pub generation: Option<String>,
}

/// How many processes the kernel has ended for want of memory while one lived that SIGKILL ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomKills {
    /// In the process' own tree, as its cgroup counts: any is proof. `None` when nobody counts.
    pub tree: Option<u64>,
    /// On the whole machine, this tree or another: none is proof that it was something else.
    pub machine: Option<u64>,
}

/// What a process had used when it ended, and whether it left a core dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The kernel wrote one.
    pub core: bool,
    /// The most memory it held at once, in bytes.
    pub max_rss: u64,
    /// Its own time on a processor and that of the children it waited for.
    pub cpu: Duration,
}

/// What a process that died wrote last, and what is wrong with one that could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastWords {
    /// What is no UTF-8 is replaced.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// Looked at now, if it was asked for.
    pub program: Option<Program>,
}

/// What can be seen of a program that could not be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// There is none of that name.
    Missing,
    /// Nobody may execute the file.
    NotExecutable,
    /// Its first line names this, which does not exist.
    NoInterpreter(String),
    /// Nothing is wrong with it, as far as can be seen.
    Sound,
}

/// What came of a hook's call.
#[derive(Debug, Clone, PartialEq)]
pub enum HookOutcome {
    /// It returned something that counts as true, or not.
    Returned {
        /// As Python judges truth; exit status 0 of an executable.
        truth: bool,
        /// What it left of the `stats` it was given.
        stats: Option<Map<String, Value>>,
    },
    /// It raised, could not be called, or took too long: the error's text.
    Raised(String),
}

/// What a signal to the daemon means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// TERM, INT, QUIT: the first stops gracefully, the second kills, the third leaves at once.
    Stop,
    /// HUP: reload everything.
    Reload,
}

/// A managed socket that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundSocket {
    /// What it was made from.
    pub config: SocketConfig,
    /// Its descriptor's number, in the daemon and in children that get it.
    pub fd: i32,
    /// Where it really is.
    pub address: BoundAddress,
}

/// Where a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// On the network.
    Inet {
        /// The resolved address.
        host: String,
        /// The real port.
        port: u16,
    },
    /// In the file system.
    Unix {
        /// As configured.
        path: String,
    },
}

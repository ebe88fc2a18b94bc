//! Everything that can happen to the arbiter.

use std::time::Duration;

use circus_protocol::command::Command;
use circus_protocol::number::Pid;
use circus_protocol::reply::Refusal;
use circus_protocol::service::preflight::Facts;
use circus_protocol::service::{ConfigureOutcome, ResetOutcome};
use serde_json::{Map, Value};

use crate::arbiter::effect::Feed;
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
        /// What is wrong with the watcher's streams now.
        troubles: Vec<StreamTrouble>,
    },
    /// A watcher's output cannot be written, or can be again. Only the last state of each stream is told.
    Output {
        /// Whose.
        watcher: WatcherId,
        /// How it is now.
        state: StreamState,
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
    /// What is no UTF-8 is replaced; or base64.
    pub text: String,
    /// Whether it is base64.
    pub binary: bool,
    /// The position of its first byte, or 0 when that is in an older file.
    pub offset: u64,
    /// Where to go on.
    pub next_offset: u64,
    /// Nothing more is there now.
    pub eof: bool,
    /// The file that `next_offset` is a position of.
    pub generation: Option<String>,
    /// Seconds that this machine's local time is ahead of UTC, for time stamps without a zone.
    pub zone: i32,
}

/// How many processes the kernel has ended for want of memory while one lived that SIGKILL ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OomKills {
    /// In the process' own tree, as its cgroup counts: any is proof. `None` when nobody counts.
    pub tree: Option<u64>,
    /// In the smallest group around it whose memory is counted; `None` where there is none.
    pub group: Option<MemoryGroup>,
    /// On the whole machine, this tree or another: none is proof that it was something else.
    pub machine: Option<u64>,
}

/// A control group whose memory is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryGroup {
    /// How many were killed in it while the process lived; none is proof that it was something else.
    pub kills: u64,
    /// The lowest limit on it or around it, in bytes, and the folder that has it.
    pub limit: Option<(u64, String)>,
    /// The most it has used so far, in bytes.
    pub peak: Option<u64>,
}

/// What a process had used when it ended, and whether it left a core dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The kernel wrote one.
    pub core: bool,
    /// The most memory it held at once, in bytes.
    pub max_rss: u64,
    /// Whether that is its own figure. Before it executed its program it was a copy of the daemon, and the
    /// kernel counts that: who stayed smaller used at most so much.
    pub max_rss_exact: bool,
    /// Its own time on a processor and that of the children it waited for.
    pub cpu: Duration,
}

/// What a process and all who descend from it used at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Unix time.
    pub at: f64,
    /// Percent of one processor since the figures before.
    pub cpu: f64,
    /// Resident bytes; pages that several share count for each.
    pub memory: u64,
    /// How many they were.
    pub processes: u32,
}

/// What is remembered of a process that died, and what is wrong with one that could not be started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LastWords {
    /// What is no UTF-8 is replaced.
    pub stdout: String,
    /// The same.
    pub stderr: String,
    /// Looked at now, if it was asked for.
    pub program: Option<Program>,
    /// Its last minutes, the oldest first; none where nobody looked.
    pub figures: Vec<Figures>,
}

/// How a stream is.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamState {
    /// It can be written again, or nobody wants to any more.
    Works {
        /// Which.
        feed: Feed,
        /// What was lost meanwhile, in bytes.
        lost_bytes: u64,
        /// The same, in lines.
        lost_lines: u64,
    },
    /// It cannot be written.
    Fails(StreamTrouble),
}

impl StreamState {
    /// Which it is.
    #[must_use]
    pub fn feed(&self) -> Feed {
        match self {
            Self::Works { feed, .. } => *feed,
            Self::Fails(trouble) => trouble.feed,
        }
    }
}

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamTrouble {
    /// Which.
    pub feed: Feed,
    /// What the system said at first.
    pub error: String,
    /// Unix time at which that was.
    pub since: f64,
    /// Whether the processes wait (`on_full = block`); otherwise what they print is lost.
    pub waits: bool,
    /// What was lost so far, in bytes.
    pub lost_bytes: u64,
    /// The same, in lines.
    pub lost_lines: u64,
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

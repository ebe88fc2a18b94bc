//! Everything the arbiter can ask for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::command::LogPart;
use circus_protocol::event::Event;
use circus_protocol::number::{Pid, Signal, Wid};
use circus_protocol::reply::Reply;
use circus_protocol::service::preflight::Look;
use circus_protocol::service::{ConfigureJob, ResetJob};
use serde_json::{Map, Value};

use crate::arbiter::id::{JobId, Key, ReplyTo, SampleTag, WatcherId};
use crate::arbiter::question::{Preparation, ProbeCall};
use crate::config::StreamConfig;
use crate::config::diff::SocketChange;

/// Everything we can ask for. Performed in order; matched without wildcard.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Effect {
    /// Start a process.
    Spawn {
        /// Its name from now on.
        key: Key,
        /// How.
        spec: Arc<SpawnSpec>,
    },
    /// Signal a process of ours, no answer wanted.
    Signal {
        /// Which process.
        key: Key,
        /// What.
        signal: Signal,
        /// How far it reaches.
        reach: Reach,
    },
    /// Signal processes for a client who wants to know what the kernel said.
    Deliver {
        /// Answered by `Delivered`.
        job: JobId,
        /// Which processes.
        keys: Vec<Key>,
        /// What.
        signal: Signal,
        /// How far it reaches.
        reach: Reach,
    },
    /// (Re)open a watcher's output streams; processes spawned later write there, and running ones
    /// switch over.
    OpenStreams {
        /// Whose.
        watcher: WatcherId,
        /// What it is called when something is wrong with them.
        name: Box<str>,
        /// Where stdout goes; `None` inherits.
        stdout: Option<StreamConfig>,
        /// Where stderr goes; `None` inherits.
        stderr: Option<StreamConfig>,
    },
    /// Close a watcher's output streams, after what is still in the pipes was written.
    CloseStreams {
        /// Whose.
        watcher: WatcherId,
    },
    /// The watcher is no more: nobody will ask what its processes printed.
    ForgetStreams {
        /// Whose.
        watcher: WatcherId,
    },
    /// Read what was logged.
    ReadLog {
        /// Answered by `LogRead`.
        job: JobId,
        /// What of it.
        question: Box<LogQuestion>,
    },
    /// Tell what a process that died wrote last.
    Recall {
        /// Answered by `Recalled`.
        job: JobId,
        /// Whose.
        question: Box<Recollection>,
    },
    /// Read figures.
    Sample {
        /// Answered by `Sampled`.
        tag: SampleTag,
        /// Of whom.
        targets: Vec<SampleTarget>,
    },
    /// Call a hook, wherever it is written; answered by `HookDone`, at the latest after its limit.
    RunHook {
        /// Answered by `HookDone`.
        job: JobId,
        /// What, with what.
        call: Box<HookCall>,
    },
    /// Import Python hooks, anew if they were imported before.
    LoadHooks {
        /// Answered by `HooksLoaded`.
        job: JobId,
        /// Which.
        load: Box<HookLoad>,
    },
    /// Ask how far a service has come; answered by `Probed`.
    Probe {
        /// Whose.
        watcher: WatcherId,
        /// The number of the question, which grows with each of this watcher's.
        attempt: u64,
        /// What to ask.
        call: Box<ProbeCall>,
    },
    /// The answer is not wanted any more; what was started for it ends.
    CancelProbe {
        /// Whose.
        watcher: WatcherId,
        /// Which question.
        attempt: u64,
    },
    /// Read the configuration files again; answered by `Config`.
    ReadConfig,
    /// Render and write configuration files.
    Configure {
        /// Answered by `Configured`.
        job: JobId,
        /// What.
        work: Box<ConfigureJob>,
    },
    /// Move data aside, or bring it back.
    Reset {
        /// Answered by `ResetDone`.
        job: JobId,
        /// What.
        work: Box<ResetJob>,
    },
    /// Look at what a start would meet.
    Preflight {
        /// Answered by `Preflighted`.
        job: JobId,
        /// Where to look, one for each service.
        looks: Vec<Look>,
    },
    /// Open, change and close managed sockets.
    Sockets {
        /// Answered by `SocketsChanged`.
        job: JobId,
        /// What, in this order.
        changes: Vec<SocketChange>,
    },
    /// Watch these managed sockets, and no others, for somebody who knocks.
    Watch {
        /// By name.
        sockets: BTreeSet<String>,
    },
    /// Publish an event.
    Publish(Event),
    /// Answer a client.
    Reply {
        /// Whom.
        to: ReplyTo,
        /// What.
        reply: Reply,
    },
    /// Say something in the log.
    Log {
        /// How loud.
        level: LogLevel,
        /// The watcher it is about, as configured.
        watcher: Option<String>,
        /// What.
        text: String,
    },
    /// End the daemon; the loop leaves after the effects before this one.
    Exit {
        /// The process' exit status.
        code: u8,
    },
}

/// A question about a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogQuestion {
    /// Whose.
    pub watcher: WatcherId,
    /// Where it is.
    pub place: LogPlace,
    /// Which part of it.
    pub part: LogPart,
    /// As base64 instead of text.
    pub binary: bool,
}

/// Whose last words are wanted, and what program is to be looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Recollection {
    /// The watcher.
    pub watcher: WatcherId,
    /// The process.
    pub key: Option<Key>,
    /// What could not be started.
    pub program: Option<Arc<SpawnSpec>>,
}

/// Where a log is.
#[derive(Debug, Clone, PartialEq)]
pub enum LogPlace {
    /// Where this stream goes.
    Stream(Feed, Box<StreamConfig>),
    /// In a file that the service declares.
    File(String),
}

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feed {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Feed {
    /// What circus calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One call of a hook: everything it may see.
#[derive(Debug, Clone, PartialEq)]
pub struct HookCall {
    /// `before_start`, …
    pub hook: String,
    /// Where it is.
    pub callee: Callee,
    /// The watcher's name as configured.
    pub watcher: String,
    /// What a hook can read of its watcher: options, pids.
    pub facts: Map<String, Value>,
    /// The environment of the watcher's processes.
    pub env: Vec<(String, String)>,
    /// Where they run.
    pub working_dir: String,
    /// What a hook can read of the arbiter: its endpoints.
    pub arbiter: Map<String, Value>,
    /// What this call is about: `pid`, `signum`, …
    pub extra: Map<String, Value>,
    /// Directories for Python to look in.
    pub search: Vec<String>,
    /// How long it may take.
    pub limit: Duration,
}

/// Where a hook is.
#[derive(Debug, Clone, PartialEq)]
pub enum Callee {
    /// `package.module.function` or `package.module:function`.
    Python(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

/// Python hooks that must be there before they are taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct HookLoad {
    /// Dotted paths, in order.
    pub paths: Vec<String>,
    /// Directories for Python to look in.
    pub search: Vec<String>,
    /// Import again what was imported before.
    pub again: bool,
    /// How long it may take.
    pub limit: Duration,
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Someone must act.
    Error,
    /// We recovered.
    Warn,
    /// Lifecycle.
    Info,
}

/// How far a signal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The process alone.
    Process,
    /// The process and its direct children.
    WithChildren,
    /// The direct children alone.
    Children,
    /// The process' whole group and all descendants that can still be found.
    Tree,
    /// One direct child; anybody else is refused.
    Child(Pid),
}

/// How to start a process: everything resolved, nothing left to decide.
#[derive(Debug, Clone, PartialEq)]
pub struct SpawnSpec {
    /// For the log and for fancy streams.
    pub watcher: String,
    /// Whose streams the output goes to.
    pub watcher_id: WatcherId,
    /// The worker id.
    pub wid: Wid,
    /// Program and arguments; the program is looked up in the child's PATH.
    pub argv: Vec<String>,
    /// The complete environment.
    pub env: Vec<(String, String)>,
    /// Where to start.
    pub working_dir: String,
    /// User number or name.
    pub uid: Option<String>,
    /// Group number or name.
    pub gid: Option<String>,
    /// Resource and limit; `None` for unlimited.
    pub rlimits: Vec<(String, Option<u64>)>,
    /// Descriptor 0.
    pub stdin: Stdio,
    /// Descriptor 1.
    pub stdout: Stdio,
    /// Descriptor 2.
    pub stderr: Stdio,
    /// Managed sockets.
    pub sockets: SocketUse,
    /// What is done before; only for a watcher's first process.
    pub preparation: Option<Arc<Preparation>>,
    /// How often its figures are looked at, if anybody will want to know.
    pub looks: Option<Duration>,
}

/// What a process gets of the managed sockets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketUse {
    /// All of them stay open, at their numbers.
    pub inherit: bool,
    /// Of these with `so_reuseport` it gets one of its own; its number takes the place of
    /// [`fresh_socket`] in `argv`.
    pub fresh: BTreeSet<String>,
    /// This one is its stdin, whatever `stdin` says.
    pub stdin: Option<String>,
}

/// What stands in a command for the number of a socket that is only made when the process is.
#[must_use]
pub fn fresh_socket(name: &str) -> String {
    format!("$(circus.sockets.{name})")
}

/// What a standard descriptor is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// `/dev/null`.
    Null,
    /// circusd's own.
    Inherit,
    /// The watcher's stream.
    Stream,
}

/// Whose figures are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleTarget {
    /// A process of ours, with its direct children.
    Process(Pid),
    /// The daemon.
    Daemon,
}

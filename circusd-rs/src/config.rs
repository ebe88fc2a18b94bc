//! The configuration, fully resolved: plain, comparable data.
//!
//! Two steps lead here: the ini text becomes [`circus_protocol::ini::Ini`] with every value's file
//! and line, and [`resolve`] turns that into a [`Config`] or into the list of everything that is
//! wrong with it. Nothing here reads a file or the environment; the host does and passes text in.

pub mod diff;
pub mod expand;
pub mod facility;
pub mod option;
pub mod pattern;
pub mod plugin;
pub mod policy;
pub mod resolve;
pub mod socket;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use circus_protocol::name::WatcherName;
use circus_protocol::number::Signal;
use circus_protocol::service::Services;
use serde_json::Value;

/// Everything a configuration file says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[circus]`.
    pub circus: Global,
    /// `[watcher:*]`, in circus' order (sections sorted by name).
    pub watchers: Vec<WatcherConfig>,
    /// `[socket:*]`, by name.
    pub sockets: Vec<socket::SocketConfig>,
    /// `[service:*]`, `[config:*]`, `[reset:*]`, `[list:*]`, `[probe:*]`, `[profile:*]`.
    pub services: Arc<Services>,
    /// What the daemon itself was started with.
    pub inherited: Arc<Inherited>,
}

/// What the daemon was started with and hands on: the host reads it once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inherited {
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Its directory; where watchers without `working_dir` run.
    pub working_dir: String,
}

/// `[circus]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// Control endpoint as configured.
    pub endpoint: String,
    /// Event endpoint as configured.
    pub pubsub_endpoint: String,
    /// Stats endpoint as configured.
    pub stats_endpoint: String,
    /// Whether the stats feed was asked for (`statsd`, or `stats_endpoint` set).
    pub statsd: bool,
    /// UDP discovery; `None` when switched off by an empty value.
    pub multicast_endpoint: Option<String>,
    /// Owner of an ipc control socket.
    pub endpoint_owner: Option<String>,
    /// Seconds; kept for clients and as the ceiling of the pause between failing starts.
    pub check_delay: f64,
    /// Seconds between two watchers at start-up.
    pub warmup_delay: f64,
    /// Seconds that one call of a hook may take (ours).
    pub hook_timeout: f64,
    /// Pid file.
    pub pidfile: Option<String>,
    /// Umask of the daemon and its children.
    pub umask: Option<u32>,
    /// Whether processes get control groups where the daemon may make some (ours).
    pub cgroups: bool,
    /// Log level as configured.
    pub loglevel: Option<String>,
    /// Log target as configured.
    pub logoutput: Option<String>,
    /// A configuration of Python's logging.
    pub loggerconfig: Option<String>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            endpoint: "tcp://127.0.0.1:5555".to_owned(),
            pubsub_endpoint: "tcp://127.0.0.1:5556".to_owned(),
            stats_endpoint: "tcp://127.0.0.1:5557".to_owned(),
            statsd: false,
            multicast_endpoint: Some("udp://237.219.251.97:12027".to_owned()),
            endpoint_owner: None,
            check_delay: 5.0,
            warmup_delay: 0.0,
            hook_timeout: 60.0,
            pidfile: None,
            umask: None,
            cgroups: true,
            loglevel: None,
            logoutput: None,
            loggerconfig: None,
        }
    }
}

/// One watcher, as built from a file or by `add`. Field names are circus' option names.
#[derive(Debug, Clone, PartialEq)]
pub struct WatcherConfig {
    /// Its name.
    pub name: WatcherName,
    /// Program and first words; split like a shell does, without a shell. May be empty: starting fails then.
    pub cmd: String,
    /// Further words: text, list of text, or null (as `options` shows it).
    pub args: Value,
    /// How many processes are wanted.
    pub numprocesses: u32,
    /// Seconds between two spawns.
    pub warmup_delay: f64,
    /// Resolved directory.
    pub working_dir: String,
    /// User as configured.
    pub uid: Option<Account>,
    /// Group as configured.
    pub gid: Option<Account>,
    /// Run through `/bin/sh -c`.
    pub shell: bool,
    /// Words after the shell command string.
    pub shell_args: Option<String>,
    /// The children's environment, complete; `None` (from `add` without `env`) is shown as null. Shared:
    /// a thousand watchers may have the same.
    pub env: Option<Arc<BTreeMap<String, String>>>,
    /// Whether circusd's environment went into `env`.
    pub copy_env: bool,
    /// Whether PYTHONPATH was set for the children.
    pub copy_path: bool,
    /// Reload by SIGHUP only.
    pub send_hup: bool,
    /// The stop signal goes to direct children too.
    pub stop_children: bool,
    /// How to ask for the end.
    pub stop_signal: Signal,
    /// Seconds from the stop signal to SIGKILL.
    pub graceful_timeout: f64,
    /// How often a failing exec is tried again; -1 for ever.
    pub max_retry: i64,
    /// Replace dead processes.
    pub respawn: bool,
    /// Start with the daemon and with nameless `start`.
    pub autostart: bool,
    /// Never more than one process.
    pub singleton: bool,
    /// Managed sockets stay open in the children.
    pub use_sockets: bool,
    /// Start when a managed socket becomes readable.
    pub on_demand: bool,
    /// Higher starts earlier and stops later.
    pub priority: i64,
    /// Seconds after which a process is replaced; 0 for never.
    pub max_age: i64,
    /// Random seconds added to `max_age`.
    pub max_age_variance: i64,
    /// stdin from /dev/null.
    pub close_child_stdin: bool,
    /// stdout to /dev/null; wins over a stream.
    pub close_child_stdout: bool,
    /// stderr to /dev/null; wins over a stream.
    pub close_child_stderr: bool,
    /// Managed socket on descriptor 0.
    pub stdin_socket: Option<String>,
    /// Resource name (lower case, without `rlimit_`) and limit; `None` for unlimited.
    pub rlimits: BTreeMap<String, Option<u64>>,
    /// Where stdout goes.
    pub stdout_stream: Option<StreamConfig>,
    /// Where stderr goes.
    pub stderr_stream: Option<StreamConfig>,
    /// Hook name to `path` or `path,bool`.
    pub hooks: BTreeMap<String, HookConfig>,
    /// What follows a death, beyond `respawn` (ours).
    pub policy: policy::Policy,
    /// Between two looks at its processes' figures, zero for none at all (ours); see [`Self::looks`].
    pub figures: Option<Duration>,
    /// Unknown keys of the section, visible in `options`.
    pub custom: BTreeMap<String, Value>,
    /// Came from a file (then `options` shows other nulls than after `add`).
    pub from_file: bool,
}

impl WatcherConfig {
    /// A watcher with circus' defaults and nothing to run.
    #[must_use]
    pub fn new(name: WatcherName, working_dir: String) -> Self {
        Self {
            name,
            cmd: String::new(),
            args: Value::Null,
            numprocesses: 1,
            warmup_delay: 0.0,
            working_dir,
            uid: None,
            gid: None,
            shell: false,
            shell_args: None,
            env: None,
            copy_env: false,
            copy_path: false,
            send_hup: false,
            stop_children: false,
            stop_signal: Signal::TERM,
            graceful_timeout: 30.0,
            max_retry: 5,
            respawn: true,
            autostart: true,
            singleton: false,
            use_sockets: false,
            on_demand: false,
            priority: 0,
            max_age: 0,
            max_age_variance: 30,
            close_child_stdin: true,
            close_child_stdout: false,
            close_child_stderr: false,
            stdin_socket: None,
            rlimits: BTreeMap::new(),
            stdout_stream: None,
            stderr_stream: None,
            hooks: BTreeMap::new(),
            policy: policy::Policy::default(),
            figures: None,
            custom: BTreeMap::new(),
            from_file: false,
        }
    }
}

/// How often services are looked at that do not say it themselves: few, and worth it.
const SERVICE_LOOKS: Duration = Duration::from_secs(10);

/// A user or a group. Files name it by text, and clients see that text even when it is a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// By number, as `set` leaves it.
    Number(i64),
    /// By text: a name, or the digits of a number.
    Text(String),
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl WatcherConfig {
    /// Whether a death can be followed by a start.
    #[must_use]
    pub fn respawns(&self) -> bool {
        self.policy.restart.map_or(self.respawn, |restart| restart != policy::Restart::Never)
    }

    /// How often its processes are looked at, so that a crash card has the last minutes before; of a
    /// watcher that is no service never, unless it asks for it.
    #[must_use]
    pub fn looks(&self, is_service: bool) -> Option<Duration> {
        let given = self.figures.or(is_service.then_some(SERVICE_LOOKS));
        given.filter(|interval| !interval.is_zero())
    }

    /// Its hooks that are Python functions.
    pub fn python_hooks(&self) -> impl Iterator<Item = (&String, &HookConfig)> {
        self.hooks.iter().filter(|(_, hook)| !hook.path.starts_with(HookConfig::PROGRAM))
    }

    /// The directories in which Python looks for them first.
    #[must_use]
    pub fn python_path(&self) -> Vec<String> {
        let path = self.env.as_ref().and_then(|env| env.get("PYTHONPATH"));
        let directories = path.map(String::as_str).unwrap_or_default().split(':');
        directories.filter(|directory| !directory.is_empty()).map(str::to_owned).collect()
    }
}

/// One hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookConfig {
    /// Dotted Python path, or `exec:/path`.
    pub path: String,
    /// Failure counts as success.
    pub ignore_failure: bool,
}

impl HookConfig {
    /// What stands before a program.
    pub const PROGRAM: &str = "exec:";
}

/// `stdout_stream.*` or `stderr_stream.*`: the class and its other options as text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamConfig {
    /// `FileStream`, `StdoutStream`, ...
    pub class: StreamClass,
    /// All options as `options` shows them, without `class`.
    pub conf: BTreeMap<String, Value>,
}

impl StreamConfig {
    /// The file it writes to, if it writes to one of that name.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.conf.get("filename").and_then(Value::as_str).filter(|name| !name.is_empty())
    }

    /// The same for a watcher of that name: syslog calls lines after it unless told otherwise.
    #[must_use]
    pub fn named(mut self, watcher: &str) -> Self {
        if self.class == StreamClass::Syslog {
            self.conf.entry("ident".to_owned()).or_insert_with(|| watcher.into());
        }
        self
    }
}

/// The built-in stream classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamClass {
    /// Append to a file, rotate by size.
    #[default]
    File,
    /// Append to a file, reopen when it was moved away.
    WatchedFile,
    /// Append to a file, rotate by time.
    TimedRotatingFile,
    /// Lines to a syslog; stock's manual promises it.
    Syslog,
    /// circusd's own stdout.
    Stdout,
    /// circusd's own stdout, in colour, with time and pid.
    FancyStdout,
    /// The last of it in memory, for `logs` and `why`.
    Queue,
}

impl StreamClass {
    /// All classes.
    pub(crate) const ALL: [Self; 7] = [
        Self::File,
        Self::WatchedFile,
        Self::TimedRotatingFile,
        Self::Syslog,
        Self::Stdout,
        Self::FancyStdout,
        Self::Queue,
    ];

    /// The class of that name; `circus.stream.` in front is how old files spell the same.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let short = name.strip_prefix("circus.stream.").unwrap_or(name);
        Self::ALL.into_iter().find(|class| class.name() == short)
    }

    /// The name that configurations use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "FileStream",
            Self::WatchedFile => "WatchedFileStream",
            Self::TimedRotatingFile => "TimedRotatingFileStream",
            Self::Syslog => "SyslogStream",
            Self::Stdout => "StdoutStream",
            Self::FancyStdout => "FancyStdoutStream",
            Self::Queue => "QueueStream",
        }
    }
}

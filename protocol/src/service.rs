//! What the cluster needs to know about a watcher, as data: the files that hold the node's place in
//! the cluster, how one sees that it runs, what a reset removes.
//!
//! Nothing about any particular server is here; the ini says it all. This module also plans: which
//! text goes into which file ([`plan_configure`]) and which paths a reset is for ([`plan_reset`]).
//! It refuses to touch a file, a process or a clock: texts come in, texts go out. The daemon and the
//! console share it, because the console renders for nodes that cannot.
//!
//! ```ini
//! [service:cassandra]            use = PROFILE, home, start_order, after, conflicts, ports, …
//! [config:cassandra:yaml]        template, target, mode, owner, strip
//! [list:seeds]                   item, separator, select, exclude_self_when
//! [value:heap]                   text | number, when, otherwise
//! [probe:cassandra:joined]       tcp | http | exec | log | pid_alive, interval, timeout, …
//! [reset:cassandra:data]         root, delete, truncate, keep, require_dirs, scope, keep_seconds
//! [profile:NAME]                 ports, config.yaml.target, reset.data.root, watcher.cmd, env.X, …
//! ```
//!
//! Profiles for a number of products are [shipped](shipped) as files beside this crate.

mod derived;
mod expression;
pub mod glob;
mod job;
mod keys;
mod load;
mod membership;
pub mod preflight;
mod render;
mod reset;
mod root;
mod scope;
mod sequence;
pub mod shipped;
pub mod template;
mod value;
mod variables;

pub use derived::DerivedValue;
pub use job::{
    ConfigureJob, ConfigureOutcome, FileOutcome, KeptItem, ResetItem, ResetJob, ResetOutcome, ServiceReset,
    SweepJob,
};
pub use load::ServiceError;
pub use membership::{Membership, MembershipError};
pub use render::{MAX_RENDERED, RenderError, RenderedFile, TemplateText, plan_configure, template_paths};
pub use reset::{PLACE_ASIDE, ResetTask, Verdict, plan_reset};
pub use root::{RootRefusal, check_root};
pub use sequence::Sequence;
pub use variables::{BUILT_IN, ListVariable, Select, Variables};

use crate::command::ResetKind;
use crate::ini::Place;
use glob::Glob;

/// All services of a node, and the lists their templates can use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Services {
    /// In the order of their first section.
    pub services: Vec<Service>,
    /// `[list:*]` sections.
    pub lists: Vec<ListVariable>,
    /// `[value:*]` sections.
    pub values: Vec<DerivedValue>,
    /// Section titles that look like misspelt ones of ours; stock circus would ignore them silently.
    pub warnings: Vec<String>,
}

/// One service; its name is its watcher's.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// As the first section spells it.
    pub name: String,
    /// Its directory, `${home}` in its other paths; always absolute.
    pub home: Option<PathText>,
    /// How a controller starts it on many nodes.
    pub start_order: StartOrder,
    /// What must be up on the same node first.
    pub after: Vec<Dependency>,
    /// What must be up on all nodes first.
    pub cluster_after: Vec<Dependency>,
    /// What must not run at the same time on the same node.
    pub conflicts: Vec<String>,
    /// Ports it listens on.
    pub ports: Vec<u16>,
    /// Major versions of Java that it runs on; empty when it needs none, or any.
    pub java: Vec<u16>,
    /// What its watcher gets unless the operator says otherwise: options, without their `watcher.`.
    pub watcher: Vec<WatcherDefault>,
    /// The same for its watcher's environment.
    pub env: Vec<WatcherDefault>,
    /// What its exit codes mean.
    pub exit_meanings: Vec<ExitMeaning>,
    /// Log files that it writes itself.
    pub logs: Vec<LogFile>,
    /// Resources that it should have. Nothing is set by this: a limit that may not be raised would keep
    /// the service from starting at all.
    pub limits: Vec<Limit>,
    /// Lists of its own, from its profile; they count before those of [`Services`].
    pub lists: Vec<ListVariable>,
    /// Values of its own, from its profile; they count before those of [`Services`].
    pub values: Vec<DerivedValue>,
    /// What `configure` does when it runs.
    pub configure_while_running: WhileRunning,
    /// Files that are removed before each start, such as stale pid files.
    pub remove_before_start: Vec<PathText>,
    /// The files that `configure` writes.
    pub configs: Vec<ConfigFile>,
    /// How one sees that it is up or has joined; kept as data.
    pub probes: Vec<Probe>,
    /// What `reset` does.
    pub resets: Vec<ResetRule>,
    /// Where its first section stands.
    pub place: Place,
}

/// A path of the ini file that may hold built-in variables, such as `/srv/${address}/conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathText {
    /// As written; relative names already put under their directory.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// `watcher.KEY` or `env.NAME`, variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatcherDefault {
    /// The option or variable.
    pub key: String,
    /// Its value, as a file would have it.
    pub value: String,
    /// Where it stands.
    pub place: Place,
}

/// `exit.3`: what it means when this service ends with that code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitMeaning {
    /// The code.
    pub code: i32,
    /// For people.
    pub meaning: String,
}

/// `limit.nofile`: how much of a resource a service should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// As in `rlimit_nofile`, without its `rlimit_`.
    pub resource: String,
    /// The least; unlimited when absent.
    pub least: Option<u64>,
    /// Where it stands.
    pub place: Place,
}

/// `log.LABEL`: a file that the service writes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// What one asks for.
    pub label: String,
    /// Where it is.
    pub path: PathText,
}

/// Who is started first, and how the others follow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StartOrder {
    /// Who must be up before the others start.
    pub first: First,
    /// The others one after the other, each up before the next starts.
    pub sequential: bool,
    /// Seconds between two starts.
    pub stagger: f64,
}

/// Who is started first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum First {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// The first member.
    FirstMember,
    /// The members of the list `seeds`, the first of them alone.
    Seeds,
}

/// Another service, and how far it must have come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// `cassandra:joined`; `up` when not said.
    pub level: Level,
}

/// How far a service has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The process works.
    Up,
    /// It is a member of its cluster.
    Joined,
}

/// What `configure` does with changes for a service that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhileRunning {
    /// Refuse; nothing of any service is written then.
    #[default]
    Refuse,
    /// Write; the service reads the file at its next start, or notices by itself.
    Allow,
    /// Write, then restart the service.
    Restart,
}

/// A file that `configure` writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// The last part of `[config:SERVICE:LABEL]`.
    pub label: String,
    /// The template's file.
    pub template: PathText,
    /// Where the rendered text goes.
    pub target: PathText,
    /// Permission bits of a new file; an existing one keeps its own.
    pub mode: u32,
    /// Owner of a new file; an existing one keeps its own.
    pub owner: Option<Owner>,
    /// Whether white space around the rendered text is removed, as the first `configure` did.
    pub strip: bool,
    /// Where its section stands.
    pub place: Place,
}

/// Permission bits of a new file when the section does not say.
pub const DEFAULT_MODE: u32 = 0o644;

/// `user` or `user:group`, by name or number; resolved where the file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: String,
    /// The group; the user's own when absent.
    pub group: Option<String>,
}

/// How one sees that a service has reached a level: all checks must agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What it is about.
    pub level: Level,
    /// At least one.
    pub checks: Vec<Check>,
    /// Seconds between the end of one try and the next.
    pub interval: f64,
    /// Seconds that one try may take.
    pub attempt_timeout: f64,
    /// Seconds until one gives up; never when absent.
    pub timeout: Option<f64>,
    /// What giving up means.
    pub on_timeout: OnTimeout,
    /// Seconds between two tries after the level was reached; nobody asks again when absent.
    pub recheck: Option<f64>,
    /// Where its section stands.
    pub place: Place,
}

/// One question of a probe. Texts may hold built-in variables.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// Something accepts connections at `host:port`.
    Tcp(String),
    /// An address answers with one of these statuses and, if said, a matching body.
    Http {
        /// What is fetched.
        url: String,
        /// Which statuses are good.
        status: Vec<u16>,
        /// A regular expression for the body.
        body: Option<String>,
        /// Who asks, for servers that want to know.
        login: Option<Login>,
    },
    /// A command ends with a good status and, if said, matching output.
    Exec {
        /// The command.
        command: String,
        /// Which exit statuses are good.
        exit_codes: Vec<u8>,
        /// A regular expression for its output.
        output: Option<String>,
    },
    /// A line of a log file, written since the start, matches.
    Log {
        /// The file; [`STDOUT`] or [`STDERR`] is where the watcher's own stream goes.
        file: String,
        /// A regular expression for a line.
        pattern: String,
    },
    /// The process has lived this many seconds.
    PidAlive(f64),
}

/// A [`Check::Log`] of what the watcher's processes say.
pub const STDOUT: &str = "stdout";

/// The same for the other stream.
pub const STDERR: &str = "stderr";

/// Name and password for HTTP's basic authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The file whose first line is the password: what is in an ini can be read by too many.
    pub password_file: String,
}

/// What happens to a service whose probe gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTimeout {
    /// It goes on.
    #[default]
    Keep,
    /// It is restarted.
    Restart,
}

/// What a reset does below one directory.
#[derive(Debug, Clone, PartialEq)]
pub struct ResetRule {
    /// Which command it is for.
    pub kind: RuleKind,
    /// `[reset:SERVICE:KIND:LABEL]`, for services with more than one root; else empty.
    pub label: String,
    /// The directory; nothing outside is ever touched.
    pub root: PathText,
    /// What goes, with everything below.
    pub delete: Vec<Glob>,
    /// Files that are emptied.
    pub truncate: Vec<Glob>,
    /// What stays, with everything below, even inside of something that goes.
    pub keep: Vec<Glob>,
    /// Directories below the root that must exist afterwards.
    pub require_dirs: Vec<Vec<String>>,
    /// Whose instances must be stopped.
    pub scope: Scope,
    /// Seconds for which `undo` is possible.
    pub keep_seconds: f64,
    /// Where its section stands.
    pub place: Place,
}

/// How long a reset can be undone when the section does not say: an hour is enough to notice, and
/// short enough that a series of experiments does not fill the disk.
pub const DEFAULT_KEEP_SECONDS: f64 = 3600.0;

/// What a reset rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Stored data.
    Data,
    /// Log files.
    Log,
}

/// Whose instances must be stopped before a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// This node's.
    #[default]
    Node,
    /// Those of all nodes; the controller sees to it.
    Cluster,
}

impl Services {
    /// The service of a watcher; names are compared as circus compares watcher names.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Service> {
        let wanted = name.to_lowercase();
        self.services.iter().find(|service| service.name.to_lowercase() == wanted)
    }
}

impl Service {
    /// What is reset only when all instances in the cluster are stopped.
    #[must_use]
    pub fn cluster_resets(&self) -> Vec<RuleKind> {
        let is_whole = |kind: &RuleKind| {
            self.resets.iter().any(|rule| rule.scope == Scope::Cluster && rule.kind == *kind)
        };
        [RuleKind::Data, RuleKind::Log].into_iter().filter(is_whole).collect()
    }
}

impl RuleKind {
    /// Whether a reset of that kind does what rules of this kind say.
    #[must_use]
    pub fn is_part_of(self, kind: ResetKind) -> bool {
        match kind {
            ResetKind::All => true,
            ResetKind::Data => self == Self::Data,
            ResetKind::Log => self == Self::Log,
        }
    }

    /// From such a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Data, Self::Log].into_iter().find(|kind| kind.word() == word)
    }

    /// As the section titles spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Log => "log",
        }
    }
}

#[cfg(test)]
mod tests;

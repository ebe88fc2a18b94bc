//! circusd's own flags; knows nothing of configuration files or daemons.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, ValueEnum};

use crate::config::resolve::plugin::RUN;

/// What `--version` prints after the program's name: ours, and the circus we stand in for.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (circus 0.19.0)");

/// What else the program can do, after the options.
const COMMANDS: &str = "\
circusd-rs profiles           lists what is known of database servers, and prints it
circusd-rs init PROFILE...    writes a configuration file to start from
A file of such a name is ./profiles or ./init.";

/// The first word that lists and prints profiles.
const PROFILES: &str = "profiles";

/// The first word that writes a configuration file.
const INIT: &str = "init";

/// Runs some watchers.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-rs", version = VERSION, about, long_about = None, after_help = COMMANDS)]
pub struct Arguments {
    /// Configuration file
    pub config: Option<PathBuf>,
    /// Log level
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<Level>,
    /// Where logs go: `-` for stderr, a file, or syslog://host[:port]?facility (default: -)
    #[arg(long, value_name = "OUTPUT")]
    pub log_output: Option<String>,
    /// Python logging configuration (.ini or .json): level, format and one file or stream are followed
    #[arg(long, value_name = "FILE")]
    pub logger_config: Option<PathBuf>,
    /// Start in the background
    #[arg(long)]
    pub daemon: bool,
    /// Where to write the process number
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Only say what is wrong with the configuration, and end with 0 if nothing is
    #[arg(long)]
    pub check: bool,
    /// Only look at what a start of its services would meet on this machine, and end with 1 if that would
    /// make it fail
    #[arg(long, conflicts_with = "check")]
    pub preflight: bool,
}

impl Arguments {
    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new("circus.ini"))
    }
}

/// What this process is to be.
#[derive(Debug, Clone)]
pub enum Role {
    /// circusd.
    Daemon(Arguments),
    /// One of its plugins.
    Plugin(PluginArguments),
    /// Shows what is shipped.
    Profiles(ProfilesArguments),
    /// Writes a configuration file.
    Init(InitArguments),
}

/// Lists the shipped profiles, or prints some of them: profiles and templates, by name.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-rs profiles", bin_name = "circusd-rs profiles", version = VERSION, about, long_about = None)]
pub struct ProfilesArguments {
    /// Profiles or templates to print; none lists them
    pub names: Vec<String>,
}

/// Writes a configuration file for a node that runs servers of these profiles.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-rs init", bin_name = "circusd-rs init", version = VERSION, about, long_about = None)]
pub struct InitArguments {
    /// Profiles, as `circusd-rs profiles` lists them
    #[arg(required = true, value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Where the server is installed; once for all, or once for each profile
    #[arg(long, required = true, value_name = "DIR")]
    pub home: Vec<PathBuf>,
    /// The file to write (default: -, the terminal); one that is there stays
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs a built-in plugin; what circus-plugin takes.
#[derive(Debug, Clone, Parser)]
#[command(name = "circusd-rs --run-plugin", version = VERSION, about, long_about = None)]
pub struct PluginArguments {
    /// The plugin's class, e.g. circus.plugins.flapping.Flapping
    pub class: String,
    /// circusd's control endpoint
    #[arg(long, default_value = "tcp://127.0.0.1:5555")]
    pub endpoint: String,
    /// circusd's pubsub endpoint
    #[arg(long, default_value = "tcp://127.0.0.1:5556")]
    pub pubsub: String,
    /// Options as key:value:::key:value
    #[arg(long, default_value = "")]
    pub config: String,
    /// circusd's check_delay; accepted, and has no effect: deaths are told when they happen
    #[arg(long, default_value = "5.0", hide = true)]
    pub check_delay: f64,
    /// Log level
    #[arg(long, default_value = "info")]
    pub log_level: String,
    /// Where logs go
    #[arg(long, default_value = "-")]
    pub log_output: String,
}

/// How much goes into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Only what ends the daemon.
    Critical,
    /// What someone must act on.
    Error,
    /// What we recovered from, too.
    Warning,
    /// Lifecycle, too.
    Info,
    /// Everything.
    Debug,
}

impl Level {
    /// circus' words; anything unknown in a file silently means `info`.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        <Self as ValueEnum>::from_str(word, true).ok()
    }
}

/// All lower or all upper case, as stock has it.
fn level(word: &str) -> Result<Level, String> {
    let one_case = word == word.to_lowercase() || word == word.to_uppercase();
    Level::from_word(word).filter(|_| one_case).ok_or_else(|| {
        "choose critical, error, warning, info or debug, all lower or all upper case".to_owned()
    })
}

/// Reads the command line. Whatever ends the program here has been printed already: help and version
/// (0), no configuration (the usage, 0, as stock), wrong arguments (2).
///
/// # Errors
/// The exit status, when there is nothing to run.
pub fn parse() -> Result<Role, ExitCode> {
    // No subcommands of clap: a name could be a configuration file's.
    let mut words = std::env::args_os();
    let program = words.next();
    let first = words.next();
    let rest = || program.clone().into_iter().chain(std::env::args_os().skip(2));
    match first.as_deref().and_then(OsStr::to_str) {
        Some(RUN) => return role(PluginArguments::try_parse_from(rest()), Role::Plugin),
        Some(PROFILES) => return role(ProfilesArguments::try_parse_from(rest()), Role::Profiles),
        Some(INIT) => return role(InitArguments::try_parse_from(rest()), Role::Init),
        Some(_) | None => {}
    }
    match Arguments::try_parse() {
        Ok(arguments) if arguments.config.is_none() => {
            // A closed stdout is not worth an error: nobody is left to read it.
            let _closed = Arguments::command().print_help();
            Err(ExitCode::SUCCESS)
        }
        Ok(arguments) => Ok(Role::Daemon(arguments)),
        Err(error) => Err(ended(&error)),
    }
}

fn role<A>(parsed: Result<A, clap::Error>, role: fn(A) -> Role) -> Result<Role, ExitCode> {
    parsed.map(role).map_err(|error| ended(&error))
}

fn ended(error: &clap::Error) -> ExitCode {
    let _closed = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
        PluginArguments::command().debug_assert();
        ProfilesArguments::command().debug_assert();
        InitArguments::command().debug_assert();
    }

    #[test]
    fn levels_are_in_one_case() {
        let parsed = |word: &str| Arguments::try_parse_from(["circusd-rs", "--log-level", word, "c.ini"]);
        assert_eq!(parsed("DEBUG").unwrap().log_level, Some(Level::Debug));
        assert_eq!(parsed("critical").unwrap().log_level, Some(Level::Critical));
        for word in ["Debug", "loud", ""] {
            assert_eq!(parsed(word).unwrap_err().exit_code(), 2, "{word}");
        }
    }

    #[test]
    fn flags_of_stock_are_known() {
        let line = "circusd-rs --daemon --pidfile p --log-output - --logger-config l --check c.ini";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        assert!(arguments.daemon && arguments.check);
        assert_eq!(arguments.config, Some("c.ini".into()));
        let both = ["circusd-rs", "--check", "--preflight", "c.ini"];
        assert_eq!(Arguments::try_parse_from(both).unwrap_err().exit_code(), 2);
        assert_eq!(Arguments::try_parse_from(["circusd-rs", "--zorg"]).unwrap_err().exit_code(), 2);
    }
}

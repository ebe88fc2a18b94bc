//! The plugins that are built in: their names, and their options as typed settings.
//!
//! The names and options are those of circus' own plugin classes. Both readers use this: the resolver,
//! so that a wrong option is an error of the file, and the plugin's process, which runs with the
//! settings. It refuses to know how a plugin does its work.

use std::collections::BTreeMap;

use circus_protocol::ini::{parse_bool, parse_float, parse_int};
use regex_lite::Regex;

use super::option::signal_number;

/// What lies between two options on a plugin's command line.
pub const SEPARATOR: &str = ":::";

/// A plugin that needs no Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Stops what dies too often.
    Flapping,
    /// Restarts a watcher when its program's file changes.
    CommandReloader,
    /// Kills processes that stop sending heartbeats.
    WatchDog,
    /// Asks a web server whether it is well.
    HttpObserver,
    /// Counts every event.
    StatsdEmitter,
    /// Sends everybody's figures.
    FullStats,
    /// Restarts a watcher that uses too much or too little.
    ResourceWatcher,
}

impl Class {
    /// All classes.
    const ALL: [Self; 7] = [
        Self::Flapping,
        Self::CommandReloader,
        Self::WatchDog,
        Self::HttpObserver,
        Self::StatsdEmitter,
        Self::FullStats,
        Self::ResourceWatcher,
    ];

    /// The class that `use =` names.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.path() == path)
    }

    /// The name that configurations use.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Flapping => "circus.plugins.flapping.Flapping",
            Self::CommandReloader => "circus.plugins.command_reloader.CommandReloader",
            Self::WatchDog => "circus.plugins.watchdog.WatchDog",
            Self::HttpObserver => "circus.plugins.http_observer.HttpObserver",
            Self::StatsdEmitter => "circus.plugins.statsd.StatsdEmitter",
            Self::FullStats => "circus.plugins.statsd.FullStats",
            Self::ResourceWatcher => "circus.plugins.resource_watcher.ResourceWatcher",
        }
    }
}

/// What a plugin runs with.
#[derive(Debug, Clone)]
pub enum Settings {
    /// Of [`Class::Flapping`].
    Flapping(Flapping),
    /// Of [`Class::CommandReloader`]: seconds between two looks.
    CommandReloader(f64),
    /// Of [`Class::WatchDog`].
    WatchDog(WatchDog),
    /// Of [`Class::HttpObserver`].
    HttpObserver(HttpObserver),
    /// Of [`Class::StatsdEmitter`].
    StatsdEmitter(Statsd),
    /// Of [`Class::FullStats`].
    FullStats(Statsd, f64),
    /// Of [`Class::ResourceWatcher`].
    ResourceWatcher(ResourceWatcher),
}

/// When a watcher dies too often, and what then.
#[derive(Debug, Clone, PartialEq)]
pub struct Flapping {
    /// So many deaths...
    pub attempts: u32,
    /// ...within so many seconds.
    pub window: f64,
    /// Seconds from the stop to the next start.
    pub retry_in: f64,
    /// How often it is started again; `None` for ever.
    pub max_retry: Option<u32>,
    /// Whether anything is done.
    pub active: bool,
}

/// Where metrics go.
#[derive(Debug, Clone, PartialEq)]
pub struct Statsd {
    /// Name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
    /// What follows `circus.` in every name.
    pub application: String,
    /// The share of metrics that is sent, above 0 and at most 1.
    pub sample_rate: f64,
}

/// Heartbeats.
#[derive(Debug, Clone)]
pub struct WatchDog {
    /// Seconds between two looks.
    pub loop_rate: f64,
    /// Whose processes send heartbeats.
    pub watchers: Regex,
    /// What one looks like; the group `pid` says whose it is.
    pub message: Regex,
    /// So many rounds of silence are too long.
    pub max_count: u32,
    /// Where they arrive.
    pub ip: String,
    /// Where they arrive.
    pub port: u16,
    /// Instead of the watcher's own.
    pub stop_signal: Option<i64>,
    /// Instead of the watcher's own.
    pub graceful_timeout: Option<f64>,
}

/// Web requests.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpObserver {
    /// Where metrics go.
    pub statsd: Statsd,
    /// Seconds between two requests.
    pub loop_rate: f64,
    /// What to get.
    pub check_url: String,
    /// Seconds until no answer is an error.
    pub timeout: f64,
    /// The watcher to restart then.
    pub restart_on_error: Option<String>,
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Memory {
    /// Of the machine's.
    Percent(f64),
    /// Absolutely.
    Bytes(f64),
}

/// Limits of one watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceWatcher {
    /// Where metrics go.
    pub statsd: Statsd,
    /// Seconds between two looks.
    pub loop_rate: f64,
    /// The watcher.
    pub watcher: String,
    /// Percent of a CPU; 0 for no limit.
    pub max_cpu: f64,
    /// Percent of a CPU.
    pub min_cpu: Option<f64>,
    /// Resident memory.
    pub max_mem: Memory,
    /// Resident memory.
    pub min_mem: Option<Memory>,
    /// Mean of the shares of CPU and memory; 0 for no limit.
    pub health_threshold: f64,
    /// So many rounds in a row beyond a limit are borne.
    pub max_count: u32,
    /// Whether children of the watcher's processes are looked at, too.
    pub process_children: bool,
    /// What such a child gets.
    pub child_signal: i64,
}

/// One wrong option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its key; one that is missing has none in the file.
    pub key: &'static str,
    /// What is wrong, the value included.
    pub reason: String,
}

/// The settings that these options make.
///
/// # Errors
/// Every option that is wrong or missing.
pub fn settings(class: Class, options: &BTreeMap<String, String>) -> Result<Settings, Vec<Fault>> {
    let mut read = Options { options, faults: Vec::new() };
    let settings = match class {
        Class::Flapping => Settings::Flapping(read.flapping()),
        Class::CommandReloader => Settings::CommandReloader(read.period(1.0)),
        Class::WatchDog => Settings::WatchDog(read.watchdog()),
        Class::HttpObserver => Settings::HttpObserver(read.http()),
        Class::StatsdEmitter => Settings::StatsdEmitter(read.statsd("app")),
        Class::FullStats => Settings::FullStats(read.statsd("app"), read.period(60.0)),
        Class::ResourceWatcher => Settings::ResourceWatcher(read.resources()),
    };
    if read.faults.is_empty() { Ok(settings) } else { Err(read.faults) }
}

/// A watcher's own view of flapping: its options `flapping.KEY` over the plugin's.
///
/// # Errors
/// Every option that is wrong.
pub fn flapping_of(watcher: &BTreeMap<String, String>, common: &Flapping) -> Result<Flapping, Vec<Fault>> {
    let mut read = Options { options: watcher, faults: Vec::new() };
    let flapping = read.flapping_over(common);
    if read.faults.is_empty() { Ok(flapping) } else { Err(read.faults) }
}

/// Reads typed options and collects what is wrong.
struct Options<'a> {
    options: &'a BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Options<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.options.get(key).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn typed<T>(&mut self, key: &'static str, what: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(key)?;
        let value = read(&text);
        if value.is_none() {
            self.faults.push(Fault { key, reason: format!("{text:?} is not {what}") });
        }
        value
    }

    fn seconds(&mut self, key: &'static str, default: f64) -> f64 {
        self.typed(key, "a number of seconds", duration).unwrap_or(default)
    }

    /// Between two looks; a pause of nothing would spin.
    fn period(&mut self, default: f64) -> f64 {
        let read = |text: &str| duration(text).filter(|seconds| *seconds >= SHORTEST_PERIOD);
        self.typed("loop_rate", "a number of seconds, 0.01 or more", read).unwrap_or(default)
    }

    fn count(&mut self, key: &'static str, default: u32) -> u32 {
        let read = |text: &str| parse_int(text).and_then(|number| u32::try_from(number).ok());
        self.typed(key, "a whole number", read).unwrap_or(default)
    }

    fn amount(&mut self, key: &'static str) -> Option<f64> {
        let read = |text: &str| parse_float(text).filter(|number| number.is_finite());
        self.typed(key, "a number", read)
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.typed(key, "a boolean (yes, true, on, 1, no, false, off, 0)", parse_bool).unwrap_or(default)
    }

    fn port(&mut self, default: u16) -> u16 {
        let read = |text: &str| text.parse().ok().filter(|port| *port > 0);
        self.typed("port", "a port", read).unwrap_or(default)
    }

    fn regex(&mut self, key: &'static str, default: &str) -> Option<Regex> {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        // From the beginning, as Python's `match` does.
        let wrong = |error: regex_lite::Error| Fault { key, reason: format!("{text:?}: {error}") };
        Regex::new(&format!("^(?:{text})")).map_err(|error| self.faults.push(wrong(error))).ok()
    }

    fn flapping(&mut self) -> Flapping {
        let common = Flapping { attempts: 2, window: 1.0, retry_in: 7.0, max_retry: Some(5), active: true };
        self.flapping_over(&common)
    }

    fn flapping_over(&mut self, common: &Flapping) -> Flapping {
        let attempts = |text: &str| parse_int(text).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        let retries = |text: &str| match parse_int(text)? {
            -1 => Some(None),
            number => u32::try_from(number).ok().map(Some),
        };
        Flapping {
            attempts: self.typed("attempts", "a whole number above 0", attempts).unwrap_or(common.attempts),
            window: self.seconds("window", common.window),
            retry_in: self.seconds("retry_in", common.retry_in),
            max_retry: self
                .typed("max_retry", "a whole number, -1 for ever", retries)
                .unwrap_or(common.max_retry),
            active: self.flag("active", common.active),
        }
    }

    fn statsd(&mut self, application: &str) -> Statsd {
        let rate = |text: &str| parse_float(text).filter(|rate| *rate > 0.0 && *rate <= 1.0);
        Statsd {
            host: self.text("host").unwrap_or_else(|| "localhost".to_owned()),
            port: self.port(8125),
            application: self.text("application_name").unwrap_or_else(|| application.to_owned()),
            sample_rate: self.typed("sample_rate", "a number above 0 and at most 1", rate).unwrap_or(1.0),
        }
    }

    fn watchdog(&mut self) -> WatchDog {
        let message = self.regex("msg_regex", "^(?P<pid>.*);(?P<timestamp>.*)$");
        let watchers = self.regex("watchers_regex", ".*");
        if let Some(message) = &message
            && !message.capture_names().any(|name| name == Some("pid"))
        {
            let reason = format!("{:?} has no group (?P<pid>...)", message.as_str());
            self.faults.push(Fault { key: "msg_regex", reason });
        }
        let nothing = || Regex::new("").ok();
        WatchDog {
            loop_rate: self.period(60.0),
            // One that is wrong has been noted, and nobody runs with these settings.
            #[expect(clippy::unwrap_used, reason = "the empty expression is one")]
            watchers: watchers.or_else(nothing).unwrap(),
            #[expect(clippy::unwrap_used, reason = "the empty expression is one")]
            message: message.or_else(nothing).unwrap(),
            max_count: self.count("max_count", 3),
            ip: self.text("ip").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: self.port(1664),
            stop_signal: self.typed("watchers_stop_signal", SIGNAL, signal_number),
            graceful_timeout: self.typed("watchers_graceful_timeout", "a number of seconds", duration),
        }
    }

    fn http(&mut self) -> HttpObserver {
        let check_url = self.text("check_url").unwrap_or_else(|| "http://localhost/".to_owned());
        if !check_url.starts_with("http://") {
            let reason = if check_url.starts_with("https://") {
                format!("{check_url:?}: only http:// is spoken, not https://")
            } else {
                format!("{check_url:?} does not begin with http://")
            };
            self.faults.push(Fault { key: "check_url", reason });
        }
        HttpObserver {
            statsd: self.statsd("http_observer"),
            loop_rate: self.period(60.0),
            check_url,
            timeout: self.seconds("timeout", 10.0),
            restart_on_error: self.text("restart_on_error"),
        }
    }

    fn resources(&mut self) -> ResourceWatcher {
        let watcher = self.text("watcher").or_else(|| self.text("service")).unwrap_or_default();
        if watcher.is_empty() {
            let reason = "missing: the name of the watcher to look after".to_owned();
            self.faults.push(Fault { key: "watcher", reason });
        }
        ResourceWatcher {
            statsd: self.statsd("app"),
            loop_rate: self.period(60.0),
            watcher,
            max_cpu: self.amount("max_cpu").unwrap_or(90.0),
            min_cpu: self.amount("min_cpu"),
            max_mem: self.typed("max_mem", MEMORY, memory).unwrap_or(Memory::Percent(90.0)),
            min_mem: self.typed("min_mem", MEMORY, memory),
            health_threshold: self.amount("health_threshold").unwrap_or(75.0),
            max_count: self.count("max_count", 3),
            process_children: self.flag("process_children", false),
            child_signal: self.typed("child_signal", SIGNAL, signal_number).unwrap_or(15),
        }
    }
}

/// Shorter rounds would be nothing but work.
const SHORTEST_PERIOD: f64 = 0.01;

/// Longer than anybody waits; what a timer can still hold.
const LONGEST: f64 = 1e9;

const SIGNAL: &str = "a signal (a number, or a name like TERM)";
const MEMORY: &str = "a percentage (a plain number) or an amount like 512M";

fn duration(text: &str) -> Option<f64> {
    parse_float(text).filter(|seconds| (0.0..=LONGEST).contains(seconds))
}

fn memory(text: &str) -> Option<Memory> {
    match parse_float(text) {
        Some(percent) => percent.is_finite().then_some(Memory::Percent(percent)),
        None => bytes(text).map(Memory::Bytes),
    }
}

/// `512M`, `1.5G`, `100B`: what circus prints for memory, and takes.
#[must_use]
pub fn bytes(text: &str) -> Option<f64> {
    let letter = text.chars().next_back()?;
    let number = parse_float(text.strip_suffix(letter)?).filter(|number| number.is_finite())?;
    let power = "BKMGTPEZY".find(letter.to_ascii_uppercase())?;
    Some(number * 1024_f64.powi(i32::try_from(power).ok()?))
}

/// Options as they stand on a plugin's command line.
#[must_use]
pub fn to_text(options: &BTreeMap<String, String>) -> String {
    options.iter().map(|(key, value)| format!("{key}:{value}")).collect::<Vec<_>>().join(SEPARATOR)
}

/// Options from a plugin's command line; what has no colon is none.
#[must_use]
pub fn from_text(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(SEPARATOR).filter_map(|item| item.split_once(':'));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn faults(class: Class, pairs: &[(&str, &str)]) -> Vec<String> {
        let faults = settings(class, &options(pairs)).map(|_| ()).unwrap_err();
        faults.iter().map(|fault| format!("{}: {}", fault.key, fault.reason)).collect()
    }

    #[test]
    fn every_class_is_found_by_the_name_that_files_use() {
        for class in Class::ALL {
            assert_eq!(Class::from_path(class.path()), Some(class));
        }
        assert_eq!(Class::from_path("circus.plugins.redis_observer.RedisObserver"), None);
    }

    #[test]
    fn nothing_given_is_circus_defaults() {
        let Ok(Settings::Flapping(flapping)) = settings(Class::Flapping, &options(&[])) else { panic!() };
        let expected = Flapping { attempts: 2, window: 1.0, retry_in: 7.0, max_retry: Some(5), active: true };
        assert_eq!(flapping, expected);
        let watcher = options(&[("attempts", "3"), ("active", "no"), ("max_retry", "-1")]);
        let expected = Flapping { attempts: 3, active: false, max_retry: None, ..expected };
        assert_eq!(flapping_of(&watcher, &flapping).unwrap(), expected);
        let Ok(Settings::ResourceWatcher(watcher)) = settings(
            Class::ResourceWatcher,
            &options(&[("service", "web"), ("max_mem", "1.5G"), ("min_mem", "2")]),
        ) else {
            panic!()
        };
        assert_eq!((watcher.watcher.as_str(), watcher.max_cpu, watcher.max_count), ("web", 90.0, 3));
        assert_eq!(watcher.max_mem, Memory::Bytes(1.5 * 1024.0 * 1024.0 * 1024.0));
        assert_eq!(watcher.min_mem, Some(Memory::Percent(2.0)));
        assert_eq!(watcher.statsd.application, "app");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_value() {
        let wrong = [("attempts", "0"), ("window", "soon"), ("active", "perhaps"), ("max_retry", "-2")];
        assert_eq!(
            faults(Class::Flapping, &wrong),
            [
                "attempts: \"0\" is not a whole number above 0",
                "window: \"soon\" is not a number of seconds",
                "max_retry: \"-2\" is not a whole number, -1 for ever",
                "active: \"perhaps\" is not a boolean (yes, true, on, 1, no, false, off, 0)",
            ]
        );
        assert_eq!(
            faults(Class::ResourceWatcher, &[("max_mem", "much"), ("sample_rate", "2")]),
            [
                "watcher: missing: the name of the watcher to look after",
                "sample_rate: \"2\" is not a number above 0 and at most 1",
                "max_mem: \"much\" is not a percentage (a plain number) or an amount like 512M",
            ]
        );
        assert_eq!(
            faults(Class::HttpObserver, &[("check_url", "https://a/"), ("loop_rate", "0")]),
            [
                "check_url: \"https://a/\": only http:// is spoken, not https://",
                "loop_rate: \"0\" is not a number of seconds, 0.01 or more",
            ]
        );
        let watchdog =
            faults(Class::WatchDog, &[("msg_regex", "(.*)"), ("watchers_regex", "("), ("port", "0")]);
        assert!(watchdog.iter().any(|fault| fault.contains("has no group (?P<pid>...)")), "{watchdog:?}");
        assert!(watchdog.iter().any(|fault| fault.starts_with("watchers_regex: \"(\"")), "{watchdog:?}");
        assert!(watchdog.iter().any(|fault| fault == "port: \"0\" is not a port"), "{watchdog:?}");
    }

    #[test]
    fn options_survive_the_command_line() {
        let given = options(&[("check_url", "http://127.0.0.1:80/a b"), ("name", "plugin:two words")]);
        assert_eq!(to_text(&given), "check_url:http://127.0.0.1:80/a b:::name:plugin:two words");
        assert_eq!(from_text(&to_text(&given)), given);
        assert_eq!(from_text("junk:::a:b"), options(&[("a", "b")]));
    }

    #[test]
    fn amounts_of_memory_are_read_as_circus_prints_them() {
        assert_eq!(["512B", "1.50K", "2M"].map(bytes), [Some(512.0), Some(1536.0), Some(2_097_152.0)]);
        assert_eq!(["", "M", "12", "1.5X", "é"].map(bytes), [None; 5]);
    }
}

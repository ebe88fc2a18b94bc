//! `[probe:SERVICE:LEVEL]` → [`Probe`]. What a check asks is tried with made-up values for its
//! variables, so that a misspelt address is found when the file is read and not when a node starts.

use super::super::value::{self, Read};
use super::super::{Check, Level, Login, OnTimeout, PathText, Probe, STDERR, STDOUT};
use super::build::{Builder, entry, fault, read};
use super::sort::Part;

/// How often a probe asks when the section does not say, in seconds.
const DEFAULT_INTERVAL: f64 = 2.0;

/// How long one try may take when the section does not say, in seconds: a program on a Java machine
/// needs some to begin.
const DEFAULT_ATTEMPT: f64 = 10.0;

/// Keys that mean something only beside another.
const LONELY: [(&str, &str); 9] = [
    ("status", "http"),
    ("body", "http"),
    ("user", "http"),
    ("user", "password_file"),
    ("password_file", "user"),
    ("exit_codes", "exec"),
    ("output", "exec"),
    ("pattern", "log"),
    ("log", "pattern"),
];

impl Builder<'_> {
    pub(super) fn probe(&self, part: &Part<'_>, home: Option<&PathText>) -> Option<Probe> {
        let level = self.level(part);
        let checks = self.checks(part, home);
        if !["tcp", "http", "exec", "log", "pid_alive"].iter().any(|key| entry(part, key).is_some()) {
            let reason = "asks nothing; give it one of tcp, http, exec, log, pid_alive".to_owned();
            self.title_fault(part, reason);
        }
        for (key, partner) in LONELY {
            if let Some(found) = entry(part, key)
                && entry(part, partner).is_none()
            {
                fault(part, found, key, format!("means something only beside `{partner}`"), self.errors);
            }
        }
        let interval = read(part, "interval", self.errors, value::period).unwrap_or(DEFAULT_INTERVAL);
        let attempt_timeout =
            read(part, "attempt_timeout", self.errors, value::period).unwrap_or(DEFAULT_ATTEMPT);
        let timeout = read(part, "timeout", self.errors, value::patience).flatten();
        let on_timeout = self.on_timeout(part);
        let recheck = read(part, "recheck", self.errors, value::recheck).flatten();
        let (level, place) = (level?, part.place.clone());
        Some(Probe { level, checks, interval, attempt_timeout, timeout, on_timeout, recheck, place })
    }

    fn level(&self, part: &Part<'_>) -> Option<Level> {
        match value::level(&part.label) {
            Ok(level) => Some(level),
            Err(reason) => {
                self.title_fault(part, reason);
                None
            }
        }
    }

    /// Who restarts must say after what time, and not at once.
    fn on_timeout(&self, part: &Part<'_>) -> OnTimeout {
        let on_timeout = self.option(Some(part), "on_timeout", value::on_timeout);
        if on_timeout == OnTimeout::Restart
            && let Some(found) = entry(part, "on_timeout")
        {
            match entry(part, "timeout").map(|entry| value::patience(&entry.value)) {
                None | Some(Ok(None)) => {
                    let reason = "needs a `timeout`: say after how many seconds".to_owned();
                    fault(part, found, "on_timeout", reason, self.errors);
                }
                Some(Ok(Some(patience))) if patience < 1.0 => {
                    let reason = "restarts without end; give `timeout` at least 1 second".to_owned();
                    fault(part, found, "on_timeout", reason, self.errors);
                }
                Some(Ok(Some(_)) | Err(_)) => {}
            }
        }
        on_timeout
    }

    fn checks(&self, part: &Part<'_>, home: Option<&PathText>) -> Vec<Check> {
        let text = |key: &str, check: fn(&str) -> Read<()>| {
            read(part, key, self.errors, |text| {
                self.check_names(text, home.is_some())?;
                check(&self.example(text, home)).map_err(|reason| as_written(reason, text))?;
                Ok(text.to_owned())
            })
        };
        let pattern = |key: &str| read(part, key, self.errors, value::pattern);
        let password_file = read(part, "password_file", self.errors, |text| self.below_home(text, home));
        let user = entry(part, "user").map(|entry| entry.value.clone());
        let login = user.zip(password_file).map(|(user, password_file)| Login { user, password_file });
        // Each key is read whatever the others are, so that every fault is told at once.
        let status = read(part, "status", self.errors, value::statuses).unwrap_or_else(|| vec![200]);
        let (body, output) = (pattern("body"), pattern("output"));
        let exit_codes = read(part, "exit_codes", self.errors, value::exit_codes).unwrap_or_else(|| vec![0]);
        let http = text("http", value::url).map(|url| Check::Http { url, status, body, login });
        let exec = text("exec", command).map(|command| Check::Exec { command, exit_codes, output });
        let log = read(part, "log", self.errors, |text| match text {
            STDOUT | STDERR => Ok(text.to_owned()),
            _ => self.below_home(text, home),
        });
        let wanted = pattern("pattern");
        let log = log.zip(wanted).map(|(file, pattern)| Check::Log { file, pattern });
        let alive = read(part, "pid_alive", self.errors, value::seconds).map(Check::PidAlive);
        let tcp = text("tcp", value::host_and_port).map(Check::Tcp);
        [tcp, http, exec, log, alive].into_iter().flatten().collect()
    }
}

fn command(text: &str) -> Read<()> {
    let open = text.matches('"').count() % 2 == 1 && !text.contains(['\\', '\'']);
    match (text.trim().is_empty(), open) {
        (true, _) => Err("is empty; name a program and its arguments".to_owned()),
        (_, true) => Err(format!("{text:?} has a quotation mark without its partner")),
        (false, false) => Ok(()),
    }
}

/// A reason that quotes what was made of a text says what stands there, too.
fn as_written(reason: String, text: &str) -> String {
    if text.contains('$') { format!("{reason} (from {text:?})") } else { reason }
}

//! What follows the death of a process: whether it is replaced, how soon, and how often.
//!
//! Every part is optional, and what is not given is what stock does. Here are the values and their
//! spelling; [`crate::arbiter`] follows them. It refuses to know watchers and clocks.

use std::fmt;
use std::time::Duration;

use circus_protocol::ini::parse_int;
use circus_protocol::number::Signal;
use serde_json::Value;

use super::option::signal_number;

/// The longest pause, window or life that can be asked for, in seconds: a year.
pub const LONGEST: f64 = 365.0 * 24.0 * 3600.0;
/// The shortest `backoff`, in seconds: nothing may spin.
pub const SHORTEST_PAUSE: f64 = 0.01;
/// The lowest `backoff_max`, in seconds.
pub const LOWEST_CEILING: f64 = 0.1;
/// So many starts are remembered of one worker id at most.
pub const MOST_STARTS: u32 = 1000;
/// The window of `start_limit` where none is given.
pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
/// A process that lived so long is no failure, where `success_after` says nothing.
pub const DEFAULT_SUCCESS: Duration = Duration::from_secs(1);

/// The options of a watcher that say what follows a death; `None` where it gives none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Which deaths are followed by a start; otherwise `respawn` says it.
    pub restart: Option<Restart>,
    /// The ends that are no failure; otherwise exit status 0 alone.
    pub expected: Option<ExitCodes>,
    /// Who lived so long begins anew: no failures counted, no pause.
    pub success_after: Option<Duration>,
    /// The pause after the first failure; it doubles with each further one.
    pub backoff: Option<Duration>,
    /// The longest pause.
    pub backoff_max: Option<Duration>,
    /// The share of a pause that chance may take off.
    pub backoff_jitter: Option<f64>,
    /// So many starts of one worker id within the window, and no more.
    pub start_limit: Option<u32>,
    /// The window.
    pub start_limit_window: Option<Duration>,
}

/// Which deaths are followed by a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// All.
    Always,
    /// Those that were not expected.
    OnFailure,
    /// None.
    Never,
}

impl Restart {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Always, "always"), (Self::OnFailure, "on-failure"), (Self::Never, "never")];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(restart, _)| *restart == self).map_or("", |(_, name)| name)
    }

    /// What the word means.
    ///
    /// # Errors
    /// When there is no such word; the reason quotes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let word = text.trim().to_lowercase().replace('_', "-");
        let found = Self::ALL.into_iter().find(|(_, name)| *name == word);
        found
            .map(|(restart, _)| restart)
            .ok_or_else(|| format!("{text:?} is none of always, on-failure, never"))
    }
}

impl Policy {
    /// Whether any of it was given.
    #[must_use]
    pub fn is_set(&self) -> bool {
        *self != Self::default()
    }

    /// Whether an end is no failure: an exit status, minus a signal number, or nobody knows.
    #[must_use]
    pub fn expects(&self, exit_code: Option<i32>) -> bool {
        match (exit_code, &self.expected) {
            (None, _) => false,
            (Some(code), None) => code == 0,
            (Some(code), Some(expected)) => expected.contains(code),
        }
    }

    /// Who lived so long begins anew.
    #[must_use]
    pub fn success_after(&self) -> Duration {
        self.success_after.unwrap_or(DEFAULT_SUCCESS)
    }

    /// How many starts are allowed within which time.
    #[must_use]
    pub fn limit(&self) -> Option<(u32, Duration)> {
        let window = self.start_limit_window.unwrap_or(DEFAULT_WINDOW);
        self.start_limit.filter(|limit| *limit > 0).map(|limit| (limit, window))
    }
}

/// Ends of a process: exit statuses 0 to 255, and signals as minus their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExitCodes(Vec<(i32, i32)>);

impl ExitCodes {
    /// Whether this end is among them.
    #[must_use]
    pub fn contains(&self, code: i32) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&code))
    }

    /// `0, 10-20, SIGTERM`; separated by commas.
    ///
    /// # Errors
    /// When a part is no exit status, range or signal; the reason quotes it.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(|part| Self::part(part.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// A text, a number, or a list of both.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            Value::Array(items) => {
                let parts = items.iter().map(Self::from_value).collect::<Result<Vec<_>, _>>()?;
                Ok(Self(parts.into_iter().flat_map(|part| part.0).collect()))
            }
            Value::Null | Value::Bool(_) | Value::Object(_) => {
                Err(format!("{value} is no list of exit codes"))
            }
        }
    }

    fn part(part: &str) -> Result<(i32, i32), String> {
        let status =
            |text: &str| parse_int(text).and_then(|n| i32::try_from(n).ok()).filter(|n| (0..256).contains(n));
        let wrong = || format!("{part:?} is no exit status (0 to 255), range (10-20) or signal (SIGTERM)");
        if let Some(code) = status(part) {
            return Ok((code, code));
        }
        if let Some((first, last)) = part.split_once('-')
            && let (Some(first), Some(last)) = (status(first), status(last))
        {
            return if first <= last { Ok((first, last)) } else { Err(wrong()) };
        }
        // A number that is no exit status is a slip, not a signal.
        let word = |c: char| c.is_ascii_alphanumeric() || c == '+';
        let named = part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.chars().all(word);
        let signal = Some(part).filter(|_| named).and_then(signal_number).and_then(|n| i32::try_from(n).ok());
        let signal = signal.filter(|number| *number > 0 && Signal(*number).exists()).ok_or_else(wrong)?;
        Ok((-signal, -signal))
    }
}

impl fmt::Display for ExitCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match Signal(-first).name().filter(|_| *first < 0) {
                Some(name) => write!(f, "SIG{}", name.trim_start_matches("SIG"))?,
                None if *first < 0 => write!(f, "SIGRTMIN+{}", -first - FIRST_REAL_TIME)?,
                None if first == last => write!(f, "{first}")?,
                None => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// SIGRTMIN.
const FIRST_REAL_TIME: i32 = 34;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exit_codes_are_statuses_ranges_and_signals() {
        let codes = ExitCodes::parse("0, 10-12,143, sigterm,HUP, RTMIN+2").unwrap();
        assert_eq!(codes.to_string(), "0,10-12,143,SIGTERM,SIGHUP,SIGRTMIN+2");
        assert_eq!(ExitCodes::parse(&codes.to_string()), Ok(codes.clone()));
        for (code, expected) in
            [(0, true), (11, true), (13, false), (143, true), (-15, true), (-9, false), (-36, true)]
        {
            assert_eq!(codes.contains(code), expected, "{code}");
        }
        assert_eq!(ExitCodes::from_value(&json!([0, "SIGINT", "3-4"])).unwrap().to_string(), "0,SIGINT,3-4");
        assert_eq!(ExitCodes::from_value(&json!(7)).unwrap().to_string(), "7");
        for wrong in ["", "0,", "256", "-15", "5-3", "1-300", "SIGNOPE", "HUP junk", "0x10", "TERM-KILL"] {
            assert!(ExitCodes::parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(ExitCodes::from_value(&json!({"0": 1})).is_err());
    }

    #[test]
    fn without_a_list_only_zero_is_expected() {
        let policy = Policy::default();
        assert!(policy.expects(Some(0)) && !policy.expects(Some(1)) && !policy.expects(Some(-15)));
        let listed = Policy { expected: Some(ExitCodes::parse("143,SIGTERM").unwrap()), ..policy };
        assert!(listed.expects(Some(143)) && listed.expects(Some(-15)));
        assert!(!listed.expects(Some(0)), "the list replaces 0");
        assert!(!listed.expects(None));
    }

    #[test]
    fn restart_is_one_of_three_words() {
        assert_eq!(Restart::parse(" On_Failure "), Ok(Restart::OnFailure));
        assert_eq!(Restart::parse("never").map(Restart::name), Ok("never"));
        assert_eq!(
            Restart::parse("sometimes").unwrap_err(),
            "\"sometimes\" is none of always, on-failure, never"
        );
    }
}

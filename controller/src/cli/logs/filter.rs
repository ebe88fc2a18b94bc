//! `--grep`, `--since` and `--until`: which records are shown.

use chrono::{Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use regex_lite::{Regex, RegexBuilder};

use super::{LogsArgs, seconds};
use crate::cli::session::Stop;
use crate::cluster::log::record::Record;
use crate::cluster::log::stamp;

/// Which records are shown.
#[derive(Debug, Default)]
pub(super) struct Filter {
    grep: Option<Regex>,
    pub(super) since: Option<f64>,
    pub(super) until: Option<f64>,
}

impl Filter {
    /// `now` in Unix time.
    pub(super) fn new(args: &LogsArgs, now: f64) -> Result<Self, Stop> {
        let grep =
            args.grep.as_deref().map(|text| RegexBuilder::new(text).multi_line(true).build()).transpose();
        let grep = grep.map_err(|error| Stop::usage(format!("logs: --grep: {error}")))?;
        let time = |option: &str, text: &Option<String>| {
            match text {
            None => Ok(None),
            Some(text) => time(text, now).map(Some).ok_or_else(|| {
                Stop::usage(format!(
                    "logs: {option}: {text:?} is no time; write 10m (ago), 10:00 (today), \"2026-11-29 10:00\" or \
                     2026-11-29T10:00:00Z"
                ))
            }),
        }
        };
        Ok(Self { grep, since: time("--since", &args.since)?, until: time("--until", &args.until)? })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.grep.is_none() && self.since.is_none() && self.until.is_none()
    }

    pub(super) fn lets(&self, record: &Record) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time <= until)
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&record.text))
    }
}

/// A time for people, as Unix time; without a zone it is local.
fn time(text: &str, now: f64) -> Option<f64> {
    let text = text.trim();
    if let Some(ago) = seconds(text) {
        return Some(now - ago);
    }
    let local = |at: NaiveDateTime| {
        Local.from_local_datetime(&at).earliest().map(|at| at.timestamp_millis() as f64 / 1e3)
    };
    if let Some(stamp) = stamp::of(text) {
        return match stamp.zone {
            Some(zone) => Some(stamp.unix(zone)),
            None => {
                let whole = chrono::DateTime::from_timestamp_millis((stamp.seconds * 1e3).round() as i64)?;
                local(whole.naive_utc())
            }
        };
    }
    let clock = |text: &str| {
        NaiveTime::parse_from_str(text, "%H:%M:%S").or_else(|_| NaiveTime::parse_from_str(text, "%H:%M")).ok()
    };
    if let Some(time) = clock(text) {
        let today = Local.timestamp_millis_opt((now * 1e3) as i64).earliest()?.date_naive();
        return local(today.and_time(time));
    }
    let (date, rest) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
    local(date.and_time(clock(rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_what_people_write() {
        let now = 1_795_000_000.0;
        assert_eq!(time("10m", now), Some(now - 600.0));
        assert_eq!(time("2015-03-01T12:00:00Z", now), Some(1_425_211_200.0));
        assert_eq!(time("2015-03-01T12:00:00+01:00", now), Some(1_425_207_600.0));
        let noon = time("2015-03-01 12:00", now).expect("a time");
        assert_eq!(time("2015-03-01 12:00:00", now), Some(noon));
        assert_eq!(time("2015-03-01", now), Some(noon - 12.0 * 3600.0));
        let today = time("12:00", now).expect("a time");
        assert!((today - now).abs() < 86_400.0);
        for bad in ["", "yesterday", "25:00", "2015-02-30", "12:00:00:00"] {
            assert_eq!(time(bad, now), None, "{bad:?}");
        }
    }
}

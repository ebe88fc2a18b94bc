//! When a file that rotates by time rotates, and what the finished one is called.
//!
//! Calendar arithmetic only; it reads no clock and touches no file.

use chrono::{
    DateTime, Datelike, Days, Duration, Local, LocalResult, NaiveDateTime, NaiveTime, TimeZone, Utc,
};

/// The unit of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Seconds(i64),
    Midnight,
    /// At the end of this day, 0 is Monday.
    Weekday(u32),
}

/// `rotate_when`, `rotate_interval` and `utc`, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    unit: Unit,
    suffix: &'static str,
    interval: i64,
    utc: bool,
}

const DAY: i64 = 24 * 3600;

impl Schedule {
    /// `None` when the unit is unknown. Any case is taken, stock takes upper case only.
    #[must_use]
    pub fn new(when: &str, interval: u64, utc: bool) -> Option<Self> {
        let (unit, suffix, length) = match when.to_ascii_uppercase().as_str() {
            "S" => (Unit::Seconds(1), "%Y%m%d%H%M%S", 1),
            "M" => (Unit::Seconds(60), "%Y%m%d%H%M", 60),
            "H" => (Unit::Seconds(3600), "%Y%m%d%H", 3600),
            "D" => (Unit::Seconds(DAY), "%Y%m%d", DAY),
            "MIDNIGHT" => (Unit::Midnight, "%Y%m%d", DAY),
            other => {
                let day = other.strip_prefix('W')?.parse().ok().filter(|day| *day <= 6)?;
                (Unit::Weekday(day), "%Y%m%d", 7 * DAY)
            }
        };
        let interval = i64::try_from(interval).ok()?.checked_mul(length)?;
        Some(Self { unit, suffix, interval, utc })
    }

    /// The first rotation after a moment.
    #[must_use]
    pub fn after(&self, moment: i64) -> i64 {
        let days = match self.unit {
            Unit::Seconds(_) => return moment.saturating_add(self.interval),
            Unit::Midnight => 1,
            Unit::Weekday(day) => {
                let today = self.civil(moment).weekday().num_days_from_monday();
                1 + u64::from((day + 7 - today) % 7)
            }
        };
        let date = self.civil(moment).date().checked_add_days(Days::new(days));
        date.map_or(moment.saturating_add(DAY), |date| self.unix(date.and_time(NaiveTime::MIN)))
    }

    /// What the file that ends at this rotation is called after: the start of its interval.
    #[must_use]
    pub fn suffix(&self, rotation: i64) -> String {
        let start = match self.unit {
            Unit::Seconds(_) => self.civil(rotation.saturating_sub(self.interval)),
            Unit::Midnight => self.civil(rotation) - Duration::days(1),
            Unit::Weekday(_) => self.civil(rotation) - Duration::days(7),
        };
        start.format(self.suffix).to_string()
    }

    /// Whether a name's ending is one of ours.
    #[must_use]
    pub fn is_suffix(&self, text: &str) -> bool {
        text.len() == self.suffix(0).len() && text.bytes().all(|byte| byte.is_ascii_digit())
    }

    fn civil(&self, moment: i64) -> NaiveDateTime {
        let utc: DateTime<Utc> = DateTime::from_timestamp(moment, 0).unwrap_or_default();
        if self.utc { utc.naive_utc() } else { utc.with_timezone(&Local).naive_local() }
    }

    /// A midnight that summer time skips or repeats is the nearest that exists.
    fn unix(&self, civil: NaiveDateTime) -> i64 {
        if self.utc {
            return civil.and_utc().timestamp();
        }
        match Local.from_local_datetime(&civil) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => time.timestamp(),
            LocalResult::None => Local
                .from_local_datetime(&(civil + Duration::hours(1)))
                .earliest()
                .map_or_else(|| civil.and_utc().timestamp(), |time| time.timestamp()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sunday, 2020-09-13 12:26:40 UTC.
    const MOMENT: i64 = 1_600_000_000;

    fn play(when: &str, interval: u64) -> (i64, String) {
        let schedule = Schedule::new(when, interval, true).unwrap();
        let next = schedule.after(MOMENT);
        (next - MOMENT, schedule.suffix(next))
    }

    #[test]
    fn a_finished_file_is_named_after_its_beginning() {
        assert_eq!(play("S", 5), (5, "20200913122640".to_owned()));
        assert_eq!(play("m", 1), (60, "202009131226".to_owned()));
        assert_eq!(play("H", 2), (7200, "2020091312".to_owned()));
        assert_eq!(play("D", 1), (DAY, "20200913".to_owned()));
        assert_eq!(play("midnight", 1), (41600, "20200913".to_owned()));
        assert_eq!(play("W6", 1), (41600, "20200907".to_owned()));
        assert_eq!(play("W0", 1), (41600 + DAY, "20200908".to_owned()));
    }

    #[test]
    fn unknown_units_are_refused() {
        for when in ["", "X", "W", "W7", "W-1", "SS"] {
            assert_eq!(Schedule::new(when, 1, false), None, "{when}");
        }
    }

    #[test]
    fn only_our_own_endings_are_recognised() {
        let schedule = Schedule::new("H", 1, true).unwrap();
        assert!(schedule.is_suffix("2020091312"));
        assert!(
            !schedule.is_suffix("20200913")
                && !schedule.is_suffix("2020091312x")
                && !schedule.is_suffix("20200913ab")
        );
    }
}

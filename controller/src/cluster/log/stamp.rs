//! The time that a line of a log names itself: RFC 3339, and what log4j, logback, Cassandra, Neo4j, Go
//! and Python print, behind a level or a thread as well as at the beginning.
//!
//! Only the first bytes of a line are looked at. A time without a date is none.

/// Where a stamp may begin at the latest.
const REACH: usize = 64;

/// A time as a line names it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// Seconds since 1970, of a clock in the line's zone.
    pub seconds: f64,
    /// How far that zone is ahead of UTC, if the line says.
    pub zone: Option<i32>,
}

impl Stamp {
    /// Unix time; lines that name no zone are in this one.
    #[must_use]
    pub fn unix(self, zone: i32) -> f64 {
        self.seconds - f64::from(self.zone.unwrap_or(zone))
    }
}

/// The first stamp of a line.
#[must_use]
pub fn of(line: &str) -> Option<Stamp> {
    let bytes = line.as_bytes();
    let last = bytes.len().min(REACH);
    let mut at = 0;
    while at < last {
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        if digit(at) {
            // Within a longer number or word there is no beginning.
            let begins = at == 0 || !bytes.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
            if let Some(stamp) = bytes.get(at..).filter(|_| begins).and_then(read) {
                return Some(stamp);
            }
            while digit(at) {
                at += 1;
            }
        } else {
            at += 1;
        }
    }
    None
}

/// `2015-03-01 12:00:00`, with `T` or `/`, and what may follow.
fn read(text: &[u8]) -> Option<Stamp> {
    let number = |from: usize, count: usize| {
        let digits = text.get(from..from + count)?;
        digits
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let is = |at: usize, any: &[u8]| text.get(at).is_some_and(|byte| any.contains(byte));
    if !(is(4, b"-/") && is(7, b"-/") && is(10, b" T_") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let real =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    if !real {
        return None;
    }
    let mut seconds = (days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second) as f64;
    let mut at = 19;
    if is(at, b".,") && number(at + 1, 1).is_some() {
        at += 1;
        let mut weight = 0.1;
        while let Some(digit) = number(at, 1) {
            seconds += digit as f64 * weight;
            weight /= 10.0;
            at += 1;
        }
    }
    Some(Stamp { seconds, zone: zone(text.get(at..).unwrap_or_default()) })
}

/// `Z`, `+0100`, `+01:00`, `+01`, also behind a blank.
fn zone(text: &[u8]) -> Option<i32> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let (sign, rest) = match text.split_first()? {
        (b'Z', _) => return Some(0),
        (b'+', rest) => (1, rest),
        (b'-', rest) => (-1, rest),
        _ => return None,
    };
    let two = |from: usize| {
        let tens = rest.get(from).filter(|byte| byte.is_ascii_digit())?;
        let ones = rest.get(from + 1).filter(|byte| byte.is_ascii_digit())?;
        Some(i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
    };
    let hours = two(0).filter(|hours| *hours <= 15)?;
    let minutes = two(if rest.get(2) == Some(&b':') { 3 } else { 2 }).unwrap_or(0);
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is a year's last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_formats_are_read() {
        let noon = 1_425_211_200.0;
        for (line, seconds, zone) in [
            ("2015-03-01T12:00:00Z hello", noon, Some(0)),
            ("2015-03-01T12:00:00.25+01:00 hello", noon + 0.25, Some(3600)),
            ("2015-03-01 12:00:00,123 INFO x", noon + 0.123, None),
            ("INFO  [main] 2015-03-01 12:00:00,123 CassandraDaemon.java:1 - x", noon + 0.123, None),
            (
                " INFO [ScheduledTasks:1] 2015-03-01 12:00:00,5 GCInspector.java (line 116) GC",
                noon + 0.5,
                None,
            ),
            ("2015-03-01 12:00:00.007+0000 INFO  [o.n.k.i.DiagnosticsManager] x", noon + 0.007, Some(0)),
            ("2015-03-01 12:00:00.007 -0330 x", noon + 0.007, Some(-12_600)),
            ("2015/03/01 12:00:00 go", noon, None),
            ("[2015-03-01 12:00:00] x", noon, None),
            ("1970-01-01 00:00:00 x", 0.0, None),
            ("2000-02-29 00:00:00 x", 951_782_400.0, None),
        ] {
            let stamp = of(line).unwrap_or_else(|| panic!("{line}"));
            assert!((stamp.seconds - seconds).abs() < 1e-6, "{line}: {stamp:?}");
            assert_eq!(stamp.zone, zone, "{line}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        let far = format!("{} 2015-03-01 12:00:00", "x".repeat(80));
        for line in [
            "",
            "12:00:00 x",
            "2015-03-01",
            "2015-13-01 12:00:00",
            "2015-03-01 25:00:00",
            "a2015-03-01 12:00:00",
            "12015-03-01 12:00:00",
            "\tat java.lang.Thread.run(Thread.java:745)",
            "ß€2015",
            far.as_str(),
        ] {
            assert_eq!(of(line), None, "{line:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_is_too_much(line in ".{0,80}") {
            let _ = of(&line);
        }
    }
}

//! Sizes in binary units, times in words.

use std::time::Duration;

pub use crate::cluster::watch::memory as parse_circus;

/// `0 B`, `999 B`, `1.5 KiB`, `2.0 GiB`.
#[must_use]
pub fn bytes(count: f64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if !count.is_finite() || count < 1024.0 {
        return format!("{:.0} B", if count.is_finite() { count.max(0.0) } else { 0.0 });
    }
    let mut value = count;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// `0.2 s`, `12 s`, `2 m 10 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let secs = time.as_secs_f64();
    if secs < 10.0 { format!("{secs:.1} s") } else { age(secs) }
}

/// `12 s`, `2 m 10 s`, `3 h 4 m`, `5 d 1 h`.
#[must_use]
pub fn age(secs: f64) -> String {
    const STEPS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let whole = Duration::try_from_secs_f64(secs.max(0.0).round()).map_or(0, |time| time.as_secs());
    let at = STEPS.iter().position(|(_, size)| whole >= *size).unwrap_or(3);
    let mut rest = whole;
    let mut parts = Vec::new();
    for (unit, size) in STEPS.iter().skip(at).take(2) {
        parts.push((rest / size, unit));
        rest %= size;
    }
    if parts.len() == 2 && parts.last().is_some_and(|(count, _)| *count == 0) {
        parts.pop();
    }
    parts.iter().map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Unix seconds as RFC 3339 in UTC: `2026-11-22T10:44:18Z`.
#[must_use]
pub fn date(unix: f64) -> String {
    // The last second of the year 9999; what lies outside is no date anybody meant.
    if !(0.0..=253_402_300_799.0).contains(&unix) {
        return "-".to_owned();
    }
    let whole = Duration::try_from_secs_f64(unix).map_or(0, |time| time.as_secs());
    let (days, rest) = (whole / 86_400, whole % 86_400);
    // Days to a date by years that begin in March, so that the leap day comes last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_sizes_and_times() {
        let sizes = [0.0, 1023.0, 1024.0, 1536.0, 10_240.0, 1_048_576.0, f64::NAN, -1.0].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10 KiB", "1.0 MiB", "0 B", "0 B"]);
        let ages = [0.0, 59.6, 61.0, 3600.0, 90_000.0, f64::NAN].map(age);
        assert_eq!(ages, ["0 s", "1 m", "1 m 1 s", "1 h", "1 d 1 h", "0 s"]);
        assert_eq!(seconds(Duration::from_millis(240)), "0.2 s");
        let dates = [0.0, 951_782_400.0, 1_795_344_258.8, 4_102_444_799.0, -1.0, f64::NAN].map(date);
        let expected =
            ["1970-01-01T00:00:00Z", "2000-02-29T00:00:00Z", "2026-11-22T10:44:18Z", "2099-12-31T23:59:59Z"];
        assert_eq!(dates[..4], expected);
        assert_eq!(dates[4..], ["-", "-"]);
    }
}

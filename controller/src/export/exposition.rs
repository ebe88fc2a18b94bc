//! The two text formats that Prometheus reads: its own 0.0.4 and OpenMetrics 1.0. Pure.
//!
//! Written here because no library writes both from figures that are gathered anew for each scrape;
//! they differ in the name of a counter's family, in the unit line and in the last line.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own.
    Text,
    /// OpenMetrics.
    Open,
}

impl Format {
    /// What a client wants: OpenMetrics when it names it at least as gladly as plain text.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let mut best = (Self::Text, 0.0_f32);
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let format = match words.next() {
                Some("application/openmetrics-text") => Self::Open,
                Some("text/plain" | "text/*" | "*/*") => Self::Text,
                _ => continue,
            };
            let weight = words.find_map(|word| word.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if weight > best.1 || (weight >= best.1 && weight > 0.0 && format == Self::Open) {
                best = (format, weight);
            }
        }
        best.0
    }

    /// What the answer calls itself.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up; its name ends in `_total`.
    Counter,
}

/// Metrics of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// With the unit, and `_total` for counters.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What its numbers mean.
    pub kind: Kind,
    /// The base unit at the end of the name (before `_total`), if it has one.
    pub unit: Option<&'static str>,
}

/// Samples by family, in the order in which families came.
#[derive(Debug, Default)]
pub struct Exposition {
    families: Vec<(Family, String)>,
    known: BTreeMap<&'static str, usize>,
}

impl Exposition {
    /// One sample.
    pub fn put(&mut self, family: Family, labels: &[(&str, &str)], value: f64) {
        let at = *self.known.entry(family.name).or_insert_with(|| {
            self.families.push((family, String::new()));
            self.families.len() - 1
        });
        let Some((_, text)) = self.families.get_mut(at) else { return };
        text.push_str(family.name);
        for (position, (name, value)) in labels.iter().enumerate() {
            text.push_str(if position == 0 { "{" } else { "," });
            text.push_str(name);
            text.push_str("=\"");
            escape(value, text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _always_works = writeln!(text, " {}", Number(value));
    }

    /// The whole text.
    #[must_use]
    pub fn print(&self, format: Format) -> String {
        let mut text = String::new();
        for (family, samples) in &self.families {
            let name = match format {
                Format::Text => family.name,
                Format::Open => family.name.strip_suffix("_total").unwrap_or(family.name),
            };
            let kind = match family.kind {
                Kind::Gauge => "gauge",
                Kind::Counter => "counter",
            };
            let _always_works = writeln!(text, "# HELP {name} {}", family.help);
            let _always_works = writeln!(text, "# TYPE {name} {kind}");
            if let (Format::Open, Some(unit)) = (format, family.unit) {
                let _always_works = writeln!(text, "# UNIT {name} {unit}");
            }
            text.push_str(samples);
        }
        if format == Format::Open {
            text.push_str("# EOF\n");
        }
        text
    }
}

fn escape(value: &str, text: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            value if value.is_nan() => out.write_str("NaN"),
            f64::INFINITY => out.write_str("+Inf"),
            f64::NEG_INFINITY => out.write_str("-Inf"),
            value => write!(out, "{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GAUGE: Family =
        Family { name: "a_bytes", help: "How much.", kind: Kind::Gauge, unit: Some("bytes") };
    const COUNTER: Family =
        Family { name: "b_seconds_total", help: "So far.", kind: Kind::Counter, unit: Some("seconds") };

    #[test]
    fn both_formats() {
        let mut all = Exposition::default();
        all.put(GAUGE, &[], 1.5e10);
        all.put(COUNTER, &[("node", "a\"b\\c\nd"), ("x", "é")], 2.0);
        all.put(GAUGE, &[("n", "1")], f64::NAN);
        assert_eq!(
            all.print(Format::Text),
            "# HELP a_bytes How much.\n# TYPE a_bytes gauge\na_bytes 15000000000\na_bytes{n=\"1\"} NaN\n\
             # HELP b_seconds_total So far.\n# TYPE b_seconds_total counter\n\
             b_seconds_total{node=\"a\\\"b\\\\c\\nd\",x=\"é\"} 2\n"
        );
        assert_eq!(
            all.print(Format::Open),
            "# HELP a_bytes How much.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes 15000000000\n\
             a_bytes{n=\"1\"} NaN\n# HELP b_seconds So far.\n# TYPE b_seconds counter\n# UNIT b_seconds seconds\n\
             b_seconds_total{node=\"a\\\"b\\\\c\\nd\",x=\"é\"} 2\n# EOF\n"
        );
    }

    #[test]
    fn the_client_chooses() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(Format::wanted(prometheus), Format::Open);
        for text in [
            "",
            "*/*",
            "text/plain",
            "text/plain,application/openmetrics-text;q=0.1",
            "application/openmetrics-text;q=0",
        ] {
            assert_eq!(Format::wanted(text), Format::Text, "{text}");
        }
    }
}

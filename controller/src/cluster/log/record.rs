//! One stream's text as records: a line, with the lines that belong to it.
//!
//! Where lines are stamped, one without a stamp belongs to the one before it. Elsewhere a line does
//! that is indented or goes on with an exception.

use super::stamp;

/// The most bytes of a record; what is more begins another.
const LONGEST: usize = 256 * 1024;

/// A record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Of which stream, as its owner counts them.
    pub stream: usize,
    /// Corrected time.
    pub time: f64,
    /// Its lines, without the last line end.
    pub text: String,
}

/// When a piece of text was written, and by which clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Written {
    /// No later than this, by the console's clock; lines without a stamp get this time.
    pub by: f64,
    /// How far the node's clock is ahead of the console's.
    pub ahead: f64,
    /// The node's zone.
    pub zone: i32,
}

/// Cuts one stream into records.
#[derive(Debug)]
pub struct Cutter {
    stream: usize,
    partial: String,
    open: Option<Record>,
    /// Lines of this stream have stamps.
    stamped: bool,
    traceback: bool,
    last: f64,
    /// When the open record grew last.
    grew: f64,
}

impl Cutter {
    /// Of this stream.
    #[must_use]
    pub fn new(stream: usize) -> Self {
        Self {
            stream,
            partial: String::new(),
            open: None,
            stamped: false,
            traceback: false,
            last: f64::NEG_INFINITY,
            grew: 0.0,
        }
    }

    /// More text, at `now`; records that are complete are added to `out`.
    pub fn push(&mut self, text: &str, written: Written, now: f64, out: &mut Vec<Record>) {
        if text.is_empty() {
            return;
        }
        self.grew = now;
        let joined;
        let text = if self.partial.is_empty() {
            text
        } else {
            joined = std::mem::take(&mut self.partial) + text;
            joined.as_str()
        };
        // What stands before the first stamp was written about then.
        let first = if self.stamped { None } else { text.lines().find_map(stamp::of) };
        let unstamped = first.map_or(written.by, |stamp| self.corrected(stamp, written));
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => self.line(line.strip_suffix('\r').unwrap_or(line), written, unstamped, out),
                None if line.len() > LONGEST => self.line(line, written, unstamped, out),
                None => self.partial.push_str(line),
            }
        }
    }

    fn corrected(&self, stamp: stamp::Stamp, Written { by, ahead, zone }: Written) -> f64 {
        // Nothing is written after it came.
        (stamp.unix(zone) - ahead).min(by)
    }

    fn line(&mut self, line: &str, written: Written, unstamped: f64, out: &mut Vec<Record>) {
        let stamp = stamp::of(line);
        let belongs = match (stamp, self.stamped) {
            (Some(_), _) => false,
            (None, true) => true,
            (None, false) => self.goes_on(line),
        };
        self.stamped |= stamp.is_some();
        if let Some(open) = self.open.as_mut().filter(|open| belongs && open.text.len() < LONGEST) {
            open.text.push('\n');
            open.text.push_str(line);
            return;
        }
        self.close(out);
        self.traceback = line.starts_with("Traceback (most recent");
        let time = stamp.map_or(unstamped, |stamp| self.corrected(stamp, written)).max(self.last);
        self.last = time;
        self.open = Some(Record { stream: self.stream, time, text: line.to_owned() });
    }

    fn goes_on(&mut self, line: &str) -> bool {
        const SIGNS: [&str; 6] = [" ", "\t", "Caused by:", "Suppressed:", "... ", "During handling of"];
        let sign = line.is_empty() || SIGNS.iter().any(|sign| line.starts_with(sign));
        // The exception itself stands behind a traceback's indented lines.
        let last = self.traceback && !sign;
        self.traceback &= sign;
        sign || last
    }

    /// The open record, if nothing was added to it since `before`.
    pub fn settle(&mut self, before: f64, out: &mut Vec<Record>) {
        if self.grew <= before {
            self.close(out);
        }
    }

    /// Everything, also what has no line end.
    pub fn finish(&mut self, written: Written, out: &mut Vec<Record>) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest, written, written.by, out);
        }
        self.close(out);
    }

    fn close(&mut self, out: &mut Vec<Record>) {
        out.extend(self.open.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(f64, String)> {
        let (mut cutter, mut out) = (Cutter::new(0), Vec::new());
        let written = Written { by: 2e9, ahead: 0.0, zone: 0 };
        // In crumbs, which must make no difference.
        for piece in text.as_bytes().chunks(7) {
            cutter.push(std::str::from_utf8(piece).expect("ASCII"), written, 0.0, &mut out);
        }
        cutter.finish(written, &mut out);
        out.into_iter().map(|record| (record.time, record.text)).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        cut(text).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn a_trace_stays_with_its_line() {
        let stamped = "2015-03-01 12:00:00 ERROR x\njava.io.IOException: y\n\tat a.b(C.java:1)\nCaused by: z\n2015-03-01 12:00:01 INFO\n";
        assert_eq!(texts(stamped).len(), 2);
        let plain = "one\njava.io.IOException: y\n\tat a.b\nCaused by: z\n\t... 3 more\ntwo\nTraceback (most recent call last):\n  File\nKeyError: 7\nthree";
        let found = texts(plain);
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(found[1].ends_with("3 more") && found[3].ends_with("KeyError: 7"), "{found:#?}");
        assert_eq!(texts("half"), ["half"]);
    }

    #[test]
    fn times_are_corrected_and_never_go_back() {
        let (mut cutter, mut out) = (Cutter::new(7), Vec::new());
        let written = Written { by: 1_425_211_210.0, ahead: 5.0, zone: 3600 };
        let text = "begun before\n2015-03-01 13:00:05 a\n2015-03-01 13:00:04 b\n2015-03-01 19:00:00 c\n";
        cutter.push(text, written, 0.0, &mut out);
        cutter.finish(written, &mut out);
        let times: Vec<f64> = out.iter().map(|record| record.time - 1_425_211_200.0).collect();
        assert_eq!(times, [0.0, 0.0, 0.0, 10.0]);
        assert!(out.iter().all(|record| record.stream == 7));
    }

    #[test]
    fn an_open_record_waits_for_a_while() {
        let (mut cutter, mut out) = (Cutter::new(0), Vec::new());
        let written = Written { by: 10.0, ahead: 0.0, zone: 0 };
        cutter.push("one\n", written, 10.0, &mut out);
        cutter.settle(9.9, &mut out);
        assert!(out.is_empty());
        cutter.settle(10.0, &mut out);
        assert_eq!(out.len(), 1);
    }
}

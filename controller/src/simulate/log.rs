//! What simulated watchers have written: a log that grows by one line a second and is never stored. All
//! lines have the same length, so any piece of it can be computed.

/// The length of a line, with its end.
const LINE: u64 = 48;

/// The log of a watcher that writes since then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log<'a> {
    /// Whose.
    pub(super) watcher: &'a str,
    /// When its first line was written, Unix seconds.
    pub(super) since: f64,
}

impl Log<'_> {
    /// How long it is now.
    pub(super) fn size(&self, now: f64) -> u64 {
        (now - self.since).max(0.0) as u64 * LINE
    }

    /// Where the last lines begin.
    pub(super) fn last(&self, now: f64, lines: u64) -> u64 {
        self.size(now).saturating_sub(lines.saturating_mul(LINE))
    }

    /// At most `limit` bytes of it, from `offset` on.
    pub(super) fn read(&self, now: f64, offset: u64, limit: u64) -> String {
        let end = self.size(now).min(offset.saturating_add(limit));
        let mut text = String::new();
        let mut at = offset.min(end);
        while at < end {
            let line = self.line(at / LINE);
            let from = usize::try_from(at % LINE).unwrap_or(0);
            let upto = usize::try_from(LINE.min(end - (at - at % LINE))).unwrap_or(0);
            text.push_str(line.get(from..upto).unwrap_or_default());
            at = (at - at % LINE) + LINE;
        }
        text
    }

    fn line(&self, number: u64) -> String {
        let width = usize::try_from(LINE).unwrap_or(48) - 1;
        let words = ["served", "flushed", "compacted", "accepted", "checked"];
        let word = usize::try_from(number % 5).ok().and_then(|at| words.get(at)).unwrap_or(&"did");
        let name: String = self.watcher.chars().filter(char::is_ascii).take(16).collect();
        format!("{:<width$}\n", format!("{name} {word} request {number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_the_whole() {
        let log = Log { watcher: "web", since: 100.0 };
        let whole = log.read(110.5, 0, u64::MAX);
        assert_eq!((log.size(110.5), whole.lines().count()), (480, 10));
        assert!(whole.starts_with("web served request 0 "));
        let pieces: String = (0..480).step_by(7).map(|at| log.read(110.5, at, 7)).collect();
        assert_eq!(pieces, whole);
        assert_eq!(log.read(110.5, log.last(110.5, 1), 1_000), log.line(9));
        assert_eq!(log.read(50.0, 0, 10), "");
    }
}

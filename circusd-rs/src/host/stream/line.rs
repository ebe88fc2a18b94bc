//! Lines with a beginning: a `prefix`, and time and process number where a `time_format` or the terminal
//! wants them.
//!
//! Bytes pass at once, nothing is held back: the prefix goes out when a line begins, and a line that
//! is not finished yet goes on with the next chunk of the same pipe. Should another pipe speak in
//! between, the unfinished line is ended and its rest gets a prefix of its own.
//!
//! It writes nowhere.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Local};
use circus_protocol::number::{Pid, Wid};

/// Whose bytes they are.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// The pipe.
    pub pump: u64,
    /// The process.
    pub pid: Pid,
    /// Its place in its watcher.
    pub wid: Wid,
    /// The watcher.
    pub name: &'a str,
    /// `stdout` or `stderr`.
    pub feed: &'static str,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `<time> [<pid>] | <text>`.
    Plain,
    /// The same in a colour, 1 to 7; empty lines are left out.
    Colour(usize),
}

/// A `strftime` format as Python understands it.
#[derive(Debug, Clone)]
pub struct TimeFormat {
    items: Vec<Item<'static>>,
    /// Whether it shows less than a second.
    fine: bool,
}

impl TimeFormat {
    /// What is no directive stays as it is, as in C.
    #[must_use]
    pub fn new(format: &str) -> Self {
        let mut translated = String::new();
        let mut chars = format.chars();
        let mut fine = false;
        while let Some(c) = chars.next() {
            if c != '%' {
                translated.push(c);
                continue;
            }
            match chars.next() {
                Some('f') => {
                    // Six digits in Python.
                    fine = true;
                    translated.push_str("%6f");
                }
                Some(letter) => {
                    let directive = format!("%{letter}");
                    let known = !StrftimeItems::new(&directive).any(|item| matches!(item, Item::Error));
                    translated.push_str(if known { "%" } else { "%%" });
                    translated.push(letter);
                }
                None => translated.push_str("%%"),
            }
        }
        let items = StrftimeItems::new(&translated).map(Item::to_owned).collect();
        Self { items, fine }
    }

    /// A Unix time in the local zone.
    #[must_use]
    pub fn print(&self, wall: f64) -> String {
        let micros = (wall * 1e6) as i64;
        let time = DateTime::from_timestamp_micros(micros).unwrap_or_default().with_timezone(&Local);
        time.format_with_items(self.items.iter()).to_string()
    }
}

/// Writes the beginnings of one stream's lines.
pub struct Lines {
    /// `{name}`, `{wid}`, `{pid}` and `{stream}` stand for whoever speaks.
    prefix: String,
    format: Option<TimeFormat>,
    style: Style,
    /// Whose line is unfinished.
    open: Option<u64>,
    /// The time as printed last, and for which moment.
    time: (i64, String),
}

impl Lines {
    /// None written yet. Without a format there is only the prefix.
    #[must_use]
    pub fn new(prefix: Option<String>, format: Option<TimeFormat>, style: Style) -> Self {
        let prefix = prefix.unwrap_or_default();
        Self { prefix, format, style, open: None, time: (i64::MIN, String::new()) }
    }

    fn beginning(&self, speaker: Speaker<'_>) -> String {
        let Speaker { pid, wid, name, feed, .. } = speaker;
        let mut text = match self.style {
            Style::Plain => String::new(),
            Style::Colour(colour) => format!("\x1b[0;3{colour};40m"),
        };
        if !self.prefix.is_empty() {
            let (wid, pid) = (wid.0.to_string(), pid.to_string());
            let said = [("{name}", name), ("{wid}", &wid), ("{pid}", &pid), ("{stream}", feed)];
            text += &said.iter().fold(self.prefix.clone(), |text, (word, value)| text.replace(word, value));
        }
        if self.format.is_some() {
            text += &format!("{} [{pid}] | ", self.time.1);
        }
        text
    }

    /// Append to `out` what a chunk of a pipe becomes.
    pub fn frame(&mut self, speaker: Speaker<'_>, bytes: &[u8], wall: f64, out: &mut Vec<u8>) {
        self.tell_time(wall);
        let pump = speaker.pump;
        let prefix = self.beginning(speaker);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if self.open != Some(pump) {
                self.end_line(out);
                if text.is_empty() && self.style != Style::Plain {
                    continue;
                }
                out.extend_from_slice(prefix.as_bytes());
                self.open = Some(pump);
            }
            out.extend_from_slice(text);
            if ends {
                self.end_line(out);
            }
        }
    }

    /// A pipe has ended: so does its unfinished line.
    pub fn end_of(&mut self, pump: u64, out: &mut Vec<u8>) {
        if self.open == Some(pump) {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.extend_from_slice(match self.style {
                Style::Plain => b"\n",
                Style::Colour(_) => b"\x1b[0m\n",
            });
        }
    }

    /// Printing a time costs more than copying a chunk, so it is done once for each second.
    fn tell_time(&mut self, wall: f64) {
        let Some(format) = &self.format else { return };
        let moment = if format.fine { (wall * 1e6) as i64 } else { wall as i64 };
        if self.time.0 != moment {
            self.time = (moment, format.print(wall));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(style: Style, chunks: &[(u64, &str)]) -> String {
        run(Lines::new(None, Some(TimeFormat::new("T")), style), chunks)
    }

    fn run(mut lines: Lines, chunks: &[(u64, &str)]) -> String {
        let mut out = Vec::new();
        for (pump, text) in chunks {
            let pid = Pid::new(100 + i32::try_from(*pump).unwrap()).unwrap();
            let speaker = Speaker { pump: *pump, pid, wid: Wid(3), name: "web", feed: "stdout" };
            lines.frame(speaker, text.as_bytes(), 5.0, &mut out);
        }
        lines.end_of(1, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_gets_a_prefix_once() {
        assert_eq!(
            play(Style::Plain, &[(1, "a\n\nb"), (1, "c\nd")]),
            "T [101] | a\nT [101] | \nT [101] | bc\nT [101] | d\n"
        );
    }

    #[test]
    fn a_prefix_names_who_speaks() {
        let prefix = || Some("{name}.{wid} {stream} {pid} {x}: ".to_owned());
        let chunks = [(1, "a\nb"), (2, "c\n")];
        assert_eq!(
            run(Lines::new(prefix(), None, Style::Plain), &chunks),
            "web.3 stdout 101 {x}: a\nweb.3 stdout 101 {x}: b\nweb.3 stdout 102 {x}: c\n"
        );
        let timed = Lines::new(Some("> ".to_owned()), Some(TimeFormat::new("T")), Style::Plain);
        assert_eq!(run(timed, &[(1, "a\n")]), "> T [101] | a\n");
    }

    #[test]
    fn two_pipes_do_not_share_a_line() {
        assert_eq!(
            play(Style::Plain, &[(1, "a"), (2, "x\n"), (1, "b\n")]),
            "T [101] | a\nT [102] | x\nT [101] | b\n"
        );
    }

    #[test]
    fn the_terminal_gets_colour_and_no_empty_lines() {
        assert_eq!(
            play(Style::Colour(2), &[(1, "text\n\nmore\n")]),
            "\x1b[0;32;40mT [101] | text\x1b[0m\n\x1b[0;32;40mT [101] | more\x1b[0m\n"
        );
    }

    #[test]
    fn a_time_is_printed_as_python_does() {
        let print = |format: &str| TimeFormat::new(format).print(1_600_000_000.25);
        assert_eq!(print("%f|%%|%Q|100%"), "250000|%|%Q|100%");
        assert_eq!(print("%s"), "1600000000");
        assert_eq!(print("%Y").len(), 4);
    }
}

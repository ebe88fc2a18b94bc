//! The children's lines as syslog messages.
//!
//! A datagram cannot be continued, so an unfinished line waits for its end, up to a length. Each pipe
//! has a line of its own.

use std::collections::HashMap;
use std::io;

use circus_protocol::number::Pid;

use crate::host::stream::line::TimeFormat;
use crate::host::syslog::{Severity, Syslog};

/// The longest line of one message; syslog daemons cut what is longer.
const LONGEST: usize = 8 * 1024 - 256;

/// How syslog prints a time.
const TIME: &str = "%b %d %H:%M:%S";

/// Messages of one watcher's stdout or stderr.
#[derive(Debug)]
pub(crate) struct Records {
    syslog: Syslog,
    ident: String,
    severity: Severity,
    time: TimeFormat,
    /// By pipe: whose, and what was not yet sent of its line.
    open: HashMap<u64, (Pid, Vec<u8>)>,
}

impl Records {
    pub(crate) fn new(syslog: Syslog, ident: String, severity: Severity) -> Self {
        Self { syslog, ident, severity, time: TimeFormat::new(TIME), open: HashMap::new() }
    }

    /// Sends what became a line; an error loses the rest.
    pub(crate) fn write(&mut self, pump: u64, pid: Pid, bytes: &[u8], wall: f64) -> io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let mut rest = text;
            loop {
                let (_, line) = self.open.entry(pump).or_insert_with(|| (pid, Vec::new()));
                let (now, later) = rest.split_at(rest.len().min(LONGEST.saturating_sub(line.len())));
                line.extend_from_slice(now);
                rest = later;
                if rest.is_empty() {
                    break;
                }
                self.send(pump, wall)?;
            }
            if ends {
                self.send(pump, wall)?;
            }
        }
        Ok(())
    }

    /// A pipe has ended: so does its unfinished line.
    pub(crate) fn end_of(&mut self, pump: u64, wall: f64) -> io::Result<()> {
        self.send(pump, wall)
    }

    /// Empty lines say nothing.
    fn send(&mut self, pump: u64, wall: f64) -> io::Result<()> {
        let Some((pid, line)) = self.open.remove(&pump).filter(|(_, line)| !line.is_empty()) else {
            return Ok(());
        };
        let head = format!("{} {}[{pid}]: ", self.time.print(wall), self.ident);
        self.syslog.send(self.severity, &[head.as_bytes(), &line].concat())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    use super::*;
    use crate::config::facility::USER;
    use crate::host::syslog::Patience;

    #[test]
    fn a_message_is_a_line_of_one_pipe() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let patience = Patience::Some(Duration::from_secs(1));
        let syslog = Syslog::open(path.to_str().unwrap(), USER, patience).unwrap();
        let mut records = Records::new(syslog, "web".to_owned(), Severity::Error);
        let (one, two) = (Pid::new(11).unwrap(), Pid::new(22).unwrap());
        let mut told = vec![0; 64 * 1024];
        let mut next = |records: &mut Records, pump, pid, bytes: &[u8]| {
            records.write(pump, pid, bytes, 0.0).unwrap();
            let len = listener.recv(&mut told).unwrap();
            let text = String::from_utf8(told[..len].to_vec()).unwrap();
            text.split_once(" web").unwrap().1.to_owned()
        };
        records.write(1, one, b"be", 0.0).unwrap();
        assert_eq!(next(&mut records, 2, two, b"\nother\n"), "[22]: other\0");
        assert_eq!(next(&mut records, 1, one, b"gun\nrest"), "[11]: begun\0");
        let long = next(&mut records, 2, two, &[b'x'; LONGEST + 1]);
        assert_eq!(long.len(), LONGEST + "[22]: \0".len());
        records.end_of(2, 0.0).unwrap();
        assert_eq!(next(&mut records, 1, one, b""), "[22]: x\0");
    }
}

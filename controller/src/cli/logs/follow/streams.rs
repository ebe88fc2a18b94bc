//! What is known of each stream while it is followed, and the order in which its records are told.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::overlap::{behind, by_last_line, overlap};
use crate::cli::logs::filter::Filter;
use crate::cli::logs::live::Said;
use crate::cluster::clock::Offset;
use crate::cluster::log::merge::Merger;
use crate::cluster::log::record::{Cutter, Record, Written};
use crate::outcome::LogPlace;
use crate::render::told::{Columns, Label};

/// How much of a stream's text is remembered, to find it again.
const TAIL: usize = 64 * 1024;
/// A record that did not grow for so many seconds is complete.
const QUIET: f64 = 0.1;

/// One log of one node.
#[derive(Debug)]
struct Stream {
    node: usize,
    label: Label,
    cutter: Cutter,
    place: Option<LogPlace>,
    tail: String,
    zone: i32,
    /// What is heard counts, what is read does not.
    live: bool,
    meeting: Option<Meeting>,
}

/// The news of output may come later than the output itself is read: what was said until then may have
/// been told already.
#[derive(Debug)]
struct Meeting {
    /// By the node's clock.
    until: f64,
    /// The end of what was read, behind what has been heard of it; unknown until something was heard.
    ahead: Option<String>,
}

impl Meeting {
    /// How many bytes of what is heard were read already, and whether more of that may follow.
    fn known(&mut self, tail: &str, said: &Said) -> (usize, bool) {
        if said.time > self.until {
            return (0, false);
        }
        let text = said.text.as_str();
        let Some(ahead) = self.ahead.take() else {
            let Some(at) = tail.rfind(text) else { return (overlap(tail, text), false) };
            let behind = tail.get(at + text.len()..).unwrap_or_default().to_owned();
            let more = !behind.is_empty();
            self.ahead = Some(behind);
            return (text.len(), more);
        };
        match ahead.strip_prefix(text) {
            Some(behind) => {
                let more = !behind.is_empty();
                self.ahead = Some(behind.to_owned());
                (text.len(), more)
            }
            None if text.starts_with(&ahead) => (ahead.len(), false),
            None => (0, false),
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    known: HashMap<(usize, String, String), usize>,
    merger: Merger,
    columns: Columns,
    ndjson: bool,
}

impl Streams {
    pub(super) fn new(columns: Columns, ndjson: bool) -> Self {
        Self { streams: Vec::new(), known: HashMap::new(), merger: Merger::default(), columns, ndjson }
    }

    fn find(&mut self, node: usize, label: &str, name: &str, source: &str) -> usize {
        // Topics may spell a watcher in another case than whoever asks.
        let key = (node, name.to_lowercase(), source.to_owned());
        if let Some(at) = self.known.get(&key) {
            return *at;
        }
        let at = self.streams.len();
        let label =
            Label { node: label.to_owned(), index: node, name: name.to_owned(), source: source.to_owned() };
        let (cutter, tail) = (Cutter::new(at), String::new());
        let (place, meeting) = (None, None);
        self.streams.push(Stream { node, label, cutter, place, tail, zone: 0, live: false, meeting });
        self.known.insert(key, at);
        at
    }

    /// Where the logs of a node that must be asked for are read on.
    pub(super) fn places(&self, node: usize) -> Vec<LogPlace> {
        let own = self.streams.iter().filter(|stream| stream.node == node && !stream.live);
        own.filter_map(|stream| stream.place.clone()).collect()
    }

    /// A log of a node was read; whether there is more of it already.
    pub(super) fn read(
        &mut self,
        node: usize,
        label: &str,
        entry: &Value,
        clock: Option<Offset>,
        now: f64,
    ) -> bool {
        let word = |key: &str| entry.get(key).and_then(Value::as_str);
        let (Some(name), Some(source)) = (word("name"), word("source")) else { return false };
        let at = self.find(node, label, name, source);
        let Some(stream) = self.streams.get_mut(at) else { return false };
        let path = word("path").map(str::to_owned);
        if word("error").is_some() {
            // It may come into being; then all of it is new.
            let place =
                LogPlace { name: name.into(), source: source.into(), offset: 0, generation: None, path };
            stream.place.get_or_insert(place);
            return false;
        }
        let (text, generation) = (word("text").unwrap_or_default(), word("generation").map(str::to_owned));
        let offset = entry.get("next_offset").and_then(Value::as_u64).unwrap_or_default();
        let again = stream.place.is_none() && !stream.tail.is_empty();
        stream.place = Some(LogPlace { name: name.into(), source: source.into(), offset, generation, path });
        let ahead = clock.map_or(0.0, |clock| clock.seconds);
        let written = crate::render::told::written(entry, ahead);
        stream.zone = written.zone;
        // After live output broke off, the last lines say what was missed.
        let text = if again { behind(&stream.tail, text).unwrap_or(text) } else { text };
        let text = text.to_owned();
        self.add(at, &text, written, now);
        entry.get("eof").and_then(Value::as_bool) == Some(false)
    }

    fn add(&mut self, at: usize, text: &str, written: Written, now: f64) {
        let Some(stream) = self.streams.get_mut(at) else { return };
        remember(&mut stream.tail, text);
        let mut records = Vec::new();
        stream.cutter.push(text, written, now, &mut records);
        records.into_iter().for_each(|record| self.merger.push(record));
    }

    /// From here on what is heard of this node counts. What was read last was asked for at `asked`
    /// and read before `answered`, by our clock; `heard` is what was said since before that.
    pub(super) fn go_live(
        &mut self,
        node: usize,
        label: &str,
        clock: Offset,
        (asked, answered): (f64, f64),
        heard: Vec<Said>,
        now: f64,
    ) {
        let (from, to) = (asked + clock.seconds - clock.error, answered + clock.seconds + clock.error);
        for stream in self.streams.iter_mut().filter(|stream| stream.node == node) {
            stream.live |= matches!(stream.label.source.as_str(), "stdout" | "stderr");
            stream.meeting = Some(Meeting { until: to, ahead: None });
        }
        let mut by_stream: HashMap<usize, Vec<Said>> = HashMap::new();
        let mut order = Vec::new();
        for said in heard {
            let at = self.find(node, label, &said.name, &said.source);
            order.push(at);
            by_stream.entry(at).or_default().push(said);
        }
        order.dedup();
        for at in order {
            let Some(said) = by_stream.remove(&at) else { continue };
            let tail = self.streams.get(at).map(|stream| stream.tail.as_str()).unwrap_or_default();
            let (mut rest, ahead) = known(tail, &said, from, to);
            if let Some(stream) = self.streams.get_mut(at) {
                stream.meeting = ahead.map(|ahead| Meeting { until: to, ahead: Some(ahead) });
            }
            for said in said {
                // Cut only where both accounts have a character's beginning.
                let skip = rest.min(said.text.len());
                rest -= skip;
                let text = said.text.get(skip..).unwrap_or_default().to_owned();
                if !text.is_empty() {
                    self.hear(node, label, Said { text, ..said }, clock.seconds, now);
                }
            }
        }
    }

    /// Something was heard.
    pub(super) fn hear(&mut self, node: usize, label: &str, said: Said, ahead: f64, now: f64) {
        let at = self.find(node, label, &said.name, &said.source);
        let Some(stream) = self.streams.get_mut(at) else { return };
        stream.live = true;
        let written = Written { by: (said.time - ahead).min(now), ahead, zone: stream.zone };
        let mut skip = 0;
        if let Some(mut meeting) = stream.meeting.take() {
            let more;
            (skip, more) = meeting.known(&stream.tail, &said);
            stream.meeting = more.then_some(meeting);
        }
        self.add(at, said.text.get(skip..).unwrap_or_default(), written, now);
    }

    /// Nothing is heard of this node any more; its last lines must be read again.
    pub(super) fn deafen(&mut self, node: usize) {
        for stream in self.streams.iter_mut().filter(|stream| stream.node == node && stream.live) {
            (stream.live, stream.place) = (false, None);
        }
    }

    /// The lines whose time has come.
    pub(super) fn ready(&mut self, now: f64, filter: &Filter) -> String {
        let mut records = Vec::new();
        for stream in &mut self.streams {
            stream.cutter.settle(now - QUIET, &mut records);
        }
        records.into_iter().for_each(|record| self.merger.push(record));
        let mut text = String::new();
        while let Some(record) = self.merger.pop(now) {
            self.print(&record, filter, &mut text);
        }
        text
    }

    /// All lines, however young.
    pub(super) fn rest(&mut self, filter: &Filter) -> String {
        let (mut records, mut text) = (Vec::new(), String::new());
        for stream in &mut self.streams {
            stream.cutter.settle(f64::MAX, &mut records);
        }
        records.into_iter().for_each(|record| self.merger.push(record));
        while let Some(record) = self.merger.take() {
            self.print(&record, filter, &mut text);
        }
        text
    }

    fn print(&self, record: &Record, filter: &Filter, to: &mut String) {
        let Some(stream) = self.streams.get(record.stream).filter(|_| filter.lets(record)) else { return };
        let label = &stream.label;
        if self.ndjson {
            let line = json!({
                "operation": "logs", "node": label.node, "name": label.name, "source": label.source,
                "time": (record.time * 1e3).round() / 1e3, "text": record.text,
            });
            to.push_str(&format!("{line}\n"));
        } else {
            label.lines(self.columns, &record.text, to);
        }
    }
}

/// How much of what was heard has been read already, and what was read behind it.
fn known(tail: &str, said: &[Said], from: f64, to: f64) -> (usize, Option<String>) {
    let maybe: String = said.iter().filter(|said| said.time <= to).map(|said| said.text.as_str()).collect();
    let known = overlap(tail, &maybe);
    if known > 0 || maybe.is_empty() {
        return (known, None);
    }
    if let Some(at) = tail.rfind(&maybe) {
        return (maybe.len(), tail.get(at + maybe.len()..).map(str::to_owned));
    }
    let early = || said.iter().filter(|said| said.time < from).map(|said| said.text.len()).sum();
    (by_last_line(tail, &maybe).unwrap_or_else(early), None)
}

fn remember(tail: &mut String, text: &str) {
    tail.push_str(text);
    if tail.len() > 2 * TAIL {
        let mut from = tail.len() - TAIL;
        while !tail.is_char_boundary(from) {
            from += 1;
        }
        tail.drain(..from);
    }
}

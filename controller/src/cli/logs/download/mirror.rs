//! One node's logs on our disk, and the places up to which they were read.
//!
//! A piece is appended before its place is kept. When we were killed in between, a file has more than
//! its place says; what comes again is compared with it and not written twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use circus_protocol::command::output::OLDEST;
use serde_json::{Map, Value, json};

use crate::outcome::LogPlace;

/// Beside the logs of a node.
const STATE: &str = ".circusman-logs.json";

/// See the module.
#[derive(Debug)]
pub(super) struct Mirror {
    dir: PathBuf,
    places: BTreeMap<String, Kept>,
    /// For the person.
    pub(super) notes: Vec<String>,
    pub(super) errors: Vec<String>,
    /// By path: new bytes, and all.
    pub(super) fresh: BTreeMap<String, (u64, u64)>,
}

/// How far a log was read.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    offset: u64,
    generation: Option<String>,
    /// Bytes of our file that this stands for.
    size: u64,
}

impl Mirror {
    pub(super) fn open(dir: &Path) -> Result<Self, String> {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let path = dir.join(STATE);
        let places = match fs::read(&path) {
            Ok(bytes) => read(&bytes).ok_or_else(|| {
                format!("{}: cannot be understood; download into another directory", path.display())
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self {
            dir: dir.to_owned(),
            places,
            notes: Vec::new(),
            errors: Vec::new(),
            fresh: BTreeMap::new(),
        })
    }

    fn file(&self, name: &str, source: &str) -> PathBuf {
        self.dir.join(plain(name)).join(format!("{}.log", plain(source)))
    }

    /// Where a log is read on.
    pub(super) fn place(&mut self, name: &str, source: &str) -> Result<(u64, Option<String>), String> {
        let path = self.file(name, source);
        let size = match fs::metadata(&path) {
            Ok(found) => Some(found.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        self.fresh.insert(path.display().to_string(), (0, size.unwrap_or(0)));
        let kept = self.places.get(&key(name, source));
        match (kept, size) {
            (Some(kept), Some(size)) if size >= kept.size => Ok((kept.offset, kept.generation.clone())),
            (Some(Kept { size: 0, .. }) | None, None) => Ok((0, Some(OLDEST.to_owned()))),
            (Some(kept), size) => Err(format!(
                "{} has {} bytes, but {} were downloaded: it is left alone; move it and {STATE} away to begin anew",
                path.display(),
                size.unwrap_or(0),
                kept.size
            )),
            // Begun, and killed before the first place was kept: compared from its beginning.
            (None, Some(_)) => Ok((0, Some(OLDEST.to_owned()))),
        }
    }

    /// Appends a piece; where the next one begins, if there is more.
    pub(super) fn append(&mut self, place: &LogPlace, entry: &Value) -> Result<Option<LogPlace>, String> {
        let path = self.file(&place.name, &place.source);
        let word = |key: &str| entry.get(key).and_then(Value::as_str);
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        if let Some(error) = word("error") {
            return Err(format!("{}/{}: {error}", place.name, place.source));
        }
        let (Some(offset), Some(next), Some(packed)) =
            (number("offset"), number("next_offset"), word("base64"))
        else {
            return Err(format!(
                "{}/{}: the node does not tell bytes; is it too old?",
                place.name, place.source
            ));
        };
        let bytes = STANDARD.decode(packed).map_err(|error| format!("{}: {error}", path.display()))?;
        let kept = self.places.entry(key(&place.name, &place.source)).or_default();
        if offset != place.offset {
            self.notes.push(format!(
                "{}/{}: went on at byte {offset} instead of {}: the log was truncated, or rotated away unread",
                place.name, place.source, place.offset
            ));
        }
        let (added, size) =
            add(&path, kept.size, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let generation = word("generation").map(str::to_owned);
        *kept = Kept { offset: next, generation: generation.clone(), size: kept.size + bytes.len() as u64 };
        let fresh = self.fresh.entry(path.display().to_string()).or_default();
        *fresh = (fresh.0 + added, size);
        let more = entry.get("eof").and_then(Value::as_bool) == Some(false);
        Ok(more.then(|| LogPlace { offset: next, generation, ..place.clone() }))
    }

    /// Keeps the places.
    pub(super) fn save(&self) -> Result<(), String> {
        let logs: Map<String, Value> = self
            .places
            .iter()
            .map(|(key, Kept { offset, generation, size })| {
                (key.clone(), json!({"offset": offset, "generation": generation, "size": size}))
            })
            .collect();
        let (path, new) = (self.dir.join(STATE), self.dir.join(format!("{STATE}.new")));
        let text = format!("{:#}\n", json!({"schema": 1, "logs": logs}));
        let write = || {
            fs::write(&new, text)?;
            fs::rename(&new, &path)
        };
        write().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
    }
}

/// Appends what is not there yet behind `known` bytes; how much that was, and the file's size.
fn add(path: &Path, known: u64, bytes: &[u8]) -> std::io::Result<(u64, u64)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = File::options().read(true).append(true).create(true).open(path)?;
    let size = file.metadata()?.len();
    let there = size.saturating_sub(known).min(bytes.len() as u64);
    let there = usize::try_from(there).unwrap_or(bytes.len());
    let (old, new) = bytes.split_at_checked(there).unwrap_or((bytes, &[]));
    if !old.is_empty() {
        let mut found = vec![0; old.len()];
        file.seek(SeekFrom::Start(known))?;
        file.read_exact(&mut found)?;
        if found != old {
            return Err(std::io::Error::other(
                "it was changed by somebody else since the last download: it is left alone; move it away to begin anew",
            ));
        }
    }
    file.write_all(new)?;
    Ok((new.len() as u64, size + new.len() as u64))
}

fn key(name: &str, source: &str) -> String {
    format!("{name}/{source}")
}

fn read(bytes: &[u8]) -> Option<BTreeMap<String, Kept>> {
    let state: Value = serde_json::from_slice(bytes).ok()?;
    let logs = state.get("logs")?.as_object()?;
    let kept = |value: &Value| {
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let generation = value.get("generation").and_then(Value::as_str).map(str::to_owned);
        Some(Kept { offset: number("offset")?, generation, size: number("size")? })
    };
    logs.iter().map(|(key, value)| Some((key.clone(), kept(value)?))).collect()
}

/// A name as a part of a path: it leads nowhere else.
pub(super) fn plain(name: &str) -> String {
    let safe = |letter: char| match letter {
        '/' | '\\' | '\0' => '_',
        letter if letter.is_control() => '_',
        letter => letter,
    };
    let text: String = name.chars().map(safe).collect();
    match text.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if text.is_empty() => "_".to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: &[u8], offset: u64, next: u64, eof: bool) -> Value {
        json!({"base64": STANDARD.encode(bytes), "offset": offset, "next_offset": next, "eof": eof, "generation": "7-1"})
    }

    fn place(offset: u64) -> LogPlace {
        let (name, source) = ("web".to_owned(), "stdout".to_owned());
        LogPlace { name, source, offset, generation: None, path: None }
    }

    #[test]
    fn pieces_are_appended_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mirror = Mirror::open(dir.path()).expect("opens");
        assert_eq!(mirror.place("web", "stdout"), Ok((0, Some("oldest".to_owned()))));
        let next = mirror.append(&place(0), &entry(b"ab\xff", 0, 3, false)).expect("works").expect("more");
        assert_eq!((next.offset, next.generation.as_deref()), (3, Some("7-1")));
        mirror.save().expect("kept");
        // Killed after the next piece was written and before its place was kept.
        assert_eq!(mirror.append(&place(3), &entry(b"cd", 3, 5, true)), Ok(None));
        let mut again = Mirror::open(dir.path()).expect("opens");
        assert_eq!(again.place("web", "stdout"), Ok((3, Some("7-1".to_owned()))));
        assert_eq!(again.append(&place(3), &entry(b"cdef", 3, 7, true)), Ok(None));
        again.save().expect("kept");
        let file = dir.path().join("web/stdout.log");
        assert_eq!(fs::read(&file).expect("there"), b"ab\xffcdef");
        assert_eq!(again.fresh.values().next(), Some(&(2, 7)));
        assert!(again.notes.is_empty());
        again.append(&place(7), &entry(b"new", 0, 3, true)).expect("works");
        assert!(again.notes[0].contains("went on at byte 0 instead of 7"), "{:?}", again.notes);
    }

    #[test]
    fn what_somebody_else_changed_is_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mirror = Mirror::open(dir.path()).expect("opens");
        fs::create_dir(dir.path().join("web")).expect("a folder");
        let file = dir.path().join("web/stdout.log");
        fs::write(&file, "mine").expect("written");
        mirror.place("web", "stdout").expect("compared later");
        let refused = mirror.append(&place(0), &entry(b"theirs", 0, 6, true)).expect_err("differs");
        assert!(refused.contains("left alone"), "{refused}");
        assert_eq!(fs::read(&file).expect("there"), b"mine");
        fs::remove_file(&file).expect("gone");
        mirror.append(&place(0), &entry(b"theirs", 0, 6, true)).expect("new");
        fs::write(&file, "th").expect("written");
        assert!(mirror.place("web", "stdout").expect_err("shorter").contains("2 bytes, but 6"));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for (name, path) in
            [("..", "_."), ("a/../b", "a_.._b"), ("tcp://x:1", "tcp:__x:1"), ("", "_"), (".x", "_x")]
        {
            assert_eq!(plain(name), path);
        }
    }
}

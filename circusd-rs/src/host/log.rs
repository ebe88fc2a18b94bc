//! Reading what was logged: the end of a file across those that were rotated away, a piece from a
//! position on, or what is still in memory.
//!
//! Positions are bytes of one file, which its inode and its birth name (`generation`): who follows a
//! log reads on in the file that was rotated away before going to the present one, and who was away
//! too long begins with the oldest that is younger than what he knew. It refuses to know who asks, and
//! never follows anything that is not a regular file.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use circus_protocol::command::LogPart;
use circus_protocol::command::output::{MAX_TEXT, OLDEST};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::arbiter::effect::{LogPlace, LogQuestion, Recollection};
use crate::arbiter::input::{LastWords, LogText, StreamTrouble};
use crate::host::clock;
use crate::host::history::History;
use crate::host::spawn::program;
use crate::host::stream::live::whole_characters;
use crate::host::stream::options::{Destination, Format};
use crate::host::stream::words::Words;
use crate::host::stream::{Found, Outputs};

/// How long the output thread may take to say what it holds; a disk may hang.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many rotated files are looked at.
const MAX_FILES: usize = 100;

/// The answer to a question, or why there is none.
pub(crate) async fn read(outputs: Outputs, question: LogQuestion) -> Result<LogText, String> {
    let LogQuestion { watcher, place, part, binary } = question;
    let path = match place {
        LogPlace::File(path) => PathBuf::from(path),
        LogPlace::Stream(feed, config) => {
            let format = Format::new(&config, 0).map_err(|error| error.to_string())?;
            match format.to {
                Destination::File(Some(path), _) => path,
                Destination::File(None, _)
                | Destination::Own
                | Destination::Memory
                | Destination::Syslog { .. } => {
                    let found = timeout(PATIENCE, outputs.find(watcher, feed)).await;
                    let found = found.ok().and_then(Result::ok).ok_or("the output thread does not answer")?;
                    match found.path.clone() {
                        Some(path) => path,
                        None => return Ok(from_memory(&found, &part, binary)),
                    }
                }
            }
        }
    };
    let reading = spawn_blocking(move || {
        from_file(&path, &part, binary).map_err(|error| format!("{}: {error}", path.display()))
    });
    reading.await.unwrap_or_else(|bug| Err(format!("a bug: {bug}")))
}

/// What is remembered of a process, what is wrong with a program and with the streams; what cannot be had
/// is left out.
pub(crate) async fn recall(
    (outputs, history): (Outputs, History),
    question: Recollection,
) -> (LastWords, Vec<StreamTrouble>) {
    let Recollection { watcher, key, program } = question;
    // All are asked before any is waited for.
    let troubles = known(outputs.troubles(watcher));
    let words = key.map(|key| known(outputs.last_words(watcher, key)));
    let figures = key.map(|key| known(history.of(watcher, key)));
    let troubles = troubles.await;
    let words = if let Some(words) = words { words.await } else { Words::default() };
    let figures = if let Some(figures) = figures { figures.await } else { Vec::new() };
    let program = match program {
        Some(spec) => {
            let program = spec.argv.first().cloned().unwrap_or_default();
            spawn_blocking(move || program::look(&program, &spec.env, &spec.working_dir)).await.ok()
        }
        None => None,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let words = LastWords { stdout: text(&words.stdout), stderr: text(&words.stderr), program, figures };
    (words, troubles)
}

/// What somebody else remembers; nothing, if it does not answer.
async fn known<T: Default>(answer: oneshot::Receiver<T>) -> T {
    timeout(PATIENCE, answer).await.ok().and_then(Result::ok).unwrap_or_default()
}

fn from_memory(found: &Found, part: &LogPart, binary: bool) -> LogText {
    let Found { start, bytes, .. } = found;
    let end = start + bytes.len() as u64;
    let from = match part {
        LogPart::Last { lines } => end - last_lines(bytes, *lines as usize).len() as u64,
        LogPart::From { offset, .. } => (*offset).clamp(*start, end),
        // Answered without us.
        LogPart::Sources => end,
    };
    let rest = bytes.get(place(from - start)..).unwrap_or_default();
    let limit = match part {
        LogPart::Last { .. } | LogPart::Sources => MAX_TEXT as usize,
        LogPart::From { limit, .. } => *limit as usize,
    };
    let piece = rest.get(..limit.min(rest.len())).unwrap_or(rest);
    let words = words(piece, piece.len() == rest.len(), binary);
    let next_offset = from + words.length;
    words.told(from, next_offset, next_offset >= end, None)
}

fn from_file(path: &Path, part: &LogPart, binary: bool) -> io::Result<LogText> {
    match part {
        LogPart::Last { lines } => end_of_file(path, *lines as usize, binary),
        LogPart::From { offset, limit, generation } => {
            piece_of_file(path, *offset, *limit as usize, generation.as_deref(), binary)
        }
        LogPart::Sources => Err(io::Error::other("nothing to read")),
    }
}

/// The last lines; where the file has not enough of them, those before are in the rotated ones.
fn end_of_file(path: &Path, lines: usize, binary: bool) -> io::Result<LogText> {
    let (mut file, size, generation) = open(path)?;
    let most = MAX_TEXT as usize;
    let mut bytes = tail_of(&mut file, size, most)?;
    let mut whole = bytes.len() as u64 == size;
    // The line end of a line that begins elsewhere is not enough, so one more is looked for.
    for older in rotated(path) {
        if !whole || bytes.len() >= most || last_lines(&bytes, lines).len() < bytes.len() {
            break;
        }
        let Ok((mut file, size, _)) = open(&older) else { continue };
        let mut more = tail_of(&mut file, size, most - bytes.len())?;
        whole = more.len() as u64 == size;
        more.append(&mut bytes);
        bytes = more;
    }
    let mut kept = last_lines(&bytes, lines);
    if kept.len() == bytes.len() && !whole {
        // It begins within a line, unless that line is all there is.
        let begin = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        kept = kept.get(begin..).filter(|rest| !rest.is_empty()).unwrap_or(kept);
    }
    let words = words(kept, true, binary);
    let offset = size.saturating_sub(kept.len() as u64);
    let held_back = kept.len() as u64 - words.length;
    Ok(words.told(offset, size - held_back, true, Some(generation)))
}

fn piece_of_file(
    path: &Path,
    offset: u64,
    limit: usize,
    wanted: Option<&str>,
    binary: bool,
) -> io::Result<LogText> {
    let (mut file, mut size, mut generation) = open(path)?;
    let mut offset = offset;
    let mut newer: Option<String> = None;
    if let Some(wanted) = wanted.filter(|wanted| *wanted != generation) {
        let mut after = generation.clone();
        let mut found = None;
        for older in rotated(path) {
            let Ok((older, length, name)) = open(&older) else { continue };
            // The wanted one itself; or it is gone, and this is the oldest one so far that is younger.
            let itself = name == wanted;
            if itself || wanted == OLDEST || is_younger(&name, wanted) {
                found = Some((older, length, name.clone(), after, itself));
            }
            if itself {
                break;
            }
            after = name;
        }
        offset = if matches!(&found, Some((.., true))) { offset } else { 0 };
        if let Some((older, length, name, after, _)) = found {
            (file, size, generation, newer) = (older, length, name, Some(after));
        }
    }
    if offset > size {
        // Truncated in place: what is there now is new.
        offset = 0;
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(limit as u64).read_to_end(&mut bytes)?;
    let words = words(&bytes, offset + bytes.len() as u64 >= size, binary);
    let next_offset = offset + words.length;
    let eof = next_offset >= size;
    Ok(match newer {
        // What comes next is in the file after it.
        Some(newer) if eof => words.told(offset, 0, false, Some(newer)),
        _ => words.told(offset, next_offset, eof, Some(generation)),
    })
}

/// What names a file for as long as it exists: its inode, which a successor may get, and when it was
/// made, where the file system tells.
fn generation(found: &fs::Metadata) -> String {
    let born = found.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    match born {
        Some(born) => format!("{}-{}", found.ino(), born.as_nanos()),
        None => found.ino().to_string(),
    }
}

/// Whether one file was made after another; not so if anybody's birth is unknown.
fn is_younger(one: &str, other: &str) -> bool {
    let born = |name: &str| name.split_once('-').and_then(|(_, born)| born.parse::<u128>().ok());
    born(one).zip(born(other)).is_some_and(|(one, other)| one > other)
}

fn open(path: &Path) -> io::Result<(File, u64, String)> {
    // A named pipe must not keep us waiting for somebody who writes.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok((file, found.size(), generation(&found)))
}

fn tail_of(file: &mut File, size: u64, most: usize) -> io::Result<Vec<u8>> {
    let from = size.saturating_sub(most as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(size - from).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file was rotated to, the newest first: its name and a number or a date.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let Some(prefix) = path.file_name().and_then(|name| name.to_str()).map(|name| format!("{name}.")) else {
        return Vec::new();
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let ending = name.to_str()?.strip_prefix(&prefix)?;
            let counted = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit());
            let changed = entry.metadata().ok().filter(|data| data.is_file())?;
            // Of two that are as old, `.1` is newer than `.2`, and a later date than an earlier one.
            let number: i64 = ending.parse().ok()?;
            let order = if ending.len() < 8 { -number } else { number };
            counted.then(|| ((changed.mtime(), changed.mtime_nsec(), order), entry.path()))
        })
        .collect();
    found.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
    found.into_iter().take(MAX_FILES).map(|(_, path)| path).collect()
}

fn last_lines(bytes: &[u8], lines: usize) -> &[u8] {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut ends = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match ends.nth(lines.saturating_sub(1)) {
        Some((at, _)) => bytes.get(at + 1..).unwrap_or_default(),
        None => bytes,
    }
}

/// What is told of some bytes, and how many of them it stands for.
struct Piece {
    text: String,
    binary: bool,
    length: u64,
}

impl Piece {
    fn told(self, offset: u64, next_offset: u64, eof: bool, generation: Option<String>) -> LogText {
        let Self { text, binary, .. } = self;
        LogText { text, binary, offset, next_offset, eof, generation, zone: clock::zone() }
    }
}

/// Text for people: a character that is only begun waits for its rest, unless it is all there is and
/// nothing follows. Or base64 for programs.
fn words(bytes: &[u8], at_end: bool, binary: bool) -> Piece {
    if binary {
        return Piece { text: STANDARD.encode(bytes), binary, length: bytes.len() as u64 };
    }
    let whole = whole_characters(bytes);
    let bytes = if whole == 0 && at_end { bytes } else { bytes.get(..whole).unwrap_or(bytes) };
    Piece { text: String::from_utf8_lossy(bytes).into_owned(), binary, length: bytes.len() as u64 }
}

fn place(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;

//! One watcher's book of log files: where each was when the watcher was started, and how far it has
//! been read since. Reading happens on another thread; only this watcher waits for a disk that does
//! not answer.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

/// How much is read for one question; the next one goes on from there.
const MOST_READ: usize = 4 * 1024 * 1024;

/// A line longer than this is looked at in pieces.
const MOST_LINE: usize = 64 * 1024;

/// Requests that may wait: there is one question and one start at a time.
const REQUESTS: usize = 8;

/// A handle to the book.
#[derive(Debug, Clone)]
pub(super) struct Book(mpsc::Sender<Request>);

#[derive(Debug)]
enum Request {
    Mark { files: Vec<PathBuf>, done: oneshot::Sender<()> },
    Search { file: PathBuf, pattern: String, answer: oneshot::Sender<Result<(), String>> },
}

/// How far a file has been read. Another file of the same name is read from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    offset: u64,
}

#[derive(Debug, Default)]
struct Pages {
    /// Where the files were at the start; those that were not there begin at 0.
    marks: HashMap<PathBuf, Option<Place>>,
    /// By file and pattern: how far, and whether it was found.
    searches: HashMap<(PathBuf, String), (Option<Place>, bool)>,
}

impl Book {
    pub(super) fn open(handle: &Handle) -> Self {
        let (sender, mut requests) = mpsc::channel(REQUESTS);
        handle.spawn(async move {
            let mut pages = Pages::default();
            while let Some(request) = requests.recv().await {
                let work = tokio::task::spawn_blocking(move || {
                    pages.serve(request);
                    pages
                });
                match work.await {
                    Ok(back) => pages = back,
                    Err(error) => {
                        tracing::error!(%error, "bug: reading a log file failed");
                        return;
                    }
                }
            }
        });
        Self(sender)
    }

    /// Only what is written from now on counts.
    pub(super) async fn mark(&self, files: Vec<PathBuf>) {
        let (done, told) = oneshot::channel();
        if self.0.send(Request::Mark { files, done }).await.is_ok() {
            let _the_book_is_closed = told.await;
        }
    }

    /// Whether a line like this has come.
    pub(super) async fn search(&self, file: PathBuf, pattern: String) -> Result<(), String> {
        let closed = || "the book of log files is closed".to_owned();
        let (answer, answered) = oneshot::channel();
        self.0.send(Request::Search { file, pattern, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

impl Pages {
    fn serve(&mut self, request: Request) {
        // Whoever does not wait any more has no ear.
        match request {
            Request::Mark { files, done } => {
                self.mark(files);
                let _gone = done.send(());
            }
            Request::Search { file, pattern, answer } => {
                let _gone = answer.send(self.search(&file, &pattern));
            }
        }
    }

    fn mark(&mut self, files: Vec<PathBuf>) {
        self.searches.clear();
        self.marks.clear();
        for file in files {
            let place = open(&file).ok().and_then(|file| end_of(&file).ok());
            self.marks.insert(file, place);
        }
    }

    fn search(&mut self, path: &Path, pattern: &str) -> Result<(), String> {
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        let key = (path.to_path_buf(), pattern.to_owned());
        let (mut place, found) = match self.searches.get(&key) {
            Some(search) => *search,
            // A file that nobody marked: what stands there may be of an earlier life.
            None => (self.marks.get(path).copied().unwrap_or_else(|| whole(path)), false),
        };
        let result = if found { Ok(true) } else { read_on(path, &regex, &mut place) };
        self.searches.insert(key, (place, matches!(result, Ok(true))));
        match result {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("no line matches {pattern:?} yet")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The end of a file as it is now.
fn whole(path: &Path) -> Option<Place> {
    open(path).ok().and_then(|file| end_of(&file).ok())
}

/// Never waits: a name may lead to a pipe.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"))
    }
}

fn end_of(file: &File) -> io::Result<Place> {
    let about = file.metadata()?;
    Ok(Place { device: about.dev(), inode: about.ino(), offset: about.len() })
}

/// Reads from where the last look ended; true when a line matches.
fn read_on(path: &Path, regex: &Regex, place: &mut Option<Place>) -> io::Result<bool> {
    let mut file = open(path)?;
    let end = end_of(&file)?;
    let known = place
        .filter(|known| (known.device, known.inode) == (end.device, end.inode) && known.offset <= end.offset);
    let mut offset = known.map_or(0, |known| known.offset);
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(MOST_READ).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    let mut found = false;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let complete = line.ends_with(b"\n") || line.len() >= MOST_LINE;
        found |= regex.is_match(String::from_utf8_lossy(line).trim_end_matches(['\n', '\r']));
        // Half a line is looked at again when the rest is there.
        if complete {
            offset = offset.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        }
        if found {
            break;
        }
    }
    *place = Some(Place { offset, ..end });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_what_comes_after_the_mark_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let append = |text: &str| {
            let mut file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("Started\nhalf a li");
        let mut pages = Pages::default();
        pages.mark(vec![path.clone()]);
        assert_eq!(pages.search(&path, "Started").unwrap_err(), "no line matches \"Started\" yet");
        append("ne\nSta");
        assert!(pages.search(&path, "Started").is_err());
        append("rted at last\n");
        assert_eq!(pages.search(&path, "^Started at last$"), Ok(()));
        assert_eq!(pages.search(&path, "Started"), Ok(()), "each pattern reads for itself");
        // It stays true when the line is rotated away, until the next start.
        std::fs::remove_file(&path).unwrap();
        append("fresh\n");
        assert_eq!(pages.search(&path, "Started"), Ok(()));
        assert_eq!(pages.search(&path, "fresh"), Ok(()), "another file of that name is read as a whole");
        pages.mark(vec![path.clone()]);
        assert!(pages.search(&path, "fresh").is_err());
        std::fs::write(&path, "x\n").unwrap();
        assert_eq!(pages.search(&path, "x"), Ok(()), "a file that was cut, too");
    }

    #[test]
    fn what_is_no_file_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut pages = Pages::default();
        assert!(pages.search(&dir.path().join("none"), "x").unwrap_err().contains("No such file"));
        assert!(pages.search(dir.path(), "x").unwrap_err().contains("no regular file"));
        let late = dir.path().join("late");
        pages.mark(vec![late.clone()]);
        std::fs::write(&late, "here\n").unwrap();
        assert_eq!(pages.search(&late, "here"), Ok(()));
    }
}

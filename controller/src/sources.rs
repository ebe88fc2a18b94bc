//! What a SPEC asks of the world: files, the groups file, commands, name servers; and whether any of
//! that has changed since.
//!
//! Asking takes its time, and the caller's thread waits for it: a console does it on a thread of its own
//! (see [`follow`]). A command is run for the user who wrote it, with the user's rights; nothing that a
//! node, a file or a name server says is ever run.

mod exec;
pub mod follow;
mod names;

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use tokio::runtime::Builder;

use crate::inventory::spec::{GroupsFile, MAX_TEXT, Sources};

/// Bits of a file's mode that let others write it.
const OTHERS_WRITE: u32 = 0o022;

/// The real world.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct System {
    groups: Option<PathBuf>,
    /// What can be read only once, such as a pipe: `@<(command)`.
    once: HashMap<String, String>,
    seen: Seen,
}

/// What was asked, and how it looked then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    files: Vec<(PathBuf, Option<Stamp>)>,
    /// Commands or name servers, which do not tell when they would say something else.
    asked: bool,
}

/// What tells one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    number: u64,
    length: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let about = std::fs::metadata(path).ok()?;
        let changed = (about.mtime(), about.mtime_nsec());
        Some(Self { device: about.dev(), number: about.ino(), length: about.len(), changed })
    }
}

impl Seen {
    /// Whether a file is not what it was.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.files.iter().any(|(path, then)| Stamp::of(path) != *then)
    }

    /// Whether only asking again tells what there is now.
    #[must_use]
    pub fn must_ask(&self) -> bool {
        self.asked
    }

    /// Nothing was asked: the SPEC says all there is to know.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.asked
    }

    fn file(&mut self, path: &Path) {
        // The stamp is taken before the text is read: a change in between is then noticed later.
        self.files.retain(|(known, _)| known != path);
        self.files.push((path.to_path_buf(), Stamp::of(path)));
    }
}

impl System {
    /// With this groups file, which need not exist.
    #[must_use]
    pub fn new(groups: Option<PathBuf>) -> Self {
        Self { groups, ..Self::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Begins anew; what can be read only once is kept.
    pub fn forget(&mut self) {
        self.seen = Seen::default();
    }
}

impl Sources for System {
    fn file(&mut self, path: &str) -> Result<String, String> {
        if let Some(text) = self.once.get(path) {
            return Ok(text.clone());
        }
        let regular = std::fs::metadata(path).is_ok_and(|about| about.is_file());
        if regular {
            self.seen.file(Path::new(path));
        }
        let text = read(Path::new(path)).map_err(|error| error.to_string())?;
        if !regular {
            self.once.insert(path.to_owned(), text.clone());
        }
        Ok(text)
    }

    fn groups(&mut self) -> Result<Option<GroupsFile>, String> {
        let Some(path) = self.groups.clone() else { return Ok(None) };
        self.seen.file(&path);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if text.len() > MAX_TEXT {
            return Err(format!("{} is longer than {MAX_TEXT} bytes", path.display()));
        }
        let about = std::fs::metadata(&path).map_err(failed)?;
        let own = about.uid() == 0 || about.uid() == geteuid().as_raw();
        let trusted = own && about.mode() & OTHERS_WRITE == 0;
        Ok(Some(GroupsFile { path: path.display().to_string(), text, trusted }))
    }

    fn exec(&mut self, command: &str) -> Result<String, String> {
        self.seen.asked = true;
        elsewhere(exec::run(command))?
    }

    fn addresses(&mut self, name: &str, server: Option<&str>) -> Result<Vec<IpAddr>, String> {
        self.seen.asked = true;
        elsewhere(names::addresses(name, server))?
    }

    fn services(&mut self, name: &str, server: Option<&str>) -> Result<Vec<(String, u16)>, String> {
        self.seen.asked = true;
        elsewhere(names::services(name, server))?
    }
}

/// One byte more than may be, so that too long a text is noticed.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// Waits for it on a thread with a runtime of its own, whether or not the caller is inside of one.
fn elsewhere<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let run = || Ok(Builder::new_current_thread().enable_all().build()?.block_on(work));
        let thread = std::thread::Builder::new().name("sources".to_owned()).spawn_scoped(scope, run);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) | Err(error) => Err(format!("cannot ask: {error}")),
            Ok(Err(_)) => Err("cannot ask: the thread that did it ended early".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests;

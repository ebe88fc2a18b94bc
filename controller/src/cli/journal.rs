//! The journal of operations, as files: `history`, `resume`, and the nodes that `--failed` means.
//!
//! ```text
//!  $XDG_STATE_HOME/circusman/operations/17.jsonl     one file for each operation, held by a lock
//!     begin ─► a line for each node ─► end           for as long as somebody writes it
//! ```
//!
//! A new number belongs to whoever creates its file, so that several consoles need no agreement. The
//! kernel takes the lock away with the writer: an operation without end and without lock was
//! interrupted. The oldest files go when there are too many. What cannot be written is complained of
//! once; the operation goes on.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Global;
use super::exit::Exit;
use super::output::{complain, talk};
use super::session::{Session, Stop};
use super::store::Store;
use crate::cluster::journal::{Begun, Ended, Record, row_line};
use crate::fleet::wall;
use crate::outcome::NodeOutcome;

/// Operations that are kept.
const MAX_OPERATIONS: usize = 500;
/// Bytes that all of them may take together, the newest apart.
const MAX_BYTES: u64 = 64 << 20;
/// Bytes that are read of one of them; a cluster of 10,000 nodes writes less than 8 MiB.
const MAX_FILE: u64 = 32 << 20;

/// What becomes of an operation is written here; or nowhere, when that cannot be.
#[derive(Debug)]
pub(super) struct Writer {
    file: Option<(PathBuf, File)>,
    /// What the operation is called.
    pub(super) id: Option<u64>,
}

impl Writer {
    /// The session's command begins to change these nodes.
    pub(super) fn begin(session: &Session, operation: &str, targets: &[String]) -> Self {
        let begun = Begun {
            id: 0,
            time: wall(),
            user: user(),
            cluster: session.cluster.name.clone(),
            spec: session.cluster.inventory.spec.clone(),
            operation: operation.to_owned(),
            words: session.words.clone(),
            services: session.services.as_ref().map(|path| path.to_string_lossy().into_owned()),
            targets: targets.to_vec(),
        };
        let Some(dir) = session.store.operations() else { return Self { file: None, id: None } };
        match create(&dir, begun) {
            Ok((id, path, file)) => Self { file: Some((path, file)), id: Some(id) },
            Err(error) => {
                lost(&dir, &error);
                Self { file: None, id: None }
            }
        }
    }

    /// A node is done with.
    pub(super) fn row(&mut self, row: &NodeOutcome) {
        self.write(&row_line(row));
    }

    /// The operation is over; what is not done can be taken up again.
    pub(super) fn end(mut self, exit: Exit, global: &Global) {
        self.write(&Ended { time: wall(), exit: exit.number() }.line());
        if let (Some(id), false) = (self.id, global.quiet || exit == Exit::Done) {
            talk(&format!("operation {id} is not done everywhere; `resume {id}` goes on with what is left"));
        }
    }

    fn write(&mut self, text: &str) {
        if let Some((path, file)) = &mut self.file
            && let Err(error) = file.write_all(text.as_bytes())
        {
            lost(path, &error);
            self.file = None;
        }
    }
}

fn lost(path: &Path, error: &io::Error) {
    complain(&format!("the journal cannot be written: {}: {error}", path.display()));
}

/// Takes the next number. The lock comes before the first line: who reads a file without either waits
/// for neither, because it is of no use yet.
fn create(dir: &Path, mut begun: Begun) -> io::Result<(u64, PathBuf, File)> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let kept = list(dir)?;
    prune(&kept);
    begun.id = kept.last().map_or(1, |(id, _)| id.saturating_add(1));
    loop {
        let path = dir.join(format!("{}.jsonl", begun.id));
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                // A file system without locks shows running operations as interrupted.
                let _without = file.try_lock();
                file.write_all(begun.line().as_bytes())?;
                return Ok((begun.id, path, file));
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                begun.id = begun.id.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The numbers there are, ascending, and their files.
fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let id = name.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
            Some((id, entry.path()))
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Makes room for one more.
fn prune(kept: &[(u64, PathBuf)]) {
    let size = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
    let mut bytes = 0_u64;
    for (rank, (_, path)) in kept.iter().rev().enumerate() {
        bytes = bytes.saturating_add(size(path));
        if rank + 1 >= MAX_OPERATIONS || bytes > MAX_BYTES {
            // Another console may have been faster.
            let _gone = fs::remove_file(path);
        }
    }
}

/// One operation.
fn read(path: &Path) -> Result<Record, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let running = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Record::parse(&text, running)
}

/// The newest operations that `wanted` wants, at most so many, newest first. What cannot be read is complained of.
pub(super) fn newest(
    store: &Store,
    count: usize,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<Record>, Stop> {
    let Some(dir) = store.operations() else { return Ok(Vec::new()) };
    let kept = list(&dir).map_err(|error| Stop::usage(format!("{}: {error}", dir.display())))?;
    let readable = kept.iter().rev().filter_map(|(_, path)| {
        read(path).inspect_err(|reason| complain(&format!("{}: {reason}", path.display()))).ok()
    });
    Ok(readable.filter(wanted).take(count).collect())
}

/// The operation of this number.
///
/// # Errors
/// Status 3: there is none, or it cannot be read.
pub(super) fn numbered(store: &Store, id: u64) -> Result<Record, Stop> {
    let none =
        || Stop::new(Exit::NoTarget, format!("no operation {id}; `history` lists those that are kept"));
    let path = store.operations().ok_or_else(none)?.join(format!("{id}.jsonl"));
    if !path.exists() {
        return Err(none());
    }
    read(&path).map_err(|reason| Stop::new(Exit::NoTarget, format!("{}: {reason}", path.display())))
}

/// The operation of this number, or the last one; on this session's cluster.
///
/// # Errors
/// Status 3: there is none. A usage error: it was on another cluster.
pub(super) fn meant(session: &Session, id: Option<u64>) -> Result<Record, Stop> {
    let here = |record: &Record| record.begun.cluster == session.cluster.name;
    let Some(id) = id else {
        let name = &session.cluster.name;
        let none = || Stop::new(Exit::NoTarget, format!("no operation on the cluster {name:?} is kept"));
        return newest(&session.store, 1, here)?.pop().ok_or_else(none);
    };
    let record = numbered(&session.store, id)?;
    if here(&record) {
        return Ok(record);
    }
    let Begun { cluster, spec, .. } = &record.begun;
    Err(Stop::usage(format!(
        "operation {id} was on the cluster {cluster:?}, this is {:?}; pass --cluster '{spec}'",
        session.cluster.name
    )))
}

/// Those of the targets that `--failed` or a resumed operation leaves.
///
/// # Errors
/// There is no such operation, or no node is left.
pub(super) fn narrowed(
    session: &Session,
    failed: Option<Option<u64>>,
    mut targets: Vec<String>,
) -> Result<Vec<String>, Stop> {
    let (wanted, none) = match (&session.only, failed) {
        (None, None) => return Ok(targets),
        (Some(only), _) => (only.clone(), "none of the operation's nodes is part of the cluster".to_owned()),
        (None, Some(id)) => {
            let record = meant(session, id)?;
            (record.failed(), format!("--failed: no node failed in operation {}", record.begun.id))
        }
    };
    let wanted: std::collections::HashSet<String> = wanted.into_iter().collect();
    targets.retain(|node| wanted.contains(node));
    if targets.is_empty() { Err(Stop::new(Exit::NoTarget, none)) } else { Ok(targets) }
}

/// `alice@admin1`; behind sudo, who asked for it.
fn user() -> String {
    let asked = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    let name = asked.or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
        user.map(|user| user.name)
    });
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    format!("{}@{}", name.unwrap_or_else(|| "?".to_owned()), host.unwrap_or_else(|| "?".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn begun() -> Begun {
        Begun { operation: "stop".to_owned(), targets: vec!["a".to_owned()], ..Begun::default() }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::below(dir.path());
        (dir, store)
    }

    #[test]
    fn several_consoles_take_different_numbers() {
        let (_dir, store) = store();
        let dir = store.operations().expect("a place");
        let many = |_| {
            let dir = dir.clone();
            let take =
                move || -> Vec<u64> { (0..20).map(|_| create(&dir, begun()).expect("a number").0).collect() };
            std::thread::spawn(take)
        };
        let threads: Vec<_> = (0..4).map(many).collect();
        let ids: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().expect("ends")).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 80);
        assert_eq!(newest(&store, 100, |_| true).expect("reads").len(), 80);
    }

    #[test]
    fn a_writer_that_goes_leaves_an_interrupted_operation() {
        let (_dir, store) = store();
        let dir = store.operations().expect("a place");
        let (id, _, file) = create(&dir, begun()).expect("a number");
        assert_eq!(numbered(&store, id).expect("reads").outcome(), "running");
        drop(file);
        assert_eq!(numbered(&store, id).expect("reads").outcome(), "interrupted");
        let stop = numbered(&store, id + 1).expect_err("there is none");
        assert_eq!(stop.exit, Exit::NoTarget);
    }

    #[test]
    fn the_oldest_go() {
        let (_dir, store) = store();
        let dir = store.operations().expect("a place");
        fs::create_dir_all(&dir).expect("a directory");
        for id in 1..=MAX_OPERATIONS as u64 + 7 {
            fs::write(dir.join(format!("{id}.jsonl")), begun().line()).expect("writes");
        }
        fs::write(dir.join("notes.txt"), "the user's own").expect("writes");
        let (id, ..) = create(&dir, begun()).expect("a number");
        let ids: Vec<u64> = list(&dir).expect("lists").into_iter().map(|(id, _)| id).collect();
        assert_eq!((ids.len(), ids.last()), (MAX_OPERATIONS, Some(&id)));
        assert!(dir.join("notes.txt").exists());
    }
}

//! How the warden's processes come to be: pipes, the fork, and the report that says whether the program runs.
//!
//! ```text
//!  Order::Spawn ─► pipes ─► fork ─► Starting ──report: empty──► Running
//!                                      └──────report: stage, errno──► SpawnFailed
//! ```
//!
//! It refuses to know how a process ends.

use std::io;
use std::os::fd::OwnedFd;

use circus_protocol::number::Pid;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::{Notice, Warden};
use crate::arbiter::effect::{SpawnSpec, Stdio};
use crate::arbiter::id::Key;
use crate::arbiter::input::Input;
use crate::host::cgroup::Cgroup;
use crate::host::child::{Child, Picture, State};
use crate::host::descriptors;
use crate::host::spawn::plan::{Plan, words};
use crate::host::spawn::{self, Descriptors, Forked, REPORT, raw};
use crate::host::stream::{Attach, Feed};

impl Warden {
    pub(super) fn spawn(&mut self, key: Key, spec: &SpawnSpec) -> Result<(), Failure> {
        let given = self.sockets.give(&spec.sockets)?;
        let plan = match given.words(&spec.argv) {
            Some(argv) => Plan::new(&SpawnSpec { argv, ..spec.clone() }),
            None => Plan::new(spec),
        };
        let mut plan = plan.map_err(|error| error.to_string())?;
        plan.bounds = bounds();
        if let Some(marker) = self.marker {
            plan.bounds.push((libc::RLIMIT_LOCKS as i32, marker.limit(key), libc::RLIM_INFINITY));
        }
        let (stdout, out_feed) = self.sink(spec.stdout).map_err(|error| Failure::of(&error))?;
        let (stderr, err_feed) = self.sink(spec.stderr).map_err(|error| Failure::of(&error))?;
        let stdin = match (given.stdin(), spec.stdin) {
            (Some(socket), _) => Some(socket),
            (None, Stdio::Inherit) => None,
            (None, Stdio::Null | Stdio::Stream) => Some(&self.null),
        };
        let of = [stdin, self.given(spec.stdout, &stdout), self.given(spec.stderr, &stderr)];
        let (cgroup, folder) = self.cgroup(key).unzip();
        let (pid, forked) = fork(&plan, &Descriptors { of, keep: &given.keep, cgroup: folder.as_ref() })
            .inspect_err(|_| cgroup.iter().for_each(Cgroup::remove))?;
        for (feed, pipe) in [(Feed::Stdout, out_feed), (Feed::Stderr, err_feed)] {
            if let Some(pipe) = pipe {
                let (watcher, wid, name) = (spec.watcher_id, spec.wid, spec.watcher.as_str().into());
                self.outputs.attach(Attach { key, watcher, name, wid, feed, pid, pipe });
            }
        }
        self.enter(key, pid, plan, forked, cgroup);
        if let (Some(interval), Some(child)) = (spec.looks, self.children.get_mut(&key)) {
            child.is_looked_at = true;
            self.history.began(key, spec.watcher_id, pid, interval);
        }
        Ok(())
    }

    /// As `spawn`, for the host itself.
    pub(super) fn aid(
        &mut self,
        key: Key,
        spec: &SpawnSpec,
        pipes: &[Option<OwnedFd>; 3],
    ) -> Result<(), Failure> {
        let mut plan = Plan::new(spec).map_err(|error| error.to_string())?;
        plan.bounds = bounds();
        let [stdin, stdout, stderr] = pipes;
        let of = [stdin.as_ref(), stdout.as_ref(), stderr.as_ref()];
        let (pid, forked) = fork(&plan, &Descriptors { of, keep: &[], cgroup: None })?;
        self.enter(key, pid, plan, forked, None);
        Ok(())
    }

    /// Where a process and all that come from it will live, if there may be such a place.
    fn cgroup(&self, key: Key) -> Option<(Cgroup, OwnedFd)> {
        let made = self.cgroups.as_ref()?.make(key);
        made.inspect_err(|error| tracing::debug!(?key, %error, "no cgroup can be made")).ok()
    }

    fn enter(&mut self, key: Key, pid: Pid, plan: Plan, forked: Forked, cgroup: Option<Cgroup>) {
        let (cgroup, unused) = if forked.confined { (cgroup, None) } else { (None, cgroup) };
        unused.iter().for_each(Cgroup::remove);
        self.children.insert(key, Child::starting(pid, plan, cgroup));
        self.keys.insert(forked.pid, key);
        // Whose orphans come to us is told of every end by SIGCHLD, and every descriptor that we hold
        // is copied and closed again by each later child.
        let pidfd = if self.adopt { None } else { raw::pidfd_open(forked.pid).ok() };
        match report_by_now(&forked.report) {
            Some(report) => {
                self.started(key, &report);
                if let Some(pidfd) = pidfd.filter(|_| self.children.contains_key(&key)) {
                    tokio::spawn(watch_end(key, Some(pidfd), self.notices.clone()));
                }
            }
            None => drop(tokio::spawn(watch(key, forked.report, pidfd, self.notices.clone()))),
        }
    }

    #[expect(clippy::unused_self, reason = "reads better beside `given`")]
    fn sink(&self, stdio: Stdio) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
        match stdio {
            Stdio::Null | Stdio::Inherit => Ok((None, None)),
            Stdio::Stream => {
                let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
                // The other end is closed in a moment.
                Ok((Some(theirs), Some(descriptors::within(ours)?)))
            }
        }
    }

    fn given<'a>(&'a self, stdio: Stdio, pipe: &'a Option<OwnedFd>) -> Option<&'a OwnedFd> {
        match stdio {
            Stdio::Null => Some(&self.null),
            Stdio::Inherit => None,
            Stdio::Stream => pipe.as_ref(),
        }
    }

    pub(super) fn started(&mut self, key: Key, report: &[u8]) {
        let Some(child) = self.children.get_mut(&key) else { return };
        let State::Starting { plan, waiting } = std::mem::replace(&mut child.state, State::Running) else {
            return;
        };
        let pid = child.pid;
        if let Some((error, number)) = spawn::failure(&plan, report) {
            raw::await_exit(pid.get());
            self.forget(key, pid.get());
            self.outputs.died(key);
            self.tell(key, Input::SpawnFailed { key, error, transient: passes(number) });
            return;
        }
        child.ooms = self.ooms.lately();
        child.floor = raw::own_peak();
        let mut picture = Picture::default();
        for (signal, reach) in waiting {
            self.signal(key, signal, reach, &mut picture);
        }
        picture.settle();
        self.tell(key, Input::Spawned { key, pid });
        // Its end may have been seen before its start was.
        self.reap(key);
    }
}

/// Why there is no process.
#[derive(Debug)]
pub(super) struct Failure {
    error: String,
    /// Nothing is wrong with it: the machine or the daemon has reached a limit.
    transient: bool,
}

impl Failure {
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self { error: format!("{}: fork", words(errno)), transient: passes(errno) },
            None => Self { error: error.to_string(), transient: false },
        }
    }

    pub(super) fn told(self, key: Key) -> Input {
        Input::SpawnFailed { key, error: self.error, transient: self.transient }
    }
}

impl From<String> for Failure {
    fn from(error: String) -> Self {
        Self { error, transient: false }
    }
}

/// Whether an error is one of those that pass when others end: no descriptor, no process number, no
/// memory left.
fn passes(errno: i32) -> bool {
    [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE].contains(&errno)
}

/// What every process gets back of what the daemon has changed for itself.
fn bounds() -> Vec<(i32, u64, u64)> {
    let files = descriptors::inherited().map(|(soft, hard)| (libc::RLIMIT_NOFILE as i32, soft, hard));
    files.into_iter().collect()
}

fn fork(plan: &Plan, descriptors: &Descriptors<'_>) -> Result<(Pid, Forked), Failure> {
    let forked = spawn::fork(plan, descriptors).map_err(|error| Failure::of(&error))?;
    let pid = Pid::new(forked.pid).ok_or_else(|| "the kernel gave a process number below 1".to_owned())?;
    Ok((pid, forked))
}

/// What came of exec, if that is known: of a child that was lent our memory it is.
fn report_by_now(pipe: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = [0; REPORT];
    let length = nix::unistd::read(pipe, &mut buffer).ok()?;
    Some(buffer.get(..length).unwrap_or_default().to_vec())
}

/// Tell when the program runs, and when it has ended.
async fn watch(key: Key, report: OwnedFd, pidfd: Option<OwnedFd>, notices: mpsc::Sender<Notice>) {
    let report = read_report(report).await;
    if notices.send(Notice::Started(key, report)).await.is_err() {
        return;
    }
    watch_end(key, pidfd, notices).await;
}

/// Tell when it has ended. Where there is no pidfd, or none to spare, SIGCHLD tells.
async fn watch_end(key: Key, pidfd: Option<OwnedFd>, notices: mpsc::Sender<Notice>) {
    let pidfd = pidfd.and_then(|fd| descriptors::within(fd).ok());
    let Some(pidfd) = pidfd.and_then(|fd| raw::watched(fd).ok()) else { return };
    if pidfd.readable().await.is_ok() {
        let _the_warden_left = notices.send(Notice::Ended(key)).await;
    }
}

async fn read_report(pipe: OwnedFd) -> Vec<u8> {
    let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) else { return Vec::new() };
    let mut buffer = [0; REPORT];
    while pipe.readable().await.is_ok() {
        match pipe.try_read(&mut buffer) {
            Ok(length) => return buffer.get(..length).unwrap_or_default().to_vec(),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    Vec::new()
}

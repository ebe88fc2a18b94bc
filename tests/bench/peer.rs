//! The supervisors: how each is told to run the same programs, started, and ended by pid.
//!
//! It measures nothing.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use circus_tests::daemon::{built, descendants, fresh_address, stock, workspace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc;
use crate::used::program;

/// Longest wait for a supervisor to start everything, or to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What every watcher runs.
const COMMAND: &str = "/bin/sleep 100000";

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Ours,
    Stock,
    Supervisord,
    Dinit,
    /// No supervisor: the least that the same could cost.
    Bare,
}

/// What a supervisor shall run.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// How many watchers of one `sleep` each.
    pub(crate) sleepers: usize,
    /// A watcher that writes so many bytes to its stdout, once, which go to the file `out`.
    pub(crate) flood: Option<u64>,
    /// Publish figures (circus only).
    pub(crate) figures: bool,
}

impl Job {
    pub(crate) fn sleepers(count: usize) -> Self {
        Self { sleepers: count, flood: None, figures: false }
    }
}

/// A running supervisor; dropping it ends it and everything below it.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// Stock forgets a signal that comes while it is busy.
    forgets: bool,
    pub(crate) started: Instant,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) address: String,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] = [Self::Ours, Self::Stock, Self::Supervisord, Self::Dinit, Self::Bare];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "circusd-rs",
            Self::Stock => "circus",
            Self::Supervisord => "supervisord",
            Self::Dinit => "dinit",
            Self::Bare => "bare",
        }
    }

    /// Its program, if it is installed here.
    pub(crate) fn program(self) -> Option<PathBuf> {
        match self {
            Self::Ours => Some(built("circusd-rs")),
            Self::Stock => Some(stock("circusd")),
            Self::Supervisord => {
                let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
                let target = target.unwrap_or_else(|| workspace().join("target"));
                Some(target.join("bench/venv/bin/supervisord")).filter(|path| path.exists())
            }
            Self::Dinit => {
                let path = std::env::var_os("PATH")?;
                std::env::split_paths(&path).map(|folder| folder.join("dinit")).find(|file| file.exists())
            }
            Self::Bare => None,
        }
    }

    /// Starts it; nobody waits for anything yet.
    pub(crate) fn start(self, job: &Job) -> io::Result<Running> {
        let dir = tempfile::tempdir()?;
        let address = fresh_address();
        let path = self.program().ok_or_else(|| io::Error::other(format!("{} is missing", self.name())))?;
        let mut command = Command::new(path);
        match self {
            Self::Ours | Self::Stock => {
                fs::write(dir.path().join("circus.ini"), self.ini(job, dir.path(), &address))?;
                command.arg("circus.ini");
            }
            Self::Supervisord => {
                fs::write(dir.path().join("supervisord.conf"), supervisord(job, dir.path()))?;
                command.args(["-n", "-c", "supervisord.conf"]);
            }
            Self::Dinit => {
                dinit(job, dir.path())?;
                command.args(["-u", "-q", "-p", "socket", "-d"]).arg(dir.path().join("services"));
            }
            Self::Bare => {}
        }
        let log = File::create(dir.path().join("log"))?;
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Instant::now();
        Ok(Running { child: command.spawn()?, forgets: self == Self::Stock, started, dir, address })
    }

    fn ini(self, job: &Job, dir: &Path, address: &str) -> String {
        let mut text = format!(
            "[circus]\nendpoint = tcp://{address}:5555\npubsub_endpoint = tcp://{address}:5556\n\
             multicast_endpoint =\n"
        );
        if job.figures {
            let _ = writeln!(text, "statsd = True\nstats_endpoint = tcp://{address}:5557");
        }
        for number in 0..job.sleepers {
            let _ = writeln!(text, "[watcher:w{number}]\ncmd = {COMMAND}");
        }
        if let Some(bytes) = job.flood {
            let (program, out) = (built("mischief"), dir.join("out"));
            let _ = writeln!(
                text,
                "[watcher:flood]\ncmd = {} flood {bytes}\nrespawn = False\n\
                 stdout_stream.class = FileStream\nstdout_stream.filename = {}",
                program.display(),
                out.display()
            );
        }
        text
    }
}

fn supervisord(job: &Job, dir: &Path) -> String {
    let mut text = format!(
        "[supervisord]\nlogfile = NONE\nlogfile_maxbytes = 0\npidfile = {0}/pid\nchildlogdir = {0}\n\
         minfds = 16384\n[unix_http_server]\nfile = {0}/socket\n",
        dir.display()
    );
    for number in 0..job.sleepers {
        let _ = writeln!(
            text,
            "[program:w{number}]\ncommand = {COMMAND}\nautorestart = true\nstdout_logfile = NONE\n\
             stderr_logfile = NONE"
        );
    }
    if let Some(bytes) = job.flood {
        let _ = writeln!(
            text,
            "[program:flood]\ncommand = {} flood {bytes}\nautorestart = false\nstartsecs = 0\n\
             stdout_logfile = {}/out\nstdout_logfile_maxbytes = 0\nstderr_logfile = NONE",
            built("mischief").display(),
            dir.display()
        );
    }
    text
}

fn dinit(job: &Job, dir: &Path) -> io::Result<()> {
    let services = dir.join("services");
    fs::create_dir(&services)?;
    let mut boot = "type = internal\n".to_owned();
    for number in 0..job.sleepers {
        let text = format!("type = process\ncommand = {COMMAND}\nrestart = true\nsmooth-recovery = true\n");
        fs::write(services.join(format!("w{number}")), text)?;
        let _ = writeln!(boot, "waits-for = w{number}");
    }
    fs::write(services.join("boot"), boot)
}

impl Running {
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// The supervised processes that run their program by now.
    pub(crate) fn sleepers(&self) -> Vec<i32> {
        let mut pids = proc::children(self.pid());
        pids.retain(|pid| program(*pid) == "sleep");
        pids
    }

    /// The supervisor and its helpers: whatever below it is no watcher's.
    pub(crate) fn own(&self) -> Vec<i32> {
        let mut pids = proc::children(self.pid());
        pids.retain(|pid| program(*pid) != "sleep");
        pids.push(self.pid());
        pids
    }

    /// Waits until so many run; how long after the start that was.
    pub(crate) fn wait_for(&self, count: usize) -> Option<Duration> {
        let pause = Duration::from_millis(2);
        proc::wait(PATIENCE, pause, || (proc::children(self.pid()).len() >= count).then_some(()))?;
        proc::wait(PATIENCE, pause, || (self.sleepers().len() >= count).then(|| self.started.elapsed()))
    }

    /// Ends it as an operator would; how long it took until nothing of it was left.
    pub(crate) fn end(mut self) -> Option<Duration> {
        let family = descendants(self.pid());
        let start = Instant::now();
        let mut again = Some(start);
        proc::wait(PATIENCE, Duration::from_millis(1), || {
            if again.is_some_and(|again| Instant::now() >= again) {
                let _gone = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
                again = self.forgets.then(|| Instant::now() + PATIENCE / 100);
            }
            self.child.try_wait().ok().flatten()
        })?;
        let gone = |pid: &i32| program(*pid) != "sleep";
        proc::wait(PATIENCE, Duration::from_millis(1), || family.iter().all(gone).then(|| start.elapsed()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        let family = descendants(self.pid());
        let _gone = kill(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _status = self.child.wait();
        for pid in family {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

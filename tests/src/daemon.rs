//! Starts a daemon of either kind in a directory of its own and ends it by pid.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use crate::address::{fresh_address, fresh_block};
pub use crate::ending::{alive, descendants};
use crate::ending::{ask_to_end, kill_family};
use crate::wait::{PATIENCE, until};

/// How long a dropped daemon may take to end by itself.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Python circusd 0.19.0.
    Stock,
    /// circusd-rs.
    Ours,
}

/// A running daemon; dropping it ends it and everything it started.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    flavor: Flavor,
    dir: PathBuf,
    address: String,
    // The last field: removed when everything else is gone.
    _temp: Option<tempfile::TempDir>,
}

/// The workspace's top folder.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

/// A program of the pinned stock package; never skipped silently when it is missing.
#[must_use]
pub fn stock(program: &str) -> PathBuf {
    let bin = std::env::var_os("CIRCUS_TEST_STOCK")
        .map_or_else(|| workspace().join("target/stock/bin"), PathBuf::from);
    let path = bin.join(program);
    assert!(path.exists(), "{} is missing; run tests/setup", path.display());
    path
}

/// A binary of this workspace, beside the test executable.
#[must_use]
pub fn built(program: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("a test has a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let path = dir.join(program);
    assert!(path.exists(), "{} is missing; run `cargo build --workspace --bins` first", path.display());
    path
}

impl Daemon {
    /// Starts a daemon on an address of its own and waits until it answers.
    ///
    /// `{dir}`, `{address}` and `{mischief}` in the text are replaced; endpoints are added to
    /// `[circus]`, which the text must contain.
    #[must_use]
    pub fn start(flavor: Flavor, ini: &str) -> Self {
        Self::start_beside(flavor, &[], ini)
    }

    /// The same with further files in its directory, in which the same words are replaced. A name
    /// that ends in `/` is a directory.
    #[must_use]
    pub fn start_beside(flavor: Flavor, files: &[(&str, &str)], ini: &str) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        // For children of other users.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(temp.path(), open).expect("the directory is ours");
        let (dir, address) = (temp.path().to_path_buf(), fresh_address());
        for (name, text) in files {
            write_below(&dir, name, &filled(text, &dir, &address));
        }
        let file = dir.join("circus.ini");
        std::fs::write(&file, filled(ini, &dir, &address)).expect("the ini is written");
        let mut daemon = Self::start_on(flavor, &file, &dir, &address);
        daemon._temp = Some(temp);
        daemon
    }

    /// Writes its configuration anew, as `start` wrote the first.
    pub fn rewrite(&self, ini: &str) {
        std::fs::write(self.dir.join("circus.ini"), filled(ini, &self.dir, &self.address))
            .expect("the ini is written");
    }

    /// A daemon on an ini as it is, in `dir`, with the address in the variable `NODE`; the ini binds
    /// `$(circus.env.node)`, so that several nodes share one file.
    #[must_use]
    pub fn start_on(flavor: Flavor, ini: &Path, dir: &Path, address: &str) -> Self {
        let child = Self::spawn(flavor, ini, dir, address);
        let mut daemon =
            Self { child, flavor, dir: dir.to_path_buf(), address: address.to_owned(), _temp: None };
        daemon.wait_until_listening();
        daemon
    }

    fn spawn(flavor: Flavor, ini: &Path, dir: &Path, address: &str) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("circusd.log"))
            .expect("the log opens");
        let program = match flavor {
            Flavor::Stock => stock("circusd"),
            Flavor::Ours => built("circusd-rs"),
        };
        Command::new(program)
            .arg(ini)
            .current_dir(dir)
            .env("NODE", address)
            .env_remove("CIRCUSCTL_ENDPOINT")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts")
    }

    fn wait_until_listening(&mut self) {
        let control = format!("{}:5555", self.address);
        until(&format!("{:?} on {control}", self.flavor), || {
            if let Some(status) = self.child.try_wait().expect("our child") {
                panic!("{:?} ended with {status} before it listened:\n{}", self.flavor, self.log());
            }
            std::net::TcpStream::connect(&control).ok()
        });
    }

    /// Which kind it is.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Its directory, with `circus.ini` and `circusd.log`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its loopback address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where commands go.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("tcp://{}:5555", self.address)
    }

    /// Where events come from.
    #[must_use]
    pub fn pubsub(&self) -> String {
        format!("tcp://{}:5556", self.address)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid fits")
    }

    /// What it said so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("circusd.log")).unwrap_or_default()
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the daemon lives");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits for the end and gives the exit status.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        until("the daemon to end", || self.child.try_wait().expect("our child"))
    }

    /// Kills the daemon as a power cut would, and what it supervised.
    pub fn crash(&mut self) {
        kill_family(self.pid());
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_some() {
            return;
        }
        let pid = self.pid();
        let family = descendants(pid);
        let ended = || self.child.try_wait().ok().flatten();
        if ask_to_end(pid, self.flavor, FAREWELL, ended).is_none() {
            self.crash();
        }
        // What was its child when it lived and is still the same process is ours to end.
        for pid in family {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- log of {:?} in {}\n{}", self.flavor, self.dir.display(), self.log());
        }
    }
}

/// An ini with endpoints and paths in place.
fn filled(ini: &str, dir: &Path, address: &str) -> String {
    let mut endpoints =
        format!("[circus]\nendpoint = tcp://{address}:5555\npubsub_endpoint = tcp://{address}:5556\n");
    if !ini.contains("multicast_endpoint") {
        endpoints += "multicast_endpoint =\n";
    }
    ini.replacen("[circus]\n", &endpoints, 1)
        .replace("{dir}", dir.to_str().expect("a plain path"))
        .replace("{address}", address)
        .replace("{mischief}", built("mischief").to_str().expect("a plain path"))
}

fn write_below(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    let parent = if name.ends_with('/') { Some(path.as_path()) } else { path.parent() };
    std::fs::create_dir_all(parent.expect("below a directory")).expect("a directory is made");
    if !name.ends_with('/') {
        std::fs::write(&path, text).expect("a file is written");
    }
}

/// Runs a program to its end within the patience and gives status, stdout and stderr.
#[must_use]
pub fn run(command: &mut Command) -> (i32, String, String) {
    let mut out = tempfile::tempfile().expect("a temporary file");
    let mut err = tempfile::tempfile().expect("a temporary file");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("shared"))
        .stderr(err.try_clone().expect("shared"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let deadline = std::time::Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our child") {
            break status;
        }
        if std::time::Instant::now() > deadline {
            // It is ended here, because nobody else knows it.
            let _ = child.kill();
            let _ = child.wait();
            panic!("waited {PATIENCE:?} in vain for {command:?} to end");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let mut texts = [String::new(), String::new()];
    for (file, text) in [&mut out, &mut err].into_iter().zip(&mut texts) {
        file.rewind().expect("a file rewinds");
        file.read_to_string(text).expect("text");
    }
    let [stdout, stderr] = texts;
    (status.code().unwrap_or(-1), stdout, stderr)
}

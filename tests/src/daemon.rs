//! Starts a daemon of either kind in a directory of its own and ends it by pid.

use std::io::{Read, Seek};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
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
    control: String,
    events: String,
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

/// circusman, which remembers what it does below `home`.
#[must_use]
pub fn circusman(home: &Path) -> Command {
    let mut command = Command::new(built("circusman"));
    command
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home.join("xdg-config"))
        .env("XDG_STATE_HOME", home.join("xdg-state"));
    command
}

impl Daemon {
    /// Starts a daemon on an address of its own and waits until it answers.
    ///
    /// `{dir}`, `{address}` and `{mischief}` in the text are replaced; endpoints are added to
    /// `[circus]`, which the text must contain, unless it names its own, for example
    /// `endpoint = ipc://{dir}/control` and `pubsub_endpoint = ipc://{dir}/events`.
    #[must_use]
    pub fn start(flavor: Flavor, ini: &str) -> Self {
        Self::start_beside(flavor, &[], ini)
    }

    /// The same with further files in its directory, in which the same words are replaced. A name
    /// that ends in `/` is a directory.
    #[must_use]
    pub fn start_beside(flavor: Flavor, files: &[(&str, &str)], ini: &str) -> Self {
        Self::start_limited(flavor, None, files, ini)
    }

    /// The same with so many descriptors at most.
    #[must_use]
    pub fn start_limited(
        flavor: Flavor,
        descriptors: Option<u32>,
        files: &[(&str, &str)],
        ini: &str,
    ) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        // For children of other users.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(temp.path(), open).expect("the directory is ours");
        let (dir, address) = (temp.path().to_path_buf(), fresh_address());
        let ini = filled(ini, &dir, &address);
        for (name, text) in files {
            write_below(&dir, name, &filled(text, &dir, &address));
        }
        let file = dir.join("circus.ini");
        std::fs::write(&file, &ini).expect("the ini is written");
        let mut daemon = Self::spawn(flavor, descriptors, &file, &dir, &address);
        for (endpoint, key) in [(&mut daemon.control, "endpoint"), (&mut daemon.events, "pubsub_endpoint")] {
            if let Some(own) = named(&ini, key) {
                own.clone_into(endpoint);
            }
        }
        daemon.wait_until_listening();
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
        let mut daemon = Self::spawn(flavor, None, ini, dir, address);
        daemon.wait_until_listening();
        daemon
    }

    fn spawn(flavor: Flavor, descriptors: Option<u32>, ini: &Path, dir: &Path, address: &str) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(dir.join("circusd.log"))
            .expect("the log opens");
        let program = match flavor {
            Flavor::Stock => stock("circusd"),
            Flavor::Ours => built("circusd-rs"),
        };
        let mut command = match descriptors {
            None => Command::new(program),
            Some(count) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {count}; exec \"$0\" \"$@\"")).arg(program);
                shell
            }
        };
        let child = command
            .arg(ini)
            .current_dir(dir)
            .env("NODE", address)
            .env_remove("CIRCUSCTL_ENDPOINT")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn()
            .expect("the daemon starts");
        Self {
            child,
            flavor,
            dir: dir.to_path_buf(),
            address: address.to_owned(),
            control: format!("tcp://{address}:5555"),
            events: format!("tcp://{address}:5556"),
            _temp: None,
        }
    }

    fn wait_until_listening(&mut self) {
        let control = self.control.clone();
        until(&format!("{:?} on {control}", self.flavor), || {
            if let Some(status) = self.child.try_wait().expect("our child") {
                panic!("{:?} ended with {status} before it listened:\n{}", self.flavor, self.log());
            }
            match control.strip_prefix("ipc://") {
                Some(path) => UnixStream::connect(path).is_ok(),
                None => TcpStream::connect(control.trim_start_matches("tcp://")).is_ok(),
            }
            .then_some(())
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
        self.control.clone()
    }

    /// Where events come from.
    #[must_use]
    pub fn pubsub(&self) -> String {
        self.events.clone()
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

/// A `[circus]` section for a daemon on this address, to which options can be added.
#[must_use]
pub fn circus_on(address: &str) -> String {
    with_endpoints("[circus]\n", address)
}

/// An ini with endpoints and paths in place.
fn filled(ini: &str, dir: &Path, address: &str) -> String {
    with_endpoints(ini, address)
        .replace("{dir}", dir.to_str().expect("a plain path"))
        .replace("{address}", address)
        .replace("{mischief}", built("mischief").to_str().expect("a plain path"))
}

fn with_endpoints(ini: &str, address: &str) -> String {
    let mut endpoints = "[circus]\n".to_owned();
    for (key, value) in [
        ("endpoint", format!(" tcp://{address}:5555")),
        ("pubsub_endpoint", format!(" tcp://{address}:5556")),
        ("multicast_endpoint", String::new()),
    ] {
        if named(ini, key).is_none() {
            endpoints += &format!("{key} ={value}\n");
        }
    }
    ini.replacen("[circus]\n", &endpoints, 1)
}

/// What the first line for this key says, in whatever section.
fn named<'a>(ini: &'a str, key: &str) -> Option<&'a str> {
    ini.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('=')).map(str::trim)
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
            kill_family(i32::try_from(child.id()).expect("a pid fits"));
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

//! Two network namespaces and a link between them that can lose packets or be cut.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use circus_tests::wait::until;

/// Where the console is.
pub(crate) const HERE: usize = 0;
/// Where the node is.
pub(crate) const THERE: usize = 1;
/// The node's address.
pub(crate) const NODE: &str = "10.77.0.2";

/// Ended when dropped.
pub(crate) struct Net {
    spaces: [Killed; 2],
    wire: Killed,
    tell: ChildStdin,
}

/// A process that is killed when it is no longer needed.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Net {
    /// Makes them, or says why that cannot be done here.
    pub(crate) fn new() -> Result<Self, String> {
        let space = || {
            let mut command = Command::new("unshare");
            command.args(["--net", "sleep", "600"]).stderr(Stdio::null());
            command.spawn().map(Killed).map_err(|error| format!("unshare: {error}"))
        };
        let spaces = [space()?, space()?];
        let own = namespace(std::process::id());
        for space in &spaces {
            let pid = space.0.id();
            // `unshare` becomes `sleep` only after it has made the namespace.
            let mut made = false;
            for _ in 0..500 {
                made = namespace(pid).is_some_and(|name| Some(&name) != own.as_ref());
                if made {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            if !made {
                return Err("this user may not make network namespaces".to_owned());
            }
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/lossy.py");
        let mut command = Command::new("python3");
        command.arg(script).args(spaces.iter().map(|space| space.0.id().to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut wire = Killed(command.spawn().map_err(|error| format!("python3: {error}"))?);
        let tell = wire.0.stdin.take().expect("it is piped");
        let mut answer = String::new();
        BufReader::new(wire.0.stdout.take().expect("it is piped")).read_line(&mut answer).expect("readable");
        if answer.trim() == "ready" {
            return Ok(Self { spaces, wire, tell });
        }
        let mut why = String::new();
        let stderr = wire.0.stderr.take().expect("it is piped");
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| why = line);
        Err(format!("no tun device between namespaces: {why}"))
    }

    /// A command inside of one of them; its process is the command's own.
    pub(crate) fn inside(&self, space: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.spaces[space].0.id())).arg(program);
        command
    }

    /// From now on so many of a hundred packets are lost, in each direction.
    pub(crate) fn lose(&mut self, percent: u8) {
        // In one piece: what writes in pieces may be read in pieces.
        self.tell.write_all(format!("loss {percent}\n").as_bytes()).expect("the wire lives");
        assert!(self.wire.0.try_wait().expect("ours").is_none(), "the wire lives");
    }
}

fn namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

/// Says that a test was left out, and why.
pub(crate) fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}

/// A daemon of ours inside, serving on the node's address.
pub(crate) fn daemon(net: &Net, dir: &Path) -> Killed {
    let ini = dir.join("circus.ini");
    let text = format!(
        "[circus]\nendpoint = tcp://{NODE}:5555\npubsub_endpoint = tcp://{NODE}:5556\n\
         stats_endpoint = tcp://{NODE}:5557\nmulticast_endpoint =\n[watcher:web]\ncmd = sleep 600\n"
    );
    std::fs::write(&ini, text).expect("the ini is written");
    let mut command = net.inside(THERE, &circus_tests::daemon::built("circusd-rs"));
    let log = std::fs::File::create(dir.join("log")).expect("a log");
    command.arg(&ini).stdout(log.try_clone().expect("a log")).stderr(log);
    let mut daemon = Killed(command.spawn().expect("nsenter starts"));
    until("the daemon to run", || {
        assert!(daemon.0.try_wait().expect("ours").is_none(), "the daemon ended at once");
        let told = std::fs::read_to_string(format!("/proc/{}/comm", daemon.0.id())).unwrap_or_default();
        told.starts_with("circusd-rs").then_some(())
    });
    daemon
}

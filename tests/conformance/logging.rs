//! The log of the daemon and its command line: section 8.1.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use circus_tests::daemon::{Flavor, built, circus_on, fresh_address, run, stock};
use circus_tests::ending::{Background, Program};
use circus_tests::wait::{PATIENCE, until};
use circus_tests::wire::Wire;
use serde_json::json;

fn program(flavor: Flavor) -> Command {
    Command::new(match flavor {
        Flavor::Stock => stock("circusd"),
        Flavor::Ours => built("circusd-rs"),
    })
}

/// A daemon with arguments of its own.
struct Started {
    program: Program,
    address: String,
}

impl Started {
    fn new(flavor: Flavor, directory: &Path, arguments: &[&str]) -> Self {
        let (ini, address) = write_ini(directory, "");
        let mut command = program(flavor);
        command.args(arguments).arg(ini).current_dir(directory);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { program: Program::start(&mut command), address }
    }

    fn end(mut self) -> i32 {
        wait_until_idle(&self.address);
        self.program.end().code().unwrap_or(-1)
    }
}

/// Gives its path and the address of the daemon.
fn write_ini(directory: &Path, circus: &str) -> (PathBuf, String) {
    let address = fresh_address();
    let text = circus_on(&address) + "check_delay = 600\n" + circus + "[watcher:One]\ncmd = sleep 1000\n";
    let ini = directory.join("circus.ini");
    std::fs::write(&ini, text).expect("written");
    (ini, address)
}

/// Until nothing is under way any more: stock forgets a signal that comes before it has finished its
/// start-up, and "One started" is said a moment earlier.
fn wait_until_idle(address: &str) {
    let mut wire = Wire::connect(&format!("tcp://{address}:5555"), &format!("tcp://{address}:5556"));
    // Nothing comes of it; it is only refused for another reason while something is under way.
    let reply = wire.ask("add", &json!({"name": "One", "cmd": "sleep 1000"}));
    assert_eq!(reply["status"], "error", "{reply}");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn wait_for(path: &Path, end: &str) {
    until(end, || text(path).contains(end).then_some(()));
}

/// The lines that people and their scripts look for, without what differs from run to run.
fn worth_keeping(log: &str) -> Vec<String> {
    let words = [
        "Registering signals",
        "Starting master on pid",
        "Arbiter now waiting",
        "One started",
        "One stopped",
        "Arbiter exiting",
        "Got signal",
        "already running",
        "SENDING HUP",
    ];
    let kept = log.lines().filter(|line| words.iter().any(|word| line.contains(word)));
    let mut lines: Vec<String> =
        kept.map(|line| line.chars().filter(|c| !c.is_ascii_digit()).collect()).collect();
    // D76: how the end is told.
    lines.sort_unstable();
    lines
}

const LOGGER_INI: &str = "\
[loggers]
keys = root, circus
[handlers]
keys = file
[formatters]
keys = short
[logger_root]
level = WARNING
handlers = file
[logger_circus]
level = INFO
handlers = file
qualname = circus
propagate = 0
[handler_file]
class = handlers.WatchedFileHandler
formatter = short
args = ('log', 'a')
[formatter_short]
format = %(levelname)-8s|%(name)s|%(process)d|%(message)s|100%%
";

#[test]
fn lines_go_where_and_look_as_configured() {
    let json = r#"{"version": 1, "disable_existing_loggers": false,
        "formatters": {"short": {"format": "%(asctime)s %(levelname)s: %(message)s", "datefmt": "%Y"}},
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "log", "formatter": "short"}},
        "root": {"level": "INFO", "handlers": ["file"]}}"#;
    let logs = [Flavor::Stock, Flavor::Ours].map(|flavor| {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let mut kept = Vec::new();
        for (name, config) in [("log.ini", LOGGER_INI), ("log.json", json)] {
            std::fs::write(directory.path().join(name), config).expect("written");
            let daemon = Started::new(flavor, directory.path(), &["--logger-config", name]);
            wait_for(&log, "One started");
            assert_eq!(daemon.end(), 0);
            kept.extend(worth_keeping(&text(&log)));
            std::fs::remove_file(&log).expect("the log");
        }
        // The usual look, and a file that somebody moves away.
        let daemon = Started::new(flavor, directory.path(), &["--log-output", "log", "--log-level", "INFO"]);
        wait_for(&log, "One started");
        kept.extend(worth_keeping(&text(&log)));
        std::fs::rename(&log, directory.path().join("moved")).expect("moved");
        assert_eq!(daemon.end(), 0);
        kept.extend(worth_keeping(&text(&log)));
        kept
    });
    assert_eq!(logs[0], logs[1]);
    assert!(logs[0].len() > 15, "{:?}", logs[0]);
}

#[test]
fn syslog_gets_the_log() {
    for flavor in [Flavor::Stock, Flavor::Ours] {
        let directory = tempfile::tempdir().expect("a directory");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        udp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let place = udp.local_addr().expect("an address").to_string();
        hears(flavor, directory.path(), &place, |buffer| udp.recv(buffer));
        let path = directory.path().join("syslog");
        let unix = UnixDatagram::bind(&path).expect("a socket");
        unix.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        hears(flavor, directory.path(), path.to_str().expect("a path"), |buffer| unix.recv(buffer));
    }
}

/// One daemon that logs to a syslog at that place, until its first watcher runs.
fn hears(
    flavor: Flavor,
    directory: &Path,
    place: &str,
    receive: impl Fn(&mut [u8]) -> std::io::Result<usize>,
) {
    let daemon = Started::new(flavor, directory, &["--log-output", &format!("syslog://{place}?local3")]);
    let mut buffer = [0; 2048];
    let line = until("One started", || {
        let len = receive(&mut buffer).expect("a message");
        let line = String::from_utf8_lossy(&buffer[..len]).into_owned();
        line.ends_with("[INFO] One started\0").then_some(line)
    });
    assert!(
        line.starts_with("<158>") && line.contains(&format!(" circus[{}] ", daemon.program.pid())),
        "{flavor:?} {place}: {line}"
    );
    assert_eq!(daemon.end(), 0);
}

/// Stock reads YAML where PyYAML is installed, which is no dependency of its own.
#[test]
fn a_yaml_logging_configuration_is_refused_in_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ini, _) = write_ini(directory.path(), "loggerconfig = log.yaml\n");
    std::fs::write(directory.path().join("log.yaml"), "version: 1\n").expect("written");
    for arguments in [&["--check"][..], &[]] {
        let mut command = program(Flavor::Ours);
        let (status, _, stderr) = run(command.args(arguments).arg(&ini).current_dir(directory.path()));
        assert_eq!(status, 1, "{stderr}");
        assert!(stderr.contains("log.yaml") && stderr.contains("convert it to JSON"), "{stderr}");
    }
}

/// D71: stock ends with status 1 where circus-web is missing.
#[test]
fn httpd_costs_the_console_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ini, _) = write_ini(directory.path(), "httpd = True\n");
    let (status, stdout, stderr) = run(program(Flavor::Stock).arg(&ini).current_dir(directory.path()));
    assert_eq!(status, 1, "{stdout}{stderr}");
    assert!(format!("{stdout}{stderr}").contains("circus-web"), "{stdout}{stderr}");
    let (status, _, stderr) = run(program(Flavor::Ours).arg("--check").arg(&ini));
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains("[circus] httpd has no effect"), "{stderr}");
}

#[test]
fn statuses_of_the_command_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ini, _) = write_ini(directory.path(), "");
    let own = directory.path().join("pid");
    std::fs::write(&own, format!("{}\n", std::process::id())).expect("written");
    let (ini, own) = (ini.to_str().expect("a path"), own.to_str().expect("a path"));
    for (arguments, starts) in [
        (&["--version"][..], ""),
        (&["--help"], "usage"),
        (&[], "usage"),
        (&["--log-level", "Debug", ini], ""),
        (&["--zorg"], ""),
        (&["/no/such/file"], ""),
        (&["--log-output", "/no/such/directory/log", ini], ""),
        (&["--logger-config", "/no/such/log.ini", ini], ""),
        (&["--logger-config", "/etc/passwd", ini], ""),
        (&["--pidfile", own, ini], ""),
        (&["--pidfile", "/no/such/directory/pid", ini], ""),
    ] {
        let [stock, ours] = [Flavor::Stock, Flavor::Ours].map(|flavor| run(program(flavor).args(arguments)));
        assert_eq!(stock.0, ours.0, "{arguments:?}: {stock:?} {ours:?}");
        for (_, stdout, _) in [&stock, &ours] {
            assert!(stdout.to_lowercase().contains(starts), "{arguments:?}: {stock:?} {ours:?}");
        }
        assert!(ours.0 == 0 || !ours.2.is_empty(), "{arguments:?} says nothing: {ours:?}");
    }
    // D73.
    let address = fresh_address();
    let _taken = TcpListener::bind(format!("{address}:5555")).expect("a port");
    let taken = directory.path().join("taken.ini");
    std::fs::write(&taken, circus_on(&address)).expect("written");
    let (status, _, stderr) = run(program(Flavor::Ours).arg(&taken));
    assert_eq!(status, 1);
    assert!(stderr.contains("Could not bind endpoint") && stderr.contains("5555"), "{stderr}");
}

#[test]
fn the_background_is_left_alone_with_a_pid_file() {
    let seen = [Flavor::Stock, Flavor::Ours].map(|flavor| {
        let directory = tempfile::tempdir().expect("a directory");
        let (ini, address) = write_ini(directory.path(), "pidfile = pid\n");
        let pidfile = directory.path().join("pid");
        let mut command = program(flavor);
        command.current_dir(directory.path()).args(["--daemon", "--log-output", "log"]).arg(&ini);
        let (status, _, stderr) = run(&mut command);
        assert_eq!(status, 0, "{stderr}");
        let pid: i32 = until("a pid file", || text(&pidfile).trim().parse().ok());
        let daemon = Background::new(pid);
        wait_for(&directory.path().join("log"), "One started");
        let ends = |file: &str| {
            std::fs::read_link(format!("/proc/{pid}/{file}")).map(|path| path.display().to_string())
        };
        let mut found: Vec<String> =
            ["fd/0", "fd/1", "fd/2"].map(|file| format!("{:?}", ends(file).ok())).into();
        found.push(format!("pid file {:?}", text(&pidfile) == format!("{pid}\n")));
        wait_until_idle(&address);
        daemon.end();
        found.push(format!("pid file left: {}", pidfile.exists()));
        found
    });
    assert_eq!(seen[0], seen[1]);
}

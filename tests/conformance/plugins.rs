//! Plugins: what both daemons do with them, and ours where stock's do not work.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor, built, circus_on, stock};
use circus_tests::ending::Program;
use circus_tests::script::agree;
use circus_tests::wait::{PATIENCE, until};
use circus_tests::wire::Wire;
use serde_json::{Value, json};

/// Where a statsd server would listen.
struct Statsd(UdpSocket);

impl Statsd {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        Self(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("bound").port()
    }

    fn next(&self) -> Option<String> {
        let mut datagram = [0; 512];
        let length = self.0.recv(&mut datagram).ok()?;
        Some(String::from_utf8_lossy(datagram.get(..length)?).into_owned())
    }

    /// All metrics until one that pleases, that one included.
    fn until(&self, what: &str, pleases: impl Fn(&str) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen: Vec<String> = Vec::new();
        while !seen.last().is_some_and(|metric| pleases(metric)) {
            assert!(Instant::now() < deadline, "no {what} in {seen:?}");
            seen.extend(self.next());
        }
        seen
    }

    fn forget(&self) {
        while self.next().is_some() {}
    }
}

fn wire(daemon: &Daemon) -> Wire {
    Wire::connect(&daemon.endpoint(), &daemon.pubsub())
}

fn pids(wire: &mut Wire, name: &str) -> Vec<i64> {
    let reply = wire.call("list", &json!({"name": name}));
    reply["pids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

fn status(wire: &mut Wire, name: &str) -> String {
    wire.call("status", &json!({"name": name}))["status"].as_str().unwrap_or_default().to_owned()
}

/// circus-plugin by hand, beside a daemon.
fn circus_plugin(daemon: &Daemon, config: &str, class: &str) -> Program {
    let mut command = Command::new(stock("circus-plugin"));
    command.args(["--endpoint", &daemon.endpoint(), "--pubsub", &daemon.pubsub(), "--config", config, class]);
    Program::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

// ---- on both daemons ----

#[test]
fn statsd_emitter_counts_every_event() {
    let statsd = Statsd::new();
    let ini = format!(
        "[circus]\ncheck_delay = 0.5\n[watcher:One]\ncmd = sleep 1000\n[watcher:Two Words]\ncmd = sleep 2000\n\
         [plugin:Counter]\nuse = circus.plugins.statsd.StatsdEmitter\nhost = 127.0.0.1\nport = {}\n\
         application_name = app\n",
        statsd.port()
    );
    agree(&ini, |s| {
        statsd.forget();
        // Its subscription has arrived when the first event has; how often we try must not show.
        let mut other = wire(&s.daemon);
        until("the plugin to subscribe", || {
            other.call("set", &json!({"name": "one", "options": {"graceful_timeout": 5}}));
            statsd.next()
        });
        statsd.forget();
        s.call("restart", json!({"name": "two words", "waiting": true}));
        for metric in statsd.until("start", |metric| metric.contains(".start:")) {
            s.note("metric", metric);
        }
        let listed = s.wire.call("list", &json!({}));
        s.note("listed", listed["watchers"].to_string());
        let statuses = s.wire.call("status", &json!({}));
        s.note("status", &statuses["statuses"]);
        let options = s.call_differs("D47", "options", json!({"name": "plugin:counter"}));
        for key in
            ["priority", "copy_env", "numprocesses", "host", "application_name", "respawn", "singleton"]
        {
            s.note(key, &options["options"][key]);
        }
    });
}

#[test]
fn resource_watcher_restarts_what_uses_too_much() {
    let statsd = Statsd::new();
    let ini = format!(
        "[circus]\ncheck_delay = 0.5\n[watcher:busy]\ncmd = sh -c 'while :; do :; done'\ngraceful_timeout = 2\n\
         [plugin:limits]\nuse = circus.plugins.resource_watcher.ResourceWatcher\nhost = 127.0.0.1\nport = {}\n\
         loop_rate = 0.5\nwatcher = busy\nmax_cpu = 2\nhealth_threshold = 0\nmax_count = 1\n",
        statsd.port()
    );
    agree(&ini, |s| {
        statsd.forget();
        let before = pids(&mut s.wire, "busy");
        let metrics = statsd.until("restart", |metric| metric.contains(".restarting:"));
        let kinds: BTreeSet<&String> = metrics.iter().collect();
        s.note("metrics", format!("{kinds:?}"));
        until("another process", || {
            let now = pids(&mut s.wire, "busy");
            (!now.is_empty() && now != before).then_some(())
        });
    });
}

/// Stock's own class, started by hand, works with our daemon: nothing refuses its stop.
#[test]
fn stock_flapping_by_hand_works_with_ours() {
    let ini = "[circus]\ncheck_delay = 0.5\n[watcher:crash]\ncmd = sh -c 'exit 3'\nautostart = False\n";
    let daemon = Daemon::start(Flavor::Ours, ini);
    let mut wire = wire(&daemon);
    let class = "circus.plugins.flapping.Flapping";
    let _plugin = circus_plugin(&daemon, "attempts:2:::window:10:::retry_in:0.5:::max_retry:1", class);
    wire.wait_for_events();
    let mut starts = 0;
    // Before it has subscribed it misses deaths; after its last try the watcher stays stopped.
    wire.call("start", &json!({"name": "crash"}));
    let deadline = Instant::now() + PATIENCE;
    let mut stops = 0;
    while stops < 2 {
        let left = deadline.saturating_duration_since(Instant::now());
        let (topic, _) = wire.event_within(left).unwrap_or_else(|| panic!("{stops} stops, {starts} starts"));
        starts += u32::from(topic == "watcher.crash.start");
        stops += u32::from(topic == "watcher.crash.stop");
    }
    assert_eq!(starts, 2, "ours, and its one retry");
    assert_eq!(status(&mut wire, "crash"), "stopped");
}

// ---- ours ----

const CRASHES: &str = "\
[circus]
check_delay = 0.5

[watcher:crash it]
cmd = sh -c 'exit 3'

[watcher:spared]
cmd = sh -c 'exit 3'
flapping.active = False

[watcher:many]
cmd = sleep 1000
numprocesses = 3

[plugin:Flap it]
use = circus.plugins.flapping.Flapping
window = 5
retry_in = 0.3
max_retry = 2
comment = blanks do no harm

[plugin:idle]
use = circus.plugins.flapping.Flapping
active = False
";

#[test]
fn flapping_pauses_retries_and_gives_up() {
    let daemon = Daemon::start(Flavor::Ours, CRASHES);
    let mut wire = wire(&daemon);
    until("the last attempt", || {
        daemon.log().contains("crash it: flapping detected: reached max retry limit").then_some(())
    });
    until("a stop", || (status(&mut wire, "crash it") == "stopped").then_some(()));
    let log = daemon.log();
    for attempt in [1, 2] {
        let said = format!("crash it: flapping detected: retry in 0.3s (attempt number {attempt})");
        assert!(log.contains(&said), "{log}");
    }
    assert!(!log.contains("spared: flapping"), "{log}");
    assert_ne!(status(&mut wire, "spared"), "stopped");
    assert_eq!(status(&mut wire, "plugin:idle"), "stopped", "it is not active");
    // A deliberate stop of many processes is no flapping, and nobody undoes it.
    wire.call("stop", &json!({"name": "many", "waiting": true}));
    wire.call("set", &json!({"name": "crash it", "options": {"max_retry": 1}}));
    let end = Instant::now() + Duration::from_millis(800);
    while Instant::now() < end {
        assert_eq!(status(&mut wire, "many"), "stopped");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!daemon.log().contains("many: flapping"), "{}", daemon.log());
}

#[test]
fn command_reloader_restarts_on_a_new_program() {
    let ini = "[circus]\n[watcher:app]\ncmd = ./app.sh --fast 'a b'\nworking_dir = {dir}\n\
               [watcher:off]\ncmd = {dir}/app.sh\nautostart = False\n[watcher:shell]\ncmd = sleep 1000\n\
               [plugin:reload]\nuse = circus.plugins.command_reloader.CommandReloader\nloop_rate = 0.2\n";
    let daemon = Daemon::start(Flavor::Ours, ini);
    let program = daemon.dir().join("app.sh");
    let write = |comment: &str| {
        use std::os::unix::fs::PermissionsExt;
        let fresh = daemon.dir().join("app.new");
        std::fs::write(&fresh, format!("#!/bin/sh\n# {comment}\nexec sleep 1000\n")).expect("written");
        std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o755)).expect("executable");
        std::fs::rename(&fresh, &program).expect("replaced");
    };
    write("one");
    let mut wire = wire(&daemon);
    wire.call("start", &json!({"name": "app", "waiting": true}));
    let before = pids(&mut wire, "app");
    assert_eq!(before.len(), 1);
    let others = until("the other one to run", || {
        let pids = pids(&mut wire, "shell");
        (!pids.is_empty()).then_some(pids)
    });
    // The first look may come after the first writing: write until it has seen a change.
    let mut writing = 0;
    until("a restart", || {
        writing += 1;
        if writing % 50 == 1 {
            write(&writing.to_string());
        }
        let now = pids(&mut wire, "app");
        (!now.is_empty() && now != before).then_some(())
    });
    assert!(daemon.log().contains("app.sh modified. Restarting."), "{}", daemon.log());
    assert_eq!(pids(&mut wire, "shell"), others);
    assert_eq!(status(&mut wire, "off"), "stopped", "one that is stopped stays stopped");
}

#[test]
fn watchdog_kills_who_falls_silent() {
    let port = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let ini = format!(
        "[circus]\n[watcher:alive]\n\
         cmd = bash -c 'while sleep 0.1; do printf \"$$;0\" > /dev/udp/127.0.0.1/{port}; done'\n\
         [watcher:mute two]\ncmd = sleep 1000\n[watcher:other]\ncmd = sleep 2000\n\
         [plugin:dog]\nuse = circus.plugins.watchdog.WatchDog\nport = {port}\nloop_rate = 0.5\nmax_count = 6\n\
         watchers_regex = alive|mute\nwatchers_stop_signal = kill\n"
    );
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let mut wire = wire(&daemon);
    let [alive, other] = ["alive", "other"]
        .map(|name| until("a process", || Some(pids(&mut wire, name)).filter(|pids| !pids.is_empty())));
    let mut seen = BTreeSet::new();
    // Its successor is looked after, too.
    until("three silent processes", || {
        seen.extend(pids(&mut wire, "mute two"));
        (seen.len() >= 3).then_some(())
    });
    assert_eq!([alive, other], ["alive", "other"].map(|name| pids(&mut wire, name)), "{}", daemon.log());
    assert!(daemon.log().contains("watcher:mute two, pid:"), "{}", daemon.log());
}

#[test]
fn http_observer_restarts_on_errors() {
    let statsd = Statsd::new();
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound");
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let answers = ["200 OK", "500 Oh"].into_iter().chain(std::iter::repeat("200 OK"));
        for (connection, answer) in server.incoming().zip(answers) {
            let Ok(mut connection) = connection else { return };
            let mut asked = [0; 1024];
            let _some = connection.read(&mut asked);
            let _gone = write!(connection, "HTTP/1.1 {answer}\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let ini = format!(
        "[circus]\n[watcher:app]\ncmd = sleep 1000\n[plugin:web]\nuse = circus.plugins.http_observer.HttpObserver\n\
         check_url = http://{address}/health\nloop_rate = 0.5\nrestart_on_error = app\nhost = 127.0.0.1\nport = {}\n",
        statsd.port()
    );
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let mut wire = wire(&daemon);
    let before = until("a process", || Some(pids(&mut wire, "app")).filter(|pids| !pids.is_empty()));
    let metrics = statsd.until("restart", |metric| metric.contains("restart_on_error"));
    let prefix = "circus.http_observer.watcher.http_stats";
    assert!(metrics[0].starts_with(&format!("{prefix}.request_time:")), "{metrics:?}");
    assert!(metrics[0].ends_with("|ms"), "{metrics:?}");
    assert_eq!(
        metrics[1..],
        ["error:1|c", "error.500:1|c", "restart_on_error:1|c"].map(|m| format!("{prefix}.{m}"))
    );
    until("another process", || {
        let now = pids(&mut wire, "app");
        (!now.is_empty() && now != before).then_some(())
    });
}

#[test]
fn full_stats_sends_everybodys_figures() {
    let statsd = Statsd::new();
    let ini = format!(
        "[circus]\n[watcher:One]\ncmd = sleep 1000\nnumprocesses = 2\n\
         [plugin:full]\nuse = circus.plugins.statsd.FullStats\nloop_rate = 0.3\nhost = 127.0.0.1\nport = {}\n",
        statsd.port()
    );
    let _daemon = Daemon::start(Flavor::Ours, &ini);
    let metrics = statsd.until("mem_sum", |metric| metric.contains(".mem_sum:"));
    let names: Vec<&str> = metrics.iter().filter_map(|metric| metric.split(':').next()).collect();
    let expected = ["watchers_num", "cpu_max", "cpu_sum", "mem_pct_max", "mem_pct_sum", "mem_max", "mem_sum"]
        .map(|key| format!("circus.app.watcher._stats.One.{key}"));
    assert_eq!(names, expected);
    assert_eq!(metrics[0], "circus.app.watcher._stats.One.watchers_num:2|g");
}

const MINE: &str = "\
from circus.plugins import CircusPlugin

class Mine(CircusPlugin):
    name = 'mine'

    def __init__(self, *args, **config):
        super(Mine, self).__init__(*args, **config)
        self.path = config['path']

    def handle_init(self):
        pass

    def handle_stop(self):
        pass

    def handle_recv(self, data):
        watcher, action, _ = self.split_data(data)
        pids = self.call('list', name=watcher).get('pids')
        with open(self.path, 'a') as out:
            out.write('%s %s %s\\n' % (watcher, action, pids))
";

/// The daemon in a directory with a Python plugin in it, and what it said in the end.
fn check(ini: &str, python: Option<&str>) -> (i32, String) {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("circus.ini"), ini).expect("written");
    let mut command = Command::new(built("circusd-rs"));
    command
        .args(["--check", "circus.ini"])
        .current_dir(dir.path())
        .env_remove("CIRCUSD_RS_PYTHON")
        .env("PATH", "/nowhere");
    if let Some(python) = python {
        command.env("CIRCUSD_RS_PYTHON", python);
    }
    let (status, _, stderr) = circus_tests::daemon::run(&mut command);
    (status, stderr)
}

#[test]
fn a_plugin_that_cannot_run_is_told_at_once() {
    let ini = "[circus]\n[plugin:a]\nuse = no.such.Plugin\n[plugin:b]\nuse = circus.plugins.flapping.Flapping\nwindow = soon\n";
    let (status, said) = check(ini, None);
    assert_eq!(status, 1);
    assert!(
        said.contains(
            "circus.ini:3: [plugin:a] use: no.such.Plugin: it is not built in, and there is no python3"
        ),
        "{said}"
    );
    assert!(said.contains("circus.ini:6: [plugin:b] window: \"soon\" is not a number of seconds"), "{said}");
    let python = stock("python");
    let (status, said) = check(ini, python.to_str());
    assert_eq!(status, 1);
    assert!(said.contains("No module named 'no'"), "{said}");
    // What is built in needs no Python.
    let (status, said) =
        check(&ini.replace("soon", "5").replace("no.such.Plugin", "circus.plugins.statsd.FullStats"), None);
    assert_eq!((status, said.as_str()), (0, ""));
}

/// A class of one's own runs as with stock, unchanged, in the Python that has circus.
#[test]
fn a_plugin_of_ones_own_runs_in_python() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("mine.py"), MINE).expect("written");
    let address = circus_tests::daemon::fresh_address();
    let ini = format!(
        "{}[watcher:one]\ncmd = sleep 1000\n[plugin:mine]\nuse = mine.Mine\npath = {}/a file\n",
        circus_on(&address),
        dir.path().display()
    );
    std::fs::write(dir.path().join("circus.ini"), ini).expect("written");
    let mut command = Command::new(built("circusd-rs"));
    command.arg("circus.ini").current_dir(dir.path());
    command.env("CIRCUSD_RS_PYTHON", stock("python")).env("PYTHONPATH", dir.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = Program::start(&mut command);
    until("the daemon", || std::net::TcpStream::connect(format!("{address}:5555")).ok());
    let mut wire = Wire::connect(&format!("tcp://{address}:5555"), &format!("tcp://{address}:5556"));
    let seen = until("the plugin to write", || {
        wire.call("set", &json!({"name": "one", "options": {"graceful_timeout": 5}}));
        std::fs::read_to_string(dir.path().join("a file")).ok().filter(|text| text.contains("\n"))
    });
    let pids = pids(&mut wire, "one");
    assert!(seen.starts_with(&format!("one updated {pids:?}\n")), "{seen}");
    wire.call("quit", &json!({}));
    until("the daemon's end", || daemon.ended());
}

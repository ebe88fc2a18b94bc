//! The stats endpoint: topics, payloads, and circus-top on both daemons.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use circus_tests::daemon::{Daemon, Flavor, run, stock};
use circus_tests::script::{Session, agree};
use circus_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};
use tokio::time::timeout;
use zeromq::{Socket, SocketRecv, SubSocket};

const FED: &str = "\
[circus]
check_delay = 0.5
stats_endpoint = tcp://{address}:5557

[watcher:One]
cmd = sleep 1000
numprocesses = 2

[watcher:Two Words]
cmd = sleep 2000

[watcher:busy]
cmd = sh -c 'while :; do :; done'

[watcher:off]
cmd = sleep 3000
autostart = False
";

/// Listens until the messages please; the latest of each topic.
fn listen(
    address: &str,
    prefix: &str,
    pleases: impl Fn(&BTreeMap<String, Value>) -> bool,
) -> BTreeMap<String, Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut figures = SubSocket::new();
        let deadline = Instant::now() + PATIENCE;
        // Stock's feed is a process that may still be starting.
        while figures.connect(&format!("tcp://{address}:5557")).await.is_err() {
            assert!(Instant::now() < deadline, "no stats endpoint on {address}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        figures.subscribe(prefix).await.unwrap();
        let mut latest = BTreeMap::new();
        while !pleases(&latest) {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = timeout(left, figures.recv()).await;
            let frames = message.unwrap_or_else(|_| panic!("in vain; so far {latest:?}")).unwrap().into_vec();
            let [topic, payload] = frames.as_slice() else { panic!("two frames, not {frames:?}") };
            let topic = String::from_utf8(topic.to_vec()).unwrap();
            latest.insert(topic, serde_json::from_slice(payload).unwrap());
        }
        latest
    })
}

/// Keys in order, numbers and texts by their kind.
fn shape(value: &Value) -> String {
    let kind = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_f64() => "float".to_owned(),
        Value::Number(_) => "integer".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(items) => format!("{} items", items.len()),
        Value::Object(_) => "object".to_owned(),
    };
    let Value::Object(map) = value else { return kind(value) };
    map.iter().map(|(key, value)| format!("{key} {}", kind(value))).collect::<Vec<_>>().join(", ")
}

/// Groups of topics, pids left out.
fn groups(latest: &BTreeMap<String, Value>) -> BTreeMap<String, usize> {
    let mut groups = BTreeMap::new();
    for topic in latest.keys() {
        let group = topic.trim_end_matches(|c: char| c.is_ascii_digit());
        *groups.entry(group.to_owned()).or_default() += 1;
    }
    groups
}

fn complete(latest: &BTreeMap<String, Value>) -> bool {
    ["stat.circus", "stat.one", "stat.two words", "stat.busy"].iter().all(|topic| latest.contains_key(*topic))
}

#[test]
fn topics_and_payloads_are_those_of_stock() {
    agree(FED, |s| {
        let latest = listen(s.daemon.address(), "stat.", complete);
        let mut groups = groups(&latest);
        assert_eq!(groups.remove("stat.circus."), Some(if s.flavor() == Flavor::Stock { 2 } else { 1 }));
        s.note("groups", format!("{groups:?}"));
        for (topic, payload) in &latest {
            if topic.starts_with("stat.one") {
                s.note("payload", shape(payload));
            }
        }
        s.note("aggregate of the daemon", shape(&without_pids(&latest["stat.circus"])));
        let own = &latest[&format!("stat.circus.{}", s.daemon.pid())];
        s.note("daemon", format!("{} {}", own["name"], shape(own)));
        // A subscriber of one watcher, and of one process.
        let one = listen(s.daemon.address(), "stat.one", |latest| latest.len() == 3);
        s.note("only one", one.keys().all(|topic| topic.starts_with("stat.one")));
        let pid = one["stat.one"]["pid"][1].clone();
        let alone = listen(s.daemon.address(), &format!("stat.one.{pid}"), |latest| latest.len() == 1);
        s.note("only a process", alone.values().next().is_some_and(|figures| figures["pid"] == pid));
    });
}

fn without_pids(total: &Value) -> Value {
    let mut total = total.clone();
    total["pid"] = json!([]);
    total
}

#[test]
fn the_feed_is_no_watcher() {
    agree(FED, |s| {
        let listed = s.call_differs("D40", "list", json!({}));
        let names: Vec<&str> =
            listed["watchers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let others: Vec<&&str> = names.iter().filter(|name| **name != "circusd-stats").collect();
        s.note("others", format!("{others:?}"));
        let reply = s.wire.call("globaloptions", &json!({"option": "stats_endpoint"}));
        s.note("stats_endpoint", &reply["options"]);
    });
}

#[test]
fn what_comes_and_goes_is_followed() {
    agree(FED, |s| {
        let one = |latest: &BTreeMap<String, Value>| {
            latest.get("stat.one").map_or(0, |total| total["pid"].as_array().map_or(0, Vec::len))
        };
        listen(s.daemon.address(), "stat.one", |latest| one(latest) == 2);
        s.call("incr", json!({"name": "one", "nb": 2, "waiting": true}));
        listen(s.daemon.address(), "stat.one", |latest| one(latest) == 4);
        s.call("decr", json!({"name": "one", "nb": 3, "waiting": true}));
        listen(s.daemon.address(), "stat.one", |latest| one(latest) == 1);
        s.call("start", json!({"name": "off", "waiting": true}));
        let latest = listen(s.daemon.address(), "stat.off", |latest| latest.len() == 2);
        s.note("started later", shape(&latest["stat.off"]));
    });
}

/// Paints for a while on a terminal of its own, as a person would see it, and prints the texts.
const TOP: &str = r#"
import fcntl, os, pty, re, select, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm")
    os.execv(sys.argv[1], [sys.argv[1], "--endpoint", sys.argv[2]])
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 100, 0, 0))
wanted, seen, end = sys.argv[3:], b"", time.time() + 50
def texts():
    return [t.strip() for t in re.split(r"\x1b[\[(][0-9;?]*[a-zA-Z]|[\r\n]", seen.decode(errors="replace"))]
while time.time() < end and not all(w in texts() for w in wanted):
    if select.select([fd], [], [], 0.2)[0]:
        seen += os.read(fd, 65536)
print([w for w in wanted if w in texts()], [w for w in ("Traceback", "Error") if any(w in t for t in texts())])
os.kill(pid, 2)
while True:
    try:
        if not os.read(fd, 65536):
            break
    except OSError:
        break
print(os.waitpid(pid, 0)[1])
"#;

fn top(s: &mut Session) {
    let endpoint = format!("tcp://{}:5557", s.daemon.address());
    let own = format!("{} (circusd)", s.daemon.pid());
    let wanted = ["circus", "one", "two words", "busy", &own];
    let mut command = Command::new(stock("python"));
    command.args(["-c", TOP]).arg(stock("circus-top")).arg(&endpoint).args(wanted);
    let (status, stdout, stderr) = run(&mut command);
    let stdout = stdout.replace(&own, "<daemon>");
    s.note("circus-top", format!("exit {status}\n{stdout}{stderr}"));
    assert!(stdout.contains("<daemon>"), "{stdout}{stderr}");
}

#[test]
fn circus_top_shows_it() {
    agree(FED, top);
}

const LISTENING: &str = "\
[circus]
check_delay = 0.5
stats_endpoint = tcp://{address}:5557

[socket:web]
host = {address}
port = 8080

[socket:file]
path = {dir}/sock

[watcher:one]
cmd = sleep 1000
use_sockets = True
";

/// Nobody accepts, so that the connection is found at each look.
#[test]
fn sockets_are_published_with_their_reads() {
    agree(LISTENING, |s| {
        let web = format!("{}:8080", s.daemon.address());
        let _pending = std::net::TcpStream::connect(&web).unwrap();
        let hit = |latest: &BTreeMap<String, Value>| {
            latest.len() == 3 && latest["stat.sockets"]["reads"].as_u64() > Some(1)
        };
        let latest = listen(s.daemon.address(), "stat.sockets", hit);
        let listed = s.wire.call("listsockets", &json!({}))["sockets"].clone();
        for socket in listed.as_array().unwrap() {
            let told = &latest[&format!("stat.sockets.{}", socket["fd"])];
            s.note("a socket", format!("{} {}", shape(told), told["address"]));
            s.note("has its number", told["fd"] == socket["fd"] && told["subtopic"] == socket["fd"]);
            s.note("has been hit", told["reads"].as_u64() > Some(0));
        }
        s.note(
            "together",
            format!("{} {}", shape(&latest["stat.sockets"]), latest["stat.sockets"]["addresses"]),
        );

        let endpoint = format!("tcp://{}:5557", s.daemon.address());
        let mut command = Command::new(stock("python"));
        command.args(["-c", TOP]).arg(stock("circus-top")).arg(&endpoint).args(["one", &web]);
        let (status, stdout, stderr) = run(&mut command);
        s.note("circus-top", format!("exit {status}\n{stdout}{stderr}"));
        assert!(stdout.contains(&web), "{stdout}{stderr}");
    });
}

/// Stock's circus-top is brought down by a watcher with a dot in its name (topics are taken apart at
/// the dots); with our spelling it shows it.
#[test]
fn a_name_with_a_dot_does_not_bring_circus_top_down() {
    let daemon = Daemon::start(Flavor::Ours, &FED.replace("Two Words", "two.words"));
    let latest = listen(daemon.address(), "stat.", |latest| latest.contains_key("stat.two-words"));
    assert!(!latest.contains_key("stat.two.words"), "D41: {latest:?}");
    let endpoint = format!("tcp://{}:5557", daemon.address());
    let mut command = Command::new(stock("python"));
    command.args(["-c", TOP]).arg(stock("circus-top")).args([&endpoint, "two.words", "one"]);
    let (_, stdout, _) = run(&mut command);
    assert!(stdout.starts_with("['two.words', 'one'] []"), "{stdout}");
}

/// A busy process is busy for the feed, however often others ask.
#[test]
fn callers_do_not_disturb_the_feed() {
    let daemon = Daemon::start(Flavor::Ours, FED);
    let mut wire = circus_tests::wire::Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    listen(daemon.address(), "stat.busy", |latest| latest.contains_key("stat.busy"));
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        wire.call("stats", &json!({"name": "busy"}));
    }
    // Between two rounds a second passes: whatever others asked, the share is of that second.
    let total =
        |latest: &BTreeMap<String, Value>| latest.get("stat.busy").and_then(|total| total["cpu"].as_f64());
    let latest = listen(daemon.address(), "stat.busy", |latest| total(latest).is_some_and(|cpu| cpu > 5.0));
    // A busy machine reads the clock late; of a moment instead of a second it would be a thousand.
    assert!(total(&latest).unwrap() <= 300.0, "{latest:?}");
}

/// The daemon supervises without figures when their endpoint is taken, says so, and publishes as soon as
/// it is free.
#[test]
fn a_taken_endpoint_costs_the_figures_only() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let ini = FED.replace("{address}:5557", &place.to_string());
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let mut wire = circus_tests::wire::Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    until("one to run", || {
        (wire.call("status", &json!({"name": "one"}))["status"] == "active").then_some(())
    });
    assert!(daemon.log().contains("Could not bind stats_endpoint"), "{}", daemon.log());
    drop(taken);
    until("the figures", || daemon.log().contains("figures are published").then_some(()));
    until("a listener", || std::net::TcpStream::connect(place).ok());
}

/// `reloadconfig` says that it takes a restart, and the restart moves the figures, or ends them.
#[test]
fn a_restart_moves_the_figures() {
    let daemon = Daemon::start(Flavor::Ours, FED);
    let mut wire = circus_tests::wire::Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    let two =
        |latest: &BTreeMap<String, Value>| latest.get("stat.one").is_some_and(|one| one["pid"][1].is_u64());
    listen(daemon.address(), "stat.one", two);
    let elsewhere = circus_tests::daemon::fresh_address();
    let moved = FED.replace("{address}:5557", &format!("{elsewhere}:5557"));
    daemon.rewrite(&moved);
    let reply = wire.call("reloadconfig", &json!({"waiting": true}));
    assert_eq!(reply["status"], "ok", "{reply}");
    assert!(daemon.log().contains("[circus] stats_endpoint changed"), "{}", daemon.log());
    listen(daemon.address(), "stat.one", two);
    wire.call("restart", &json!({"waiting": true}));
    listen(&elsewhere, "stat.one", two);
    let closed = |address: &str| std::net::TcpStream::connect(format!("{address}:5557")).is_err();
    until("the old endpoint to close", || closed(daemon.address()).then_some(()));
    let told = wire.call("globaloptions", &json!({"option": "stats_endpoint"}));
    assert_eq!(told["options"]["stats_endpoint"], format!("tcp://{elsewhere}:5557"));
    daemon.rewrite(&FED.replace("stats_endpoint = tcp://{address}:5557\n", ""));
    wire.call("restart", &json!({"waiting": true}));
    until("the feed to end", || closed(&elsewhere).then_some(()));
}

//! Managed sockets: what is bound, who gets it, and what a knock does.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use circus_tests::daemon::{Flavor, built, circus_on, fresh_address, run, stock};
use circus_tests::script::{Session, agree, alone};
use circus_tests::wait::{PATIENCE, until};
use serde_json::{Value, json};

/// One socket of each usual kind, and a watcher that has nothing to do with them.
const MANY: &str = "\
[circus]
check_delay = 0.5
[socket:Web]
host = {address}
port = 8080
[socket:udp]
host = {address}
port = 8080
type = SOCK_DGRAM
proto = udp
[socket:six]
host = ::1
family = af_inet6
port = 0
[socket:any]
host = {address}
port = 0
backlog = 5
[socket:ux]
path = {dir}/ux.sock
[socket:seq]
path = {dir}/seq.sock
type = SOCK_SEQPACKET
umask = 077
[socket:port]
port = seventy
[socket:family]
family = AF_MARS
[socket:kind]
type = SOCK_SILK
[socket:proto]
proto = pigeon
[socket:backlog]
backlog = long
[socket:host]
host = no-such-host.invalid
[watcher:other]
cmd = sleep 1000
[watcher:a]
cmd = sleep 1000
use_sockets = True
";

/// What somebody who accepts at the other end says: its number.
fn answer(mut stream: impl Read) -> Option<i64> {
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn knock(s: &Session, port: u16) -> Option<i64> {
    let stream = TcpStream::connect((s.daemon.address(), port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    answer(stream)
}

fn pids(s: &mut Session, name: &str) -> Vec<i64> {
    let reply = s.wire.ask("list", &json!({"name": name}));
    reply["pids"].as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

fn sockets(s: &mut Session) -> Vec<Value> {
    s.wire.ask("listsockets", &json!({}))["sockets"].as_array().cloned().unwrap_or_default()
}

/// `listsockets` with the numbers that only have to be there and to grow.
fn note_sockets(s: &mut Session) {
    let sockets = sockets(s);
    let mut last = 2;
    for mut socket in sockets {
        let fd = socket["fd"].as_i64().expect("a number");
        assert!(fd > last, "{fd} comes after {last}");
        last = fd;
        socket["fd"] = json!("above");
        if matches!(socket["name"].as_str(), Some("any" | "six")) {
            assert!(socket["port"].as_u64().is_some_and(|port| port > 0), "{socket}");
            socket["port"] = json!("given");
        }
        s.note("socket", socket);
    }
}

fn open_in(pid: i64, fd: &Value) -> bool {
    let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    link.is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
}

#[test]
fn all_kinds_are_bound_and_listed_and_bad_ones_are_left_out() {
    agree(MANY, |s| {
        note_sockets(s);
        for file in ["ux.sock", "seq.sock"] {
            let mode = std::fs::metadata(s.daemon.dir().join(file)).expect("a socket file").permissions();
            s.note(file, format!("{:o}", mode.mode() & 0o777));
        }
        let all = sockets(s);
        let other = pids(s, "other")[0];
        s.note("without use_sockets", all.iter().any(|socket| open_in(other, &socket["fd"])));
        let user = pids(s, "a")[0];
        s.note("with use_sockets", all.iter().all(|socket| open_in(user, &socket["fd"])));
        s.daemon.signal(nix::sys::signal::Signal::SIGTERM);
        s.daemon.wait();
        s.note("file after the end", s.daemon.dir().join("ux.sock").exists());
    });
}

#[test]
fn processes_accept_at_the_numbers_they_are_told() {
    let ini = "\
[circus]
check_delay = 0.5
[socket:web]
host = {address}
port = 8080
[socket:ux]
path = {dir}/ux.sock
[socket:in]
host = {address}
port = 8081
[socket:many]
host = {address}
port = 8082
so_reuseport = True
[watcher:web]
cmd = {mischief} accept $(circus.sockets.web)
use_sockets = True
numprocesses = 2
[watcher:ux]
cmd = {mischief} accept
args = ((CIRCUS.Sockets.UX))
use_sockets = True
[watcher:in]
cmd = {mischief} accept 0
stdin_socket = in
[watcher:many]
cmd = {mischief} accept $(circus.sockets.many)
use_sockets = True
numprocesses = 2
";
    agree(ini, |s| {
        for (name, port) in [("web", 8080), ("in", 8081), ("many", 8082)] {
            let who = until("an answer", || knock(s, port));
            let known = pids(s, name).contains(&who);
            s.note(name, known);
        }
        let who =
            UnixStream::connect(s.daemon.dir().join("ux.sock")).ok().and_then(answer).expect("an answer");
        let known = pids(s, "ux").contains(&who);
        s.note("ux", known);
        // A restart loses no connection: the socket is the daemon's.
        s.call("restart", json!({"name": "web", "waiting": true, "match": "simple"}));
        let who = knock(s, 8080).expect("an answer");
        let known = pids(s, "web").contains(&who);
        s.note("after a restart", known);
    });
}

#[test]
fn a_knock_starts_a_watcher_on_demand() {
    let ini = "\
[circus]
check_delay = 0.3
[socket:web]
host = {address}
port = 8080
[watcher:web]
cmd = {mischief} once $(circus.sockets.web)
use_sockets = True
on_demand = True
";
    agree(ini, |s| {
        s.call("status", json!({"name": "web"}));
        s.call("start", json!({"name": "web", "waiting": true}));
        s.call("list", json!({"name": "web"}));
        for _ in 0..2 {
            s.note("answered", knock(s, 8080).is_some());
            let stopped = |reply: &Value| reply["status"] == "stopped";
            s.wait_for("it to have stopped", "status", &json!({"name": "web"}), stopped);
            s.events_until("watcher.web.reap");
        }
    });
}

#[test]
fn only_the_watchers_of_a_socket_are_started_and_none_that_was_stopped() {
    let ini = "\
[circus]
check_delay = 0.3
[socket:one]
host = {address}
port = 8080
[socket:two]
host = {address}
port = 8081
[watcher:one]
cmd = {mischief} accept $(circus.sockets.one)
use_sockets = True
on_demand = True
[watcher:two]
cmd = {mischief} accept $(circus.sockets.two)
use_sockets = True
on_demand = True
[watcher:off]
cmd = sleep 1000
";
    agree(ini, |s| {
        s.wire.ask("stop", &json!({"name": "off", "waiting": true}));
        let _knock = TcpStream::connect((s.daemon.address(), 8080)).expect("a managed socket");
        let somebody = |reply: &Value| {
            reply["statuses"].as_object().is_some_and(|all| all.values().any(|status| status == "active"))
        };
        let started = s.wait_for("somebody to start", "status", &json!({}), somebody)["statuses"].clone();
        s.note_differs("D100", "after a knock at one", &started);
        if s.flavor() == Flavor::Ours {
            assert_eq!(started, json!({"off": "stopped", "one": "active", "two": "stopped"}));
        }
    });
}

#[test]
fn fresh_sockets_are_also_for_args_and_stdin() {
    let ini = "\
[circus]
[socket:many]
host = {address}
port = 8080
so_reuseport = True
interface = lo
[socket:in]
host = {address}
port = 8081
so_reuseport = True
[watcher:args]
cmd = {mischief} accept
args = $(circus.sockets.Many)
use_sockets = True
numprocesses = 2
[watcher:stdin]
cmd = {mischief} accept 0
stdin_socket = in
numprocesses = 2
";
    alone(ini, |s| {
        for (name, port) in [("args", 8080), ("stdin", 8081)] {
            let who = until("an answer", || knock(s, port));
            assert!(pids(s, name).contains(&who));
        }
    });
}

/// Runs a daemon to its end on a configuration with which it cannot start.
fn fails(flavor: Flavor, sockets: &str) -> (i32, String) {
    let (temp, address) = (tempfile::tempdir().expect("a directory"), fresh_address());
    let dir = temp.path().to_str().expect("a plain path");
    let text = (circus_on(&address) + sockets).replace("{dir}", dir).replace("{address}", &address);
    let ini = temp.path().join("circus.ini");
    std::fs::write(&ini, text).expect("written");
    let program = if flavor == Flavor::Stock { stock("circusd") } else { built("circusd-rs") };
    let (status, stdout, stderr) = run(Command::new(program).arg(&ini).current_dir(temp.path()));
    (status, (stdout + &stderr).replace(dir, "<dir>").replace(&address, "<address>"))
}

#[test]
fn what_cannot_be_bound_ends_the_daemon_with_a_reason() {
    for (sockets, said) in [
        (
            "[socket:mine]\npath = {dir}/circus.ini\n",
            "socket 'mine': Could not bind '<dir>/circus.ini': '<dir>/circus.ini' already exists. You might want to remove it",
        ),
        (
            "[socket:a]\nhost = {address}\nport = 7000\n[socket:b]\nhost = {address}\nport = 7000\n",
            "socket 'b': Could not bind <address>:7000: Address already in use",
        ),
        (
            "[socket:dir]\npath = {dir}/none/x.sock\n",
            "socket 'dir': Could not bind '<dir>/none/x.sock': No such file or directory",
        ),
        (
            "[socket:flag]\nreplace = maybe\n",
            "circus.ini:6: [socket:flag] replace: \"maybe\" is not a boolean",
        ),
        (
            "[socket:far]\nhost = 203.0.113.7\nport = 7000\n",
            "socket 'far': Could not bind 203.0.113.7:7000: ",
        ),
        (
            "[socket:card]\nhost = {address}\ninterface = no-such-card\n",
            "socket 'card': interface = no-such-card: ",
        ),
    ] {
        let (status, text) = fails(Flavor::Ours, sockets);
        assert_eq!(status, 1, "{sockets}{text}");
        assert!(text.contains(said), "{sockets}{text}");
    }
    // Q23: stock says nearly the same and reports success.
    let (status, text) = fails(Flavor::Stock, "[socket:mine]\npath = {dir}/circus.ini\n");
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("Could not bind '<dir>/circus.ini'"), "{text}");
}

#[test]
fn sockets_follow_the_file() {
    const BEFORE: &str = "\
[circus]
check_delay = 0.5
[socket:a]
host = {address}
port = 8080
[socket:b]
host = {address}
port = 8081
[watcher:w]
cmd = sleep 1000
";
    agree(BEFORE, |s| {
        note_sockets(s);
        let before = pids(s, "w");
        s.daemon.rewrite(
            &BEFORE
                .replace("[socket:b]", "[socket:c]\npath = {dir}/c.sock\n[socket:d]")
                .replace("8081", "8082"),
        );
        s.call("reloadconfig", json!({"waiting": true}));
        let names: Vec<String> = sockets(s).iter().map(|socket| socket["name"].to_string()).collect();
        s.note("names", {
            let mut names = names;
            names.sort();
            names.join(" ")
        });
        s.note("removed answers", TcpStream::connect((s.daemon.address(), 8081)).is_ok());
        s.note("new answers", TcpStream::connect((s.daemon.address(), 8082)).is_ok());
        let same = pids(s, "w") == before;
        s.note("nobody was restarted", same);
    });
}

#[test]
fn a_changed_socket_takes_its_watchers_along() {
    const BEFORE: &str = "\
[circus]
[socket:web]
host = {address}
port = 8080
[watcher:web]
cmd = {mischief} accept $(circus.sockets.web)
use_sockets = True
[watcher:other]
cmd = sleep 1000
";
    alone(BEFORE, |s| {
        let (web, other) = (pids(s, "web"), pids(s, "other"));
        s.daemon.rewrite(&BEFORE.replace("8080", "8081"));
        let reply = s.wire.call("reloadconfig", &json!({"waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        let who = knock(s, 8081).expect("an answer");
        assert!(!web.contains(&who) && pids(s, "web").contains(&who));
        assert_eq!(pids(s, "other"), other);
        assert!(TcpStream::connect((s.daemon.address(), 8080)).is_err());
        // What cannot be had leaves what there is.
        let taken = std::net::TcpListener::bind((s.daemon.address(), 8082)).expect("a free port");
        s.daemon.rewrite(&BEFORE.replace("8080", "8082"));
        let reply = s.wire.call("reloadconfig", &json!({"waiting": true}));
        assert_eq!((reply["status"].as_str(), reply["errno"].as_i64()), (Some("error"), Some(6)), "{reply}");
        assert!(knock(s, 8081).is_some());
        drop(taken);
        let reply = s.wire.call("reloadconfig", &json!({"waiting": true}));
        assert_eq!(reply["status"], "ok", "{reply}");
        assert!(knock(s, 8082).is_some());
        // The same address with another backlog is no reason to stop anybody.
        let web = pids(s, "web");
        s.daemon.rewrite(&BEFORE.replace("8080", "8082\nbacklog = 7"));
        s.wire.call("reloadconfig", &json!({"waiting": true}));
        assert_eq!((sockets(s)[0]["backlog"].as_i64(), pids(s, "web")), (Some(7), web));
        // A socket that is still used cannot go.
        let unused = BEFORE.replace("[socket:web]\nhost = {address}\nport = 8080\n", "");
        s.daemon.rewrite(&unused);
        let reply = s.wire.call("reloadconfig", &json!({"waiting": true}));
        assert!(reply["reason"].to_string().contains("uses the socket 'web'"), "{reply}");
        assert!(knock(s, 8082).is_some());
    });
}

/// Q21: the stats program of stock duplicates descriptors by the numbers that `listsockets` gives.
#[test]
fn stock_circusd_stats_finds_the_sockets_it_is_told_of() {
    let python = stock("python");
    let python = python.to_str().expect("a plain path");
    let ini = format!(
        "\
[circus]
[socket:web]
host = {{address}}
port = 8080
[socket:ux]
path = {{dir}}/ux.sock
[watcher:stats]
cmd = {python} -c 'from circus import stats; stats.main()' --endpoint tcp://{{address}}:5555 --pubsub tcp://{{address}}:5556 --statspoint tcp://{{address}}:5558
use_sockets = True
copy_env = True
singleton = True
"
    );
    alone(&ini, |s| {
        let listing = r"
import sys, zmq
s = zmq.Context().socket(zmq.SUB)
s.setsockopt(zmq.SUBSCRIBE, b'stat.sockets')
s.setsockopt(zmq.RCVTIMEO, 20000)
s.connect(sys.argv[1])
seen = set()
while len(seen) < 3:
    seen.add(s.recv_multipart()[0].decode())
print(*sorted(seen))
";
        let statspoint = format!("tcp://{}:5558", s.daemon.address());
        let (status, stdout, stderr) = run(Command::new(python).args(["-c", listing, &statspoint]));
        assert_eq!(status, 0, "{stderr}");
        let mut expected: Vec<String> =
            sockets(s).iter().map(|socket| format!("stat.sockets.{}", socket["fd"])).collect();
        expected.push("stat.sockets".to_owned());
        expected.sort();
        assert_eq!(stdout.trim(), expected.join(" "));
        assert!(Path::new(&s.daemon.dir().join("ux.sock")).exists());
    });
}

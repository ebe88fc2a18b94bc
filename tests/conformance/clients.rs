//! Stock clients, unchanged: circusctl one-shot and as a shell, CircusClient, AsyncCircusClient,
//! circusd-stats and plugins started by hand. circus-top is in the file of the feed.

use std::process::Command;

use circus_tests::daemon::{run, stock};
use circus_tests::ending::Program;
use circus_tests::script::{Session, agree, alone};

use crate::{CALM, THREE};

/// A program that says into a file what it says.
fn helper(command: &mut Command, s: &Session) -> Program {
    let log = std::fs::File::create(s.daemon.dir().join("helper.log")).expect("a log");
    let again = log.try_clone().expect("shared");
    Program::start(command.stdout(log).stderr(again))
}

fn circusctl(s: &mut Session, arguments: &[&str]) {
    let endpoint = s.daemon.endpoint();
    let (status, stdout, stderr) = run(Command::new(stock("circusctl"))
        .args(["--endpoint", &endpoint, "--timeout", "50"])
        .args(arguments));
    s.note(
        &format!("circusctl {arguments:?}"),
        format!("exit {status}\n{}{}", digits(&stdout), digits(&stderr)),
    );
}

/// Long numbers are pids or times; short ones are counts and stay.
fn digits(text: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for letter in text.chars().chain(std::iter::once('\0')) {
        if letter.is_ascii_digit() {
            run.push(letter);
            continue;
        }
        out += if run.len() > 2 { "N" } else { &run };
        run.clear();
        if letter != '\0' {
            out.push(letter);
        }
    }
    out
}

#[test]
fn circusctl_drives_it() {
    agree(THREE, |s| {
        for arguments in [
            &["list"][..],
            &["list", "one"],
            &["status"],
            &["status", "one"],
            &["status", "nope"],
            &["numwatchers"],
            &["numprocesses", "one"],
            &["globaloptions", "check_delay"],
            &["get", "one", "cmd", "numprocesses"],
            &["incr", "--waiting", "one"],
            &["decr", "--waiting", "one", "1"],
            &["set", "one", "graceful_timeout", "2"],
            &["get", "one", "graceful_timeout"],
            &["stop", "--waiting", "one"],
            &["status"],
            &["start", "--waiting", "one"],
            &["restart", "--waiting", "two words"],
            &["reload", "--waiting", "one"],
            &["signal", "one", "cont"],
            &["add", "--start", "new", "sleep", "600"],
            &["list"],
            &["rm", "new"],
            &["rm", "nope"],
            &["zorg"],
            &["listsockets"],
            &["status"],
        ] {
            circusctl(s, arguments);
        }
        circusctl(s, &["quit"]);
        let status = s.daemon.wait();
        s.note("exit status", format!("{:?}", status.code()));
    });
}

const CLIENT: &str = r#"
import sys
from circus.client import CircusClient
from circus.exc import CallError

client = CircusClient(endpoint=sys.argv[1], timeout=15)
print(client.call({"command": "list", "properties": {}})["watchers"])
print(client.send_message("numprocesses", name="one")["numprocesses"])
print(client.send_message("stop", name="one", waiting=True)["status"])
print(client.send_message("status", name="one")["status"])
print(len(client.send_message("start", name="one", waiting=True)["info"]["started"]))
print(client.send_message("status", name="nope")["reason"])
print(sorted(client.send_message("stats", name="one")))
client.stop()
"#;

#[test]
fn circus_client_drives_it() {
    agree(THREE, |s| {
        let endpoint = s.daemon.endpoint();
        let (status, stdout, stderr) = run(Command::new(stock("python")).args(["-c", CLIENT, &endpoint]));
        s.note("client", format!("exit {status}\n{}{stderr}", digits(&stdout)));
    });
}

const ASYNC: &str = r#"
import sys
from tornado import gen, ioloop
from circus.client import AsyncCircusClient

async def main():
    client = AsyncCircusClient(endpoint=sys.argv[1])
    print((await client.call({"command": "list", "properties": {}}))["watchers"])
    print((await client.send_message("stop", name="one", waiting=True))["status"])
    print((await client.send_message("numprocesses"))["numprocesses"])
    print((await client.send_message("status", name="one"))["status"])
    print((await client.send_message("start", name="nope"))["reason"])
    client.stop()

ioloop.IOLoop.current().run_sync(main, timeout=15)
"#;

#[test]
fn async_client_drives_it() {
    agree(CALM, |s| {
        let endpoint = s.daemon.endpoint();
        let (status, stdout, stderr) = run(Command::new(stock("python")).args(["-c", ASYNC, &endpoint]));
        s.note("client", format!("exit {status}\n{}{stderr}", digits(&stdout)));
    });
}

/// Types a line at each prompt of a program on a pseudo terminal, then ends its input.
const TYPIST: &str = r#"
import os, pty, select, sys, time
prompt, lines, command = sys.argv[1], sys.argv[2].split("|"), sys.argv[3:]
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb"
    os.execv(command[0], command)
text, seen, end = "", 0, time.time() + 18
lines.append("\x04")
while time.time() < end:
    if select.select([fd], [], [], 0.1)[0]:
        try:
            piece = os.read(fd, 4096).decode(errors="replace")
        except OSError:
            break
        if not piece:
            break
        text += piece
        if lines and text.find(prompt, seen) >= 0:
            seen = text.find(prompt, seen) + len(prompt)
            line = lines.pop(0)
            os.write(fd, (line if line == "\x04" else line + "\n").encode())
else:
    os.kill(pid, 9)
print(text.replace("\r", ""))
print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

#[test]
fn circusctl_is_a_shell() {
    agree(CALM, |s| {
        let endpoint = s.daemon.endpoint();
        let lines = "status|list|list one|numprocesses|incr --waiting one|stop --waiting one|status one|status nope|\
                     get one cmd|dstats zorg|zorg|help|restart --waiting two*|status";
        let circusctl = stock("circusctl");
        let circusctl = circusctl.to_str().expect("a plain path");
        let (status, stdout, stderr) = run(Command::new(stock("python")).args([
            "-c",
            TYPIST,
            "(circusctl) ",
            lines,
            circusctl,
            "--endpoint",
            &endpoint,
            "--timeout",
            "50",
        ]));
        assert!(stdout.contains("(circusctl) "), "no shell: {stdout}{stderr}");
        s.note("shell", format!("exit {status}\n{}{stderr}", digits(&stdout)));
        s.call("status", serde_json::json!({}));
    });
}

const FIGURES: &str = r#"
import sys, time, zmq
socket = zmq.Context().socket(zmq.SUB)
socket.setsockopt(zmq.SUBSCRIBE, b"stat.")
socket.connect(sys.argv[1])
seen, end = set(), time.time() + 18
while time.time() < end and not (any(t.startswith("stat.one.") for t in seen) and {"stat.one", "stat.circus", "stat.two words"} <= seen):
    if socket.poll(100):
        seen.add(socket.recv_multipart()[0].decode())
print(sorted(seen & {"stat.one", "stat.circus", "stat.two words"}), any(t.startswith("stat.one.") for t in seen))
"#;

#[test]
fn circusd_stats_by_hand() {
    agree(CALM, |s| {
        let (endpoint, pubsub) = (s.daemon.endpoint(), s.daemon.pubsub());
        let point = format!("tcp://{}:5557", s.daemon.address());
        let _stats = helper(
            Command::new(stock("circusd-stats")).args([
                "--endpoint",
                &endpoint,
                "--pubsub",
                &pubsub,
                "--statspoint",
                &point,
            ]),
            s,
        );
        let (status, stdout, stderr) = run(Command::new(stock("python")).args(["-c", FIGURES, &point]));
        s.note("figures", format!("exit {status}\n{stdout}{stderr}"));
    });
}

fn plugin(s: &Session, class: &str, config: &str) -> Program {
    let (endpoint, pubsub) = (s.daemon.endpoint(), s.daemon.pubsub());
    let program = stock("circus-plugin");
    let words = ["--endpoint", &endpoint, "--pubsub", &pubsub, "--config", config, class];
    helper(Command::new(program).args(words), s)
}

/// With stock its stop is refused by the lock (Q34), so ours runs alone.
#[test]
fn flapping_by_hand() {
    let ini = "\
[circus]
check_delay = 0.3
[watcher:crash]
cmd = {mischief} exit 1
[watcher:calm]
cmd = sleep 1000
";
    alone(ini, |s| {
        let config = "attempts:2:::window:100:::retry_in:1:::max_retry:2:::name:flap";
        let _plugin = plugin(s, "circus.plugins.flapping.Flapping", config);
        s.wait_event("watcher.crash.stop");
        s.wait_event("watcher.crash.start");
        s.wait_event("watcher.crash.stop");
        s.wait_for("the end of its patience", "status", &serde_json::json!({"name": "crash"}), |reply| {
            reply["status"] == "stopped"
        });
        assert_eq!(s.wire.ask("status", &serde_json::json!({"name": "calm"}))["status"], "active");
    });
}

#[test]
fn resource_watcher_by_hand() {
    agree(CALM, |s| {
        let config =
            "watcher:one:::loop_rate:0.2:::max_count:1:::max_mem:0.000001:::host:127.0.0.1:::name:res";
        let _plugin = plugin(s, "circus.plugins.resource_watcher.ResourceWatcher", config);
        s.wait_event("watcher.one.stop");
        s.wait_event("watcher.one.start");
        s.note("restarted", true);
    });
}

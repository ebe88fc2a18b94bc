//! Stock clients, unchanged, against both daemons: circusctl and CircusClient.

use std::process::Command;

use circus_tests::daemon::{run, stock};
use circus_tests::script::{Session, agree};

use crate::THREE;

fn circusctl(s: &mut Session, arguments: &[&str]) {
    let endpoint = s.daemon.endpoint();
    let (status, stdout, stderr) = run(Command::new(stock("circusctl"))
        .args(["--endpoint", &endpoint, "--timeout", "15"])
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

//! Where stdout and stderr go: every stream class and option.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use circus_tests::daemon::{Daemon, Flavor};
use circus_tests::script::{Session, agree};
use circus_tests::wait::{PATIENCE, until};
use circus_tests::wire::Wire;
use serde_json::json;

/// Who writes several lines that are counted waits until each has arrived, so that nothing depends on
/// how fast anybody reads.
const STREAMS: &str = "\
[circus]
check_delay = 0.5

[watcher:plain]
cmd = /bin/sh -c 'printf \"one\\ntwo\\n\\nlast\"; echo err >&2; exec sleep 1000'
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/plain.out
stderr_stream.filename = {dir}/plain.err

[watcher:timed]
cmd = /bin/sh -c 'printf \"one\\ntwo\\n\"; exec sleep 1000'
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/timed.out
stdout_stream.time_format = T%%

[watcher:watched-format]
cmd = /bin/sh -c 'printf \"x\\n\"; exec sleep 1000'
stdout_stream.class = WatchedFileStream
stdout_stream.filename = {dir}/watched-format.out
stdout_stream.time_format = [at]

[watcher:sized]
cmd = /bin/sh -c 'for i in 1 2 3 4 5 6; do printf \"%059d\\n\" $i; until grep -qs 0$i {dir}/sized.out; do sleep 0.05; done; done; echo done >&2; exec sleep 1000'
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/sized.out
stdout_stream.max_bytes = 121
stdout_stream.backup_count = 2
stderr_stream.filename = {dir}/sized.done

[watcher:unkept]
cmd = /bin/sh -c 'for i in 1 2 3; do printf \"%059d\\n\" $i; until grep -qs 0$i {dir}/unkept.out; do sleep 0.05; done; done; echo done >&2; exec sleep 1000'
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/unkept.out
stdout_stream.max_bytes = 70
stderr_stream.filename = {dir}/unkept.done

[watcher:watched]
cmd = /bin/sh -c 'while :; do echo tick; sleep 0.1; done'
stdout_stream.class = WatchedFileStream
stdout_stream.filename = {dir}/watched.out

[watcher:seconds]
cmd = /bin/sh -c 'while :; do echo tick; sleep 0.2; done'
stdout_stream.class = TimedRotatingFileStream
stdout_stream.filename = {dir}/seconds.out
stdout_stream.rotate_when = S
stdout_stream.rotate_interval = 1
stdout_stream.backup_count = 2

[watcher:terminal]
cmd = /bin/sh -c 'echo plain-$((6*7)); exec sleep 1000'
stdout_stream.class = StdoutStream

[watcher:fancy]
cmd = /bin/sh -c 'printf \"fancy-$((6*7))\\n\\nagain\\n\"; exec sleep 1000'
stdout_stream.class = FancyStdoutStream
stdout_stream.color = green
stdout_stream.time_format = Y

[watcher:closed]
cmd = /bin/sh -c 'echo closed-$((6*7)); exec sleep 1000'
stdout_stream.filename = {dir}/closed.out
close_child_stdout = True

[watcher:inherits]
cmd = /bin/sh -c 'echo inherits-$((6*7)); exec sleep 1000'

[watcher:late]
cmd = sleep 1000
autostart = False
stdout_stream.filename = {dir}/late.out

[watcher:two]
cmd = sleep 1000
numprocesses = 2
stdout_stream.class = circus.stream.FileStream
stdout_stream.filename = {dir}/two.out
";

fn read(s: &Session, file: &str) -> String {
    std::fs::read_to_string(s.daemon.dir().join(file)).unwrap_or_default()
}

/// Waits for text in a file, then notes the file with pids named.
fn noted(s: &mut Session, file: &str, end: &str) {
    let path = s.daemon.dir().join(file);
    until(&format!("{end:?} in {file}"), || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with(end)).then_some(())
    });
    let text = read(s, file);
    s.note(file, format!("{:?}", digits(&text)));
}

/// Long numbers between brackets are pids.
fn digits(text: &str) -> String {
    text.split('[')
        .map(|part| match part.split_once(']') {
            Some((pid, rest)) if pid.parse::<u32>().is_ok() => format!("<pid>]{rest}"),
            _ => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("[")
}

fn log_line(s: &mut Session, end: &str) {
    let log = until(end, || {
        let log = s.daemon.log();
        log.lines().any(|line| line.contains(end)).then_some(log)
    });
    let lines: Vec<String> = log.lines().filter(|line| line.contains(end)).map(digits).collect();
    s.note("log", format!("{lines:?}"));
}

/// The endings of the files put aside.
fn aside(dir: &Path, name: &str) -> Vec<String> {
    let mut endings: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some(entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix('.')?.to_owned())
        })
        .collect();
    endings.sort_unstable();
    endings
}

#[test]
fn every_class() {
    agree(STREAMS, |s| {
        noted(s, "plain.out", "last");
        noted(s, "plain.err", "err\n");
        noted(s, "timed.out", "two\n");
        noted(s, "watched-format.out", "x\n");
        noted(s, "sized.done", "done\n");
        for file in ["sized.out", "sized.out.1", "sized.out.2", "sized.out.3"] {
            let text = read(s, file);
            s.note(file, format!("{text:?}"));
        }
        noted(s, "unkept.done", "done\n");
        noted(s, "unkept.out", "3\n");
        let aside_unkept = aside(s.daemon.dir(), "unkept.out");
        s.note("unkept aside", format!("{aside_unkept:?}"));
        watched(s);
        seconds(s);
        log_line(s, "plain-42");
        log_line(s, "fancy-42");
        log_line(s, "again");
        log_line(s, "inherits-42");
        let closed = read(s, "closed.out");
        s.note("closed", format!("{closed:?}"));
        for name in ["plain", "timed", "sized", "seconds", "terminal", "fancy", "inherits", "two"] {
            s.call("get", json!({"name": name, "keys": ["stdout_stream_conf", "stderr_stream_conf"]}));
        }
        let late = s.daemon.dir().join("late.out").exists();
        s.note_differs("D62", "late.out exists", late);
    });
}

/// A file that was moved away is made anew.
fn watched(s: &mut Session) {
    let dir = s.daemon.dir().to_path_buf();
    until("ticks", || dir.join("watched.out").exists().then_some(()));
    std::fs::rename(dir.join("watched.out"), dir.join("moved")).expect("moved");
    until("a new file", || {
        std::fs::read_to_string(dir.join("watched.out"))
            .is_ok_and(|text| text.starts_with("tick\n"))
            .then_some(())
    });
    s.note("watched", "made anew");
}

/// Three rotations, of which two are kept.
fn seconds(s: &mut Session) {
    let dir = s.daemon.dir().to_path_buf();
    let mut seen = std::collections::BTreeSet::new();
    until("three rotations", || {
        seen.extend(aside(&dir, "seconds.out"));
        (seen.len() > 3).then_some(())
    });
    until("two files", || (aside(&dir, "seconds.out").len() == 2).then_some(()));
    let shape =
        seen.iter().all(|ending| ending.len() == 14 && ending.bytes().all(|byte| byte.is_ascii_digit()));
    s.note("named after seconds", shape);
}

const SWITCHED: &str = "\
[circus]
check_delay = 0.5
[watcher:a]
cmd = /bin/sh -c 'while :; do echo tick; sleep 0.1; done'
stdout_stream.filename = {dir}/one.out
[watcher:none]
cmd = /bin/sh -c 'while :; do echo tock; sleep 0.1; done'
[watcher:terminal]
cmd = sleep 1000
stdout_stream.class = StdoutStream
[watcher:watched]
cmd = sleep 1000
stdout_stream.class = WatchedFileStream
stdout_stream.filename = {dir}/watched.out
";

fn set(s: &mut Session, name: &str, key: &str, value: serde_json::Value) {
    s.call("set", json!({"name": name, "options": {key: value}, "waiting": true}));
    s.call("get", json!({"name": name, "keys": ["stdout_stream_conf", "stderr_stream_conf"]}));
}

#[test]
fn set_switches_a_stream_while_the_process_runs() {
    agree(SWITCHED, |s| {
        let dir = s.daemon.dir().to_path_buf();
        let holds = |file: &str, text: &str| {
            let path = dir.join(file);
            until(file, || {
                std::fs::read_to_string(&path).is_ok_and(|found| found.contains(text)).then_some(())
            });
        };
        holds("one.out", "tick");
        s.call("list", json!({"name": "a"}));
        set(s, "a", "stdout_stream.filename", json!(dir.join("two.out").to_str()));
        holds("two.out", "tick");
        s.call("list", json!({"name": "a"}));
        set(s, "a", "stdout_stream.time_format", json!("T"));
        holds("two.out", "T [");
        set(s, "a", "stdout_stream.max_bytes", json!(5000));
        s.call("list", json!({"name": "a"}));
        // A watcher without: the processes are replaced.
        s.call("list", json!({"name": "none"}));
        set(s, "none", "stdout_stream.filename", json!(dir.join("none.out").to_str()));
        holds("none.out", "tock");
        s.call("list", json!({"name": "none"}));
        // Q11: the class is lost.
        let format =
            json!({"name": "terminal", "options": {"stdout_stream.time_format": "x"}, "waiting": true});
        s.call_differs("D63", "set", format);
        set(s, "watched", "stdout_stream.time_format", json!("x"));
        for (class, text) in [("ZorgStream", "unknown"), ("no.such.Stream", "a path")] {
            let bad = json!({"name": "a", "options": {"stdout_stream.class": class}, "waiting": true});
            let reply = s.call_differs("D64", "set", bad);
            s.note(text, &reply["status"]);
            s.note(text, &reply["errno"]);
        }
        let options =
            json!({"stdout_stream": {"class": "FileStream", "filename": dir.join("added.out").to_str()}});
        let cmd = "/bin/sh -c 'echo added; exec sleep 1000'";
        s.call(
            "add",
            json!({"name": "added", "cmd": cmd, "options": options, "start": true, "waiting": true}),
        );
        holds("added.out", "added\n");
        s.call("get", json!({"name": "added", "keys": ["stdout_stream_conf", "stderr_stream_conf"]}));
    });
}

fn message(listener: &mut dyn FnMut(&mut [u8]) -> std::io::Result<usize>, end: &str) -> String {
    let mut buffer = [0; 4096];
    loop {
        let len = listener(&mut buffer).unwrap_or_else(|error| panic!("no message {end}: {error}"));
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        if text.ends_with(end) {
            return text;
        }
    }
}

/// Stock's manual promises it and stock has not got it (7.6): there is nothing to compare with.
#[test]
fn syslog_gets_lines_and_what_cannot_be_opened_is_tried_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let local = UnixDatagram::bind(&path).expect("a socket");
    let remote = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    local.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    remote.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let ini = format!(
        "[circus]\n[watcher:Local One]\ncmd = /bin/sh -c 'echo out; echo err >&2; exec sleep 1000'\n\
         stdout_stream.class = SyslogStream\nstdout_stream.address = {path}\nstdout_stream.facility = local3\n\
         stderr_stream.class = SyslogStream\nstderr_stream.address = {remote}\nstderr_stream.ident = other\n\
         [watcher:gone]\ncmd = /bin/sh -c 'while :; do echo tick; sleep 0.1; done'\n\
         stdout_stream.filename = {{dir}}/gone/out\n\
         [watcher:class]\ncmd = sleep 1\nstdout_stream.class = my.own.Stream\n\
         [watcher:facility]\ncmd = sleep 1\nstdout_stream.class = SyslogStream\nstdout_stream.facility = zorg\n",
        path = path.display(),
        remote = remote.local_addr().expect("an address"),
    );
    let daemon = Daemon::start(Flavor::Ours, &ini);
    let out = message(&mut |buffer| local.recv(buffer), ": out\0");
    assert!(out.starts_with("<158>") && out.contains(" Local One["), "{out}");
    let err = message(&mut |buffer| remote.recv(buffer), ": err\0");
    assert!(err.starts_with("<11>") && err.contains(" other["), "{err}");
    until("the complaint", || daemon.log().contains("gone/out: No such file or directory").then_some(()));
    // D65: the watcher runs, and its output comes as soon as there is a place for it.
    std::fs::create_dir(daemon.dir().join("gone")).expect("a directory");
    until("output", || {
        std::fs::read_to_string(daemon.dir().join("gone/out")).ok().filter(|text| !text.is_empty())
    });
    let log = daemon.log();
    assert!(
        log.contains("Failed to create watcher 'class'") && log.contains("\"my.own.Stream\" is Python code"),
        "{log}"
    );
    assert!(log.contains("facility: \"zorg\" is none of syslog's"), "{log}");
    let mut wire = Wire::connect(&daemon.endpoint(), &daemon.pubsub());
    let reply = wire.call("list", &json!({}));
    assert_eq!(reply["watchers"], json!(["gone", "local one"]));
}

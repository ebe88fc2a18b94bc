//! The configuration file: every key, every shape, and what a child gets from it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use circus_tests::daemon::{Flavor, built, run, stock};
use circus_tests::script::{Session, agree_beside};
use serde_json::{Value, json};

/// What the kernel knows of a watcher's first process, as far as a configuration decides it.
fn observe(s: &mut Session, name: &str) {
    let listed = s.wait_for("a process", "list", &json!({"name": name}), |reply| {
        reply["pids"].as_array().is_none_or(|pids| !pids.is_empty())
    });
    let Some(pid) = listed["pids"][0].as_i64() else {
        return s.note(name, "no such watcher");
    };
    let proc = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    s.note(
        &format!("{name} argv"),
        format!("{:?}", proc("cmdline").split_terminator('\0').collect::<Vec<_>>()),
    );
    let environ = proc("environ");
    // Row D2.
    let mut variables: Vec<_> =
        environ.split_terminator('\0').filter(|variable| !variable.starts_with("__name__")).collect();
    variables.sort_unstable();
    s.note(&format!("{name} environment"), format!("{variables:?}"));
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    s.note(&format!("{name} directory"), directory.display());
    let status = proc("status");
    for key in ["Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt"] {
        let line = status.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap_or_default();
        // The two signals that the C library keeps to itself are whatever the test was started with.
        s.note(name, line.trim().replace("0000000080000000", "0000000000000000"));
    }
    let stat = proc("stat");
    let fields: Vec<i64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').take(20).filter_map(|field| field.parse().ok()).collect())
        .unwrap_or_default();
    let session = fields.get(1..3).map(|ids| ids.iter().all(|id| *id == pid));
    s.note(&format!("{name} leads its group and session"), format!("{session:?} nice {:?}", fields.get(15)));
    let limits = proc("limits");
    for limit in ["Max open files", "Max core file size", "Max file size"] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap_or_default();
        s.note(name, line.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    s.note(&format!("{name} descriptors"), descriptors(pid));
}

/// Numbers and kinds; which file or pipe it is differs from run to run.
fn descriptors(pid: i64) -> String {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let shown = target.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
        found.insert(entry.file_name().to_string_lossy().parse::<i32>().unwrap_or(-1), shown);
    }
    format!("{found:?}")
}

/// Which watchers were started, in which order.
fn started(s: &mut Session) {
    let log = s.daemon.log();
    let names: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once("[INFO] ")?.1.strip_suffix(" started"))
        .filter(|name| *name != "sockets")
        .collect();
    s.note("started", format!("{names:?}"));
}

const EVERY_KEY: &str = "\
[circus]
check_delay = 0.5
warmup_delay = 0
umask = 027
debug = no
debug_gc = Off
httpd = 0
httpd_host = x
httpd_port = 80
fqdn_prefix = x
endpoint_owner = nobody
loglevel = INFO
statsd = False
statsd_close_outputs = maybe
stream_backend = x
proc_name = x
CHECK_DELAY = maybe

[watcher:plain]
cmd = sleep 1000

[watcher:numbers]
cmd = sleep
args = 1001
numprocesses = +2
warmup_delay = 0
stop_signal = SIGINT
graceful_timeout = 1e1
max_retry = -1
max_age = 5000
max_age_variance = 7
priority = -3
send_hup = TRUE
stop_children = on
use_sockets = 0
singleton = off
on_demand = No
respawn = 1
autostart = Yes
close_child_stdin = True
close_child_stdout = true
close_child_stderr = yes
check_flapping = no
executable = /bin/false
custom = any thing
CMD = not this
env = ignored
retry_in = 3
retry = 4

[watcher:someone]
cmd = sleep 1002
uid = nobody
working_dir = /tmp
close_child_stdin = False
rlimit_NOFILE = 500
rlimit_core = 0
rlimit_FSIZE =

[watcher:numbered]
cmd = sleep 1003
uid = 65534
gid = 65534
rlimit_nofile = 501

[watcher:grouped]
cmd = sleep 1004
gid = daemon
working_dir = {dir}/sub/../sub

[watcher:early]
cmd = sleep 1005
priority = 10

[watcher:idle]
cmd = sleep 1006
autostart = False

[watcher:copies]
cmd = sleep 1007
copy_env = True

[watcher:venv]
cmd = sleep 1008
copy_env = True
virtualenv = {dir}/venv
virtualenv_py_ver = 3.7

[watcher:shell]
cmd = /bin/sh -c 'sleep 1009;:' '$HOME' \"a b\" * && echo
args = $HOME | ;
shell = True
shell_args = one 'two words' $(circus.wid)

[watcher:x-no-args]
cmd = /bin/sh -c 'exec sleep 1010'
args =

[watcher:x-no-directory]
cmd = sleep 1011
working_dir =

[watcher:x-path-alone]
cmd = sleep 1
copy_path = True

[watcher:x-venv-alone]
cmd = sleep 1
virtualenv = {dir}/venv

[watcher:x-venv-gone]
cmd = sleep 1
copy_env = True
virtualenv = {dir}/no-venv

[watcher:x-many-singles]
cmd = sleep 1
singleton = True
numprocesses = 2

[watcher:x-age]
cmd = sleep 1
max_age = old

[watcher:x-variance]
cmd = sleep 1
max_age_variance = 1.5

[watcher:x-none]
cmd = sleep 1
numprocesses = 0

[watcher:x-negative]
cmd = sleep 1
numprocesses = -4

[watcher:x-empty]

[Watcher:x-capital]
cmd = sleep 1

[zorg]
cmd = sleep 1
";

#[test]
fn every_key_of_a_watcher() {
    let files = [
        ("sub/", ""),
        ("venv/bin/", ""),
        ("venv/lib/python3.7/site-packages/more/", ""),
        ("venv/lib/python3.7/site-packages/a.pth", "more\nnot-there\n# comment\n"),
    ];
    agree_beside(&files, EVERY_KEY, |s| {
        for name in [
            "plain",
            "numbers",
            "someone",
            "numbered",
            "grouped",
            "early",
            "copies",
            "venv",
            "shell",
            "x-no-args",
            "x-no-directory",
        ] {
            observe(s, name);
        }
        s.call("list", json!({}));
        s.call("status", json!({}));
        let names = s.call("list", json!({}));
        for name in names["watchers"].as_array().into_iter().flatten() {
            if name == "x-negative" {
                s.call_differs("D61", "options", json!({"name": name}));
            } else {
                s.call("options", json!({"name": name}));
            }
        }
        for option in ["check_delay", "endpoint", "pubsub_endpoint", "stats_endpoint", "multicast_endpoint"] {
            s.call("globaloptions", json!({"option": option}));
        }
        s.call("globaloptions", json!({}));
        started(s);
        // The owner of an endpoint counts for ipc:// alone.
        s.call("add", json!({"name": "free", "cmd": "sleep 1"}));
    });
}

/// Who may speak to an owned socket may start processes of its owner only.
#[test]
fn the_owner_of_an_ipc_endpoint() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a socket away");
        return;
    }
    let ini = "\
[circus]
check_delay = 600
endpoint = ipc://{dir}/control
pubsub_endpoint = ipc://{dir}/events
endpoint_owner = nobody
[watcher:a]
cmd = sleep 1000
";
    agree_beside(&[], ini, |s| {
        for file in ["control", "events"] {
            let found = std::fs::metadata(s.daemon.dir().join(file)).expect("a socket");
            s.note(file, format!("{} {}", MetadataExt::uid(&found), MetadataExt::gid(&found)));
        }
        for options in [
            json!({}),
            json!({"uid": "root"}),
            json!({"uid": 0}),
            json!({"uid": 65_534}),
            json!({"uid": "65534"}),
            json!({"uid": "no-such-user"}),
            json!({"gid": "nobody"}),
            json!({"uid": "nobody"}),
        ] {
            s.call("add", json!({"name": "b", "cmd": "sleep 1000", "options": options}));
        }
        s.call("add", json!({"name": "c", "cmd": "sleep 1000"}));
        // An owner is asked for before the name is looked at, and `set` does not ask.
        s.call("add", json!({"name": "b", "cmd": "sleep 1000"}));
        s.call("set", json!({"name": "a", "options": {"uid": "root"}, "waiting": true}));
        s.call("list", json!({}));
        s.call("get", json!({"name": "b", "keys": ["uid"]}));
    });
    // D38: whom nobody knows ends stock with status 0.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("circus.ini");
    let wrong = ini.replace("nobody", "no-such-user").replace("{dir}", &directory.path().to_string_lossy());
    std::fs::write(&file, wrong + "multicast_endpoint =\n").expect("written");
    let (status, _, stderr) = run(Command::new(built("circusd-rs")).arg(&file));
    assert!(status == 1 && stderr.contains("no-such-user"), "{status} {stderr}");
}

/// PYTHONPATH of those that ask for it, beside what an `[env]` says.
#[test]
fn the_import_path_is_copied() {
    let ini = "\
[circus]
check_delay = 600
[env:given]
PYTHONPATH = /given:/path
[watcher:given]
cmd = sleep 1000
copy_env = True
copy_path = True
[watcher:bare]
cmd = sleep 1000
copy_env = True
copy_path = True
";
    agree_beside(&[], ini, |s| {
        for (name, tag) in [("given", None), ("bare", Some("D143"))] {
            let pid = s.wire.ask("list", &json!({"name": name}))["pids"][0].clone();
            let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).expect("our child");
            let path = environ.split('\0').find(|variable| variable.starts_with("PYTHONPATH="));
            match tag {
                None => s.note(name, format!("{path:?}")),
                Some(tag) => s.note_differs(tag, name, format!("{path:?}")),
            }
            if (name, s.flavor()) == ("bare", Flavor::Ours) {
                let own = std::env::var("PYTHONPATH").ok().map(|own| format!("PYTHONPATH={own}"));
                assert_eq!(path, own.as_deref());
            }
        }
    });
}

const SHAPES: &str = "\
# comment
; comment
rem comment
[circus]
check_delay : 0.5
include = one.ini  more/*.ini   none.ini
include_dir = dir $(circus.env.circus_test_dir)
[DEFAULT]
graceful_timeout = 7
custom = inherited
[env]
FIRST = 1
HOME = $HOME/sub
BRACES = ${HOME} $lower $UNSET. $FIRST
EXPANDED = $(circus.env.home)|((circus.env.FIRST))
[env: abc , q* ,[x-z]?]
FIRST = 2
MINE = m$HOME
RAW = $(circus.env.home)
[env:b*]
FIRST = 3
[env:B*]
FIRST = 4
[watcher:abc]
cmd = /bin/sh -c 'sleep 1000 && :' ; comment ; more
cmd = sleep 1
args = $(circus.env.mine) ((CIRCUS.ENV.First)) $(circus.wid) $(circus.nothing) $(env.x) $(circus.env.first
hello = a;b # c
quoted = \"kept\"
nothing = \"\"
folded = one
  two = 2
[watcher:Bee]
cmd: /bin/sh -c 'sleep 1000 && :'
args = --numprocesses $(circus.numprocesses) $(circus.warmup_delay) $(circus.working_dir) $(circus.uid)
 $(circus.gid) $(circus.shell) $(circus.args) $(circus.executable) $(circus.use_fds) $(circus.stop_signal)
 $(circus.max_retry) $(circus.priority) $(circus.cmd) $(circus.shell_args) $(circus.respawn)
 $(circus.rlimits.nofile) $(circus.rlimits.core) $(circus.copy_env) $(circus.copy_path)
 $(circus.graceful_timeout) $(circus.stop_children) $(circus.name) $(circus.custom) $(circus.pid)
 $(circus.send_hup) $(circus.use_sockets) $(circus.max_age) $(circus.max_age_variance) $(circus.on_demand)
 $(circus.singleton) $(circus.hooks) $(circus.stdin_socket) $(circus.close_child_stdin) $WID '$(circus.wid) x'
priority = 4
rlimit_nofile = 400
[watcher:abc]
more = added
cmd = sleep 2
[watcher: sp ]
cmd = sleep 1000
[watcher:qux:with colon]
cmd = sleep 1000
[watcher:ünï.cøde]
cmd = sleep 1000
greeting = grüße
[watcher:renamed]
name = by-name
cmd = sleep 1000
[watcher:x1]
cmd = sleep 1000
stdout_stream.class = FileStream
stdout_stream.filename = {dir}/x1.log
stdout_stream.max_bytes = 1000
stdout_stream.zorg = 1
[watcher:s-no-class]
cmd = sleep 1
stdout_stream.zorg = 1
[watcher:s-unknown]
cmd = sleep 1
stderr_stream.class = ZorgStream
[watcher:s-bytes]
cmd = sleep 1
stdout_stream.filename = {dir}/y.log
stdout_stream.max_bytes = 10k
[watcher:s-when]
cmd = sleep 1
stdout_stream.class = TimedRotatingFileStream
stdout_stream.filename = {dir}/y.log
stdout_stream.rotate_when = midnight
[watcher:s-python]
cmd = sleep 1
stdout_stream.class = no.such.module.Stream
";

#[test]
fn odd_shapes_and_includes() {
    let files = [
        ("one.ini", "[watcher:abc]\ncmd = sleep 3\nlate = one\n[watcher:one]\ncmd = sleep 1000\n"),
        (
            "more/two.ini",
            "[watcher:two]\ncmd = sleep 1000\n[circus]\ncheck_delay = 9\ninclude = ../three.ini\n",
        ),
        ("more/.hidden.ini", "[watcher:hidden]\ncmd = sleep 1000\n"),
        ("three.ini", "[watcher:three]\ncmd = sleep 1000\n"),
        ("dir/four.ini", "[env:four]\nFOUR = 4\n[watcher:four]\ncmd = sleep $(circus.env.four)000\n"),
        ("dir/five.conf", "junk"),
    ];
    agree_beside(&files, SHAPES, |s| {
        s.call("list", json!({}));
        s.call("status", json!({}));
        let names = s.call("list", json!({}));
        for name in names["watchers"].as_array().into_iter().flatten() {
            s.call("options", json!({"name": name}));
        }
        for name in ["abc", "Bee", " sp ", "qux:with colon", "x1", "four"] {
            observe(s, name);
        }
        s.call("globaloptions", json!({"option": "check_delay"}));
        started(s);
    });
}

/// One file each, and whether stock ends at it.
const FATAL: &[&str] = &[
    "[circus]\ncheck_delay = maybe\n",
    "[circus]\ncheck_delay =\n",
    "[circus]\nwarmup_delay = 0.5\n",
    "[circus]\nwarmup_delay = 1_0\n",
    "[circus]\nstatsd = maybe\n",
    "[circus]\nhttpd = maybe\n",
    "[circus]\nhttpd_port = x\n",
    "[circus]\ndebug = y\n",
    "[circus]\ndebug_gc =\n",
    "[circus]\numask = 9\n",
    "[circus]\numask =\n",
    "[circus]\numask = 0o22\n",
    "[circus]\nloglevel = zorg\n",
    "[circus]\nendpoint_owner =\n",
    "[circus]\njunk\n",
    "[circus]\n= x\n",
    "key = value\n[circus]\n",
    "",
    "[circus]\n[watcher:]\ncmd = x\n",
    "[watcher:a]\ncmd = x\n",
    "[circus]\n[watcher:a]\n",
    "[circus]\n[watcher:a]\ncmd =\n",
    "[circus]\n[watcher:a]\ncmd = 'open\n",
    "[circus]\n[watcher:a]\ncmd = x\nnumprocesses = 1.0\n",
    "[circus]\n[watcher:a]\ncmd = x\nnumprocesses =\n",
    "[circus]\n[watcher:a]\ncmd = x\nwarmup_delay = 0.5\n",
    "[circus]\n[watcher:a]\ncmd = x\nmax_retry = x\n",
    "[circus]\n[watcher:a]\ncmd = x\npriority = x\n",
    "[circus]\n[watcher:a]\ncmd = x\ngraceful_timeout = x\n",
    "[circus]\n[watcher:a]\ncmd = x\ngraceful_timeout = 1_0.5\n",
    "[circus]\n[watcher:a]\ncmd = x\nstop_signal = ZORG\n",
    "[circus]\n[watcher:a]\ncmd = x\nstop_signal = sigrtmin+2\n",
    "[circus]\n[watcher:a]\ncmd = x\nstop_signal =\n",
    "[circus]\n[watcher:a]\ncmd = x\nsend_hup = maybe\n",
    "[circus]\n[watcher:a]\ncmd = x\nshell =\n",
    "[circus]\n[watcher:a]\ncmd = x\nautostart = maybe\n",
    "[circus]\n[watcher:a]\ncmd = x\ncheck_flapping = maybe\n",
    "[circus]\n[watcher:a]\ncmd = x\nclose_child_stdin = maybe\n",
    "[circus]\n[watcher:a]\ncmd = x\nrlimit_nofile = unlimited\n",
    "[circus]\n[watcher:a]\ncmd = x\nrlimit_nofile = 0x10\n",
    "[circus]\n[watcher:a]\ncmd = x\nrlimit_zorg = 1\n",
    "[circus]\n[watcher:a]\ncmd = x\nstdout_stream = x\n",
    "[circus]\n[watcher:a]\ncmd = x\nstdout_streamer.x = x\n",
    "[circus]\n[watcher:a]\ncmd = x\nhooks.before_start = a.b, maybe\n",
    "[circus]\n[watcher:a]\ncmd = x\nmax_age = x\n",
    "[circus]\n[watcher:a]\ncmd = x\n[env]\njunk\n",
    "[circus]\n[watcher:a]\ncmd = x\n[watcher:A]\ncmd = x\n",
    "\u{feff}[circus]\n",
];

/// Reads each file as circusd does at its start, in one process.
const READ_ALL: &str = "
import os, sys
from circus.config import get_config
for path in sorted(os.listdir(sys.argv[1])):
    try:
        get_config(os.path.join(sys.argv[1], path))
        print(path, 0)
    except Exception as error:
        print(path, 1)
";

#[test]
fn what_is_fatal_to_stock_is_fatal_to_us_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    for (number, text) in FATAL.iter().enumerate() {
        std::fs::write(directory.path().join(format!("{number:03}.ini")), text).expect("written");
    }
    let (status, stock_says, stderr) =
        run(Command::new(stock("python")).args(["-W", "ignore", "-c", READ_ALL]).arg(directory.path()));
    assert_eq!(status, 0, "{stderr}");
    let mut wrong = String::new();
    for (line, text) in stock_says.lines().zip(FATAL) {
        let (name, stock_status) = line.split_once(' ').expect("a name and a status");
        let (status, stdout, stderr) = check(&directory.path().join(name));
        if status.to_string() != stock_status {
            wrong += &format!("{text:?}: stock {stock_status}, ours {status}: {stdout}{stderr}\n");
        }
        // Who, where and why, and for ours always one line each.
        let told = if status == 0 { stdout.ends_with(": ok\n") } else { stderr.contains(name) };
        if !told {
            wrong += &format!("{text:?}: says {stdout:?} {stderr:?}\n");
        }
    }
    assert_eq!(stock_says.lines().count(), FATAL.len(), "{stock_says}");
    assert!(wrong.is_empty(), "{wrong}");
}

fn check(file: &Path) -> (i32, String, String) {
    run(Command::new(built("circusd-rs")).arg("--check").arg(file))
}

#[test]
fn a_check_names_everything_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("circus.ini");
    let text = "\
[circus]
endpoint = nonsense
check_delay = soon
include = more.ini
umask = 9
[watcher:a]
cmd = x
numprocesses = many
shell = maybe
[watcher:b]
cmd = x
stop_signal = ZORG
";
    std::fs::write(&file, text).expect("written");
    std::fs::write(directory.path().join("more.ini"), "[watcher:c]\ncmd = x\npriority = high\n")
        .expect("written");
    let (status, stdout, stderr) = check(&file);
    let shown = directory.path().display();
    let expected = [
        format!("{shown}/circus.ini:2: [circus] endpoint: "),
        format!("{shown}/circus.ini:3: [circus] check_delay: "),
        format!("{shown}/circus.ini:5: [circus] umask: "),
        format!("{shown}/circus.ini:8: [watcher:a] numprocesses: "),
        format!("{shown}/circus.ini:9: [watcher:a] shell: "),
        format!("{shown}/circus.ini:12: [watcher:b] stop_signal: "),
        format!("{shown}/more.ini:3: [watcher:c] priority: "),
    ];
    let mut lines: Vec<&str> = stderr.lines().collect();
    lines.sort_unstable();
    let mut wanted = expected.clone();
    wanted.sort_unstable();
    assert_eq!((status, stdout.as_str(), lines.len()), (1, "", expected.len()), "{stderr}");
    for (line, start) in lines.iter().zip(&wanted) {
        assert!(line.starts_with(start), "{line} should start with {start}");
    }
    // The same when it is to run.
    let (status, _, started) = run(Command::new(built("circusd-rs")).arg(&file));
    assert_eq!((status, started), (1, stderr));
    let good = "[circus]\nendpoint = tcp://127.0.0.1:5555\n[watcher:a]\ncmd = x\n";
    std::fs::write(&file, good).expect("written");
    assert_eq!(check(&file), (0, format!("{}: ok\n", file.display()), String::new()));
    let gone = directory.path().join("gone.ini");
    let (status, _, stderr) = check(&gone);
    assert_eq!(status, 1);
    assert_eq!(stderr, format!("the configuration file '{}' does not exist\n", gone.display()));
}

#[test]
fn owners_are_looked_up_by_set() {
    let ini = "[circus]\ncheck_delay = 0.5\n[watcher:a]\ncmd = sleep 1000\n";
    agree_beside(&[], ini, |s| {
        for (key, value) in [
            ("uid", json!("no-such-user")),
            ("uid", json!(99_999)),
            ("uid", json!("99999")),
            ("gid", json!("no-such-group")),
            ("gid", json!(99_999)),
            ("uid", json!(-1)),
            ("uid", Value::Bool(true)),
        ] {
            s.call("set", json!({"name": "a", "options": {key: value}, "waiting": true}));
            s.call("get", json!({"name": "a", "keys": ["uid", "gid"]}));
        }
        s.call("set", json!({"name": "a", "options": {"uid": "nobody", "gid": "daemon"}, "waiting": true}));
        s.call("get", json!({"name": "a", "keys": ["uid", "gid"]}));
        s.call("add", json!({"name": "b", "cmd": "sleep 1", "options": {"uid": "no-such-user"}}));
        s.call("add", json!({"name": "c", "cmd": "sleep 1", "options": {"uid": "nobody"}}));
        s.call("options", json!({"name": "c"}));
    });
}

//! Multicast discovery: what happens when there is no group, and, in a network of its own, whether
//! one question to a group is answered by both daemons.

use std::process::Command;

use circus_tests::daemon::{built, run, stock};
use circus_tests::script::agree;
use circus_tests::wait::until;
use serde_json::json;

#[test]
fn no_group_is_a_warning() {
    let ini = "\
[circus]
check_delay = 600
multicast_endpoint = udp://127.0.0.1:12027
[watcher:one]
cmd = sleep 1000
";
    agree(ini, |s| {
        s.call("globaloptions", json!({"option": "multicast_endpoint"}));
        s.call("status", json!({}));
        let log = until("the warning", || Some(s.daemon.log()).filter(|log| log.contains("discovery")));
        s.note("it says", log.to_lowercase().contains("discovery is disabled"));
    });
}

/// Runs in a network of its own: lets its loopback device carry groups, starts a daemon of each kind,
/// asks the group as circus-web does, then moves ours to another group by a restart.
const ASK: &str = r#"
import fcntl, json, os, signal, socket, struct, subprocess, sys, time

directory, stock, ours, ctl = sys.argv[1:]
GROUPS = ("237.219.251.97", 12027), ("237.219.251.98", 12028)

def carry_groups():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # SIOCSIFFLAGS; UP, RUNNING, MULTICAST.
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14s", b"lo", 0x1041, b""))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        # RTM_NEWROUTE of 224.0.0.0/4 to device 1, acknowledged.
        body = struct.pack("=8BI", 2, 4, 0, 0, 254, 3, 253, 1, 0)
        body += struct.pack("=HH4s", 8, 1, socket.inet_aton("224.0.0.0")) + struct.pack("=HHi", 8, 4, 1)
        netlink.send(struct.pack("=IHHII", 16 + len(body), 24, 0x405, 1, 0) + body)
        error = struct.unpack("=i", netlink.recv(4096)[16:20])[0]
        if error:
            raise OSError(-error, os.strerror(-error))

def write(address, group):
    path = os.path.join(directory, address + ".ini")
    with open(path, "w") as ini:
        ini.write("[circus]\nendpoint = tcp://%s:5555\npubsub_endpoint = tcp://%s:5556\n"
                  "multicast_endpoint = udp://%s:%d\n" % ((address, address) + group))
    return path

def ask(group, wanted):
    answers, end = set(), time.monotonic() + 30
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.2)
        while len(answers) < wanted and time.monotonic() < end:
            asker.sendto(b'""', group)
            try:
                while True:
                    answers.add(asker.recvfrom(1024)[0].decode())
            except socket.timeout:
                pass
    return sorted(answers)

try:
    carry_groups()
except OSError as error:
    print("no groups:", error)
    sys.exit(0)
log = open(os.path.join(directory, "log"), "w")
daemons = []
try:
    for program, address in (stock, "127.0.0.1"), (ours, "127.0.0.2"):
        daemons.append(subprocess.Popen([program, write(address, GROUPS[0])], stdout=log, stderr=log))
    print(*ask(GROUPS[0], 2), sep="\n")
    write("127.0.0.2", GROUPS[1])
    subprocess.check_call([ctl, "--endpoint", "tcp://127.0.0.2:5555", "restart"])
    print(*ask(GROUPS[1], 1), sep="\n")
    print(*ask(GROUPS[0], 1), sep="\n")
finally:
    for daemon in daemons:
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
"#;

#[test]
fn a_group_is_joined_and_left() {
    let alone = ["--user", "--map-root-user", "--net"];
    // Root needs no namespace of users, which some machines forbid.
    let alone = if nix::unistd::geteuid().is_root() { &alone[2..] } else { &alone[..] };
    let possible = Command::new("unshare").args(alone).arg("true").output();
    if !possible.is_ok_and(|tried| tried.status.success()) {
        eprintln!("SKIPPED: no network of its own can be made here, and groups of others are left alone");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("unshare");
    command.args(alone).arg(stock("python")).args(["-c", ASK]).arg(directory.path());
    command.args([stock("circusd"), built("circusd-rs"), stock("circusctl")]);
    let (status, stdout, stderr) = run(&mut command);
    if stdout.starts_with("no groups") {
        eprintln!("SKIPPED: {stdout}");
        return;
    }
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
    let answer = |host: u8| format!("{{\"endpoint\": \"tcp://127.0.0.{host}:5555\"}}\n");
    // Both; ours alone where it moved to; stock alone where it was.
    let expected = format!("{}{}ok\n{}{}", answer(1), answer(2), answer(2), answer(1));
    assert_eq!((status, sorted(&stdout)), (0, sorted(&expected)), "{stdout}{stderr}{log}");
}

/// circusctl writes its `ok` when it likes.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

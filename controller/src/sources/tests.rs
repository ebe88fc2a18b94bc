//! Sources against real files, real commands, and a name server of our own on loopback.

use std::io::Write;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::inventory::spec;

fn names(system: &mut System, text: &str) -> Result<String, String> {
    let parsed = spec::parse(text, 5555, system).map_err(|error| error.to_string())?;
    Ok(parsed.inventory.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(" "))
}

#[test]
fn commands_are_bounded() {
    let system = &mut System::default();
    assert_eq!(names(system, "exec:printf 'a\\nb:6000 # spare\\n'").as_deref(), Ok("a b:6000"));
    assert_eq!(names(system, "exec:\"echo n[1-3]\",-n2").as_deref(), Ok("n1 n3"));
    assert!(system.seen().must_ask());
    let said = names(system, "x,exec:echo oops >&2; exit 3").expect_err("it failed");
    assert_eq!(
        said,
        "exec:echo oops >&2; exit 3: ended with exit status: 3 and said: oops\n  \
         | x,exec:echo oops >&2; exit 3\n  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^"
    );
    let said = names(system, "exec:yes").expect_err("it never ends");
    assert!(said.contains("printed more than 4194304 bytes"), "{said}");
    let said = names(system, "exec:echo exec:reboot").expect_err("output is no command line");
    assert!(said.contains("a node list names nodes only, not commands"), "{said}");
    assert!(names(system, "exec:true").expect_err("nobody").contains("names no node"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the limit is on real time")]
fn whoever_takes_too_long_is_ended_with_all_it_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("pid");
    let command = format!("sh -c 'echo $$ > {}; exec sleep 600' & wait", file.display());
    let begun = Instant::now();
    let said = elsewhere(exec::run_within(&command, Duration::from_millis(1500))).expect("a runtime");
    assert!(said.expect_err("too long").contains("no complete list within 1.5 s"));
    assert!(begun.elapsed() < Duration::from_secs(60));
    let pid: i32 = std::fs::read_to_string(&file).expect("it began").trim().parse().expect("a number");
    let gone = |pid| {
        // A killed process is a zombie until somebody reaps it.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let limit = Instant::now() + Duration::from_secs(60);
    while !gone(pid) {
        assert!(Instant::now() < limit, "{pid} lives on");
        std::thread::yield_now();
    }
}

#[test]
fn files_tell_when_they_change() {
    let dir = tempfile::tempdir().expect("a directory");
    let (list, groups) = (dir.path().join("list"), dir.path().join("groups"));
    std::fs::write(&list, "a\n").expect("writes");
    let system = &mut System::new(Some(groups.clone()));
    let text = format!("@{}", list.display());
    assert_eq!(names(system, &text).as_deref(), Ok("a"));
    assert!(!system.seen().changed() && !system.seen().is_empty() && !system.seen().must_ask());
    std::fs::write(&list, "a\nb\n").expect("writes");
    assert!(system.seen().changed());
    system.forget();
    assert_eq!(names(system, &text).as_deref(), Ok("a b"));
    assert!(!system.seen().changed());

    // A groups file that appears, and one that others can write.
    let said = names(system, "@db").expect_err("no group");
    assert!(
        said.starts_with("\"db\" is neither a group (there is no groups file) nor a node list"),
        "{said}"
    );
    std::fs::write(&groups, "db: n[1-2]\nup: exec:echo x\n").expect("writes");
    assert!(system.seen().changed());
    assert_eq!(names(system, "@db").as_deref(), Ok("n1 n2"));
    assert_eq!(names(system, "@up").as_deref(), Ok("x"));
    let mut mode = std::fs::metadata(&groups).expect("there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o666);
    std::fs::set_permissions(&groups, mode).expect("ours");
    assert_eq!(names(system, "@db").as_deref(), Ok("n1 n2"));
    let said = names(system, "@up").expect_err("not trusted");
    assert!(said.contains("groups:2: exec: is not run from") && said.contains("chmod go-w"), "{said}");
}

#[test]
fn a_pipe_is_read_once() {
    let (reader, mut writer) = io::pipe().expect("a pipe");
    writer.write_all(b"a\nb\n").expect("room");
    drop(writer);
    let text = format!("@/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
    let system = &mut System::default();
    assert_eq!(names(system, &text).as_deref(), Ok("a b"));
    system.forget();
    assert_eq!(names(system, &text).as_deref(), Ok("a b"));
    assert!(system.seen().is_empty(), "nothing that could be looked at again");
}

/// Answers from a table, over UDP, and over TCP what does not fit; returns its port.
async fn name_server() -> u16 {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
        let port = udp.local_addr().expect("bound").port();
        if let Ok(tcp) = TcpListener::bind(("127.0.0.1", port)).await {
            break (udp, tcp);
        }
    };
    let port = udp.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let mut question = [0; 2048];
        while let Ok((length, asker)) = udp.recv_from(&mut question).await {
            let _bounced = udp.send_to(&dns::answer(&question[..length], true), asker).await;
        }
    });
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((mut stream, _)) = tcp.accept().await {
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; usize::from(length)];
                    if stream.read_exact(&mut question).await.is_err() {
                        return;
                    }
                    let answer = dns::answer(&question, false);
                    let length = u16::try_from(answer.len()).expect("short");
                    let bytes = [&length.to_be_bytes()[..], &answer].concat();
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Just enough of RFC 1035 to answer with, written down by hand so that it shares nothing with what it
/// tests.
mod dns {
    fn name(text: &str) -> Vec<u8> {
        let labels = text.split('.').filter(|label| !label.is_empty());
        let labels = labels
            .flat_map(|label| [&[u8::try_from(label.len()).expect("short")], label.as_bytes()].concat());
        labels.chain([0]).collect()
    }

    fn record(kind: u16, data: &[u8]) -> Vec<u8> {
        let length = u16::try_from(data.len()).expect("short").to_be_bytes();
        // The name is that of the question, at byte 12.
        [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1, 0, 0, 0, 60], &length, data].concat()
    }

    fn srv(priority: u16, weight: u16, port: u16, host: &str) -> Vec<u8> {
        let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
        record(33, &[numbers, name(host)].concat())
    }

    fn records(asked: &str, kind: u16) -> Option<Vec<Vec<u8>>> {
        Some(match (asked, kind) {
            ("db.lab", 1) => {
                vec![record(1, &[10, 0, 0, 9]), record(1, &[10, 0, 0, 10]), record(1, &[10, 0, 0, 9])]
            }
            ("db.lab", 28) => vec![record(28, &[0xfd; 16])],
            ("six.lab", 28) => vec![record(28, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
            ("six.lab" | "none.lab", _) => vec![],
            ("_circus._tcp.lab", 33) => vec![
                srv(20, 0, 5555, "spare.lab"),
                srv(10, 1, 5556, "light.lab"),
                srv(10, 9, 5557, "heavy.lab"),
            ],
            ("_many._tcp.lab", 33) => (1..=200).map(|n| srv(1, 1, 6000 + n, &format!("n{n}.lab"))).collect(),
            _ => return None,
        })
    }

    pub(super) fn answer(question: &[u8], small: bool) -> Vec<u8> {
        let mut labels = Vec::new();
        let mut at = 12;
        while question[at] != 0 {
            let length = usize::from(question[at]);
            labels.push(std::str::from_utf8(&question[at + 1..at + 1 + length]).expect("text"));
            at += 1 + length;
        }
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let found = records(&labels.join(".").to_lowercase(), kind);
        let code = if found.is_none() { 3 } else { 0 };
        let mut found = found.unwrap_or_default();
        let cut = small && found.len() > 20;
        if cut {
            found.clear();
        }
        let count = u16::try_from(found.len()).expect("few").to_be_bytes();
        let flags = [0x81 | if cut { 2 } else { 0 }, 0x80 | code];
        [&question[..2], &flags, &[0, 1], &count, &[0; 4], &question[12..at + 5], &found.concat()].concat()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_are_asked() {
    let port = name_server().await;
    let ask = |text: &'static str| {
        let text = text.replace("{s}", &format!("@127.0.0.1:{port}"));
        async move {
            let read = move || names(&mut System::default(), &text);
            tokio::task::spawn_blocking(read).await.expect("no panic")
        }
    };
    assert_eq!(ask("dns:db.lab{s}").await.as_deref(), Ok("10.0.0.9 10.0.0.10"));
    assert_eq!(ask("a,dns:db.lab:6000{s}!10.0.0.9").await.as_deref(), Ok("a 10.0.0.10:6000"));
    assert_eq!(ask("dns:six.lab{s}").await.as_deref(), Ok("::1"));
    assert_eq!(ask("dns:six.lab:6000{s}").await.as_deref(), Ok("[::1]:6000"));
    assert_eq!(
        ask("srv:_circus._tcp.lab{s}").await.as_deref(),
        Ok("heavy.lab:5557 light.lab:5556 spare.lab")
    );
    let many = ask("srv:_many._tcp.lab{s}").await.expect("over TCP");
    assert_eq!(many.split(' ').count(), 200);
    let said = ask("srv:_no._tcp.lab{s}").await.expect_err("unknown");
    assert!(said.contains(": there is no such name\n"), "{said}");
    assert!(ask("dns:none.lab{s}").await.expect_err("empty").contains("the name has no address"));
    assert!(ask("dns:no.lab{s}").await.expect_err("unknown").contains("dns:no.lab"));
    let said = names(&mut System::default(), "dns:db.lab@nowhere").expect_err("no address");
    assert!(said.contains("\"nowhere\" is not a name server's address"), "{said}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.expect("loopback");
    let server = silent.local_addr().expect("bound").to_string();
    let asked = tokio::time::timeout(Duration::from_secs(60), names::services("_x._tcp.lab", Some(&server)));
    assert!(asked.await.expect("within its time").is_err());
}

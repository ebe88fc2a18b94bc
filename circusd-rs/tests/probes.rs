//! Probes with real connections, programs and files, through the host alone. Every answer is decided
//! by the test, so that nothing here depends on how busy the machine is.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail like tests"
)]

#[path = "host/alone.rs"]
mod alone;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alone::{PATIENCE, World};
use circus_protocol::service::Login;
use circusd_rs::arbiter::effect::{Effect, SpawnSpec};
use circusd_rs::arbiter::id::{Key, WatcherId};
use circusd_rs::arbiter::input::Input;
use circusd_rs::arbiter::question::{Preparation, ProbeCall, Question};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Begins to ask; each question is another watcher's.
    fn begin(&mut self, questions: Vec<Question>, limit: Duration) -> WatcherId {
        self.asked += 1;
        let watcher = WatcherId(self.asked);
        let call = ProbeCall {
            watcher: "one".to_owned(),
            questions,
            limit,
            env: vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned()), ("OWN".to_owned(), "7".to_owned())],
            working_dir: self.dir.path().to_str().unwrap().to_owned(),
            uid: None,
            gid: None,
        };
        let effect = Effect::Probe { watcher, attempt: self.asked, call: Box::new(call) };
        assert_eq!(self.runner.perform(effect), None);
        watcher
    }

    /// The next answer, and whose it is.
    async fn answer(&mut self) -> (WatcherId, Result<(), String>) {
        match timeout(PATIENCE, self.inputs.recv()).await.expect("an answer is due") {
            Some(Input::Probed { watcher, attempt, result }) => {
                assert_eq!(watcher.0, attempt);
                (watcher, result)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&mut self, question: Question) -> Result<(), String> {
        let asked = self.begin(vec![question], PATIENCE);
        let (answered, result) = self.answer().await;
        assert_eq!(asked, answered);
        result
    }
}

fn sh(script: &str, exit_codes: &[u8], output: Option<&str>) -> Question {
    Question::Exec {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        exit_codes: exit_codes.to_vec(),
        output: output.map(str::to_owned),
    }
}

#[test]
fn a_port_is_open_or_not() {
    World::play(async |world| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(world.ask(Question::Tcp(address.clone())).await, Ok(()));
        drop(listener);
        // A child that another test is just starting holds a copy of the listener until its exec.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let closed = loop {
            match world.ask(Question::Tcp(address.clone())).await {
                Err(closed) => break closed,
                Ok(()) => assert!(tokio::time::Instant::now() < deadline, "{address} stays open"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!(closed.starts_with(&format!("tcp {address}: ")) && closed.contains("refused"), "{closed}");
        let nowhere = world.ask(Question::Tcp("no.such.host.invalid:1".to_owned())).await;
        assert!(nowhere.is_err());
    });
}

/// Answers one request after the other with these; gives back what was asked.
async fn serve(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8(asked).unwrap()
}

#[test]
fn a_server_says_who_it_is_when_it_is_ready() {
    World::play(async |world| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/available", listener.local_addr().unwrap());
        std::fs::write(world.path("password"), "secret\nrest").unwrap();
        let question = Question::Http {
            url: url.clone(),
            status: vec![200, 204],
            body: Some("^(master|slave)$".to_owned()),
            login: Some(Login {
                user: "neo4j".to_owned(),
                password_file: world.path("password").to_str().unwrap().to_owned(),
            }),
        };
        for (answer, wanted) in [
            ("HTTP/1.1 404 Not Found\r\n\r\n", Err("status 404")),
            ("HTTP/1.1 200 OK\r\n\r\nUNKNOWN\nmore", Err("the body is \"UNKNOWN\"")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nmaster\n", Ok(())),
        ] {
            let (asked, result) = tokio::join!(serve(&listener, answer), world.ask(question.clone()));
            assert!(asked.contains("Authorization: Basic bmVvNGo6c2VjcmV0\r\n"), "{asked}");
            assert_eq!(result, wanted.map_err(|reason| format!("http {url}: {reason}")));
        }
        std::fs::remove_file(world.path("password")).unwrap();
        assert!(world.ask(question).await.unwrap_err().contains("password_file"));
    });
}

#[test]
fn a_program_answers_with_status_and_output() {
    World::play(async |world| {
        assert_eq!(world.ask(sh("test $OWN = 7 && pwd", &[0], None)).await, Ok(()), "its environment");
        assert_eq!(
            world.ask(sh("echo no; echo 'running: yes' >&2; exit 3", &[3], Some("^running"))).await,
            Ok(())
        );
        let refused = world.ask(sh("echo 'not yet'; exit 4", &[0, 3], None)).await.unwrap_err();
        assert_eq!(refused, "exec /bin/sh: exit status 4: not yet");
        let other = world.ask(sh("echo stopped", &[0], Some("^running"))).await.unwrap_err();
        assert_eq!(other, "exec /bin/sh: the output does not match \"^running\": stopped");
        assert!(world.ask(sh("kill -9 $$", &[0], None)).await.unwrap_err().contains("signal 9"));
        let argv = vec!["/no/such/program".to_owned()];
        let missing = world.ask(Question::Exec { argv, exit_codes: vec![0], output: None }).await;
        assert!(missing.unwrap_err().contains("No such file or directory"));
        // More output than anybody wants blocks nobody, and a child that keeps the pipe delays nobody.
        let flood = "head -c 1000000 /dev/zero; sleep 1000 & exit 0";
        assert_eq!(world.ask(sh(flood, &[0], None)).await, Ok(()));
    });
}

/// Whether somebody still reads the other end: a pipe breaks when the last of a group is gone.
async fn until_unread(path: PathBuf) {
    let fifo = tokio::net::unix::pipe::OpenOptions::new();
    loop {
        // Nobody reads any more when it cannot be opened for writing.
        match fifo.open_sender(&path) {
            Err(_) => return,
            Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn until_read(path: PathBuf) {
    let fifo = tokio::net::unix::pipe::OpenOptions::new();
    while fifo.open_sender(&path).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Hangs with a child, both deaf to TERM, both with the pipe open.
const DEAF: &str = "trap '' TERM; exec 9<>fifo; sleep 1000 & sleep 1000";

#[test]
fn one_that_hangs_is_ended_and_delays_nobody() {
    World::play(async |world| {
        nix::unistd::mkfifo(&world.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let deaf = world.begin(vec![sh(DEAF, &[0], None)], PATIENCE);
        until_read(world.path("fifo")).await;
        // A server that accepts and says nothing, and one that is well.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let hung = Question::Http { url, status: vec![200], body: None, login: None };
        let hung = world.begin(vec![hung], PATIENCE);
        assert_eq!(world.ask(sh("exit 0", &[0], None)).await, Ok(()));
        for watcher in [deaf, hung] {
            let cancel = Effect::CancelProbe { watcher, attempt: watcher.0 };
            assert_eq!(world.runner.perform(cancel), None);
        }
        timeout(PATIENCE, until_unread(world.path("fifo"))).await.expect("the whole group goes");
        // The same when its time is over.
        let late = world.begin(vec![sh(DEAF, &[0], None)], Duration::from_millis(200));
        let (answered, result) = world.answer().await;
        assert_eq!((answered, result), (late, Err("no answer within 0.2 s".to_owned())));
        timeout(PATIENCE, until_unread(world.path("fifo"))).await.expect("the whole group goes");
    });
}

#[test]
fn only_what_a_start_leaves_in_the_log_counts() {
    World::play(async |world| {
        let (log, stale) = (world.path("one.log"), world.path("one.pid"));
        std::fs::write(&log, "Started of old\n").unwrap();
        std::fs::write(&stale, "1").unwrap();
        let preparation = Preparation { remove: vec![stale.clone()], logs: vec![log.clone()] };
        let spec = SpawnSpec {
            watcher: "one".to_owned(),
            // The same watcher as that of the first question.
            watcher_id: WatcherId(1),
            wid: circus_protocol::number::Wid(1),
            argv: ["sh", "-c", "test ! -e one.pid && read line < go && echo Started >> one.log"]
                .map(str::to_owned)
                .to_vec(),
            env: vec![("PATH".to_owned(), "/bin:/usr/bin".to_owned())],
            working_dir: world.dir.path().to_str().unwrap().to_owned(),
            uid: None,
            gid: None,
            rlimits: Vec::new(),
            stdin: circusd_rs::arbiter::effect::Stdio::Null,
            stdout: circusd_rs::arbiter::effect::Stdio::Inherit,
            stderr: circusd_rs::arbiter::effect::Stdio::Inherit,
            sockets: circusd_rs::arbiter::effect::SocketUse::default(),
            preparation: Some(Arc::new(preparation)),
            looks: None,
        };
        nix::unistd::mkfifo(&world.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let key = Key(1);
        assert_eq!(world.runner.perform(Effect::Spawn { key, spec: Arc::new(spec) }), None);
        let spawned = timeout(PATIENCE, world.inputs.recv()).await.unwrap();
        assert!(matches!(spawned, Some(Input::Spawned { key: Key(1), .. })), "{spawned:?}");
        assert!(!stale.exists());
        let question = Question::Log { file: log, pattern: "^Started".to_owned() };
        let early = world.ask(question.clone()).await.unwrap_err();
        assert!(early.ends_with("no line matches \"^Started\" yet"), "{early}");
        // Waits for the reader.
        std::fs::write(world.path("go"), "go\n").unwrap();
        let ended = timeout(PATIENCE, world.inputs.recv()).await.unwrap();
        assert!(matches!(ended, Some(Input::Exited { exit_code: Some(0), .. })), "{ended:?}");
        world.asked = 0;
        assert_eq!(world.ask(question).await, Ok(()));
    });
}

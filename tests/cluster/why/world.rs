//! Daemons and listeners with something wrong about each.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use circus_protocol::transport::{Limits, Router};
use circus_tests::daemon::{self, Daemon, Flavor, fresh_address, run, stock};
use circus_tests::wait::until;
use circus_tests::wire::Wire;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Every watcher has one thing wrong, except the first.
const NATIVE: &str = "[circus]\n\
    [watcher:runs]\ncmd = sleep 1000\npriority = 10\n\
    [watcher:idle]\ncmd = sleep 1000\nautostart = False\n\
    [watcher:asked]\ncmd = sleep 1000\n\
    [watcher:none]\ncmd = sleep 1000\nnumprocesses = 0\n\
    [watcher:missing]\ncmd = /no/such/program\n\
    [watcher:vetoed]\ncmd = sleep 1000\nhooks.before_start = exec:/bin/false\n\
    [watcher:taken]\ncmd = sh -c \"echo 'bind: Address already in use' >&2; exit 1\"\n\
    stderr_stream.class = QueueStream\nbackoff = 0.1\nstart_limit = 3\n\
    [watcher:coded]\ncmd = sh -c \"exit 3\"\nbackoff = 0.1\nstart_limit = 3\n\
    [watcher:done]\ncmd = true\nrespawn = False\n\
    [watcher:db]\ncmd = sleep 1000\n\
    [watcher:app]\ncmd = sleep 1000\n\
    [watcher:rival]\ncmd = sleep 1000\n\
    [service:coded]\nexit.3 = it could not join its cluster\n\
    [service:db]\n[probe:db:joined]\ntcp = {address}:9\ninterval = 0.2\n\
    [service:app]\nafter = db:joined\n\
    [service:runs]\n[service:rival]\nconflicts = runs\n";

const STOCK: &str = "[circus]\ncheck_delay = 1\n\
    [watcher:runs]\ncmd = sleep 1000\npriority = 10\n\
    [watcher:idle]\ncmd = sleep 1000\nautostart = False\n\
    [watcher:dying]\ncmd = false\n";

/// Stopping takes as long as the test, which keeps stock's lock.
const LOCKED: &str = "[circus]\n\
    [watcher:slow]\ncmd = {mischief} stubborn\ngraceful_timeout = 200\n";

const ALONE: &str = "[circus]\n[watcher:runs]\ncmd = sleep 1000\n";

/// Everything, ended when it is dropped.
pub(crate) struct World {
    pub(crate) native: Daemon,
    pub(crate) stock: Daemon,
    pub(crate) locked: Daemon,
    pub(crate) frozen: Daemon,
    pub(crate) cold: Daemon,
    /// The address of those that are no daemons, and their ports.
    pub(crate) strangers: String,
    pub(crate) full: u16,
    pub(crate) http: u16,
    pub(crate) tls: u16,
    pub(crate) ssh: u16,
    pub(crate) curve: u16,
    pub(crate) rep: u16,
    pub(crate) pull: u16,
    pub(crate) closer: u16,
    pub(crate) mute: u16,
    pub(crate) hanging: u16,
    pub(crate) old: u16,
    pub(crate) ahead: u16,
    pub(crate) behind: u16,
    _kept: Kept,
}

/// What only has to stay.
struct Kept {
    programs: Vec<Child>,
    _sockets: Vec<socket2::Socket>,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Drop for Kept {
    fn drop(&mut self) {
        for program in &mut self.programs {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

impl World {
    pub(crate) fn start() -> Self {
        let strangers = fresh_address();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut kept = Kept { programs: Vec::new(), _sockets: Vec::new(), _runtime: runtime, _dir: dir };
        let full = kept.full(&strangers);
        let (http, tls) = (kept.http(&strangers), kept.tls(&strangers));
        let [curve, rep, pull] = kept.zeromq(&strangers);
        let world = Self {
            native: Daemon::start(Flavor::Ours, NATIVE),
            stock: Daemon::start(Flavor::Stock, STOCK),
            locked: Daemon::start(Flavor::Stock, LOCKED),
            frozen: Daemon::start(Flavor::Ours, ALONE),
            cold: Daemon::start(Flavor::Stock, ALONE),
            full,
            http,
            tls,
            ssh: listen(&strangers, |mut stream| {
                let _ = stream.write_all(b"SSH-2.0-Test_1.0\r\n");
                std::thread::sleep(std::time::Duration::from_secs(5));
            }),
            curve,
            rep,
            pull,
            closer: listen(&strangers, drop),
            mute: listen(&strangers, |_| std::thread::sleep(std::time::Duration::from_secs(60))),
            hanging: kept.node(&strangers, |_| None),
            old: kept.node(&strangers, |command| Some(answer(command, 0.0, &["configure"]))),
            ahead: kept.node(&strangers, |command| Some(answer(command, 7200.0, &["why"]))),
            behind: kept.node(&strangers, |command| Some(answer(command, -4.5, &["why"]))),
            strangers,
            _kept: kept,
        };
        world.frozen.signal(Signal::SIGSTOP);
        world.cold.signal(Signal::SIGSTOP);
        let mut wire = Wire::connect(&world.native.endpoint(), &world.native.pubsub());
        assert_eq!(wire.call("stop", &json!({"name": "asked", "waiting": true}))["status"], "ok");
        world
    }

    /// Takes stock's lock for as long as the test runs.
    pub(crate) fn lock(&self) {
        let mut wire = Wire::connect(&self.locked.endpoint(), &self.locked.pubsub());
        // Not answered before the watcher has stopped, which it does not.
        wire.send(
            json!({"id": "lock", "command": "stop", "properties": {"name": "slow", "waiting": true}})
                .to_string()
                .as_bytes(),
        );
        until("the stop to begin", || {
            let state = wire.call("status", &json!({"name": "slow"}));
            (state["status"] == "stopping").then_some(())
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.frozen.signal(Signal::SIGCONT);
        self.cold.signal(Signal::SIGCONT);
        // It would wait for the stop.
        self.locked.crash();
    }
}

impl Kept {
    /// A listener whose queue is full: the kernel drops whatever else comes, as a firewall does.
    fn full(&mut self, address: &str) -> u16 {
        use socket2::{Domain, Socket, Type};
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: std::net::SocketAddr = format!("{address}:0").parse().expect("an address");
        listener.bind(&any.into()).expect("a port");
        listener.listen(0).expect("listens");
        let port = listener.local_addr().expect("bound").as_socket().expect("tcp").port();
        for _ in 0..4 {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            client.set_nonblocking(true).expect("not blocking");
            let _ = client.connect(&std::net::SocketAddr::new(any.ip(), port).into());
            self._sockets.push(client);
        }
        self._sockets.push(listener);
        port
    }

    fn program(&mut self, command: &mut Command) {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.programs.push(quiet.spawn().expect("a program starts"));
    }

    fn python(&mut self, script: &str, words: &[&str]) {
        self.program(Command::new(stock("python")).arg("-c").arg(script).args(words));
    }

    fn http(&mut self, address: &str) -> u16 {
        let port = free_port(address);
        let words = ["-m", "http.server", "--bind", address, &port.to_string()].map(str::to_owned);
        let dir = self._dir.path().to_owned();
        self.program(Command::new(stock("python")).args(words).current_dir(dir));
        wait_for(address, port);
        port
    }

    /// Python's ssl module with a certificate of its own.
    fn tls(&mut self, address: &str) -> u16 {
        let port = free_port(address);
        let script = "import socket,ssl,sys\n\
            context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            server=socket.create_server((sys.argv[1],int(sys.argv[2])))\n\
            while True:\n\
            \x20   try:\n\
            \x20       peer=server.accept()[0]; peer.settimeout(5)\n\
            \x20       context.wrap_socket(peer,server_side=True)\n\
            \x20   except OSError: pass\n";
        self.python(script, &[address, &port.to_string()]);
        wait_for(address, port);
        port
    }

    /// Sockets of libzmq: CURVE, REP that answers nonsense, PULL.
    fn zeromq(&mut self, address: &str) -> [u16; 3] {
        let ports = [0; 3].map(|_| free_port(address));
        let script = "import sys,zmq\n\
            context=zmq.Context()\n\
            at=lambda n: 'tcp://%s:%s'%(sys.argv[1],sys.argv[n])\n\
            curve=context.socket(zmq.ROUTER); curve.curve_server=True\n\
            curve.curve_publickey,curve.curve_secretkey=zmq.curve_keypair()\n\
            curve.bind(at(2))\n\
            other=context.socket(zmq.ROUTER); other.bind(at(3))\n\
            pull=context.socket(zmq.PULL); pull.bind(at(4))\n\
            while True:\n\
            \x20   parts=other.recv_multipart(); other.send_multipart(parts[:-1]+[b'what?'])\n";
        let words = ports.map(|port| port.to_string());
        self.python(script, &[address, &words[0], &words[1], &words[2]]);
        ports.iter().for_each(|port| wait_for(address, *port));
        ports
    }

    /// A node that answers as it is told to.
    fn node(&mut self, address: &str, answer: impl Fn(&Value) -> Option<Value> + Send + 'static) -> u16 {
        let port = free_port(address);
        let endpoint = format!("tcp://{address}:{port}").parse().expect("an endpoint");
        let mut router = self._runtime.block_on(Router::bind(&[endpoint], Limits::default())).expect("bound");
        self._runtime.spawn(async move {
            loop {
                let incoming = router.recv().await;
                let asked = incoming.frames.last().and_then(|frame| serde_json::from_slice(frame).ok());
                if let Some(mut reply) = asked.as_ref().and_then(&answer) {
                    reply["id"] = asked.as_ref().map(|asked| asked["id"].clone()).unwrap_or_default();
                    let _ = router.send(incoming.peer, vec![Bytes::from(reply.to_string())]);
                }
            }
        });
        port
    }
}

/// The answers of a circusd-rs whose clock is off and that has these extensions.
fn answer(asked: &Value, ahead: f64, extensions: &[&str]) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let time = now.as_secs_f64() + ahead;
    match asked["command"].as_str().unwrap_or_default() {
        "hello" => {
            json!({"status": "ok", "time": time, "name": "circusd-rs", "version": "0.0.9", "extensions": extensions})
        }
        _ => json!({"status": "ok", "time": time, "statuses": {"web": "active"}}),
    }
}

fn free_port(address: &str) -> u16 {
    TcpListener::bind((address, 0)).expect("a port").local_addr().expect("bound").port()
}

fn wait_for(address: &str, port: u16) {
    until("a listener", || std::net::TcpStream::connect((address, port)).ok());
}

/// Treats each connection so, for as long as the test runs.
fn listen(address: &str, treat: impl Fn(std::net::TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind((address, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let treat = treat.clone();
            std::thread::spawn(move || treat(stream));
        }
    });
    port
}

/// circusman with a home of its own.
pub(crate) fn circusman(cluster: &str) -> (Command, tempfile::TempDir) {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = daemon::circusman(home.path());
    command.args(["--cluster", cluster]);
    (command, home)
}

/// Asks `why` and gives the exit status and the document.
pub(crate) fn asked(cluster: &str, words: &[&str]) -> (i32, Value) {
    let (mut command, _home) = circusman(cluster);
    let (exit, stdout, stderr) = run(command.args(["--json", "--timeout", "4", "why"]).args(words));
    let document = serde_json::from_str(&stdout)
        .unwrap_or_else(|error| panic!("why {words:?} (exit {exit}): {error}\n{stdout}\n{stderr}"));
    (exit, document)
}

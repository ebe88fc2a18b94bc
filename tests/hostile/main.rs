//! What enemies do to a socket that is open to a network, and that nobody else notices. After each
//! attack a good client is served, memory is back and the processor idle. Attackers speak through
//! plain sockets; everything is in this process, so that its memory is the measure.

#[cfg(test)]
mod connecting;
#[cfg(test)]
mod publisher;
#[cfg(test)]
mod router;

#[cfg(test)]
mod common {
    use core::time::Duration;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::sync::{Mutex, MutexGuard, OnceLock};

    use bytes::Bytes;
    use circus_protocol::endpoint::Endpoint;
    use circus_protocol::transport::{Dealer, Limits, LinkEvent, LinkOptions, Router};
    use circus_tests::wait::PATIENCE;
    use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
    use nix::sys::time::TimeValLike;
    use tokio::runtime::{Builder, Runtime};

    /// What memory may differ by after an attack: allocators keep some of what was used.
    const SLACK: usize = 24 << 20;

    /// One test at a time, because memory and processor time are those of the process.
    pub(crate) fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        static FILES: OnceLock<()> = OnceLock::new();
        let guard = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        FILES.get_or_init(|| {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limit");
            setrlimit(Resource::RLIMIT_NOFILE, hard.min(8_192), hard).expect("limit");
        });
        guard
    }

    #[derive(Clone, Copy)]
    pub(crate) enum Threads {
        One,
        Several,
    }

    pub(crate) fn runtime(threads: Threads) -> Runtime {
        let mut builder = match threads {
            Threads::One => Builder::new_current_thread(),
            Threads::Several => Builder::new_multi_thread(),
        };
        builder.worker_threads(2).enable_all().build().expect("runtime")
    }

    pub(crate) fn any_port() -> Endpoint {
        "tcp://127.0.0.1:*".parse().expect("endpoint")
    }

    pub(crate) fn address(endpoint: &Endpoint) -> SocketAddr {
        endpoint.to_string().trim_start_matches("tcp://").parse().expect("address")
    }

    /// An echoing ROUTER in a thread of its own.
    pub(crate) struct Server {
        pub(crate) endpoint: Endpoint,
        stop: Option<tokio::sync::oneshot::Sender<()>>,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Server {
        pub(crate) fn start(threads: Threads, limits: Limits) -> Self {
            let (stop, mut stopped) = tokio::sync::oneshot::channel();
            let (tell, told) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                runtime(threads).block_on(async move {
                    let mut router = Router::bind(&[any_port()], limits).await.expect("bind");
                    tell.send(router.endpoints()[0].clone()).expect("told");
                    loop {
                        let incoming = tokio::select! {
                            incoming = router.recv() => incoming,
                            _ = &mut stopped => break,
                        };
                        let _ = router.send(incoming.peer, incoming.frames);
                    }
                    router.close().await;
                });
            });
            let endpoint = told.recv().expect("bound");
            Self { endpoint, stop: Some(stop), thread: Some(thread) }
        }

        pub(crate) fn address(&self) -> SocketAddr {
            address(&self.endpoint)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            drop(self.stop.take());
            let ended = self.thread.take().map(std::thread::JoinHandle::join);
            assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
        }
    }

    /// A good client gets `count` answers.
    pub(crate) fn served(endpoint: &Endpoint, count: usize) {
        runtime(Threads::One).block_on(async {
            let mut dealer = Dealer::connect(endpoint.clone(), LinkOptions::default()).expect("connect");
            let all = async {
                while !dealer.is_connected() {
                    dealer.recv().await;
                }
                for round in 0..count {
                    let frames = vec![Bytes::from(format!("request {round}"))];
                    dealer.send(frames.clone()).expect("send");
                    assert_eq!(dealer.recv().await, LinkEvent::Message(frames));
                }
            };
            tokio::time::timeout(PATIENCE, all).await.expect("the good client is served");
        });
    }

    /// Attacks a fresh ROUTER, then looks whether anything is left of it.
    pub(crate) fn attacked(limits: Limits, attack: impl FnOnce(SocketAddr)) {
        let _alone = alone();
        let server = Server::start(Threads::One, limits);
        served(&server.endpoint, 20);
        let before = memory();
        attack(server.address());
        served(&server.endpoint, 20);
        unharmed(before);
    }

    /// Memory is back and nobody spins.
    pub(crate) fn unharmed(before: usize) {
        until("memory is back", || memory() < before + SLACK);
        until("the processor is idle", || {
            let start = processor();
            pause(200);
            processor() - start < Duration::from_millis(40)
        });
    }

    pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..3_000 {
            if holds() {
                return;
            }
            pause(20);
        }
        panic!("not within time: {what} (memory {} KiB)", memory() >> 10);
    }

    #[expect(clippy::disallowed_methods, reason = "waits between looks at a condition, and paces attackers")]
    pub(crate) fn pause(millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }

    /// Resident memory of this process in bytes.
    pub(crate) fn memory() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        let pages: usize = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
        pages * 4_096
    }

    pub(crate) fn processor() -> Duration {
        let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Duration::from_micros(micros.unsigned_abs())
    }

    pub(crate) fn greeting(major: u8, mechanism: &str, as_server: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, 1];
        bytes.extend(mechanism.as_bytes());
        bytes.resize(32, 0);
        bytes.push(as_server);
        bytes.resize(64, 0);
        bytes
    }

    pub(crate) fn ready(socket_type: &str) -> Vec<u8> {
        let mut bytes = vec![4, u8::try_from(22 + socket_type.len()).expect("short")];
        bytes.extend(b"\x05READY\x0bSocket-Type\0\0\0");
        bytes.push(u8::try_from(socket_type.len()).expect("short"));
        bytes.extend(socket_type.as_bytes());
        bytes
    }

    pub(crate) fn hello(socket_type: &str) -> Vec<u8> {
        [greeting(3, "NULL", 0), ready(socket_type)].concat()
    }

    /// The header of a message frame that claims so many bytes.
    pub(crate) fn header(size: u64) -> Vec<u8> {
        [&[2][..], &size.to_be_bytes()].concat()
    }

    pub(crate) fn connect(address: SocketAddr) -> TcpStream {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("option");
        stream.set_write_timeout(Some(PATIENCE)).expect("option");
        stream
    }

    /// Sends and leaves; a refusal while sending is welcome.
    pub(crate) fn throw(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = connect(address);
        let _ = stream.write_all(bytes);
        stream
    }

    /// Reads until the other side closes; fails if it does not.
    pub(crate) fn closed(mut stream: TcpStream) -> Vec<u8> {
        let mut told = Vec::new();
        if let Err(error) = stream.read_to_end(&mut told) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "not closed");
        }
        told
    }

    /// The same numbers on every run.
    pub(crate) struct Noise(pub(crate) u64);

    impl Noise {
        pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
            let next = || {
                self.0 =
                    self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                self.0.to_be_bytes()[0]
            };
            std::iter::repeat_with(next).take(count).collect()
        }
    }
}

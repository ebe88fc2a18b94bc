//! The wire's speed, beside the `zeromq` crate in the same run.
//!
//! Runs A B A B and prints medians and ratios; absolute numbers depend on the machine. The client is
//! one plain blocking socket that speaks ZMTP by itself, the same for both; the server echoes 200
//! bytes on one thread. `cargo bench -p circus-tests --bench transport`.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark reads the clock and may fail loudly"
)]

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use circus_protocol::transport::{Limits, Router};
use tokio::runtime::{Builder, Runtime};
use zeromq::{RouterSocket, Socket, SocketRecv, SocketSend};

const ROUNDS: usize = 3;
const SERIAL: usize = 10_000;
const BATCHES: usize = 1_500;
const IN_FLIGHT: usize = 100;
const PAYLOAD: usize = 200;

#[derive(Clone, Copy)]
enum Server {
    Second,
    Ours,
}

#[derive(Default)]
struct Figures {
    serial: Vec<f64>,
    flight: Vec<f64>,
}

fn main() {
    for several in [false, true] {
        let (mut second, mut ours) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            measure(Server::Second, several, &mut second);
            measure(Server::Ours, several, &mut ours);
        }
        let threads = if several { "multi-thread" } else { "current_thread" };
        println!("{threads:<40} {:>12} {:>12} {:>8}", "zeromq", "ours", "ratio");
        line("serial echo (per s)", &mut second.serial, &mut ours.serial);
        line("100 in flight (per s)", &mut second.flight, &mut ours.flight);
    }
}

fn line(what: &str, second: &mut [f64], ours: &mut [f64]) {
    let (second, ours) = (median(second), median(ours));
    println!("{what:<40} {second:>12.0} {ours:>12.0} {:>8.2}", ours / second);
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn runtime(several: bool) -> Runtime {
    let mut builder = if several { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.worker_threads(2).enable_all().build().expect("runtime")
}

fn measure(server: Server, several: bool, figures: &mut Figures) {
    let (tell, told) = mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = runtime(several);
        runtime.block_on(async {
            let serving = runtime.spawn(async move {
                match server {
                    Server::Second => second(tell).await,
                    Server::Ours => ours(tell).await,
                }
            });
            let _ = stopped.await;
            serving.abort();
        });
        runtime.shutdown_timeout(Duration::from_millis(100));
    });
    let mut client = Client::connect(told.recv().expect("bound"));
    client.rounds(SERIAL / 10, 1);
    let start = Instant::now();
    client.rounds(SERIAL, 1);
    figures.serial.push(SERIAL as f64 / start.elapsed().as_secs_f64());
    client.rounds(BATCHES / 10, IN_FLIGHT);
    let start = Instant::now();
    client.rounds(BATCHES, IN_FLIGHT);
    figures.flight.push((BATCHES * IN_FLIGHT) as f64 / start.elapsed().as_secs_f64());
    drop((client, stop));
    thread.join().expect("server");
}

async fn ours(tell: mpsc::Sender<SocketAddr>) {
    let any = "tcp://127.0.0.1:*".parse().expect("endpoint");
    let mut router = Router::bind(&[any], Limits::default()).await.expect("bind");
    let bound = router.endpoints()[0].to_string();
    tell.send(bound.trim_start_matches("tcp://").parse().expect("address")).expect("told");
    loop {
        let incoming = router.recv().await;
        let _ = router.send(incoming.peer, incoming.frames);
    }
}

async fn second(tell: mpsc::Sender<SocketAddr>) {
    let mut router = RouterSocket::new();
    let bound = router.bind("tcp://127.0.0.1:0").await.expect("bind").to_string();
    tell.send(bound.trim_start_matches("tcp://").parse().expect("address")).expect("told");
    loop {
        let message = router.recv().await.expect("recv");
        let _ = router.send(message).await;
    }
}

struct Client {
    input: BufReader<TcpStream>,
    output: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let mut output = TcpStream::connect(address).expect("connect");
        output.set_nodelay(true).expect("option");
        let mut hello = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
        hello.resize(64, 0);
        hello.extend(b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
        output.write_all(&hello).expect("hello");
        let mut input = BufReader::new(output.try_clone().expect("clone"));
        let mut greeting = [0; 66];
        input.read_exact(&mut greeting).expect("greeting");
        input.read_exact(&mut vec![0; usize::from(greeting[65])]).expect("READY");
        Self { input, output }
    }

    /// Sends `batch` requests at once and reads as many answers, `count` times.
    fn rounds(&mut self, count: usize, batch: usize) {
        let mut frame = vec![0, u8::try_from(PAYLOAD).expect("short")];
        frame.resize(2 + PAYLOAD, b'x');
        let request = frame.repeat(batch);
        let mut answer = vec![0; request.len()];
        for _ in 0..count {
            self.output.write_all(&request).expect("send");
            self.input.read_exact(&mut answer).expect("answers");
        }
        assert!(answer == request, "an echo");
    }
}

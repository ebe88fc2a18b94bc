//! The sockets of simulated nodes: accepts, finds out which node was called, and speaks ZMTP for it.
//!
//! Everything runs on one thread, so the nodes' state is shared without a lock; no borrow of it lives
//! across an await.

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use circus_protocol::zmtp::frame::encode_header;
use circus_protocol::zmtp::limits::WireLimits;
use circus_protocol::zmtp::session::{Config, Event as Wire, Session};
use circus_protocol::zmtp::socket::SocketType;
use circus_protocol::zmtp::subscription::Subscriptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::SimulateArgs;
use super::chaos::{Accident, Fate};
use super::node::Node;
use crate::cli::DEFAULT_PORT;
use crate::fleet::wall;

/// Connections that the kernel may keep for us.
const BACKLOG: u32 = 4_096;
/// Events waiting for one subscriber; what does not fit is left out, as in any PUB.
const QUEUE: usize = 64;
/// How long a node that was told to quit stays away, as if an init system started it again.
const AWAY: Duration = Duration::from_secs(10);
/// The largest piece read at once.
const READ: usize = 512;

type World = Rc<RefCell<Vec<Site>>>;
type Message = Rc<[Bytes; 2]>;

/// A node and who talks to it.
struct Site {
    node: Node,
    subscribers: Vec<mpsc::Sender<Message>>,
    /// Ends its connections.
    cut: Rc<Notify>,
    gone: Option<Instant>,
    hangs: Option<Instant>,
}

/// All nodes, with their listeners bound.
pub(super) struct Simulation {
    control: TcpListener,
    pubsub: TcpListener,
    world: World,
    first: Ipv4Addr,
    port: u16,
    latency: Duration,
    fate: Fate,
}

impl Simulation {
    /// Binds. Serving begins with [`Simulation::serve`].
    pub(super) fn new(args: &SimulateArgs, port: u16) -> Result<Self, String> {
        let events = port.checked_add(1).ok_or("the port after this one is needed, too")?;
        let first = Ipv4Addr::from(u32::from(args.base) + 1);
        let at = wall();
        let site = |number: u32| {
            let address = Ipv4Addr::from(u32::from(first) + number);
            let stock = number % 100 < u32::from(args.stock);
            let pubsub = format!("tcp://{address}:{events}");
            let node = Node::new(format!("sim{number}"), pubsub, args.watchers, stock, at);
            Site { node, subscribers: Vec::new(), cut: Rc::default(), gone: None, hangs: None }
        };
        Ok(Self {
            control: bind(port)?,
            pubsub: bind(events)?,
            world: Rc::new(RefCell::new((0..args.nodes).map(site).collect())),
            first,
            port,
            latency: Duration::from_millis(u64::from(args.latency)),
            fate: Fate::new(args.seed, args.chaos),
        })
    }

    /// What names all nodes.
    pub(super) fn spec(&self) -> String {
        let count = u32::try_from(self.world.borrow().len()).unwrap_or(1);
        let last = Ipv4Addr::from(u32::from(self.first) + count.saturating_sub(1));
        let nodes = if count == 1 { last.to_string() } else { format!("{}-{last}", self.first) };
        if self.port == DEFAULT_PORT { nodes } else { format!("{nodes}:{}", self.port) }
    }

    /// Serves for ever. Needs a `LocalSet`.
    pub(super) async fn serve(self) -> Infallible {
        let Self { control, pubsub, world, first, latency, fate, port: _ } = self;
        let doors = [(control, SocketType::Router), (pubsub, SocketType::Pub)];
        for (listener, socket_type) in doors {
            let world = world.clone();
            tokio::task::spawn_local(async move {
                loop {
                    let Ok((stream, _)) = listener.accept().await else {
                        // Out of descriptors: others may be given back.
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    if let Some(at) = called(&stream, first, world.borrow().len()) {
                        let peer = Peer { world: world.clone(), at, socket_type, latency };
                        tokio::task::spawn_local(peer.serve(stream));
                    }
                }
            });
        }
        live(world, fate).await
    }
}

fn bind(port: u16) -> Result<TcpListener, String> {
    let failed = |error: std::io::Error| {
        format!("cannot listen on port {port} of all loopback addresses: {error}; choose another --port")
    };
    let socket = TcpSocket::new_v4().map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    #[cfg(target_os = "linux")]
    socket.bind_device(Some(b"lo")).map_err(failed)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).map_err(failed)?;
    socket.listen(BACKLOG).map_err(failed)
}

/// Which node was called; none for an address that is no node's.
fn called(stream: &TcpStream, first: Ipv4Addr, nodes: usize) -> Option<usize> {
    let IpAddr::V4(called) = stream.local_addr().ok()?.ip() else { return None };
    let at = usize::try_from(u32::from(called).checked_sub(u32::from(first))?).ok()?;
    let _delayed = stream.set_nodelay(true);
    (called.is_loopback() && at < nodes).then_some(at)
}

/// Lets accidents happen, once a second.
async fn live(world: World, mut fate: Fate) -> Infallible {
    let mut beat = interval(Duration::from_secs(1));
    loop {
        beat.tick().await;
        let mut sites = world.borrow_mut();
        let (count, watchers) = (sites.len(), sites.first().map_or(0, |site| site.node.watchers()));
        for (at, accident) in fate.second(count, watchers) {
            if let Some(site) = sites.get_mut(at).filter(|site| site.gone.is_none()) {
                site.suffer(accident);
            }
        }
        for site in sites.iter_mut() {
            if site.gone.is_some_and(|until| until <= Instant::now()) {
                site.gone = None;
                site.node.reboot(wall());
            }
        }
    }
}

impl Site {
    fn suffer(&mut self, accident: Accident) {
        match accident {
            Accident::Crash { watcher, code } => self.node.crash(watcher, wall(), code),
            Accident::Flip { watcher } => self.node.flip(watcher, wall()),
            Accident::Hang { seconds } => self.hangs = Some(Instant::now() + Duration::from_secs(seconds)),
            Accident::Vanish { seconds } => self.vanish(Duration::from_secs(seconds)),
        }
        self.spread();
    }

    fn vanish(&mut self, time: Duration) {
        self.gone = Some(Instant::now() + time);
        self.subscribers.clear();
        self.cut.notify_waiters();
    }

    /// Publishes what happened.
    fn spread(&mut self) {
        let events = self.node.take_events();
        if self.subscribers.is_empty() {
            return;
        }
        for event in events {
            let message: Message = Rc::new([event.topic().into_bytes().into(), event.payload().into()]);
            self.subscribers.retain(|subscriber| {
                !matches!(subscriber.try_send(message.clone()), Err(mpsc::error::TrySendError::Closed(_)))
            });
        }
    }
}

/// One connection.
struct Peer {
    world: World,
    at: usize,
    socket_type: SocketType,
    latency: Duration,
}

impl Peer {
    async fn serve(self, stream: TcpStream) {
        let Some(cut) = self.site(|site| site.gone.is_none().then(|| site.cut.clone())).flatten() else {
            return;
        };
        tokio::select! {
            // Whoever leaves or breaks a rule is not missed.
            _ = self.talk(stream) => {}
            () = cut.notified() => {}
        }
    }

    fn site<T>(&self, act: impl FnOnce(&mut Site) -> T) -> Option<T> {
        self.world.borrow_mut().get_mut(self.at).map(act)
    }

    async fn talk(&self, mut stream: TcpStream) -> Option<()> {
        let limits = WireLimits { heartbeat: None, ..WireLimits::default() };
        let config = Config { socket_type: self.socket_type, identity: Bytes::new(), limits };
        let mut session = Session::new(config);
        let mut subscriptions = Subscriptions::default();
        let (sender, mut events) = mpsc::channel(QUEUE);
        if self.socket_type == SocketType::Pub {
            self.site(|site| site.subscribers.push(sender));
        }
        let started = Instant::now();
        loop {
            flush(&mut session, &mut stream).await?;
            tokio::select! {
                ready = stream.readable() => {
                    ready.ok()?;
                    self.read(&mut stream, &mut session, &mut subscriptions, started).await?;
                }
                Some(message) = events.recv() => {
                    if message.first().is_some_and(|topic| subscriptions.matches(topic)) {
                        stream.write_all(&encoded(message.as_ref())).await.ok()?;
                    }
                }
            }
        }
    }

    async fn read(
        &self,
        stream: &mut TcpStream,
        session: &mut Session,
        subscriptions: &mut Subscriptions,
        started: Instant,
    ) -> Option<()> {
        if let Some(until) = self.site(|site| site.hangs).flatten() {
            sleep_until(until).await;
        }
        let mut buffer = [0; READ];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        let mut input = buffer.get(..count)?;
        while let Some(event) = session.advance(started.elapsed(), &mut input).ok()? {
            match event {
                // Before the answer to a message that came with the peer's READY.
                Wire::Open(_) => flush(session, stream).await?,
                Wire::Subscribe(prefix) => {
                    subscriptions.subscribe(&prefix).ok()?;
                }
                Wire::Cancel(prefix) => {
                    subscriptions.cancel(&prefix);
                }
                Wire::Message(frames) => self.answer(stream, frames.last()?).await?,
            }
        }
        Some(())
    }

    async fn answer(&self, stream: &mut TcpStream, request: &Bytes) -> Option<()> {
        if !self.latency.is_zero() {
            sleep(self.latency).await;
        }
        let (answer, quits) = self.site(|site| {
            let answer = site.node.answer(request, wall());
            site.spread();
            (answer, site.node.quits)
        })?;
        if let Some(answer) = answer {
            stream.write_all(&encoded(&[answer.into()])).await.ok()?;
        }
        if quits {
            self.site(|site| site.vanish(AWAY));
            return None;
        }
        Some(())
    }
}

/// Writes what the protocol itself has to say.
async fn flush(session: &mut Session, stream: &mut TcpStream) -> Option<()> {
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    stream.write_all(&out).await.ok()
}

fn encoded(frames: &[Bytes]) -> BytesMut {
    let mut out = BytesMut::new();
    for (at, frame) in frames.iter().enumerate() {
        encode_header(frame.len(), at + 1 < frames.len(), &mut out);
        out.extend_from_slice(frame);
    }
    out
}

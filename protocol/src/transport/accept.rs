//! The acceptor of a bound socket: one task for all its listeners, which counts connections and
//! starts one task for each. Knows nothing of what they do.
//!
//! When there is no room, the oldest connection that has not finished its handshake makes way, so
//! that strangers who only hold connections open cannot keep real peers out.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::sleep;

use super::limits::{ACCEPT_PAUSE, Limits};
use super::listen::{BindError, Listener};
use super::peer::{Origin, Shared};
use super::stream::Stream;
use crate::endpoint::Endpoint;

/// Whose connections are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Address(IpAddr),
    User(u32),
}

impl From<Origin> for Source {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Tcp(address) => Self::Address(address.ip().to_canonical()),
            Origin::Ipc(who) => Self::User(who.uid),
        }
    }
}

/// A connection that has not finished its handshake, as far as we know.
struct Pending {
    source: Source,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl Pending {
    fn is_over(&self) -> bool {
        self.task.is_finished() || self.shared.open.load(Ordering::Relaxed)
    }
}

/// Binds all endpoints, or none.
pub(super) async fn bind(
    endpoints: &[Endpoint],
    ipc_mode: u32,
) -> Result<(Vec<Listener>, Vec<Endpoint>), BindError> {
    if endpoints.is_empty() {
        return Err(BindError::None);
    }
    let (mut listeners, mut bound) = (Vec::new(), Vec::new());
    for endpoint in endpoints {
        let (listener, real) = Listener::bind(endpoint, ipc_mode).await?;
        listeners.push(listener);
        bound.push(real);
    }
    Ok((listeners, bound))
}

/// Accepts connections until their owner is gone, then waits for them to end.
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    max_connections: usize,
    max_per_source: usize,
    connections: JoinSet<()>,
    sources: HashMap<Id, Source>,
    counts: HashMap<Source, usize>,
    pending: VecDeque<Pending>,
    /// Which listener is asked first next time, so that a busy one cannot hide another.
    turn: usize,
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<Listener>, limits: &Limits) -> Self {
        Self {
            listeners,
            max_connections: limits.max_connections,
            max_per_source: limits.max_connections_per_address,
            connections: JoinSet::new(),
            sources: HashMap::new(),
            counts: HashMap::new(),
            pending: VecDeque::new(),
            turn: 0,
        }
    }

    /// `start` makes the future of one connection.
    pub(super) async fn run<T, F: Future<Output = ()> + Send + 'static>(
        mut self,
        owner: mpsc::Sender<T>,
        mut start: impl FnMut(Stream, Origin) -> (Arc<Shared>, F),
    ) {
        let mut pausing = false;
        loop {
            let Self { listeners, connections, turn, .. } = &mut self;
            tokio::select! {
                biased;
                () = owner.closed() => break,
                Some(ended) = connections.join_next_with_id(), if !connections.is_empty() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    };
                    self.forget(id);
                }
                () = sleep(ACCEPT_PAUSE), if pausing => pausing = false,
                accepted = poll_fn(|context| poll(listeners, turn, context)), if !pausing => {
                    match accepted {
                        Ok((stream, origin)) => {
                            let source = Source::from(origin);
                            if self.make_room(source) {
                                let (shared, connection) = start(stream, origin);
                                self.admit(source, shared, connection);
                            }
                        }
                        Err(error) => pausing = self.failed(&error),
                    }
                }
            }
        }
        self.listeners.clear();
        while self.connections.join_next().await.is_some() {}
    }

    fn admit(
        &mut self,
        source: Source,
        shared: Arc<Shared>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.connections.spawn(connection);
        self.sources.insert(task.id(), source);
        *self.counts.entry(source).or_default() += 1;
        while self.pending.front().is_some_and(Pending::is_over) {
            self.pending.pop_front();
        }
        if self.pending.len() > 2 * self.max_connections {
            self.pending.retain(|pending| !pending.is_over());
        }
        self.pending.push_back(Pending { source, shared, task });
    }

    fn forget(&mut self, id: Id) {
        let Some(source) = self.sources.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&source);
            }
        }
    }

    /// Whether one more connection may be kept; if need be another one makes way.
    fn make_room(&mut self, source: Source) -> bool {
        if self.counts.get(&source).is_some_and(|count| *count >= self.max_per_source) {
            self.evict(|pending| pending.source == source)
        } else if self.sources.len() >= self.max_connections {
            self.evict(|_| true)
        } else {
            true
        }
    }

    fn evict(&mut self, suits: impl Fn(&Pending) -> bool) -> bool {
        self.pending.retain(|pending| !pending.is_over());
        let oldest = self.pending.iter().position(suits).and_then(|at| self.pending.remove(at));
        if let Some(pending) = oldest {
            pending.task.abort();
            // Counted out at once: the next one may come before the task has noticed.
            self.forget(pending.task.id());
            return true;
        }
        false
    }

    /// Whether to pause. A connection that is gone again is no reason; anything else, and above all
    /// the lack of descriptors, would come back at once and keep us spinning.
    fn failed(&mut self, error: &io::Error) -> bool {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
        let gone = [ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected];
        if gone.contains(&error.kind()) {
            return false;
        }
        self.evict(|_| true);
        true
    }
}

fn poll(
    listeners: &[Listener],
    turn: &mut usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<(Stream, Origin)>> {
    let count = listeners.len().max(1);
    for step in 0..count {
        let at = (*turn + step) % count;
        let Some(listener) = listeners.get(at) else { break };
        if let Poll::Ready(accepted) = listener.poll_accept(context) {
            *turn = at + 1;
            return Poll::Ready(accepted);
        }
    }
    Poll::Pending
}

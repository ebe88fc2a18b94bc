//! One connection: moves bytes between a stream and a session, and values between the session and
//! its owner. Knows neither who accepted it nor what messages mean.
//!
//! While the owner has no room for what came, nothing more is read from this peer; writing goes on.

use core::time::Duration;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::outbox::Outbox;
use super::peer::{Budget, Charge, Outgoing, Shared};
use super::stream::Stream;
use crate::zmtp::fault::Fault;
use crate::zmtp::session::{Event, Session};

/// How much is read at once, into memory that all connections of a thread share.
const READ: usize = 32 * 1024;
/// How long a refused peer's socket may take to hear why.
const FAREWELL: Duration = Duration::from_millis(100);
/// Further away than any deadline.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// The peer closed it.
    Closed,
    /// Our side gave the peer up.
    Kicked,
    /// Our side closed the socket.
    Shutdown,
    /// The peer broke a rule or a limit.
    Fault(Fault),
    /// The system broke it.
    Io(io::Error),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a connection is made of.
pub(super) struct Connection<T> {
    stream: Stream,
    session: Session,
    queue: mpsc::Receiver<Outgoing>,
    shared: Arc<Shared>,
    outbox: Outbox,
    charge: Charge,
    started: Instant,
    timer: Pin<Box<Sleep>>,
    linger: Duration,
    /// Read, but not understood yet, because the owner had no room.
    unread: BytesMut,
    /// Understood, but not delivered yet.
    held: Option<T>,
    /// The owner has something new to look at.
    told: bool,
    /// The owner runs on this thread, so that it can answer when this task gives way.
    alone: bool,
}

impl<T> Connection<T> {
    pub(super) fn new(
        stream: Stream,
        session: Session,
        queue: mpsc::Receiver<Outgoing>,
        shared: Arc<Shared>,
        budget: &Arc<Budget>,
        linger: Duration,
    ) -> Self {
        let started = Instant::now();
        Self {
            stream,
            session,
            queue,
            shared,
            outbox: Outbox::default(),
            charge: budget.charge(),
            started,
            timer: Box::pin(sleep_until(started + NEVER)),
            linger,
            unread: BytesMut::new(),
            held: None,
            told: false,
            alone: Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread,
        }
    }

    /// Runs until the connection ends. `tell` turns events into what the owner receives. May be cancelled
    /// in order to [`Connection::close`]. Borrows, because a future that is given a value keeps room for it
    /// twice, and there may be ten thousand of these.
    pub(super) async fn run(
        &mut self,
        owner: &mpsc::Sender<T>,
        tell: &mut impl FnMut(Event, Charge) -> Option<T>,
    ) -> End {
        let end = loop {
            if let Err(end) = self.turn(owner, tell).await {
                break end;
            }
        };
        match end {
            End::Shutdown => self.close().await,
            End::Fault(_) => {
                self.session_output();
                let _ = timeout(FAREWELL, self.flush_all()).await;
            }
            End::Closed | End::Kicked | End::Io(_) => {}
        }
        end
    }

    /// Writes what waits, if that can be done within the linger time.
    pub(super) async fn close(&mut self) {
        let _ = timeout(self.linger, self.flush_all()).await;
    }

    async fn turn(
        &mut self,
        owner: &mpsc::Sender<T>,
        tell: &mut impl FnMut(Event, Charge) -> Option<T>,
    ) -> Result<(), End> {
        // A peer that never pauses must not keep the thread from the others.
        tokio::task::coop::consume_budget().await;
        if self.held.is_none() && !self.unread.is_empty() {
            let unread = self.unread.split();
            self.understand(&unread, owner, tell)?;
        }
        if std::mem::take(&mut self.told) && self.alone {
            give_way().await;
        }
        self.fill();
        self.flush().map_err(End::Io)?;
        let reading = self.held.is_none() && self.unread.is_empty();
        let writing = !self.outbox.is_empty();
        self.arm(false);
        let Self { stream, timer, .. } = self;
        tokio::select! {
            biased;
            () = self.shared.kick.notified() => return Err(End::Kicked),
            () = owner.closed() => return Err(End::Shutdown),
            woken = poll_fn(|context| poll_stream(stream, reading, writing, context)) => {
                if let Woken::Read(count) = woken.map_err(End::Io)? {
                    self.read(count, owner, tell)?;
                }
            }
            permit = owner.reserve(), if self.held.is_some() => {
                if let (Ok(permit), Some(held)) = (permit, self.held.take()) {
                    permit.send(held);
                }
            }
            next = self.queue.recv(), if self.session.is_open() && self.outbox.has_room() => {
                if let Some(outgoing) = next {
                    self.take(outgoing);
                }
            }
            () = timer.as_mut() => {
                self.session.tick(self.started.elapsed())?;
                self.arm(true);
            }
        }
        Ok(())
    }

    /// Sets the timer. One that fires too early does no harm and is cheaper than one moved with every
    /// byte, so it is moved only forward or after it has fired.
    fn arm(&mut self, fired: bool) {
        let deadline = self.started + self.session.deadline().unwrap_or(NEVER);
        if fired || deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Takes what [`poll_stream`] has just read; nothing was awaited since.
    fn read(
        &mut self,
        count: usize,
        owner: &mpsc::Sender<T>,
        tell: &mut impl FnMut(Event, Charge) -> Option<T>,
    ) -> Result<(), End> {
        if count == 0 {
            return Err(End::Closed);
        }
        SCRATCH.with_borrow(|scratch| self.understand(scratch.get(..count).unwrap_or_default(), owner, tell))
    }

    fn understand(
        &mut self,
        mut input: &[u8],
        owner: &mpsc::Sender<T>,
        tell: &mut impl FnMut(Event, Charge) -> Option<T>,
    ) -> Result<(), End> {
        let now = self.started.elapsed();
        loop {
            let event = self.session.advance(now, &mut input)?;
            let Some(event) = event else {
                let size = self.session.unfinished();
                if !self.charge.set(size) {
                    return Err(Fault::Memory { size }.into());
                }
                return Ok(());
            };
            if let Event::Open(_) = event {
                self.shared.open.store(true, Ordering::Relaxed);
            }
            let Some(told) = tell(event, self.charge.take()) else { continue };
            match owner.try_send(told) {
                Ok(()) => self.told = true,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(End::Shutdown),
                Err(mpsc::error::TrySendError::Full(told)) => {
                    self.held = Some(told);
                    self.unread = BytesMut::from(input);
                    return Ok(());
                }
            }
        }
    }

    fn session_output(&mut self) {
        if self.session.has_output() {
            let Self { session, outbox, .. } = self;
            outbox.edit(|tail| session.take_output(tail));
        }
    }

    fn take(&mut self, outgoing: Outgoing) {
        self.shared.queued.fetch_sub(outgoing.cost(), Ordering::Relaxed);
        let Self { session, outbox, .. } = self;
        match outgoing {
            Outgoing::Message(frames) => outbox.push(&frames),
            Outgoing::Subscription { wanted, prefix } => {
                outbox.edit(|tail| session.encode_subscription(wanted, &prefix, tail));
            }
        }
    }

    /// Moves what waits into the outbox, as far as it has room.
    fn fill(&mut self) {
        if self.outbox.has_room() {
            self.session_output();
        }
        while self.session.is_open() && self.outbox.has_room() {
            let Ok(outgoing) = self.queue.try_recv() else { return };
            self.take(outgoing);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            match self.stream.try_write(self.outbox.front()) {
                Ok(count) => {
                    self.outbox.written(count);
                    self.fill();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn flush_all(&mut self) -> io::Result<()> {
        loop {
            self.fill();
            self.flush()?;
            if self.outbox.is_empty() {
                return Ok(());
            }
            poll_fn(|context| self.stream.poll_write_ready(context)).await?;
        }
    }
}

/// Lets the owner, who was woken just now, answer first: what it sends is then written in the same
/// turn, without a round of registering for wake-ups and being woken. Unlike tokio's own yield this
/// does not look at the system in between.
fn give_way() -> impl Future<Output = ()> {
    let mut given = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

enum Woken {
    /// So much was read into the thread's scratch memory.
    Read(usize),
    Writable,
}

fn poll_stream(
    stream: &mut Stream,
    reading: bool,
    writing: bool,
    context: &mut Context<'_>,
) -> Poll<io::Result<Woken>> {
    if reading {
        let polled = SCRATCH.with_borrow_mut(|scratch| stream.poll_read(context, scratch));
        if polled.is_ready() {
            return polled.map_ok(Woken::Read);
        }
    }
    if writing { stream.poll_write_ready(context).map_ok(|()| Woken::Writable) } else { Poll::Pending }
}

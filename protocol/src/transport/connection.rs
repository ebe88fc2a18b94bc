//! One connection: moves bytes between a stream and a session, and values between the session and
//! its owner. Knows neither who accepted it nor what messages mean.
//!
//! While the owner has no room for what came, nothing more is read from this peer; writing goes on.

use core::time::Duration;
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

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
    linger: Duration,
    /// Read, but not understood yet, because the owner had no room.
    unread: BytesMut,
    /// Understood, but not delivered yet.
    held: Option<T>,
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
        Self {
            stream,
            session,
            queue,
            shared,
            outbox: Outbox::default(),
            charge: budget.charge(),
            started: Instant::now(),
            linger,
            unread: BytesMut::new(),
            held: None,
        }
    }

    /// Runs until the connection ends. `tell` turns events into what the owner receives.
    pub(super) async fn run(
        mut self,
        owner: &mpsc::Sender<T>,
        mut tell: impl FnMut(Event, Charge) -> Option<T>,
    ) -> End {
        let end = loop {
            if let Err(end) = self.turn(owner, &mut tell).await {
                break end;
            }
        };
        match end {
            End::Shutdown => {
                let _ = timeout(self.linger, self.flush_all()).await;
            }
            End::Fault(_) => {
                self.session_output();
                let _ = timeout(FAREWELL, self.flush_all()).await;
            }
            End::Closed | End::Kicked | End::Io(_) => {}
        }
        end
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
        self.fill();
        self.flush().map_err(End::Io)?;
        let reading = self.held.is_none() && self.unread.is_empty();
        let interest = match (reading, self.outbox.is_empty()) {
            (true, true) => Some(Interest::READABLE),
            (true, false) => Some(Interest::READABLE | Interest::WRITABLE),
            (false, false) => Some(Interest::WRITABLE),
            (false, true) => None,
        };
        let deadline = self.started + self.session.deadline().unwrap_or(NEVER);
        tokio::select! {
            biased;
            () = self.shared.kick.notified() => return Err(End::Kicked),
            () = owner.closed() => return Err(End::Shutdown),
            ready = self.stream.ready(interest.unwrap_or(Interest::READABLE)), if interest.is_some() => {
                if ready.map_err(End::Io)?.is_readable() && reading {
                    self.read(owner, tell)?;
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
            () = sleep_until(deadline) => self.session.tick(self.started.elapsed())?,
        }
        Ok(())
    }

    fn read(
        &mut self,
        owner: &mpsc::Sender<T>,
        tell: &mut impl FnMut(Event, Charge) -> Option<T>,
    ) -> Result<(), End> {
        SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
            Ok(0) => Err(End::Closed),
            Ok(count) => self.understand(scratch.get(..count).unwrap_or_default(), owner, tell),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(End::Io(error)),
        })
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
                Ok(()) => {}
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
            self.stream.ready(Interest::WRITABLE).await?;
        }
    }
}

//! How often managed sockets were found readable: the figure that circus calls reads.
//!
//! ```text
//!  Sockets ──copies of the descriptors, the latest only──► Reads ──look, look, look──► take
//! ```
//!
//! Whoever changes sockets takes the copies back first: a copy keeps an address taken. A look never
//! waits. It refuses to know names, addresses and how often to look.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::watch;

/// A copy of each socket, by its number in the daemon.
type Copies = Vec<(RawFd, OwnedFd)>;

/// The sockets' end.
#[derive(Debug)]
pub(super) struct Lender {
    copies: watch::Sender<Copies>,
}

impl Default for Lender {
    fn default() -> Self {
        Self { copies: watch::Sender::new(Copies::new()) }
    }
}

impl Lender {
    /// Lends copies of these, in place of those lent before.
    pub(super) fn lend<'a>(&self, sockets: impl Iterator<Item = (RawFd, &'a OwnedFd)>) {
        let copy = |(number, fd): (RawFd, &OwnedFd)| match fd.try_clone() {
            Ok(copy) => Some((number, copy)),
            Err(error) => {
                tracing::warn!("reads of the socket with descriptor {number} are not counted: {error}");
                None
            }
        };
        self.copies.send_replace(sockets.filter_map(copy).collect());
    }

    /// Takes all copies back; when this returns they are closed.
    pub(super) fn recall(&self) {
        drop(self.copies.send_replace(Copies::new()));
    }

    pub(super) fn borrower(&self) -> watch::Receiver<Copies> {
        self.copies.subscribe()
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        self.recall();
    }
}

/// Counts; one for each who publishes.
#[derive(Debug, Clone)]
pub struct Reads {
    copies: watch::Receiver<Copies>,
    counted: BTreeMap<RawFd, u64>,
}

impl Reads {
    pub(super) fn new(copies: watch::Receiver<Copies>) -> Self {
        Self { copies, counted: BTreeMap::new() }
    }

    /// Looks once at all of them. One that only keeps a place counts as readable, as for `select`.
    pub fn look(&mut self) {
        let copies = self.copies.borrow();
        let mut polled: Vec<PollFd<'_>> =
            copies.iter().map(|(_, fd)| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut polled, PollTimeout::ZERO).is_err() {
            return;
        }
        for ((number, _), polled) in copies.iter().zip(&polled) {
            if polled.any().unwrap_or_default() {
                *self.counted.entry(*number).or_default() += 1;
            }
        }
    }

    /// What was counted since the last time.
    pub fn take(&mut self) -> BTreeMap<RawFd, u64> {
        std::mem::take(&mut self.counted)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_pending_connection_counts_at_each_look() {
        let busy = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let calm = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let numbers = (busy.as_raw_fd(), calm.as_raw_fd());
        let lender = Lender::default();
        let mut reads = Reads::new(lender.borrower());
        lender.lend([(numbers.0, &busy), (numbers.1, &calm)].into_iter());
        reads.look();
        assert_eq!(reads.take(), BTreeMap::new());

        let listener = TcpListener::from(busy);
        let _pending = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (0..3).for_each(|_| reads.look());
        assert_eq!(reads.take(), BTreeMap::from([(numbers.0, 3)]));
        assert_eq!(reads.take(), BTreeMap::new());
    }

    #[test]
    fn what_is_recalled_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fd = OwnedFd::from(listener);
        let lender = Lender::default();
        let mut reads = Reads::new(lender.borrower());
        lender.lend(std::iter::once((fd.as_raw_fd(), &fd)));
        drop(fd);
        TcpListener::bind(address).unwrap_err();
        lender.recall();
        reads.look();
        TcpListener::bind(address).unwrap();
    }
}

//! Unix signals to the daemon, as inputs.
//!
//! TERM, INT and QUIT ask for the end, HUP for a reload; what a second or third one means, the arbiter
//! decides. WINCH is ignored by the kernel already; USR1 and USR2 keep their default and end the
//! daemon, as with stock.

use std::io;

use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::arbiter::input::{Input, Interrupt};

/// The handlers, installed; signals from now on are not lost.
#[derive(Debug)]
pub struct Interrupts {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// Install the handlers. Must be called within a runtime that has I/O.
    ///
    /// # Errors
    ///
    /// When the kernel or the runtime refuses a handler.
    pub fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Pass signals on until the daemon's loop is gone. Signals wait for room.
    pub async fn pass_on(mut self, inputs: mpsc::Sender<Input>) {
        loop {
            let (name, interrupt) = select! {
                _ = self.terminate.recv() => ("TERM", Interrupt::Stop),
                _ = self.interrupt.recv() => ("INT", Interrupt::Stop),
                _ = self.quit.recv() => ("QUIT", Interrupt::Stop),
                _ = self.hangup.recv() => ("HUP", Interrupt::Reload),
            };
            tracing::info!("Got signal SIG_{name}");
            if inputs.send(Input::Interrupted(interrupt)).await.is_err() {
                return;
            }
        }
    }
}

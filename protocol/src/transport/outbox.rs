//! What one connection is about to write: many small messages become one write, large frames are
//! not copied. Knows frames' form, but no socket.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::zmtp::frame;

/// Above this, nothing more is taken from the queue until some of it is written.
const ENOUGH: usize = 64 * 1024;
/// Frames of this size are written from where they are instead of being copied.
const LARGE: usize = 16 * 1024;
/// What an idle connection may keep for its next write.
const KEPT: usize = 2 * 1024;

/// Bytes in the order in which they are to be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Bytes>,
    tail: BytesMut,
    waiting: usize,
}

impl Outbox {
    /// Where small things are written to.
    pub(super) fn edit(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.tail.len();
        write(&mut self.tail);
        self.waiting += self.tail.len() - before;
    }

    pub(super) fn push(&mut self, frames: &Arc<[Bytes]>) {
        let last = frames.len().saturating_sub(1);
        for (at, frame) in frames.iter().enumerate() {
            let large = frame.len() >= LARGE;
            self.edit(|tail| {
                frame::encode_header(frame.len(), at < last, tail);
                if !large {
                    tail.put_slice(frame);
                }
            });
            if large {
                self.chunks.push_back(self.tail.split().freeze());
                self.chunks.push_back(frame.clone());
                self.waiting += frame.len();
            }
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting < ENOUGH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The next bytes to write.
    pub(super) fn front(&self) -> &[u8] {
        self.chunks.front().map_or(&self.tail, |chunk| chunk)
    }

    /// So many of [`Outbox::front`] are written.
    pub(super) fn written(&mut self, count: usize) {
        self.waiting -= count;
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.advance(count);
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        } else {
            self.tail.advance(count);
        }
        if self.waiting == 0 {
            self.rest();
        }
    }

    fn rest(&mut self) {
        if self.chunks.capacity() > 0 {
            self.chunks = VecDeque::new();
        }
        self.tail.clear();
        // Reclaims what was advanced over, or lets go of what a busy time needed.
        if !self.tail.try_reclaim(KEPT / 2) || self.tail.capacity() > KEPT {
            self.tail = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_out_in_order_and_nothing_is_kept() {
        let frames: Arc<[Bytes]> = vec![Bytes::from(vec![1; LARGE]), Bytes::from(vec![2; 100])].into();
        let mut outbox = Outbox::default();
        outbox.edit(|tail| tail.put_slice(b"start"));
        outbox.push(&frames);
        outbox.push(&frames);
        let mut plain = BytesMut::new();
        plain.put_slice(b"start");
        for _ in 0..2 {
            frame::encode_header(LARGE, true, &mut plain);
            plain.put_slice(&frames[0]);
            frame::encode_header(100, false, &mut plain);
            plain.put_slice(&frames[1]);
        }
        let mut got = Vec::new();
        while !outbox.is_empty() {
            let take = outbox.front().len().min(777);
            got.extend_from_slice(&outbox.front()[..take]);
            outbox.written(take);
        }
        assert!(got == plain[..]);
        assert!(outbox.tail.capacity() <= KEPT && outbox.chunks.capacity() == 0);
    }
}

//! The writing half. Whoever has something to send writes it at once if nobody else is writing; else whoever is
//! writing takes it along (one vectored write for all that waits). What the socket does not take, the driver finishes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// So many parts go into one vectored write.
const MAX_PARTS: usize = 64;

/// A part of a request.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    /// Whether a request begins here.
    pub(super) first: bool,
}

/// The socket, and what was taken to be written.
pub(super) struct Sink {
    io: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    batch: VecDeque<Chunk>,
    dirty: bool,
    /// The socket took no more: only the driver goes on, because the socket wakes one task only.
    pub(super) blocked: bool,
    /// So many requests have begun to be written.
    pub(super) started: u64,
}

impl Sink {
    pub(super) fn new(io: Box<dyn AsyncWrite + Send + Unpin>) -> Self {
        Self { io: Some(io), batch: VecDeque::new(), dirty: false, blocked: false, started: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Swaps in what waits; only when [`is_empty`](Self::is_empty).
    pub(super) fn take(&mut self, waiting: &mut VecDeque<Chunk>) {
        std::mem::swap(&mut self.batch, waiting);
    }

    /// Writes the batch. Ready when the socket has all of it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(io) = self.io.as_mut() else {
            self.batch.clear();
            return Poll::Ready(Ok(()));
        };
        while !self.batch.is_empty() {
            let mut parts = [IoSlice::new(&[]); MAX_PARTS];
            let count = self.batch.len().min(MAX_PARTS);
            for (part, chunk) in parts.iter_mut().zip(&self.batch) {
                *part = IoSlice::new(&chunk.bytes);
            }
            self.dirty = true;
            let written = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &parts[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            advance(&mut self.batch, &mut self.started, written);
        }
        if self.dirty {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.dirty = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing is written any more. Returns how many requests had begun.
    pub(super) fn close(&mut self) -> u64 {
        self.io = None;
        self.batch.clear();
        self.started
    }
}

fn advance(batch: &mut VecDeque<Chunk>, started: &mut u64, mut written: usize) {
    while let Some(chunk) = batch.front_mut() {
        if written == 0 && !chunk.bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut chunk.first) {
            *started += 1;
        }
        if written < chunk.bytes.len() {
            chunk.bytes.advance(written);
            return;
        }
        written -= chunk.bytes.len();
        batch.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lens: &[(usize, bool)]) -> VecDeque<Chunk> {
        lens.iter().map(|&(n, first)| Chunk { bytes: vec![0; n].into(), first }).collect()
    }

    #[test]
    fn a_request_counts_as_begun_with_its_first_byte() {
        let (mut queue, mut started) = (batch(&[(10, true), (5, false), (10, true)]), 0);
        advance(&mut queue, &mut started, 1);
        assert_eq!((started, queue.len()), (1, 3));
        advance(&mut queue, &mut started, 14);
        assert_eq!((started, queue.len()), (1, 1));
        advance(&mut queue, &mut started, 3);
        assert_eq!((started, queue[0].bytes.len()), (2, 7));
    }

    #[test]
    fn empty_parts_do_not_stop_the_batch() {
        let (mut queue, mut started) = (batch(&[(3, true), (0, false), (0, false)]), 0);
        advance(&mut queue, &mut started, 3);
        assert!(queue.is_empty());
    }
}

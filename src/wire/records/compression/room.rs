//! Where decompressed bytes go: memory that grows with what has been decoded, never beyond the limit, and is used again:
//! little of it by the thread, from which it is copied, much of it by the client, to which it comes back. While it grows
//! there is what it was before as well, so that codecs ask for what they expect at first. All of it is initialised, since
//! decoders without `unsafe` write to nothing else; used again, it need not be cleared.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use super::super::Limits;
use crate::wire::buffers::{Buffers, LARGE};

thread_local! {
    /// For less than `LARGE`.
    static LITTLE: Cell<BytesMut> = Cell::default();
}

pub(super) struct Room<'a> {
    buffers: &'a Buffers,
    limit: usize,
    /// May be more than the limit allows to be used.
    memory: BytesMut,
    filled: usize,
}

impl<'a> Room<'a> {
    pub(super) fn new(limits: &'a Limits) -> Self {
        Self { buffers: &limits.buffers, limit: limits.max_decompressed, memory: BytesMut::new(), filled: 0 }
    }

    /// The most bytes that may come to be here.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many bytes are here.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// How many more may come.
    pub(super) fn left(&self) -> usize {
        self.limit - self.filled
    }

    /// How many more there is memory for.
    pub(super) fn free(&self) -> usize {
        self.memory.len().min(self.limit) - self.filled
    }

    /// What is here, and memory for what comes next.
    pub(super) fn parts(&mut self) -> (&[u8], &mut [u8]) {
        let end = self.memory.len().min(self.limit);
        let (filled, free) = self.memory[..end].split_at_mut(self.filled);
        (filled, free)
    }

    /// So many bytes of the free memory were written to.
    pub(super) fn fill(&mut self, count: usize) {
        debug_assert!(count <= self.free());
        self.filled += count;
    }

    /// Makes memory for `more` bytes, which [`left`](Self::left) must allow, or for as many again as are here.
    pub(super) fn reserve(&mut self, more: usize) {
        debug_assert!(more <= self.left());
        if more > self.free() {
            let more = more.max(self.filled.min(self.left()));
            self.replace(self.filled + more);
        }
    }

    /// What was decompressed. In memory of less than twice its size, for that is accounted for by what is in it.
    pub(super) fn finish(mut self) -> Bytes {
        if self.filled < LARGE {
            let out = Bytes::copy_from_slice(&self.memory[..self.filled]);
            give_back(self.memory, self.buffers);
            return out;
        }
        if self.filled <= self.memory.len() / 2 {
            self.replace(self.filled);
        }
        self.buffers.lend_first(self.filled, self.memory)
    }

    /// Moves to memory of another size.
    fn replace(&mut self, size: usize) {
        let mut memory = match LITTLE.take() {
            little if size < LARGE && little.len() >= size => little,
            little => {
                LITTLE.set(little);
                self.buffers.room(size, self.limit)
            }
        };
        memory[..self.filled].copy_from_slice(&self.memory[..self.filled]);
        give_back(std::mem::replace(&mut self.memory, memory), self.buffers);
    }
}

fn give_back(memory: BytesMut, buffers: &Buffers) {
    match memory.len() {
        0 => {}
        1..LARGE => LITTLE.set(memory),
        _ => buffers.give_back(memory),
    }
}

//! Where decompressed bytes go: memory that is used again where there is much of it, and grows with what has been decoded,
//! never beyond the limit. While it grows there is what it was before as well, so that codecs ask for what they expect at
//! first. All of it is initialised, since decoders without `unsafe` write to nothing else; used again, it need not be
//! cleared.

use bytes::{Bytes, BytesMut};

use super::super::Limits;
use crate::wire::buffers::{Buffers, LARGE};

pub(super) struct Room<'a> {
    buffers: &'a Buffers,
    limit: usize,
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
        self.memory.len() - self.filled
    }

    /// What is here, and memory for what comes next.
    pub(super) fn parts(&mut self) -> (&[u8], &mut [u8]) {
        let (filled, free) = self.memory.split_at_mut(self.filled);
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
            self.replace(more);
        }
    }

    /// What was decompressed. In memory of less than twice its size, for that is accounted for by what is in it.
    pub(super) fn finish(mut self) -> Bytes {
        if self.filled <= self.memory.len() / 2 {
            self.replace(0);
        }
        if self.memory.len() < LARGE {
            self.memory.truncate(self.filled);
            return self.memory.freeze();
        }
        self.buffers.lend_first(self.filled, self.memory)
    }

    /// Moves to memory for `more` bytes than are here.
    fn replace(&mut self, more: usize) {
        let mut memory = self.buffers.room(self.filled + more, self.limit);
        memory[..self.filled].copy_from_slice(&self.memory[..self.filled]);
        self.buffers.give_back(std::mem::replace(&mut self.memory, memory));
    }
}

//! One partition's log, in memory: what a broker keeps of records, leader epochs, producers and transactions. Owned by
//! its partition and called under the cluster's lock; no clock, no I/O. Offsets are those of Kafka: `start` is the first
//! that is still there, `end` the next to be given, and between high watermark and end lies what is not replicated yet.

mod append;
mod batch;
mod compact;
mod epochs;
mod producers;
mod read;
mod rejected;
mod shrink;
#[cfg(test)]
mod tests;
mod transactions;

use std::collections::VecDeque;

use bytes::BytesMut;

pub(super) use append::{Appended, Rules, Stamp};
pub(super) use batch::Stored;
use epochs::Epochs;
use producers::Producers;
pub(super) use rejected::Rejected;
pub(super) use transactions::Aborted;
use transactions::Transactions;

/// Batches are copied into blocks of up to this size, so that a stored batch does not keep its request alive.
pub(super) const BLOCK: usize = 1 << 20;
/// A log's first block.
const FIRST_BLOCK: usize = 4 << 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Log {
    batches: VecDeque<Stored>,
    start: i64,
    end: i64,
    high_watermark: i64,
    epochs: Epochs,
    producers: Producers,
    transactions: Transactions,
    /// Bytes of all batches.
    bytes: usize,
    /// Batches have gone or were rewritten since someone last asked.
    shortened: bool,
    block: BytesMut,
}

impl Log {
    /// An empty log whose first record gets this offset.
    pub(super) fn starting_at(start: i64) -> Self {
        Self { start, end: start, high_watermark: start, ..Self::default() }
    }

    /// The log ended at least at `end`, though its last batches are gone.
    pub(super) fn skip_to(&mut self, end: i64) {
        self.end = self.end.max(end);
        self.high_watermark = self.end;
    }

    /// Whether batches have gone or were rewritten since the last call: a copy of them must follow.
    pub(super) fn take_shortened(&mut self) -> bool {
        std::mem::take(&mut self.shortened)
    }

    /// The first offset that is still there.
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    /// The offset that the next record gets.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// Up to here all in-sync replicas have the log; consumers see no further.
    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// Up to here every transaction is decided: the first offset of the oldest open one, else the high watermark.
    pub(super) fn last_stable(&self) -> i64 {
        self.transactions.first_open().map_or(self.high_watermark, |open| open.min(self.high_watermark))
    }

    /// Bytes of all batches.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All batches, in order.
    pub(super) fn batches(&self) -> impl Iterator<Item = &Stored> {
        self.batches.iter()
    }

    /// The replicas have caught up.
    pub(super) fn replicate(&mut self) {
        self.high_watermark = self.end;
    }

    /// A leader of this epoch takes over.
    pub(super) fn lead(&mut self, epoch: i32) {
        self.epochs.begin(epoch, self.end);
    }

    /// Where `epoch` ended, as OffsetForLeaderEpoch has it: the largest epoch not above it and that one's end; (−1, −1)
    /// if nothing is known.
    pub(super) fn epoch_end(&self, epoch: i32) -> (i32, i64) {
        self.epochs.end_of(epoch, self.end)
    }

    /// The epoch under which `offset` was, or would be, written.
    pub(super) fn epoch_at(&self, offset: i64) -> i32 {
        self.epochs.at(offset)
    }

    /// The newest epoch there is an entry for.
    pub(super) fn latest_epoch(&self) -> i32 {
        self.epochs.latest()
    }

    /// Producers that have something in the log, for DescribeProducers.
    pub(super) fn active_producers(&self) -> impl Iterator<Item = producers::Active> + '_ {
        self.producers.active(&self.transactions)
    }
}

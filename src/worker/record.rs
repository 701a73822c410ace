//! What a handler is given: one record, borrowed from its fetched batch, and where it came from.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::cancel::Cancel;
use crate::client::fetch::FetchedBatch;
use crate::client::types::{AssignmentEpoch, TopicPartition};
use crate::env::lock;
use crate::wire::records::{Batch, Cursor, HeaderIter, RecordView};

/// What the worker needs of a fetched batch. The fetcher's type implements it, and tests' own do.
pub(crate) trait Block: Send + Sync + 'static {
    /// The opened batch.
    fn batch(&self) -> &Batch;
    /// Before the first record that was asked for.
    fn start(&self) -> Cursor;
    /// Records from `start` on.
    fn count(&self) -> u32;
    /// All of them have been handed out.
    fn read(&self) {}
}

impl Block for FetchedBatch {
    fn batch(&self) -> &Batch {
        &self.batch
    }

    fn start(&self) -> Cursor {
        self.start
    }

    fn count(&self) -> u32 {
        self.count
    }

    fn read(&self) {
        self.lease.read();
    }
}

/// What a partition of a retry topic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delayed {
    /// How many retry topics its records have come to, this one included.
    pub(crate) stage: u32,
    /// They are handled so long after their timestamps.
    pub(crate) by: Duration,
}

/// One assignment of one partition, as its records see it.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) tp: TopicPartition,
    pub(crate) epoch: AssignmentEpoch,
    /// Raised on revocation and stop.
    pub(crate) cancel: Cancel,
    /// Until when what is under way is waited for then.
    drained_by: OnceLock<Instant>,
    /// Offsets whose handlers failed and that go to another topic.
    passing: Mutex<BTreeSet<i64>>,
    /// The number of its topic among the subscription's.
    pub(crate) route: usize,
    /// Of a retry topic.
    pub(crate) delayed: Option<Delayed>,
    /// No further record of it may start.
    closed: AtomicBool,
}

impl Assignment {
    #[cfg(test)]
    pub(crate) fn new(tp: TopicPartition, epoch: AssignmentEpoch) -> Arc<Self> {
        Self::of(tp, epoch, 0, None)
    }

    pub(crate) fn of(tp: TopicPartition, epoch: AssignmentEpoch, route: usize, delayed: Option<Delayed>) -> Arc<Self> {
        let (cancel, drained_by, passing, closed) = Default::default();
        Arc::new(Self { tp, epoch, cancel, drained_by, passing, route, delayed, closed })
    }

    /// It ends: its handlers are told, and what is under way is waited for until `limit`.
    pub(super) fn end(&self, limit: Instant) {
        self.drained_by.get_or_init(|| limit);
        self.cancel.raise();
    }

    /// Until when what is under way is waited for, once it [ends](Self::end).
    pub(super) fn drained_by(&self) -> Option<Instant> {
        self.drained_by.get().copied()
    }

    /// A record is on its way to another topic now, or no longer.
    pub(super) fn set_passing(&self, offset: i64, passing: bool) {
        let mut all = lock(&self.passing);
        if passing {
            all.insert(offset)
        } else {
            all.remove(&offset)
        };
    }

    pub(super) fn is_passing(&self, offset: i64) -> bool {
        lock(&self.passing).contains(&offset)
    }

    /// Stops records that were taken but not started.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A batch and its assignment: one reference count for both. Made per chunk of records, so that lanes do not fight
/// over one counter.
#[derive(Debug)]
pub(crate) struct Origin<B> {
    pub(crate) block: Arc<B>,
    pub(crate) assignment: Arc<Assignment>,
}

/// One record in a handler's hands. Keeping it keeps its whole batch in memory, and the fetch budget it occupies.
#[derive(Debug)]
pub(crate) struct Record<B> {
    origin: Arc<Origin<B>>,
    view: RecordView,
    attempt: u32,
}

impl<B> Clone for Record<B> {
    fn clone(&self) -> Self {
        Self { origin: self.origin.clone(), view: self.view.clone(), attempt: self.attempt }
    }
}

impl Record<FetchedBatch> {
    /// The records of a batch that was read without a group. Bytes that are no records end them.
    pub(crate) fn all_of(batch: &Arc<FetchedBatch>) -> Vec<Self> {
        let assignment = Assignment::of((*batch.tp).clone(), batch.epoch, 0, None);
        let origin = Arc::new(Origin { block: batch.clone(), assignment });
        let mut at = batch.start();
        batch.lease.read();
        let next = || batch.batch.next(&mut at).ok().flatten();
        std::iter::from_fn(next).map(|view| Self::new(origin.clone(), view, 1)).collect()
    }
}

impl<B: Block> Record<B> {
    pub(crate) fn new(origin: Arc<Origin<B>>, view: RecordView, attempt: u32) -> Self {
        Self { origin, view, attempt }
    }

    pub(crate) fn topic_partition(&self) -> &TopicPartition {
        &self.origin.assignment.tp
    }

    /// The number of its topic among the subscription's.
    pub(crate) fn route(&self) -> usize {
        self.origin.assignment.route
    }

    pub(crate) fn offset(&self) -> i64 {
        self.view.offset
    }

    /// Milliseconds since 1970.
    pub(crate) fn timestamp(&self) -> i64 {
        self.view.timestamp
    }

    /// From 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The same one, for its next attempt.
    pub(crate) fn again(&self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), ..self.clone() }
    }

    /// Counts on from attempts made elsewhere.
    pub(super) fn after(self, attempts: u32) -> Self {
        Self { attempt: attempts.saturating_add(1), ..self }
    }

    /// How many retry topics it has come to.
    pub(crate) fn stage(&self) -> u32 {
        self.origin.assignment.delayed.map_or(0, |delayed| delayed.stage)
    }

    pub(super) fn origin(&self) -> &Arc<Origin<B>> {
        &self.origin
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.view.key.clone().map(|r| self.origin.block.batch().bytes_of(r))
    }

    /// `None` for a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.view.value.clone().map(|r| self.origin.block.batch().bytes_of(r))
    }

    /// The value sharing the batch's buffer.
    pub(crate) fn value_bytes(&self) -> Option<Bytes> {
        let range = self.view.value.clone()?;
        Some(self.origin.block.batch().data().slice(range.start as usize..range.end as usize))
    }

    pub(crate) fn has_headers(&self) -> bool {
        self.view.headers_count > 0
    }

    /// In their order, repeated names and all.
    pub(crate) fn headers(&self) -> HeaderIter<'_> {
        self.origin.block.batch().headers(&self.view)
    }

    /// Raised when the partition is being taken away or the subscription stops.
    pub(crate) fn cancelled(&self) -> &Cancel {
        &self.origin.assignment.cancel
    }
}

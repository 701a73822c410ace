//! What shortens a log: deletion up to an offset, retention by time and size at the front; loss of what was not
//! replicated at the end.

use super::{Log, Stored, Transactions};

impl Log {
    /// Everything below `offset` is gone. Batches go whole, as segments do in Kafka; the offset counts all the same.
    pub(in crate::embedded) fn delete_before(&mut self, offset: i64) {
        let start = offset.clamp(self.start, self.end);
        while self.batches.front().is_some_and(|b| b.header.next_offset() <= start) {
            self.pop_front();
        }
        self.begin_at(start);
    }

    fn pop_front(&mut self) -> Option<Stored> {
        let batch = self.batches.pop_front()?;
        self.bytes -= batch.bytes.len();
        self.shortened = true;
        Some(batch)
    }

    fn begin_at(&mut self, start: i64) {
        self.start = start;
        self.high_watermark = self.high_watermark.max(start);
        self.epochs.shrink(start);
        self.transactions.shrink(start);
    }

    /// Retention: batches whose youngest record is older than `oldest_ms`, and the oldest ones while the log has more
    /// than `max_bytes`. Nothing that is not replicated, or belongs to an open transaction, goes.
    pub(in crate::embedded) fn retain(&mut self, oldest_ms: i64, max_bytes: usize) {
        let keep_from = self.last_stable();
        let mut start = self.start;
        while let Some(batch) = self.batches.front() {
            // Records without a time are as old as their batch.
            let youngest = batch.header.max_timestamp;
            let too_old = if youngest < 0 { batch.written_ms } else { youngest } < oldest_ms;
            if batch.header.next_offset() > keep_from || (!too_old && self.bytes <= max_bytes) {
                break;
            }
            start = batch.header.next_offset();
            self.pop_front();
        }
        if start > self.start {
            self.begin_at(start);
        }
    }

    /// Producers that have written nothing since `ms` are forgotten.
    pub(in crate::embedded) fn forget_producers_before(&mut self, ms: i64) {
        self.producers.forget_before(ms);
    }

    /// The leader died before anyone copied what lies behind the high watermark: it is lost.
    pub(in crate::embedded) fn truncate_to_high_watermark(&mut self) {
        let end = self.high_watermark;
        let kept: Vec<Stored> = self.batches.drain(..).take_while(|b| b.header.next_offset() <= end).collect();
        self.end = end;
        self.epochs.truncate(end);
        self.rebuild(kept);
    }

    /// The same log of other batches, from which transactions are learned anew. What is known of producers stays, as far
    /// as the log reaches: their batches may be deleted or compacted long before a retry must be recognised.
    pub(super) fn rebuild(&mut self, batches: Vec<Stored>) {
        let (end, epochs) = (self.end, std::mem::take(&mut self.epochs));
        self.bytes = 0;
        self.shortened = true;
        self.transactions = Transactions::default();
        let mut producers = std::mem::take(&mut self.producers);
        batches.into_iter().for_each(|batch| self.take(batch));
        producers.truncate(end);
        self.producers = producers;
        self.end = end;
        self.epochs = epochs;
    }
}

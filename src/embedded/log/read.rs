//! Reading: batches from an offset on, and offsets by time.

use bytes::Bytes;

use super::{Aborted, Log};

impl Log {
    /// Batches from `offset` on, as they lie in the log: the first may begin before it, none begins at `to` or later. At
    /// most `max_bytes`, the last batch cut where they end. The first is never cut: with `whole_first` it comes whole
    /// however large it is, without not at all.
    pub(in crate::embedded) fn read(&self, offset: i64, to: i64, max_bytes: usize, whole_first: bool) -> Vec<Bytes> {
        let first = self.batches.partition_point(|b| b.header.next_offset() <= offset);
        let mut left = max_bytes;
        let mut out = Vec::new();
        for batch in self.batches.range(first..) {
            if batch.header.base_offset >= to || (left == 0 && !(whole_first && out.is_empty())) {
                break;
            }
            if batch.bytes.len() <= left || (whole_first && out.is_empty()) {
                out.push(batch.bytes.clone());
                left = left.saturating_sub(batch.bytes.len());
            } else {
                if !out.is_empty() {
                    out.push(batch.bytes.slice(..left));
                }
                break;
            }
        }
        out
    }

    /// How many bytes [`read`](Self::read) could give, counted up to about `enough`.
    pub(in crate::embedded) fn readable(&self, offset: i64, to: i64, enough: usize) -> usize {
        let first = self.batches.partition_point(|b| b.header.next_offset() <= offset);
        let mut sum = 0;
        for batch in self.batches.range(first..).take_while(|b| b.header.base_offset < to) {
            sum += batch.bytes.len();
            if sum >= enough {
                break;
            }
        }
        sum
    }

    /// Transactions that were aborted and have records in `from..to`.
    pub(in crate::embedded) fn aborted_in(&self, from: i64, to: i64) -> impl Iterator<Item = &Aborted> {
        self.transactions.aborted_in(from, to)
    }

    /// Offset and time of the first record that is at least as young as `timestamp`.
    pub(in crate::embedded) fn at_time(&self, timestamp: i64) -> Option<(i64, i64)> {
        for stored in self.batches.iter().filter(|b| b.header.max_timestamp >= timestamp) {
            let Ok(batch) = stored.open() else { continue };
            let mut at = Default::default();
            while let Ok(Some(record)) = batch.next(&mut at) {
                if record.timestamp >= timestamp && record.offset >= self.start {
                    return Some((record.offset, record.timestamp));
                }
            }
        }
        None
    }

    /// Offset and time of the youngest record: the first of those, if several are as young.
    pub(in crate::embedded) fn youngest(&self) -> Option<(i64, i64)> {
        let max = self.batches.iter().filter(|b| b.header.records_count > 0).map(|b| b.header.max_timestamp).max()?;
        self.at_time(max)
    }
}

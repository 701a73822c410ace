//! From a partition's `records` field to its data batches, in two steps: [`scan`] walks the headers, so that the next
//! Fetch can leave at once, and [`open`] checks and decompresses what is kept. Pure functions, called by the source.
//! Every batch's CRC is verified, also of those that are dropped: a flipped bit must not make data look aborted.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::delivery::OnBadBatch;
use crate::wire::messages::fetch::AbortedTransaction;
use crate::wire::records::{Batch, ControlType, Cursor, Limits, RawBatch, RecordsError, batches};

/// Hides the batches of aborted transactions. The broker lists them per partition; each ends at its abort marker.
#[derive(Debug)]
pub(crate) struct AbortedFilter {
    /// Transactions not reached yet, the nearest last.
    ahead: Vec<AbortedTransaction>,
    /// Producers whose transaction, open here, was aborted.
    open: BTreeSet<i64>,
}

impl AbortedFilter {
    pub(crate) fn new(mut listed: Vec<AbortedTransaction>) -> Self {
        listed.sort_by_key(|t| std::cmp::Reverse(t.first_offset));
        Self { ahead: listed, open: BTreeSet::new() }
    }

    /// Whether a data batch belongs to an aborted transaction. Batches come in offset order.
    fn hides(&mut self, batch: &RawBatch) -> bool {
        while let Some(next) = self.ahead.pop_if(|t| t.first_offset < batch.next_offset()) {
            self.open.insert(next.producer_id);
        }
        batch.is_transactional() && self.open.contains(&batch.header().producer_id)
    }

    fn on_abort_marker(&mut self, producer_id: i64) {
        self.open.remove(&producer_id);
    }
}

/// A batch that cannot be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BadBatch {
    /// Its first offset, or the one asked for if it begins before that.
    pub(crate) offset: i64,
    pub(crate) error: RecordsError,
}

/// What a `records` field holds for a reader that asked for an offset.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Whole data batches to open, in order.
    pub(crate) kept: Vec<RawBatch>,
    /// The offset behind everything that was whole, data or not.
    pub(crate) next_offset: i64,
    /// Leader epoch of the last whole batch; −1 if there is none.
    pub(crate) leader_epoch: i32,
    /// Bytes of a batch that was cut off although nothing whole came before it: the size limit is too small.
    pub(crate) starved: bool,
    /// Passed over.
    pub(crate) skipped: Vec<BadBatch>,
    /// The partition cannot go on.
    pub(crate) bad: Option<BadBatch>,
}

/// Walks the batches from offset `from` on. `aborted` is `None` under read_uncommitted.
pub(crate) fn scan(records: Bytes, from: i64, mut aborted: Option<AbortedFilter>, on_bad: OnBadBatch) -> Scan {
    let mut scan = Scan { next_offset: from, leader_epoch: -1, ..Scan::default() };
    let total = records.len();
    let mut batches = batches(records.clone());
    let mut at = 0;
    while let Some(item) = batches.next() {
        let (error, behind) = match item {
            Ok(batch) => {
                at = total - batches.remaining();
                let behind = batch.next_offset();
                let epoch = batch.header().partition_leader_epoch;
                // Before the asked offset, or a second time: not for this reader.
                let again = behind <= scan.next_offset;
                let kept = if again { verify(batch).map(|()| None) } else { keep(batch, aborted.as_mut()) };
                match kept {
                    Ok(kept) => {
                        scan.kept.extend(kept);
                        if !again {
                            (scan.next_offset, scan.leader_epoch) = (behind, epoch);
                        }
                        continue;
                    }
                    Err((offset, error)) => ((offset, error), Some(behind)),
                }
            }
            Err(error) => {
                let base = base_offset(&records[at..]).unwrap_or(from);
                // Of an old format at least the offset is known: that of the last message in it (KIP-98).
                let behind = matches!(error, RecordsError::UnknownMagic(_)).then(|| base.saturating_add(1));
                ((base, error), behind)
            }
        };
        let bad = BadBatch { offset: error.0.max(scan.next_offset), error: error.1 };
        match behind.filter(|_| on_bad == OnBadBatch::Skip) {
            Some(behind) => {
                scan.next_offset = behind.max(scan.next_offset);
                scan.skipped.push(bad);
            }
            None => {
                scan.bad = Some(bad);
                return scan;
            }
        }
    }
    scan.starved = at == 0 && total > 0 && scan.skipped.is_empty();
    scan
}

/// The batch if it is data of a transaction that was not aborted.
fn keep(batch: RawBatch, aborted: Option<&mut AbortedFilter>) -> Result<Option<RawBatch>, (i64, RecordsError)> {
    let header = *batch.header();
    if batch.is_control() {
        let marker = batch.control_type();
        if marker.is_none() {
            verify(batch)?;
        }
        if let (Some(ControlType::Abort), Some(aborted)) = (marker, aborted) {
            aborted.on_abort_marker(header.producer_id);
        }
        return Ok(None);
    }
    if aborted.is_some_and(|a| a.hides(&batch)) || header.records_count == 0 {
        return verify(batch).map(|()| None);
    }
    Ok(Some(batch))
}

/// Checks the CRC of a batch that is not opened: nobody reads its records, so that they are not decompressed either.
fn verify(batch: RawBatch) -> Result<(), (i64, RecordsError)> {
    batch.check_crc().map_err(|error| (batch.header().base_offset, error))
}

fn base_offset(batch: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(*batch.first_chunk()?)).filter(|&o| o >= 0)
}

/// A data batch in memory and the part of it that was asked for.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) batch: Batch,
    pub(crate) start: Cursor,
    pub(crate) count: u32,
}

/// Checks and decompresses a kept batch; `None` if compaction left nothing of it at `from` or later.
pub(crate) fn open(raw: RawBatch, from: i64, limits: &Limits) -> Result<Option<Opened>, BadBatch> {
    let base = raw.header().base_offset;
    let open = |raw: RawBatch| {
        let batch = raw.open(limits)?;
        let start = batch.seek(from)?;
        let count = batch.records_count().saturating_sub(start.index);
        Ok((count > 0).then_some(Opened { batch, start, count }))
    };
    open(raw).map_err(|error| BadBatch { offset: base.max(from), error })
}

#[cfg(test)]
mod tests;

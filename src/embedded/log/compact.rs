//! Compaction (`cleanup.policy=compact`): of each key only the last record stays, at its offset. What is left are batches
//! with gaps, batches without records, and markers: what consumers must be able to live with.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::{Log, Stored, batch};
use crate::wire::records::{BatchHeader, Cursor, RecordsError};

impl Log {
    /// Compacts everything below the last stable offset. Tombstones older than `tombstones_before_ms` go as well. A batch
    /// that cannot be read stays as it is.
    pub(in crate::embedded) fn compact(&mut self, tombstones_before_ms: i64) {
        let upto = self.last_stable();
        let (old, new): (Vec<_>, Vec<_>) = self.batches.drain(..).partition(|b| b.header.next_offset() <= upto);
        let aborted: Vec<bool> = old.iter().map(|b| self.is_aborted(b)).collect();
        let mut last: BTreeMap<Bytes, i64> = BTreeMap::new();
        for (stored, _) in old.iter().zip(&aborted).filter(|(b, aborted)| !b.header.is_control() && !**aborted) {
            let _unreadable = each_record(stored, |key, offset, _| {
                last.insert(Bytes::copy_from_slice(key), offset);
                true
            });
        }
        let mut kept = Vec::with_capacity(old.len() + new.len());
        for (stored, aborted) in old.into_iter().zip(aborted) {
            if stored.header.is_control() {
                kept.push(stored);
                continue;
            }
            let survivors = each_record(&stored, |key, offset, tombstone_ms| {
                let expired = tombstone_ms.is_some_and(|ms| ms < tombstones_before_ms);
                !aborted && !expired && last.get(key) == Some(&offset)
            });
            match survivors {
                Ok(ranges) if ranges.len() == stored.header.records_count as usize => kept.push(stored),
                Ok(ranges) => kept.extend(thinned(&stored, &ranges)),
                Err(_) => kept.push(stored),
            }
        }
        kept.extend(new);
        let open = std::mem::take(&mut self.transactions);
        self.rebuild(kept);
        self.transactions = open;
    }

    fn is_aborted(&self, stored: &Stored) -> bool {
        let (from, to) = (stored.header.base_offset, stored.header.next_offset());
        stored.header.is_transactional()
            && self.aborted_in(from, to).any(|a| a.producer_id == stored.header.producer_id)
    }
}

/// Calls `keep` with key, offset and, for a tombstone, its time; gives the encoded records it wants kept.
fn each_record(
    stored: &Stored,
    mut keep: impl FnMut(&[u8], i64, Option<i64>) -> bool,
) -> Result<Vec<Bytes>, RecordsError> {
    let batch = stored.open()?;
    let (mut at, mut kept) = (Cursor::default(), Vec::new());
    loop {
        let from = at.pos as usize;
        let Some(record) = batch.next(&mut at)? else { return Ok(kept) };
        let tombstone = record.value.is_none().then_some(record.timestamp);
        let key = record.key.map(|range| batch.bytes_of(range)).unwrap_or_default();
        if keep(key, record.offset, tombstone) {
            kept.push(batch.data().slice(from..at.pos as usize));
        }
    }
}

/// The batch with these records only, uncompressed; its offsets stay. Without any it goes, unless it holds the sequence of
/// an idempotent producer: then an empty batch stays, as Kafka keeps it.
fn thinned(stored: &Stored, records: &[Bytes]) -> Option<Stored> {
    if records.is_empty() && stored.header.producer_id < 0 {
        return None;
    }
    let body = records.concat();
    let mut header: BatchHeader = stored.header.with_records(records.len() as i32, body.len())?;
    header.crc = batch::checksum(&header, &body);
    let bytes = batch::store(&mut BytesMut::new(), 0, &header, &body);
    Some(Stored { header, bytes, written_ms: stored.written_ms })
}

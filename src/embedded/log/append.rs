//! Writing: what a leader checks before it takes a batch, and what it changes in it.

use std::ops::RangeInclusive;

use bytes::Bytes;

use super::producers::Verdict;
use super::rejected::Rejected;
use super::{BLOCK, FIRST_BLOCK, Log, Stored, batch};
use crate::wire::ErrorCode;
use crate::wire::records::{BatchHeader, Compression, Cursor, HEADER_LEN, Limits, RawBatch, RecordsError, batches};

/// The time of a record that has none.
const NO_TIMESTAMP: i64 = -1;

/// The topic's settings that matter for writing.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Rules {
    /// `max.message.bytes`.
    pub(in crate::embedded) max_message_bytes: usize,
    /// `message.timestamp.type` is LogAppendTime.
    pub(in crate::embedded) log_append_time: bool,
    /// `cleanup.policy` contains compact: every record needs a key.
    pub(in crate::embedded) compacted: bool,
    /// `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    pub(in crate::embedded) timestamps: (i64, i64),
}

impl Rules {
    /// What a record's time may be now.
    fn times(&self, now_ms: i64) -> RangeInclusive<i64> {
        now_ms.saturating_sub(self.timestamps.0)..=now_ms.saturating_add(self.timestamps.1)
    }
}

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Stamp {
    pub(in crate::embedded) leader_epoch: i32,
    pub(in crate::embedded) now_ms: i64,
}

/// A batch is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct Appended {
    pub(in crate::embedded) base_offset: i64,
    /// −1 unless the topic stamps records itself; of a retry the time of the youngest record.
    pub(in crate::embedded) log_append_time_ms: i64,
    /// It was there before: a retry.
    pub(in crate::embedded) duplicate: bool,
}

impl Log {
    /// Appends what a Produce request holds for this partition: exactly one batch in format 2.
    pub(in crate::embedded) fn append(
        &mut self,
        records: Bytes,
        rules: &Rules,
        stamp: Stamp,
    ) -> Result<Appended, Rejected> {
        let raw = only_batch(records)?;
        check(&raw, rules, stamp.now_ms)?;
        let mut header = *raw.header();
        if header.producer_id >= 0
            && let Verdict::Duplicate { base_offset, timestamp } = self.producers.check(&header)?
        {
            return Ok(Appended { base_offset, log_append_time_ms: timestamp, duplicate: true });
        }
        if !header.is_transactional() && self.transactions.open_from(header.producer_id).is_some() {
            return Err(ErrorCode::INVALID_TXN_STATE.into());
        }
        let body = raw.bytes().slice(HEADER_LEN..);
        let mut log_append_time_ms = -1;
        if rules.log_append_time {
            log_append_time_ms = stamp.now_ms;
            header = header.at_append_time(stamp.now_ms);
            header.crc = batch::checksum(&header, &body);
        }
        let base_offset = self.push(header, &body, stamp);
        Ok(Appended { base_offset, log_append_time_ms, duplicate: false })
    }

    /// Whether these records go on with a transaction that has written here, at the same epoch.
    pub(in crate::embedded) fn is_ongoing(&self, records: &Bytes) -> bool {
        let Some(Ok(raw)) = batches(records.clone()).next() else { return false };
        let header = raw.header();
        let open = self.transactions.open_from(header.producer_id).is_some();
        open && self.producers.epoch(header.producer_id) == Some(header.producer_epoch)
    }

    /// Ends a transaction of this producer. Returns the marker's offset.
    pub(in crate::embedded) fn append_marker(&mut self, producer: (i64, i16), commit: bool, stamp: Stamp) -> i64 {
        let (mut header, body) = batch::marker(producer.0, producer.1, commit, stamp.now_ms);
        header.crc = batch::checksum(&header, &body);
        self.push(header, &body, stamp)
    }

    fn push(&mut self, header: BatchHeader, body: &[u8], stamp: Stamp) -> i64 {
        let header = BatchHeader { base_offset: self.end, partition_leader_epoch: stamp.leader_epoch, ..header };
        // As much again as there is: thousands of small logs must not take a whole block each.
        let room = self.bytes.clamp(FIRST_BLOCK, BLOCK);
        let bytes = batch::store(&mut self.block, room, &header, body);
        self.take(Stored { header, bytes, written_ms: stamp.now_ms });
        header.base_offset
    }

    /// Appends a batch that was written before, with its offset and its epoch.
    pub(in crate::embedded) fn take_from_disk(&mut self, stored: Stored) {
        self.epochs.begin(stored.header.partition_leader_epoch, stored.header.base_offset);
        self.take(stored);
        self.high_watermark = self.end;
    }

    /// Puts a batch at the end as it is: its offset and epoch are right.
    pub(super) fn take(&mut self, stored: Stored) {
        let header = stored.header;
        self.end = header.next_offset();
        self.bytes += stored.bytes.len();
        if header.producer_id >= 0 {
            self.producers.note(&header, stored.written_ms);
            if header.is_control() {
                let commit = stored.raw().ok().and_then(|raw| raw.control_type());
                let commit = commit == Some(crate::wire::records::ControlType::Commit);
                self.transactions.ended(header.producer_id, header.base_offset, commit);
            } else if header.is_transactional() {
                self.transactions.wrote(&header);
            }
        }
        self.batches.push_back(stored);
    }
}

fn only_batch(records: Bytes) -> Result<RawBatch, Rejected> {
    let mut all = batches(records);
    let first = match all.next() {
        Some(Ok(batch)) => batch,
        Some(Err(RecordsError::UnknownMagic(_))) => return Err(Rejected::UNKNOWN_MAGIC),
        Some(Err(_)) => return Err(ErrorCode::CORRUPT_MESSAGE.into()),
        None => return Err(Rejected::NOT_ONE),
    };
    if all.next().is_some() || all.remaining() > 0 {
        return Err(Rejected::NOT_ONE);
    }
    Ok(first)
}

/// Zstandard; of those before it too a build may not be able to read each.
const LAST_CODEC: u8 = 4;

fn check(raw: &RawBatch, rules: &Rules, now_ms: i64) -> Result<(), Rejected> {
    let header = raw.header();
    raw.check_crc().map_err(|_| ErrorCode::CORRUPT_MESSAGE)?;
    if raw.bytes().len() > rules.max_message_bytes {
        return Err(ErrorCode::MESSAGE_TOO_LARGE.into());
    }
    let count = header.records_count;
    if header.is_control() || header.base_offset != 0 || count < 1 || header.last_offset_delta != count - 1 {
        return Err(ErrorCode::INVALID_RECORD.into());
    }
    if header.producer_id >= 0 && header.base_sequence < 0 {
        return Err(ErrorCode::INVALID_RECORD.into());
    }
    if Compression::from_codec(header.codec()).is_ok() {
        return check_records(raw, rules, now_ms);
    }
    if header.codec() > LAST_CODEC {
        return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into());
    }
    Ok(())
}

fn check_records(raw: &RawBatch, rules: &Rules, now_ms: i64) -> Result<(), Rejected> {
    let Ok(batch) = raw.clone().open(&Limits::default()) else { return Err(ErrorCode::UNKNOWN_SERVER_ERROR.into()) };
    let (mut at, mut count) = (Cursor::default(), 0);
    let (mut without_key, mut out_of_time) = (Vec::new(), Vec::new());
    let times = rules.times(now_ms);
    while let Some(record) = batch.next(&mut at).map_err(|_| ErrorCode::INVALID_RECORD)? {
        if rules.compacted && record.key.is_none() {
            without_key.push(count);
        } else if !rules.log_append_time && record.timestamp != NO_TIMESTAMP && !times.contains(&record.timestamp) {
            out_of_time.push(count);
        }
        count += 1;
    }
    if !out_of_time.is_empty() {
        out_of_time.extend(without_key);
        out_of_time.sort_unstable();
        return Err(Rejected::records(ErrorCode::INVALID_TIMESTAMP, out_of_time));
    }
    if !without_key.is_empty() {
        return Err(Rejected::records(ErrorCode::INVALID_RECORD, without_key));
    }
    Ok(())
}

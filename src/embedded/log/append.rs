//! Writing: what a leader checks before it takes a batch, and what it changes in it.

use bytes::Bytes;

use super::producers::Verdict;
use super::{Log, Stored, batch};
use crate::wire::ErrorCode;
use crate::wire::records::{BatchHeader, HEADER_LEN, Limits, RawBatch, batches};

/// The topic's settings that matter for writing.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Rules {
    /// `max.message.bytes`.
    pub(in crate::embedded) max_message_bytes: usize,
    /// `message.timestamp.type` is LogAppendTime.
    pub(in crate::embedded) log_append_time: bool,
    /// `cleanup.policy` contains compact: every record needs a key.
    pub(in crate::embedded) compacted: bool,
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
    /// −1 unless the topic stamps records itself.
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
    ) -> Result<Appended, ErrorCode> {
        let raw = only_batch(records)?;
        check(&raw, rules)?;
        let mut header = *raw.header();
        if header.producer_id >= 0
            && let Verdict::Duplicate(base_offset) = self.producers.check(&header)?
        {
            return Ok(Appended { base_offset, log_append_time_ms: -1, duplicate: true });
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

    /// Ends a transaction of this producer. Returns the marker's offset.
    pub(in crate::embedded) fn append_marker(&mut self, producer: (i64, i16), commit: bool, stamp: Stamp) -> i64 {
        let (mut header, body) = batch::marker(producer.0, producer.1, commit, stamp.now_ms);
        header.crc = batch::checksum(&header, &body);
        self.push(header, &body, stamp)
    }

    fn push(&mut self, header: BatchHeader, body: &[u8], stamp: Stamp) -> i64 {
        let header = BatchHeader { base_offset: self.end, partition_leader_epoch: stamp.leader_epoch, ..header };
        let bytes = batch::store(&mut self.block, &header, body);
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

fn only_batch(records: Bytes) -> Result<RawBatch, ErrorCode> {
    let mut all = batches(records);
    let first = match all.next() {
        Some(Ok(batch)) => batch,
        Some(Err(_)) => return Err(ErrorCode::CORRUPT_MESSAGE),
        None => return Err(ErrorCode::INVALID_RECORD),
    };
    if all.next().is_some() || all.remaining() > 0 {
        return Err(ErrorCode::INVALID_RECORD);
    }
    Ok(first)
}

fn check(raw: &RawBatch, rules: &Rules) -> Result<(), ErrorCode> {
    let header = raw.header();
    raw.check_crc().map_err(|_| ErrorCode::CORRUPT_MESSAGE)?;
    if raw.bytes().len() > rules.max_message_bytes {
        return Err(ErrorCode::MESSAGE_TOO_LARGE);
    }
    let count = header.records_count;
    if header.is_control() || count < 1 || header.last_offset_delta != count - 1 {
        return Err(ErrorCode::INVALID_RECORD);
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(ErrorCode::INVALID_RECORD);
    }
    if rules.compacted {
        let batch = raw.clone().open(&Limits::default()).map_err(|_| ErrorCode::CORRUPT_MESSAGE)?;
        let mut at = Default::default();
        while let Some(record) = batch.next(&mut at).map_err(|_| ErrorCode::INVALID_RECORD)? {
            if record.key.is_none() {
                return Err(ErrorCode::INVALID_RECORD);
            }
        }
    }
    Ok(())
}

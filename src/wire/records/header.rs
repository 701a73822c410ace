//! The 61 bytes in front of every batch.

use super::RecordsError;

/// Bytes from the base offset to the record count.
pub(crate) const HEADER_LEN: usize = 61;
/// Bytes that `batch_length` does not count: the base offset and itself.
pub(crate) const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
/// The checksum covers everything from the attributes on.
pub(crate) const CRC_FROM: usize = 21;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Who wrote a batch, for the broker's duplicate detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerStamp {
    /// From InitProducerId.
    pub(crate) producer_id: i64,
    /// From InitProducerId.
    pub(crate) producer_epoch: i16,
    /// Sequence number of the batch's first record.
    pub(crate) base_sequence: i32,
}

/// The stamp of a producer that is not idempotent.
pub(crate) const NO_PRODUCER: ProducerStamp = ProducerStamp { producer_id: -1, producer_epoch: -1, base_sequence: -1 };

/// The fields in front of the records, named as in Kafka's documentation.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    pub(crate) batch_length: i32,
    pub(crate) partition_leader_epoch: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) records_count: i32,
}

impl BatchHeader {
    /// Reads the header of the batch that `data` holds wholly.
    pub(crate) fn parse(data: &[u8]) -> Result<Self, RecordsError> {
        let magic = *data.get(MAGIC_AT).ok_or(RecordsError::malformed("batch_length"))? as i8;
        if magic != 2 {
            return Err(RecordsError::UnknownMagic(magic));
        }
        let head: &[u8; HEADER_LEN] = data.first_chunk().ok_or(RecordsError::malformed("batch_length"))?;
        let header = Self {
            base_offset: i64::from_be_bytes(bytes_at(head, 0)),
            batch_length: i32::from_be_bytes(bytes_at(head, 8)),
            partition_leader_epoch: i32::from_be_bytes(bytes_at(head, 12)),
            magic,
            crc: u32::from_be_bytes(bytes_at(head, 17)),
            attributes: i16::from_be_bytes(bytes_at(head, 21)),
            last_offset_delta: i32::from_be_bytes(bytes_at(head, 23)),
            base_timestamp: i64::from_be_bytes(bytes_at(head, 27)),
            max_timestamp: i64::from_be_bytes(bytes_at(head, 35)),
            producer_id: i64::from_be_bytes(bytes_at(head, 43)),
            producer_epoch: i16::from_be_bytes(bytes_at(head, 51)),
            base_sequence: i32::from_be_bytes(bytes_at(head, 53)),
            records_count: i32::from_be_bytes(bytes_at(head, 57)),
        };
        if header.base_offset < 0 || header.base_offset == i64::MAX {
            return Err(RecordsError::malformed("base_offset"));
        }
        if header.last_offset_delta < 0 || header.base_offset > i64::MAX - 1 - i64::from(header.last_offset_delta) {
            return Err(RecordsError::malformed("last_offset_delta"));
        }
        if header.records_count < 0 {
            return Err(RecordsError::malformed("records_count"));
        }
        Ok(header)
    }

    /// The header as bytes, as its fields say.
    pub(crate) fn write(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[16] = self.magic as u8;
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.records_count.to_be_bytes());
        out
    }

    /// The offset after the batch's last, whether or not compaction left that record in it.
    pub(crate) fn next_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta) + 1
    }

    /// Whether the broker set the time: then every record's is `max_timestamp`.
    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a marker for clients, not data.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// The header of the marker that ends a transaction.
    #[cfg(feature = "embedded")]
    pub(crate) fn as_marker(self) -> Self {
        Self { attributes: self.attributes | TRANSACTIONAL | CONTROL, ..self }
    }

    /// The header of the same batch, its records' time set by the broker.
    #[cfg(feature = "embedded")]
    pub(crate) fn at_append_time(self, now_ms: i64) -> Self {
        Self { attributes: self.attributes | LOG_APPEND_TIME, max_timestamp: now_ms, ..self }
    }

    /// The header of what compaction left of the batch: `count` records in `len` bytes, not compressed. `None` if that
    /// is longer than a batch can be.
    #[cfg(feature = "embedded")]
    pub(crate) fn with_records(self, count: i32, len: usize) -> Option<Self> {
        let batch_length = i32::try_from(HEADER_LEN - LENGTH_END + len).ok()?;
        Some(Self { batch_length, records_count: count, attributes: self.attributes & !7, ..self })
    }

    /// The number of the compression codec.
    pub(crate) fn codec(&self) -> u8 {
        (self.attributes & 7) as u8
    }
}

fn bytes_at<const N: usize>(head: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&head[at..at + N]);
    out
}

//! Cuts a `records` field into batches without looking at the records, and opens one when asked.

use bytes::{Buf, Bytes};

#[cfg(any(test, feature = "fuzzing"))]
use super::Compression;
use super::header::{CRC_FROM, LENGTH_END};
use super::{Batch, BatchHeader, HEADER_LEN, RecordsError, compression};
use crate::wire::buffers::Buffers;

/// The smallest record: seven fields of one byte each.
const MIN_RECORD: usize = 7;

/// What reading may cost.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The most bytes one batch may have after decompression.
    pub(crate) max_decompressed: usize,
    /// Where the memory for large ones comes from.
    pub(crate) buffers: Buffers,
}

impl Limits {
    /// At most so many bytes, in memory of its own.
    pub(crate) fn of(max_decompressed: usize) -> Self {
        Self { max_decompressed, buffers: Buffers::default() }
    }

    /// The same for a client that large frames come to: memory is used again.
    #[cfg(any(test, feature = "bench", feature = "fuzzing"))]
    pub(crate) fn busy(max_decompressed: usize) -> Self {
        let limits = Self::of(max_decompressed);
        limits.buffers.take(0);
        limits
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(128 << 20)
    }
}

/// The batches of a `records` field, in order. A last batch that was cut off ends it; an error is the last item.
pub(crate) fn batches(records: Bytes) -> BatchIter {
    BatchIter { rest: records }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub(crate) struct BatchIter {
    rest: Bytes,
}

impl BatchIter {
    /// Bytes not yet given out. After the end: the length of the batch that was cut off.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

impl Iterator for BatchIter {
    type Item = Result<RawBatch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = i32::from_be_bytes(*self.rest.get(8..)?.first_chunk()?);
        // The shortest message of magic 0 is 14 bytes; below the magic byte nothing can be said.
        let Some(total) = usize::try_from(length).ok().filter(|&l| l >= 5).map(|l| l + LENGTH_END) else {
            self.rest.clear();
            return Some(Err(RecordsError::malformed("batch_length")));
        };
        if self.rest.len() < total {
            return None;
        }
        let bytes = self.rest.split_to(total);
        match BatchHeader::parse(&bytes) {
            Ok(header) => Some(Ok(RawBatch { header, bytes })),
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}

/// What a control batch says of its producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ControlType {
    /// The transaction was rolled back.
    Abort,
    /// The transaction is visible from here on.
    Commit,
    /// Anything else a broker may write; not for this client.
    Other(i16),
}

/// One whole batch: its header read, its records untouched.
#[derive(Debug, Clone)]
pub(crate) struct RawBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RawBatch {
    /// The header.
    pub(crate) fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Header and records as they came.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it is a marker rather than data.
    pub(crate) fn is_control(&self) -> bool {
        self.header.is_control()
    }

    /// Whether it belongs to a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.header.is_transactional()
    }

    /// How the records are compressed.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn compression(&self) -> Result<Compression, RecordsError> {
        Compression::from_codec(self.header.codec())
    }

    /// The offset after this batch.
    pub(crate) fn next_offset(&self) -> i64 {
        self.header.next_offset()
    }

    /// What a control batch says; `None` when its record cannot be read.
    pub(crate) fn control_type(&self) -> Option<ControlType> {
        let batch = self.clone().open(&Limits::of(1 << 16)).ok()?;
        let record = batch.next(&mut Default::default()).ok()??;
        let key = batch.bytes_of(record.key?);
        // Key of a control record: version, type.
        match i16::from_be_bytes(*key.get(2..)?.first_chunk()?) {
            0 => Some(ControlType::Abort),
            1 => Some(ControlType::Commit),
            other => Some(ControlType::Other(other)),
        }
    }

    /// The same batch in memory of its own, so that it does not keep its frame alive.
    pub(crate) fn to_owned_memory(&self) -> Self {
        Self { header: self.header, bytes: Bytes::copy_from_slice(&self.bytes) }
    }

    /// Checks the checksum.
    pub(crate) fn check_crc(&self) -> Result<(), RecordsError> {
        let actual = crc32c::crc32c(&self.bytes[CRC_FROM..]);
        if actual == self.header.crc { Ok(()) } else { Err(RecordsError::BadCrc { expected: self.header.crc, actual }) }
    }

    /// Checks the checksum and decompresses.
    pub(crate) fn open(self, limits: &Limits) -> Result<Batch, RecordsError> {
        self.check_crc()?;
        let mut data = self.bytes;
        data.advance(HEADER_LEN);
        let codec = self.header.codec();
        if codec != 0 {
            data = compression::decompress(codec, &data, limits)?;
        } else if data.len() > limits.max_decompressed {
            return Err(RecordsError::TooLarge { limit: limits.max_decompressed });
        }
        if self.header.records_count as usize > data.len() / MIN_RECORD {
            return Err(RecordsError::malformed("records_count"));
        }
        Ok(Batch::new(self.header, data))
    }
}

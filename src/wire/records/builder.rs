//! Builds a batch: each record is encoded when it is appended; the header stays apart until the batch is first sent,
//! because only then its producer id, epoch and sequence are known.

use bytes::{Bytes, BytesMut};

use super::header::{CRC_FROM, LENGTH_END};
use super::varint::{self, MAX_VARINT};
use super::{BatchHeader, Compression, HEADER_LEN, NO_PRODUCER, Packing, ProducerStamp, RecordsError, compression};

/// The record does not go into this batch any more: close it and start another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Appends records to the body of one batch.
#[derive(Debug)]
pub(crate) struct BatchBuilder {
    body: BytesMut,
    limit: usize,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// A builder for a batch of at most `limit` bytes, header included, or of one larger record. `buffer` is reused
    /// memory; it may be empty.
    pub(crate) fn new(limit: usize, mut buffer: BytesMut) -> Self {
        buffer.clear();
        Self { body: buffer, limit, count: 0, base_timestamp: 0, max_timestamp: 0 }
    }

    /// Encodes a record and returns its index in the batch. An empty batch takes a record of any size.
    #[inline]
    pub(crate) fn try_append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> Result<u32, Full> {
        let index = self.count;
        let delta = if index == 0 { 0 } else { timestamp_ms.wrapping_sub(self.base_timestamp) };
        let headers_len = headers_len(headers);
        let body_len = 1
            + varint::len(delta)
            + varint::len(i64::from(index))
            + nullable_len(key)
            + nullable_len(value)
            + headers_len;
        let record_len = varint::len(body_len as i64) + body_len;
        if index > 0 && (HEADER_LEN + self.body.len() + record_len > self.limit || index == i32::MAX as u32) {
            return Err(Full);
        }
        if index == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        } else if timestamp_ms > self.max_timestamp {
            self.max_timestamp = timestamp_ms;
        }
        self.body.reserve(record_len);

        let mut head = [0u8; 4 * MAX_VARINT + 1];
        let mut n = varint::put(&mut head, body_len as i64);
        n += 1; // attributes: none defined
        n += varint::put(&mut head[n..], delta);
        n += varint::put(&mut head[n..], i64::from(index));
        n += varint::put(&mut head[n..], key.map_or(-1, |k| k.len() as i64));
        self.body.extend_from_slice(&head[..n]);
        if let Some(key) = key {
            self.body.extend_from_slice(key);
        }
        self.put_nullable(value);
        self.put_varint(headers.len() as i64);
        for (name, value) in headers {
            self.put_nullable(Some(name.as_bytes()));
            self.put_nullable(*value);
        }
        self.count += 1;
        Ok(index)
    }

    /// Bytes the batch would have if it were closed now without compression.
    pub(crate) fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// Records appended.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Closes the batch. Compression that makes it larger is left out.
    pub(crate) fn finish(self, packing: impl Into<Packing>) -> Result<BatchBody, RecordsError> {
        let packing = packing.into();
        let compression = packing.compression;
        let raw = self.body.freeze();
        let packed = if compression == Compression::None { None } else { Some(compression::compress(packing, &raw)?) };
        let packed = packed.filter(|packed| packed.len() < raw.len());
        let attributes = if packed.is_some() { i16::from(compression.codec()) } else { 0 };
        let body = packed.unwrap_or(raw);
        let length = i32::try_from(HEADER_LEN - LENGTH_END + body.len());
        let header = BatchHeader {
            base_offset: 0,
            batch_length: length.map_err(|_| RecordsError::TooLarge { limit: i32::MAX as usize })?,
            partition_leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta: self.count.saturating_sub(1) as i32,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: NO_PRODUCER.producer_id,
            producer_epoch: NO_PRODUCER.producer_epoch,
            base_sequence: NO_PRODUCER.base_sequence,
            records_count: self.count as i32,
        };
        Ok(BatchBody { header, body })
    }

    #[inline]
    fn put_varint(&mut self, value: i64) {
        let mut buf = [0u8; MAX_VARINT];
        let n = varint::put(&mut buf, value);
        self.body.extend_from_slice(&buf[..n]);
    }

    #[inline]
    fn put_nullable(&mut self, value: Option<&[u8]>) {
        match value {
            Some(bytes) => {
                self.put_varint(bytes.len() as i64);
                self.body.extend_from_slice(bytes);
            }
            None => self.put_varint(-1),
        }
    }
}

/// Most bytes a record takes in a batch, whatever its place: what a byte budget has to reserve.
pub(crate) fn max_record_len(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, Option<&[u8]>)]) -> usize {
    1 + 2 * MAX_VARINT + 5 + nullable_len(key) + nullable_len(value) + headers_len(headers)
}

#[inline]
fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |b| varint::len(b.len() as i64) + b.len())
}

#[inline]
fn headers_len(headers: &[(&str, Option<&[u8]>)]) -> usize {
    let mut len = varint::len(headers.len() as i64);
    for (name, value) in headers {
        len += nullable_len(Some(name.as_bytes())) + nullable_len(*value);
    }
    len
}

/// A closed batch: its body and a header still without producer and checksum.
#[derive(Debug, Clone)]
pub(crate) struct BatchBody {
    header: BatchHeader,
    body: Bytes,
}

impl BatchBody {
    /// The header that makes it a batch of this producer at this sequence.
    pub(crate) fn stamp(&self, stamp: ProducerStamp) -> [u8; HEADER_LEN] {
        let ProducerStamp { producer_id, producer_epoch, base_sequence } = stamp;
        let mut header = BatchHeader { producer_id, producer_epoch, base_sequence, ..self.header }.write();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[CRC_FROM..]), &self.body);
        header[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        header
    }

    /// The header as numbers, the checksum still missing, for a broker that changes more of it.
    #[cfg(feature = "embedded")]
    pub(crate) fn header(&self, stamp: ProducerStamp) -> BatchHeader {
        let ProducerStamp { producer_id, producer_epoch, base_sequence } = stamp;
        BatchHeader { producer_id, producer_epoch, base_sequence, ..self.header }
    }

    /// The records, compressed if that was asked for and worth it.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Takes the records, to use the memory again.
    pub(crate) fn into_body(self) -> Bytes {
        self.body
    }

    /// Bytes on the wire, header included.
    pub(crate) fn size(&self) -> usize {
        HEADER_LEN + self.body.len()
    }

    /// How many records there are.
    pub(crate) fn count(&self) -> u32 {
        self.header.records_count as u32
    }

    /// The batch as a reader finds it in a log, its first record at `base_offset`. It must not be compressed.
    #[cfg(feature = "rskafka")]
    pub(crate) fn placed(self, base_offset: i64) -> super::Batch {
        super::Batch::new(BatchHeader { base_offset, ..self.header }, self.body)
    }

    /// The batch as a reader sees it, to split it.
    pub(crate) fn reopen(&self, limits: &super::Limits) -> Result<super::Batch, RecordsError> {
        let codec = self.header.codec();
        let data = match codec {
            0 => self.body.clone(),
            codec => compression::decompress(codec, &self.body, limits)?,
        };
        Ok(super::Batch::new(self.header, data))
    }
}

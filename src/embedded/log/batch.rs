//! A batch as it lies in the log, and the few batches that a broker writes itself.

use bytes::{Bytes, BytesMut};

use crate::wire::records::{
    Batch, BatchBuilder, BatchHeader, CRC_FROM, Compression, HEADER_LEN, Limits, NO_PRODUCER, ProducerStamp, RawBatch,
    RecordsError, batches,
};

/// A batch in the log: its header as numbers, and all its bytes.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Stored {
    pub(in crate::embedded) header: BatchHeader,
    pub(in crate::embedded) bytes: Bytes,
    /// When it was written, in ms since 1970.
    pub(in crate::embedded) written_ms: i64,
}

impl Stored {
    /// Checked and decompressed.
    pub(in crate::embedded) fn open(&self) -> Result<Batch, RecordsError> {
        self.raw()?.open(&Limits::default())
    }

    /// As the reader of the wire has it.
    pub(super) fn raw(&self) -> Result<RawBatch, RecordsError> {
        batches(self.bytes.clone()).next().unwrap_or(Err(RecordsError::Malformed { field: "batch_length" }))
    }
}

/// Copies header and body into `block`, which gets a new allocation of at least `room` bytes when it is full.
pub(super) fn store(block: &mut BytesMut, room: usize, header: &BatchHeader, body: &[u8]) -> Bytes {
    let len = HEADER_LEN + body.len();
    if block.capacity() < len {
        *block = BytesMut::with_capacity(len.max(room));
    }
    block.extend_from_slice(&header.write());
    block.extend_from_slice(body);
    block.split().freeze()
}

/// The checksum of a batch with this header and body.
pub(super) fn checksum(header: &BatchHeader, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header.write()[CRC_FROM..]), body)
}

/// The batch that ends a transaction (KIP-98): one record whose key is (version 0, type) and whose value is (version 0,
/// coordinator epoch 0).
pub(super) fn marker(producer_id: i64, producer_epoch: i16, commit: bool, now_ms: i64) -> (BatchHeader, Bytes) {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    let _first = builder.try_append(now_ms, Some(&[0, 0, 0, u8::from(commit)]), Some(&[0; 6]), &[]);
    let Ok(body) = builder.finish(Compression::None) else { unreachable!("a marker is small and not compressed") };
    let stamp = ProducerStamp { producer_id, producer_epoch, ..NO_PRODUCER };
    (body.header(stamp).as_marker(), body.into_body())
}

//! Builds record batches as a broker would send them.

use bytes::{Bytes, BytesMut};

use crate::wire::records::{BatchBuilder, Compression, NO_PRODUCER, ProducerStamp};

/// Data records; `producer_id` ≥ 0 makes the batch transactional.
pub(super) fn data(base_offset: i64, records: usize, producer_id: i64) -> Vec<u8> {
    let transactional = if producer_id >= 0 { 1 << 4 } else { 0 };
    batch(base_offset, records, producer_id, transactional, None, Compression::None)
}

/// Data records, compressed.
#[cfg(feature = "lz4")]
pub(super) fn compressed(base_offset: i64, records: usize) -> Vec<u8> {
    batch(base_offset, records, -1, Compression::Lz4.codec().into(), None, Compression::Lz4)
}

/// The end of a transaction.
pub(super) fn marker(offset: i64, producer_id: i64, commit: bool) -> Vec<u8> {
    let key = [0, 0, 0, u8::from(commit)];
    batch(offset, 1, producer_id, 1 << 4 | 1 << 5, Some(&key), Compression::None)
}

/// A batch whose records compaction took away, `span` offsets long.
pub(super) fn emptied(base_offset: i64, span: i32) -> Vec<u8> {
    let mut bytes = data(base_offset, 1, -1);
    bytes.truncate(61);
    bytes[8..12].copy_from_slice(&49i32.to_be_bytes());
    bytes[23..27].copy_from_slice(&(span - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&0i32.to_be_bytes());
    seal(bytes)
}

/// Flips a bit behind the header.
pub(super) fn corrupted(mut batch: Vec<u8>) -> Vec<u8> {
    *batch.last_mut().unwrap() ^= 1;
    batch
}

pub(super) fn concat(batches: &[Vec<u8>]) -> Bytes {
    batches.concat().into()
}

fn batch(base: i64, records: usize, pid: i64, bits: i16, key: Option<&[u8]>, codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(usize::MAX, BytesMut::new());
    for i in 0..records {
        let value = format!("value {} {}", base + i as i64, "x".repeat(100));
        builder.try_append(1_000 + i as i64, key, Some(value.as_bytes()), &[]).unwrap();
    }
    let body = builder.finish(codec).unwrap();
    let stamp = ProducerStamp { producer_id: pid, ..NO_PRODUCER };
    let mut bytes = [&body.stamp(stamp)[..], body.body()].concat();
    bytes[0..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&5i32.to_be_bytes());
    bytes[22] |= bits as u8;
    seal(bytes)
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}
